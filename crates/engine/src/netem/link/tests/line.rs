//! Rate, overhead and super-packets.

use super::*;
use crate::netem::{Opportunities, Overhead, Steps};
use alloc::sync::Arc;

/// Bytes that came out from `from` to before `until`.
fn bytes_between(world: &World, from: u64, until: u64) -> u64 {
    let within = world.came.iter().filter(|(at, _)| (from..until).contains(at));
    within.map(|(_, packet)| length(packet)).sum()
}

/// Keeps the line busy for that long with packets of changing lengths.
fn saturate(world: &mut World, time: u64) {
    let lengths = [1514, 64, 590, 1514, 128, 1000];
    let mut number = 0;
    while world.now < time {
        let next = world.now + MS;
        while world.link.waiting_packets() < 200 {
            world.push(world.now, numbered(number, lengths[usize::try_from(number).unwrap() % 6]));
            number += 1;
        }
        world.run_until(next);
    }
}

#[test]
fn the_rate_is_right_over_ten_seconds_and_over_a_tenth() {
    for bits in [10_000_000, 33_333_333] {
        let mut world = World::new(&Profile { rate: rate(bits), ..Profile::default() });
        saturate(&mut world, 10 * SECOND);
        let whole = float(bytes_between(&world, 0, 10 * SECOND)) * 8.0 / 10.0 / float(bits);
        assert!((whole - 1.0).abs() < 0.001, "{whole}");
        for window in 0..100 {
            let from = window * SECOND / 10;
            let part = bytes_between(&world, from, from + SECOND / 10);
            let ratio = float(part) * 80.0 / float(bits);
            // A packet more or less, and 1 %.
            let packet = 1514.0 * 80.0 / float(bits);
            assert!((ratio - 1.0).abs() < 0.01_f64.max(packet), "{window}: {ratio}");
        }
        let line = world.link.report().line_rate.unwrap().bits_per_second();
        assert!(line.abs_diff(bits) * 10_000 <= bits, "{line}");
    }
}

#[test]
fn a_super_packet_comes_out_as_spaced_packets() {
    let mut world = World::new(&Profile { rate: rate(100_000_000), ..Profile::default() });
    world.push(0, super_frame(44));
    assert_eq!(world.link.held(), 44);
    world.run();
    let wire = 1514 * 8 * 10;
    assert_eq!(world.times(), (1..=44).map(|count| count * wire).collect::<Vec<_>>());
    for (index, (_, packet)) in (0..).zip(&world.came) {
        assert_eq!((packet.len(), packet.meta.vnet), (1514, VnetHeader::default()));
        let headers = adit_packet::Headers::parse_frame(packet.bytes()).unwrap();
        let tcp = adit_packet::Tcp::parse(&packet.bytes()[headers.transport().unwrap()..]).unwrap();
        assert_eq!(tcp.sequence(), 1 + 1460 * index);
    }
    let counts = world.link.report().counts;
    assert_eq!((counts.received, counts.cut, counts.packets, counts.made), (1, 1, 44, 43));
    assert!(world.out.counts().balance(1, 44), "44 of 1 and 43 made");
}

#[test]
fn a_super_packet_is_lost_in_pieces() {
    let profile = Profile {
        loss: Loss::Random { share: 0.5 },
        delay: Delay::constant(ms(1)),
        ..Profile::default()
    };
    let mut world = World::new(&profile);
    world.push(0, super_frame(44));
    world.run();
    assert!((5..40).contains(&world.came.len()), "{}", world.came.len());
    assert!(world.times().iter().all(|&at| at == MS));
}

#[test]
fn a_super_packet_crosses_whole_where_there_is_only_a_delay() {
    let mut world = World::new(&Profile { delay: Delay::constant(ms(20)), ..Profile::default() });
    let (bytes, meta) = (super_frame(44).bytes().to_vec(), super_frame(44).meta);
    world.push(0, super_frame(44));
    world.run();
    let [(at, packet)] = &world.came[..] else { panic!("one packet") };
    assert_eq!((*at, packet.bytes(), packet.meta), (20 * MS, &bytes[..], meta));
}

#[test]
fn a_broken_super_packet_is_dropped() {
    let mut world = World::new(&Profile { rate: rate(100_000_000), ..Profile::default() });
    let mut packet = super_frame(4);
    packet.meta.vnet.gso = Gso::Tcp6;
    world.push(0, packet);
    world.run();
    assert!(world.came.is_empty());
    assert_eq!(world.link.report().counts.malformed, 1);
    assert!(world.out.counts().balance(1, 0));
}

#[test]
fn overhead_is_counted_and_not_carried() {
    let wire = |overhead: Overhead, len| overhead.wire_len(len);
    assert_eq!(wire(Overhead::NONE, 0), 1);
    // The classic figures: 1,488,095 and 81,274 frames a second on gigabit Ethernet.
    assert_eq!(1_000_000_000 / (8 * wire(Overhead::ETHERNET, 60)), 1_488_095);
    assert_eq!(1_000_000_000 / (8 * wire(Overhead::ETHERNET, 1514)), 81_274);
    assert_eq!(wire(Overhead::ETHERNET, 10), 84);
    // 1514 and 18 are 31.9 cells.
    assert_eq!(wire(Overhead::ADSL_BRIDGED, 1514), 32 * 53);
    assert_eq!(wire(Overhead { bytes: -14, ..Overhead::NONE }, 114), 100);
    assert_eq!(wire(Overhead { bytes: -1000, ..Overhead::NONE }, 114), 1);

    let profile =
        Profile { rate: rate(8_000_000), overhead: Overhead::ETHERNET, ..Profile::default() };
    let mut world = World::new(&profile);
    world.push(0, blank(60));
    world.push(0, blank(976));
    world.run();
    assert_eq!(world.times(), [84_000, 1_084_000]);
    let lengths: Vec<_> = world.came.iter().map(|(_, packet)| packet.len()).collect();
    assert_eq!(lengths, [60, 976]);
    assert_eq!(world.link.report().counts.line_bytes, 1084);
}

#[test]
fn a_trace_gives_exactly_its_opportunities() {
    // 3 packets at 1 ms, 1 at 2 ms, 2 at 10 ms: 6 in 10 ms, 7.2 Mbit/s.
    let trace = Arc::new(Opportunities::parse("1\n1\n1\n2\n10\n10\n").unwrap());
    let mut world =
        World::new(&Profile { rate: Rate::Trace(Arc::clone(&trace)), ..Profile::default() });
    world.link.start(Instant::ZERO);
    for number in 0..600 {
        world.push(0, numbered(number, 1500));
    }
    world.run();
    let expected: Vec<_> =
        (0..100).flat_map(|round| [1, 1, 1, 2, 10, 10].map(|at| (round * 10 + at) * MS)).collect();
    assert_eq!(world.times(), expected);
    let report = world.link.report();
    assert_eq!(report.line_rate, Some(trace.mean_rate()));
    assert_eq!(report.counts.queue_full, 0);
}

#[test]
fn a_stopped_line_goes_on_where_it_was() {
    let steps = Steps::parse("time,rate\n0,8mbit\n2ms,0\n10ms,8mbit\n").unwrap();
    let mut world = World::new(&Profile { steps: Some(Arc::new(steps)), ..Profile::default() });
    for number in 0..4 {
        world.push(0, numbered(number, 1500));
    }
    world.run();
    assert_eq!(world.times(), [1_500_000, 11 * MS, 12_500_000, 14 * MS]);
}

#[test]
fn a_rate_and_a_delay_add_up() {
    let profile =
        Profile { rate: rate(12_000_000), delay: Delay::constant(ms(20)), ..Profile::default() };
    let mut world = World::new(&profile);
    for number in 0..3 {
        world.push(0, numbered(number, 1500));
    }
    // The line has sent the first after 1 ms, and that packet arrives 20 ms later.
    assert_eq!(world.link.next_timeout(), Some(Instant::from_nanos(21 * MS)));
    world.run();
    assert_eq!(world.times(), [21 * MS, 22 * MS, 23 * MS]);
    assert_eq!(world.link.report().waiting.max(), ms(2));
}
