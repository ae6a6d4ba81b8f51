//! What waits for the line: limits, `CoDel`, FQ-CoDel, marks.

use super::*;
use crate::netem::{CoDel, Discipline, FqCoDel, Overhead, Queue, QueueLimit};

fn queue(limit: QueueLimit, discipline: Discipline) -> Queue {
    Queue { limit, discipline, ecn: false }
}

/// Ten packets at once, at 12 Mbit/s (1 ms each): which come out.
fn burst(limit: QueueLimit) -> Vec<u32> {
    let queue = queue(limit, Discipline::DropTail);
    let mut world = World::new(&Profile { rate: rate(12_000_000), queue, ..Profile::default() });
    for number in 0..10 {
        world.push(0, numbered(number, 1500));
    }
    world.run();
    let counts = world.link.report().counts;
    assert_eq!(counts.queue_full + counts.delivered, 10);
    assert_eq!(counts.queue_dropped_bytes, counts.queue_full * 1500);
    assert!(world.out.counts().balance(10, world.came.len()));
    world.numbers()
}

#[test]
fn drop_tail_in_packets_bytes_and_time() {
    // One is being sent, so many wait.
    let first = |count| (0..count).collect::<Vec<_>>();
    assert_eq!(burst(QueueLimit::Packets(4)), first(5));
    assert_eq!(burst(QueueLimit::Bytes(6000)), first(5));
    assert_eq!(burst(QueueLimit::Bytes(5999)), first(4));
    assert_eq!(burst(QueueLimit::Time(ms(4))), first(5));
    assert_eq!(burst(QueueLimit::Time(Duration::from_nanos(1))), first(2));
    assert_eq!(burst(QueueLimit::Packets(10)), first(10));
}

/// A flow that sends 20 % more than the line does, for 10 s: the time each packet waited, by when it
/// came out.
fn overload(discipline: Discipline, ecn: bool, tos: u8) -> (World, Vec<(u64, u64)>) {
    let queue = Queue { limit: QueueLimit::Packets(2000), discipline, ecn };
    let mut world = World::new(&Profile { rate: rate(12_000_000), queue, ..Profile::default() });
    let mut number = 0;
    while world.now < 10 * SECOND {
        let mut packet = udp(7, tos, 1500);
        *packet.bytes_mut().last_chunk_mut().unwrap() = u32::to_be_bytes(number);
        world.push(world.now + 833_333, packet);
        number += 1;
    }
    world.run();
    let waited = world
        .came
        .iter()
        .map(|(at, packet)| (*at, at - 833_333 * u64::from(self::number(packet) + 1)))
        .collect();
    (world, waited)
}

fn mean_wait(waited: &[(u64, u64)], from: u64) -> f64 {
    let late: Vec<_> = waited.iter().filter(|(at, _)| *at >= from).map(|(_, wait)| *wait).collect();
    float(late.iter().sum::<u64>() / u64::try_from(late.len()).unwrap()) / 1e6
}

#[test]
fn codel_cuts_a_standing_queue_down() {
    let (_, standing) = overload(Discipline::DropTail, false, 0);
    assert!(mean_wait(&standing, 8 * SECOND) > 1000.0);
    let (world, cut) = overload(Discipline::CoDel(CoDel::default()), false, 0);
    // A flow that does not react is the worst case: the rate of drops has to grow to 17 %.
    assert!(mean_wait(&cut, 8 * SECOND) < 100.0, "{}", mean_wait(&cut, 8 * SECOND));
    let counts = world.link.report().counts;
    assert!(counts.queue_managed > 800 && counts.queue_full == 0, "{counts:?}");
    let discarded: Vec<_> = world.out.counts().by_reason().collect();
    assert_eq!(discarded, [(DropReason::QUEUE_MANAGED, counts.queue_managed)]);
}

/// A sender that halves its rate with each loss and adds to it else, as TCP does: the queue stays
/// near the target.
#[test]
fn codel_keeps_a_reacting_flow_at_its_target() {
    let discipline = Discipline::CoDel(CoDel::default());
    let queue = queue(QueueLimit::Packets(2000), discipline);
    let mut world = World::new(&Profile { rate: rate(12_000_000), queue, ..Profile::default() });
    let (mut gap, mut dropped) = (2_000_000.0_f64, 0);
    while world.now < 20 * SECOND {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "below a second"
        )]
        let next = world.now + gap as u64;
        world.push(next, udp(7, 0, 1500));
        let now_dropped = world.link.report_counts().queue_managed;
        gap = if now_dropped > dropped { gap * 1.15 } else { gap / 1.001 };
        dropped = now_dropped;
    }
    let report = world.link.report();
    assert!(report.waiting.percentile(0.5) < ms(15), "{:?}", report.waiting.percentile(0.5));
    let line = report.counts.line_bytes * 8 / 20;
    assert!(line > 10_000_000, "and the line is used: {line}");
}

#[test]
fn codel_leaves_a_short_burst_alone() {
    let discipline = Discipline::CoDel(CoDel::default());
    let queue = queue(QueueLimit::Packets(2000), discipline);
    let mut world = World::new(&Profile { rate: rate(12_000_000), queue, ..Profile::default() });
    // 50 ms of queue every second.
    for burst in 0..10 {
        for number in 0..50 {
            world.push(burst * SECOND, numbered(number, 1500));
        }
    }
    world.run();
    assert_eq!(world.came.len(), 500);
}

#[test]
fn marks_in_place_of_drops() {
    let (world, _) = overload(Discipline::CoDel(CoDel::default()), true, 2);
    let counts = world.link.report().counts;
    assert!(counts.queue_marked > 100 && counts.queue_managed == 0, "{counts:?}");
    let marked = world
        .came
        .iter()
        .filter(|(_, packet)| {
            let ip = adit_packet::Ipv4::parse(&packet.bytes()[14..]).unwrap();
            assert!(ip.has_valid_checksum());
            ip.tos() == 3
        })
        .count();
    assert_eq!(u64::try_from(marked).unwrap(), counts.queue_marked);
    // Without ECN in the packets they are dropped all the same.
    let (world, _) = overload(Discipline::CoDel(CoDel::default()), true, 0);
    let counts = world.link.report().counts;
    assert!(counts.queue_marked == 0 && counts.queue_managed > 800, "{counts:?}");
}

/// Two greedy flows and a sparse one, 10 s at 12 Mbit/s: bytes that each got, and how long the sparse
/// one's packets waited at most.
fn share(discipline: Discipline) -> ([u64; 3], u64) {
    let queue = queue(QueueLimit::Packets(1000), discipline);
    let overhead = Overhead::NONE;
    let mut world =
        World::new(&Profile { rate: rate(12_000_000), queue, overhead, ..Profile::default() });
    let mut tick = 0_u64;
    let mut sent = vec![];
    while world.now < 10 * SECOND {
        let at = tick * 250_000;
        world.push(at, udp(1, 0, 1500));
        if tick.is_multiple_of(4) {
            world.push(at, udp(2, 0, 750));
            world.push(at, udp(2, 0, 750));
        }
        if tick.is_multiple_of(80) {
            world.push(at, udp(3, 0, 100));
            sent.push(at);
        }
        tick += 1;
    }
    let (mut bytes, mut sparse) = ([0; 3], vec![]);
    for (at, packet) in &world.came {
        let port = usize::from(packet.bytes()[35]);
        bytes[port - 1] += length(packet);
        if port == 3 {
            sparse.push(*at);
        }
    }
    (bytes, sparse.iter().zip(&sent).map(|(came, sent)| came - sent).max().unwrap_or(0))
}

#[test]
fn flows_are_isolated() {
    let (bytes, wait) = share(Discipline::FqCoDel(FqCoDel::default()));
    // The sparse flow has all it sends, and waits for no more than what is being sent.
    assert_eq!(bytes[2] / 100, 500);
    assert!(wait < 4 * MS, "{wait}");
    // The others share the rest evenly, though the first sends four times as much.
    let ratio = float(bytes[0]) / float(bytes[1]);
    assert!((0.95..1.1).contains(&ratio), "{bytes:?}");
    // In one queue for all it is otherwise.
    let (bytes, wait) = share(Discipline::DropTail);
    assert!(float(bytes[0]) / float(bytes[1]) > 2.0, "{bytes:?}");
    assert!(wait > 500 * MS, "{wait}");
}

#[test]
fn the_longest_flow_pays_for_a_full_queue() {
    let discipline = Discipline::FqCoDel(FqCoDel::default());
    let queue = queue(QueueLimit::Packets(100), discipline);
    let mut world = World::new(&Profile { rate: rate(1_000_000), queue, ..Profile::default() });
    for _ in 0..5 {
        world.push(0, udp(2, 0, 500));
    }
    for _ in 0..1000 {
        world.push(0, udp(1, 0, 500));
        assert!(world.link.held() <= 101, "{}", world.link.held());
    }
    world.run();
    let from = |port| world.came.iter().filter(|(_, packet)| packet.bytes()[35] == port).count();
    assert_eq!(from(2), 5);
    let counts = world.link.report().counts;
    assert!(counts.queue_full > 850, "{counts:?}");
    assert!(world.out.counts().balance(1005, world.came.len()));
}
