use super::*;

fn data(at: u32) -> Seen {
    Seen {
        source: 1,
        destination: 2,
        sequence: at.wrapping_sub(1000),
        ack: 7,
        flags: TcpFlags::ACK,
        len: 1000,
        transport: 0,
        ..Seen::default()
    }
}

fn ack(at: u32, blocks: &[(u32, u32)]) -> Seen {
    let mut seen = Seen { ack: at.wrapping_sub(1000), len: 0, ..data(0) };
    for (block, &(left, right)) in seen.blocks.iter_mut().zip(blocks) {
        *block = Some((left.wrapping_sub(1000), right.wrapping_sub(1000)));
    }
    seen
}

/// A TCP header and payload with the sequence number in its place.
fn packet(at: u32) -> Vec<u8> {
    let mut packet = alloc::vec![0; 1020];
    packet[4..8].copy_from_slice(&at.to_be_bytes());
    packet[12] = 0x50;
    packet
}

/// Ten segments of 1000 bytes; sequence numbers wrap after the first one.
fn board() -> Scoreboard {
    let mut board = Scoreboard::default();
    board.start(0_u32.wrapping_sub(1000));
    board.set_ack(99);
    for number in 0..10 {
        board.sent(Instant::ZERO, &data(number * 1000), &packet(number * 1000));
    }
    board
}

const LATER: Instant = Instant::from_nanos(50_000_000);

/// Whether more is lost, outside of a recovery.
fn is_lost(board: &mut Scoreboard) -> bool {
    board.find_lost(LATER, false, Duration::from_millis(50)).0
}

#[test]
fn what_arrives_out_of_order_shows_what_is_lost() {
    let mut board = board();
    assert_eq!((board.outstanding(), board.in_flight()), (10_000, 10));
    let seen = board.acknowledged(LATER, &ack(1000, &[]));
    assert_eq!((seen.acked, seen.is_duplicate), (1, false));
    assert_eq!(seen.rtt, Some(Duration::from_millis(50)));
    // Segments 1 and 3 are lost.
    board.acknowledged(LATER, &ack(1000, &[(2000, 3000)]));
    assert!(!is_lost(&mut board));
    let seen = board.acknowledged(LATER, &ack(1000, &[(4000, 6000), (2000, 3000)]));
    assert_eq!((seen.sacked, seen.is_duplicate), (2, true));
    assert!(is_lost(&mut board), "three later ones arrived");
    assert_eq!(board.in_flight(), 4, "6, 7, 8 and 9");
    board.acknowledged(LATER, &ack(1000, &[(4000, 7000)]));
    assert!(!is_lost(&mut board), "nothing before it that is not known");
    let repeated = [board.repeat_lost(LATER).unwrap(), board.repeat_lost(LATER).unwrap()];
    assert_eq!(repeated.each_ref().map(|packet| packet[6]), [3, 11], "1000 and 3000");
    assert_eq!(repeated[0][8..12], 99_u32.to_be_bytes(), "the newest acknowledgment");
    assert_eq!(board.repeat_lost(LATER), None);
    let seen = board.acknowledged(LATER, &ack(3000, &[(4000, 7000)]));
    assert_eq!((seen.acked, seen.rtt), (1, None), "of what was repeated no time is measured");
    let seen = board.acknowledged(LATER, &ack(10_000, &[]));
    assert_eq!((seen.acked, board.outstanding(), board.in_flight()), (4, 0, 0));
}

#[test]
fn a_repetition_that_is_lost_is_found_too() {
    let mut board = board();
    board.acknowledged(LATER, &ack(0, &[(1000, 4000)]));
    assert!(is_lost(&mut board));
    board.repeat_lost(LATER).unwrap();
    // Those that were sent before it say nothing about it.
    board.acknowledged(LATER, &ack(0, &[(1000, 10_000)]));
    assert!(!is_lost(&mut board));
    board.sent(LATER, &data(10_000), &packet(10_000));
    let later = LATER + Duration::from_millis(50);
    board.acknowledged(later, &ack(0, &[(1000, 11_000)]));
    assert!(board.find_lost(later, true, Duration::from_millis(50)).0);
}

#[test]
fn what_may_only_be_late_is_lost_some_time_later() {
    let (mut board, smoothed) = (board(), Duration::from_millis(50));
    board.acknowledged(LATER, &ack(0, &[(1000, 2000)]));
    // An eighth of the smoothed time is less than a quarter of the shortest.
    let late = LATER + smoothed / 8;
    assert_eq!(board.find_lost(LATER, false, smoothed), (false, Some(late)));
    assert_eq!(board.find_lost(late, false, smoothed), (true, None));
    // It arrived, and was not sent again: from now on later ones prove nothing at once.
    board.acknowledged(late, &ack(2000, &[]));
    board.acknowledged(late, &ack(2000, &[(3000, 9000)]));
    let (found, next) = board.find_lost(late, true, smoothed);
    assert!(!found && next.is_some_and(|next| next > late), "{next:?}");
}

#[test]
fn a_peer_that_does_not_say_what_arrived_is_understood() {
    let mut board = board();
    for _ in 0..2 {
        assert!(board.acknowledged(LATER, &ack(0, &[])).is_duplicate);
        assert!(!is_lost(&mut board));
    }
    board.acknowledged(LATER, &ack(0, &[]));
    assert!(is_lost(&mut board));
    assert_eq!(board.in_flight(), 6);
    assert!(board.repeat_lost(LATER).is_some());
    // Acknowledged in part: the next one is lost as well.
    board.acknowledged(LATER, &ack(5000, &[]));
    assert_eq!(board.repeat_lost(LATER).map(|packet| packet[6]), Some(0x13), "5000");
}

#[test]
fn a_probe_shows_what_is_lost_at_the_end_and_a_timeout_loses_all() {
    let mut board = board();
    board.acknowledged(LATER, &ack(8000, &[]));
    assert_eq!(board.probe(LATER).map(|packet| packet[6]), Some(0x23), "9000");
    let later = LATER + Duration::from_millis(60);
    board.acknowledged(later, &ack(8000, &[(9000, 10_000)]));
    assert!(board.find_lost(later, false, Duration::from_millis(50)).0);
    assert!(board.repeat_lost(later).is_some());
    let later = LATER + Duration::from_millis(200);
    board.time_out(later);
    assert_eq!(board.in_flight(), 0);
    assert!(board.repeat_lost(later).is_some());
    // What was sent a moment ago may still arrive; the first one is lost in any case.
    board.sent(later, &data(10_000), &packet(10_000));
    board.time_out(later);
    assert_eq!(board.in_flight(), 1);
}

#[test]
fn foreign_acknowledgments_change_nothing() {
    let mut board = board();
    for foreign in [ack(12_000, &[]), ack(0, &[(20_000, 30_000), (5, 3)])] {
        let seen = board.acknowledged(LATER, &foreign);
        assert_eq!((seen.acked, seen.sacked), (0, 0));
    }
    assert_eq!(board.in_flight(), 10);
}
