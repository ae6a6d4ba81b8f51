use super::*;
use adit_packet::{Tcp, TcpOption};

const MSS: u32 = 1000;
const DELAY: Duration = Duration::from_millis(40);
const ROOM: u32 = 1 << 20;

/// A segment of 1000 bytes of a stream whose first byte has the number 1, and its packet.
fn data(number: u32, flags: TcpFlags) -> (Seen, PacketBuf) {
    let header = TcpHeader {
        source_port: 1,
        destination_port: 2,
        sequence: number.wrapping_mul(MSS).wrapping_add(1),
        acknowledgment: 77,
        flags,
        window: 9,
        checksum: 0,
        urgent: 0,
    };
    let mut segment = header.to_bytes(12).to_vec();
    segment.extend([1, 1, 8, 10, 0, 0, 0, 5, 0, 0, 0, 0]);
    segment.extend([0; 1000]);
    let way = Way { link: Vec::new(), from: [10, 0, 0, 1].into(), to: [10, 0, 0, 2].into() };
    let bytes = way.packet(segment).unwrap();
    let mut packet = PacketBuf::new(0, bytes.len());
    packet.extend(&bytes).unwrap();
    (Seen::arrived(packet.bytes(), None).unwrap(), packet)
}

struct End {
    receiver: Receiver,
    now: Instant,
}

impl End {
    fn new() -> Self {
        let mut receiver = Receiver::new(1000, Some(DELAY), ROOM as usize);
        let flags = TcpFlags::SYN.with(TcpFlags::ACK);
        let syn = Seen { ack: 1, flags, permits_sack: true, ..Seen::default() };
        assert!(receiver.leaves(Instant::ZERO, &syn, &[]));
        receiver.quick = 0;
        Self { receiver, now: Instant::ZERO }
    }

    /// A segment arrives: what is answered, and how many packets the stack gets.
    fn arrives(&mut self, number: u32, flags: TcpFlags) -> (Option<Vec<u8>>, usize) {
        let (seen, packet) = data(number, flags);
        let answer = self.receiver.arrived(packet, &seen, Layer::Packet);
        let mut inbox = VecDeque::new();
        self.receiver.feed(&mut inbox);
        (answer, inbox.len())
    }

    /// smoltcp acknowledges all before a segment; whether that leaves.
    fn acknowledges(&mut self, number: u32) -> bool {
        let seen = Seen { ack: number * MSS + 1, flags: TcpFlags::ACK, ..Seen::default() };
        self.receiver.leaves(self.now, &seen, &[7])
    }
}

/// The segment that is expected next, and the blocks of segments that have arrived.
fn read(packet: &[u8]) -> (u32, Vec<(u32, u32)>) {
    let seen = Seen::arrived(packet, None).expect("a valid checksum");
    let number = |sequence: u32| (sequence - 1) / MSS;
    let blocks = seen.blocks.into_iter().flatten();
    let segment = Tcp::parse(&packet[seen.transport..]).unwrap();
    let echo = TcpOption::Timestamps { value: 1, echo: 5 };
    assert!(segment.options().any(|option| option == echo), "{segment:?}");
    assert_eq!((seen.source, seen.destination, seen.sequence), (2, 1, 77));
    (number(seen.ack), blocks.map(|(left, right)| (number(left), number(right))).collect())
}

#[test]
fn a_single_segment_is_acknowledged_later_and_a_second_one_at_once() {
    let mut end = End::new();
    assert_eq!(end.arrives(0, TcpFlags::ACK), (None, 1));
    assert!(!end.acknowledges(1));
    assert_eq!(end.receiver.due(), Instant::ZERO + DELAY);
    assert_eq!(end.arrives(1, TcpFlags::ACK), (None, 1));
    assert!(end.acknowledges(2));
    assert_eq!(end.receiver.due(), Instant::MAX);
    end.arrives(2, TcpFlags::ACK);
    assert!(!end.acknowledges(3));
    assert_eq!(end.receiver.poll(Instant::ZERO), None);
    assert_eq!(end.receiver.poll(end.receiver.due()), Some(alloc::vec![7]));
    // The last one of a write does not wait, nor does one of a new connection.
    end.arrives(3, TcpFlags::ACK.with(TcpFlags::PSH));
    assert!(end.acknowledges(4));
    end.receiver.quick = 1;
    end.arrives(4, TcpFlags::ACK);
    assert!(end.acknowledges(5));
    end.arrives(5, TcpFlags::ACK);
    assert!(!end.acknowledges(6));
}

#[test]
fn a_hundred_gaps_are_kept_and_the_newest_three_blocks_are_reported() {
    let mut end = End::new();
    for number in 1..=100 {
        let (answer, passed) = end.arrives(2 * number, TcpFlags::ACK);
        let (next, blocks) = read(&answer.unwrap());
        assert_eq!((passed, next, blocks[0]), (0, 0, (2 * number, 2 * number + 1)));
        assert_eq!(blocks.len(), usize::try_from(number).unwrap().min(3));
    }
    // A segment between two blocks joins them.
    let (answer, _) = end.arrives(199, TcpFlags::ACK);
    assert_eq!(read(&answer.unwrap()).1[0], (198, 201));
    for number in 0..98 {
        let (answer, passed) = end.arrives(2 * number + 1, TcpFlags::ACK);
        assert_eq!((read(&answer.unwrap()).0, passed), (0, 0));
    }
    // All are in order once the first one has come.
    let (answer, passed) = end.arrives(0, TcpFlags::ACK);
    assert_eq!((read(&answer.unwrap()).0, passed), (197, 197));
    assert!(!end.acknowledges(197), "it is answered already");
    let (answer, passed) = end.arrives(197, TcpFlags::ACK);
    assert_eq!((answer, passed), (None, 4), "no gap is left");
    assert!(end.acknowledges(201), "a gap that is filled is acknowledged at once");
}

#[test]
fn what_is_there_already_or_too_far_ahead_is_only_answered() {
    let mut end = End::new();
    end.arrives(0, TcpFlags::ACK);
    assert!(!end.acknowledges(1));
    for number in [0, ROOM / MSS + 5] {
        let (answer, passed) = end.arrives(number, TcpFlags::ACK);
        assert_eq!((read(&answer.unwrap()), passed), ((1, Vec::new()), 0));
    }
    assert!(end.receiver.held.is_empty());
    assert_eq!(end.receiver.due(), Instant::MAX, "what waited is answered too");
}

#[test]
fn the_stack_gets_no_more_than_it_has_room_for() {
    let mut end = End::new();
    let all = ROOM / MSS;
    for number in 1..all {
        end.arrives(number, TcpFlags::ACK);
    }
    let (answer, passed) = end.arrives(0, TcpFlags::ACK);
    assert!(answer.is_none() && passed <= all as usize / 2, "{passed} of {all}");
    let early = Seen { ack: MSS + 1, flags: TcpFlags::ACK, ..Seen::default() };
    assert!(!end.receiver.leaves(end.now, &early, &[]), "the rest comes before it is acknowledged");
    let mut rest = VecDeque::new();
    (0..2).for_each(|_| end.receiver.feed(&mut rest));
    assert_eq!(passed + rest.len(), all as usize);
    assert!(end.acknowledges(all));
}

#[test]
fn a_syn_that_comes_twice_changes_nothing() {
    let mut end = End::new();
    let (_, packet) = data(0, TcpFlags::ACK);
    let syn = Seen { sequence: 0, flags: TcpFlags::SYN, ..Seen::default() };
    assert_eq!(end.receiver.arrived(packet, &syn, Layer::Packet), None);
    let heard = end.receiver.heard;
    let (_, passed) = end.arrives(0, TcpFlags::ACK);
    assert_eq!((passed, end.receiver.heard), (2, heard), "the SYN is smoltcp's to answer");
}
