//! A thread panics, which is a bug: the program ends, and takes back what it had made. Builds with
//! debug assertions have failpoints, each of which the environment turns on.
#![allow(clippy::print_stdout, reason = "figures for people; a test that is skipped says so")]

use crate::support::{ADIT, bare, run};
use crate::world::{Running, World, wait_for};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

/// Starts adit with a failpoint, in the namespace a, and waits for the message that all is up.
fn start(world: &World, failpoint: &str, words: &str, ready: &str) -> Running {
    let path = format!("{}:{}", world.folder.display(), std::env::var("PATH").unwrap());
    let child = bare(ADIT)
        .args(["-v", "-n", &world.a.path()])
        .args(words.split_whitespace())
        .env("ADIT_FAILPOINT", failpoint)
        .env("RUST_BACKTRACE", "full")
        .env("PATH", path)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(world.folder.join("log")).unwrap())
        .spawn()
        .unwrap();
    let mut running = Running(child);
    wait_for("it runs", || {
        assert!(running.0.try_wait().unwrap().is_none(), "it ended: {}", log(world));
        log(world).contains(ready)
    });
    running
}

fn log(world: &World) -> String {
    std::fs::read_to_string(world.folder.join("log")).unwrap()
}

fn signal(running: &Running, name: &str) {
    run(&format!("kill -{name} {}", running.pid()));
}

/// Waits for its end, by the panic.
fn ends(world: &World, mut running: Running, failpoint: &str) {
    let start = Instant::now();
    wait_for("it ends", || running.0.try_wait().unwrap().is_some());
    println!("{failpoint}: it ended {:?} later", start.elapsed());
    let (status, log) = (running.0.wait().unwrap(), log(world));
    assert_eq!(status.code(), Some(101), "{log}");
    assert!(log.contains(&format!("the failpoint {failpoint}")), "{log}");
}

fn is_skipped() -> bool {
    if !cfg!(debug_assertions) {
        println!("skipped: a release has no failpoints");
    }
    !cfg!(debug_assertions)
}

/// The loop, or a thread that asks for a name: rules, routes, name servers, the device and the sockets
/// are taken back, and the messages have no key in them.
#[test]
fn a_panic_of_any_thread_of_a_tunnel_leaves_nothing() {
    if is_skipped() {
        return;
    }
    for failpoint in ["loop", "names", "read", "host"] {
        let world = World::new();
        let dns = world.folder.join("dns");
        let script = format!("#!/bin/sh\necho \"$@\" >>{}\ncat >/dev/null\n", dns.display());
        let program = world.folder.join("resolvconf");
        let mut options = std::fs::OpenOptions::new();
        let file = options.write(true).create(true).mode(0o755).open(&program).unwrap();
        std::io::Write::write_all(&mut { file }, script.as_bytes()).unwrap();
        let more = ("DNS = 192.0.2.53", "AllowedIPs = 0.0.0.0/0, ::/0");
        let (a, _) = world.pair("192.0.2.2:51820", [more, ("", "")]);
        let before = world.a.state();
        let ta = start(&world, failpoint, &format!("tunnel up {}", a.display()), "up\n");
        assert!(world.a.run("ip rule").contains("suppress_prefixlength"));
        assert_ne!(world.a.state(), before);
        let text = std::fs::read_to_string(&a).unwrap();
        match failpoint {
            "loop" => signal(&ta, "USR1"),
            "host" => drop(world.a.run("ip link set ta down")),
            _ => {
                world.write("ta.conf", &text.replace("192.0.2.2:", "localhost:"));
                signal(&ta, "HUP");
            }
        }
        ends(&world, ta, failpoint);
        assert_eq!(world.a.state(), before);
        assert_eq!(std::fs::read_to_string(&dns).unwrap(), "-a ta -m 0 -x\n-d ta -f\n");
        for path in ["/run/adit/ta.sock", "/run/wireguard/ta.sock"] {
            assert!(!Path::new(path).exists(), "{path}");
        }
        let private = text.lines().find_map(|line| line.strip_prefix("PrivateKey = ")).unwrap();
        assert!(!log(&world).contains(&private[..12]));
    }
}

/// The loop of a switch, or the thread that reads its file again.
#[test]
fn a_panic_of_any_thread_of_a_switch_leaves_nothing() {
    if is_skipped() {
        return;
    }
    for (failpoint, name) in [("loop", "USR1"), ("read", "HUP")] {
        let world = World::new();
        let before = world.a.state();
        let socket = world.folder.join("port");
        let text = format!(
            "name = \"lab\"\n[[port]]\nport = \"tap:t0\"\n[[port]]\nport = \"unix:{}\"\n",
            socket.display()
        );
        let file = world.write("lab.toml", &text);
        let lab = start(
            &world,
            failpoint,
            &format!("switch --config {}", file.display()),
            "'lab' is running",
        );
        assert!(world.a.has_link("t0") && socket.exists());
        signal(&lab, name);
        ends(&world, lab, failpoint);
        assert_eq!(world.a.state(), before);
        assert!(!socket.exists() && !Path::new("/run/adit/lab.sock").exists());
    }
}
