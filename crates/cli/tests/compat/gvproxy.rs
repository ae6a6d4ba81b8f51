//! gvproxy: what podman machine relies on.

use crate::guest::{lease, start};
use crate::support::{bare, run, text};
use crate::world::{
    Network, OUTSIDE, PATIENCE, READ, SERVERS, Servers, World, free_port, read_from, serve,
    wait_until,
};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;
use std::process::Stdio;

const MAC: &str = "5a:94:ef:e4:0c:ee";

/// A request at the socket of the API: the status and the body.
fn ask(socket: &Path, method: &str, path: &str, body: &str) -> (String, String) {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let len = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: gvproxy\r\nContent-Length: {len}\r\n\r\n{body}"
    )
    .unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    let (head, body) = reply.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().to_owned(), body.to_owned())
}

fn expose(socket: &Path, what: &str, body: &str) -> (String, String) {
    ask(socket, "POST", &format!("/services/forwarder/{what}"), body)
}

/// The guest lists what is exposed, and nobody else by the socket for that.
fn asks_at_the_gateway(world: &World, all: &serde_json::Value, exposed: &[u16]) {
    let get = "import http.client
c = http.client.HTTPConnection('192.168.127.1', timeout=50)
c.request('GET', '/services/forwarder/all')
print(c.getresponse().read().decode())";
    let of_guest: serde_json::Value =
        serde_json::from_str(&world.output(&["python3", "-c", get])).unwrap();
    assert_eq!(of_guest, *all);
    let listening = run("ss -ltnpH src 127.0.0.1");
    let own = listening.lines().filter(|line| line.contains("gvproxy"));
    let ports =
        own.filter_map(|line| line.split_whitespace().nth(3)?.rsplit(':').next()?.parse().ok());
    let ports: Vec<u16> = ports.filter(|port| !exposed.contains(port)).collect();
    let [port] = ports[..] else { panic!("{listening}") };
    let mut stranger = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    stranger.set_read_timeout(Some(PATIENCE)).unwrap();
    let _ = stranger.write_all(b"GET /services/forwarder/all HTTP/1.1\r\n\r\n");
    let mut reply = Vec::new();
    let _ = stranger.read_to_end(&mut reply);
    assert!(reply.is_empty(), "{}", text(&reply));
}

#[test]
fn a_guest_of_gvproxy_has_its_network_and_ports_are_exposed_by_requests() {
    let network = Network::new();
    let world = &network.world;
    let at = |name: &str| world.folder.join(name);
    let (qemu, api, ssh) = (at("qemu"), at("api"), free_port());
    let mut command = bare(at("gvproxy"));
    command.args(["-listen-qemu", &format!("unix://{}", qemu.display()), "-mtu", "1500"]);
    command.args(["-listen", &format!("unix://{}", api.display())]);
    command.args([&format!("-ssh-port={ssh}"), "-pid-file"]).arg(at("pid"));
    let mut gvproxy = Servers(command.stderr(Stdio::piped()).spawn().unwrap());
    let stream = wait_until("the socket", || UnixStream::connect(&qemu).ok());
    let guest = start(world, stream.into(), "stream", MAC);
    assert_eq!(lease(world), "192.168.127.2/24 192.168.127.1 mtu=1500 dns=192.168.127.1");

    let (port, server) = network.outside(|| serve(OUTSIDE, b"outside".to_vec()));
    let read = world.output(&["python3", "-c", READ, "192.0.2.2", &port.to_string()]);
    assert!(read.starts_with("7 "), "{read}");
    server.join().unwrap();
    // The host's loopback has an address of its own, and a name.
    let (port, server) = serve(Ipv4Addr::LOCALHOST, b"loopback".to_vec());
    let read = world.output(&["python3", "-c", READ, "192.168.127.254", &port.to_string()]);
    assert!(read.starts_with("8 "), "{read}");
    server.join().unwrap();
    let resolve = "import socket
q = b'\\x12\\x34\\1\\0\\0\\1\\0\\0\\0\\0\\0\\0\\4host\\12containers\\10internal\\0\\0\\1\\0\\1'
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(50)
s.sendto(q, ('192.168.127.1', 53))
print(socket.inet_ntoa(s.recv(512)[-4:]))";
    assert_eq!(world.output(&["python3", "-c", resolve]).trim(), "192.168.127.254");

    let _servers = world.python(SERVERS);
    let local = free_port();
    let body = format!(
        "{{\"local\":\"127.0.0.1:{local}\",\"remote\":\"192.168.127.2:80\",\"protocol\":\"tcp\"}}"
    );
    let done = |text: &str| ("200".to_owned(), text.to_owned());
    assert_eq!(expose(&api, "expose", &body), done(""));
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, local));
    assert!(wait_until("an answer", || read_from(address)).starts_with("tcp "));
    let (status, all) = ask(&api, "GET", "/services/forwarder/all", "");
    assert_eq!(status, "200");
    let all: serde_json::Value = serde_json::from_str(&all).unwrap();
    assert_eq!(all[0]["local"], format!("127.0.0.1:{local}"));
    asks_at_the_gateway(world, &all, &[ssh, local]);
    let failed = |text: &str| ("500".to_owned(), text.to_owned());
    assert_eq!(expose(&api, "expose", &body), failed("proxy already running\n"));
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let taken = body.replace(&local.to_string(), &taken.local_addr().unwrap().port().to_string());
    assert_eq!(expose(&api, "expose", &taken).0, "500");
    let outside = body.replace("192.168.127.2", "192.0.2.2").replace(&local.to_string(), "65000");
    assert_eq!(expose(&api, "expose", &outside).0, "500");
    assert_eq!(expose(&api, "expose", "no JSON").0, "400");
    assert_eq!(ask(&api, "GET", "/nothing", "").0, "404");
    assert_eq!(expose(&api, "unexpose", &body), done(""));
    wait_until("a port that is closed", || TcpStream::connect(address).err());
    assert_eq!(expose(&api, "unexpose", &body), failed("proxy not found\n"));
    // The port for SSH is open.
    TcpStream::connect((Ipv4Addr::LOCALHOST, ssh)).unwrap();

    // Another machine may come.
    drop(guest);
    wait_until("no device", || (!world.output(&["ip", "link"]).contains("eth0")).then_some(()));
    let _guest = start(world, UnixStream::connect(&qemu).unwrap().into(), "stream", MAC);
    assert!(lease(world).starts_with("192.168.127.2/24 "));
    let pid = rustix::process::Pid::from_child(&gvproxy.0);
    assert_eq!(std::fs::read_to_string(at("pid")).unwrap().trim(), gvproxy.0.id().to_string());
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let status = wait_until("the end", || gvproxy.0.try_wait().unwrap());
    let mut written = Vec::new();
    gvproxy.0.stderr.take().unwrap().read_to_end(&mut written).unwrap();
    assert_eq!((status.code(), text(&written).as_str()), (Some(0), ""));
    assert!(!qemu.exists() && !api.exists());
}

#[test]
fn a_guest_of_gvproxy_may_send_datagrams() {
    let network = Network::new();
    let world = &network.world;
    let path = world.folder.join("vfkit");
    let mut command = bare(world.folder.join("gvproxy"));
    command.args(["-listen-vfkit", &format!("unixgram://{}", path.display()), "-ssh-port", "-1"]);
    let _gvproxy = Servers(command.spawn().unwrap());
    let socket = UnixDatagram::bind(world.folder.join("guest")).unwrap();
    wait_until("the socket", || socket.connect(&path).ok());
    let _guest = start(world, socket.into(), "datagram", MAC);
    assert!(lease(world).starts_with("192.168.127.2/24 192.168.127.1 "));
    let (port, server) = network.outside(|| serve(OUTSIDE, b"outside".to_vec()));
    let read = world.output(&["python3", "-c", READ, "192.0.2.2", &port.to_string()]);
    assert!(read.starts_with("7 "), "{read}");
    server.join().unwrap();
}
