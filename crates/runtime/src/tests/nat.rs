//! The NAT over the real loop: a namespace with nothing but a TUN device, and a server beyond the host.
//!
//! ```text
//! inside: tun0 10.0.2.100 === Nat in the loop, host: veth 192.0.2.1 --- veth 192.0.2.2, lo: outside
//! ```

use crate::port::kind::Opened;
use crate::port::spec::PortSpec;
use crate::runner::event::{Event, Next};
use crate::runner::{Handler, Runner};
use crate::tests::support::{Host, PATIENCE, echo, enter, ip, transfer, v4};
use crate::wake::reactor::{Interest, Token};
use adit_engine::{Counts, DropReason, PortId, Transport};
use adit_nat::{Config, Nat, Policy, Publish, Rule};
use adit_packet::{Pool, PoolConfig};
use rustix::net::sockopt;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::thread::JoinHandle;
use std::time::Duration;

struct Owner(UnixStream, Vec<Publish>);

impl Handler<Nat> for Owner {
    fn turn(&mut self, runner: &mut Runner<Nat>) {
        for publish in self.1.drain(..) {
            let (nat, now, out) = runner.engine_and_outbox();
            nat.publish(now, publish, out).unwrap();
        }
    }

    fn event(&mut self, _: &mut Runner<Nat>, event: Event) -> Next {
        match event {
            Event::Ready(_) => {
                let mut bytes = [0; 1];
                let _ = self.0.read(&mut bytes);
                Next::Stop
            }
            _ => Next::Continue,
        }
    }
}

/// A NAT that runs, and the two sides of it.
pub(super) struct World {
    pub(super) inside: Host,
    pub(super) outside: Host,
    stop: UnixStream,
    thread: Option<JoinHandle<Counts>>,
}

const OUTSIDE: u8 = 2;

fn outside_v6() -> IpAddr {
    "2001:db8::2".parse().unwrap()
}

impl World {
    pub(super) fn new(policy: impl FnOnce(&mut Policy)) -> Self {
        Self::publishing(policy, Vec::new())
    }

    fn publishing(policy: impl FnOnce(&mut Policy), publish: Vec<Publish>) -> Self {
        enter();
        let (inside, outside) = (Host::new(), Host::new());
        let netns = format!("/proc/{}/fd/{}", std::process::id(), outside_fd(&outside));
        ip(&format!("link add up0 type veth peer name up1 netns {netns}"));
        ip("link set up0 up");
        ip("addr add 192.0.2.1/24 dev up0");
        ip("addr add 2001:db8::1/64 dev up0 nodad");
        ip("route add default via 192.0.2.2");
        ip("-6 route add default via 2001:db8::2");
        outside.address("up1", OUTSIDE);
        // An answer to what is beyond: the router says so.
        outside.ip("route add unreachable 198.51.100.0/24");
        outside.run(|| std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap());
        let mut config = Config::new([9; 16]);
        config.inside = ["10.0.2.0/24", "fd00::/64"].map(|text| text.parse().unwrap()).into();
        config.gateway_v4 = Some([10, 0, 2, 2].into());
        config.gateway_v6 = Some("fd00::2".parse().unwrap());
        policy(&mut config.policy);
        let (stop, woken) = UnixStream::pair().unwrap();
        let spec: PortSpec = format!("tun:tun0,netns={}", inside.path()).parse().unwrap();
        let (ready, is_ready) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let mut runner =
                Runner::new(Nat::new(config), Pool::new(PoolConfig::default())).unwrap();
            let Opened::Ports(ports) = spec.open().unwrap() else { panic!("a listener") };
            ports.into_iter().for_each(|port| runner.attach(PortId(0), port).unwrap());
            runner.watch(&woken, Token(0), Interest::READ).unwrap();
            ready.send(()).unwrap();
            runner.run(&mut Owner(woken, publish)).unwrap();
            runner.engine_and_outbox().2.counts().clone()
        });
        is_ready.recv_timeout(PATIENCE).expect("the loop runs");
        inside.ip("link set tun0 up");
        inside.ip("addr add 10.0.2.100/24 dev tun0");
        inside.ip("addr add fd00::100/64 dev tun0 nodad");
        inside.ip("route add default via 10.0.2.2");
        inside.ip("-6 route add default via fd00::2");
        Self { inside, outside, stop, thread: Some(thread) }
    }

    pub(super) fn connect(&self, to: &str) -> std::io::Result<TcpStream> {
        let to: SocketAddr = to.parse().unwrap();
        let stream = self.inside.run(|| TcpStream::connect_timeout(&to, PATIENCE))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(stream)
    }

    pub(super) fn listen(&self, at: &str) -> TcpListener {
        let at: SocketAddr = at.parse().unwrap();
        self.outside.run(|| TcpListener::bind(at).unwrap())
    }

    /// A UDP socket inside that is connected.
    pub(super) fn udp(&self, to: &str) -> UdpSocket {
        let to: SocketAddr = to.parse().unwrap();
        let any: IpAddr = if to.is_ipv4() { [0; 4].into() } else { [0_u16; 8].into() };
        let socket = self.inside.run(|| UdpSocket::bind((any, 0)).unwrap());
        self.inside.run(|| socket.connect(to)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket
    }

    /// Ends the loop; what it counted.
    fn end(mut self) -> Counts {
        self.stop.write_all(&[0]).unwrap();
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = self.stop.write_all(&[0]);
    }
}

fn outside_fd(host: &Host) -> i32 {
    use std::os::fd::AsFd;
    host.0.as_fd().as_raw_fd()
}

pub(super) fn errno(error: &std::io::Error) -> rustix::io::Errno {
    rustix::io::Errno::from_io_error(error).unwrap()
}

#[test]
fn a_namespace_reaches_the_outside_by_tcp_and_udp() {
    let world = World::new(|_| ());
    for address in [v4(OUTSIDE), outside_v6()] {
        transfer(&world.inside, &world.outside, address, 8 << 20);
        for len in [1, 1400, 4000, 60_000] {
            echo(&world.inside, &world.outside, address, len);
        }
        // Down, and the other end first.
        let listener = world.outside.run(|| TcpListener::bind((address, 0)).unwrap());
        let to = listener.local_addr().unwrap().to_string();
        let sent: Vec<u8> = (0..8_u32 << 20).map(|at| at.to_le_bytes()[1]).collect();
        let expected = sent.clone();
        let server = std::thread::spawn(move || {
            let (mut stream, from) = listener.accept().unwrap();
            stream.write_all(&sent).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).unwrap();
            (rest, from)
        });
        let mut stream = world.connect(&to).unwrap();
        let mut got = Vec::new();
        stream.read_to_end(&mut got).unwrap();
        assert!(got == expected, "{address}: {} bytes", got.len());
        stream.write_all(b"and thanks").unwrap();
        let local = stream.local_addr().unwrap();
        drop(stream);
        let (rest, from) = server.join().unwrap();
        assert_eq!(rest, b"and thanks");
        assert_eq!(from.port(), local.port(), "the port is kept");
    }
    let counts = world.end();
    // Router solicitations, and what else a kernel says by itself.
    let lost: Vec<_> = counts
        .by_reason()
        .filter(|(why, _)| {
            ![DropReason::MULTICAST, DropReason::NOT_TRANSLATED, DropReason::FILTERED].contains(why)
        })
        .collect();
    assert_eq!(lost, []);
}

#[test]
fn the_semantics_of_sockets_are_kept() {
    let world = World::new(|_| ());
    // Refused, unreachable, reset.
    let refused = world.connect("192.0.2.2:9").unwrap_err();
    assert_eq!(errno(&refused), rustix::io::Errno::CONNREFUSED);
    let refused = world.connect("[2001:db8::2]:9").unwrap_err();
    assert_eq!(errno(&refused), rustix::io::Errno::CONNREFUSED);
    let unreachable = world.connect("198.51.100.1:9").unwrap_err();
    assert_eq!(errno(&unreachable), rustix::io::Errno::HOSTUNREACH);
    let listener = world.listen("192.0.2.2:7000");
    let mut stream = world.connect("192.0.2.2:7000").unwrap();
    let (peer, _) = listener.accept().unwrap();
    socket2::SockRef::from(&peer).set_linger(Some(Duration::ZERO)).unwrap();
    drop(peer);
    assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    let stream = world.connect("192.0.2.2:7000").unwrap();
    let (mut peer, _) = listener.accept().unwrap();
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(stream);
    assert_eq!(peer.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    // An urgent byte is one.
    let mut stream = world.connect("192.0.2.2:7000").unwrap();
    let (peer, _) = listener.accept().unwrap();
    stream.write_all(b"ab").unwrap();
    rustix::net::send(&stream, b"!", rustix::net::SendFlags::OOB).unwrap();
    let start = std::time::Instant::now();
    loop {
        let mut byte = [0; 1];
        match rustix::net::recv(&peer, &mut byte, rustix::net::RecvFlags::OOB) {
            Ok(_) => break assert_eq!(&byte, b"!"),
            Err(_) => assert!(start.elapsed() < PATIENCE, "no urgent byte"),
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    // The options that the kernel's own TCP has.
    let info = sockopt::tcp_congestion(&stream);
    assert!(info.is_ok());
    drop(stream);
    // Errors of datagrams.
    let socket = world.udp("192.0.2.2:9");
    socket.send(b"x").unwrap();
    assert_eq!(socket.recv(&mut [0; 1]).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    let socket = world.udp("[2001:db8::2]:9");
    socket.send(b"x").unwrap();
    assert_eq!(socket.recv(&mut [0; 1]).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    let socket = world.udp("198.51.100.1:9");
    socket2::SockRef::from(&socket).set_nonblocking(false).unwrap();
    adit_device::report_icmp_errors(&socket, true, true).unwrap();
    socket.send(b"x").unwrap();
    let unreachable = socket.recv(&mut [0; 1]).unwrap_err();
    assert_eq!(errno(&unreachable), rustix::io::Errno::HOSTUNREACH);
}

#[test]
fn a_datagram_that_the_path_cannot_carry_is_reported_with_its_mtu() {
    let world = World::new(|_| ());
    ip("link set up0 mtu 1400");
    let socket = world.udp("192.0.2.2:9");
    sockopt::set_ip_mtu_discover(&socket, sockopt::Ipv4PathMtuDiscovery::DO).unwrap();
    let start = std::time::Instant::now();
    while sockopt::ip_mtu(&socket).unwrap() != 1400 {
        assert!(start.elapsed() < PATIENCE, "no report");
        let _ = socket.send(&[0; 1450]);
        std::thread::sleep(Duration::from_millis(20));
    }
    // One that may be fragmented is.
    let server = world.outside.run(|| UdpSocket::bind("192.0.2.2:7001").unwrap());
    server.set_read_timeout(Some(PATIENCE)).unwrap();
    let socket = world.udp("192.0.2.2:7001");
    sockopt::set_ip_mtu_discover(&socket, sockopt::Ipv4PathMtuDiscovery::DONT).unwrap();
    socket.send(&[7; 1450]).unwrap();
    assert_eq!(server.recv(&mut [0; 2000]).unwrap(), 1450);
}

#[test]
fn the_host_is_out_of_reach_but_for_what_is_allowed() {
    let world = World::new(|policy| {
        policy.host_addresses = vec![adit_packet::IpPrefix::host(v4(1))];
        policy.allow_host([10, 0, 2, 2].into(), 7002..=7002);
        policy.rules =
            vec![Rule { allows: false, to: "192.0.2.2/32".parse().unwrap(), ports: 7003..=7003 }];
    });
    let _services: Vec<_> = ["127.0.0.1:7002", "127.0.0.1:7004", "192.0.2.1:7004"]
        .map(|at| TcpListener::bind(at).unwrap())
        .into();
    let _beyond: Vec<_> = ["192.0.2.2:7003", "192.0.2.2:7005"].map(|at| world.listen(at)).into();
    world.connect("10.0.2.2:7002").unwrap();
    world.connect("192.0.2.2:7005").unwrap();
    let prohibited = |to: &str| {
        let error = world.connect(to).unwrap_err();
        assert_eq!(errno(&error), rustix::io::Errno::HOSTUNREACH, "{to}");
    };
    prohibited("192.0.2.1:7004");
    prohibited("192.0.2.2:7003");
    prohibited("169.254.169.254:80");
    let refused = world.connect("10.0.2.2:7004").unwrap_err();
    assert_eq!(errno(&refused), rustix::io::Errno::CONNREFUSED, "the NAT has no such service");
    let prohibited = world.connect("[fd00:ec2::254]:80").unwrap_err();
    assert_eq!(errno(&prohibited), rustix::io::Errno::ACCESS);
    let counts = world.end();
    // A SYN may be sent again.
    assert!(counts.discarded_for(DropReason::FILTERED) >= 4);
}

/// `ping`; what it printed.
pub(super) fn ping(world: &World, words: &[&str]) -> String {
    let output = world.inside.run(|| {
        std::process::Command::new("ping").args(["-n", "-c1", "-W5"]).args(words).output().unwrap()
    });
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn pings_are_answered_where_ping_sockets_are_allowed_and_refused_elsewhere() {
    let world = World::new(|_| ());
    let range = "/proc/sys/net/ipv4/ping_group_range";
    let addresses = [("192.0.2.2", "1472"), ("2001:db8::2", "1452")];
    // A new namespace allows ping sockets to nobody.
    for (address, _) in addresses {
        let text = ping(&world, &[address]);
        assert!(text.contains("filtered") || text.contains("prohibited"), "{text}");
    }
    std::fs::write(range, "0 0").unwrap();
    for (address, wide) in addresses {
        for size in ["56", wide, "4000"] {
            let text = ping(&world, &["-s", size, address]);
            assert!(text.contains("1 received"), "{size} bytes: {text}");
        }
    }
    let text = ping(&world, &["198.51.100.1"]);
    assert!(text.contains("Destination Host Unreachable"), "{text}");
    assert!(ping(&world, &["10.0.2.2"]).contains("1 received"));
    assert!(ping(&world, &["fd00::2"]).contains("1 received"));
}

#[test]
fn published_ports_lead_inside_and_show_the_clients_address() {
    let publish = |transport, local: &str, inside: &str| Publish {
        transport,
        local: local.parse().unwrap(),
        inside: inside.parse().unwrap(),
        port: PortId(0),
    };
    let (tcp, udp) = (Transport::Tcp, Transport::Udp);
    let all = vec![
        publish(tcp, "0.0.0.0:8080", "10.0.2.100:80"),
        publish(tcp, "[::]:8080", "[fd00::100]:80"),
        publish(udp, "0.0.0.0:8081", "10.0.2.100:81"),
    ];
    let world = World::publishing(|_| (), all);
    for (at, to, gateway) in [
        ("10.0.2.100:80", "192.0.2.1:8080", "10.0.2.2"),
        ("[fd00::100]:80", "[2001:db8::1]:8080", "fd00::2"),
    ] {
        let at: SocketAddr = at.parse().unwrap();
        let to: SocketAddr = to.parse().unwrap();
        let listener = world.inside.run(|| TcpListener::bind(at).unwrap());
        let sent: Vec<u8> = (0..3_u32 << 20).map(|at| at.to_le_bytes()[1]).collect();
        let mut client = world.outside.run(|| TcpStream::connect_timeout(&to, PATIENCE)).unwrap();
        let (mut server, from) = listener.accept().unwrap();
        assert_eq!(from, client.local_addr().unwrap(), "the true address");
        let expected = sent.clone();
        let writer = std::thread::spawn(move || {
            client.write_all(&sent).unwrap();
            client.shutdown(Shutdown::Write).unwrap();
            let mut answer = String::new();
            client.read_to_string(&mut answer).unwrap();
            answer
        });
        let mut got = Vec::new();
        server.read_to_end(&mut got).unwrap();
        assert!(got == expected);
        server.write_all(b"thanks").unwrap();
        drop(server);
        assert_eq!(writer.join().unwrap(), "thanks");
        // From the host's loopback: as from the gateway.
        let local = SocketAddr::new(if to.is_ipv4() { v4_loopback() } else { v6_loopback() }, 8080);
        let _client = TcpStream::connect_timeout(&local, PATIENCE).unwrap();
        let (_server, from) = listener.accept().unwrap();
        assert_eq!(from.ip(), gateway.parse::<IpAddr>().unwrap());
    }
    let server = world.inside.run(|| UdpSocket::bind("10.0.2.100:81").unwrap());
    let client = world.outside.run(|| UdpSocket::bind("192.0.2.2:5000").unwrap());
    for socket in [&server, &client] {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
    }
    client.send_to(b"question", "192.0.2.1:8081").unwrap();
    let mut buf = [0; 100];
    let (_, from) = server.recv_from(&mut buf).unwrap();
    assert_eq!(from, client.local_addr().unwrap());
    server.send_to(b"answer", from).unwrap();
    let (count, from) = client.recv_from(&mut buf).unwrap();
    assert_eq!((&buf[..count], from), (&b"answer"[..], "192.0.2.1:8081".parse().unwrap()));
}

fn v4_loopback() -> IpAddr {
    [127, 0, 0, 1].into()
}

fn v6_loopback() -> IpAddr {
    std::net::Ipv6Addr::LOCALHOST.into()
}
