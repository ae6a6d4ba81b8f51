//! What holds whatever the profile and the packets are.

use super::*;
use crate::cases::cases;
use crate::netem::{
    CoDel, DelayTable, Discipline, FqCoDel, GilbertElliott, Limits, LossPattern, Opportunities,
    Outage, Overhead, Queue, QueueLimit, Reorder, Steps,
};
use alloc::boxed::Box;
use alloc::sync::Arc;
use proptest::prelude::*;

fn any_loss() -> impl Strategy<Value = Loss> {
    prop_oneof![
        Just(Loss::None),
        (0.0..=1.0).prop_map(|share| Loss::Random { share }),
        (0.0..0.5, 1.0..20.0).prop_map(|(share, length)| Loss::Bursts { share, length }),
        (0.0..=1.0, 0.0..=1.0, 0.0..=1.0, 0.0..=1.0).prop_map(
            |(to_bad, to_good, loss_bad, loss_good)| {
                Loss::GilbertElliott(GilbertElliott { to_bad, to_good, loss_bad, loss_good })
            }
        ),
        Just(Loss::Pattern(Arc::new(LossPattern::parse("..x.xx").unwrap()))),
    ]
}

fn any_rate() -> impl Strategy<Value = Rate> {
    let trace = || Arc::new(Opportunities::parse("0\n1\n1\n5\n8\n").unwrap());
    prop_oneof![
        Just(Rate::Unlimited),
        (10_000..1_000_000_000_u64).prop_map(rate),
        Just(()).prop_map(move |()| Rate::Trace(trace())),
    ]
}

fn any_queue() -> impl Strategy<Value = Queue> {
    let limit = prop_oneof![
        (1..50_u32).prop_map(QueueLimit::Packets),
        (1..100_000_u64).prop_map(QueueLimit::Bytes),
        (1..50_u64).prop_map(|time| QueueLimit::Time(ms(time))),
    ];
    let codel = CoDel { target: ms(1), interval: ms(5) };
    let discipline =
        prop_oneof![
            Just(Discipline::DropTail),
            Just(Discipline::CoDel(codel)),
            (1..5_u32, 256..2000_u32).prop_map(move |(flows, quantum)| Discipline::FqCoDel(
                FqCoDel { codel, flows, quantum }
            )),
        ];
    (limit, discipline, any::<bool>()).prop_map(|(limit, discipline, ecn)| Queue {
        limit,
        discipline,
        ecn,
    })
}

fn any_delay() -> impl Strategy<Value = Delay> {
    let table = Arc::new(DelayTable::new([ms(1), ms(4), ms(20)]).unwrap());
    let jitter = prop_oneof![
        Just(Jitter::None),
        (0..20_u64).prop_map(|width| Jitter::Uniform { width: ms(width) }),
        (0..20_u64).prop_map(|deviation| Jitter::Normal { deviation: ms(deviation) }),
        (0..20_u64, 1.1..4.0).prop_map(|(mean, shape)| Jitter::Pareto { mean: ms(mean), shape }),
        Just(Jitter::Table(table)),
    ];
    (0..30_u64, jitter, prop_oneof![Just(0.0), 0.0..0.99], any::<bool>()).prop_map(
        |(base, jitter, correlation, keep_order)| Delay {
            base: ms(base),
            jitter,
            correlation,
            keep_order,
        },
    )
}

fn any_steps() -> impl Strategy<Value = Option<Arc<Steps>>> {
    let text = "time,rate,delay,loss\n0,1mbit,,\n5ms,0,3ms,\n9ms,,,10%\n20ms,repeat\n";
    let delays = "time,delay\n3ms,1ms\n4ms,9ms\n";
    let parse = |text| Some(Arc::new(Steps::parse(text).unwrap()));
    prop_oneof![Just(None), Just(parse(text)), Just(parse(delays))]
}

prop_compose! {
    /// A profile; those that do not pass the check are made to.
    fn any_profile()(
        loss in any_loss(), rate in any_rate(), queue in any_queue(), delay in any_delay(),
        steps in any_steps(), duplicate in prop_oneof![Just(0.0), 0.0..=1.0],
        corrupt in prop_oneof![Just(Corrupt::None), (0.0..0.1).prop_map(|rate| Corrupt::Bits { rate }),
            (0.0..=1.0).prop_map(|share| Corrupt::Packets { share })],
        reorder in prop::option::of((0.0..=1.0, 1..5_u32, 0..20_u64).prop_map(
            |(share, by, within)| Reorder { share, by, within: ms(within) })),
        outages in prop::collection::vec((0..50_u64, 1..9_u64).prop_map(|(at, lasts)|
            Outage { at: ms(at), lasts: ms(lasts), every: Some(ms(30)) }), 0..3),
        (mark_loss, atm) in any::<(bool, bool)>(),
        packets in prop_oneof![1..40_usize, Just(1 << 20)],
    ) -> Profile {
        let overhead = Overhead { bytes: 24, min: 84, atm };
        let limits = Limits { packets, bytes: 256 * 1024 };
        let mut profile = Profile {
            outages, corrupt, loss, mark_loss, duplicate, rate, overhead, queue, delay, reorder, steps, limits,
        };
        if matches!(profile.rate, Rate::Trace(_)) {
            profile.steps = None;
        }
        if !profile.has_rate() {
            profile.queue.discipline = Discipline::DropTail;
        }
        profile.queue.ecn &= profile.queue.discipline != Discipline::DropTail;
        profile
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// After so many microseconds a packet of that length (of 0 to 3) comes.
    Push(u64, u8),
    Pop(u64),
    Set(u64, Box<Profile>),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        20 => (0..3000_u64, 0..6_u8).prop_map(|(after, kind)| Step::Push(after, kind)),
        5 => (0..9000_u64).prop_map(Step::Pop),
        1 => (0..3000_u64, any_profile()).prop_map(|(after, profile)| Step::Set(after, Box::new(profile))),
    ]
}

fn packet(kind: u8) -> PacketBuf {
    match kind {
        0 => blank(0),
        1 => udp(1, 2, 1514),
        2 => udp(2, 0, 100),
        3 => super_frame(20),
        4 => {
            let mut broken = super_frame(2);
            broken.meta.vnet.gso = Gso::UdpL4;
            broken
        }
        _ => blank(3000),
    }
}

fn check_law(link: &Link, out: &Outbox, received: u64, popped: u64) {
    let counts = link.report().counts;
    assert_eq!(counts.received, received);
    assert_eq!(counts.delivered, popped);
    assert_eq!(counts.held, u64::try_from(link.held()).unwrap());
    let gone = u64::try_from(link.gone.len()).unwrap();
    // What the queue dropped last is held until there is an outbox for it.
    assert_eq!(
        counts.received + counts.made,
        counts.delivered + counts.dropped() + counts.held - gone,
        "{counts:?}"
    );
    let held = link.held() + usize::try_from(popped).unwrap();
    assert!(out.counts().balance(received, held), "{:?} {counts:?}", out.counts());
    assert!(link.held_bytes() <= Limits::default().bytes);
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn no_packet_is_made_or_lost_unseen(
        profile in any_profile(), steps in prop::collection::vec(any_step(), 0..200), seed in any::<u64>(),
    ) {
        let mut link = Link::new(&profile, Seed::new(seed)).unwrap();
        let mut out = Outbox::new(Pool::new(PoolConfig::default()));
        let (mut now, mut received, mut popped) = (SECOND, 0, 0);
        for step in steps {
            match step {
                Step::Push(after, kind) => {
                    now += after * 1000;
                    link.push(Instant::from_nanos(now), packet(kind), &mut out);
                    received += 1;
                }
                Step::Pop(after) => {
                    now += after * 1000;
                    while let Some(packet) = link.pop(Instant::from_nanos(now), &mut out) {
                        out.pool().give(packet);
                        popped += 1;
                    }
                    let next = link.next_timeout();
                    prop_assert!(next.is_none_or(|next| next.as_nanos() > now));
                }
                Step::Set(after, profile) => {
                    now += after * 1000;
                    link.set(Instant::from_nanos(now), &profile).unwrap();
                }
            }
            check_law(&link, &out, received, popped);
        }
        // All that can arrive does, by itself.
        while let Some(next) = link.next_timeout() {
            while let Some(packet) = link.pop(next, &mut out) {
                out.pool().give(packet);
                popped += 1;
            }
        }
        check_law(&link, &out, received, popped);
        let steps_forever = link.profile().steps.is_some();
        prop_assert!(link.held() == 0 || steps_forever, "{} held", link.held());
    }

    /// A late caller sees the same as a punctual one.
    #[test]
    fn decisions_do_not_depend_on_when_it_is_asked(
        profile in any_profile(), seed in any::<u64>(),
        pushes in prop::collection::vec((0..3000_u64, 0..6_u8, any::<bool>()), 1..150),
    ) {
        let profile = Profile { limits: Limits::default(), ..profile };
        let run = |polls: bool| {
            let mut link = Link::new(&profile, Seed::new(seed)).unwrap();
            let mut out = Outbox::new(Pool::new(PoolConfig::default()));
            let (mut now, mut came) = (0, vec![]);
            let mut take = |link: &mut Link, out: &mut Outbox, now| {
                while let Some(packet) = link.pop(Instant::from_nanos(now), out) {
                    came.push(packet.bytes().to_vec());
                    out.pool().give(packet);
                }
            };
            for &(after, kind, poll) in &pushes {
                let next = now + after * 1000;
                if polls && poll {
                    take(&mut link, &mut out, u64::midpoint(now, next));
                }
                now = next;
                link.push(Instant::from_nanos(now), packet(kind), &mut out);
            }
            take(&mut link, &mut out, now + 3600 * SECOND);
            (link.report().decisions, came)
        };
        prop_assert_eq!(run(false), run(true));
        prop_assert_eq!(run(true), run(true));
    }
}

/// At the end of time everything comes out, also what a stopped line holds.
#[test]
fn all_can_be_taken_out_at_once() {
    let stopped = Steps::parse("time,rate\n0,0\n").unwrap();
    let again = Steps::parse("time,rate\n0,0\n1ms,0\n2ms,repeat\n").unwrap();
    let trace = Opportunities::parse("5\n").unwrap();
    let stepped = |steps| Profile { steps: Some(Arc::new(steps)), ..Profile::default() };
    for profile in [
        Profile { delay: Delay::constant(Delay::MAX), ..Profile::default() },
        Profile { rate: rate(1), ..Profile::default() },
        Profile { rate: Rate::Trace(Arc::new(trace)), ..Profile::default() },
        stepped(stopped),
        stepped(again),
    ] {
        let mut world = World::new(&profile);
        for number in 0..100 {
            world.push(0, numbered(number, 1500));
        }
        let mut numbers = vec![];
        while let Some(packet) = world.link.pop(Instant::MAX, &mut world.out) {
            numbers.push(number(&packet));
        }
        assert_eq!(numbers, (0..100).collect::<Vec<_>>(), "{profile:?}");
        assert_eq!((world.link.held(), world.link.next_timeout()), (0, None));
    }
}

#[test]
fn another_seed_decides_otherwise() {
    let profile = Profile { loss: Loss::Random { share: 0.5 }, ..Profile::default() };
    let decisions = |seed| {
        let mut world = World::with_seed(&profile, seed);
        for number in 0..100 {
            world.push(0, numbered(number, 60));
        }
        world.run();
        (world.link.report().decisions, world.numbers())
    };
    assert_eq!(decisions(1), decisions(1));
    let (first, second) = (decisions(1), decisions(2));
    assert!(first.0 != second.0 && first.1 != second.1);
}

#[test]
fn memory_is_bounded_by_both_limits() {
    let delay = Delay::constant(Duration::from_secs(10));
    let limits = Limits { packets: 1_000_000, bytes: 1 << 20 };
    let mut world = World::new(&Profile { delay: delay.clone(), limits, ..Profile::default() });
    for number in 0..5000 {
        world.push(0, numbered(number, 1000));
    }
    assert!(world.link.held_bytes() <= limits.bytes);
    assert!(world.link.held() > 600 && world.link.held() < 1000, "{}", world.link.held());
    let discarded: Vec<_> = world.out.counts().by_reason().map(|(why, _)| why).collect();
    assert_eq!(discarded, [DropReason::QUEUE_FULL]);

    let limits = Limits { packets: 10, ..Limits::default() };
    let mut world = World::new(&Profile { delay, limits, ..Profile::default() });
    for number in 0..50 {
        world.push(0, numbered(number, 1000));
    }
    assert_eq!((world.link.held(), world.link.report().counts.limit), (10, 40));
}

#[test]
fn a_million_packets_are_queued_and_come_out() {
    let delay = Delay::constant(Duration::from_secs(1));
    let limits = Limits { packets: 1 << 20, bytes: 256 << 20 };
    let profile = Profile { delay, limits, ..Profile::default() };
    let mut link = Link::new(&profile, Seed::new(1)).unwrap();
    let mut out = Outbox::new(Pool::new(PoolConfig::default()));
    for number in 0..1_000_000_u64 {
        let packet = out.pool().take(60).map(|mut packet| {
            packet.set_len(60).unwrap();
            packet
        });
        link.push(Instant::from_nanos(number), packet.unwrap(), &mut out);
    }
    assert_eq!(link.held(), 1_000_000);
    assert!(link.held_bytes() <= limits.bytes);
    let mut count = 0;
    while let Some(packet) = link.pop(Instant::from_nanos(2 * SECOND), &mut out) {
        out.pool().give(packet);
        count += 1;
    }
    assert_eq!((count, link.held(), link.held_bytes()), (1_000_000, 0, 0));
}

#[test]
fn without_buffers_packets_are_dropped_and_counted() {
    let none = PoolConfig { small_limit: 0, large_limit: 0, ..PoolConfig::default() };
    let mut out = Outbox::new(Pool::new(none));
    let profile = Profile { rate: rate(1_000_000_000), duplicate: 1.0, ..Profile::default() };
    let mut link = Link::new(&profile, Seed::new(1)).unwrap();
    // So short that it does not keep its buffer.
    let mut packet = PacketBuf::new(0, 1000);
    packet.set_len(100).unwrap();
    link.push(Instant::ZERO, packet, &mut out);
    link.push(Instant::ZERO, super_frame(4), &mut out);
    assert!(link.pop(Instant::from_nanos(SECOND), &mut out).is_none());
    let counts = link.report().counts;
    assert_eq!(counts.received + counts.made, counts.dropped(), "{counts:?}");
    assert_eq!(link.held(), 0);
}
