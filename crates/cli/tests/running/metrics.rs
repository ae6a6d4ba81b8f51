//! Metrics of switches and links, and those of all programs by `adit exporter`.

use crate::program::{Ended, PATIENCE, Program, address, eventually, hosts, reaches};
use crate::scrape::{OPEN, Scrape, check};
use crate::support::{ADIT, adit_json, bare, command, refused, run};
use serde_json::{Value, json};
use std::io::Write;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::thread::JoinHandle;

/// Starts `adit exporter` in the namespace of this thread, with its address.
fn exporter() -> (Ended, &'static str) {
    const ADDRESS: &str = "127.0.0.1:9586";
    let child = bare(ADIT)
        .args(["exporter", "--sandbox", "require"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let exporter = Ended(child.unwrap());
    eventually("the exporter listens", || TcpStream::connect(ADDRESS).is_ok());
    (exporter, ADDRESS)
}

/// What `show` has of a port equals its metrics.
fn assert_agrees(page: &Scrape, port: &Value) {
    let name = format!("port={}", port["name"]);
    for direction in ["ingress", "egress"] {
        let labels = [name.as_str(), &format!("direction=\"{direction}\"")];
        let shown = &port[direction];
        assert_eq!(
            json!(page.value("adit_port_frames_total", &labels)),
            json!(shown["frames"].as_f64())
        );
        assert_eq!(
            json!(page.value("adit_port_bytes_total", &labels)),
            json!(shown["bytes"].as_f64())
        );
        let drops = shown["drops"].as_object().unwrap();
        let counted: f64 = drops.values().map(|count| count.as_f64().unwrap()).sum();
        let of_link = page.sum("adit_drops_total", &[labels[0], labels[1], "link=\"netem\""]);
        assert_eq!(page.sum("adit_drops_total", &labels) - of_link, counted, "{port}");
    }
}

/// Two hosts at a switch, of which one has a link that loses half. No frame is there but those of the test.
fn quiet_hosts() -> Program {
    hosts(&["na", "nb"]);
    for netns in ["na", "nb"] {
        run(&format!("ip netns exec {netns} sysctl -qw net.ipv6.conf.default.disable_ipv6=1"));
    }
    let ports = "--port tap:a,netns=na --port tap:b,netns=nb,netem=loss=50%";
    let switch = Program::start(&format!("switch --name sw --seed 1 --loop-guard off {ports}"));
    address("na", "a", "192.0.2.1/24");
    address("nb", "b", "192.0.2.2/24");
    for (netns, device, other, to) in [("na", "a", "b", 2), ("nb", "b", "a", 1)] {
        let mac = run(&format!("ip netns exec n{other} cat /sys/class/net/{other}/address"));
        run(&format!("ip -n {netns} neigh add 192.0.2.{to} lladdr {} dev {device}", mac.trim()));
    }
    switch
}

/// Clients that scrape again and again until the end, and see that nothing runs backwards.
struct Scrapers {
    ends: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Scrapers {
    fn start(count: usize) -> Self {
        let (ends, begins) = (Arc::new(AtomicBool::new(false)), Arc::new(Barrier::new(count + 1)));
        let scraper = |_| {
            let (ends, begins) = (Arc::clone(&ends), Arc::clone(&begins));
            std::thread::spawn(move || {
                begins.wait();
                let mut last = 0.0;
                loop {
                    let page = Scrape::of("sw");
                    assert!(page.head.starts_with("HTTP/1.1 200 OK"), "{}", page.head);
                    let now = page.sum("adit_port_frames_total", &["direction=\"ingress\""]);
                    assert!(now >= last, "{now} after {last}");
                    last = now;
                    if ends.load(Ordering::Relaxed) {
                        return;
                    }
                }
            })
        };
        let threads = (0..count).map(scraper).collect();
        begins.wait();
        Self { ends, threads }
    }

    fn end(self) {
        self.ends.store(true, Ordering::Relaxed);
        self.threads.into_iter().for_each(|one| one.join().expect("each scrape succeeds"));
    }
}

#[test]
fn every_counter_agrees_with_what_was_sent_while_a_hundred_scrape() {
    let _switch = quiet_hosts();
    let sum = |page: &Scrape, port: &str, direction: &str, name: &str| {
        let labels = [format!("port=\"tap:{port}\""), format!("direction=\"{direction}\"")];
        page.sum(&format!("adit_{name}"), &[labels[0].as_str(), labels[1].as_str()])
    };
    let before = Scrape::of("sw");
    // Some more clients never read what they get.
    let deaf: Vec<UnixStream> = (0..20)
        .map(|_| {
            let mut client = UnixStream::connect("/run/adit/sw.sock").unwrap();
            client.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").unwrap();
            client
        })
        .collect();
    let scrapers = Scrapers::start(100);
    run("ip netns exec na ping -n -q -c 500 -i 0.002 -W 1 -s 100 192.0.2.2");
    scrapers.end();
    drop(deaf);

    let (page, show) = (Scrape::of("sw"), adit_json("switch show"));
    let new = |port: &str, direction: &str, name: &str| {
        sum(&page, port, direction, name) - sum(&before, port, direction, name)
    };
    assert_eq!(new("a", "ingress", "port_frames_total"), 500.0);
    // Ethernet, IP and ICMP headers are 42 bytes.
    assert_eq!(new("a", "ingress", "port_bytes_total"), 500.0 * 142.0);
    assert_eq!(new("b", "egress", "port_frames_total"), 500.0);
    // What the link of b did: each packet was delivered or lost, and each that was delivered was answered.
    assert_eq!(new("b", "egress", "link_received_total"), 500.0);
    let [delivered, lost] = ["delivered_total", "lost_total"];
    let link = |direction: &str, name: &str| new("b", direction, &format!("link_{name}"));
    assert_eq!(link("egress", delivered) + link("egress", lost), 500.0);
    assert_eq!(link("ingress", "received_total"), link("egress", delivered));
    assert_eq!(new("a", "egress", "port_frames_total"), link("ingress", delivered));
    assert!(link("egress", lost) > 100.0 && sum(&page, "b", "egress", "link_held") == 0.0);
    let loss = ["link=\"netem\"", "reason=\"loss\""];
    let both = link("egress", lost) + link("ingress", lost);
    assert_eq!(page.sum("adit_drops_total", &loss), both);
    // And nothing else was lost: no packet to the scrapers.
    assert_eq!(page.sum("adit_drops_total", &[]), both);
    show["ports"].as_array().unwrap().iter().for_each(|port| assert_agrees(&page, port));
    assert!(page.value("adit_loop_turn_seconds_count", &[]) > 100.0);
    let requests = page.value("adit_control_requests_total", &["result=\"answered\""]);
    assert!(requests > 100.0, "{requests}");
}

/// A namespace behind a NAT: echoes to the gateway, datagrams and connections to the host, and what is denied.
#[test]
fn every_counter_of_a_nat_agrees_with_what_was_sent() {
    hosts(&["box"]);
    let options = "--allow-host 7 --deny 198.51.100.0/24 --publish 8080:80 --flow-log /run/flows";
    let _nat = Program::start(&format!("nat attach box --name gw --metrics 9587 {options}"));
    // Nothing but the test sends.
    run("ip netns exec box sysctl -qw net.ipv6.conf.tun0.disable_ipv6=1");
    let page = || Scrape::at("127.0.0.1:9587", "GET /metrics", OPEN);
    let before = page();
    run("ip netns exec box ping -q -c 100 -i 0.002 -W 5 -s 100 10.0.2.2");
    let after = page();
    for direction in ["ingress", "egress"] {
        let labels = ["port=\"tun0\"", &format!("direction=\"{direction}\"")];
        let new = |name: &str| after.value(name, &labels) - before.value(name, &labels);
        assert_eq!(new("adit_port_frames_total"), 100.0, "{direction}");
        // IP and ICMP headers are 28 bytes.
        assert_eq!(new("adit_port_bytes_total"), 100.0 * 128.0, "{direction}");
    }
    assert_eq!(after.value("adit_port_up", &["port=\"tun0\""]), 1.0);
    assert_eq!(after.value("adit_nat_published_ports", &[]), 2.0, "for IPv4 and IPv6");
    assert_eq!(after.value("adit_nat_flow_log_lost_lines_total", &[]), 0.0);

    // Two flows are open while both wait for an answer that never comes.
    let server = std::net::UdpSocket::bind("127.0.0.1:7").unwrap();
    let send = "import socket
for _ in range(2):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.sendto(b'x', ('10.0.2.2', 7))
    s.sendto(b'x', ('198.51.100.1', 7))";
    let mut client = command(["ip", "netns", "exec", "box", "python3", "-c", send]);
    assert!(client.status().unwrap().success());
    server.set_read_timeout(Some(PATIENCE)).unwrap();
    (0..2).for_each(|_| assert_eq!(server.recv(&mut [0; 9]).unwrap(), 1));
    let last = page();
    let show = adit_json("nat show");
    let flows = last.value("adit_nat_flows", &[]);
    assert_eq!(Some(flows), show["flows"].as_f64());
    assert!(flows >= 2.0, "{flows}: both sockets, and the echoes until they expire");
    let dropped = show["dropped"].as_object().unwrap();
    assert!(!dropped.is_empty(), "{show}");
    for (why, count) in dropped {
        let labels = [format!("reason=\"{why}\"")];
        let value = last.value("adit_drops_total", &[&labels[0]]);
        assert_eq!(Some(value), count.as_f64(), "{why}");
    }
    let ingress = last.value("adit_port_bytes_total", &["direction=\"ingress\""]);
    assert_eq!(Some(ingress), show["received_bytes"].as_f64());
    check(&Scrape::at("127.0.0.1:9587", "GET /metrics", "text/plain"));
}

#[test]
fn the_exporter_has_all_programs_and_says_which_does_not_answer() {
    hosts(&["na", "nb", "nc", "nd"]);
    let (exporter, at) = exporter();
    let status = || std::fs::read_to_string(format!("/proc/{}/status", exporter.0.id())).unwrap();
    eventually("its sandbox is entered", || status().contains("Seccomp:\t2"));
    // CAP_DAC_OVERRIDE: the tests run as root of their namespace.
    assert!(status().contains("CapEff:\t0000000000000002\nCapBnd:\t0000000000000000\n"));
    let page = |accept: &str| Scrape::at(at, "GET /metrics", accept);
    assert_eq!(page(OPEN).body, "# EOF\n", "nothing runs");
    check(&page("text/plain"));
    let line = "switch --name sw --mirror /run/all.pcapng --port tap:a,netns=na --port tap:b,netns=nb,netem=delay=1ms";
    let switch = Program::start(line);
    let mut link =
        Program::start("netem --name slow --port tap:c,netns=nc --port tap:d,netns=nd --loss 100%");
    for (netns, device, host) in [("na", "a", 1), ("nb", "b", 2)] {
        address(netns, device, &format!("192.0.2.{host}/24"));
    }
    assert!(reaches("na", "192.0.2.2"));
    check(&page("text/plain"));
    let all = page(OPEN);
    assert!(all.head.contains("application/openmetrics-text; version=1.0.0"), "{}", all.head);
    for (name, kind) in [("sw", "switch"), ("slow", "netem")] {
        let name = format!("name=\"{name}\"");
        let version = format!("version=\"{}\"", env!("CARGO_PKG_VERSION"));
        let labels = [name.as_str(), &format!("kind=\"{kind}\""), &version];
        assert_eq!(all.value("adit_build_info", &labels), 1.0);
        assert_eq!(all.value("adit_up", &[&name]), 1.0);
        let started = all.value("adit_start_time_seconds", &[&name]);
        let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs_f64();
        assert!(started <= now && started > now - 600.0, "{started} {now}");
    }
    assert_eq!(all.value("adit_switch_addresses", &["name=\"sw\""]), 2.0);
    assert!(all.value("adit_mirror_frames_total", &["to=\"/run/all.pcapng\""]) > 0.0);
    assert_eq!(all.find("adit_link_held", &["name=\"slow\""]).len(), 2, "both directions");
    assert_eq!(all.value("adit_port_up", &["name=\"sw\"", "port=\"tap:a\""]), 1.0);
    assert_eq!(all.body.matches("# TYPE adit_build info").count(), 1, "a family stands once");
    let head = Scrape::at(at, "HEAD /metrics", OPEN);
    assert!(head.head.starts_with("HTTP/1.1 200 OK") && head.body.is_empty(), "{head:?}");
    assert!(Scrape::at(at, "GET /", OPEN).head.starts_with("HTTP/1.1 404 "));

    // One that hangs takes nothing from the others.
    switch.signal("STOP");
    let some = page(OPEN);
    assert_eq!(some.value("adit_up", &["name=\"sw\""]), 0.0);
    assert_eq!(some.value("adit_up", &["name=\"slow\""]), 1.0);
    assert_eq!(some.find("adit_build_info", &["name=\"sw\""]), [0.0; 0]);
    switch.signal("CONT");
    // A killed one leaves its socket; one that ended is not there.
    drop(switch);
    link.signal("TERM");
    assert!(link.wait().success());
    let rest = page(OPEN);
    assert_eq!(rest.value("adit_up", &[]), 0.0, "{}", rest.body);
    // The port is taken.
    let (status, told) = refused("exporter");
    assert_eq!(status, 5, "{told}");
    assert!(told.contains("E0849") && told.contains("127.0.0.1:9586"), "{told}");
    run(&format!("kill -TERM {}", exporter.0.id()));
    let mut exporter = exporter;
    assert!(exporter.0.wait().unwrap().success());
}

#[test]
fn a_program_serves_its_metrics_by_tcp_if_that_is_wanted() {
    hosts(&["na"]);
    std::fs::write("/run/sw.toml", "metrics = 9001\n").unwrap();
    let _switch = Program::start("switch --config /run/sw.toml --port tap:a,netns=na");
    let page = Scrape::at("127.0.0.1:9001", "GET /metrics", "*/*");
    check(&page);
    assert_eq!(page.value("adit_build_info", &["name=\"switch\""]), 1.0);
    // The option counts more than the file; another address must be given.
    let _other = Program::start(
        "switch --config /run/sw.toml --name x --metrics 127.0.0.9:9002 --port tap:b",
    );
    assert!(TcpStream::connect("127.0.0.1:9002").is_err());
    let page = Scrape::at("127.0.0.9:9002", "GET /metrics", OPEN);
    assert_eq!(page.value("adit_build_info", &[]), 1.0);
    let (status, told) = refused("switch --config /run/sw.toml --name y");
    assert_eq!(status, 5, "{told}");
    assert!(told.contains("cannot listen for metrics on 127.0.0.1:9001"), "{told}");
    let (status, told) = refused("switch --metrics localhost:9586");
    assert_eq!(status, 2, "{told}");
    std::fs::write("/run/bad.toml", "metrics = \"everywhere\"\n").unwrap();
    let (status, told) = refused("check /run/bad.toml");
    assert!(status == 2 && told.contains("metrics"), "{told}");
}
