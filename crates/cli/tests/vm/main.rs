//! Real machines: two QEMU guests with Debian's kernel on a switch, by TAPs and unix sockets; one behind a NAT; one as the
//! peer of a tunnel; a switch in one, whose kernel may be older than this one.
//!
//! `prepare.sh` makes the guest; without it these tests say that they are skipped, unless
//! `ADIT_REQUIRE=vm` turns that into a failure.
#![allow(clippy::unwrap_used, reason = "in a test, that is the assertion")]
#![allow(clippy::print_stdout, reason = "a test that is skipped says so")]

mod guest;
mod kernel;
mod nat;
#[allow(dead_code, reason = "shared with other tests, which use the rest")]
#[path = "../cli/support.rs"]
mod support;
mod tunnel;
#[path = "../cli/wires.rs"]
#[allow(dead_code, reason = "the other test binaries use the rest")]
mod wires;
#[allow(dead_code, reason = "shared with other tests, which use the rest")]
#[path = "../tunnel/world.rs"]
mod world;

use guest::{Guest, Nic};
use rustix::process::{Pid, Signal, kill_process};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

/// How long a switch may take to end.
const STOP_TIME_MAX: Duration = Duration::from_secs(10);

/// The folder that `prepare.sh` filled.
fn fixture() -> Option<PathBuf> {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/vm");
    let folder = std::env::var_os("ADIT_VM").map_or(default, PathBuf::from);
    if folder.join("initrd.gz").exists() {
        return Some(folder);
    }
    assert!(
        !std::env::var("ADIT_REQUIRE").is_ok_and(|what| what.split(',').any(|word| word == "vm")),
        "no guest in {}: crates/cli/tests/vm/prepare.sh makes it",
        folder.display()
    );
    println!("skipped: no guest; crates/cli/tests/vm/prepare.sh target/vm makes it");
    None
}

/// `adit switch` with these ports, ended when dropped.
struct Switch(Child);

impl Switch {
    fn start(ports: &[&str]) -> Self {
        let mut words = vec!["switch".to_owned()];
        words.extend(ports.iter().flat_map(|port| ["--port".to_owned(), (*port).to_owned()]));
        wires::add_words(&mut words);
        Self(support::bare(support::ADIT).args(words).spawn().unwrap())
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        // In order, so that its sockets go with it.
        let _ = kill_process(Pid::from_child(&self.0), Signal::TERM);
        let end = Instant::now() + STOP_TIME_MAX;
        while matches!(self.0.try_wait(), Ok(None)) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Both guests ping each other and move 4 MiB each way, with equal sums at both ends.
fn talk(left: &mut Guest, right: &mut Guest) {
    for (from, to) in [("10.88.0.2", "10.88.0.3"), ("10.88.0.3", "10.88.0.2")] {
        let (here, there) =
            if from.ends_with('2') { (&mut *left, &mut *right) } else { (&mut *right, &mut *left) };
        // Its ping waits a second for the last one.
        let all =
            (0..20).any(|_| here.run(&format!("ping -c 3 -W 10 {to}")).contains(" 0% packet loss"));
        assert!(all, "no three echoes in a row");
        here.run("dd if=/dev/urandom of=/tmp/data bs=64k count=64 2>/dev/null");
        here.run("socat -u FILE:/tmp/data TCP-LISTEN:7000 & sleep 0.2");
        let sent = here.run("sha256sum </tmp/data");
        let received = there.run(&format!("socat -u TCP:{from}:7000,retry=50 - | sha256sum"));
        assert!(sent.len() > 64 && sent == received, "sent {sent:?}, received {received:?}");
    }
}

#[test]
fn two_machines_talk_over_taps() {
    let Some(fixture) = fixture() else { return };
    support::enter();
    // The other end of a TAP is QEMU's, so the switch joins the interface itself.
    let mut left = Guest::start(&fixture, "10.88.0.2", &Nic::Tap("vm0"));
    let mut right = Guest::start(&fixture, "10.88.0.3", &Nic::Tap("vm1"));
    let _switch = Switch::start(&["dev:vm0", "dev:vm1"]);
    left.wait_ready();
    right.wait_ready();
    talk(&mut left, &mut right);
}

#[test]
fn two_machines_talk_over_a_unix_socket() {
    let Some(fixture) = fixture() else { return };
    support::enter();
    let folder = guest::Folder::new("vm-unix");
    let socket = folder.path("switch.sock");
    let _switch = Switch::start(&[&format!("unix:{}", socket.display())]);
    guest::wait_for(|| socket.exists());
    let mut left = Guest::start(&fixture, "10.88.0.2", &Nic::Stream(&socket));
    let mut right = Guest::start(&fixture, "10.88.0.3", &Nic::Stream(&socket));
    left.wait_ready();
    right.wait_ready();
    talk(&mut left, &mut right);
}

#[test]
fn a_machine_on_a_unix_socket_talks_to_one_on_a_tap() {
    let Some(fixture) = fixture() else { return };
    support::enter();
    let folder = guest::Folder::new("vm-mixed");
    let socket = folder.path("switch.sock");
    let mut left = Guest::start(&fixture, "10.88.0.2", &Nic::Tap("vm0"));
    let _switch = Switch::start(&["dev:vm0", &format!("unix:{},type=dgram", socket.display())]);
    guest::wait_for(|| socket.exists());
    let own = folder.path("guest.sock");
    let mut right = Guest::start(&fixture, "10.88.0.3", &Nic::Dgram { own: &own, peer: &socket });
    left.wait_ready();
    right.wait_ready();
    talk(&mut left, &mut right);
}
