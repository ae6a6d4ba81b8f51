//! Round-trip times that packets show: between this place and the answering host, and back.
//!
//! | pair | a sample is |
//! |---|---|
//! | SYN, SYN and ACK | the handshake of a connection (RFC 9293, 3.5) |
//! | data, its timestamp echoed | a segment and its acknowledgment (RFC 7323, 4) |
//! | echo request, echo reply | a ping (RFC 792, RFC 4443) |

use super::slots::float;
use crate::packet::Packet;
use adit_chart::Series;
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

/// As many packets wait for their answer.
const WAITING_MAX: usize = 4096;

/// A packet that was not answered for so long is forgotten when there are too many.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// As many samples of a kind are kept; then every other one is left out.
const SAMPLES_MAX: usize = 4096;

/// As many points a line over time has.
const POINTS: usize = 60;

/// As many points a distribution has.
const DISTRIBUTION_POINTS: usize = 200;

/// The kinds of samples.
const NAMES: [&str; 3] = ["TCP handshake", "TCP data", "ping"];

#[derive(Debug, Default)]
pub(super) struct RoundTrips {
    waiting: HashMap<Key, Duration>,
    samples: [Samples; 3],
}

/// What an answer has in common with its question, seen from the host that asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    kind: usize,
    hosts: (IpAddr, IpAddr),
    ports: (u16, u16),
    /// The sequence number after a SYN, the timestamp, the number of an echo.
    number: u32,
}

/// Samples (time, round trip), every `step`-th that came.
#[derive(Debug, Default)]
struct Samples {
    kept: Vec<(Duration, Duration)>,
    seen: u64,
    step: u64,
}

impl Samples {
    fn add(&mut self, at: Duration, time: Duration) {
        self.step = self.step.max(1);
        if self.seen.is_multiple_of(self.step) {
            if self.kept.len() >= SAMPLES_MAX {
                let mut at = 0;
                self.kept.retain(|_| {
                    at += 1;
                    at % 2 == 1
                });
                self.step = self.step.saturating_mul(2);
            }
            self.kept.push((at, time));
        }
        self.seen += 1;
    }
}

impl RoundTrips {
    pub(super) fn note(&mut self, at: Duration, packet: &Packet) {
        let Some(ip) = &packet.ip else { return };
        let (there, back) = ((ip.source, ip.destination), (ip.destination, ip.source));
        if let Some(tcp) = &packet.tcp {
            let ports = (tcp.source_port, tcp.destination_port);
            let reverse = (tcp.destination_port, tcp.source_port);
            let key = |kind, hosts, ports, number| Key { kind, hosts, ports, number };
            match (tcp.flags.contains('S'), tcp.acknowledgment) {
                (true, None) => self.ask(at, key(0, there, ports, tcp.sequence.wrapping_add(1))),
                (true, Some(number)) => self.answer(at, &key(0, back, reverse, number)),
                (false, _) => {
                    let Some((value, echo)) = timestamps(&tcp.options) else { return };
                    self.answer(at, &key(1, back, reverse, echo));
                    if tcp.payload_length > 0 {
                        self.ask(at, key(1, there, ports, value));
                    }
                }
            }
        }
        if let Some(icmp) = &packet.icmp
            && let (Some(id), Some(sequence)) = (icmp.id, icmp.sequence)
        {
            let key = |hosts| Key { kind: 2, hosts, ports: (id, 0), number: sequence.into() };
            if matches!(icmp.kind, 8 | 128) {
                self.ask(at, key(there));
            } else {
                self.answer(at, &key(back));
            }
        }
    }

    /// Notes a question; of one that is asked again, the first counts.
    fn ask(&mut self, at: Duration, key: Key) {
        if self.waiting.len() >= WAITING_MAX {
            self.waiting.retain(|_, asked| at.saturating_sub(*asked) < WAIT_MAX);
        }
        if self.waiting.len() < WAITING_MAX {
            self.waiting.entry(key).or_insert(at);
        }
    }

    fn answer(&mut self, at: Duration, key: &Key) {
        let Some(asked) = self.waiting.remove(key) else { return };
        if let (Some(samples), Some(time)) = (self.samples.get_mut(key.kind), at.checked_sub(asked))
        {
            samples.add(at, time);
        }
    }

    fn named(&self) -> impl Iterator<Item = (&'static str, &[(Duration, Duration)])> {
        let all = NAMES.into_iter().zip(&self.samples);
        all.map(|(name, samples)| (name, &samples.kept[..])).filter(|(_, kept)| !kept.is_empty())
    }

    /// The median of each stretch of time.
    pub(super) fn over_time(&self) -> Vec<Series> {
        let line = |(name, kept): (&str, &[(Duration, Duration)])| {
            let per_point = kept.len().div_ceil(POINTS).max(1);
            let points = kept.chunks(per_point).filter_map(|stretch| {
                let mut times: Vec<Duration> = stretch.iter().map(|sample| sample.1).collect();
                times.sort_unstable();
                let middle = stretch.get(stretch.len() / 2)?.0;
                Some((middle.as_secs_f64(), times.get(times.len() / 2)?.as_secs_f64()))
            });
            Series::new(name, points.collect())
        };
        self.named().map(line).collect()
    }

    /// The share of samples up to each time.
    pub(super) fn distribution(&self) -> Vec<Series> {
        let line = |(name, kept): (&str, &[(Duration, Duration)])| {
            let mut times: Vec<Duration> = kept.iter().map(|sample| sample.1).collect();
            times.sort_unstable();
            let count = float(u64::try_from(times.len()).unwrap_or(u64::MAX));
            let shares: Vec<_> = (1u32..).zip(&times).collect();
            // Every so many and the last one.
            let step = shares.len().div_ceil(DISTRIBUTION_POINTS).max(1);
            let points = shares.iter().rev().step_by(step).rev();
            let points = points.map(|(at, time)| (time.as_secs_f64(), f64::from(*at) / count));
            Series::new(name, points.collect())
        };
        self.named().map(line).collect()
    }
}

/// The timestamp and its echo, from options as tcpdump writes them.
fn timestamps(options: &str) -> Option<(u32, u32)> {
    let option = options.split(',').find_map(|option| option.strip_prefix("TS val "))?;
    let (value, echo) = option.split_once(" ecr ")?;
    Some((value.parse().ok()?, echo.parse().ok()?))
}
