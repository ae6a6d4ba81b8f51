//! `adit run --net nat` and `adit nat`: a command behind a NAT on a host with one neighbour.

use crate::support::{ADIT, adit_json, bare, command, enter, run, text};
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Output, Stdio};

pub(crate) const V4: &str = "192.0.2.2";
pub(crate) const V6: &str = "2001:db8::2";

/// A host with a neighbour that runs `servers.py`.
pub(crate) struct Host {
    servers: Vec<Child>,
}

impl Host {
    pub(crate) fn new() -> Self {
        enter();
        run("ip link set lo up");
        run("ip netns add srv");
        run("ip -n srv link set lo up");
        run("ip link add v0 type veth peer name v1 netns srv");
        for (netns, device, last) in [("", "v0", 1), ("-n srv ", "v1", 2)] {
            run(&format!("ip {netns}addr add 192.0.2.{last}/24 dev {device}"));
            run(&format!("ip {netns}addr add 2001:db8::{last}/64 dev {device} nodad"));
            run(&format!("ip {netns}link set {device} up"));
        }
        let mut host = Self { servers: Vec::new() };
        host.serve(&["ip", "netns", "exec", "srv"], &[V4, V6]);
        host
    }

    /// Starts servers at addresses.
    pub(crate) fn serve(&mut self, prefix: &[&str], addresses: &[&str]) {
        self.start(prefix, include_str!("servers.py"), addresses);
    }

    /// Starts a Python program that prints `up`.
    pub(crate) fn start(&mut self, prefix: &[&str], program: &str, arguments: &[&str]) {
        let words = [prefix, &["python3", "-c", program], arguments].concat();
        let mut server = bare(words[0]).args(&words[1..]).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
        self.servers.push(server);
        assert_eq!(line, "up\n");
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        for server in &mut self.servers {
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}

/// `adit run` with the whole sandbox, as a user without privilege.
pub(crate) fn adit_run(options: &[&str], words: &[&str]) -> Output {
    let prefix = [
        "unshare",
        "-U",
        "--map-user=4711",
        "--map-group=4712",
        ADIT,
        "run",
        "--sandbox",
        "require",
    ];
    command(prefix.iter().chain(options).chain(&["--"]).chain(words)).output().unwrap()
}

#[test]
fn a_command_reaches_the_outside_without_privilege() {
    let _host = Host::new();
    let output = adit_run(&[], &["python3", "-c", include_str!("client.py"), V4, V6]);
    let found = text(&output.stdout);
    let all = ["upload", "download", "refused", "datagram"];
    let expected: Vec<String> =
        ["v4", "v6"].iter().flat_map(|ip| all.map(|what| format!("{ip} {what} ok"))).collect();
    assert_eq!(found.lines().collect::<Vec<_>>(), expected, "{}", text(&output.stderr));
    assert_eq!((text(&output.stderr).as_str(), output.status.code()), ("", Some(0)));
}

/// Connects to a port, and prints what happened.
pub(crate) const CONNECT: &str = "
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), 60).close()
    print('reached')
except OSError as error:
    print(error.strerror)
";

#[test]
fn the_host_itself_is_out_of_reach_unless_a_port_is_allowed() {
    let mut host = Host::new();
    host.serve(&[], &["127.0.0.1"]);
    host.serve(&[], &["192.0.2.1"]);
    let connect = |options: &[&str], address: &str, port: &str| {
        let output = adit_run(options, &["python3", "-c", CONNECT, address, port]);
        text(&output.stdout).trim().to_owned()
    };
    assert_eq!(connect(&[], V4, "9"), "reached");
    for address in ["192.0.2.1", "169.254.169.254", "10.0.2.2"] {
        assert_ne!(connect(&[], address, "9"), "reached", "{address}");
    }
    let allowed = ["--allow-host", "9"];
    assert_eq!(connect(&allowed, "host.adit.internal", "9"), "reached");
    assert_ne!(connect(&allowed, "host.adit.internal", "7"), "reached");
    assert_ne!(connect(&allowed, "192.0.2.1", "9"), "reached");
}

/// A name server: every name has one address.
pub(crate) const NAME_SERVER: &str = include_str!("name_server.py");

#[test]
fn names_are_resolved_by_a_server_on_the_hosts_loopback() {
    let mut host = Host::new();
    host.start(&[], NAME_SERVER, &["53", V4, "127.0.0.53"]);
    fs::write("/run/resolv.conf", "search example.test\nnameserver 127.0.0.53\n").unwrap();
    run("mount --bind /run/resolv.conf /etc/resolv.conf");
    let output = adit_run(
        &[],
        &["sh", "-c", "cat /etc/resolv.conf; getent ahostsv4 some.example.test | head -1"],
    );
    let found = text(&output.stdout);
    assert!(found.starts_with("nameserver 10.0.2.3\nsearch example.test\n192.0.2.2 "), "{found}");
    // The host's own file is as it was.
    assert!(fs::read_to_string("/etc/resolv.conf").unwrap().contains("127.0.0.53"));
}

#[test]
fn a_link_can_be_emulated_and_recorded() {
    let _host = Host::new();
    let started = std::time::Instant::now();
    let options = ["--netem", "geo", "--capture", "/run/run.pcapng"];
    let output = adit_run(&options, &["python3", "-c", CONNECT, V4, "9"]);
    assert_eq!(text(&output.stdout), "reached\n", "{}", text(&output.stderr));
    // SYN and its answer cross a geostationary satellite.
    assert!(started.elapsed().as_millis() >= 400, "{:?}", started.elapsed());
    let read = run("tshark -r /run/run.pcapng -Y tcp.flags.syn==1 -T fields -e ip.src -e ip.dst");
    let mut lines = read.lines();
    assert_eq!(lines.next(), Some("10.0.2.100\t192.0.2.2"), "{read}");
    assert!(lines.any(|line| line == "192.0.2.2\t10.0.2.100"), "{read}");
}

/// A run with a name, whose command has a connection open.
struct Named(Child);

impl Named {
    fn new(name: &str) -> Self {
        let script = format!(
            "import socket, time; s = socket.create_connection(('{V4}', 7)); s.send(b'12345'); print('up', flush=True); \
             time.sleep(1000)"
        );
        let mut child = bare(ADIT)
            .args(["run", "--name", name, "--", "python3", "-c", &script])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "up\n");
        Self(child)
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_nat_is_listed_shown_and_stopped() {
    let _host = Host::new();
    let mut named = Named::new("web");
    let pid = named.0.id();
    assert_eq!(adit_json("nat list")[0]["name"], "web");
    let shown = adit_json("nat show web");
    assert_eq!((&shown["pid"], &shown["device"]), (&pid.into(), &"tun0".into()));
    assert_eq!(shown["addresses"][0], "10.0.2.100/24");
    let flows = adit_json("nat flows web");
    let flow = &flows[0];
    assert_eq!(flow["transport"], "tcp");
    assert_eq!(flow["remote"], format!("{V4}:7"));
    assert_eq!((&flow["state"], &flow["sent_bytes"]), (&"open".into(), &5.into()));
    crate::support::validate(&[("nat-show", shown.to_string()), ("nat-flows", flows.to_string())]);
    crate::support::describes_itself("nat", "/run/adit/web.sock", &[]);
    let text = run(&format!("{ADIT} nat show web"));
    assert!(text.contains("gateways      10.0.2.2, fd00::2"), "{text}");
    let text = run(&format!("{ADIT} nat flows web"));
    assert!(text.lines().nth(1).unwrap().starts_with("tcp"), "{text}");
    run(&format!("{ADIT} nat stop web"));
    assert_eq!(named.0.wait().unwrap().code(), Some(137));
    assert_eq!(adit_json("nat list").as_array().map(Vec::len), Some(0));
    assert!(!fs::exists("/run/adit/web.sock").unwrap());
}

/// `adit nat attach`, which has said that it runs.
pub(crate) struct Attached {
    adit: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStderr>>,
}

impl Attached {
    pub(crate) fn new(words: &[&str]) -> Self {
        let mut adit = bare(words[0]).args(&words[1..]).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(adit.stderr.take().unwrap()).lines();
        let line = lines.next().unwrap().unwrap();
        assert!(line.contains("is running: t") && line.contains("0 in "), "{line}");
        Self { adit, lines }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.adit.id()
    }

    /// Waits for its end; returns its status and what it said.
    fn end(mut self) -> (Option<i32>, String) {
        let said: Vec<String> = self.lines.by_ref().map_while(Result::ok).collect();
        (self.adit.wait().unwrap().code(), said.join("\n"))
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        let _ = self.adit.kill();
        let _ = self.adit.wait();
    }
}

#[test]
fn a_namespace_by_its_name_gets_a_way_out_until_it_is_deleted() {
    let _host = Host::new();
    run("ip netns add blue");
    let attached = Attached::new(&[ADIT, "nat", "attach", "blue", "--sandbox", "require"]);
    let inside = ["ip", "netns", "exec", "blue", "python3", "-c", CONNECT, V4, "9"];
    assert_eq!(text(&command(inside).output().unwrap().stdout), "reached\n");
    assert_eq!(adit_json("nat show")["device"], "tun0");
    run("ip netns del blue");
    let (status, said) = attached.end();
    assert_eq!(status, Some(0), "{said}");
    assert!(said.contains("the namespace was deleted"), "{said}");
    // The name is free again, and nothing is in the way of the next one.
    run("ip netns add blue");
    let attached = Attached::new(&[ADIT, "nat", "attach", "blue", "--sandbox", "require"]);
    run(&format!("{ADIT} nat stop"));
    assert_eq!(attached.end().0, Some(0));
    assert_eq!(run("ip -n blue -o link").lines().count(), 1, "the device went with the NAT");
}

#[test]
fn a_process_of_an_unprivileged_user_gets_a_way_out_until_it_ends() {
    let _host = Host::new();
    // The user has no privilege; its process made namespaces of its own.
    let script = format!(
        "unshare -Urn sleep 1000 & target=$!
         until [ \"$(readlink /proc/$target/ns/net)\" != \"$(readlink /proc/$$/ns/net)\" ]; do sleep 0.05; done
         grep CapEff /proc/$$/status | tr -d '\\t'
         \"$0\" nat attach $target --sandbox require 2>/dev/shm/attached & adit=$!
         until grep -q 'is running' /dev/shm/attached; do sleep 0.05; kill -0 $adit || break; done
         nsenter -t $target -U -n --preserve-credentials python3 -c \"$1\" {V4} 9
         kill $target
         wait $adit
         echo status $?"
    );
    let words = [
        "unshare",
        "-U",
        "--map-user=4711",
        "--map-group=4712",
        "sh",
        "-c",
        &script,
        ADIT,
        CONNECT,
    ];
    run("mount -t tmpfs none /dev/shm");
    let output = command(words).output().unwrap();
    assert_eq!(
        text(&output.stdout),
        "CapEff:0000000000000000\nreached\nstatus 0\n",
        "{}{}",
        text(&output.stderr),
        fs::read_to_string("/dev/shm/attached").unwrap_or_default()
    );
}

#[test]
fn a_namespace_of_others_is_refused_with_the_reason() {
    enter();
    run("ip netns add blue");
    // Another user namespace has no right over it.
    let words = ["unshare", "-Ur", ADIT, "nat", "attach", "blue"];
    let output = command(words).output().unwrap();
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{error}");
    assert!(error.contains("network namespace 'blue'") && error.contains("help:"), "{error}");
    assert_eq!(run("ip -n blue -o link").lines().count(), 1);
    let (status, error) = crate::support::refused("nat attach nowhere");
    assert_eq!(status, 4, "{error}");
}
