//! Something runs short: room on a disk, descriptors, a reader's patience.

use crate::program::{Ended, Program, eventually, reaches, try_run};
use crate::support::{ADIT, adit, bare, command, run};
use crate::wire::{
    BROADCAST, OURS, Wire, addresses, arrive, arrived, ask, dropped, frame, is_at_rest, mac_of,
    port, quiet_hosts, runs,
};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;
use std::process::Stdio;

fn switch_with(more: &str) -> Program {
    let program = Program::start(&format!(
        "switch --port tap:a,netns=na,txqueuelen=20000 --port tap:b,netns=nb {more}"
    ));
    addresses("ab");
    assert!(reaches("na", "192.0.2.2"));
    program
}

/// Frames for all from `a`, more than any queue holds.
fn flood(count: u64) {
    let (wire, mac) = (Wire::open("na", "a"), mac_of("na", "a"));
    let frame = frame(BROADCAST, mac, OURS, &[7; 1000]);
    let mut seen = arrived("a");
    for _ in 0..count / 1000 {
        for _ in 0..1000 {
            wire.send(&frame);
        }
        seen += 1000;
        arrive("a", seen);
    }
}

#[test]
fn a_full_disk_ends_the_recording_and_nothing_else() {
    quiet_hosts(&["na", "nb"]);
    std::fs::create_dir("/run/small").unwrap();
    run("mount -t tmpfs -o size=1m none /run/small");
    let mut program = switch_with("--mirror /run/small/x.pcapng");
    flood(2000);
    let ended = program.wait_for("mirror-ended");
    assert!(ended["reason"].as_str().unwrap().contains("No space"), "{ended}");
    assert!(reaches("na", "192.0.2.2") && reaches("nb", "192.0.2.1"));
    is_at_rest(program.pid());
    assert_eq!(program.count("mirror-ended"), 1);
    let (ok, text) = try_run("capinfos -T -r -c /run/small/x.pcapng");
    assert!(ok && !text.contains("cut short"), "{text}");
}

#[test]
fn a_pipe_without_a_reader_is_refused_as_a_mirror() {
    quiet_hosts(&[]);
    run("mkfifo /run/pipe");
    let line = format!("{ADIT} switch --port tap:a --mirror /run/pipe");
    let output = command(line.split(' ')).output().unwrap();
    // 124 and 137 would be those of timeout(1).
    assert!(output.status.code().is_some_and(|code| (1..10).contains(&code)), "{output:?}");
    assert_eq!(run("ip -br link show type tun"), "");
}

#[test]
fn a_pipe_as_a_recording_is_refused_and_the_switch_goes_on() {
    quiet_hosts(&["na", "nb"]);
    let program = switch_with("");
    run("mkfifo /run/pipe");
    let line = format!("{ADIT} switch port add pcap:/run/pipe");
    let output = command(line.split(' ')).output().unwrap();
    assert!(output.status.code().is_some_and(|code| (1..10).contains(&code)), "{output:?}");
    assert!(reaches("na", "192.0.2.2"));
    // It ends by SIGTERM.
    drop(program);
}

#[test]
fn a_guest_that_never_reads_holds_nobody_up() {
    quiet_hosts(&["na", "nb"]);
    let mut program = switch_with("--port unix:/run/s.sock --port unix:/run/d.sock,type=dgram");
    let _stream = UnixStream::connect("/run/s.sock").unwrap();
    assert_eq!(program.wait_for("port-added")["port"], "unix:/run/s.sock#1");
    let dgram = UnixDatagram::bind("/run/g.sock").unwrap();
    dgram.send_to(&frame(BROADCAST, [2, 0, 0, 0, 0, 9], OURS, &[]), "/run/d.sock").unwrap();
    assert_eq!(program.wait_for("port-added")["port"], "unix:/run/d.sock#1");
    flood(3000);
    assert!(reaches("na", "192.0.2.2") && reaches("nb", "192.0.2.1"));
    for name in ["unix:%2Frun%2Fs.sock", "unix:%2Frun%2Fd.sock"] {
        let ends = ask("switch", &format!("GET /ports/{name}"), "");
        let drops: u64 = ends.as_array().unwrap().iter().map(|end| dropped(end, "egress")).sum();
        assert!(drops > 1000, "{ends}");
    }
    let b = port("b");
    assert!(b["egress"]["frames"].as_u64().unwrap() >= 3000, "{b}");
    is_at_rest(program.pid());
    assert_eq!(program.count("port-gone"), 0);
}

#[test]
fn no_descriptor_is_left() {
    quiet_hosts(&["na", "nb"]);
    let mut program = switch_with("--port unix:/run/s.sock");
    let pid = program.pid();
    // Accepted before a later one is.
    let mut early = UnixStream::connect("/run/adit/switch.sock").unwrap();
    adit("switch show");
    // All numbers below the limit are in use; it may have inherited others above it.
    let is_open = |number: &u32| Path::new(&format!("/proc/{pid}/fd/{number}")).is_symlink();
    let limit = (0..).find(|number| !is_open(number)).unwrap();
    run(&format!("prlimit --pid {pid} --nofile={limit}:"));
    // What the helper opens has no room either.
    let body = r#"{"port": "tap:z"}"#;
    let head = format!("POST /ports HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.len());
    early.write_all(format!("{head}{body}").as_bytes()).unwrap();
    let mut reply = String::new();
    early.read_to_string(&mut reply).unwrap();
    assert!(reply.contains("Too many open files"), "{reply}");
    let guests: Vec<_> = (0..8).map(|_| UnixStream::connect("/run/s.sock").unwrap()).collect();
    let failed = program.wait_for("failed");
    assert!(failed["message"].as_str().unwrap().contains("files"), "{failed}");
    // Somebody asks as well, and has to wait.
    let mut asker = UnixStream::connect("/run/adit/switch.sock").unwrap();
    asker.write_all(b"GET /switch HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    assert!(reaches("na", "192.0.2.2") && reaches("nb", "192.0.2.1"));
    is_at_rest(pid);
    assert_eq!(program.count("failed"), 1, "{:?}", program.seen);
    assert!(program.count("port-added") < guests.len());
    run(&format!("prlimit --pid {pid} --nofile={}:", limit + 64));
    eventually("all are there", || program.count("port-added") == guests.len());
    let mut reply = String::new();
    asker.read_to_string(&mut reply).unwrap();
    assert!(reply.starts_with("HTTP/1.1 200"), "{reply}");
    assert_eq!(adit("switch port add tap:c"), "tap:c added\n");
    assert_eq!(program.count("failed"), 1, "{:?}", program.seen);
}

#[test]
fn a_reader_of_events_that_sleeps_holds_nobody_up() {
    quiet_hosts(&["na", "nb"]);
    let mut command = bare(ADIT);
    command.args(["-j", "switch", "--port", "tap:a,netns=na", "--port", "tap:b,netns=nb"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = Ended(command.spawn().unwrap());
    runs();
    addresses("ab");
    assert!(reaches("na", "192.0.2.2"));
    // Nobody reads, and the messages exceed the pipe.
    let stdout = child.0.stdout.take().unwrap();
    rustix::pipe::fcntl_setpipe_size(&stdout, 4096).unwrap();
    let add = || ask("switch", "POST /ports", r#"{"port": "tap:t"}"#);
    for _ in 0..150 {
        assert_eq!(add()["done"][0], "tap:t added");
        assert_eq!(ask("switch", "DELETE /ports/t", "")["done"][0], "tap:t removed");
    }
    assert!(reaches("na", "192.0.2.2") && reaches("nb", "192.0.2.1"));
    is_at_rest(child.0.id());
    // A later reader gets whole lines, from the first on.
    let mut lines = BufReader::new(stdout).lines();
    let mut next = || serde_json::from_str::<Value>(&lines.next().unwrap().unwrap()).unwrap();
    assert_eq!(next()["event"], "ready");
    assert!((0..50).all(|_| next()["event"].is_string()));
    // A reader that goes is no reason to end either.
    drop(lines);
    assert_eq!(add()["done"][0], "tap:t added");
    assert!(reaches("na", "192.0.2.2"));
    assert!(child.0.try_wait().unwrap().is_none());
    ask("switch", "POST /stop", "");
    assert!(child.0.wait().unwrap().success());
}
