//! Profiles of links that people have, with where their numbers are from.

use alloc::sync::Arc;
use alloc::vec;
use core::time::Duration;

use super::profile::{Delay, Jitter, Loss, Outage, Overhead, Profile, Queue, QueueLimit, Rate};
use super::table::DelayTable;
use adit_packet::units::Bitrate;

/// A kind of link: a profile for each direction, as a subscriber has them.
///
/// One link is not like another: these are starting points, to be changed where more is known.
#[derive(Clone, Debug, PartialEq)]
pub struct Preset {
    /// What it is called by.
    pub name: &'static str,
    /// What kind of link it is.
    pub about: &'static str,
    /// Where the numbers are from, and which were chosen.
    pub source: &'static str,
    /// Towards the subscriber.
    pub down: Profile,
    /// From the subscriber.
    pub up: Profile,
}

impl Preset {
    /// The names of all presets.
    pub const NAMES: [&str; 5] = ["lte", "starlink", "dsl", "wifi-bad", "geo"];

    /// The preset of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "lte" => lte(),
            "starlink" => starlink(),
            "dsl" => dsl(),
            "wifi-bad" => wifi_bad(),
            "geo" => geo(),
            _ => return None,
        })
    }
}

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn kbit(kilobits: u64) -> Rate {
    Rate::Fixed(Bitrate::from_bits_per_second(kilobits * 1000))
}

fn queue(time: Duration) -> Queue {
    Queue { limit: QueueLimit::Time(time), ..Queue::default() }
}

/// A floor, and a tail above it of that mean, little heavier than an exponential one.
fn tailed(base: Duration, mean: Duration, correlation: f64) -> Delay {
    Delay { base, jitter: Jitter::Pareto { mean, shape: 6.0 }, correlation, keep_order: true }
}

fn lte() -> Preset {
    // 53.1 ms there and back, the half of it each way, most of it fixed.
    let delay = tailed(ms(23), Duration::from_micros(3550), 0.9);
    let common = Profile { delay, queue: queue(ms(500)), ..Profile::default() };
    Preset {
        name: "lte",
        about: "a mobile phone in a city: deep queue, no loss (the radio link retransmits)",
        source: "Ofcom, Measuring mobile broadband performance in the UK, April 2015: 14.7 and 13.6 \
                 Mbit/s, 53.1 ms round trip; chosen: jitter, a queue of 500 ms",
        down: Profile { rate: kbit(14_700), ..common.clone() },
        up: Profile { rate: kbit(13_600), ..common },
    }
}

fn starlink() -> Preset {
    // 50 ms there and back in the median, 40 ms at best in a quarter of cases.
    let delay = tailed(ms(20), ms(6), 0.9);
    let outage = Outage { at: ms(15_000), lasts: ms(50), every: Some(ms(15_000)) };
    let common =
        Profile { delay, outages: vec![outage], queue: queue(ms(200)), ..Profile::default() };
    Preset {
        name: "starlink",
        about: "satellites in low orbit: a new path every 15 seconds",
        source: "Ookla, third quarter of 2021, USA: 87.25 and 13.54 Mbit/s; Michel et al., A First \
                 Look at Starlink Performance, IMC 2022: round trip 50 ms, quartiles 40 and 60; Mohan \
                 et al., A Multifaceted Look at Starlink Performance, WWW 2024: every 15 s; chosen: \
                 50 ms of loss each time, a queue of 200 ms",
        down: Profile { rate: kbit(87_250), ..common.clone() },
        up: Profile { rate: kbit(13_540), ..common },
    }
}

fn dsl() -> Preset {
    // 49 ms there and back: interleaving and the way to the first server.
    let delay = Delay {
        base: Duration::from_micros(24_000),
        jitter: Jitter::Uniform { width: Duration::from_micros(500) },
        ..Delay::default()
    };
    let overhead = Overhead::ADSL_BRIDGED;
    let common = Profile { delay, overhead, queue: queue(ms(300)), ..Profile::default() };
    Preset {
        name: "dsl",
        about: "ADSL2+ on a line of average length: ATM cells, slow upload",
        source: "Ofcom, 2010: 6.5 Mbit/s of packages of up to 20 or 24; ITU-T G.992.5: 800 kbit/s up; \
                 FCC, Measuring Broadband America: 49 ms round trip; chosen: jitter, a queue of 300 ms",
        down: Profile { rate: kbit(6_500), ..common.clone() },
        up: Profile { rate: kbit(800), ..common },
    }
}

/// Percentiles of the delay over one wireless hop, each way, in microseconds: the half of what was
/// measured there and back, between them a geometric line.
const WIFI_PERCENTILES: [(u32, f64); 5] =
    [(0, 500.0), (50, 1500.0), (90, 10_000.0), (99, 125_000.0), (100, 250_000.0)];

fn wifi_bad() -> Preset {
    let jitter = match wifi_table() {
        Some(table) => Jitter::Table(Arc::new(table)),
        None => Jitter::None,
    };
    let delay = Delay { base: Duration::ZERO, jitter, correlation: 0.9, keep_order: true };
    let common = Profile {
        delay,
        loss: Loss::Bursts { share: 0.02, length: 5.0 },
        queue: queue(ms(500)),
        ..Profile::default()
    };
    Preset {
        name: "wifi-bad",
        about: "Wi-Fi at the edge of its range, with many other stations",
        source: "Sui et al., Characterizing and Improving WiFi Latency in Large-Scale Operational \
                 Networks, MobiSys 2016: median 3 ms, 90 % 20 ms, 99 % 250 ms; chosen: 10 and 5 \
                 Mbit/s, 2 % loss in bursts of 5, a queue of 500 ms",
        down: Profile { rate: kbit(10_000), ..common.clone() },
        up: Profile { rate: kbit(5_000), ..common },
    }
}

/// A thousand values with [`WIFI_PERCENTILES`].
fn wifi_table() -> Option<DelayTable> {
    let values = WIFI_PERCENTILES.windows(2).flat_map(|pair| {
        let [(from, low), (to, high)] = *pair else { return vec![] };
        let count = (to - from) * 10;
        let value = |step| low * libm::pow(high / low, f64::from(step) / f64::from(count));
        (0..count).map(|step| Duration::from_secs_f64(value(step) / 1e6)).collect()
    });
    DelayTable::new(values).ok()
}

fn geo() -> Preset {
    // 279 ms each way at the edge of the satellite's view; 629 ms there and back was measured.
    let delay = tailed(ms(289), Duration::from_micros(25_500), 0.9);
    let common = Profile {
        delay,
        loss: Loss::Random { share: 0.001 },
        queue: queue(ms(300)),
        ..Profile::default()
    };
    Preset {
        name: "geo",
        about: "a geostationary satellite",
        source: "RFC 2488, section 2: 239.6 to 279 ms each way, 1 bit in 10^7 wrong, which is 0.12 % of \
                 full packets; Ookla, third quarter of 2021: Viasat 18.75 and 2.96 Mbit/s, 629 ms; \
                 chosen: a queue of 300 ms",
        down: Profile { rate: kbit(18_750), ..common.clone() },
        up: Profile { rate: kbit(2_960), ..common },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Outbox;
    use crate::netem::{Link, Seed};
    use adit_packet::{Instant, Pool, PoolConfig};

    #[test]
    fn each_preset_can_be_and_says_where_it_is_from() {
        for name in Preset::NAMES {
            let preset = Preset::named(name).unwrap();
            assert_eq!(preset.name, name);
            assert_eq!(preset.down.check(), Ok(()));
            assert_eq!(preset.up.check(), Ok(()));
            assert!(preset.source.contains("chosen") && !preset.about.is_empty());
        }
        assert_eq!(Preset::named("carrier-pigeon"), None);
    }

    /// The mean delay of small packets, each by itself, both ways together, in milliseconds.
    fn round_trip(preset: &Preset, share: f64) -> f64 {
        let one = |profile: &Profile| {
            let mut link = Link::new(profile, Seed::new(1)).unwrap();
            let mut out = Outbox::new(Pool::new(PoolConfig::default()));
            for count in 0..5000_u64 {
                let now = Instant::from_nanos(count * 700_000_000);
                let mut packet = out.pool().take(98).unwrap();
                packet.set_len(98).unwrap();
                link.push(now, packet, &mut out);
                while let Some(next) = link.next_timeout() {
                    if let Some(packet) = link.pop(next, &mut out) {
                        out.pool().give(packet);
                    }
                }
            }
            link.report().delay.percentile(share).as_secs_f64() * 1e3
        };
        one(&preset.down) + one(&preset.up)
    }

    #[test]
    fn round_trips_are_those_of_the_sources() {
        for (name, median) in
            [("lte", 53.1), ("starlink", 50.0), ("dsl", 49.0), ("wifi-bad", 3.0), ("geo", 629.0)]
        {
            let found = round_trip(&Preset::named(name).unwrap(), 0.5);
            assert!((found / median - 1.0).abs() < 0.1, "{name}: {found}");
        }
        let tail = round_trip(&Preset::named("wifi-bad").unwrap(), 0.99);
        assert!((tail / 250.0 - 1.0).abs() < 0.2, "{tail}");
    }
}
