//! The behavior of a profile, measured by sending packets through its link in virtual time.

use adit_engine::Outbox;
use adit_engine::netem::{
    Bitrate, Delay, Discipline, Jitter, Link, Loss, Profile, ProfileError, Queue, QueueLimit, Rate,
    Report, Seed, Step, Steps,
};
use adit_packet::{Instant, PacketBuf, Pool, PoolConfig};
use adit_service::netem::report::LinkReport;
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Number of packets that measure delay and loss: 200 for each percent.
const PROBES: u32 = 20_000;
/// Length of a probe in bytes: that of a ping.
const PROBE_LEN: usize = 98;
/// Maximum number of packets that measure one point of the rate; all points take half a second of work. Of
/// a faster line or a longer schedule, the start of each point's span is measured.
const LOAD_MAX: u64 = 2_500;
/// Length of a load packet in bytes: a full Ethernet frame.
const LOAD_LEN: usize = 1514;
/// Minimum time the rate is shown; a longer schedule is shown whole.
const LOAD_TIME: Duration = Duration::from_secs(10);
/// Packets in the queue of the saturated line.
const QUEUE: u32 = 64;
/// Points of the rate over time.
const RATE_POINTS: u32 = 100;
/// Points of the delay's distribution.
const DELAY_POINTS: u32 = 200;
/// Longest burst of loss with a row of its own; longer ones share it.
const BURST_MAX: u32 = 20;

/// The measured behavior of a profile.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(title = "adit netem preview")]
pub(crate) struct Preview {
    /// The interval between probes in milliseconds, long enough not to fill the line, and to cover the whole
    /// schedule.
    pub(crate) probe_every_ms: f64,
    /// The report about the probes.
    pub(crate) report: LinkReport,
    /// The distribution of the probes' delay.
    pub(crate) delay: Vec<DelayPoint>,
    /// Runs of consecutive losses, by length.
    pub(crate) bursts: Vec<Burst>,
    /// The output rate of the saturated line; empty without a rate limit.
    pub(crate) rate: Vec<RatePoint>,
}

/// A point of a distribution.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub(crate) struct DelayPoint {
    /// A share of packets, 0 to 1, ...
    pub(crate) share: f64,
    /// ... whose delay is at most this, in milliseconds.
    pub(crate) delay_ms: f64,
}

/// Bursts of loss of one length.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub(crate) struct Burst {
    /// Packets lost in a row; the highest value includes all longer bursts.
    pub(crate) length: u32,
    /// Number of such bursts.
    pub(crate) count: u32,
}

/// The rate in a span of time.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub(crate) struct RatePoint {
    /// The middle of the span, in seconds from the start.
    pub(crate) seconds: f64,
    /// Output rate in it, in bits per second without overhead.
    pub(crate) bits_per_second: f64,
}

/// Sends packets through a link of this profile in virtual time.
///
/// # Errors
///
/// Names the invalid field of the profile.
pub(crate) fn simulate(profile: &Profile, seed: u64) -> Result<Preview, ProfileError> {
    let time = schedule(profile);
    let every = probe_interval(profile).max(time / PROBES);
    let (report, bursts) = probe(profile, seed, every)?;
    let delay = (0..=DELAY_POINTS)
        .filter(|_| report.delay.count() > 0)
        .map(|point| {
            let share = f64::from(point) / f64::from(DELAY_POINTS);
            DelayPoint { share, delay_ms: report.delay.percentile(share).as_secs_f64() * 1e3 }
        })
        .collect();
    Ok(Preview {
        probe_every_ms: every.as_secs_f64() * 1e3,
        report: (&report).into(),
        delay,
        bursts,
        rate: if fastest(profile).is_some() {
            load(profile, seed, time.max(LOAD_TIME))?
        } else {
            Vec::new()
        },
    })
}

/// The interval between probes: a millisecond, or more if they would take over a tenth of the line.
fn probe_interval(profile: &Profile) -> Duration {
    let bits = profile.overhead.wire_len(PROBE_LEN) * 8;
    let rate = match &profile.rate {
        Rate::Unlimited => u64::MAX,
        Rate::Fixed(rate) => rate.bits_per_second(),
        Rate::Trace(trace) => trace.mean_rate().bits_per_second(),
    };
    let tenth = u128::from(bits) * 10_000_000_000 / u128::from(rate.max(1));
    Duration::from_nanos(u64::try_from(tenth).unwrap_or(u64::MAX)).max(Duration::from_millis(1))
}

/// The highest rate of the line; `None` if it is never limited.
fn fastest(profile: &Profile) -> Option<Bitrate> {
    let steps =
        profile.steps.iter().flat_map(|steps| steps.as_slice()).filter_map(|step| step.rate);
    let base = match &profile.rate {
        Rate::Unlimited => None,
        Rate::Fixed(rate) => Some(*rate),
        Rate::Trace(trace) => Some(trace.mean_rate()),
    };
    steps.chain(base).max()
}

/// A link and its outbox.
struct Run {
    link: Link,
    out: Outbox,
}

impl Run {
    fn new(profile: &Profile, seed: u64) -> Result<Self, ProfileError> {
        let mut link = Link::new(profile, Seed::new(seed))?;
        link.start(Instant::ZERO);
        Ok(Self { link, out: Outbox::new(Pool::new(PoolConfig::default())) })
    }

    /// Sends a packet of zeros, numbered by its hash, which no effect changes.
    fn push(&mut self, now: Instant, number: u32, len: usize) {
        let mut packet = self.out.pool().take(len).unwrap_or_else(|| PacketBuf::new(0, len));
        // Both have capacity for `len` bytes.
        let _ = packet.set_len(len);
        packet.bytes_mut().fill(0);
        packet.meta.vnet.hash.value = number;
        self.link.push(now, packet, &mut self.out);
    }

    /// Takes out packets due up to `until`, each at its time.
    fn take(&mut self, until: Instant, mut each: impl FnMut(Instant, &PacketBuf)) {
        while let Some(next) = self.link.next_timeout().filter(|next| *next <= until) {
            while let Some(packet) = self.link.pop(next, &mut self.out) {
                each(next, &packet);
                self.out.pool().give(packet);
            }
        }
    }
}

/// Sends single packets far apart and measures delay and loss.
fn probe(
    profile: &Profile,
    seed: u64,
    every: Duration,
) -> Result<(Report, Vec<Burst>), ProfileError> {
    let mut run = Run::new(profile, seed)?;
    let mut came = vec![false; usize::try_from(PROBES).unwrap_or(0)];
    let mut note = |packet: &PacketBuf| {
        let number = usize::try_from(packet.meta.vnet.hash.value).unwrap_or(usize::MAX);
        if let Some(came) = came.get_mut(number) {
            *came = true;
        }
    };
    for number in 0..PROBES {
        let now = Instant::ZERO + every * number;
        run.take(now, |_, packet| note(packet));
        run.push(now, number, PROBE_LEN);
    }
    // Packets that a stopped line holds forever stay there.
    run.take(Instant::ZERO + every * PROBES + Delay::MAX, |_, packet| note(packet));
    let mut lengths = BTreeMap::new();
    for burst in came.split(|&came| came).filter(|burst| !burst.is_empty()) {
        let length = u32::try_from(burst.len()).unwrap_or(BURST_MAX).min(BURST_MAX);
        *lengths.entry(length).or_insert(0) += 1;
    }
    let bursts = lengths.into_iter().map(|(length, count)| Burst { length, count }).collect();
    Ok((run.link.report(), bursts))
}

/// Saturates the line for `time` and measures its output.
fn load(profile: &Profile, seed: u64, time: Duration) -> Result<Vec<RatePoint>, ProfileError> {
    // Without loss and delay, which do not change the rate of the line.
    let line = Profile {
        loss: Loss::None,
        duplicate: 0.0,
        delay: Delay { jitter: Jitter::None, ..Delay::default() },
        reorder: None,
        queue: Queue {
            limit: QueueLimit::Packets(QUEUE),
            discipline: Discipline::DropTail,
            ecn: false,
        },
        steps: profile.steps.as_deref().and_then(rates_of),
        ..profile.clone()
    };
    let mut run = Run::new(&line, seed)?;
    let span = time / RATE_POINTS;
    let points = (0..RATE_POINTS).map(|point| {
        let start = Instant::ZERO + span * point;
        let bits_per_second = load_span(&mut run, start, span);
        RatePoint { seconds: (f64::from(point) + 0.5) * span.as_secs_f64(), bits_per_second }
    });
    Ok(points.collect())
}

/// The steps of the rate alone.
fn rates_of(steps: &Steps) -> Option<Arc<Steps>> {
    let rates = steps.as_slice().iter().map(|step| Step { delay: None, loss: None, ..*step });
    Steps::new(rates.collect(), steps.period()).ok().map(Arc::new)
}

/// Saturates the line from `start` for `span`, or until it has sent `LOAD_MAX` packets; then the line is
/// idle for the rest of it. Returns its output in bits per second.
fn load_span(run: &mut Run, start: Instant, span: Duration) -> f64 {
    let end = start + span;
    // Packets that were still in the queue of an idle line.
    run.take(start, |_, _| {});
    let queue = usize::try_from(QUEUE).unwrap_or(0);
    let (mut now, mut sent, mut bits) = (start, 0, 0.0);
    while now < end && sent < LOAD_MAX {
        for _ in 0..queue.saturating_sub(run.link.held()) {
            run.push(now, 0, LOAD_LEN);
        }
        // During an outage everything was lost: retry after a hundredth of a span.
        let pause = now + span / 100;
        now = run.link.next_timeout().map_or(pause, |next| next.max(now)).min(end);
        run.take(now, |_, packet| {
            sent += 1;
            bits += f64::from(u32::try_from(packet.len()).unwrap_or(u32::MAX)) * 8.0;
        });
    }
    let measured = now.since(start);
    // An unlimited line sends them at once.
    bits / if measured.is_zero() { span } else { measured }.as_secs_f64()
}

/// The length of the longest schedule; zero without one.
fn schedule(profile: &Profile) -> Duration {
    let trace = match &profile.rate {
        Rate::Trace(trace) => Some(trace.period()),
        Rate::Unlimited | Rate::Fixed(_) => None,
    };
    let steps = profile.steps.as_ref().map(|steps| {
        let last = steps.as_slice().last().map_or(Duration::ZERO, |step| step.at);
        steps.period().unwrap_or(last + last / 4)
    });
    let outages = profile
        .outages
        .iter()
        .map(|outage| outage.at + outage.every.map_or(outage.lasts, |every| every + outage.lasts));
    trace.into_iter().chain(steps).chain(outages).max().unwrap_or(Duration::ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::show::link;
    use adit_engine::netem::{Outage, Preset};

    #[test]
    fn every_preset_has_delays_and_rates() {
        for name in Preset::NAMES {
            let preset = Preset::named(name).expect("a preset");
            let preview = simulate(&preset.down, 1).expect("it can be");
            let [first, .., last] = &preview.delay[..] else { panic!("{name}: no delays") };
            assert!(first.delay_ms < last.delay_ms, "{name}");
            assert!(preview.delay.is_sorted_by_key(|point| point.delay_ms));
            assert_eq!(preview.rate.len(), 100);
        }
    }

    #[test]
    fn the_same_seed_draws_the_same() {
        let profile = Preset::named("wifi-bad").expect("a preset").up;
        let json = |seed| serde_json::to_string(&simulate(&profile, seed).ok()).expect("data");
        assert_eq!(json(1), json(1));
        assert_ne!(json(1), json(2));
    }

    /// The bits of each second, without the first: the queue fills in it.
    fn seconds(preview: &Preview, from: f64, to: f64) -> f64 {
        let within = preview.rate.iter().filter(|point| (from..to).contains(&point.seconds));
        let rates: Vec<_> = within.map(|point| point.bits_per_second).collect();
        rates.iter().sum::<f64>() / f64::from(u32::try_from(rates.len()).expect("at most 100"))
    }

    #[test]
    fn steps_and_outages_show_in_the_rate() {
        let steps = Steps::parse("time,rate\n0,10mbit\n4s,2mbit\n8s,repeat\n").expect("steps");
        let preview = simulate(&Profile { steps: Some(Arc::new(steps)), ..Profile::default() }, 1)
            .expect("it can be");
        assert!((seconds(&preview, 0.5, 3.9) / 1e7 - 1.0).abs() < 0.02);
        assert!((seconds(&preview, 4.5, 7.9) / 2e6 - 1.0).abs() < 0.02);
        assert!((seconds(&preview, 8.5, 9.9) / 1e7 - 1.0).abs() < 0.02);

        let outage =
            Outage { at: Duration::from_secs(2), lasts: Duration::from_secs(3), every: None };
        let rate = Rate::Fixed(Bitrate::from_bits_per_second(1_000_000_000_000));
        let preview = simulate(&Profile { outages: vec![outage], rate, ..Profile::default() }, 1)
            .expect("it can be");
        assert!(preview.rate.iter().any(|point| point.bits_per_second > 9e11));
        let slow = Rate::Fixed(Bitrate::from_bits_per_second(1_000_000));
        let preview =
            simulate(&Profile { outages: vec![outage], rate: slow, ..Profile::default() }, 1)
                .expect("it can be");
        assert!(seconds(&preview, 3.5, 4.9) < 1.0, "what waited is sent, then nothing");
        assert!(seconds(&preview, 6.0, 9.9) > 9e5);
    }

    #[test]
    fn a_long_schedule_is_shown_whole() {
        let steps = "time,rate,delay\n0,100mbit,1ms\n10m,20mbit,100ms\n15m,repeat\n";
        let steps = Some(Arc::new(Steps::parse(steps).expect("steps")));
        let preview = simulate(&Profile { steps, ..Profile::default() }, 1).expect("it can be");
        assert!((seconds(&preview, 10.0, 590.0) / 1e8 - 1.0).abs() < 0.02);
        assert!((seconds(&preview, 610.0, 890.0) / 2e7 - 1.0).abs() < 0.02);
        let late = preview.delay.iter().filter(|point| point.delay_ms > 90.0).count();
        assert!((64..72).contains(&late), "a third of 201 points: {late}");
    }

    #[test]
    fn bursts_are_counted() {
        let loss = Loss::Bursts { share: 0.05, length: 4.0 };
        let preview = simulate(&Profile { loss, ..Profile::default() }, 1).expect("it can be");
        let all: u32 = preview.bursts.iter().map(|burst| burst.count).sum();
        let single = preview.bursts.first().expect("bursts of one");
        assert_eq!(single.length, 1);
        // A quarter of geometric bursts with a mean of four.
        let share = f64::from(single.count) / f64::from(all);
        assert!((share - 0.25).abs() < 0.1, "{share}");
        assert!(preview.rate.is_empty());
    }

    #[test]
    fn a_report_says_what_was_asked_and_what_happened() {
        let preset = Preset::named("wifi-bad").expect("a preset");
        let report = simulate(&preset.down, 1).expect("it can be").report;
        let lines = link::lines(&report, "down");
        assert!(lines[0].starts_with("down: 2 % lost in bursts of 5; 10mbit"), "{lines:#?}");
        for part in
            ["  lost       ", "with 99.9 % confidence", "  delay      p50 ", "  decisions  "]
        {
            assert!(lines.iter().any(|line| line.contains(part)), "{part}: {lines:#?}");
        }
        let loss = report.loss.expect("it was asked for");
        assert!(loss.low < 0.02 && loss.high > 0.02, "{loss:?}");
        serde_json::to_string(&report).expect("numbers and text");
    }

    #[test]
    fn a_perfect_link_has_little_to_tell() {
        let report = simulate(&Default::default(), 1).expect("it can be").report;
        let lines = link::lines(&report, "a to b");
        assert_eq!(lines[0], "a to b: a perfect link");
        assert!(!lines.iter().any(|line| line.contains("lost") || line.contains("line ")));
    }
}
