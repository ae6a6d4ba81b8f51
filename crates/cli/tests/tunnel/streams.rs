//! Tunnels over streams: TCP, and the pipes of other programs.

use crate::support::ADIT;
use crate::world::{Keys, Running, Space, World, show, wait_for};
use std::path::PathBuf;
use std::process::Stdio;

/// The files of a client and a server; the further lines are of [interface] and of the client's peer.
fn files(world: &World, server: &str, peer: &str) -> (PathBuf, PathBuf) {
    let (ka, kb) = (Keys::new(), Keys::new());
    let end = |own: &Keys, number: u8, more: &str, other: &Keys, far: u8, peer: &str| {
        format!(
            "[interface]\nprivate_key = \"{}\"\naddresses = [\"10.9.0.{number}/24\"]\n{more}\n\
             [[peer]]\npublic_key = \"{}\"\nallowed_ips = [\"10.9.0.{far}/32\"]\n{peer}\n",
            own.private, other.public
        )
    };
    let a = world.write("ta.toml", &end(&ka, 1, "", &kb, 2, peer));
    let b = world.write("tb.toml", &end(&kb, 2, server, &ka, 1, ""));
    (a, b)
}

fn reaches(from: &Space, to: &str) {
    wait_for("a ping is answered", || from.succeeds(&format!("ping -n -c 1 -W 1 {to}")));
}

fn transfers(world: &World) {
    let sent: Vec<u8> = (0..8_000_000_u32).map(|at| ((at * 77) >> 5).to_le_bytes()[0]).collect();
    let (from, into) = (world.folder.join("data"), world.folder.join("got"));
    std::fs::write(&from, &sent).unwrap();
    let listen = format!("socat -u TCP4-LISTEN:7001,reuseaddr CREATE:{}", into.display());
    let mut receiver = Running(world.b.command(&listen).spawn().unwrap());
    wait_for("somebody listens", || world.b.run("ss -ltn").contains(":7001 "));
    world.a.run(&format!("socat -u FILE:{} TCP4:10.9.0.2:7001", from.display()));
    assert!(receiver.0.wait().unwrap().success());
    assert!(std::fs::read(into).unwrap() == sent, "it is the same");
}

#[test]
fn a_tunnel_goes_over_tcp_and_comes_back_after_a_restart() {
    let world = World::new();
    let peer = "transport = \"tcp\"\nendpoint = \"192.0.2.2:443\"\nkeepalive = 1";
    let (a, b) = files(&world, "listen_tcp = 443", peer);
    let _ta = world.up(&world.a, &a, "");
    let tb = world.up(&world.b, &b, "");
    reaches(&world.a, "10.9.0.2");
    reaches(&world.b, "10.9.0.1");
    assert_eq!(show("ta")["peers"][0]["endpoint"], "tcp:192.0.2.2:443");
    let there = show("tb")["peers"][0]["endpoint"].clone();
    assert!(there.as_str().unwrap().contains("192.0.2.1"), "{there}");
    assert_eq!(show("tb")["datagrams"]["received"], 0, "none by UDP");
    transfers(&world);
    // Unauthenticated clients that send nothing, or garbage, change nothing.
    let mut strangers = Vec::new();
    for _ in 0..10 {
        let mut command = world.a.command("socat EXEC:cat TCP4:192.0.2.2:443");
        strangers.push(Running(command.stdin(Stdio::null()).spawn().unwrap()));
    }
    world.a.run("dd if=/dev/urandom of=/dev/null bs=1 count=1");
    reaches(&world.a, "10.9.0.2");
    tb.kill();
    drop(strangers);
    let _tb = world.up(&world.b, &b, "");
    reaches(&world.a, "10.9.0.2");
}

/// Without a descriptor left, unauthenticated clients and `wg` are refused, and the tunnel goes on.
#[test]
fn a_tunnel_without_descriptors_goes_on() {
    let world = World::new();
    let peer = "transport = \"tcp\"\nendpoint = \"192.0.2.2:443\"\nkeepalive = 1";
    let (a, b) = files(&world, "listen_tcp = 443", peer);
    let _ta = world.up(&world.a, &a, "");
    let tb = world.up(&world.b, &b, "");
    reaches(&world.a, "10.9.0.2");
    let open = std::fs::read_dir(format!("/proc/{}/fd", tb.pid())).unwrap().count();
    crate::support::run(&format!("prlimit --pid {} --nofile={}", tb.pid(), open + 1));
    const STRANGERS: &str = "
import socket, sys
kept = []
for n in range(100):
    s = socket.create_connection(('192.0.2.2', 443))
    kept.append(s)
print('there', flush=True)
sys.stdin.read()
";
    let script = world.write("strangers.py", STRANGERS);
    let mut command = world.a.command(&format!("python3 {}", script.display()));
    let mut strangers =
        Running(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap());
    let mut told = [0; 5];
    std::io::Read::read_exact(strangers.0.stdout.as_mut().unwrap(), &mut told).unwrap();
    for _ in 0..3 {
        reaches(&world.a, "10.9.0.2");
    }
    drop(strangers);
}

#[test]
fn a_tunnel_goes_over_the_pipes_of_another_program() {
    let world = World::new();
    let (a, b) = files(&world, "", "");
    let over =
        format!("nsenter --net={} {ADIT} -q tunnel up --stdio {}", world.b.path(), b.display());
    let path = world.a.path();
    let mut command =
        crate::support::command([ADIT, "-q", "-n", &path, "tunnel", "up", "--exec", &over]);
    let mut ta = Running(command.arg(&a).spawn().unwrap());
    wait_for("it runs", || world.a.has_link("ta") && world.b.has_link("tb"));
    reaches(&world.a, "10.9.0.2");
    assert_eq!(show("ta")["peers"][0]["endpoint"], "exec:nsenter");
    assert_eq!(show("tb")["peers"][0]["endpoint"], "stdio");
    transfers(&world);
    // One end ends: so does the other.
    crate::support::adit("tunnel down tb");
    wait_for("it ends", || ta.0.try_wait().unwrap().is_some());
    assert!(ta.0.wait().unwrap().success(), "the end of the program is no error");
    assert!(!world.a.has_link("ta"));
}

/// The status of a tunnel over a program is that of the program.
#[test]
fn the_end_of_a_program_is_the_end_of_its_tunnel_with_its_status() {
    let world = World::new();
    let (a, _) = files(&world, "", "");
    let path = world.a.path();
    for (program, status) in [("true", 0), ("sh -c 'exit 3'", 3), ("sh -c 'kill -TERM $$'", 143)] {
        let words = [ADIT, "-n", &path, "tunnel", "up", "--exec", program];
        let output = crate::support::command(words).arg(&a).output().unwrap();
        let errors = crate::support::text(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{program}: {errors}");
        assert!(!errors.contains("error:"), "{errors}");
        assert!(!world.a.has_link("ta"));
    }
}

/// Shaped to 8 Mbit/s, three million bytes take three seconds at least, less what a burst is.
#[test]
fn a_rate_is_kept() {
    let world = World::new();
    let peer = "endpoint = \"192.0.2.2:51820\"\nrate_out = \"8mbit\"\nburst = \"20KB\"";
    let (a, b) = files(&world, "listen_port = 51820", peer);
    let _tunnels = (world.up(&world.a, &a, ""), world.up(&world.b, &b, ""));
    reaches(&world.a, "10.9.0.2");
    let (from, into) = (world.folder.join("data"), world.folder.join("got"));
    std::fs::write(&from, vec![7; 3_000_000]).unwrap();
    let listen = format!("socat -u TCP4-LISTEN:7001,reuseaddr CREATE:{}", into.display());
    let mut receiver = Running(world.b.command(&listen).spawn().unwrap());
    wait_for("somebody listens", || world.b.run("ss -ltn").contains(":7001 "));
    let start = std::time::Instant::now();
    world.a.run(&format!("socat -u FILE:{} TCP4:10.9.0.2:7001", from.display()));
    assert!(receiver.0.wait().unwrap().success());
    assert!(start.elapsed().as_secs_f64() > 2.9, "{:?}", start.elapsed());
    assert_eq!(std::fs::metadata(into).unwrap().len(), 3_000_000);
}
