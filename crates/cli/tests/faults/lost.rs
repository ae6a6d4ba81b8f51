//! Something that a port stands on goes: one event, no spin, the rest goes on.

use crate::program::{PATIENCE, Program, reaches};
use crate::support::{ADIT, adit, bare, run};
use crate::wire::{addresses, is_at_rest, port, quiet_hosts, runs};
use std::io::Read;
use std::process::{Child, Stdio};
use std::time::Instant;

/// A switch with the hosts `a` and `b`, and one more port or more.
fn switch_with(more: &str) -> Program {
    let program =
        Program::start(&format!("switch --port tap:a,netns=na --port tap:b,netns=nb {more}"));
    addresses("ab");
    assert!(reaches("na", "192.0.2.2"));
    program
}

/// A port ended: one message reports it, nothing spins, and the two hosts have their traffic.
fn is_told_once(program: &mut Program, name: &str) {
    let gone = program.wait_for("port-gone");
    assert_eq!(gone["port"], name, "{gone}");
    assert!(gone["reason"].as_str().is_some_and(|why| !why.is_empty()), "{gone}");
    assert!(reaches("na", "192.0.2.2") && reaches("nb", "192.0.2.1"));
    is_at_rest(program.pid());
    assert_eq!(program.count("port-gone"), 1, "{:?}", program.seen);
    assert_eq!(program.count("failed"), 0, "{:?}", program.seen);
}

#[test]
fn a_device_is_deleted() {
    quiet_hosts(&["na", "nb", "nc"]);
    let mut program = switch_with("--port tap:c,netns=nc");
    run("ip -n nc link del dev c");
    is_told_once(&mut program, "tap:c");
}

#[test]
fn the_namespace_of_a_device_is_deleted() {
    quiet_hosts(&["na", "nb", "nc"]);
    let mut program = switch_with("--port tap:c,netns=nc");
    run("ip netns del nc");
    is_told_once(&mut program, "tap:c");
}

#[test]
fn an_interface_is_deleted() {
    quiet_hosts(&["na", "nb"]);
    run("ip link add l0 type veth peer name l1");
    run("ip link set l0 up");
    run("ip link set l1 up");
    let mut program = switch_with("--port dev:l0");
    run("ip link del l0");
    is_told_once(&mut program, "dev:l0");
}

#[test]
fn both_devices_of_a_link_are_deleted() {
    quiet_hosts(&["na", "nb"]);
    let mut program =
        Program::start("netem --port tap:a,netns=na --port tap:b,netns=nb --delay 1ms");
    for (letter, count) in [("a", 1), ("b", 2)] {
        run(&format!("ip -n n{letter} link del dev {letter}"));
        assert_eq!(program.wait_for("port-gone")["port"], format!("tap:{letter}"));
        is_at_rest(program.pid());
        assert_eq!(program.count("port-gone"), count);
    }
    assert!(adit("netem show").contains("gone"), "it can be asked still");
    program.signal("TERM");
    assert!(program.wait().success());
}

/// Another switch is the guest.
fn guest(port: &str) -> Child {
    let mut command = bare(ADIT);
    command.args(["-q", "switch", "--name", "guest", "--port", port]);
    command.stdin(Stdio::null()).spawn().unwrap()
}

#[test]
fn a_guest_at_a_unix_socket_is_killed() {
    quiet_hosts(&["na", "nb"]);
    for (listen, connect, name) in [
        ("unix:/run/s.sock", "unix:/run/s.sock,connect", "unix:/run/s.sock#1"),
        (
            "unix:/run/d.sock,type=dgram",
            "unix:/run/g.sock,type=dgram,remote=/run/d.sock",
            "unix:/run/d.sock#1",
        ),
    ] {
        let mut program = switch_with(&format!("--port {listen}"));
        let mut guest = guest(connect);
        // A guest with datagrams is there when it has said something: a probe for loops does.
        assert_eq!(program.wait_for("port-added")["port"], name);
        guest.kill().unwrap();
        guest.wait().unwrap();
        is_told_once(&mut program, name);
        assert_eq!(
            port(&listen.replace(",type=dgram", "").replace('/', "%2F"))["state"],
            "listening"
        );
        adit("switch stop --name switch");
        assert!(program.wait().success());
        let _ = std::fs::remove_file("/run/g.sock");
        let _ = std::fs::remove_file("/run/adit/guest.sock");
    }
}

/// A switch whose standard streams are pipes.
fn on_pipes(more: &[&str]) -> Child {
    let mut command = bare(ADIT);
    command.args(["-q", "switch", "--port", "tap:a,netns=na", "--port", "tap:b,netns=nb"]);
    command.args(["--port", "stdio"]).args(more);
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    runs();
    addresses("ab");
    assert!(reaches("na", "192.0.2.2"));
    child
}

/// It ends by itself, for `ssh HOST adit switch --port stdio` is to end with ssh(1), and leaves nothing.
fn ends(child: &mut Child) {
    let end = Instant::now() + PATIENCE;
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > end {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("it does not end");
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert_eq!(run("ip -n na -br link show type tun"), "");
    assert_eq!(crate::program::debris(), [""; 0]);
}

#[test]
fn the_other_end_of_the_standard_streams_goes() {
    quiet_hosts(&["na", "nb"]);
    // All of it, then only the way there, then only the way back.
    let mut child = on_pipes(&[]);
    drop((child.stdin.take(), child.stdout.take()));
    ends(&mut child);
    let mut child = on_pipes(&[]);
    let (mut stdout, _) = (child.stdout.take().unwrap(), child.stdin.take());
    ends(&mut child);
    stdout.read_to_end(&mut Vec::new()).unwrap();
    // Nothing is on its way there that would find out.
    let mut child = on_pipes(&["--loop-guard", "off"]);
    let (_stdin, _) = (child.stdin.take(), child.stdout.take());
    ends(&mut child);
}
