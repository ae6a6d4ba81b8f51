//! `adit tunnel show`.

use crate::commands::running::ask;
use crate::context::Context;
use crate::exit::Exit;
use crate::output::{Output, Tone};
use crate::pictures::{self, Files};
use adit_chart::{Axis, Chart, Kind, Page, Series, Unit};
use adit_packet::units::Bitrate;
use adit_service::control::client::{Client, instances};
use adit_service::control::name::Name;
use adit_service::error::{Error, Result};
use adit_vpn::file::config::Transport;
use adit_vpn::history::{HistoryView, SlotView};
use adit_vpn::state::{Dropped, PeerView, PostQuantumView, View};
use serde_json::Value;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
'last handshake' is the time of the last key exchange, 'last packet' that of the last packet decrypted \
with the peer's keys. 'rate' is the mean of the last two to three seconds.

Examples:
  adit tunnel show site
  adit tunnel show site --history --html site.html")]
pub(crate) struct Args {
    /// The tunnels; all running tunnels without a name
    #[arg(value_name = "NAME")]
    words: Vec<Name>,
    /// The name of a tunnel
    #[arg(long, value_name = "NAME", conflicts_with = "words")]
    name: Option<Name>,
    /// Draw rate, handshake round-trip time and drops of the last hour
    #[arg(long)]
    history: bool,
    #[command(flatten)]
    pictures: Files,
}

impl Args {
    pub(crate) fn run(self, context: &Context) -> Result<Exit> {
        let output = &context.output;
        let mut names: Vec<Name> = self.words.into_iter().chain(self.name).collect();
        if names.is_empty() {
            names = instances("tunnel").iter().filter_map(|one| one.name.parse().ok()).collect();
        }
        if self.history {
            return history(&names, &self.pictures, output);
        }
        if !self.pictures.is_empty() {
            return Err(Error::usage("--svg and --html need --history"));
        }
        let ask = |name: Name| Client::find(Some(name), "tunnel")?.get("/tunnel");
        let replies = names.into_iter().map(ask).collect::<Result<Vec<Value>>>()?;
        if output.json {
            output.value(&replies)?;
            return Ok(Exit::Ok);
        }
        if replies.is_empty() {
            output.note("no tunnel is running");
        }
        for (number, reply) in replies.into_iter().enumerate() {
            let view: View = serde_json::from_value(reply).map_err(std::io::Error::from)?;
            if number > 0 {
                output.line("")?;
            }
            for line in lines(&view, output) {
                output.line(line)?;
            }
        }
        Ok(Exit::Ok)
    }
}

/// Draws the last hour of tunnels.
fn history(names: &[Name], files: &Files, output: &Output) -> Result<Exit> {
    let ask = |name: &Name| -> Result<(String, HistoryView)> {
        let client = Client::find(Some(name.clone()), "tunnel")?;
        Ok((name.to_string(), ask(&client, "/tunnel/history")?))
    };
    let histories = names.iter().map(ask).collect::<Result<Vec<_>>>()?;
    let page = page(&histories);
    files.write(&page)?;
    if output.json {
        output.value(&histories.into_iter().map(|(_, history)| history).collect::<Vec<_>>())?;
    } else if histories.is_empty() {
        output.note("no tunnel is running");
    } else {
        pictures::print(&page, output)?;
    }
    Ok(Exit::Ok)
}

/// The charts of the last hour: of a tunnel alone its directions are lines, of several their sums.
fn page(histories: &[(String, HistoryView)]) -> Page {
    let slots = histories.iter().flat_map(|(_, history)| &history.slots);
    let oldest = slots.map(|slot| slot.age_s).fold(0.0, f64::max);
    let chart = |title: &str, axis: Axis, series: Vec<Series>| Chart {
        title: title.to_owned(),
        x: Axis::new("Time before now", Unit::Seconds).over(-oldest, 0.0),
        y: axis,
        kind: Kind::Line,
        series,
    };
    let points = |history: &HistoryView, value: &dyn Fn(&SlotView, f64) -> Option<f64>| {
        // The last slot is not over yet.
        let time = |slot: &SlotView| slot.age_s.clamp(0.5, float(history.every_s));
        // A point stands in the middle of its slot.
        let at = |slot: &SlotView| time(slot) / 2.0 - slot.age_s;
        let point = |slot: &SlotView| Some((at(slot), value(slot, time(slot))?));
        history.slots.iter().filter_map(point).collect::<Vec<_>>()
    };
    let bits = |bytes: u64, time: f64| Some(float(bytes) * 8.0 / time);
    let rates = histories.iter().flat_map(|(name, history)| {
        let of = |way: &str| match histories.len() {
            1 => way.to_owned(),
            _ => format!("{name} {way}"),
        };
        let received = points(history, &|slot, time| bits(slot.received_bytes, time));
        let sent = points(history, &|slot, time| bits(slot.sent_bytes, time));
        [Series::new(of("received"), received), Series::new(of("sent"), sent)]
    });
    let each = |value: &dyn Fn(&SlotView, f64) -> Option<f64>| {
        let series = |(name, history): &(String, HistoryView)| {
            Series::new(name.clone(), points(history, value))
        };
        histories.iter().map(series).filter(|series| !series.points.is_empty()).collect()
    };
    let trips = each(&|slot, _| slot.round_trip_ms.map(|ms| ms / 1000.0));
    let drops = each(&|slot, time| Some(float(slot.dropped) / time));
    let names: Vec<&str> = histories.iter().map(|(name, _)| name.as_str()).collect();
    Page {
        title: format!("Tunnel {}, last hour", names.join(", ")),
        notes: Vec::new(),
        charts: vec![
            chart("Throughput", Axis::new("Rate", Unit::BitsPerSecond), rates.collect()),
            chart("Handshake round-trip time", Axis::new("Longest", Unit::Seconds), trips),
            chart("Drops", Axis::new("Packets per second", Unit::Count), drops),
        ],
    }
}

#[expect(clippy::cast_precision_loss, reason = "a chart rounds more")]
const fn float(count: u64) -> f64 {
    count as f64
}

fn lines(view: &View, output: &Output) -> Vec<String> {
    let mut lines = vec![format!("tunnel {}", output.paint(Tone::Name, &view.ifname))];
    let mut add = |what: &str, value: String| lines.push(format!("  {what}: {value}"));
    add("public key", view.public_key.clone().unwrap_or_else(|| "(no private key)".to_owned()));
    add("listening port", view.listen_port.to_string());
    add("MTU", view.mtu.to_string());
    if let Some(mark) = view.fwmark {
        add("fwmark", format!("{mark:#x}"));
    }
    if let Some(sandbox) = &view.sandbox {
        add("sandbox", sandbox.to_string());
    }
    let d = &view.datagrams;
    add("datagrams", format!("{} received, {} sent", d.received, d.sent));
    if let Some(c) = view.connections {
        let closed = [
            (c.invalid, "invalid"),
            (c.expired, "not authenticated in time"),
            (c.displaced, "displaced"),
            (c.replaced, "replaced"),
        ];
        let now = format!("{} of peers, {} unauthenticated", c.authenticated, c.unauthenticated);
        add("TCP connections", format!("{now}; closed: {}", counts(&closed, "none")));
    }
    let lost = [
        (d.cut_trains, "GSO trains split"),
        (d.too_big, "larger than the path MTU"),
        (d.refused, "refused by the network"),
        (d.queue_full, "queue full"),
    ];
    let not_received = [
        (d.receive_buffer_full, "receive buffer full"),
        (d.waited_too_long, "waited too long"),
        (d.no_buffer, "no buffer"),
    ];
    for (what, problems) in [("send problems", &lost[..]), ("receive problems", &not_received)] {
        if problems.iter().any(|(count, _)| *count > 0) {
            add(what, counts(problems, ""));
        }
    }
    if !view.drops.is_empty() {
        add("dropped", drops(&view.drops));
    }
    for peer in &view.peers {
        lines.push(String::new());
        peer_lines(peer, output, &mut lines);
    }
    lines
}

fn peer_lines(peer: &PeerView, output: &Output, lines: &mut Vec<String>) {
    lines.push(format!("peer {}", output.paint(Tone::Name, &peer.public_key)));
    let mut add = |what: &str, value: String| lines.push(format!("  {what}: {value}"));
    let state =
        if peer.connected { (Tone::Good, "connected") } else { (Tone::Faint, "no session") };
    add("state", output.paint(state.0, state.1));
    let endpoint = peer.endpoint.clone().unwrap_or_else(|| "unknown".to_owned());
    match &peer.endpoint_name {
        Some(name) => add("endpoint", format!("{endpoint} ({name})")),
        None => add("endpoint", endpoint),
    }
    match peer.transport {
        Some(Transport::Auto) => add("transport", "UDP, or TCP while UDP is blocked".to_owned()),
        Some(Transport::Tcp) => add("transport", "TCP".to_owned()),
        _ => {}
    }
    let none = || "(none)".to_owned();
    let networks = Some(peer.allowed_ips.join(", ")).filter(|text| !text.is_empty());
    add("allowed ips", networks.unwrap_or_else(none));
    if peer.preshared_key {
        add("preshared key", "(hidden)".to_owned());
    }
    add("last handshake", ago(peer.handshake_age_s));
    add("last packet", ago(peer.authentic_age_s));
    if peer.is_silent() {
        let silent = format!("none for {:.0} s", peer.unanswered_s.unwrap_or_default());
        add("answer", output.paint(Tone::Bad, silent));
    }
    if let Some(time) = peer.round_trip_ms {
        add("handshake round trip", format!("{time:.1} ms"));
    }
    add(
        "transfer",
        format!("{} received, {} sent", bytes(peer.received_bytes), bytes(peer.sent_bytes)),
    );
    let rate = |bits| format!("{:#}", Bitrate::from_bits_per_second(bits));
    let (received, sent) = (rate(peer.received_bits_per_s), rate(peer.sent_bits_per_s));
    add("rate", format!("{received} received, {sent} sent"));
    add("path MTU", peer.path_mtu.to_string());
    if let Some(every) = peer.keepalive_s {
        add("keepalive", format!("every {every} s"));
    }
    if peer.adit {
        add("implementation", "adit".to_owned());
    }
    if let Some(cipher) = &peer.cipher {
        add("cipher", cipher.clone());
    }
    match peer.post_quantum {
        PostQuantumView::Active => add("post-quantum", "ML-KEM-768".to_owned()),
        PostQuantumView::Refused => {
            let why = "no key, which this peer must have: no data crosses";
            add("post-quantum", output.paint(Tone::Bad, why));
        }
        PostQuantumView::Inactive | PostQuantumView::Off => {}
    }
    if peer.queued > 0 {
        add("waiting", format!("{} packets for a handshake", peer.queued));
    }
    if !peer.drops.is_empty() {
        add("dropped", drops(&peer.drops));
    }
}

/// Counts with what they count, those that are not 0.
fn counts(counts: &[(u64, &str)], none: &str) -> String {
    let counts = counts.iter().filter(|(count, _)| *count > 0);
    let each: Vec<String> = counts.map(|(count, what)| format!("{count} {what}")).collect();
    if each.is_empty() { none.to_owned() } else { each.join(", ") }
}

fn drops(drops: &[Dropped]) -> String {
    let each: Vec<String> = drops.iter().map(|d| format!("{} {}", d.count, d.reason)).collect();
    each.join(", ")
}

fn ago(age: Option<f64>) -> String {
    match age {
        None => "never".to_owned(),
        Some(age) if age < 10.0 => format!("{age:.1} s ago"),
        Some(age) if age < 120.0 => format!("{age:.0} s ago"),
        Some(age) if age < 7200.0 => format!("{:.0} min ago", age / 60.0),
        Some(age) => format!("{:.0} h ago", age / 3600.0),
    }
}

#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
fn bytes(count: u64) -> String {
    let mut amount = count as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if amount < 1024.0 {
            return if unit == "B" { format!("{count} B") } else { format!("{amount:.2} {unit}") };
        }
        amount /= 1024.0;
    }
    format!("{amount:.2} TiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_and_amounts_are_for_people() {
        assert_eq!(ago(None), "never");
        assert_eq!(ago(Some(0.25)), "0.2 s ago");
        assert_eq!((ago(Some(90.4)), ago(Some(600.0))), ("90 s ago".into(), "10 min ago".into()));
        assert_eq!(ago(Some(9000.0)), "2 h ago");
        assert_eq!((bytes(1023), bytes(1536)), ("1023 B".into(), "1.50 KiB".into()));
        assert_eq!(bytes(5 << 40), "5.00 TiB");
    }
}
