//! Queues before the sockets to peers: without room there, what a port has waits in the port's own queue; flows take turns.

use super::inherited::inherited;
use super::support::{PATIENCE, enter, ip};
use crate::peer::sockets::{PeerOptions, PeerSockets};
use crate::port::kind::Opened;
use crate::port::spec::PortSpec;
use crate::runner::event::{Event, Next};
use crate::runner::{Handler, Runner};
use adit_engine::{Endpoint, Engine, Handled, Outbox, PortId};
use adit_packet::{Instant, PacketBuf, Pool, PoolConfig};
use rustix::net::sockopt;
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::net::UnixDatagram;

/// Sends all that ports bring to one peer.
struct ToPeer(SocketAddr);

impl Engine for ToPeer {
    fn handle(&mut self, _: Instant, _: Endpoint, packet: PacketBuf, out: &mut Outbox) -> Handled {
        out.send(Endpoint::Udp(self.0), packet);
        Handled::NOTHING
    }

    fn next_timeout(&self) -> Option<Instant> {
        None
    }

    fn handle_timeout(&mut self, _: Instant, _: &mut Outbox) {}
}

struct Ignore;

impl Handler<ToPeer> for Ignore {
    fn event(&mut self, _: &mut Runner<ToPeer>, event: Event) -> Next {
        assert!(matches!(event, Event::PortDown(_) | Event::PortUp(_)), "{event:?}");
        Next::Continue
    }
}

/// A loop that sends what a port brings to `sink`.
fn loop_to(sink: &UdpSocket, spec: &str) -> Runner<ToPeer> {
    sink.set_nonblocking(true).unwrap();
    let to_peer = ToPeer(sink.local_addr().unwrap());
    let mut runner = Runner::new(to_peer, Pool::new(PoolConfig::default())).unwrap();
    runner.set_peers(Some(PeerSockets::open(&PeerOptions::default()).unwrap())).unwrap();
    let Ok(Opened::Ports(ports)) = spec.parse::<PortSpec>().unwrap().open() else {
        panic!("{spec} is a port")
    };
    for port in ports {
        runner.attach(PortId(0), port).unwrap();
    }
    runner
}

/// A link of 10 Mbit/s keeps the socket full. Every datagram arrives, in order, and the port's own queue fills.
#[test]
fn nothing_is_lost_before_a_full_socket() {
    const COUNT: u32 = 1500;
    enter();
    let words = "qdisc add dev lo root tbf rate 10mbit burst 20k limit 100m";
    assert!(std::process::Command::new("tc").args(words.split(' ')).status().unwrap().success());
    ip("link set lo up");
    let sink = UdpSocket::bind("127.0.0.1:0").unwrap();
    // 200 ms of the link.
    sockopt::set_socket_recv_buffer_size(&sink, 200_000).unwrap();
    let (ours, theirs) = UnixDatagram::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    let mut runner = loop_to(&sink, &format!("fd:{}", inherited(theirs)));
    let (mut sent, mut received, mut waits, start) = (0, 0, 0, std::time::Instant::now());
    let mut frame = [0; 1400];
    while received < COUNT {
        assert!(start.elapsed() < PATIENCE, "{received} of {sent}");
        while sent < COUNT {
            frame[..4].copy_from_slice(&sent.to_be_bytes());
            if ours.send(&frame).is_err() {
                waits += 1;
                break;
            }
            sent += 1;
        }
        assert_eq!(runner.turn(&mut Ignore).unwrap(), Next::Continue);
        while sink.recv(&mut frame).is_ok() {
            assert_eq!(frame[..4], received.to_be_bytes());
            received += 1;
        }
    }
    let counters = runner.peers().unwrap().counters();
    assert_eq!((counters.queue_full, counters.sent_datagrams), (0, u64::from(COUNT)));
    assert!(waits > 100, "the sender waited {waits} times");
}

/// 60 packets of one flow wait in the device when one of another comes: it goes after the first turn of that flow. Each flow
/// keeps its order.
#[test]
fn a_flow_that_sends_little_does_not_wait_for_others() {
    enter();
    ip("link set lo up");
    let sink = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut runner = loop_to(&sink, "tun:flows0");
    ip("addr add 198.51.100.1/24 dev flows0");
    let [much, little] = [(); 2].map(|()| UdpSocket::bind("198.51.100.1:0").unwrap());
    for number in 0..60 {
        much.send_to(&[number; 1000], "198.51.100.2:9").unwrap();
    }
    little.send_to(&[99; 10], "198.51.100.2:9").unwrap();
    let (mut arrived, mut packet, start) = (Vec::new(), [0; 2000], std::time::Instant::now());
    while arrived.len() < 61 {
        assert!(start.elapsed() < PATIENCE, "{arrived:?}");
        assert_eq!(runner.turn(&mut Ignore).unwrap(), Next::Continue);
        while let Ok(len) = sink.recv(&mut packet) {
            // The device also brings what the kernel itself sends.
            if packet[0] == 0x45 && packet[16..20] == [198, 51, 100, 2] {
                arrived.push(packet[len - 1]);
            }
        }
    }
    let place = arrived.iter().position(|&number| number == 99).unwrap();
    assert!(place < 20, "{arrived:?}");
    arrived.remove(place);
    assert!(arrived.is_sorted(), "{arrived:?}");
}
