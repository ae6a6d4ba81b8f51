//! `kill -9` in any state, and start again.

use crate::program::{Program, address, debris, eventually, hosts, reaches, try_run};
use crate::support::{ADIT, adit_json, bare, refused, run};
use crate::wire::Random;
use rustix::process::{Pid, Signal, kill_process};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

/// One of each that leaves something behind if nobody cleans up.
const LINE: &str = "switch --name lab --port tap:a,netns=na --port tap:keep,netns=nb,persist=on \
                    --port unix:/run/stream.sock --port unix:/run/dgram.sock,type=dgram \
                    --port vxlan:127.0.0.1,port=4790 --mirror /run/x.pcapng";

/// A request whose reply nobody needs; `false` if it was not taken.
fn request(head: &str, body: &str) -> bool {
    let Ok(mut stream) = UnixStream::connect("/run/adit/lab.sock") else { return false };
    let length = body.len();
    let text = format!("{head} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}");
    stream.write_all(text.as_bytes()).is_ok() && stream.read(&mut [0; 4096]).is_ok_and(|n| n > 0)
}

/// Starts it, adds and removes ports, ends it; killed after so many microseconds.
fn cycle(kill_after: u64) {
    let mut child = bare(ADIT)
        .args(LINE.split_whitespace())
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    std::thread::scope(|scope| {
        // The child is waited for after this: its id is nobody else's.
        let killer = scope.spawn(move || {
            std::thread::sleep(Duration::from_micros(kill_after));
            kill_process(pid, Signal::KILL).unwrap();
        });
        while !killer.is_finished() && !request("GET /switch", "") {
            std::thread::sleep(Duration::from_millis(1));
        }
        for number in 0..3 {
            let add = format!(r#"{{"port": "tap:t{number},netns=na"}}"#);
            if !request("POST /ports", &add) || !request(&format!("DELETE /ports/t{number}"), "") {
                break;
            }
        }
        request("POST /stop", "");
    });
    child.wait().unwrap();
}

/// The devices of both hosts.
fn devices() -> String {
    ["na", "nb"].map(|host| run(&format!("ip -n {host} -br link show type tun"))).concat()
}

#[test]
fn a_kill_in_any_state_leaves_nothing_in_the_way() {
    let mut random = Random::new(6);
    hosts(&["na", "nb"]);
    let namespaces = run("ip netns list");
    for round in 0..30 {
        let kill_after = random.next() % 120_000;
        println!("round {round}: killed after {kill_after} us");
        cycle(kill_after);
        eventually("devices that were not to stay are gone", || {
            devices().lines().all(|line| line.starts_with("keep "))
        });
        if round % 3 > 0 {
            continue;
        }
        let mut program = Program::start(LINE);
        let ports = adit_json("switch show --name lab")["ports"].clone();
        let expected = ["forwarding", "forwarding", "listening", "listening", "forwarding"];
        let states = ports.as_array().unwrap().iter().map(|port| port["state"].clone());
        let states: Vec<String> = states.map(|state| state.as_str().unwrap().to_owned()).collect();
        assert!(states.iter().zip(expected).all(|(is, wanted)| is == wanted || is == "down"));
        assert_eq!(states.len(), expected.len());
        address("na", "a", "192.0.2.1/24");
        try_run("ip -n nb address add 192.0.2.2/24 dev keep");
        run("ip -n nb link set dev keep up");
        assert!(reaches("na", "192.0.2.2"), "it works at once");
        assert_eq!(debris(), ["lab.lock", "lab.sock"]);
        program.signal("TERM");
        assert!(program.wait().success());
        assert_eq!(debris(), [""; 0]);
        for path in ["/run/stream.sock", "/run/dgram.sock"] {
            assert!(!Path::new(path).exists(), "{path}");
        }
        let devices = devices();
        assert!(devices.starts_with("keep ") && devices.lines().count() == 1, "{devices}");
        assert_eq!(run("ip netns list"), namespaces);
    }
}

#[test]
fn a_link_is_killed_in_any_state_and_started_again() {
    let mut random = Random::new(7);
    hosts(&["na", "nb"]);
    let line = "netem --name wan --port tap:a,netns=na --port unix:/run/far.sock --delay 1ms";
    for _ in 0..10 {
        let mut child =
            bare(ADIT).args(line.split_whitespace()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_micros(random.next() % 40_000));
        child.kill().unwrap();
        child.wait().unwrap();
        eventually("its device went with it", || devices().is_empty());
    }
    let mut program = Program::start(line);
    assert!(devices().starts_with("a "));
    program.signal("TERM");
    assert!(program.wait().success());
    assert_eq!(debris(), [""; 0]);
    assert!(!Path::new("/run/far.sock").exists());
}

#[test]
fn of_two_that_start_at_once_one_runs_and_is_named_to_the_other() {
    hosts(&["na", "nb"]);
    let start = || {
        let mut command = bare(ADIT);
        command.args(["-j", "switch", "--name", "lab", "--port", "tap:a,netns=na"]);
        Program::spawn(command.stderr(Stdio::null()))
    };
    let mut both = [start(), start()];
    let mut ended = None;
    eventually("one of them gives way", || {
        ended = both.iter_mut().position(|program| program.ended().is_some());
        ended.is_some()
    });
    let second = ended.unwrap();
    assert_eq!(both[second].ended().unwrap().code(), Some(5));
    let first = &mut both[1 - second];
    first.wait_for("ready");
    let (exit, errors) = refused("switch --name lab --port tap:z");
    assert_eq!(exit, 5, "{errors}");
    assert!(errors.contains(&first.pid().to_string()), "{errors}");
    assert_eq!(run("ip -br link show type tun"), "", "the second made no device");
    assert!(devices().starts_with("a "), "and took none away");
    assert_eq!(debris(), ["lab.lock", "lab.sock"]);
}
