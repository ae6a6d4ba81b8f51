//! A running tunnel continues as the program that is installed now.

use crate::scrape::{OPEN, Scrape};
use crate::support::{adit, adit_json, bare, lost_echoes, run, text};
use crate::world::{Running, Space, World, of_peer, show, wait_for};
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

const PLAIN: [(&str, &str); 2] = [("", ""), ("", "")];

/// The program of a tunnel, in a place where it can be replaced.
struct Program(PathBuf);

impl Program {
    fn new(world: &World) -> Self {
        let program = Self(world.folder.join("adit"));
        program.install_own();
        program
    }

    /// As dpkg does: a new file takes the name.
    fn install(&self, content: impl FnOnce(&Path)) {
        let new = self.0.with_extension("new");
        content(&new);
        std::fs::set_permissions(&new, PermissionsExt::from_mode(0o755)).unwrap();
        std::fs::rename(&new, &self.0).unwrap();
    }

    fn install_own(&self) {
        self.install(|to| {
            std::fs::copy(crate::support::ADIT, to).unwrap();
        });
    }

    fn install_script(&self, script: &str) {
        self.install(|to| std::fs::write(to, script).unwrap());
    }

    /// Starts `adit tunnel up`, and waits until it is up.
    fn up(&self, space: &Space, file: &Path, environment: &[(&str, &str)]) -> Tunnel {
        let log = file.with_extension("log");
        let child = bare(&self.0)
            .args(["-v", "-n", &space.path(), "tunnel", "up"])
            .arg(file)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let name = file.file_stem().unwrap().to_str().unwrap().to_owned();
        let tunnel = Tunnel { name, log, first: Running(child) };
        wait_for("it is up", || tunnel.logged().lines().any(|line| line == "up"));
        tunnel
    }
}

/// A tunnel, whatever its process is now.
struct Tunnel {
    name: String,
    log: PathBuf,
    first: Running,
}

impl Tunnel {
    fn logged(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    fn pid(&self) -> u32 {
        let pid = std::fs::read_to_string(format!("/run/adit/{}.lock", self.name)).unwrap();
        pid.trim().parse().unwrap()
    }

    /// Hands it over; the reply.
    fn upgrade(&self) -> Value {
        let before = self.pid();
        let reply = adit_json(&format!("tunnel upgrade {}", self.name));
        assert_eq!((&reply["is_new"], &reply["pid"]), (&true.into(), &self.pid().into()));
        assert_ne!(self.pid(), before);
        reply
    }

    /// A handover that fails; what it says.
    fn fails_to_upgrade(&self) -> String {
        let before = self.pid();
        let mut command = bare(crate::support::ADIT);
        let output = command.args(["tunnel", "upgrade", &self.name]).output().unwrap();
        assert!(!output.status.success());
        assert_eq!(self.pid(), before, "{}", self.logged());
        text(&output.stderr)
    }

    /// It was stopped: the process that was started first has ended as well.
    fn has_ended(&mut self) {
        let first = &mut self.first.0;
        wait_for("the first process ends", || first.try_wait().unwrap().is_some());
        assert!(first.try_wait().unwrap().unwrap().success(), "{}", self.logged());
        assert!(!Path::new(&format!("/run/adit/{}.sock", self.name)).exists());
        assert!(!Path::new(&format!("/run/wireguard/{}.sock", self.name)).exists());
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        // A test failed: the process that took over ends with the first one.
        let _ = self.first.0.kill();
    }
}

/// The names of the children of a tunnel and of its helper, but for the helper.
fn candidates(pid: u32) -> Vec<String> {
    let (mut open, mut found) = (vec![pid.to_string()], Vec::new());
    while let Some(pid) = open.pop() {
        for thread in std::fs::read_dir(format!("/proc/{pid}/task")).unwrap() {
            let children =
                std::fs::read_to_string(thread.unwrap().path().join("children")).unwrap();
            for child in children.split_whitespace() {
                match std::fs::read_to_string(format!("/proc/{child}/comm")).unwrap().trim() {
                    "adit-helper" => open.push(child.to_owned()),
                    other => found.push(other.to_owned()),
                }
            }
        }
    }
    found
}

fn reaches(space: &Space, to: &str) {
    wait_for("a ping is answered", || space.succeeds(&format!("ping -n -c 1 -W 1 {to}")));
}

/// Echoes that are under way, one each 5 ms.
fn echoes(space: &Space, to: &str, count: u32) -> Child {
    let mut ping = space.command(&format!("ping -n -i 0.005 -c {count} -w 60 {to}"));
    ping.stdout(Stdio::piped()).spawn().unwrap()
}

fn all_came(ping: Child, count: u32) {
    let output = text(&ping.wait_with_output().unwrap().stdout);
    let lost = lost_echoes(&output, count.try_into().unwrap());
    assert!(lost.is_empty(), "lost: {lost:?}");
}

/// When the peer of a tunnel connected last, as `wg` reports it.
fn handshakes(tunnel: &str) -> String {
    run(&format!("wg show {tunnel} latest-handshakes"))
}

/// The receiver and the counter of each message of the tunnel in a capture that this address sent.
fn messages(capture: &Path, from: &str) -> Vec<(String, u64)> {
    let fields = "-T fields -e wg.receiver -e wg.counter";
    let file = capture.display();
    let seen = run(&format!("tshark -n -r {file} -Y wg.type==4&&ip.src=={from} {fields}"));
    let message = |line: &str| {
        let (receiver, counter) = line.split_once('\t').unwrap();
        (receiver.to_owned(), counter.parse().unwrap())
    };
    seen.lines().map(message).collect()
}

#[test]
fn an_upgrade_keeps_sessions_and_loses_no_packet() {
    let world = World::new();
    let program = Program::new(&world);
    let before = world.a.state();
    // Policy routing and a packet filter: what was changed on the host must be undone at the end.
    let (a, b) = world.pair("192.0.2.2:51820", [("", "AllowedIPs = 0.0.0.0/0"), ("", "")]);
    let mut ta = program.up(&world.a, &a, &[]);
    let _tb = world.up(&world.b, &b, "");
    reaches(&world.a, "10.9.0.2");
    let made = [handshakes("ta"), handshakes("tb")];
    let capture = world.folder.join("seen.pcap");
    let program_of_test = crate::support::ADIT;
    let dump = format!("{program_of_test} capture ub -w {} udp port 51820", capture.display());
    let mut dump = Running(world.b.command(&dump).stderr(Stdio::null()).spawn().unwrap());
    wait_for("the capture runs", || capture.exists());

    let other = adit_json("tunnel upgrade ta --if-changed");
    assert_eq!(other["is_new"], false, "it is the same program");
    const COUNT: u32 = 600;
    let ping = echoes(&world.a, "10.9.0.2", COUNT);
    for _ in 0..3 {
        program.install_own();
        let sent = of_peer("ta", "sent_bytes");
        ta.upgrade();
        assert!(of_peer("ta", "sent_bytes") >= sent, "the counters go on");
    }
    all_came(ping, COUNT);
    assert_eq!([handshakes("ta"), handshakes("tb")], made, "no session was made");
    let sandbox = &show("ta")["sandbox"];
    assert_eq!(sandbox["capabilities"], Value::Array(Vec::new()), "{sandbox}");
    assert!(sandbox["helper"].is_u64() && sandbox["system_calls"].is_u64(), "{sandbox}");

    run(&format!("kill -INT {}", dump.pid()));
    dump.0.wait().unwrap();
    for from in ["192.0.2.1", "192.0.2.2"] {
        let messages = messages(&capture, from);
        assert!(messages.len() > 300, "{}", messages.len());
        // Of messages that were sent in one call, the capture has the first one.
        let goes_on = |pair: &[(String, u64)]| pair[0].0 == pair[1].0 && pair[0].1 < pair[1].1;
        let broken: Vec<_> = messages.windows(2).filter(|pair| !goes_on(pair)).collect();
        assert!(broken.is_empty(), "index and counter go on: {broken:?}");
    }

    adit("tunnel down ta");
    ta.has_ended();
    assert_eq!(world.a.state(), before);
    assert_eq!(world.a.run("nft list ruleset"), "");
}

/// The address of the metrics is served on: each scrape meanwhile is answered.
#[test]
fn an_upgrade_refuses_no_scrape() {
    let world = World::new();
    let program = Program::new(&world);
    let keys = [crate::world::Keys::new(), crate::world::Keys::new()];
    let file = format!(
        "[interface]\nprivate_key = \"{}\"\nlisten_port = 51820\naddresses = [\"10.9.0.1/24\"]\n\
         metrics = 9001\npage = 9001\n[[peer]]\npublic_key = \"{}\"\nallowed_ips = [\"10.9.0.2/32\"]\n",
        keys[0].private, keys[1].public
    );
    let mut ta = program.up(&world.a, &world.write("ta.toml", &file), &[]);
    let socket = || world.a.run("ss -Hltne sport = :9001");
    let before = socket();
    assert!(before.contains("ino:"), "{before}");
    let scrape = || {
        let page = Scrape::at("127.0.0.1:9001", "GET /metrics", OPEN);
        assert!(page.head.contains(" 200 OK"), "{page:?}");
        assert_eq!(page.value("wireguard_sent_bytes_total", &[]), 0.0);
    };
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let scraper = scope.spawn(|| {
            world.a.within(|| {
                let mut count = 0;
                while !is_over.load(Ordering::Relaxed) {
                    scrape();
                    count += 1;
                }
                count
            })
        });
        for _ in 0..3 {
            ta.upgrade();
        }
        is_over.store(true, Ordering::Relaxed);
        assert!(scraper.join().unwrap() > 3);
    });
    assert_eq!(socket(), before, "it is the same socket");
    let page = world.a.run("curl -s -H Accept:text/html http://127.0.0.1:9001/");
    assert!(page.contains("<html"), "the page: {page}");
    adit("tunnel down ta");
    ta.has_ended();
    assert_eq!(socket(), "");
}

/// A program that does not take over, for whatever reason, changes nothing.
#[test]
fn a_program_that_cannot_take_over_changes_nothing() {
    let world = World::new();
    let program = Program::new(&world);
    let (a, b) = world.pair("192.0.2.2:51820", PLAIN);
    // A backtrace takes longer than the old process waits, on a busy machine.
    let failpoint = [("ADIT_FAILPOINT", "take-over"), ("RUST_BACKTRACE", "0")];
    let mut ta = program.up(&world.a, &a, &failpoint);
    let _tb = world.up(&world.b, &b, "");
    reaches(&world.a, "10.9.0.2");
    let made = handshakes("tb");
    // A message: its length, number of descriptors, kind.
    let version = "#!/usr/bin/env python3\nimport socket\ns = socket.socket(fileno=0)\n\
                   t = b'{\"version\":99,\"state\":1,\"program\":\"9.9\"}'\n\
                   s.send(bytes([len(t), 0, 0, 0, 0, 0, 1])); s.send(t); s.recv(99)\n";
    let nonsense =
        "#!/usr/bin/env python3\nimport socket\nsocket.socket(fileno=0).send(b'hello')\n";
    let refused = [
        ("#!/bin/sh\nexit 3\n", "has ended (exit status: 3)"),
        ("#!/absent/interpreter\n", "cannot start"),
        ("#!/bin/sh\nkill -SEGV $$\n", "has ended (signal: 11"),
        (nonsense, "does not answer"),
        (version, "has version 9.9, which reads another format"),
    ];
    const COUNT: u32 = 500;
    let ping = echoes(&world.a, "10.9.0.2", COUNT);
    for (script, why) in refused {
        program.install_script(script);
        let said = ta.fails_to_upgrade();
        assert!(said.contains(why), "{why}: {said}");
    }
    // One that crashes with the state in its hands.
    program.install_own();
    let said = ta.fails_to_upgrade();
    assert!(said.contains("has ended"), "{said}");
    all_came(ping, COUNT);
    // Files that are not as they were read.
    let mut changed = std::fs::read_to_string(&a).unwrap();
    changed.push_str("PersistentKeepalive = 20\n");
    std::fs::write(&a, changed).unwrap();
    let said = ta.fails_to_upgrade();
    assert!(said.contains("adit tunnel reload ta"), "{said}");

    reaches(&world.a, "10.9.0.2");
    assert_eq!(handshakes("tb"), made, "no session was made");
    assert_eq!(candidates(ta.pid()), [""; 0], "no candidate is left");
    adit("tunnel down ta");
    ta.has_ended();
}

/// A program that stops answering, or crashes, at any step of the handover. The old process continues each time.
#[test]
fn a_program_that_hangs_or_crashes_halfway_loses_nothing() {
    let world = World::new();
    let program = Program::new(&world);
    let (a, b) = world.pair("192.0.2.2:51820", PLAIN);
    let mut ta = program.up(&world.a, &a, &[]);
    let _tb = world.up(&world.b, &b, "");
    reaches(&world.a, "10.9.0.2");
    let made = handshakes("tb");
    // Messages: length, number of descriptors, kind; then the bytes, in a datagram of their own.
    let (version, state) = (adit_vpn::upgrade::VERSION, adit_tunnel::STATE_VERSION);
    let speak = format!(
        "#!/usr/bin/env python3\nimport os, signal, socket, time\ns = socket.socket(fileno=0)\n\
         t = b'{{\"version\":{version},\"state\":{state},\"program\":\"x\"}}'\n\
         def say(kind, t=b''):\n s.send(bytes([len(t), 0, 0, 0, 0, 0, kind]))\n if t: s.send(t)\n\
         def hear(kind):\n while True:\n  m = s.recv(65536)\n  if len(m) == 7 and m[6] == kind: break\n"
    );
    let (hello, ready) = ("say(1, t)\n", "say(1, t); hear(2); hear(2); say(3); hear(4)\n");
    let (hang, crash) = ("time.sleep(1000)\n", "os.kill(os.getpid(), signal.SIGKILL)\n");
    let steps = [
        (format!("{hello}{hang}"), "did not answer within 2 s"),
        (format!("{hello}hear(2)\n{crash}"), "has ended (signal: 9"),
        (format!("{ready}{hang}"), "did not answer within 2 s"),
        (format!("{ready}{crash}"), "has ended (signal: 9"),
        (format!("{hello}s.close()\n{hang}"), "has ended (signal: 9"),
        (hang.to_owned(), "did not answer within 10 s"),
    ];
    // Packets wait for two seconds in which no process has the tunnel, in the queue of the device: 500 of them.
    const COUNT: u32 = 800;
    let mut ping = world.a.command(&format!("ping -n -i 0.02 -c {COUNT} -w 120 10.9.0.2"));
    let ping = ping.stdout(Stdio::piped()).spawn().unwrap();
    for (step, why) in steps {
        program.install_script(&format!("{speak}{step}"));
        let said = ta.fails_to_upgrade();
        assert!(said.contains(why), "{step}: {said}");
    }
    all_came(ping, COUNT);
    assert_eq!(handshakes("tb"), made, "no session was made");
    assert_eq!(candidates(ta.pid()), [""; 0], "no candidate is left");
    // It can be handed over all the same.
    program.install_own();
    ta.upgrade();
    reaches(&world.a, "10.9.0.2");
    adit("tunnel down ta");
    ta.has_ended();
}

/// What `wg` has changed is not in the files, and goes on all the same; so do peers by TCP, at both ends.
#[test]
fn an_upgrade_keeps_streams_and_what_wg_has_changed() {
    let world = World::new();
    let program = Program::new(&world);
    let keys = [crate::world::Keys::new(), crate::world::Keys::new()];
    let a = format!(
        "[interface]\nprivate_key = \"{}\"\naddresses = [\"10.9.0.1/24\"]\nlisten_tcp = 51821\n\
         [[peer]]\npublic_key = \"{}\"\nallowed_ips = [\"10.9.0.2/32\"]\n",
        keys[0].private, keys[1].public
    );
    let b = format!(
        "[interface]\nprivate_key = \"{}\"\naddresses = [\"10.9.0.2/24\"]\n\
         [[peer]]\npublic_key = \"{}\"\nallowed_ips = [\"10.9.0.1/32\"]\nendpoint = \"192.0.2.1:51821\"\n\
         transport = \"tcp\"\n",
        keys[1].private, keys[0].public
    );
    let (a, b) = (world.write("ta.toml", &a), world.write("tb.toml", &b));
    let (mut ta, mut tb) = (program.up(&world.a, &a, &[]), program.up(&world.b, &b, &[]));
    reaches(&world.b, "10.9.0.1");
    let other = crate::world::Keys::new().public;
    world.a.run(&format!("wg set ta peer {other} allowed-ips 10.9.7.0/24"));
    let made = handshakes("ta");
    let connections = show("ta")["connections"].clone();
    const COUNT: u32 = 400;
    let ping = echoes(&world.b, "10.9.0.1", COUNT);
    for tunnel in [&ta, &tb, &ta] {
        program.install_own();
        tunnel.upgrade();
    }
    all_came(ping, COUNT);
    assert_eq!(handshakes("ta"), made, "no session was made");
    assert_eq!(show("ta")["connections"], connections, "no peer connected again");
    assert!(run("wg show ta allowed-ips").contains("10.9.7.0/24"), "the peer that wg has added");
    for (name, tunnel) in [("ta", &mut ta), ("tb", &mut tb)] {
        adit(&format!("tunnel down {name}"));
        tunnel.has_ended();
    }
}

/// Frames, a reload afterwards, and the end by a signal to the first process.
#[test]
fn an_upgraded_tunnel_is_one_like_others() {
    let world = World::new();
    let program = Program::new(&world);
    let keys = [crate::world::Keys::new(), crate::world::Keys::new()];
    let file = |us: usize, endpoint: &str| {
        format!(
            "[interface]\nprivate_key = \"{}\"\nlisten_port = 51820\naddresses = [\"10.9.0.{}/24\"]\n\
             [[peer]]\npublic_key = \"{}\"\nmode = \"tap\"\n{endpoint}",
            keys[us].private,
            us + 1,
            keys[1 - us].public
        )
    };
    let a = world.write("ta.toml", &file(0, "endpoint = \"192.0.2.2:51820\"\n"));
    let b = world.write("tb.toml", &file(1, ""));
    let mut ta = program.up(&world.a, &a, &[]);
    let _tb = world.up(&world.b, &b, "");
    reaches(&world.a, "10.9.0.2");
    const COUNT: u32 = 300;
    let ping = echoes(&world.a, "10.9.0.2", COUNT);
    program.install_own();
    ta.upgrade();
    all_came(ping, COUNT);
    let reloaded = adit_json("tunnel reload ta");
    assert_eq!((&reloaded["unchanged"], &reloaded["removed"]), (&1.into(), &0.into()));
    reaches(&world.a, "10.9.0.2");
    run(&format!("kill -TERM {}", ta.first.pid()));
    ta.has_ended();
    assert!(!world.a.has_link("ta"));
}

/// The process that was started first is killed: what has taken over ends in order.
#[test]
fn a_tunnel_ends_with_the_process_that_was_started() {
    let world = World::new();
    let program = Program::new(&world);
    let (a, _) = world.pair("192.0.2.2:51820", PLAIN);
    let mut ta = program.up(&world.a, &a, &[]);
    for _ in 0..2 {
        ta.upgrade();
    }
    ta.first.0.kill().unwrap();
    wait_for("the device goes", || !world.a.has_link("ta"));
    wait_for("the name is free", || !Path::new("/run/adit/ta.lock").exists());
}
