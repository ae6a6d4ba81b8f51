//! What must hold whatever the bytes of a file are, and whatever happens to a link: the property
//! tests and the fuzz targets call the same functions.

use adit_engine::Outbox;
use adit_engine::netem::{
    Bitrate, CoDel, Corrupt, Delay, DelayTable, Discipline, FqCoDel, GilbertElliott, Jitter,
    Limits, Link, Loss, LossPattern, Opportunities, Outage, Overhead, ParseError, Profile, Queue,
    QueueLimit, Rate, Reorder, Seed, Steps,
};
use adit_packet::{Gso, Instant, Layer, PacketBuf, Pool, PoolConfig};
use std::sync::Arc;
use std::time::Duration;

/// Reads a file of the kind that the first byte chooses. What is wrong has a line of the file and a
/// message without control characters; what is right makes a profile that can be.
///
/// # Panics
///
/// If that does not hold.
pub(crate) fn file(bytes: &[u8]) {
    let Some((&kind, bytes)) = bytes.split_first() else { return };
    let text = String::from_utf8_lossy(bytes);
    let plain = Profile::default;
    let profile = match kind % 4 {
        0 => DelayTable::parse(&text).map(|table| {
            let jitter = Jitter::Table(Arc::new(table));
            Profile { delay: Delay { jitter, ..Delay::default() }, ..plain() }
        }),
        1 => LossPattern::parse(&text)
            .map(|pattern| Profile { loss: Loss::Pattern(Arc::new(pattern)), ..plain() }),
        2 => Opportunities::parse(&text)
            .map(|trace| Profile { rate: Rate::Trace(Arc::new(trace)), ..plain() }),
        _ => Steps::parse(&text).map(|steps| Profile { steps: Some(Arc::new(steps)), ..plain() }),
    };
    match profile {
        Ok(profile) => {
            let mut link = Link::new(&profile, Seed::new(1)).expect("what was read can be");
            let mut out = Outbox::new(Pool::new(PoolConfig::default()));
            for at in [0, 1_000_000, 5_000_000_000] {
                link.push(Instant::from_nanos(at), PacketBuf::new(0, 0), &mut out);
            }
            take_out(&mut link, &mut out, Instant::from_nanos(10_000_000_000));
        }
        Err(ParseError { line, problem }) => {
            assert!(line <= text.lines().count());
            assert!(!problem.contains(char::is_control) && problem.len() < 500, "{problem:?}");
        }
    }
}

/// A link of a profile that the bytes say, to which what they say happens: no packet is made or lost
/// unseen, memory is within its limit, and it never asks to be looked at for nothing.
///
/// # Panics
///
/// If that does not hold.
pub(crate) fn link(bytes: &[u8]) {
    let mut input = Input(bytes);
    let profile = profile(&mut input);
    let layer = if input.byte() & 1 == 0 { Layer::Frame } else { Layer::Packet };
    let Ok(link) = Link::new(&profile, Seed::new(input.word().into())) else { return };
    let mut link = link.with_layer(layer);
    let limits = PoolConfig { small_limit: 64, large_limit: 8, ..PoolConfig::default() };
    let mut out = Outbox::new(Pool::new(limits));
    let (mut now, mut received, mut popped) = (Instant::ZERO, 0, 0);
    while !input.0.is_empty() {
        let action = input.byte();
        now += Duration::from_micros(input.word().into());
        if action < 2 {
            link.clear(now, &mut out);
            assert_eq!((link.held(), link.next_timeout()), (0, None));
        } else if action < 16 {
            let profile = self::profile(&mut input);
            // One that cannot be changes nothing.
            let _ = link.set(now, &profile);
        } else if action < 96 {
            popped += take_out(&mut link, &mut out, now);
        } else {
            link.push(now, packet(action, &mut input), &mut out);
            received += 1;
        }
        let counts = link.report().counts;
        assert_eq!(counts.received, received);
        assert!(link.held_bytes() <= profile.limits.bytes.max(1 << 20));
    }
    while let Some(next) = link.next_timeout() {
        popped += take_out(&mut link, &mut out, next.max(now));
    }
    let counts = link.report().counts;
    assert_eq!(counts.delivered, popped);
    assert_eq!(counts.received + counts.made, popped + counts.dropped() + counts.held);
}

fn take_out(link: &mut Link, out: &mut Outbox, now: Instant) -> u64 {
    let mut count = 0;
    while let Some(packet) = link.pop(now, out) {
        out.pool().give(packet);
        count += 1;
    }
    assert!(link.next_timeout().is_none_or(|next| next > now));
    count
}

/// Bytes that decide; zeros when there are no more.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        first
    }

    fn word(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    fn share(&mut self) -> f64 {
        f64::from(self.byte()) / 255.0
    }

    fn millis(&mut self) -> Duration {
        Duration::from_millis(self.byte().into())
    }
}

fn profile(input: &mut Input<'_>) -> Profile {
    let flags = input.byte();
    let jitter = match input.byte() % 4 {
        0 => Jitter::None,
        1 => Jitter::Uniform { width: input.millis() },
        2 => Jitter::Normal { deviation: input.millis() },
        _ => Jitter::Pareto { mean: input.millis(), shape: 1.0 + 3.0 * input.share() },
    };
    let delay = Delay {
        base: input.millis(),
        jitter,
        correlation: input.share(),
        keep_order: flags & 1 == 0,
    };
    let loss = match input.byte() % 4 {
        0 => Loss::None,
        1 => Loss::Random { share: input.share() },
        2 => Loss::Bursts { share: input.share(), length: 1.0 + 20.0 * input.share() },
        _ => Loss::GilbertElliott(GilbertElliott {
            to_bad: input.share(),
            to_good: input.share(),
            loss_bad: input.share(),
            loss_good: input.share(),
        }),
    };
    let rate = match input.byte() % 3 {
        0 => Rate::Unlimited,
        1 => Rate::Fixed(Bitrate::from_bits_per_second(1 << (input.byte() % 41))),
        _ => Opportunities::new([input.byte().into(), 255, 256])
            .map_or(Rate::Unlimited, |trace| Rate::Trace(Arc::new(trace))),
    };
    let corrupt = match input.byte() % 3 {
        0 => Corrupt::None,
        1 => Corrupt::Packets { share: input.share() },
        _ => Corrupt::Bits { rate: input.share() / 10.0 },
    };
    let reorder = (flags & 2 != 0).then(|| Reorder {
        share: input.share(),
        by: input.byte().into(),
        within: input.millis(),
    });
    let outage = Outage { at: input.millis(), lasts: input.millis(), every: Some(input.millis()) };
    let limits = Limits { packets: 1 + usize::from(input.word()), bytes: 1 << 20 };
    let overhead = Overhead { bytes: i16::from(input.byte()) - 128, min: 64, atm: flags & 4 != 0 };
    let outages = if flags & 8 != 0 { vec![outage] } else { vec![] };
    let mark_loss = flags & 16 != 0;
    let duplicate = input.share() * f64::from(flags >> 7);
    let queue = queue(input, flags & 32 != 0);
    let steps = None;
    Profile {
        outages,
        corrupt,
        loss,
        mark_loss,
        duplicate,
        rate,
        overhead,
        queue,
        delay,
        reorder,
        steps,
        limits,
    }
}

fn queue(input: &mut Input<'_>, ecn: bool) -> Queue {
    let limit = match input.byte() % 3 {
        0 => QueueLimit::Packets(input.byte().into()),
        1 => QueueLimit::Bytes(input.word().into()),
        _ => QueueLimit::Time(input.millis()),
    };
    let codel = CoDel { target: input.millis(), interval: input.millis() };
    let discipline = match input.byte() % 3 {
        0 => Discipline::DropTail,
        1 => Discipline::CoDel(codel),
        _ => Discipline::FqCoDel(FqCoDel {
            codel,
            flows: input.byte().into(),
            quantum: 256 + u32::from(input.word()),
        }),
    };
    Queue { limit, discipline, ecn }
}

/// A packet of the next bytes, or a long one of nothing; some say that they are super-packets.
fn packet(action: u8, input: &mut Input<'_>) -> PacketBuf {
    let len = usize::from(if action & 1 == 0 { input.byte().into() } else { input.word() });
    let mut packet = PacketBuf::new(0, len);
    let (bytes, rest) = input.0.split_at(input.0.len().min(len).min(100));
    input.0 = rest;
    packet.extend(bytes).expect("room for it");
    packet.set_len(len).expect("room for it");
    if action & 2 != 0 {
        packet.meta.vnet.gso =
            [Gso::Tcp4, Gso::Tcp6, Gso::UdpL4, Gso::Udp][usize::from(action >> 2 & 3)];
        packet.meta.vnet.gso_size = u16::from(input.byte());
    }
    packet.meta.vnet.flags = action >> 5;
    packet
}
