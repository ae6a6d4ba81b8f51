//! Queues that stand before the tunnel: one packet of them is marked, or dropped.

use super::ecn::{net, port, super_packet};
use super::*;
use adit_engine::DropReason;
use adit_packet::Ecn;

/// A super-packet of three segments of 1000 bytes, sent by the first side; what arrives at the second, and its drops.
struct Sent {
    net: Net,
    frames: bool,
}

impl Sent {
    fn new(frames: bool) -> Self {
        let mut net = net(frames.then_some(false));
        net.sides[1].arrived.clear();
        Self { net, frames }
    }

    /// Sends it; `at_sender`: the device's queue stands, and not that of the receiver's socket.
    fn send(&mut self, ecn: Ecn, at_sender: bool) -> Vec<Vec<u8>> {
        let (bytes, vnet) = super_packet(self.frames, ecn);
        self.send_bytes(&bytes, vnet, at_sender)
    }

    fn send_bytes(&mut self, bytes: &[u8], vnet: VnetHeader, at_sender: bool) -> Vec<Vec<u8>> {
        let from = port(self.frames.then_some(false));
        self.net.sides[0].is_congested = at_sender;
        self.net.sides[1].is_congested = !at_sender;
        self.net.send_from(0, from, bytes, vnet);
        self.net.run(millis(10));
        let layer = if self.frames { Layer::Frame } else { Layer::Packet };
        let arrived = std::mem::take(&mut self.net.sides[1].arrived);
        arrived.iter().flat_map(|(_, packet)| cut(packet, layer)).collect()
    }

    fn drops(&self) -> [u64; 2] {
        [0, 1].map(|us| self.net.status(us).drops.count(DropReason::QUEUE_MANAGED))
    }
}

fn ecn_of(frames: bool, packet: &[u8]) -> Ecn {
    Ecn::of(&packet[if frames { 14 } else { 0 }..])
}

/// An ECN-capable flow loses nothing: its packets are marked, by the sender all of a super-packet, by the receiver one.
#[test]
fn a_capable_flow_is_marked() {
    for (frames, ecn) in [(false, Ecn::Ect0), (false, Ecn::Ect1), (true, Ecn::Ect0)] {
        for at_sender in [true, false] {
            let mut sent = Sent::new(frames);
            let marks: Vec<Ecn> =
                sent.send(ecn, at_sender).iter().map(|packet| ecn_of(frames, packet)).collect();
            let expected = if at_sender { [Ecn::Ce; 3] } else { [Ecn::Ce, ecn, ecn] };
            assert_eq!(marks, expected, "{frames} {at_sender}");
            assert_eq!(sent.drops(), [0, 0]);
        }
    }
}

/// Another flow loses one segment of a train, not the train, and the end at which the queue stands counts it.
#[test]
fn another_flow_loses_one_segment() {
    for frames in [false, true] {
        for at_sender in [true, false] {
            let mut sent = Sent::new(frames);
            let all = Sent::new(frames).send(Ecn::NotEct, at_sender).len();
            let (bytes, vnet) = super_packet(frames, Ecn::NotEct);
            sent.net.sides.iter_mut().for_each(|side| side.is_congested = false);
            sent.net.send_from(0, port(frames.then_some(false)), &bytes, vnet);
            sent.net.run(millis(10));
            let whole = cut(
                &sent.net.sides[1].arrived.pop().unwrap().1,
                if frames { Layer::Frame } else { Layer::Packet },
            );
            let arrived = sent.send(Ecn::NotEct, at_sender);
            assert_eq!((all, whole.len(), arrived.len()), (2, 3, 2));
            let len = whole[0].len();
            assert_eq!(arrived[0][len - 1000..], whole[1][len - 1000..], "the first was dropped");
            assert_eq!(sent.drops(), if at_sender { [1, 0] } else { [0, 1] });
        }
    }
}

/// Short packets do not fill a queue. The next long one is dropped in their place.
#[test]
fn short_packets_pass() {
    for at_sender in [true, false] {
        let mut sent = Sent::new(false);
        let (short, long) = (ipv4(0, 400), ipv4(0, 1000));
        for _ in 0..3 {
            let arrived = sent.send_bytes(&short, VnetHeader::default(), at_sender);
            assert_eq!(arrived, std::slice::from_ref(&short));
        }
        assert_eq!(sent.drops(), [0, 0]);
        sent.net.sides.iter_mut().for_each(|side| side.is_congested = false);
        let arrived = {
            sent.net.send(0, &long);
            sent.net.run(millis(10));
            sent.net.sides[1].arrived.len()
        };
        assert_eq!((arrived, sent.drops()), (0, if at_sender { [1, 0] } else { [0, 1] }));
    }
}
