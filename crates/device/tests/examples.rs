//! Each example, run in a network namespace for a bounded time, with a host that talks to it.

mod support;

use adit_device::netlink::LinkChange;
use adit_device::{IfName, Link, Netns, netlink::Netlink};
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;
use support::{enter, run};

/// The binary of an example: `cargo test` builds it next to this test, `cargo test --test` does not.
fn binary(name: &str) -> PathBuf {
    let this = std::env::current_exe().expect("the path of this test");
    let folder = this.parent().and_then(|deps| deps.parent()).expect("target/PROFILE/deps/TEST");
    let path = folder.join("examples").join(name);
    assert!(
        path.exists(),
        "{}: build it with `cargo build --examples --all-features`",
        path.display()
    );
    path
}

/// An example that runs; it is killed if the test fails before the example exits.
struct Example {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Example {
    /// Starts it and waits for its first line, which it prints when its devices are up.
    fn start(name: &str, args: &str) -> Self {
        let mut child = Command::new("timeout")
            .arg("60")
            .arg(binary(name))
            .args(args.split_whitespace())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("start the example");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let first = lines.next().expect("a first line").expect("readable");
        assert!(first.contains("up"), "{first}");
        Self { child, lines }
    }

    /// Waits until it exits and returns the rest of its output.
    fn finish(mut self) -> String {
        let rest: Vec<String> = self.lines.by_ref().map_while(Result::ok).collect();
        let status = self.child.wait().expect("wait for the example");
        assert!(status.success(), "{status}: {rest:?}");
        rest.join("\n")
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_network_answers_pings() {
    enter();
    let example = Example::start("icmp_responder", "tun0 192.0.2.1/24 3");
    run("ping -n -c 3 -i 0.1 -W 10 192.0.2.77");
    assert_eq!(example.finish(), "answered 3");
}

#[test]
fn two_taps_carry_super_packets() {
    enter();
    let (here, there) = (Netns::current().unwrap(), Netns::new_anonymous().unwrap());
    let example = Example::start("forward_taps", "tap0 tap1 2 6s");
    let name = |name: &str| name.parse::<IfName>().unwrap();
    let (near, far) = (Link::find(&name("tap0")).unwrap(), Link::find(&name("tap1")).unwrap());
    far.move_to(&there).unwrap();
    for (link, address) in [(&near, "192.0.2.1/24"), (&far, "192.0.2.2/24")] {
        link.add_address(&address.parse().unwrap()).unwrap();
        link.set_up(true).unwrap();
    }
    drop(here);

    // A megabyte over TCP: on this device the kernel sends it as super-packets.
    let sent = vec![7; 1 << 20];
    let received = std::thread::scope(|scope| {
        let listener = there.run(|| std::net::TcpListener::bind("192.0.2.2:0")).unwrap().unwrap();
        let to = listener.local_addr().unwrap();
        let receiver = scope.spawn(move || {
            let mut received = Vec::new();
            let (mut stream, _) = listener.accept().unwrap();
            std::io::Read::read_to_end(&mut stream, &mut received).unwrap();
            received
        });
        let mut stream =
            std::net::TcpStream::connect_timeout(&to, Duration::from_secs(30)).unwrap();
        std::io::Write::write_all(&mut stream, &sent).unwrap();
        drop(stream);
        receiver.join().unwrap()
    });
    assert!(received == sent, "{} bytes arrived", received.len());
    let packets = near.info().unwrap().stats;
    let report = example.finish();
    let forwarded: u64 = report.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(forwarded < 1 << 20 >> 11, "{report}: a packet carries several segments ({packets:?})");
}

#[test]
fn tokio_counts_protocols() {
    enter();
    // Without a local network of its own, the namespace answers nothing that comes back.
    let mut netlink = Netlink::open().unwrap();
    let lo = netlink.link_by_name(&"lo".parse().unwrap()).unwrap().index;
    netlink.set_link(lo, &LinkChange::new().up(true)).unwrap();
    let example = Example::start("tokio_monitor", "tun0 192.0.2.1/24 2s");
    let socket = std::net::UdpSocket::bind("192.0.2.1:0").unwrap();
    for _ in 0..5 {
        socket.send_to(b"hello", "192.0.2.77:9").unwrap();
    }
    let report = example.finish();
    let udp = report.lines().find_map(|line| line.strip_prefix("protocol 17: ")).unwrap();
    assert!(udp.parse::<u64>().unwrap() >= 5, "{report}");
}
