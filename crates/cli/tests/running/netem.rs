//! `adit netem` and those who ask it.

use crate::program::{Program, address, eventually, fastest, hosts, reaches};
use crate::support::{ADIT, adit, adit_json, bare, refused, run, validate};
use serde_json::json;
use std::process::Command;

fn link(options: &str) -> Program {
    hosts(&["na", "nb"]);
    let line = format!("netem --port tap:a,netns=na --port tap:b,netns=nb {options}");
    let program = Program::start(&line);
    address("na", "a", "192.0.2.1/24");
    address("nb", "b", "192.0.2.2/24");
    program
}

#[test]
fn a_running_link_is_changed_and_reports_its_counters() {
    let mut program = link("--delay 20ms --jitter 2ms --rate 100mbit --seed 7");
    assert!(reaches("na", "192.0.2.2"));
    let before = fastest("na", "192.0.2.2");
    assert!(before >= 36.0, "{before} ms");
    let told = adit("netem set --delay 80ms --jitter 0ms");
    assert!(told.contains("a to b: delay=80ms rate=100mbit"), "{told}");
    let after = fastest("na", "192.0.2.2");
    assert!(after >= 160.0, "{after} ms");
    // One way only.
    adit("netem set --delay 0ms --b-to-a delay=50ms");
    eventually("less than both ways took", || {
        let one_way = fastest("na", "192.0.2.2");
        assert!(one_way >= 50.0, "{one_way} ms");
        one_way < 160.0
    });
    let shown = adit_json("netem show");
    assert_eq!(shown["asked"]["b_to_a"], json!({"delay": "50ms", "rate": "100mbit"}));
    assert_eq!(shown["seed"], 7);
    let outputs = [
        ("netem-show", shown.to_string()),
        ("running", adit("-j netem list")),
        ("netem-show", adit("-j netem show netem")),
        ("done", adit("-j netem set --loss 1%")),
    ];
    validate(&outputs);
    let text = adit("netem show");
    for part in
        ["tap:a to tap:b, setting 1 of ", "setting 2 of ", "delay 20 ms +/- 2 ms", "delay 80 ms"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    program.signal("INT");
    let report = program.wait_for("report");
    assert!(program.wait().success());
    validate(&[("events", report.to_string())]);
    // A block for each setting of each direction, which add up to the whole.
    for (way, delays) in
        [("a_to_b", ["20 ms", "80 ms", ""]), ("b_to_a", ["20 ms", "80 ms", "50 ms"])]
    {
        let whole = &report["link"][way];
        let settings = whole["settings"].as_array().unwrap();
        assert!((3..=4).contains(&settings.len()), "{settings:?}");
        for (setting, delay) in settings.iter().zip(delays) {
            assert!(setting["asked"].to_string().contains(delay), "{delay}: {setting}");
        }
        let median = |at: usize| settings[at]["delay"]["p50_ms"].as_f64().unwrap();
        assert!(median(0) < 70.0 && median(1) > 70.0, "{settings:?}");
        for counter in ["received", "delivered", "packets"] {
            let sum =
                settings.iter().map(|one| one["counts"][counter].as_u64().unwrap()).sum::<u64>();
            assert_eq!(whole["counts"][counter], sum, "{counter}");
        }
    }
    let a_to_b = &report["link"]["a_to_b"];
    assert!(a_to_b["counts"]["delivered"].as_u64().unwrap() >= 16, "{a_to_b}");
    assert!(a_to_b["delay"]["max_ms"].as_f64().unwrap() >= 80.0, "{a_to_b}");
    assert_eq!(run("ip -n na -br link show type tun"), "", "the devices went with it");
}

/// A hundred thousand times more than anybody would wait for is not needed to see that nobody waits.
#[test]
fn a_large_file_is_read_while_the_link_goes_on() {
    let _program = link("--delay 1ms");
    assert!(reaches("na", "192.0.2.2"));
    let trace: String = (1..=4_000_000).map(|ms| format!("{ms}\n")).collect();
    std::fs::write("/run/large.trace", trace).unwrap();
    let mut set = bare(ADIT)
        .args(["netem", "set", "--trace", "large.trace"])
        .current_dir("/run")
        .spawn()
        .unwrap();
    // It answers others and forwards packets, and only then has read all of it.
    let mut shown = 0;
    while set.try_wait().unwrap().is_none() {
        let asked = adit_json("netem show")["asked"].clone();
        let pinged = crate::program::try_run("ip netns exec na ping -q -c 1 -W 20 192.0.2.2").0;
        if asked["a_to_b"].get("trace").is_none() && pinged && set.try_wait().unwrap().is_none() {
            shown += 1;
        }
    }
    assert!(set.wait().unwrap().success());
    assert!(shown > 0, "it was asked while it read");
    assert_eq!(adit_json("netem show")["asked"]["b_to_a"]["trace"], "a trace");
    let (_, errors) = refused("netem set --trace nosuch.trace");
    assert!(errors.contains("nosuch.trace"), "{errors}");
}

#[test]
fn the_report_for_people_has_what_was_asked_and_what_happened() {
    hosts(&["na", "nb"]);
    let words = "netem --port tap:a,netns=na --port tap:b,netns=nb --loss 50% --seed 3";
    let child = bare(ADIT).args(words.split(' ')).stdout(std::process::Stdio::piped()).spawn();
    let child = child.unwrap();
    let up = |netns: &str, device: &str| {
        eventually("the device is there", || {
            crate::program::try_run(&format!("ip -n {netns} link show dev {device}")).0
        });
    };
    up("na", "a");
    up("nb", "b");
    address("na", "a", "192.0.2.1/24");
    address("nb", "b", "192.0.2.2/24");
    crate::program::try_run("ip netns exec na ping -q -c 60 -i 0.01 -W 1 192.0.2.2");
    run(&format!("kill -TERM {}", child.id()));
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success());
    assert!(text.contains("50 % lost") && text.contains("with 99.9 % confidence"), "{text}");
    assert!(text.contains("tap:a to tap:b") && text.contains("tap:b to tap:a"), "{text}");
}

/// The counters of the hosts at both ends say what was lost: as much as was asked for, within what 99.9 %
/// of honest links lose (3.29 standard deviations of the binomial distribution).
#[test]
fn hosts_see_as_much_loss_as_was_asked_for() {
    const SENDER: &str = r"
import socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for burst in range(1000):
    for _ in range(100):
        s.sendto(b'x' * 32, ('192.0.2.2', 9000))
    time.sleep(0.002)
";
    const RECEIVER: &str = r"
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(('192.0.2.2', 9000))
s.settimeout(60)
while True:
    s.recv(100)
";
    let _program = link("--loss 1% --seed 1");
    assert!(reaches("na", "192.0.2.2"));
    let receiver = ["ip", "netns", "exec", "nb", "python3", "-c", RECEIVER];
    let mut receiver = Command::new(receiver[0]).args(&receiver[1..]).spawn().unwrap();
    eventually("somebody listens", || run("ip netns exec nb cat /proc/net/udp").contains(":2328 "));
    // Packets of one moment come joined, so that the interface has fewer: what the socket took, and what
    // it had no room for, are counted one by one.
    let received = || -> f64 {
        let text = run("ip netns exec nb cat /proc/net/snmp");
        let row = text.lines().rfind(|line| line.starts_with("Udp:")).unwrap().to_owned();
        let counter = |at| row.split_whitespace().nth(at).unwrap().parse::<f64>().unwrap();
        counter(1) + counter(3)
    };
    let sent = || -> f64 {
        let path = "/sys/class/net/a/statistics/tx_packets";
        run(&format!("ip netns exec na cat {path}")).trim().parse().unwrap()
    };
    let (sent_before, received_before) = (sent(), received());
    let sender = ["ip", "netns", "exec", "na", "python3", "-c", SENDER];
    assert!(Command::new(sender[0]).args(&sender[1..]).status().unwrap().success());
    eventually("no packet is on its way", || {
        let before = received();
        std::thread::sleep(std::time::Duration::from_millis(300));
        received() - before < 1.0
    });
    let (sent, received) = (sent() - sent_before, received() - received_before);
    receiver.kill().and_then(|()| receiver.wait()).unwrap();
    assert!(sent > 20_000.0, "{sent} went through");
    let (asked, seen) = (0.01, 1.0 - received / sent);
    let reach = 3.29 * (asked * (1.0 - asked) / sent).sqrt();
    assert!((seen - asked).abs() <= reach, "{seen} of {sent}, +-{reach}");
}

#[test]
fn a_port_of_a_switch_may_have_a_link() {
    hosts(&["na", "nb"]);
    std::fs::write("/run/far.toml", "[a-to-b]\ndelay = '30ms'\n[b-to-a]\ndelay = '20ms'\n")
        .unwrap();
    let _program =
        Program::start("switch --port tap:a,netns=na,netem=/run/far.toml --port tap:b,netns=nb");
    address("na", "a", "192.0.2.1/24");
    address("nb", "b", "192.0.2.2/24");
    assert!(reaches("na", "192.0.2.2"));
    assert!(fastest("na", "192.0.2.2") >= 50.0);
    adit("switch set a netem=delay=60ms");
    assert!(fastest("na", "192.0.2.2") >= 120.0);
    let port = &adit_json("switch show a")[0];
    assert_eq!(port["netem"]["a_to_b"], json!({"delay": "60ms"}));
    for off in ["none", "off"] {
        adit(&format!("switch set a netem={off}"));
        assert_eq!(adit_json("switch show a")[0].get("netem"), None);
        adit("switch set a netem=delay=60ms");
    }
}

#[test]
fn a_reload_changes_a_link_and_brings_a_port_back() {
    hosts(&["na", "nb"]);
    let write = |delay: &str| {
        let text = format!(
            "name = 'far'\nports = ['tap:a,netns=na', 'tap:b,netns=nb']\n[profile]\ndelay = '{delay}'\n"
        );
        std::fs::write("/run/far.toml", text).unwrap();
    };
    write("10ms");
    let mut program = Program::start("netem --config /run/far.toml");
    address("na", "a", "192.0.2.1/24");
    address("nb", "b", "192.0.2.2/24");
    assert!(reaches("na", "192.0.2.2"));
    write("60ms");
    assert!(adit("netem reload").contains("a to b: delay=60ms"));
    assert!(fastest("na", "192.0.2.2") >= 120.0);
    write("60");
    let (exit, errors) = refused("netem reload");
    assert!(exit == 2 && errors.contains("/run/far.toml:4:"), "{errors}");
    write("60ms");
    run("ip -n nb link del dev b");
    assert_eq!(program.wait_for("port-gone")["port"], "tap:b");
    assert_eq!(adit("netem reload"), "tap:b opened\n");
    address("nb", "b", "192.0.2.2/24");
    // The new device has another hardware address.
    run("ip -n na neighbour flush dev a");
    assert!(reaches("na", "192.0.2.2"));
}

#[test]
fn a_link_is_drawn_before_it_is_used() {
    hosts(&[]);
    let text = adit("netem preview --delay 20ms --jitter 5ms --svg /run/link.svg");
    assert!(text.contains("both directions: delay 20 ms"), "{text}");
    assert!(std::fs::read_to_string("/run/link.svg").unwrap().starts_with("<svg"));
    adit("netem preview --preset wifi-bad --html /run/link.html");
    let page = std::fs::read_to_string("/run/link.html").unwrap();
    assert!(page.contains(">Delay (ms)</text>") && page.contains("<td>"), "{page}");
    // As tc has it: delay, jitter, correlation.
    let text = adit("netem preview --delay 20ms 5ms 25%");
    assert!(text.contains("delay 20 ms +/- 5 ms, correlated by 0.25"), "{text}");
    // The plot replaces the old one as a whole, also behind a link.
    std::os::unix::fs::symlink("/run/link.svg", "/run/plot.svg").unwrap();
    adit("netem preview --delay 1ms --svg /run/plot.svg");
    assert!(std::path::Path::new("/run/plot.svg").is_symlink());
    let json = adit("-j netem preview --preset lte");
    validate(&[("netem-preview", json)]);
}

#[test]
fn errors_name_the_option_and_create_no_device() {
    hosts(&[]);
    std::fs::write("/run/trace", "1\n2\n").unwrap();
    std::fs::write("/run/steps", "time,rate\n0,1mbit\n").unwrap();
    std::fs::write("/run/profile.toml", "delay = '20ms'\n").unwrap();
    std::fs::write("/run/link.toml", "ports = ['tap:a', 'tap:b']\n").unwrap();
    for (line, part) in [
        ("netem --port tap:a", "two ports, not 1"),
        ("netem --port tap:a --port tap:b --delay 20", "20ms"),
        ("netem --port tap:a --port tap:b --delay 20ms 5", "--jitter"),
        ("netem --port tap:a --port tap:b --delay 20ms 5ms --jitter 5ms", "given twice"),
        ("netem --port tap:a --port tap:b --loss 1", "1%"),
        ("netem --port tap:a --port tap:b --a-to-b dealy=20ms", "`delay`"),
        ("netem --port tap:a --port tap:b --preset ltte", "`lte`"),
        ("netem --port tap:a --port tap:b --profile /nosuch.toml", "/nosuch.toml"),
        ("netem --port tap:a,vlan=5 --port tap:b", "`vlan` is for a port of a switch"),
        ("netem --port tap:a,netem=lte --port tap:b", "use --preset"),
        ("netem --port tap:a --port tap:b --rate 100m", "did you mean `100mbit`?"),
        ("netem --port tap:a --port tap:b --queue-limit 9", "`queue-limit` without `rate`"),
        ("netem --port tap:a --port tap:b --keep-order maybe", "on or off"),
        ("netem --port tap:a --port tun:b", "packets"),
        (
            "netem preview --trace /run/trace --steps /run/steps",
            "`trace`: steps cannot change the rate",
        ),
        ("netem set", "nothing to change"),
        ("netem --config /run/profile.toml", "move it below a line `[profile]`"),
        ("netem --profile /run/link.toml --port tap:a --port tap:b", "by --config"),
        ("switch", "no ports"),
        ("switch --port tap:a,vlan=0", "from 1 to 4094"),
        ("switch --port tap:a --port tap:a", "two ports"),
        ("switch --port tap:a --ageing 5", "or `5s`?"),
        ("switch --port stdio --port tap:a", "is neither a pipe nor a socket"),
        ("switch --port tap:a --mirror x,ports=b", "names an unknown port"),
    ] {
        let (exit, errors) = refused(line);
        assert!(exit == 2 || (exit == 4 && line.contains("/nosuch")), "{line}: {exit}: {errors}");
        assert!(errors.contains(part), "{line}: {errors}");
    }
    assert_eq!(run("ip -br link show type tun"), "");
}
