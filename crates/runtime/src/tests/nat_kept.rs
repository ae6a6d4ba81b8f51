//! What a router would keep of packets: hop limits, the errors of routers beyond, urgent marks.

use crate::tests::nat::{World, errno, ping};
use crate::tests::support::{Host, PATIENCE};
use adit_device::{report_icmp_errors, take_socket_error};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, sockopt};
use socket2::{Domain, SockRef, Socket, Type};
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::thread::sleep;
use std::time::{Duration, Instant};

const PAUSE: Duration = Duration::from_millis(5);

/// A host behind the outside one, 203.0.113.2 and 2001:db8:1::2: the third hop from the inside.
fn far(world: &World) -> Host {
    let far = Host::new();
    let netns = format!("/proc/{}/fd/{}", std::process::id(), far.0.as_fd().as_raw_fd());
    let outside = &world.outside;
    outside.ip(&format!("link add far0 type veth peer name far1 netns {netns}"));
    for (host, device, number) in [(outside, "far0", 1), (&far, "far1", 2)] {
        host.ip(&format!("addr add 203.0.113.{number}/24 dev {device}"));
        host.ip(&format!("addr add 2001:db8:1::{number}/64 dev {device} nodad"));
        host.ip(&format!("link set {device} up"));
    }
    far.ip("route add default via 203.0.113.1");
    far.ip("-6 route add default via 2001:db8:1::1");
    outside.run(|| std::fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "1").unwrap());
    far
}

fn set_hops(socket: impl AsFd, is_v4: bool, hops: u8) {
    if is_v4 {
        sockopt::set_ip_ttl(socket, hops.into()).unwrap();
    } else {
        sockopt::set_ipv6_unicast_hops(socket, Some(hops)).unwrap();
    }
}

/// Type and code of the error that a host reports to a socket; `probe` is what provokes it, again until it has.
/// An earlier probe may have been slow.
fn error_from(socket: impl AsFd, from: &str, probe: impl Fn()) -> (u8, u8) {
    let from: Option<IpAddr> = Some(from.parse().unwrap());
    let start = Instant::now();
    let mut sent = None;
    loop {
        if sent.is_none_or(|sent: Instant| sent.elapsed() > Duration::from_secs(1)) {
            probe();
            sent = Some(Instant::now());
        }
        if let Ok(Some(error)) = take_socket_error(&socket)
            && error.from == from
        {
            return (error.kind, error.code);
        }
        assert!(start.elapsed() < PATIENCE, "no error of {from:?}");
        sleep(PAUSE);
    }
}

#[test]
fn routes_are_traced_through_the_nat() {
    let world = World::new(|_| ());
    let _far = far(&world);
    std::fs::write("/proc/sys/net/ipv4/ping_group_range", "0 0").unwrap();
    for (to, hops, exceeded, closed) in [
        ("203.0.113.2:33434", ["10.0.2.2", "192.0.2.2", "203.0.113.2"], (11, 0), (3, 3)),
        ("[2001:db8:1::2]:33434", ["fd00::2", "2001:db8::2", "2001:db8:1::2"], (3, 0), (1, 4)),
    ] {
        let address: SocketAddr = to.parse().unwrap();
        let is_v4 = address.is_ipv4();
        let socket = world.udp(to);
        report_icmp_errors(&socket, is_v4, true).unwrap();
        // The far end first: what the NAT knows of a flow changes nothing.
        for (hop, from) in [(3_u8, hops[2]), (1, hops[0]), (2, hops[1])] {
            set_hops(&socket, is_v4, hop);
            let error = error_from(&socket, from, || drop(socket.send(b"x")));
            assert_eq!(error, if hop == 3 { closed } else { exceeded }, "hop {hop} to {to}");
        }
        let host = address.ip().to_string();
        for (hop, from) in [("1", hops[0]), ("2", hops[1])] {
            let text = ping(&world, &["-c3", "-i0.01", "-t", hop, &host]);
            for sequence in 1..=3 {
                let line = format!("From {from} icmp_seq={sequence} Time");
                assert!(text.contains(&line), "{line}: {text}");
            }
        }
        assert!(ping(&world, &["-t3", &host]).contains("1 received"));
        // A connection, and the router that ends it.
        for (hop, why, from) in
            [(2, Errno::HOSTUNREACH, Some(hops[1])), (3, Errno::CONNREFUSED, None)]
        {
            let socket =
                world.inside.run(|| Socket::new(Domain::for_address(address), Type::STREAM, None));
            let socket = socket.unwrap();
            set_hops(&socket, is_v4, hop);
            report_icmp_errors(&socket, is_v4, true).unwrap();
            let refused = world.inside.run(|| socket.connect_timeout(&address.into(), PATIENCE));
            assert_eq!(errno(&refused.unwrap_err()), why, "hop {hop} to {to}");
            if let Some(from) = from {
                assert_eq!(error_from(&socket, from, || ()), exceeded);
            }
        }
    }
}

/// Waits for the urgent byte of a stream that keeps it apart.
fn urgent_byte(stream: &TcpStream) -> u8 {
    let start = Instant::now();
    loop {
        let mut byte = [0; 1];
        match rustix::net::recv(stream, &mut byte, RecvFlags::OOB) {
            Ok(_) => return byte[0],
            Err(_) => assert!(start.elapsed() < PATIENCE, "no urgent byte"),
        }
        sleep(PAUSE);
    }
}

#[test]
fn an_urgent_byte_of_a_server_is_one_inside() {
    let world = World::new(|_| ());
    for at in ["192.0.2.2:7010", "[2001:db8::2]:7010"] {
        let listener = world.listen(at);
        let mut stream = world.connect(at).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        SockRef::from(&server).set_tcp_nodelay(true).unwrap();
        for round in 0..20_u8 {
            let (before, behind) = ([b'a' + round; 3], [b'A' + round; 2]);
            let mut buf = [0; 100];
            server.write_all(&before).unwrap();
            let is_read = round % 2 == 1;
            if is_read {
                // The mark comes alone, at the place where the inside reads next.
                stream.read_exact(&mut buf[..3]).unwrap();
                assert_eq!(buf[..3], before);
            }
            let mark = [b'0' + round];
            rustix::net::send(&server, &mark, SendFlags::OOB).unwrap();
            if round % 4 < 2 {
                assert_eq!(urgent_byte(&stream), mark[0], "round {round}");
            }
            server.write_all(&behind).unwrap();
            if round % 4 >= 2 {
                assert_eq!(urgent_byte(&stream), mark[0], "round {round}");
            }
            // It is in its place: a read stops there.
            if !is_read {
                let count = stream.read(&mut buf).unwrap();
                assert_eq!(buf[..count], before, "round {round}");
            }
            stream.read_exact(&mut buf[..2]).unwrap();
            assert_eq!(buf[..2], behind, "round {round}");
        }
        // A megabyte with marks in it loses nothing.
        let writer = std::thread::spawn(move || {
            for part in 0..64_u8 {
                server.write_all(&[part; 16_384]).unwrap();
                rustix::net::send(&server, b"!", SendFlags::OOB).unwrap();
            }
        });
        SockRef::from(&stream).set_out_of_band_inline(true).unwrap();
        let mut got = Vec::new();
        stream.read_to_end(&mut got).unwrap();
        writer.join().unwrap();
        let expected: Vec<u8> =
            (0..64_u8).flat_map(|part| [vec![part; 16_384], vec![b'!']].concat()).collect();
        assert!(got == expected, "{} bytes of {}", got.len(), expected.len());
    }
}
