//! What the machine refuses or lacks: system calls, a family of addresses, ports, a clock that is right.
#![allow(clippy::print_stdout, reason = "figures for people, not held")]

use crate::support::{ADIT, adit, bare, run, text};
use crate::world::{Running, Space, World, faketime, show, wait_for};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Stdio;

const PLAIN: [(&str, &str); 2] = [("", ""), ("", "")];

fn reaches(space: &Space, to: &str) {
    wait_for("a ping is answered", || space.succeeds(&format!("ping -n -c 1 -W 1 {to}")));
}

/// Starts a program that runs adit, with its log in a file.
fn spawn(world: &World, words: &[&str]) -> Running {
    let mut command = bare(words[0]);
    command.args(&words[1..]).stdout(Stdio::null());
    Running(
        command.stderr(std::fs::File::create(world.folder.join("log")).unwrap()).spawn().unwrap(),
    )
}

fn is_up(world: &World) -> bool {
    logged(world).lines().any(|line| line == "up")
}

fn logged(world: &World) -> String {
    std::fs::read_to_string(world.folder.join("log")).unwrap()
}

/// Each kind of call that a start makes fails, the first or the second time: it comes up all the same, or
/// ends with a status that is documented; nothing is left of it then.
#[test]
fn a_start_in_which_a_call_fails_leaves_nothing() {
    let world = World::new();
    let (a, _) = world.pair("192.0.2.2:51820", [("", "AllowedIPs = 0.0.0.0/0"), ("", "")]);
    let before = world.a.state();
    let (net, file) = (world.a.path(), a.display().to_string());
    let mut came_up = Vec::new();
    for (call, error) in [
        ("socket", "EMFILE"),
        ("socket", "ENOBUFS"),
        ("bind", "EADDRINUSE"),
        ("listen", "EADDRINUSE"),
        ("setsockopt", "EPERM"),
        ("getsockopt", "ENOMEM"),
        ("ioctl", "ENOMEM"),
        ("sendto", "ENOBUFS"),
        ("recvfrom", "ENOBUFS"),
        ("recvmsg", "ENOBUFS"),
        ("epoll_create1", "EMFILE"),
        ("epoll_ctl", "ENOSPC"),
        ("timerfd_create", "EMFILE"),
        ("timerfd_settime", "ENOMEM"),
        ("eventfd2", "EMFILE"),
        ("socketpair", "EMFILE"),
        ("fchmod", "EPERM"),
        ("prctl", "EPERM"),
    ] {
        for number in [1, 2] {
            let inject = format!("inject={call}:error={error}:when={number}");
            let strace = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", &inject];
            let words: Vec<&str> = strace
                .into_iter()
                .chain([ADIT, "-v", "-n", &net, "tunnel", "up", &file, "--sandbox", "off"])
                .collect();
            let mut strace = spawn(&world, &words);
            let has_ended = |strace: &mut Running| strace.0.try_wait().unwrap().is_some();
            wait_for("it is up, or ends", || is_up(&world) || has_ended(&mut strace));
            if is_up(&world) {
                came_up.push(inject.clone());
                let children = format!("/proc/{0}/task/{0}/children", strace.pid());
                // It may have ended meanwhile.
                let pid = std::fs::read_to_string(children).unwrap_or_default();
                let _ = bare("kill").arg(pid.trim()).stderr(Stdio::null()).status();
            }
            wait_for("it ends", || has_ended(&mut strace));
            let (status, log) = (strace.0.wait().unwrap(), logged(&world));
            assert!(status.signal().is_none(), "{inject}: {status}\n{log}");
            assert!(matches!(status.code(), Some(0 | 2..=8)), "{inject}: {status}\n{log}");
            assert_eq!(world.a.state(), before, "{inject}\n{log}");
            for socket in ["/run/adit/ta.sock", "/run/wireguard/ta.sock"] {
                assert!(!Path::new(socket).exists(), "{inject}: {socket}\n{log}");
            }
        }
    }
    println!("it came up with {} of 36: {came_up:?}", came_up.len());
}

/// A firewall that refuses what we send, with EPERM: it is counted, nothing ends, and it is over when the
/// firewall lets us through.
#[test]
fn a_firewall_that_refuses_is_no_end() {
    let world = World::new();
    let (a, b) = world.pair("192.0.2.2:51820", PLAIN);
    let _tunnels = (world.up(&world.a, &a, ""), world.up(&world.b, &b, ""));
    reaches(&world.a, "10.9.0.2");
    let rules =
        "table inet t { chain c { type filter hook output priority 0; udp dport 51820 drop; }; }";
    let file = world.write("rules", rules);
    world.a.run(&format!("nft -f {}", file.display()));
    let refused = || show("ta")["datagrams"]["refused"].as_u64().unwrap();
    let before = refused();
    assert!(!world.a.succeeds("ping -n -c 5 -i 0.05 -W 1 10.9.0.2"));
    wait_for("it is counted", || refused() > before);
    world.a.run("nft flush ruleset");
    reaches(&world.a, "10.9.0.2");
}

/// A kernel without IPv6 has no such sockets; here a filter of system calls says so.
#[test]
fn a_machine_without_ipv6_has_tunnels() {
    const WITHOUT: &str = "
import ctypes, os, platform, struct, sys
number = {'x86_64': 41, 'aarch64': 198}[platform.machine()]
steps = [(0x20, 0, 0, 0), (0x15, 0, 3, number), (0x20, 0, 0, 16), (0x15, 0, 1, 10),
         (0x06, 0, 0, 0x50000 | 97), (0x06, 0, 0, 0x7fff0000)]
code = ctypes.create_string_buffer(b''.join(struct.pack('=HBBI', *step) for step in steps))
program = struct.pack('@HP', len(steps), ctypes.addressof(code))
prctl = ctypes.CDLL(None).prctl
assert prctl(38, 1, 0, 0, 0) == 0 and prctl(22, 2, program) == 0
os.execv(sys.argv[1], sys.argv[1:])
";
    let world = World::new();
    let (a, b) = world.pair("192.0.2.2:51820", PLAIN);
    let _tb = world.up(&world.b, &b, "");
    let file = std::fs::read_to_string(&a).unwrap().replace(", fd00:9::1/64", "");
    let file = world.write("ta.conf", &file.replace(", fd00:9::2/128", ""));
    let (script, file) = (world.write("without.py", WITHOUT).display().to_string(), file.display());
    let words = ["python3", &script, ADIT, "-v", "-n", &world.a.path(), "tunnel", "up"];
    let file = file.to_string();
    let _ta = spawn(&world, &[&words[..], &[&file]].concat());
    wait_for("it is up", || is_up(&world));
    reaches(&world.a, "10.9.0.2");
    reaches(&world.b, "10.9.0.1");
}

/// A port that is free for IPv4 and taken for IPv6 is not chosen: 8 of 32 are.
#[test]
fn a_port_is_free_in_both_families() {
    const TAKER: &str = "
import socket, time
taken = []
for port in range(51000, 51032, 4):
    s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    s.bind(('::', port))
    taken.append(s)
print('there', flush=True)
time.sleep(300)
";
    let world = World::new();
    let (a, b) = world.pair("192.0.2.2:51820", PLAIN);
    let file = std::fs::read_to_string(&a).unwrap().replace("ListenPort = 51820\n", "");
    let a = world.write("ta.conf", &file);
    let range = world.write("range", "51000 51031");
    world.a.run(&format!("cp {} /proc/sys/net/ipv4/ip_local_port_range", range.display()));
    let net = format!("--net={}", world.a.path());
    let mut command = bare("nsenter");
    command.args([&net, "python3"]).arg(world.write("taker.py", TAKER)).stdout(Stdio::piped());
    let mut taker = Running(command.spawn().unwrap());
    let mut told = [0; 5];
    std::io::Read::read_exact(taker.0.stdout.as_mut().unwrap(), &mut told).unwrap();
    let _tb = world.up(&world.b, &b, "");
    for _ in 0..8 {
        let _ta = world.up(&world.a, &a, "");
        let port = show("ta")["listen_port"].as_u64().unwrap();
        assert!((51000..51032).contains(&port) && !port.is_multiple_of(4), "{port}");
        let own = world.a.run("ss -lunH");
        assert_eq!(own.matches(&format!(":{port} ")).count(), 2, "{own}");
        reaches(&world.a, "10.9.0.2");
        adit("tunnel down ta");
    }
}

/// Packets and handshakes come while it is set up, and while it ends.
#[test]
fn a_tunnel_starts_and_ends_amid_traffic() {
    let world = World::new();
    let more = ("", "Endpoint = 192.0.2.1:51820\nPersistentKeepalive = 1");
    let (a, b) = world.pair("192.0.2.2:51820", [("", ""), more]);
    let before = world.a.state();
    let _tb = world.up(&world.b, &b, "--faster 50");
    let net = format!("--net={}", world.b.path());
    let mut command = bare("nsenter");
    command.args([&net, "ping", "-n", "-q", "-i", "0.002", "10.9.0.1"]).stdout(Stdio::null());
    let _ping = Running(command.spawn().unwrap());
    for _ in 0..10 {
        let mut ta = world.up(&world.a, &a, "");
        wait_for("packets come", || show("ta")["peers"][0]["connected"] == true);
        run(&format!("kill {}", ta.pid()));
        wait_for("it ends", || ta.0.try_wait().unwrap().is_some());
        assert!(ta.0.wait().unwrap().success());
        assert_eq!(world.a.state(), before);
    }
}

/// The device is moved to another namespace: it is followed.
#[test]
fn a_device_that_is_moved_goes_on() {
    let world = World::new();
    let (a, b) = world.pair("192.0.2.2:51820", [("Table = off", ""), ("", "")]);
    let _tunnels = (world.up(&world.a, &a, ""), world.up(&world.b, &b, ""));
    reaches(&world.a, "10.9.0.2");
    let inside = Space::new();
    world.a.run(&format!("ip link set ta netns {}", inside.path()));
    // What the kernel takes from a device that moves.
    inside.run("ip addr add 10.9.0.1/24 dev ta");
    inside.run("ip link set ta up");
    reaches(&inside, "10.9.0.2");
    reaches(&world.b, "10.9.0.1");
    assert!(!world.a.has_link("ta"));
    adit("tunnel down ta");
    assert!(!inside.has_link("ta"));
}

/// A machine that has just started, without a clock of its own: it is 1970 until it gets the time; and
/// then it gets another one.
#[test]
fn a_machine_may_start_in_1970() {
    let world = World::new();
    let Some(library) = faketime() else { return };
    let (a, b) = world.pair("192.0.2.2:51820", PLAIN);
    let _tb = world.up(&world.b, &b, "--faster 40");
    let clock = world.write("clock", "@1970-01-01 00:00:07");
    let variables = [
        "TZ=UTC".to_owned(),
        "FAKETIME_NO_CACHE=1".to_owned(),
        "DONT_FAKE_MONOTONIC=1".to_owned(),
        format!("LD_PRELOAD={library}"),
        format!("FAKETIME_TIMESTAMP_FILE={}", clock.display()),
    ];
    // The other clocks are at seven seconds as well: those of a namespace of times of its own.
    let up_for = |line: &str| -> String {
        let at = std::fs::read_to_string("/proc/uptime").unwrap();
        let seconds: f64 = at.split_whitespace().next().unwrap().parse().unwrap();
        format!("--{line}=-{:.0}", seconds.floor() - 7.0)
    };
    let (monotonic, boottime) = (up_for("monotonic"), up_for("boottime"));
    let (net, file) = (world.a.path(), a.display().to_string());
    let mut words =
        vec!["unshare", "--time", "--fork", "--kill-child", &monotonic, &boottime, "env"];
    words.extend(variables.iter().map(String::as_str));
    words.extend([ADIT, "-v", "-n", &net, "tunnel", "up", "--faster", "40", &file]);
    let _ta = spawn(&world, &words);
    wait_for("it is up", || is_up(&world));
    reaches(&world.a, "10.9.0.2");
    // Sessions last 180 s / 40: each time is that of a handshake.
    for time in ["@2026-11-21 10:00:00", "@1970-01-01 00:00:30", "@2036-01-01 00:00:00"] {
        world.write("clock", time);
        let before = std::time::Instant::now();
        wait_for("there is another session", || {
            world.a.succeeds("ping -n -c 1 -W 1 10.9.0.2")
                && crate::world::session_made("ta") > before
        });
        // Sessions are that short that a machine which stands still for a second may lose a packet.
        wait_for("all packets cross", || world.a.pings("-q -c 20 -i 0.1 -W 5 10.9.0.2"));
    }
    let log = logged(&world);
    assert!(!log.contains("panicked"), "{log}");
}

/// No file is waited for, however it is, and each mistake has its place.
#[test]
fn files_of_tunnels_are_read_or_refused() {
    let world = World::new();
    let (a, _) = world.pair("192.0.2.2:51820", PLAIN);
    let whole = std::fs::read_to_string(&a).unwrap();
    let before = world.a.state();
    let status = |name: &str| {
        let path = world.folder.join(name).display().to_string();
        let net = world.a.path();
        let output = crate::support::try_adit(&["-n", &net, "--dry-run", "tunnel", "up", &path]);
        (output.status.code().unwrap(), text(&output.stderr))
    };
    // As written on other systems.
    world.write("tc.conf", &format!("\u{feff}{}", whole.replace('\n', "\r\n")));
    assert_eq!(status("tc.conf").0, 0);
    // At each line's end it may be a shorter file; within one it is a mistake, or a shorter setting.
    for at in (0..whole.len()).step_by(7) {
        world.write("tc.conf", &whole[..at]);
        let (status, told) = status("tc.conf");
        assert!(status == 0 || status == 2, "{at}: {told}");
        assert!(status == 0 || told.contains("tc.conf"), "{at}: {told}");
    }
    for key in ["PrivateKey", "ListenPort", "PublicKey", "Endpoint"] {
        let twice = whole.replace(&format!("{key} = "), &format!("{key} = 1\n{key} = "));
        world.write("tc.conf", &twice);
        let (status, told) = status("tc.conf");
        let line = 1 + twice.lines().position(|line| line.starts_with(key)).unwrap();
        assert_eq!(status, 2, "{told}");
        assert!(told.contains(&format!("tc.conf:{}:1: {key} is given twice", line + 1)), "{told}");
    }
    world.write("tc.conf", &"# much\n".repeat(10_000_000 / 7));
    assert_eq!(status("tc.conf").0, 2);
    world.write("tc.toml", &"# much\n".repeat(10_000_000 / 7));
    assert_eq!(status("tc.toml").0, 2);
    run(&format!("mkfifo {}", world.folder.join("pipe.conf").display()));
    let (refused, told) = status("pipe.conf");
    assert!(refused == 7 && told.contains("it is not a regular file"), "{refused}: {told}");
    std::fs::create_dir(world.folder.join("folder.conf")).unwrap();
    assert_ne!(status("folder.conf").0, 0);
    assert_eq!(world.a.state(), before);
}
