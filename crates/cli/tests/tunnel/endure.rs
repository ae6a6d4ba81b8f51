//! What happens to the machine and the process of a tunnel, and it goes on.
#![allow(clippy::print_stdout, reason = "figures for people, not held")]

use crate::support::{adit, bare, run, text};
use crate::world::{Keys, Running, Space, World, faketime, of_peer, show, wait_for};
use std::process::Stdio;
use std::time::{Duration, Instant};

const PLAIN: [(&str, &str); 2] = [("", ""), ("", "")];

fn reaches(space: &Space, to: &str) {
    wait_for("a ping is answered", || space.succeeds(&format!("ping -n -c 1 -W 1 {to}")));
}

fn signal(running: &Running, name: &str) {
    run(&format!("kill -{name} {}", running.pid()));
}

/// How many ticks (10 ms) of a processor a process has used.
fn ticks(running: &Running) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", running.pid())).unwrap();
    // The name is in brackets; user and system time are fields 14 and 15 of all.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// Starts a program with its log in a file, and waits until it says that it is up.
fn start(world: &World, words: &[&str]) -> Running {
    let log = world.folder.join("log");
    let child = bare(words[0])
        .args(&words[1..])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let running = Running(child);
    wait_for("it is up", || logged(world).lines().any(|line| line == "up"));
    running
}

fn logged(world: &World) -> String {
    std::fs::read_to_string(world.folder.join("log")).unwrap()
}

fn up<'a>(net: &'a str, file: &'a str) -> Vec<&'a str> {
    vec![crate::support::ADIT, "-v", "-n", net, "tunnel", "up", "--faster", "40", file]
}

/// For 5 s it does not run: a session lasts 180 s / 40 here, so a new one is needed.
#[test]
fn it_goes_on_after_it_was_stopped() {
    let world = World::new();
    let (a, b) = world.pair("192.0.2.2:51820", PLAIN);
    let (ta, _tb) = (world.up(&world.a, &a, "--faster 40"), world.up(&world.b, &b, "--faster 40"));
    reaches(&world.a, "10.9.0.2");
    signal(&ta, "STOP");
    std::thread::sleep(Duration::from_secs(5));
    signal(&ta, "CONT");
    let start = Instant::now();
    reaches(&world.a, "10.9.0.2");
    println!("it went on {:?} after it was woken", start.elapsed());
    assert!(of_peer("ta", "handshake_age_s") < 30.0);
}

/// The wall clock jumps by years, back and forth: sessions go on, and new ones are made.
#[test]
fn a_clock_that_jumps_ends_no_session() {
    let world = World::new();
    let Some(library) = faketime() else { return };
    let (a, b) = world.pair("192.0.2.2:51820", PLAIN);
    let _tb = world.up(&world.b, &b, "--faster 40");
    let clock = world.write("clock", "+0");
    let file = format!("FAKETIME_TIMESTAMP_FILE={}", clock.display());
    let library = format!("LD_PRELOAD={library}");
    let (net, a) = (world.a.path(), a.display().to_string());
    // A timestamp that is smaller than the last one would be refused by the peer.
    for (monotonic, first) in [("DONT_FAKE_MONOTONIC=1", "-3650d"), ("DONT_FAKE_MONOTONIC=0", "+0")]
    {
        world.write("clock", first);
        let mut words = vec!["env", &library, &file, "FAKETIME_NO_CACHE=1", monotonic];
        words.extend(up(&net, &a));
        let ta = start(&world, &words);
        reaches(&world.a, "10.9.0.2");
        for offset in ["+1h", "-1h", "+3650d", "-3650d"] {
            world.write("clock", offset);
            reaches(&world.a, "10.9.0.2");
        }
        // As long as sessions last, with what each of them was to be.
        // (A machine that stands still for a second may lose a packet: they are that short.)
        wait_for("all packets cross", || world.a.pings("-q -c 60 -i 0.1 -W 5 10.9.0.2"));
        signal(&ta, "TERM");
        drop(ta);
    }
}

/// Without a descriptor left packets cross, nothing spins, and it can be asked again afterwards.
#[test]
fn without_descriptors_it_goes_on() {
    let world = World::new();
    let (a, b) = world.pair("192.0.2.2:51820", PLAIN);
    let (ta, _tb) = (world.up(&world.a, &a, ""), world.up(&world.b, &b, ""));
    reaches(&world.a, "10.9.0.2");
    let limit = |soft: usize| run(&format!("prlimit --pid {} --nofile={soft}:", ta.pid()));
    // The lowest that is free is not to be had, nor any above it.
    let names = std::fs::read_dir(format!("/proc/{}/fd", ta.pid())).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let used: Vec<usize> = names.map(|name| name.parse().unwrap()).collect();
    limit((0..).find(|number| !used.contains(number)).unwrap());
    let sockets = ["/run/wireguard/ta.sock", "/run/adit/ta.sock"].repeat(8);
    let clients: Vec<_> =
        sockets.iter().map(|path| std::os::unix::net::UnixStream::connect(path).unwrap()).collect();
    let (before, start) = (ticks(&ta), Instant::now());
    let output = world.a.run("ping -n -c 20 -i 0.1 -w 60 10.9.0.2");
    assert!(crate::support::lost_echoes(&output, 20).is_empty(), "{output}");
    let used = ticks(&ta) - before;
    let share = f64::from(u32::try_from(used).unwrap()) / 100.0 / start.elapsed().as_secs_f64();
    println!("{used} ticks in {:?}", start.elapsed());
    assert!(share < 0.3, "{used} ticks in {:?}", start.elapsed());
    drop(clients);
    limit(1024);
    wait_for("it can be asked", || {
        crate::support::try_adit(&["tunnel", "show", "ta"]).status.success()
    });
    assert_eq!(run("wg show ta peers").lines().count(), 1);
}

/// A reload of a wrong file: the old configuration stays, and messages say so, also to systemd.
#[test]
fn a_bad_file_on_sighup_changes_nothing() {
    let world = World::new();
    let (a, b) = world.pair("192.0.2.2:51820", PLAIN);
    let _tb = world.up(&world.b, &b, "");
    let path = world.folder.join("notify");
    let notify = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    notify.set_read_timeout(Some(crate::world::PATIENCE)).unwrap();
    let hear = || {
        let mut bytes = [0; 4096];
        let len = notify.recv(&mut bytes).unwrap();
        text(&bytes[..len])
    };
    let socket = format!("NOTIFY_SOCKET={}", path.display());
    let (net, file) = (world.a.path(), a.display().to_string());
    let mut words = vec!["env", &socket];
    words.extend(up(&net, &file));
    let ta = start(&world, &words);
    assert!(hear().contains("READY=1"));
    reaches(&world.a, "10.9.0.2");
    for wrong in ["[Peer]\nPublicKye = x\n", "[Interface]\nMTU = 9\n", "\u{0}\u{1}"] {
        world.write("ta.conf", wrong);
        signal(&ta, "HUP");
        assert!(hear().contains("RELOADING=1\nMONOTONIC_USEC="));
        assert!(hear().contains("READY=1"));
        assert_eq!(show("ta")["peers"].as_array().unwrap().len(), 1);
        reaches(&world.a, "10.9.0.2");
    }
    let log = logged(&world);
    assert!(log.contains("did you mean PublicKey?") && log.contains("ta.conf:2:1"), "{log}");
}

/// Others rename the device and set it down and up: it is followed.
#[test]
fn a_device_that_others_change_goes_on() {
    let world = World::new();
    let (a, b) = world.pair("192.0.2.2:51820", [("Table = off", ""), ("", "")]);
    let ta = world.up(&world.a, &a, "");
    let _tb = world.up(&world.b, &b, "");
    reaches(&world.a, "10.9.0.2");
    for line in ["down", "name other", "up", "mtu 1300"] {
        world.a.run(&format!(
            "ip link set {} {line}",
            if world.a.has_link("ta") { "ta" } else { "other" }
        ));
    }
    reaches(&world.a, "10.9.0.2");
    let before = ticks(&ta);
    world.a.run("ip link set other down");
    std::thread::sleep(Duration::from_secs(1));
    assert!(ticks(&ta) - before < 50, "a device that is down is not asked all the time");
    world.a.run("ip link set other up");
    reaches(&world.a, "10.9.0.2");
    adit("tunnel down ta");
    assert!(!world.a.has_link("other"));
}

/// A name that cannot be found at the start is looked for again; other peers do not wait for it.
#[test]
fn a_name_that_is_not_found_holds_up_nobody() {
    let world = World::new();
    let hosts = world.write("hosts", "127.0.0.1 localhost\n");
    run(&format!("mount --bind {} /etc/hosts", hosts.display()));
    let lost = Keys::new();
    let (a, b) = world.pair("192.0.2.2:51820", PLAIN);
    let file = std::fs::read_to_string(&a).unwrap();
    let peer = format!(
        "[Peer]\nPublicKey = {}\nAllowedIPs = 10.9.0.7/32\nEndpoint = late.test:51820\n\
         PersistentKeepalive = 1\n",
        lost.public
    );
    world.write("ta.conf", &format!("{file}{peer}"));
    let _tunnels = (world.up(&world.a, &a, ""), world.up(&world.b, &b, ""));
    let start = Instant::now();
    reaches(&world.a, "10.9.0.2");
    println!("the other peer was reached after {:?}", start.elapsed());
    let found = || {
        let peers = show("ta")["peers"].as_array().unwrap().clone();
        peers.iter().any(|peer| peer["endpoint"] == "192.0.2.9:51820")
    };
    assert!(!found());
    world.write("hosts", "127.0.0.1 localhost\n192.0.2.9 late.test\n");
    wait_for("it is found", found);
}

/// System calls of packets that fail are counted, and nothing ends.
#[test]
fn calls_that_fail_lose_packets_at_most() {
    let world = World::new();
    let (a, b) = world.pair("192.0.2.2:51820", PLAIN);
    // strace(1) makes a call fail by another number in its place, which no sandbox has on its list.
    let (ta, _tb) = (world.up(&world.a, &a, "--sandbox off"), world.up(&world.b, &b, ""));
    reaches(&world.a, "10.9.0.2");
    for (calls, error) in [
        ("sendmsg,sendmmsg,sendto", "ENOBUFS"),
        ("sendmsg,sendmmsg,sendto", "EPERM"),
        ("sendmsg,sendmmsg,sendto", "EAGAIN"),
        ("sendmsg,sendmmsg,sendto", "EMSGSIZE"),
        ("recvmsg,recvmmsg,recvfrom", "ENOMEM"),
        ("write,writev", "ENOBUFS"),
        ("write,writev", "EAGAIN"),
        ("read,readv", "EINTR"),
        ("epoll_wait,epoll_pwait", "EINTR"),
    ] {
        let pid = ta.pid().to_string();
        let inject = format!("inject={calls}:error={error}:when=2+3");
        let words = ["strace", "-qq", "-f", "-o", "/dev/null", "-e", &inject, "-p", &pid];
        let mut strace = Running(bare(words[0]).args(&words[1..]).spawn().unwrap());
        let traced = || {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
            !status.contains("TracerPid:\t0")
        };
        wait_for("it is traced", traced);
        for _ in 0..3 {
            reaches(&world.a, "10.9.0.2");
        }
        signal(&strace, "INT");
        strace.0.wait().unwrap();
    }
    reaches(&world.a, "10.9.0.2");
}

/// With little memory it starts and packets cross, or it ends, sooner or later, and leaves nothing.
#[test]
fn without_memory_nothing_is_left() {
    let world = World::new();
    let (a, b) = world.pair("192.0.2.2:51820", PLAIN);
    let before = world.a.state();
    let _tb = world.up(&world.b, &b, "");
    let (net, file) = (world.a.path(), a.display().to_string());
    let runs = |mebibytes: usize| {
        let limit = format!("--as={}", mebibytes << 20);
        let log = world.folder.join("log");
        let mut words = vec!["prlimit", &limit];
        words.extend(up(&net, &file));
        let child = bare(words[0])
            .args(&words[1..])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&log).unwrap())
            .spawn();
        let mut ta = Running(child.unwrap());
        let mut runs = false;
        wait_for("packets cross, or it ends", || {
            runs = world.a.succeeds("ping -n -c 1 -W 1 10.9.0.2");
            runs || ta.0.try_wait().unwrap().is_some()
        });
        if runs {
            signal(&ta, "TERM");
        }
        let status = ta.0.wait().unwrap();
        assert!(runs || !status.success(), "{mebibytes} MiB: {status}\n{}", logged(&world));
        assert_eq!(world.a.state(), before, "{mebibytes} MiB");
        runs && status.success()
    };
    let least = [4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 256, 1024].map(|size| (size, runs(size)));
    println!("MiB of addresses, and whether it runs: {least:?}");
    assert!(!least[0].1 && least[11].1);
}
