//! Profiles changed between two packets.

use super::*;
use crate::netem::{CoDel, Discipline, FqCoDel, Limits, Outage, Queue, Reorder};

fn set(world: &mut World, at: u64, profile: &Profile) {
    world.run_until(at);
    world.link.set(Instant::from_nanos(at), profile).unwrap();
}

#[test]
fn a_delay_holds_for_the_packets_after_it() {
    let delay = |time| Profile { delay: Delay::constant(time), ..Profile::default() };
    let mut world = World::new(&delay(ms(20)));
    world.push(0, numbered(0, 60));
    set(&mut world, MS, &delay(ms(50)));
    world.push(2 * MS, numbered(1, 60));
    set(&mut world, 3 * MS, &delay(ms(1)));
    world.push(4 * MS, numbered(2, 60));
    world.run();
    // The last one waits for the one before it.
    assert_eq!(world.times(), [20 * MS, 52 * MS, 52 * MS]);
    assert_eq!(world.numbers(), [0, 1, 2]);
}

#[test]
fn each_setting_has_a_report_and_they_add_up() {
    let delay = |time| Profile { delay: Delay::constant(time), ..Profile::default() };
    let mut world = World::new(&delay(ms(20)));
    // A change before the first packet, and one to the same, make no report.
    set(&mut world, 0, &delay(ms(10)));
    set(&mut world, 0, &delay(ms(10)));
    world.push(0, numbered(0, 60));
    world.push(MS, numbered(1, 60));
    set(&mut world, 5 * MS, &delay(ms(50)));
    set(&mut world, 5 * MS, &delay(ms(50)));
    world.push(6 * MS, numbered(2, 60));
    world.run_until(SECOND);
    let reports: Vec<Report> = world.link.reports().collect();
    let of = |report: &Report| {
        let counts = report.counts;
        (report.asked.delay.base, counts.received, counts.delivered, counts.held, report.time)
    };
    assert_eq!(
        reports.iter().map(of).collect::<Vec<_>>(),
        [(ms(10), 2, 0, 2, ms(5)), (ms(50), 1, 3, 0, ms(51))]
    );
    assert_eq!((reports[1].delay.min(), reports[1].delay.max()), (ms(10), ms(50)));
    let whole = world.link.report();
    assert_eq!(of(&whole), (ms(50), 3, 3, 0, ms(56)));
    assert_eq!((whole.delay.count(), whole.delay.mean()), (3, Duration::from_nanos(23_333_333)));
    assert_eq!(whole.decisions, reports[1].decisions);
    // However often it changes, a bounded number is kept, and the sum is of all.
    for number in 3..100 {
        let at = u64::from(number) * SECOND;
        set(&mut world, at, &delay(ms(u64::from(number))));
        world.push(at, numbered(number, 60));
    }
    world.run();
    assert_eq!(world.link.reports().count(), 17);
    assert_eq!(world.link.report().counts.delivered, 100);
}

#[test]
fn packets_in_a_removed_link_are_discarded() {
    let fq = Discipline::FqCoDel(FqCoDel::default());
    for discipline in [Discipline::DropTail, Discipline::CoDel(CoDel::default()), fq] {
        let profile = Profile {
            delay: Delay::constant(ms(20)),
            rate: rate(12_000_000),
            queue: Queue { discipline, ..Queue::default() },
            reorder: Some(Reorder { share: 0.5, by: 3, within: ms(50) }),
            ..Profile::default()
        };
        let mut world = World::new(&profile);
        for number in 0..40 {
            world.push(0, numbered(number, 1500));
        }
        // Some came out, some are on their way, some are passed by others, the rest waits.
        world.run_until(25 * MS);
        let (came, held) = (world.came.len(), world.link.held());
        assert!(came > 0 && held > 20, "{came} and {held}");
        let now = Instant::from_nanos(25 * MS);
        world.link.clear(now, &mut world.out);
        let report = world.link.report();
        assert_eq!(report.counts.delivered, u64::try_from(came).unwrap());
        assert_eq!(report.counts.cleared, u64::try_from(held).unwrap());
        assert_eq!((report.counts.held, world.link.next_timeout()), (0, None));
        assert_eq!(report.time, ms(25));
        let discarded = world.out.counts().discarded_for(DropReason::PORT_DOWN);
        assert_eq!(discarded, report.counts.cleared);
        assert!(world.link.pop(Instant::from_nanos(SECOND), &mut world.out).is_none());
        // It is as new for what comes.
        world.push(2 * SECOND, numbered(99, 1500));
        world.run();
        assert_eq!(world.came.len(), came + 1);
    }
}

#[test]
fn a_rate_holds_for_what_is_left_of_a_packet() {
    let at = |bits| Profile { rate: rate(bits), ..Profile::default() };
    let mut world = World::new(&at(1_200_000));
    for number in 0..3 {
        world.push(0, numbered(number, 1500));
    }
    // Half of the first packet's 10 ms are over; the other half takes 0.5 ms.
    set(&mut world, 5 * MS, &at(12_000_000));
    world.run();
    assert_eq!(world.times(), [5_500_000, 6_500_000, 7_500_000]);
}

#[test]
fn without_a_rate_all_that_waits_goes_at_once() {
    let mut world = World::new(&Profile { rate: rate(1000), ..Profile::default() });
    for number in 0..50 {
        world.push(0, numbered(number, 1500));
    }
    set(&mut world, MS, &Profile::default());
    world.run();
    assert_eq!(world.times(), vec![MS; 50]);
    assert_eq!(world.numbers(), (0..50).collect::<Vec<_>>());
}

#[test]
fn a_stopped_line_can_be_started() {
    let steps = crate::netem::Steps::parse("time,rate\n0,0\n").unwrap();
    let stopped = Profile { steps: Some(alloc::sync::Arc::new(steps)), ..Profile::default() };
    let mut world = World::new(&stopped);
    world.push(0, numbered(0, 1500));
    assert_eq!((world.link.next_timeout(), world.link.held()), (None, 1));
    set(&mut world, SECOND, &Profile { rate: rate(12_000_000), ..Profile::default() });
    world.run();
    assert_eq!(world.times(), [SECOND + MS]);
}

#[test]
fn queued_packets_survive_a_change_of_discipline() {
    let with = |discipline| Profile {
        rate: rate(12_000_000),
        queue: Queue { discipline, ..Queue::default() },
        ..Profile::default()
    };
    let mut world = World::new(&with(Discipline::FqCoDel(FqCoDel::default())));
    for number in 0..30 {
        let mut packet = udp(u16::try_from(number % 3).unwrap(), 0, 1500);
        *packet.bytes_mut().last_chunk_mut().unwrap() = u32::to_be_bytes(number);
        world.push(0, packet);
    }
    set(&mut world, 0, &with(Discipline::CoDel(CoDel::default())));
    set(&mut world, 0, &with(Discipline::DropTail));
    set(&mut world, 0, &with(Discipline::FqCoDel(FqCoDel { flows: 1, ..FqCoDel::default() })));
    world.run();
    assert_eq!(world.numbers(), (0..30).collect::<Vec<_>>());
}

#[test]
fn the_same_profile_changes_nothing() {
    let profile = Profile {
        rate: rate(9_999_999),
        delay: Delay {
            base: ms(10),
            jitter: Jitter::Uniform { width: ms(5) },
            correlation: 0.5,
            keep_order: false,
        },
        loss: Loss::Bursts { share: 0.05, length: 3.0 },
        corrupt: Corrupt::Bits { rate: 1e-5 },
        reorder: Some(Reorder { share: 0.02, by: 2, within: ms(9) }),
        outages: vec![Outage { at: ms(50), lasts: ms(10), every: Some(ms(100)) }],
        ..Profile::default()
    };
    let mut hashes = vec![];
    for sets in [false, true] {
        let mut world = World::new(&profile);
        for number in 0..500 {
            let at = u64::from(number) * MS;
            world.push(at, numbered(number, 1000));
            if sets {
                set(&mut world, at, &profile);
            }
        }
        world.run();
        hashes.push((world.link.report().decisions, world.times()));
    }
    assert_eq!(hashes[0], hashes[1]);
}

#[test]
fn a_wrong_profile_changes_nothing() {
    let mut world = World::new(&Profile { delay: Delay::constant(ms(2)), ..Profile::default() });
    let wrong = Profile { duplicate: 2.0, ..Profile::default() };
    let error = world.link.set(Instant::ZERO, &wrong).unwrap_err();
    assert_eq!(error.field, "duplicate");
    assert_eq!(world.link.profile().delay.base, ms(2));
    assert_eq!(Link::new(&wrong, Seed::new(1)).unwrap_err(), error);
}

#[test]
fn a_smaller_limit_lets_nothing_more_in_and_nothing_out() {
    let profile = Profile { delay: Delay::constant(ms(2)), ..Profile::default() };
    let mut world = World::new(&profile);
    for number in 0..10 {
        world.push(0, numbered(number, 60));
    }
    let limits = Limits { packets: 5, ..Limits::default() };
    set(&mut world, MS, &Profile { limits, ..profile });
    world.push(MS, numbered(10, 60));
    assert_eq!(world.link.held(), 10);
    world.push(2 * MS, numbered(11, 60));
    world.run();
    assert_eq!(world.numbers(), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11]);
    assert_eq!(world.link.report().counts.limit, 1);
}
