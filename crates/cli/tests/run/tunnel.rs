//! `adit run --tunnel`: a command whose only way out is a tunnel.

use crate::nat::{CONNECT, Host, V4};
use crate::support::{ADIT, adit, bare, command, text};
use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// The other end of the tunnel, in the namespace of the neighbour.
struct Peer(Child);

impl Peer {
    fn new() -> Self {
        let key = || adit("tunnel genkey").trim().to_owned();
        let (ours, theirs) = (key(), key());
        write(
            "/run/peer.conf",
            &format!(
                "[Interface]\nPrivateKey = {theirs}\nAddress = 10.9.0.1/24\nListenPort = 51820\n\
                 [Peer]\nPublicKey = {}\nAllowedIPs = 10.9.0.2/32\n",
                public(&ours)
            ),
        );
        write(
            "/run/site.conf",
            &format!(
                "[Interface]\nPrivateKey = {ours}\nAddress = 10.9.0.2/24\nDNS = 10.9.0.53, site.test\n\
                 [Peer]\nPublicKey = {}\nEndpoint = {V4}:51820\nAllowedIPs = 0.0.0.0/0\n",
                public(&theirs)
            ),
        );
        Self::up("/run/peer.conf")
    }

    /// One that is reached by TCP.
    fn over_tcp() -> Self {
        let key = || adit("tunnel genkey").trim().to_owned();
        let (ours, theirs) = (key(), key());
        write(
            "/run/peer.toml",
            &format!(
                "[interface]\nprivate_key = \"{theirs}\"\naddresses = [\"10.9.0.1/24\"]\nlisten_tcp = 443\n\
                 [[peer]]\npublic_key = \"{}\"\nallowed_ips = [\"10.9.0.2/32\"]\n",
                public(&ours)
            ),
        );
        write(
            "/run/site.toml",
            &format!(
                "[interface]\nprivate_key = \"{ours}\"\naddresses = [\"10.9.0.2/24\"]\n\
                 [[peer]]\npublic_key = \"{}\"\nendpoint = \"{V4}:443\"\ntransport = \"tcp\"\n\
                 allowed_ips = [\"0.0.0.0/0\"]\n",
                public(&theirs)
            ),
        );
        Self::up("/run/peer.toml")
    }

    fn up(file: &str) -> Self {
        let words = ["ip", "netns", "exec", "srv", ADIT, "tunnel", "up", file];
        let mut adit = bare(words[0]).args(&words[1..]).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(adit.stderr.take().unwrap()).lines();
        let is_up = |line: &str| line.contains("up") || line.contains("running");
        assert!(lines.map_while(Result::ok).any(|line| is_up(&line)));
        Self(adit)
    }
}

/// The public key of a private one.
fn public(key: &str) -> String {
    let script = format!("echo {key} | {ADIT} tunnel pubkey");
    text(&command(["sh", "-c", &script]).output().unwrap().stdout).trim().to_owned()
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn write(path: &str, content: &str) {
    fs::write(path, content).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn everything_goes_through_the_tunnel_and_nothing_past_it() {
    let host = Host::new();
    let peer = Peer::new();
    let unprivileged = ["unshare", "-U", "--map-user=4711", "--map-group=4712"];
    let adit_run = |script: &str| {
        let options = ["run", "--sandbox", "require", "--tunnel", "/run/site.conf"];
        let words = [&[ADIT][..], &options, &["--", "sh", "-c", script, CONNECT]].concat();
        let output = command(unprivileged.iter().chain(&words)).output().unwrap();
        (text(&output.stdout), output.status.code(), text(&output.stderr))
    };
    let script = "cat /etc/resolv.conf; ip -o link | wc -l; ping -c1 -w30 10.9.0.1 >/dev/null && echo pong; exit 7";
    let (found, status, error) = adit_run(script);
    assert_eq!(
        (found.as_str(), status),
        ("nameserver 10.9.0.53\nsearch site.test\n2\npong\n", Some(7)),
        "{error}"
    );
    // The neighbour is reached through the tunnel only: without its other end there is no way to it.
    let connect = format!("python3 -c \"$0\" {V4} 9");
    assert_eq!(adit_run(&connect).0, "reached\n");
    drop(peer);
    let (found, _, _) = adit_run(&format!("timeout 5 {connect}"));
    assert_ne!(found, "reached\n");
    // The host still reaches it by itself.
    assert_eq!(
        text(&command(["python3", "-c", CONNECT, V4, "9"]).output().unwrap().stdout),
        "reached\n"
    );
    drop(host);
}

/// Sends 2 MB, and prints the length of the answer.
const UPLOAD: &str = "
import socket, sys
s = socket.create_connection((sys.argv[1], 7), 60)
s.sendall(bytes(2 << 20))
s.shutdown(socket.SHUT_WR)
print(len(s.makefile().read()))
";

#[test]
fn the_link_of_a_tunnel_passes_super_packets() {
    let _host = Host::new();
    let _peer = Peer::new();
    let run = ["run", "--tunnel", "/run/site.conf", "--rate", "200mbit", "--"];
    let words = [&[ADIT], &run[..], &["python3", "-c", UPLOAD, V4]].concat();
    let output = command(words).output().unwrap();
    assert_eq!(text(&output.stdout), "64\n", "{}", text(&output.stderr));
}

#[test]
fn a_tunnel_in_its_sandbox_is_named_recorded_and_resolved() {
    let mut host = Host::new();
    let _peer = Peer::new();
    // The name of its endpoint is resolved in the sandbox, by the host's name server.
    host.start(&[], crate::nat::NAME_SERVER, &["53", V4, "127.0.0.53"]);
    fs::write("/run/resolv.conf", "nameserver 127.0.0.53\n").unwrap();
    crate::support::run("mount --bind /run/resolv.conf /etc/resolv.conf");
    let site = fs::read_to_string("/run/site.conf").unwrap();
    write("/run/site.conf", &site.replace("192.0.2.2:51820", "peer.test:51820"));
    let script = "grep db.test /etc/hosts; ping -4 -c1 -w30 db.test >/dev/null && echo pong; echo up; read line";
    let mut adit = bare("unshare")
        .args(["-U", "--map-user=4711", "--map-group=4712", ADIT, "run", "--sandbox", "require"])
        .args(["--tunnel", "/run/site.conf", "--name", "site", "--name", "db.test=10.9.0.1"])
        .args(["--capture", "/run/site.pcapng", "--", "sh", "-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(adit.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert_eq!(
        lines.next().unwrap().split_whitespace().collect::<Vec<_>>(),
        ["10.9.0.1", "db.test"]
    );
    assert_eq!(
        (lines.next().unwrap(), lines.next().unwrap()),
        ("pong".to_owned(), "up".to_owned())
    );
    let status = fs::read_to_string(format!("/proc/{}/status", adit.id())).unwrap();
    let is = |name: &str, value: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        assert_eq!(line.trim(), value, "{name}");
    };
    is("CapPrm:", "0000000000000000");
    is("NoNewPrivs:", "1");
    is("Seccomp:", "2");
    let shown = crate::support::adit_json("tunnel show site");
    assert!(shown.to_string().contains("peer.test:51820"), "{shown}");
    let (status, error) = crate::support::refused("tunnel reload site");
    assert_eq!(status, 2, "{error}");
    assert!(error.contains("End the command, and run it again"), "{error}");
    drop(adit.stdin.take());
    assert_eq!(adit.wait().unwrap().code(), Some(1), "what `read` says at the end");
    assert!(!fs::exists("/run/adit/site.sock").unwrap());
    let read = "tshark -r /run/site.pcapng -T fields -e ip.src -e ip.dst -Y icmp";
    assert_eq!(crate::support::run(read), "10.9.0.2\t10.9.0.1\n10.9.0.1\t10.9.0.2\n");
    // What a handshake must not forget was written from the sandbox.
    let stamps = fs::read_to_string("/run/adit-state/site.timestamps").unwrap();
    assert!(stamps.contains("sent "), "{stamps}");
}

/// The sockets that a process has.
fn sockets_of(pid: u64) -> BTreeSet<String> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().map_while(Result::ok);
    let links = entries.filter_map(|entry| fs::read_link(entry.path()).ok());
    links.map(|link| link.display().to_string()).filter(|name| name.starts_with("socket")).collect()
}

/// A process and all that descend from it.
fn family_of(pid: u64) -> Vec<u64> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    let below = children.split_whitespace().flat_map(|child| family_of(child.parse().unwrap()));
    std::iter::once(pid).chain(below).collect()
}

#[test]
fn the_helper_of_a_run_has_no_privilege_and_its_command_does_not_reach_it() {
    let _host = Host::new();
    let _peer = Peer::new();
    let mut adit = bare(ADIT)
        .args(["run", "--sandbox", "require", "--tunnel", "/run/site.conf", "--name", "site"])
        .args(["--", "sh", "-c", "echo up; read line"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(adit.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert_eq!(lines.next().unwrap(), "up");
    let sandbox = crate::support::adit_json("tunnel show site")[0]["sandbox"].clone();
    assert!(sandbox["system_calls"].as_u64().unwrap() <= 60, "{sandbox}");
    let helper = sandbox["helper"].as_u64().unwrap();
    let status = fs::read_to_string(format!("/proc/{helper}/status")).unwrap();
    for line in ["CapPrm:\t0000000000000000", "CapEff:\t0000000000000000", "NoNewPrivs:\t1"] {
        assert!(status.contains(line), "{status}");
    }
    let worker = u64::from(adit.id());
    let (ours, family) = (sockets_of(worker), family_of(worker));
    assert!(ours.len() > 7 && family.len() >= 5, "{ours:?} {family:?}");
    for pid in family.iter().filter(|pid| **pid != worker) {
        let shared: Vec<_> = sockets_of(*pid).intersection(&ours).cloned().collect();
        assert!(shared.is_empty(), "{pid}: {shared:?}");
    }
    adit.kill().unwrap();
    adit.wait().unwrap();
    let end = Instant::now() + Duration::from_secs(60);
    while family.iter().any(|pid| fs::exists(format!("/proc/{pid}/fd/0")).unwrap_or(false)) {
        assert!(Instant::now() < end, "{family:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_tunnel_over_tcp_works_in_the_sandbox() {
    let _host = Host::new();
    let _peer = Peer::over_tcp();
    let options = ["run", "--sandbox", "require", "--netem", "dsl", "--tunnel", "/run/site.toml"];
    let ping = ["--", "ping", "-c1", "-w60", "10.9.0.1"];
    let output = command([ADIT].iter().chain(&options).chain(&ping)).output().unwrap();
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
}

#[test]
fn a_tunnel_takes_the_place_of_the_nat() {
    let (status, error) = crate::support::refused("run --net nat --tunnel x.conf -- true");
    assert_eq!(status, 2, "{error}");
    assert!(error.contains("--tunnel"), "{error}");
}
