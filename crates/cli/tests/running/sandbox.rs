//! What a program could do once somebody else's code runs in it: nothing that is not its work.

use crate::program::{Ended, Program, address, eventually, hosts};
use crate::support::{ADIT, adit, adit_json, bare, refused, run};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// What an attempt exits with that was refused, and did not end the process.
const REFUSED: i32 = 90;

/// SIGSYS.
const BAD_CALL: i32 = 31;

/// A file of a tunnel, for this user alone.
fn tunnel_file() -> &'static str {
    const FILE: &str = "/run/site.conf";
    let key = adit("tunnel genkey");
    std::fs::write(FILE, format!("[Interface]\nPrivateKey = {key}Address = 10.9.0.1/24\n"))
        .unwrap();
    run(&format!("chmod 600 {FILE}"));
    FILE
}

/// Each command that keeps running, and whether it has a helper.
fn commands() -> Vec<(Vec<String>, bool)> {
    let tunnel = format!("tunnel up {}", tunnel_file());
    std::fs::write("/run/lab.toml", "[host.h]\n").unwrap();
    let run = format!("run --tunnel {}", tunnel_file());
    let lines = [
        ("lab up /run/lab.toml", true),
        ("switch --port tap:a --port tap:b", true),
        ("netem --port tap:c --port tap:d --delay 5ms", true),
        (tunnel.as_str(), true),
        ("capture tun%d --create", false),
        ("nat serve tap:e", false),
        (run.as_str(), true),
        ("run --net nat", false),
        ("run --net none", false),
    ];
    let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    lines.map(|(line, has_helper)| (words(line), has_helper)).to_vec()
}

/// Runs a command that tries something in its sandbox; how it ended, and what it wrote.
fn attempt(words: &[String], what: &str) -> (Option<i32>, Option<i32>, String) {
    let mut command = bare("timeout");
    command.args(["-s", "KILL", "60", ADIT]).args(words).args(["--sandbox", "require"]);
    command.env("ADIT_FAILPOINT", format!("sandbox-{what}")).env("HOME", "/run");
    let output = command.stdin(Stdio::null()).output().unwrap();
    let code = output.status.code();
    // timeout(1) ends by the signal of its child, or exits with 128 and its number.
    let signal = output.status.signal().or(code.filter(|code| *code > 128).map(|code| code - 128));
    (code, signal, String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn foreign_code_in_a_sandbox_opens_no_file_no_socket_and_no_device() {
    hosts(&[]);
    for (words, has_helper) in commands() {
        for what in ["open", "create", "device", "socket", "exec", "mount", "ptrace", "helper"] {
            if what == "helper" && !has_helper {
                continue;
            }
            let (mut code, mut signal, mut errors) = attempt(&words, what);
            // The device of the attempt before is closed a moment after its process has ended.
            eventually("the device is free", || {
                let is_free = !errors.contains("EBUSY");
                if !is_free {
                    (code, signal, errors) = attempt(&words, what);
                }
                is_free
            });
            let is_killed = signal == Some(BAD_CALL) && errors.contains("forbids the system call");
            assert!(
                code == Some(REFUSED) || is_killed,
                "{words:?} {what}: {code:?} {signal:?} {errors}"
            );
            assert!(!Path::new("/tmp/adit-exercise").exists(), "{words:?} {what}");
        }
        let (_, signal, errors) = attempt(&words, "ptrace");
        assert_eq!(signal, Some(BAD_CALL), "{words:?}: {errors}");
        assert!(errors.contains("the sandbox forbids the system call ptrace"), "{errors}");
    }
}

fn status(pid: u32, key: &str) -> String {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(key));
    line.unwrap_or_default().trim().to_owned()
}

#[test]
fn a_worker_has_no_capability_and_show_says_what_is_in_force() {
    hosts(&[]);
    let switch = Program::start("switch --port tap:a --sandbox require");
    let link = Program::start("netem --port tap:b --port tap:c --sandbox require");
    let words = ["tunnel", "up", tunnel_file(), "--sandbox", "require"];
    let tunnel = bare(ADIT).args(words).env("HOME", "/run").stderr(Stdio::null()).spawn().unwrap();
    let tunnel = Ended(tunnel);
    eventually("the tunnel is up", || !adit_json("tunnel show").as_array().unwrap().is_empty());
    eventually("its last stage is entered", || status(tunnel.0.id(), "Seccomp:") == "2");
    std::fs::write("/run/lab.toml", "[host.h]\n").unwrap();
    let lab = Program::start("lab up --sandbox require /run/lab.toml");
    for pid in [switch.pid(), link.pid(), tunnel.0.id(), lab.pid()] {
        let all = ["CapEff:", "CapPrm:", "NoNewPrivs:", "Seccomp:"].map(|key| status(pid, key));
        let none = "0000000000000000";
        assert_eq!(all, [none, none, "1", "2"], "{pid}");
    }
    for shown in [
        adit_json("switch show"),
        adit_json("netem show"),
        adit_json("tunnel show")[0].clone(),
        adit_json("lab show"),
    ] {
        let sandbox = &shown["sandbox"];
        assert_eq!(sandbox["capabilities"].as_array().unwrap().len(), 0, "{sandbox}");
        assert_eq!(sandbox["no_new_privs"], true);
        assert!(sandbox["landlock"].as_u64().unwrap() > 0, "{sandbox}");
        assert!(sandbox["system_calls"].as_u64().unwrap() <= 60, "{sandbox}");
        assert!(sandbox["helper"].as_u64().unwrap() > 0, "{sandbox}");
    }
    assert!(adit("switch show").contains("sandbox: no capabilities, files by Landlock"));
    drop((switch, link, lab));
    let off = Program::start("switch --port tap:a --sandbox off");
    assert_eq!(adit_json("switch show")["sandbox"], serde_json::Value::Null);
    assert_ne!(status(off.pid(), "CapEff:"), "0000000000000000");
}

#[test]
fn a_switch_in_its_sandbox_gets_ports_of_every_kind_by_its_helper() {
    hosts(&["na"]);
    run("ip link add veth0 type veth peer name veth1");
    run("ip link set veth0 up");
    run("ip link set veth1 up");
    let mut switch = Program::start("switch --port tap:a --sandbox require");
    for port in
        ["tap:b,vlan=7", "tap:c,netns=na", "dev:veth0", "unix:/run/x.sock", "vxlan:127.0.0.1,vni=5"]
    {
        adit(&format!("switch port add {port}"));
    }
    address("na", "c", "10.0.0.1/24");
    eventually("the device in the other namespace is followed", || {
        run("ip netns exec na ip link set c up");
        adit_json("switch show")["ports"][2]["state"] == "forwarding"
    });
    adit("switch set tap:a mirror=/run/a.pcapng");
    let (exit, errors) = refused("switch port add tap:absolutely_too_long_a_name");
    assert_eq!(exit, 2, "{errors}");
    let (_, errors) = refused("switch port add dev:absent0");
    assert!(errors.contains("absent0") && errors.contains("ADIT-E0223"), "{errors}");
    // A file that is there is replaced only by a recording, and only if it is one.
    std::fs::write("/run/precious", "text").unwrap();
    let (_, errors) = refused("switch set tap:b mirror=/run/precious");
    assert!(errors.contains("ermission denied"), "{errors}");
    assert_eq!(std::fs::read_to_string("/run/precious").unwrap(), "text");
    adit("switch port del unix:/run/x.sock");
    assert!(!Path::new("/run/x.sock").exists());
    // Without the helper it moves packets, and says why it opens nothing.
    let helper = adit_json("switch show")["sandbox"]["helper"].as_u64().unwrap();
    run(&format!("kill -9 {helper}"));
    eventually("the helper has ended", || {
        refused("switch port add unix:/run/y.sock").1.contains("helper process has ended")
    });
    assert!(switch.ended().is_none());
}

/// Starts a program with one end of a connected pair of datagram sockets as descriptor 9.
const WITH_SOCKET: &str = "
import os, socket, sys
pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
os.dup2(pair[0].fileno(), 9)
os.set_inheritable(pair[1].fileno(), True)
os.execv(sys.argv[1], sys.argv[1:])
";

#[test]
fn a_switch_in_its_sandbox_takes_relative_paths_and_descriptors() {
    hosts(&[]);
    std::fs::create_dir("/run/lan").unwrap();
    let text = "name = \"lan\"\n[[port]]\nport = \"tap:a\"\nmirror = \"a.pcapng\"\n";
    std::fs::write("/run/lan/lan.toml", text).unwrap();
    let words = ["-j", "switch", "--config", "lan.toml", "--sandbox", "require"];
    let mut command = bare("python3");
    command.args(["-c", WITH_SOCKET, ADIT]).args(words).current_dir("/run/lan");
    let mut switch = Program::spawn(&mut command);
    switch.wait_for("ready");
    assert_eq!(adit_json("switch show lan")["file"], "/run/lan/lan.toml");
    adit("switch port add fd:9 --name lan");
    adit("switch port add unix:b.sock --name lan");
    adit("switch save lan");
    let saved = std::fs::read_to_string("/run/lan/lan.toml").unwrap();
    assert!(saved.contains("fd:9") && saved.contains("b.sock"), "{saved}");
    assert!(switch.ended().is_none());
}

#[test]
fn the_helper_ends_with_its_worker_however_that_ends() {
    hosts(&[]);
    for signal in ["KILL", "TERM"] {
        let mut switch = Program::start("switch --port tap:a");
        let helper = adit_json("switch show")["sandbox"]["helper"].as_u64().unwrap();
        assert_eq!(
            std::fs::read_to_string(format!("/proc/{helper}/comm")).unwrap(),
            "adit-helper\n"
        );
        switch.signal(signal);
        switch.wait();
        eventually("the helper has ended", || !Path::new(&format!("/proc/{helper}/fd")).exists());
        let left = Command::new("ip").args(["link", "show", "a"]).output().unwrap();
        assert!(!left.status.success(), "the device went with the worker");
    }
}
