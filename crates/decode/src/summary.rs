//! What passed in a capture, as charts: rate over time, protocols, round-trip times, and where packets die.
//!
//! ```text
//! Packet, Packet, ... -- Summary::note --> counts in a bounded number of time slots and flows --> Page of charts
//! ```
//!
//! Memory does not depend on the number of packets.

mod round_trips;
mod slots;

use crate::packet::{Direction, Packet};
use adit_chart::{Axis, Chart, Kind, Page, Series, Unit};
use round_trips::RoundTrips;
use slots::{Slots, float};
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

/// As many protocols and ports are counted; all others count as one.
const KINDS_MAX: usize = 4096;

/// As many of them have a bar.
const KINDS_SHOWN: usize = 8;

/// As many flows are followed for retransmissions.
const FLOWS_MAX: usize = 4096;

/// What passed in a capture.
#[derive(Debug, Default)]
pub struct Summary {
    packets: u64,
    bytes: u64,
    /// The times of the first and last packets.
    span: Option<(Duration, Duration)>,
    /// Bytes per slot: in, out, unknown.
    rates: [Slots; 3],
    drops: Slots,
    kinds: HashMap<String, (u64, u64)>,
    deaths: BTreeMap<Death, u64>,
    round_trips: RoundTrips,
    /// The sequence number that follows what was seen of a flow.
    following: HashMap<String, u32>,
    /// Packets that the program that captured lost, as it counted them at the end.
    lost: u64,
}

/// How a packet was lost or refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Death {
    Lost,
    Retransmitted,
    Reset,
    Unreachable,
    TooBig,
    Expired,
    Malformed,
}

impl Death {
    const fn name(self) -> &'static str {
        match self {
            Self::Lost => "not captured",
            Self::Retransmitted => "TCP retransmission",
            Self::Reset => "TCP reset",
            Self::Unreachable => "unreachable",
            Self::TooBig => "too big",
            Self::Expired => "TTL expired",
            Self::Malformed => "malformed",
        }
    }
}

impl Summary {
    /// Takes a packet.
    pub fn note(&mut self, packet: &Packet) {
        let bytes = u64::try_from(packet.length).unwrap_or(u64::MAX);
        self.packets += 1;
        self.bytes = self.bytes.saturating_add(bytes);
        let (first, last) = self.span.unwrap_or((packet.time, packet.time));
        self.span = Some((first, last.max(packet.time)));
        let after = packet.time.saturating_sub(first);
        let way = match packet.direction {
            Some(Direction::In) => 0,
            Some(Direction::Out) => 1,
            None => 2,
        };
        if let Some(slots) = self.rates.get_mut(way) {
            slots.add(after, bytes);
        }
        if packet.lost_before > 0 {
            self.drops.add(after, packet.lost_before);
            self.die(Death::Lost, packet.lost_before);
        }
        self.count_kind(kind(packet), bytes);
        if let Some(death) = death(packet) {
            self.die(death, 1);
        }
        self.follow(packet);
        self.round_trips.note(after, packet);
    }

    /// Takes the number of packets that the program that captured has lost in all.
    pub const fn lost(&mut self, count: u64) {
        self.lost = count;
    }

    fn die(&mut self, death: Death, count: u64) {
        let sum = self.deaths.entry(death).or_default();
        *sum = sum.saturating_add(count);
    }

    fn count_kind(&mut self, kind: String, bytes: u64) {
        let is_full = self.kinds.len() >= KINDS_MAX;
        let kind =
            if is_full && !self.kinds.contains_key(&kind) { "other".to_owned() } else { kind };
        let count = self.kinds.entry(kind).or_default();
        *count = (count.0 + 1, count.1.saturating_add(bytes));
    }

    /// Counts data of TCP that was sent before.
    fn follow(&mut self, packet: &Packet) {
        let (Some(ip), Some(tcp)) = (&packet.ip, &packet.tcp) else { return };
        if tcp.payload_length == 0 {
            return;
        }
        let flow = format!(
            "{} {} {} {}",
            ip.source, tcp.source_port, ip.destination, tcp.destination_port
        );
        let end = tcp.sequence.wrapping_add(u32::try_from(tcp.payload_length).unwrap_or(u32::MAX));
        let is_full = self.following.len() >= FLOWS_MAX;
        match self.following.get_mut(&flow) {
            // What ends before it is old (RFC 9293, 3.4: comparisons modulo 2^32).
            Some(next) if next.wrapping_sub(end) < 1 << 31 => self.die(Death::Retransmitted, 1),
            Some(next) => *next = end,
            None if is_full => {}
            None => drop(self.following.insert(flow, end)),
        }
    }

    /// The charts.
    #[must_use]
    pub fn page(&self, title: impl Into<String>) -> Page {
        let length = self.length().as_secs_f64();
        let time = || Axis::new("Time", Unit::Seconds).over(0.0, length);
        let names = ["in", "out", "packets"];
        let rates = names.iter().zip(&self.rates).filter(|(_, slots)| !slots.is_empty());
        let width = self.rates.iter().map(Slots::width).max().unwrap_or_default();
        let rate = Chart {
            title: "Throughput".to_owned(),
            x: time(),
            y: Axis::new("Rate", Unit::BitsPerSecond),
            kind: Kind::Line,
            series: rates
                .map(|(name, slots)| {
                    let end = self.length();
                    Series::new(*name, slots.per_second(width, end, 8.0))
                })
                .collect(),
        };
        let round_trip = Chart {
            title: "Round-trip time".to_owned(),
            x: time(),
            y: Axis::new("Median", Unit::Seconds),
            kind: Kind::Line,
            series: self.round_trips.over_time(),
        };
        let distribution = Chart {
            title: "Round-trip time CDF".to_owned(),
            x: Axis::new("Round-trip time", Unit::Seconds),
            y: Axis::new("Samples", Unit::Share),
            kind: Kind::Line,
            series: self.round_trips.distribution(),
        };
        Page {
            title: title.into(),
            notes: self.notes(),
            charts: vec![rate, self.kinds_chart(), round_trip, distribution, self.deaths_chart()],
        }
    }

    fn length(&self) -> Duration {
        self.span.map_or(Duration::ZERO, |(first, last)| last.saturating_sub(first))
    }

    fn notes(&self) -> Vec<String> {
        let seconds = self.length().as_secs_f64();
        let mut notes =
            vec![format!("{} packets, {} bytes in {seconds:.3} s", self.packets, self.bytes)];
        let lost = self.all_deaths().find(|(death, _)| *death == Death::Lost).map(|death| death.1);
        notes.push(match lost {
            None => "no packet was lost by the capture".to_owned(),
            Some(count) => {
                format!("{count} packets were lost by the capture: they are in no chart of rates")
            }
        });
        notes
    }

    /// Deaths with their counts; of what the capture lost, the larger of both counts.
    fn all_deaths(&self) -> impl Iterator<Item = (Death, u64)> {
        let mut deaths = self.deaths.clone();
        if self.lost > 0 {
            let seen = deaths.entry(Death::Lost).or_default();
            *seen = self.lost.max(*seen);
        }
        deaths.into_iter()
    }

    fn kinds_chart(&self) -> Chart {
        let mut kinds: Vec<_> = self.kinds.iter().collect();
        kinds.sort_by(|a, b| b.1.0.cmp(&a.1.0).then_with(|| a.0.cmp(b.0)));
        let rest: u64 = kinds.iter().skip(KINDS_SHOWN).map(|(_, count)| count.0).sum();
        kinds.truncate(KINDS_SHOWN);
        let mut bars: Vec<(String, u64)> =
            kinds.into_iter().map(|(name, count)| (name.clone(), count.0)).collect();
        if rest > 0 {
            bars.push(("other".to_owned(), rest));
        }
        named_bars("Packets by protocol and port", "Protocol", bars)
    }

    fn deaths_chart(&self) -> Chart {
        let bars = self.all_deaths().map(|(death, count)| (death.name().to_owned(), count));
        named_bars("Losses and errors", "Reason", bars.collect())
    }
}

fn named_bars(title: &str, axis: &str, bars: Vec<(String, u64)>) -> Chart {
    let (names, counts): (Vec<String>, Vec<u64>) = bars.into_iter().unzip();
    let points = (1u32..).zip(counts).map(|(at, count)| (f64::from(at), float(count)));
    Chart {
        title: title.to_owned(),
        series: vec![Series::new("packets", points.collect())],
        x: Axis::named(axis, names),
        y: Axis::new("Packets", Unit::Count),
        kind: Kind::Bars,
    }
}

/// The protocol of a packet, with the port of the service: the lower one.
fn kind(packet: &Packet) -> String {
    if let Some(tcp) = &packet.tcp {
        return format!("TCP {}", tcp.source_port.min(tcp.destination_port));
    }
    if let Some(udp) = &packet.udp {
        return format!("UDP {}", udp.source_port.min(udp.destination_port));
    }
    match (&packet.icmp, &packet.ip, &packet.arp, &packet.ethernet) {
        (Some(_), Some(ip), ..) if ip.version == 6 => "ICMPv6".to_owned(),
        (Some(_), ..) => "ICMP".to_owned(),
        (None, Some(ip), ..) => format!("IP {}", ip.protocol),
        (None, None, Some(_), _) => "ARP".to_owned(),
        (None, None, None, Some(frame)) => format!("0x{:04x}", frame.ether_type),
        _ => "unknown".to_owned(),
    }
}

/// What a packet says of another that was lost, or of itself.
fn death(packet: &Packet) -> Option<Death> {
    if packet.malformed.is_some() && !packet.is_cut() {
        return Some(Death::Malformed);
    }
    if packet.tcp.as_ref().is_some_and(|tcp| tcp.flags.contains('R')) {
        return Some(Death::Reset);
    }
    let is_v6 = packet.ip.as_ref().is_some_and(|ip| ip.version == 6);
    let icmp = packet.icmp.as_ref()?;
    // RFC 792 and RFC 4443, section 2.1.
    match (is_v6, icmp.kind, icmp.code) {
        (false, 3, 4) | (true, 2, _) => Some(Death::TooBig),
        (false, 3, _) | (true, 1, _) => Some(Death::Unreachable),
        (false, 11, _) | (true, 3, _) => Some(Death::Expired),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
