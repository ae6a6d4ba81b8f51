//! `adit dev watch`.

use crate::support::{ADIT, adit, command, enter, parse, run, validate};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Stdio};

/// A watch that is ended with the test.
struct Watch {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Watch {
    fn start(words: &[&str]) -> Self {
        let mut child = command([ADIT].iter().chain(words)).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    fn next(&mut self) -> String {
        self.lines.next().expect("a further line within the time limit").unwrap()
    }

    /// The next event of this name.
    fn event(&mut self, name: &str) -> Value {
        loop {
            let event = parse(&self.next());
            if event["event"] == name {
                return event;
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // timeout(1) hands the signal on to its child.
        let pid = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.child.wait();
    }
}

#[test]
fn every_change_of_a_device_is_reported() {
    enter();
    adit("dev add tun0 --mode tun");
    let mut watch = Watch::start(&["-j", "dev", "watch"]);
    assert_eq!(watch.event("present")["device"]["ifname"], "tun0");
    run("ip link add br0 type bridge");
    adit("dev add tap0 --mode tap");
    let added = watch.event("added");
    assert_eq!(added["device"]["ifname"], "tap0", "the bridge is not told");
    adit("dev set tap0 --mtu 1300");
    while watch.event("changed")["device"]["mtu"] != 1300 {}
    adit("dev set tun0 --add-addr 192.0.2.1/24");
    assert_eq!(watch.event("address-added")["address"]["local"], "192.0.2.1");
    adit("dev set tun0 --del-addr 192.0.2.1/24");
    assert_eq!(watch.event("address-removed")["ifname"], "tun0");
    adit("dev set tun0 --name new0");
    while watch.event("changed")["device"]["ifname"] != "new0" {}
    adit("dev del new0");
    let removed = watch.event("removed");
    assert_eq!(removed["ifname"], "new0");

    validate(&[("dev-watch", added.to_string()), ("dev-watch", removed.to_string())]);
}

#[test]
fn a_watch_is_text_too() {
    enter();
    let mut watch = Watch::start(&["dev", "watch"]);
    // Devices from before it listens are reported as present, later ones as added.
    adit("dev add tun0 --mode tun --mtu 1400");
    let first = watch.next();
    assert!(first.starts_with("tun0 added: tun <") || first.starts_with("tun0 present: tun <"));
    adit("dev del tun0");
    while watch.next() != "tun0 removed" {}
}
