//! Two kernels' stacks that talk through our forwarding: cut up on one side, joined on the other.

#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of #[test]")]

mod forward;
mod refusing;
mod support;
mod traffic;

use adit_device::{GsoKind, IndirectionTable, Mode, Offload, Rss, RssConfig, SendOptions, Sender};
use forward::{Forwarder, Side, fill};
use refusing::Refused;
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering};
use traffic::SOON;

/// Bytes of one TCP stream.
const STREAM_LEN: usize = 32 << 20;

/// Sends a stream each way and compares it with what was sent.
fn streams(from: &Side, to: &Side) {
    for (here, there) in [(from.v4, to.v4), (to.v6, from.v6)] {
        let (client, server) = if here == from.v4 { (from, to) } else { (to, from) };
        let listener = server.netns.run(|| TcpListener::bind((there, 0)).unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::scope(|scope| {
            let reader = scope.spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                stream.set_read_timeout(Some(SOON)).unwrap();
                let (mut buf, mut wanted) = (vec![0; 1 << 16], vec![0; 1 << 16]);
                let mut at = 0;
                loop {
                    let len = stream.read(&mut buf).unwrap();
                    if len == 0 {
                        return at;
                    }
                    fill(at, &mut wanted[..len]);
                    assert!(buf[..len] == wanted[..len], "near byte {at}");
                    at += len;
                }
            });
            client
                .netns
                .run(|| {
                    let mut stream = TcpStream::connect_timeout(&address, SOON).unwrap();
                    stream.set_write_timeout(Some(SOON)).unwrap();
                    let mut buf = vec![0; 1 << 16];
                    for at in (0..STREAM_LEN).step_by(buf.len()) {
                        fill(at, &mut buf);
                        stream.write_all(&buf).unwrap();
                    }
                    stream.shutdown(Shutdown::Write).unwrap();
                    assert_eq!(stream.read(&mut buf).unwrap(), 0);
                })
                .unwrap();
            assert_eq!(reader.join().unwrap(), STREAM_LEN);
        });
    }
}

/// Sends datagrams in bursts, of which each is answered, and compares them.
fn datagrams(from: &Side, to: &Side) {
    const BURST: usize = 32;
    for (here, there) in [(from.v4, to.v4), (from.v6, to.v6)] {
        let bind = |side: &Side, address| {
            let socket = side.netns.run(|| UdpSocket::bind((address, 0)).unwrap()).unwrap();
            socket.set_read_timeout(Some(SOON)).unwrap();
            socket
        };
        let (sender, receiver) = (bind(from, here), bind(to, there));
        let address = receiver.local_addr().unwrap();
        let (mut buf, mut wanted) = ([0; 2000], [0; 1200]);
        for burst in 0..200 {
            for number in 0..BURST {
                fill(burst * BURST + number, &mut wanted);
                sender.send_to(&wanted, address).unwrap();
            }
            for number in 0..BURST {
                let len = receiver.recv(&mut buf).unwrap();
                fill(burst * BURST + number, &mut wanted);
                assert!(buf[..len] == wanted, "burst {burst}, datagram {number}");
            }
        }
    }
}

/// Sends trains that the socket makes (`UDP_SEGMENT`), which come as super-packets.
fn datagram_trains(from: &Side, to: &Side) {
    const PROGRAM: &str = r"
import socket, sys
host, port, v6 = sys.argv[1], int(sys.argv[2]), ':' in sys.argv[1]
s = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(60)
s.setsockopt(17, 103, 1000)
for turn in range(200):
    s.sendto(bytes([turn]) * 30500, (host, port))
    assert s.recv(10) == b'next'
";
    for there in [to.v4, to.v6] {
        let socket = to.netns.run(|| UdpSocket::bind((there, 0)).unwrap()).unwrap();
        socket.set_read_timeout(Some(SOON)).unwrap();
        let address = socket.local_addr().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let port = address.port().to_string();
                let words = ["python3", "-c", PROGRAM, &there.to_string(), &port];
                from.netns.run(|| support::run_words(words)).unwrap();
            });
            let mut buf = [0; 2000];
            for turn in 0..200 {
                for number in 0..31 {
                    let (len, peer) = socket.recv_from(&mut buf).unwrap();
                    assert_eq!(len, if number < 30 { 1000 } else { 500 });
                    assert!(buf[..len].iter().all(|&byte| byte == turn), "turn {turn}");
                    if number == 30 {
                        socket.send_to(b"next", peer).unwrap();
                    }
                }
            }
        });
    }
}

fn forwards(mode: Mode, options: SendOptions) {
    traffic::enter_quiet();
    let (mut left, mut right) = (Side::new(mode, 1, 1), Side::new(mode, 2, 1));
    let forwarder = Forwarder::start(&mut left, &mut right, options);
    streams(&left, &right);
    datagrams(&left, &right);
    let uso = left.offload.contains(Offload::USO);
    if uso {
        datagram_trains(&left, &right);
    }
    for side in [&left, &right] {
        for name in ["Tcp: InCsumErrors", "Udp: InCsumErrors", "Udp6InCsumErrors", "Tcp: InErrs"] {
            assert_eq!(side.counter(name), 0, "{name}");
        }
        assert!(side.counter("Tcp: InSegs") > 100);
    }
    for (received, sent, _) in forwarder.stop() {
        assert_eq!((received.malformed, sent.refused), (0, 0));
        assert!(received.segmented > 100, "{received:?} {sent:?}");
        if options == SendOptions::ALL {
            // How many packets a train has depends on how fast the ends are: two at least.
            assert!(sent.trains > 100 && sent.joined >= 2 * sent.trains, "{received:?} {sent:?}");
        } else {
            assert_eq!((sent.trains, sent.joined), (0, 0));
        }
    }
}

#[test]
fn segmented_and_joined_packets_arrive_through_tun() {
    forwards(Mode::Tun, SendOptions::ALL);
}

#[test]
fn segmented_and_joined_packets_arrive_through_tap() {
    forwards(Mode::Tap, SendOptions::ALL);
}

#[test]
fn segmented_packets_arrive_as_packets() {
    forwards(Mode::Tun, SendOptions::NONE);
}

/// A train is headers, its packets' headers and at least two payloads: four pieces.
#[test]
fn a_kernel_that_refuses_trains_costs_no_packet() {
    if !refusing::is_refusing(
        "a_kernel_that_refuses_trains_costs_no_packet",
        Refused::Gathered(4..=1024),
    ) {
        return;
    }
    traffic::enter_quiet();
    let (mut left, mut right) = (Side::new(Mode::Tun, 1, 1), Side::new(Mode::Tun, 2, 1));
    let forwarder = Forwarder::start(&mut left, &mut right, SendOptions::ALL);
    streams(&left, &right);
    datagrams(&left, &right);
    let all = forwarder.stop();
    let limit = u64::from(Sender::REFUSALS_MAX);
    for (_, sent, _) in &all {
        assert_eq!((sent.trains, sent.joined, sent.refused), (0, 0, 0));
        assert!(sent.refused_whole(GsoKind::UdpL4) <= limit);
    }
    let [forth, back] = [&all[0].1, &all[1].1];
    assert_eq!([forth.refused_whole(GsoKind::Tcp4), back.refused_whole(GsoKind::Tcp6)], [limit; 2]);
    assert_eq!(forth.refused_whole(GsoKind::UdpL4), limit);
}

/// 64 flows through two queues, each with a thread of its own: every flow in order.
fn keeps_order(mode: Mode, pin: impl FnOnce(&Side)) {
    const FLOWS: u16 = 64;
    const ROUNDS: u32 = 300;
    const DATAGRAMS: u32 = 2;
    traffic::enter_quiet();
    let (mut left, mut right) = (Side::new(mode, 1, 2), Side::new(mode, 2, 2));
    pin(&left);
    let forwarder = Forwarder::start(&mut left, &mut right, SendOptions::ALL);
    let receiver = right.netns.run(|| UdpSocket::bind((right.v4, 0)).unwrap()).unwrap();
    receiver.set_read_timeout(Some(SOON)).unwrap();
    let address = receiver.local_addr().unwrap();
    let arrived = AtomicUsize::new(0);
    let round = usize::from(FLOWS) * usize::try_from(DATAGRAMS).unwrap();
    let total = round * usize::try_from(ROUNDS).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let bind = || UdpSocket::bind((left.v4, 0)).unwrap();
            let sockets: Vec<_> = left.netns.run(|| (0..FLOWS).map(|_| bind()).collect()).unwrap();
            for number in 0..ROUNDS {
                // As much as the receiver's buffer surely holds is under way.
                let before = round * usize::try_from(number).unwrap();
                traffic::until("a round arrives", || {
                    arrived.load(Ordering::Relaxed) + round / 2 >= before
                });
                for turn in 0..DATAGRAMS {
                    for socket in &sockets {
                        let sequence = number * DATAGRAMS + turn;
                        socket.send_to(&sequence.to_be_bytes(), address).unwrap();
                    }
                }
            }
        });
        let mut flows: HashMap<SocketAddr, u32> = HashMap::new();
        for _ in 0..total {
            let mut sequence = [0; 4];
            let (len, from) = receiver.recv_from(&mut sequence).unwrap();
            assert_eq!(len, 4);
            let next = flows.entry(from).or_default();
            assert_eq!(u32::from_be_bytes(sequence), *next, "{from}");
            *next += 1;
            arrived.fetch_add(1, Ordering::Relaxed);
        }
        assert_eq!(flows.len(), usize::from(FLOWS));
    });
    // Each second thread is that of the way back.
    let sent: Vec<_> = forwarder.stop().iter().step_by(2).map(|&(_, _, packets)| packets).collect();
    assert!(sent.iter().all(|&count| count > total / 8), "both queues carried flows: {sent:?}");
}

#[test]
fn two_queues_keep_the_order_of_each_flow() {
    for mode in [Mode::Tun, Mode::Tap] {
        std::thread::spawn(move || keeps_order(mode, |_| {})).join().unwrap();
    }
}

#[test]
#[ignore = "needs the initial user namespace"]
fn root_two_steered_queues_keep_the_order_of_each_flow() {
    for mode in [Mode::Tun, Mode::Tap] {
        let pin = move |side: &Side| {
            let table = IndirectionTable::even(2).unwrap();
            let rss = Rss::load(mode, &RssConfig::new(table)).unwrap();
            rss.attach(&side.queues[0]).unwrap();
        };
        std::thread::spawn(move || keeps_order(mode, pin)).join().unwrap();
    }
}
