//! Metrics of a lab, and what its file says about what is read by TCP and logged.

use crate::live::Lab;
use crate::scrape::{OPEN, Scrape, check};
use crate::support::{enter, run, text};

/// Half of what `pc` sends or gets is lost. No other frame is there: no IPv6, no probe of a loop guard.
const FILE: &str = r#"
name = "counted"
seed = 1
pool = "10.0.0.0/8"
page = 9587
log = "lab=debug"
[host.pc]
address = "10.5.0.1/24"
run = [{ command = "sleep 1000", name = "idle" }]
[host.srv]
address = "10.5.0.2/24"
[switch.lan]
loop-guard = false
[[link]]
ends = ["pc", "lan"]
loss = "50%"
[[link]]
ends = ["srv", "lan"]
"#;

#[test]
fn every_counter_of_a_lab_agrees_with_what_was_sent() {
    enter();
    run("ip link set dev lo up");
    let lab = Lab::up_as("counted", FILE, Vec::new());
    let show = lab.show();
    for (node, other, at, to) in [("pc", 1, "eth0", "10.5.0.2"), ("srv", 0, "eth0", "10.5.0.1")] {
        let mac = show["nodes"][other]["interfaces"][0]["mac"].as_str().unwrap();
        lab.sh(node, &format!("ip neigh replace {to} lladdr {mac} nud permanent dev {at}"));
    }
    let read = || Scrape::at("127.0.0.1:9587", "GET /metrics", OPEN);
    let before = read();
    lab.sh("pc", "ping -q -c 500 -i 0.002 -W 1 -s 100 10.5.0.2");
    let (page, show) = (read(), lab.show());
    let new = |name: &str, link: &str, direction: &str| {
        let labels = [format!("link=\"{link}\""), format!("direction=\"{direction}\"")];
        let labels = labels.each_ref().map(String::as_str);
        page.value(name, &labels) - before.value(name, &labels)
    };
    let frames = |link: &str, direction: &str| new("adit_lab_link_frames_total", link, direction);
    let emulated =
        |direction: &str, what: &str| new(&format!("adit_link_{what}_total"), "pc-lan", direction);
    assert_eq!(frames("pc-lan", "a_to_b"), 500.0);
    // Ethernet, IP and ICMP headers are 42 bytes.
    assert_eq!(new("adit_lab_link_bytes_total", "pc-lan", "a_to_b"), 500.0 * 142.0);
    assert_eq!(emulated("a_to_b", "received"), 500.0);
    assert_eq!(emulated("a_to_b", "delivered") + emulated("a_to_b", "lost"), 500.0);
    // What was delivered went to the server, which answered it; half of the answers were lost.
    assert_eq!(frames("srv-lan", "b_to_a"), emulated("a_to_b", "delivered"));
    assert_eq!(frames("srv-lan", "a_to_b"), emulated("a_to_b", "delivered"));
    assert_eq!(emulated("b_to_a", "received"), emulated("a_to_b", "delivered"));
    assert_eq!(frames("pc-lan", "b_to_a"), emulated("b_to_a", "received"));
    let lost = emulated("a_to_b", "lost") + emulated("b_to_a", "lost");
    assert!(lost > 200.0, "{lost}");
    let dropped = |page: &Scrape| page.sum("adit_drops_total", &[]);
    assert_eq!(dropped(&page) - dropped(&before), lost);
    // And `show` agrees.
    for link in show["links"].as_array().unwrap() {
        for (way, direction) in [("from_a", "a_to_b"), ("from_b", "b_to_a")] {
            let labels = [format!("link={}", link["name"]), format!("direction=\"{direction}\"")];
            let labels = labels.each_ref().map(String::as_str);
            for (key, name) in [("frames", "frames"), ("bytes", "bytes")] {
                let name = format!("adit_lab_link_{name}_total");
                let value = page.value(&name, &labels);
                assert_eq!(Some(value), link[way][key].as_f64(), "{link} {name}");
            }
        }
    }
    let program = ["node=\"pc\"", "program=\"idle\""];
    let state = |page: &Scrape| {
        let one = |name: &str, labels: &[&str]| page.value(&format!("adit_{name}"), labels);
        [
            one("lab_ready", &[]),
            one("lab_problems", &[]),
            one("lab_nodes", &[]),
            one("lab_link_up", &["link=\"srv-lan\""]),
            one("program_up", &program),
            one("program_restarts_total", &program),
        ]
    };
    assert_eq!(state(&page), [1.0, 0.0, 3.0, 1.0, 1.0, 0.0]);
    lab.lab("fail srv-lan");
    assert_eq!(state(&read()), [0.0, 1.0, 3.0, 0.0, 1.0, 0.0]);
    check(&Scrape::at("127.0.0.1:9587", "GET /metrics", "text/plain"));

    // The other keys of the file.
    run("curl -sf -o /dev/null http://127.0.0.1:9587/page");
    let log = || text(&lab.adit(&["log", "counted"]).stdout);
    assert!(log().contains("lab      debug"), "{}", log());
    std::fs::write("/run/lab.toml", FILE.replace("lab=debug", "control=warn")).unwrap();
    lab.lab("apply");
    assert!(log().contains("lab      info") && log().contains("control  warn"), "{}", log());
}
