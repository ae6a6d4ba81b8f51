use super::*;
use crate::packet::{Ip, Udp};
use crate::tcp::Tcp;

fn packet(at_ms: u64, from: &str, to: &str) -> Packet {
    let meta = adit_runtime::format::pcapng::Meta {
        time: Duration::from_millis(1_000_000 + at_ms),
        original_len: 1000,
        ..Default::default()
    };
    let mut packet = Packet::decode("t", adit_runtime::format::pcapng::LinkType::Raw, &meta, &[]);
    packet.malformed = None;
    packet.ip = Some(Ip {
        version: 4,
        source: from.parse().unwrap(),
        destination: to.parse().unwrap(),
        protocol: 6,
        ttl: 64,
        dscp: 0,
        ecn: 0,
        length: 1000,
        fragment: None,
    });
    packet
}

fn tcp(packet: Packet, ports: (u16, u16), flags: &str, sequence: u32, options: &str) -> Packet {
    let acknowledgment = flags.contains('.').then_some(101);
    let payload_length = if flags.contains('S') { 0 } else { 500 };
    let tcp = Tcp {
        source_port: ports.0,
        destination_port: ports.1,
        flags: flags.to_owned(),
        sequence,
        acknowledgment,
        window: 0,
        options: options.to_owned(),
        payload_length,
    };
    Packet { tcp: Some(tcp), ..packet }
}

const A: &str = "192.0.2.1";
const B: &str = "192.0.2.2";

#[test]
fn round_trips_protocols_and_deaths_are_found() {
    let mut summary = Summary::default();
    summary.note(&tcp(packet(0, A, B), (40_000, 443), "S", 100, ""));
    summary.note(&tcp(packet(20, B, A), (443, 40_000), "S.", 7, ""));
    summary.note(&tcp(packet(30, A, B), (40_000, 443), "P.", 101, "TS val 5 ecr 1"));
    summary.note(&tcp(packet(32, A, B), (40_000, 443), "P.", 101, "TS val 5 ecr 1"));
    summary.note(&tcp(packet(70, B, A), (443, 40_000), "P.", 8, "TS val 9 ecr 5"));
    summary.note(&tcp(packet(90, B, A), (443, 40_000), "R", 508, ""));
    let mut dns = packet(95, A, B);
    dns.udp = Some(Udp { source_port: 5000, destination_port: 53, payload_length: 30 });
    dns.lost_before = 12;
    dns.direction = Some(Direction::Out);
    summary.note(&dns);
    let page = summary.page("t");
    let titles: Vec<&str> = page.charts.iter().map(|chart| chart.title.as_str()).collect();
    let expected = [
        "Throughput",
        "Packets by protocol and port",
        "Round-trip time",
        "Round-trip time CDF",
        "Losses and errors",
    ];
    assert_eq!(titles, expected);
    let rates: Vec<&str> = page.charts[0].series.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(rates, ["out", "packets"]);
    assert_eq!(page.charts[1].x.names, ["TCP 443", "UDP 53"]);
    assert_eq!(page.charts[1].series[0].points, [(1.0, 6.0), (2.0, 1.0)]);
    let round_trips = &page.charts[2].series;
    assert_eq!((&*round_trips[0].name, round_trips[0].points[0].1), ("TCP handshake", 0.020));
    assert_eq!((&*round_trips[1].name, round_trips[1].points[0].1), ("TCP data", 0.040));
    assert_eq!(page.charts[4].x.names, ["not captured", "TCP retransmission", "TCP reset"]);
    assert_eq!(page.charts[4].series[0].points, [(1.0, 12.0), (2.0, 1.0), (3.0, 1.0)]);
    summary.lost(40);
    assert_eq!(summary.page("t").charts[4].series[0].points[0], (1.0, 40.0));
    assert!(summary.page("t").notes[1].starts_with("40 packets were lost"));
}

/// Bytes of all slots are those of the packets, whatever their times and directions are.
#[test]
fn charts_hold_all_bytes() {
    let mut summary = Summary::default();
    for number in 0..5000_u64 {
        let mut one = packet(number * number % 100_000, A, B);
        one.direction = if number % 3 == 0 { Some(Direction::In) } else { None };
        summary.note(&one);
    }
    let chart = &summary.page("t").charts[0];
    assert!(chart.series.iter().all(|series| series.points.len() <= 121), "readable lines");
    let step = chart.series[0].points[1].0 - chart.series[0].points[0].0;
    let inner = chart.series.iter().flat_map(|one| one.points.iter().rev().skip(1));
    let bits: f64 = inner.map(|point| point.1 * step).sum();
    assert!((bits / 8.0 - 5_000_000.0).abs() < 100_000.0, "{bits}");
    assert!(summary.kinds.len() == 1 && summary.following.is_empty());
}

#[test]
fn memory_is_bounded() {
    let mut summary = Summary::default();
    for number in 0..20_000_u32 {
        let [.., high, low] = number.to_be_bytes();
        let from = format!("10.1.{high}.{low}");
        let port = u16::try_from(number % 60_000).unwrap();
        let one = packet(u64::from(number), &from, B);
        summary.note(&tcp(one.clone(), (port, port), "S", number, ""));
        summary.note(&tcp(one, (port, port), "P.", number, "TS val 5 ecr 1"));
    }
    assert!(summary.kinds.len() <= KINDS_MAX + 1 && summary.following.len() <= FLOWS_MAX);
    assert_eq!(summary.page("t").charts[1].x.names.len(), KINDS_SHOWN + 1);
}
