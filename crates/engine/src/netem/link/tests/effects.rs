//! Each effect by itself, and that none disturbs another.

use super::*;
use crate::netem::{GilbertElliott, LossPattern, Outage, Reorder, Steps};
use alloc::sync::Arc;

#[test]
fn a_perfect_link_gives_what_it_gets() {
    let mut world = World::new(&Profile::default());
    for number in 0..100 {
        world.push(u64::from(number) * 10, numbered(number, 60));
    }
    world.run();
    assert_eq!(world.numbers(), (0..100).collect::<Vec<_>>());
    assert_eq!(world.times(), (0..100).map(|number| number * 10).collect::<Vec<_>>());
}

#[test]
fn a_constant_delay_is_exact() {
    let mut world = World::new(&Profile { delay: Delay::constant(ms(20)), ..Profile::default() });
    for number in 0..1000 {
        world.push(u64::from(number) * 777, numbered(number, 60));
    }
    world.run();
    let expected: Vec<_> = (0..1000).map(|number| number * 777 + 20 * MS).collect();
    assert_eq!(world.times(), expected);
    let report = world.link.report();
    assert_eq!((report.delay.min(), report.delay.max()), (ms(20), ms(20)));
    assert_eq!(report.late.max(), Duration::ZERO);
}

fn jittered(keep_order: bool) -> Delay {
    let jitter = Jitter::Normal { deviation: ms(5) };
    Delay { base: ms(20), jitter, correlation: 0.0, keep_order }
}

#[test]
fn jitter_reorders_only_if_asked_to() {
    for keep_order in [true, false] {
        let mut world = World::new(&Profile { delay: jittered(keep_order), ..Profile::default() });
        for number in 0..5000 {
            world.push(u64::from(number) * MS, numbered(number, 60));
        }
        world.run();
        let numbers = world.numbers();
        assert_eq!(numbers.len(), 5000);
        assert_eq!(numbers.is_sorted(), keep_order);
        if !keep_order {
            let mean = world.link.report().delay.mean().as_secs_f64();
            assert!((mean - 0.020).abs() < 0.0005, "{mean}");
        }
    }
}

/// The delays of packets, by number, of those that came out.
fn delays(profile: &Profile, packets: u32) -> Vec<Option<u64>> {
    let mut world = World::new(profile);
    let apart = 100 * MS;
    for number in 0..packets {
        world.push(u64::from(number) * apart, numbered(number, 60));
    }
    world.run();
    let mut delays = vec![None; usize::try_from(packets).unwrap()];
    for (at, packet) in &world.came {
        let number = number(packet);
        delays[usize::try_from(number).unwrap()].get_or_insert(at - u64::from(number) * apart);
    }
    delays
}

#[test]
fn no_effect_changes_what_another_draws() {
    let plain = Profile { delay: jittered(true), ..Profile::default() };
    let alone = delays(&plain, 1000);
    let model = GilbertElliott { to_bad: 0.1, to_good: 0.4, loss_bad: 0.9, loss_good: 0.01 };
    let lossy = Profile {
        loss: Loss::GilbertElliott(model),
        duplicate: 0.1,
        corrupt: Corrupt::Packets { share: 0.0 },
        outages: vec![Outage { at: ms(500), lasts: ms(300), every: Some(ms(5000)) }],
        ..plain.clone()
    };
    let both = delays(&lossy, 1000);
    let (lost, kept): (Vec<_>, Vec<_>) =
        both.iter().zip(&alone).partition(|(delay, _)| delay.is_none());
    assert!(lost.len() > 200 && kept.len() > 400, "{} {}", lost.len(), kept.len());
    assert!(kept.iter().all(|(delay, alone)| delay == alone));
    // And the other way round.
    let losses = |profile: &Profile| -> Vec<_> {
        delays(profile, 1000).iter().map(Option::is_none).collect()
    };
    let without_jitter = Profile { delay: Delay::default(), duplicate: 0.0, ..lossy.clone() };
    assert_eq!(losses(&lossy), losses(&without_jitter));
}

#[test]
fn a_pattern_says_which_packets_are_lost() {
    let pattern = Arc::new(LossPattern::parse("..x").unwrap());
    let mut world = World::new(&Profile { loss: Loss::Pattern(pattern), ..Profile::default() });
    for number in 0..9 {
        world.push(0, numbered(number, 60));
    }
    world.run();
    assert_eq!(world.numbers(), [0, 1, 3, 4, 6, 7]);
    assert_eq!(world.link.report().loss.unwrap().hits, 3);
    assert_eq!(world.out.counts().by_reason().collect::<Vec<_>>(), [(DropReason::LOSS, 3)]);
}

#[test]
fn a_duplicate_comes_right_behind_its_packet() {
    let mut world =
        World::new(&Profile { duplicate: 0.2, delay: jittered(false), ..Profile::default() });
    for number in 0..2000 {
        world.push(u64::from(number) * 100 * MS, numbered(number, 60));
    }
    world.run();
    let mut numbers = world.numbers();
    let all = numbers.len();
    numbers.dedup();
    assert_eq!(numbers, (0..2000).collect::<Vec<_>>());
    let twice = world.link.report().duplicates.unwrap();
    assert_eq!(u64::try_from(all).unwrap(), 2000 + twice.hits);
    assert!(twice.contains(0.2), "{twice:?}");
    assert!(world.out.counts().balance(2000, all));
}

#[test]
fn an_outage_loses_what_comes_and_nothing_else() {
    let outage = Outage { at: ms(10), lasts: ms(5), every: None };
    let mut world = World::new(&Profile {
        outages: vec![outage],
        delay: Delay::constant(ms(3)),
        ..Profile::default()
    });
    for number in 0..20 {
        world.push(SECOND + u64::from(number) * MS, numbered(number, 60));
    }
    world.run();
    let expected: Vec<_> = (0..10).chain(15..20).collect();
    assert_eq!(world.numbers(), expected, "counted from the first packet");
    assert_eq!(world.link.report().counts.outage, 5);
}

#[test]
fn a_schedule_begins_at_its_time() {
    let outage = Outage { at: ms(0), lasts: ms(5), every: None };
    let mut world = World::new(&Profile { outages: vec![outage], ..Profile::default() });
    world.link.start(Instant::from_nanos(MS));
    world.push(5 * MS, numbered(0, 60));
    world.push(6 * MS, numbered(1, 60));
    world.run();
    assert_eq!(world.numbers(), [1]);
}

#[test]
fn steps_change_delay_and_loss() {
    let text = "time,delay,loss\n10ms,5ms,\n20ms,,100%\n30ms,1ms,0\n";
    let mut world = World::new(&Profile {
        delay: Delay::constant(ms(2)),
        steps: Some(Arc::new(Steps::parse(text).unwrap())),
        ..Profile::default()
    });
    for (number, at) in (0..).zip([0, 12, 22, 32]) {
        world.push(at * MS, numbered(number, 60));
    }
    world.run();
    assert_eq!(world.numbers(), [0, 1, 3]);
    assert_eq!(world.times(), [2 * MS, 17 * MS, 33 * MS]);
}

#[test]
fn a_reordered_packet_is_passed_by_so_many() {
    let reorder = Reorder { share: 0.05, by: 3, within: ms(50) };
    let mut world = World::new(&Profile { reorder: Some(reorder), ..Profile::default() });
    for number in 0..4000 {
        world.push(u64::from(number) * MS, numbered(number, 60));
    }
    world.run();
    let numbers = world.numbers();
    let report = world.link.report();
    assert!(report.reordered.unwrap().contains(0.05), "{:?}", report.reordered);
    // RFC 4737: a packet is reordered if a later one came before it.
    let mut highest = 0;
    let mut reordered = 0;
    for (at, &number) in numbers.iter().enumerate() {
        if number < highest {
            reordered += 1;
            // Later packets that were held back too do not count as passing.
            let passed = numbers[..at].iter().filter(|&&before| before > number).count();
            assert!((3..=6).contains(&passed), "{number} was passed by {passed}");
        }
        highest = highest.max(number);
    }
    assert_eq!(reordered, report.counts.reordered);
}

#[test]
fn nobody_waits_for_ever_for_later_packets() {
    let reorder = Reorder { share: 1.0, by: 3, within: ms(50) };
    let mut world = World::new(&Profile { reorder: Some(reorder), ..Profile::default() });
    world.push(0, numbered(0, 60));
    world.push(MS, numbered(1, 60));
    world.run();
    assert_eq!(world.times(), [50 * MS, 51 * MS]);
}

#[test]
fn corruption_is_counted_and_carried() {
    let mut world =
        World::new(&Profile { corrupt: Corrupt::Packets { share: 0.1 }, ..Profile::default() });
    for _ in 0..2000 {
        world.push(0, blank(100));
    }
    world.run();
    let hit = world.came.iter().filter(|(_, packet)| packet.bytes() != [0; 100]).count();
    let corrupted = world.link.report().corrupted.unwrap();
    assert_eq!(corrupted.hits, u64::try_from(hit).unwrap());
    assert!(corrupted.contains(0.1), "{corrupted:?}");
}

#[test]
fn packets_with_ecn_are_marked_in_place_of_lost() {
    let mut world = World::new(&Profile {
        loss: Loss::Random { share: 1.0 },
        mark_loss: true,
        ..Profile::default()
    });
    for tos in [0, 1, 2, 3, 0xb9] {
        world.push(0, udp(7, tos, 100));
    }
    world.run();
    let tos: Vec<_> = world
        .came
        .iter()
        .map(|(_, packet)| {
            let ip = adit_packet::Ipv4::parse(&packet.bytes()[14..]).unwrap();
            assert!(ip.has_valid_checksum());
            ip.tos()
        })
        .collect();
    assert_eq!(tos, [3, 3, 3, 0xbb]);
    let counts = world.link.report().counts;
    assert_eq!((counts.lost, counts.lost_marked), (1, 4));
}

#[test]
fn ipv6_and_packets_without_ethernet_are_marked_as_well() {
    let mut packet = PacketBuf::new(0, 40);
    packet.extend(&[0x60, 0x20, 0, 1, 0, 0, 59, 64]).unwrap();
    packet.set_len(40).unwrap();
    packet.bytes_mut()[8..].fill(1);
    let before = packet.bytes().to_vec();
    assert!(ecn::is_capable(&packet, Layer::Packet));
    assert!(!ecn::is_capable(&packet, Layer::Frame));
    ecn::mark(&mut packet, Layer::Packet);
    assert_eq!(packet.bytes()[..2], [0x60, 0x30]);
    assert_eq!(packet.bytes()[2..], before[2..]);
    // In a frame with a VLAN tag.
    let mut frame = udp(7, 2, 100);
    let inner = frame.bytes()[12..].to_vec();
    frame = PacketBuf::new(0, 200);
    frame.extend(&[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x81, 0, 0, 5]).unwrap();
    frame.extend(&inner).unwrap();
    assert!(ecn::is_capable(&frame, Layer::Frame));
    ecn::mark(&mut frame, Layer::Frame);
    assert_eq!(frame.bytes()[19], 3);
}
