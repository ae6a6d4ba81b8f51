//! slirp4netns: what podman and rootlesskit rely on.
//!
//! ```text
//! namespace of the test: lo with 192.0.2.1, servers      namespace of the target: tap0 10.0.2.100
//! ```

use crate::support::{ADIT, bare, text};
use crate::world::{
    PATIENCE, READ, SERVER, World, free_port, must, refuse_name, serve, wait_until,
};
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, ChildStdin, Stdio};
use std::thread::sleep;
use std::time::Duration;

/// adit as slirp4netns.
struct Slirp {
    child: Child,
    exit: Option<ChildStdin>,
}

impl Slirp {
    /// Waits for its end: the status, and what it wrote.
    fn end(&mut self) -> (Option<i32>, String) {
        let status = wait_until("the end of slirp4netns", || self.child.try_wait().unwrap());
        let mut written = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut written).unwrap();
        (status.code(), written)
    }
}

impl Drop for Slirp {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts it with exit descriptor 3 and ready descriptor 4, and waits until it is ready.
fn start(world: &World, arguments: &[&str]) -> Slirp {
    start_as_it_is(world, &[&["-c"], arguments].concat())
}

/// The same without `--configure`.
fn start_as_it_is(world: &World, arguments: &[&str]) -> Slirp {
    let mut command = bare("sh");
    command.args(["-c", "exec \"$0\" \"$@\" 3<&0 4>&1 </dev/null >/dev/null"]);
    command.arg(world.folder.join("slirp4netns")).args(["-e", "3", "-r", "4"]);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut ready = String::new();
    child.stdout.take().unwrap().read_to_string(&mut ready).unwrap();
    let exit = child.stdin.take();
    let mut slirp = Slirp { child, exit };
    if ready != "1" {
        panic!("not ready but {ready:?}: {}", slirp.end().1);
    }
    slirp
}

#[test]
fn a_namespace_reaches_the_outside_as_podman_wants_it() {
    let world = World::new();
    let pid = world.pid();
    let options =
        ["--disable-host-loopback", "--mtu=65520", "--enable-sandbox", "--enable-seccomp"];
    let arguments = [&options[..], &["--enable-ipv6", &pid, "tap0"]].concat();
    let mut slirp = start(&world, &arguments);
    let addresses = world.output(&["ip", "-o", "addr"]);
    for part in ["inet 127.0.0.1/8", "inet 10.0.2.100/24", "inet6 fd00::64/64"] {
        assert!(addresses.contains(part), "{addresses}");
    }
    assert!(world.output(&["ip", "link", "show", "tap0"]).contains("mtu 65520"));
    let routes = world.output(&["ip", "route", "show", "default"]);
    assert!(routes.starts_with("default via 10.0.2.2 dev tap0"), "{routes}");

    // Segments as long as the largest packet.
    let bytes: Vec<u8> =
        (0..3_000_000_u32).map(|n| n.to_le_bytes()[usize::from(n % 3 == 0)]).collect();
    fs::write(world.folder.join("bytes"), &bytes).unwrap();
    let sum = bare("sha256sum").arg(world.folder.join("bytes")).output().unwrap();
    let sum = text(&sum.stdout).split_whitespace().next().unwrap().to_owned();
    let (port, server) = serve(SERVER, bytes);
    let read = world.output(&["python3", "-c", READ, "192.0.2.1", &port.to_string()]);
    assert_eq!(read.trim(), format!("3000000 {sum}"));
    server.join().unwrap();

    // The host's loopback is out of reach.
    let (port, _server) = serve(Ipv4Addr::LOCALHOST, Vec::new());
    let refused = world.output(&["python3", "-c", READ, "10.0.2.2", &port.to_string()]);
    assert!(refused.contains("ConnectionRefusedError"), "{refused}");

    // The caller closes its end.
    slirp.exit.take();
    assert_eq!(slirp.end(), (Some(0), String::new()));
    assert!(!world.output(&["ip", "link"]).contains("tap0"));
}

#[test]
fn a_tap_of_the_caller_is_used_as_it_is_and_stays() {
    let world = World::new();
    // As rootlesskit does it.
    let inside = |line: &str| world.output(&line.split(' ').collect::<Vec<_>>());
    assert_eq!(inside("ip tuntap add name tap0 mode tap"), "");
    assert_eq!(inside("ip link set tap0 address 02:00:00:00:00:07 up"), "");
    let pid = world.pid();
    let mut slirp = start_as_it_is(&world, &["--mtu", "65520", "--enable-ipv6", &pid, "tap0"]);
    assert!(!inside("ip -4 -o addr").contains("tap0"));
    assert_eq!(inside("ip link set tap0 mtu 65520"), "");
    assert_eq!(inside("ip addr add 10.0.2.100/24 dev tap0"), "");
    assert_eq!(inside("ip route add default via 10.0.2.2 dev tap0"), "");
    let (port, server) = serve(SERVER, vec![b'x'; 300_000]);
    let read = world.output(&["python3", "-c", READ, "192.0.2.1", &port.to_string()]);
    assert!(read.starts_with("300000 "), "{read}");
    server.join().unwrap();
    wait_until("an address by router advertisements", || {
        inside("ip -6 -o addr show dev tap0 scope global").contains("fd00::").then_some(())
    });
    slirp.exit.take();
    assert_eq!(slirp.end(), (Some(0), String::new()));
    assert!(inside("ip link show tap0").contains("02:00:00:00:00:07"));
}

#[test]
fn the_tap_has_the_mac_address_that_was_asked_for() {
    let world = World::new();
    let _slirp = start(&world, &["--macaddress=02:00:00:00:00:09", &world.pid(), "tap1"]);
    let link = world.output(&["ip", "-d", "link", "show", "tap1"]);
    assert!(link.contains("link/ether 02:00:00:00:00:09") && link.contains("type tap"), "{link}");
}

#[test]
fn names_are_resolved_though_the_first_name_server_is_silent() {
    let world = World::new();
    let silent = Ipv4Addr::new(192, 0, 2, 9);
    must("ip addr add 192.0.2.9/32 dev lo");
    let _silent = UdpSocket::bind((silent, 53)).unwrap();
    let servers = format!("nameserver {silent}\nnameserver {SERVER}\n");
    fs::write(world.folder.join("resolv.conf"), servers).unwrap();
    let _slirp = start(&world, &[&world.pid()]);
    let dns = UdpSocket::bind((SERVER, 53)).unwrap();
    let server = refuse_name(dns);
    let ask = "import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(50)
s.sendto(bytes.fromhex('abcd01000001000000000000016101620000010001'), ('10.0.2.3', 53))
b, a = s.recvfrom(99)
print(b[:4].hex(), a)";
    let answer = world.output(&["python3", "-c", ask]);
    assert_eq!(answer.trim(), "abcd8183 ('10.0.2.3', 53)");
    server.join().unwrap();
}

#[test]
fn name_servers_that_the_host_gets_later_are_asked() {
    let world = World::new();
    let resolv_conf = world.folder.join("resolv.conf");
    must("ip addr add 192.0.2.9/32 dev lo");
    let _silent = UdpSocket::bind((Ipv4Addr::new(192, 0, 2, 9), 53)).unwrap();
    fs::write(&resolv_conf, "nameserver 192.0.2.9\n").unwrap();
    let _slirp = start(&world, &[&world.pid()]);
    let dns = UdpSocket::bind((SERVER, 53)).unwrap();
    let server = refuse_name(dns);
    fs::write(&resolv_conf, format!("nameserver {SERVER}\n")).unwrap();
    let ask = "import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(1)
for number in range(60):
    s.sendto(number.to_bytes(2, 'big') + bytes.fromhex('01000001000000000000016101620000010001'), ('10.0.2.3', 53))
    try:
        # A query that came before the change fails (code 2).
        if s.recv(99)[3] & 15 == 3:
            print('no such name')
            break
    except TimeoutError:
        pass";
    assert_eq!(world.output(&["python3", "-c", ask]).trim(), "no such name");
    server.join().unwrap();
}

#[test]
fn the_hosts_loopback_is_the_gateway_unless_it_is_disabled() {
    let world = World::new();
    let _slirp = start(&world, &["--cidr=10.5.0.0/24", &world.pid()]);
    let (port, server) = serve(Ipv4Addr::LOCALHOST, b"loopback".to_vec());
    let read = world.output(&["python3", "-c", READ, "10.5.0.2", &port.to_string()]);
    assert!(read.starts_with("8 "), "{read}");
    server.join().unwrap();
}

/// A request at the API socket.
fn ask(socket: &Path, request: &str) -> serde_json::Value {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // In two parts, as a stream may come.
    let (first, rest) = request.split_at(request.len() / 2);
    stream.write_all(first.as_bytes()).unwrap();
    sleep(Duration::from_millis(20));
    stream.write_all(rest.as_bytes()).unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    serde_json::from_str(&reply).unwrap_or_else(|error| panic!("{request}: {reply:?}: {error}"))
}

/// Servers in the target: TCP on port 80 says the address of its client, UDP on port 53 answers.
const SERVERS: &str = "import socket, threading
t = socket.create_server(('10.0.2.100', 80))
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
u.bind(('10.0.2.100', 53))
def udp():
    while True:
        b, a = u.recvfrom(99)
        u.sendto(b'udp ' + b, a)
threading.Thread(target=udp, daemon=True).start()
print('up', flush=True)
while True:
    c, a = t.accept()
    c.sendall(('tcp ' + a[0]).encode())
    c.close()";

/// The request for a port.
fn add(proto: &str, port: u16, guest_port: u16) -> String {
    format!(
        "{{\"execute\":\"add_hostfwd\",\"arguments\":{{\"proto\":\"{proto}\",\"host_addr\":\"192.0.2.1\",\
         \"host_port\":{port},\"guest_addr\":\"\",\"guest_port\":{guest_port}}}}}\n"
    )
}

#[test]
fn connections_come_from_the_address_that_is_given() {
    let world = World::new();
    let from = Ipv4Addr::new(192, 0, 2, 7);
    must("ip addr add 192.0.2.7/32 dev lo");
    let tcp = TcpListener::bind((SERVER, 0)).unwrap();
    let udp = UdpSocket::bind((SERVER, 0)).unwrap();
    udp.set_read_timeout(Some(PATIENCE)).unwrap();
    let ports = [tcp.local_addr().unwrap().port(), udp.local_addr().unwrap().port()];
    let _slirp = start(&world, &["--outbound-addr=192.0.2.7", &world.pid()]);
    let connect = "import socket, sys
t = socket.create_connection(('192.0.2.1', int(sys.argv[1])), 50)
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
u.sendto(b'x', ('192.0.2.1', int(sys.argv[2])))
print(t.getpeername()[0])";
    let [first, second] = ports.map(|port| port.to_string());
    assert_eq!(world.output(&["python3", "-c", connect, &first, &second]).trim(), "192.0.2.1");
    assert_eq!(tcp.accept().unwrap().1.ip(), from);
    assert_eq!(udp.recv_from(&mut [0; 9]).unwrap().1.ip(), from);
}

#[test]
fn ports_are_forwarded_by_requests_at_the_api_socket() {
    let world = World::new();
    let socket = world.folder.join("api");
    let _slirp = start(&world, &["--api-socket", socket.to_str().unwrap(), &world.pid(), "tap0"]);
    // A client that sends nothing holds nobody up.
    let _silent = UnixStream::connect(&socket).unwrap();
    let _servers = world.python(SERVERS);
    let (tcp, udp) = (free_port(), free_port());
    assert_eq!(ask(&socket, &add("tcp", tcp, 80)), serde_json::json!({"return": {"id": 1}}));
    assert_eq!(ask(&socket, &add("udp", udp, 53)), serde_json::json!({"return": {"id": 2}}));
    let answer = wait_until("an answer by TCP", || {
        let mut client = TcpStream::connect((SERVER, tcp)).ok()?;
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).ok().filter(|&len| len > 0).map(|_| answer)
    });
    // The client's own address.
    assert_eq!(answer, "tcp 192.0.2.1");
    let client = UdpSocket::bind((SERVER, 0)).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let answer = wait_until("an answer by UDP", || {
        client.send_to(b"datagram", (SERVER, udp)).unwrap();
        let mut answer = [0; 99];
        let (len, from) = client.recv_from(&mut answer).ok()?;
        Some((text(&answer[..len]), from))
    });
    assert_eq!(answer, ("udp datagram".to_owned(), SocketAddr::from((SERVER, udp))));

    let listed = ask(&socket, "{\"execute\":\"list_hostfwd\"}");
    let entry = serde_json::json!({
        "id": 1, "proto": "tcp", "host_addr": "192.0.2.1", "host_port": tcp,
        "guest_addr": "10.0.2.100", "guest_port": 80,
    });
    assert_eq!(listed["return"]["entries"][0], entry);
    assert_eq!(listed["return"]["entries"].as_array().unwrap().len(), 2);
    // What cannot be done is answered with the reason.
    let taken = TcpListener::bind((SERVER, 0)).unwrap();
    let taken = add("tcp", taken.local_addr().unwrap().port(), 81);
    for (request, part) in [
        (taken.as_str(), "add_hostfwd: "),
        (&add("tcp", tcp, 80), "in use"),
        (&add("sctp", tcp, 80), "bad arguments.proto"),
        (&add("tcp", 0, 80), "bad port"),
        ("{\"execute\":\"remove_hostfwd\",\"arguments\":{\"id\":9}}", "bad arguments.id"),
        ("{\"execute\":\"nothing\"}", "unknown execute"),
        ("{\"arguments\":[]}", "bad request"),
    ] {
        let reply = ask(&socket, request);
        let why = reply["error"]["desc"].as_str().unwrap_or_default();
        assert!(why.contains(part), "{request}: {reply}");
    }
    let removed = ask(&socket, "{\"execute\":\"remove_hostfwd\",\"arguments\":{\"id\":1}}\n");
    assert_eq!(removed, serde_json::json!({"return": {}}));
    wait_until("a port that is closed", || {
        let error = TcpStream::connect((SERVER, tcp)).err()?;
        (error.kind() == ErrorKind::ConnectionRefused).then_some(())
    });
}

#[test]
fn it_ends_with_its_namespace_and_by_signals() {
    let world = World::new();
    let held = world.hold();
    let path = held.to_str().unwrap();
    let mut slirp = start(&world, &["--netns-type=path", path]);
    fs::write(world.folder.join("other"), "").unwrap();
    fs::remove_file(world.folder.join("other")).unwrap();
    assert!(slirp.child.try_wait().unwrap().is_none());
    World::let_go(&held);
    assert_eq!(slirp.end(), (Some(0), String::new()));

    let mut slirp = start(&world, &[&world.pid()]);
    rustix::process::kill_process(
        rustix::process::Pid::from_child(&slirp.child),
        rustix::process::Signal::TERM,
    )
    .unwrap();
    assert_eq!(slirp.end(), (Some(0), String::new()));

    let mut slirp = start(&world, &[&world.pid()]);
    drop(world);
    assert_eq!(slirp.end(), (Some(0), String::new()));
}

#[test]
fn messages_and_status_are_those_of_slirp4netns() {
    let run = |words: &[&str]| {
        let output = bare(ADIT).args(["compat", "slirp4netns"]).args(words).output().unwrap();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let (status, out, err) = run(&["--help"]);
    assert_eq!((status, err.as_str()), (Some(0), ""));
    assert!(out.starts_with("Usage: slirp4netns ") && out.contains("--netns-type"), "{out}");
    let (status, out, err) = run(&["--bogus", "1", "tap0"]);
    assert_eq!((status, out.as_str()), (Some(1), ""));
    assert!(err.starts_with("slirp4netns: unrecognized option '--bogus'\n"), "{err}");
    let (status, _, err) = run(&["-c", "4194999", "tap0"]);
    assert_eq!(status, Some(1));
    assert!(err.starts_with("slirp4netns: "), "{err}");
    // A descriptor that is not open.
    let (status, _, err) = run(&["-c", "-r", "77", "1", "tap0"]);
    assert_eq!(status, Some(1));
    assert!(err.contains("descriptor 77"), "{err}");
}
