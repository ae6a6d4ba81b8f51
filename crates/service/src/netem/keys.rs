//! The keys of a profile: the one list of which options, file reader, `show` and schema are made.

use crate::config::schema::keys;
use crate::config::table::Table;
use crate::config::value::{Kind, Value, Wrong, boolean, duration, integer, share, size};
use adit_engine::netem::{
    CoDel, Corrupt, Discipline, FqCoDel, GilbertElliott, Jitter, Limits, Loss, Outage, Overhead,
    Profile, QueueLimit, Rate,
};
use adit_packet::units;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::json;
use std::time::Duration;

/// A key of a profile.
#[derive(Clone, Copy, Debug)]
pub struct ProfileKey {
    /// Its name.
    pub name: &'static str,
    /// Its value, for help: `TIME`.
    pub value: &'static str,
    /// What it sets, in a few words.
    pub help: &'static str,
    /// The fields of a profile that come from it, as [`Profile::check`] names them.
    pub(super) fields: &'static [&'static str],
    /// Its value in a profile as a text; `None` if it is as in a perfect link.
    pub(super) shown: fn(&Profile) -> Option<String>,
    /// Reads it, if it depends on no other key.
    pub(super) read: fn(&mut Table<'_>, &mut Profile),
}

/// `name value help [fields] shown`, and `=> type, field` for a key that depends on no other one.
macro_rules! keys {
    ($($name:literal $value:literal $help:literal [$($checked:literal)*]
        $shown:expr $(=> $read:expr, $($field:ident).+)?;)*) => {
        /// All keys, in the order of the help.
        pub const KEYS: &[ProfileKey] = &[$(ProfileKey {
            name: $name,
            value: $value,
            help: $help,
            fields: &[$($checked),*],
            shown: $shown,
            read: |_table, _profile| {
                $(if let Some(value) = _table.get($name, $read) {
                    _profile.$($field).+ = value;
                })?
            },
        },)*];
    };
}

keys! {
    "preset" "NAME" "Start from a preset, with a as the subscriber: lte, starlink, dsl, wifi-bad, geo" []
        |_| None;
    "a-to-b" "KEY=VALUE,..." "Keys for this direction only, such as rate=5mbit,loss=2%" []
        |_| None;
    "b-to-a" "KEY=VALUE,..." "Keys for the other direction only" []
        |_| None;
    "delay" "TIME" "Delay of each packet" ["delay"]
        |of| (!of.delay.base.is_zero()).then(|| time(of.delay.base)) => duration, delay.base;
    "jitter" "TIME" "Variation of the delay" ["delay.jitter"]
        |of| jitter(of).map(|(width, _)| time(width));
    "distribution" "NAME" "Distribution of the jitter: uniform, normal, pareto" []
        |of| jitter(of)?.1.map(str::to_owned);
    "pareto-shape" "N" "Tail exponent of the Pareto distribution" ["delay.shape"]
        |of| if let Jitter::Pareto { shape, .. } = of.delay.jitter { Some(shape.to_string()) } else { None };
    "delay-table" "FILE" "A file of measured delays, one per line" []
        |of| match &of.delay.jitter { Jitter::Table(of) => Some(format!("{} values", of.len())), _ => None };
    "correlation" "SHARE" "Correlation of the jitter with that of the previous packet" ["delay.correlation"]
        |of| percent_above_0(of.delay.correlation) => share, delay.correlation;
    "keep-order" "on|off" "Keep the order of packets despite jitter (default: on)" []
        |of| (!of.delay.keep_order).then(|| "false".to_owned()) => boolean, delay.keep_order;
    "loss" "SHARE" "Share of lost packets" ["loss.share"]
        |of| match of.loss {
            Loss::Random { share } | Loss::Bursts { share, .. } => Some(percent(share)),
            _ => None,
        };
    "loss-burst" "N" "Mean number of packets lost in a row" ["loss.length"]
        |of| if let Loss::Bursts { length, .. } = of.loss { Some(length.to_string()) } else { None };
    "loss-pattern" "FILE" "A file that marks each packet as lost or not" []
        |of| match &of.loss {
            Loss::Pattern(of) => Some(format!("{} of {} packets", of.lost(), of.len())),
            _ => None,
        };
    "ge-p" "SHARE" "Gilbert-Elliott: probability to go from good to bad" ["loss.p" "loss.share"]
        |of| Some(percent(two_states(of)?.to_bad));
    "ge-r" "SHARE" "Gilbert-Elliott: probability to go from bad to good" ["loss.r"]
        |of| Some(percent(two_states(of)?.to_good));
    "ge-loss-bad" "SHARE" "Gilbert-Elliott: loss in the bad state (default: 100%)" ["loss.1-h"]
        |of| Some(percent(two_states(of)?.loss_bad));
    "ge-loss-good" "SHARE" "Gilbert-Elliott: loss in the good state" ["loss.1-k"]
        |of| Some(percent(two_states(of)?.loss_good));
    "mark-loss" "on|off" "Mark ECN packets instead of losing them" []
        |of| true_if(of.mark_loss) => boolean, mark_loss;
    "duplicate" "SHARE" "Share of duplicated packets" ["duplicate"]
        |of| percent_above_0(of.duplicate) => share, duplicate;
    "corrupt" "SHARE" "Share of packets with one flipped bit" ["corrupt.share"]
        |of| if let Corrupt::Packets { share } = of.corrupt { Some(percent(share)) } else { None };
    "bit-errors" "N" "Bit error rate" ["corrupt.rate"]
        |of| if let Corrupt::Bits { rate } = of.corrupt { Some(rate.to_string()) } else { None };
    "reorder" "SHARE" "Share of reordered packets" ["reorder.share"]
        |of| Some(percent(of.reorder?.share));
    "reorder-by" "N" "Number of packets that overtake each reordered packet" ["reorder.by"]
        |of| Some(of.reorder?.by.to_string());
    "reorder-within" "TIME" "Maximum time a reordered packet is held back" ["reorder.within"]
        |of| Some(time(of.reorder?.within));
    "rate" "RATE" "Rate of the link" ["rate"]
        |of| if let Rate::Fixed(rate) = of.rate { Some(rate.to_string()) } else { None };
    "trace" "FILE" "A file of transmission opportunities (Mahimahi's format)" ["steps.rate"]
        |of| matches!(of.rate, Rate::Trace(_)).then(|| "a trace".to_owned());
    "steps" "FILE" "A file of steps: time, rate, delay and loss" ["steps.rate"]
        |of| of.steps.as_ref().map(|steps| format!("{} steps", steps.as_slice().len()));
    "overhead" "BYTES" "Extra bytes per packet: ethernet, adsl, or a number" ["overhead.bytes"]
        |of| (of.overhead != Overhead::NONE).then(|| of.overhead.bytes.to_string());
    "overhead-min" "BYTES" "Minimum bytes per packet" []
        |of| (of.overhead.min > 0).then(|| of.overhead.min.to_string())
        => integer(0..=u16::MAX), overhead.min;
    "atm" "on|off" "Send packets as ATM cells" []
        |of| true_if(of.overhead.atm) => boolean, overhead.atm;
    "queue" "NAME" "Queue discipline: drop-tail, codel, fq-codel" ["queue.discipline"]
        |of| codel(of).map(|_| if fq_codel(of).is_some() { "fq-codel" } else { "codel" }.to_owned());
    "queue-limit" "LIMIT" "Queue limit: 1000 (packets), 64KiB or 50ms" ["queue.limit"]
        |of| (of.queue.limit != QueueLimit::default()).then(|| limit_text(of.queue.limit))
        => queue_limit, queue.limit;
    "ecn" "on|off" "Let codel and fq-codel mark ECN packets instead of dropping them" ["queue.ecn"]
        |of| true_if(of.queue.ecn) => boolean, queue.ecn;
    "codel-target" "TIME" "Acceptable standing queue delay" ["queue.target"]
        |of| Some(time(codel(of)?.target));
    "codel-interval" "TIME" "Time the delay may exceed the target" ["queue.interval" "queue.target"]
        |of| Some(time(codel(of)?.interval));
    "fq-flows" "N" "Number of flow queues" ["queue.flows"]
        |of| Some(fq_codel(of)?.flows.to_string());
    "fq-quantum" "BYTES" "Bytes a flow may send before the next flow's turn" ["queue.quantum"]
        |of| Some(fq_codel(of)?.quantum.to_string());
    "outage" "TIMES" "Outages: BEGIN/LENGTH[/PERIOD], joined by +" ["outages" "outages.lasts" "outages.every"]
        |of| (!of.outages.is_empty()).then(|| of.outages.iter().map(outage).collect::<Vec<_>>().join("+"));
    "limit-packets" "N" "Maximum number of packets in the link" ["limits.packets"]
        |of| limits(of).map(|limits| limits.packets.to_string()) => integer(1..=usize::MAX), limits.packets;
    "limit-bytes" "SIZE" "Maximum memory for these packets" ["limits.bytes"]
        |of| limits(of).map(|limits| limits.bytes.to_string()) => bytes, limits.bytes;
}

/// The keys that make this profile out of a perfect link; a file is shown as what it holds.
pub fn to_json(profile: &Profile) -> serde_json::Map<String, serde_json::Value> {
    let one = |key: &ProfileKey| Some((key.name.to_owned(), (key.shown)(profile)?.into()));
    KEYS.iter().filter_map(one).collect()
}

/// What [`to_json`] makes.
pub(super) fn schema(_: &mut SchemaGenerator) -> Schema {
    let one = |key: &ProfileKey| {
        (key.name.to_owned(), json!({ "type": "string", "description": key.help }))
    };
    let is_shown = |key: &&ProfileKey| !["preset", "a-to-b", "b-to-a"].contains(&key.name);
    let keys: serde_json::Map<_, _> = KEYS.iter().filter(is_shown).map(one).collect();
    json_schema!({ "type": "object", "properties": keys })
}

/// The body of a request that changes a link.
pub fn body(_: &mut SchemaGenerator) -> Schema {
    keys(KEYS.iter().map(|key| (key.name, key.value, key.help)), &[])
}

fn true_if(on: bool) -> Option<String> {
    on.then(|| "true".to_owned())
}

fn outage(outage: &Outage) -> String {
    let every = outage.every.map_or_else(String::new, |every| format!("/{}", time(every)));
    format!("{}/{}{every}", time(outage.at), time(outage.lasts))
}

fn two_states(profile: &Profile) -> Option<&GilbertElliott> {
    if let Loss::GilbertElliott(model) = &profile.loss { Some(model) } else { None }
}

/// The width of the jitter, and the distribution if it is not uniform.
fn jitter(profile: &Profile) -> Option<(Duration, Option<&'static str>)> {
    match profile.delay.jitter {
        Jitter::None | Jitter::Table(_) => None,
        Jitter::Uniform { width } => Some((width, None)),
        Jitter::Normal { deviation } => Some((deviation, Some("normal"))),
        Jitter::Pareto { mean, .. } => Some((mean, Some("pareto"))),
    }
}

fn codel(profile: &Profile) -> Option<CoDel> {
    match profile.queue.discipline {
        Discipline::DropTail => None,
        Discipline::CoDel(codel) => Some(codel),
        Discipline::FqCoDel(flows) => Some(flows.codel),
    }
}

fn fq_codel(profile: &Profile) -> Option<FqCoDel> {
    if let Discipline::FqCoDel(flows) = profile.queue.discipline { Some(flows) } else { None }
}

fn limits(profile: &Profile) -> Option<Limits> {
    (profile.limits != Limits::default()).then_some(profile.limits)
}

fn limit_text(limit: QueueLimit) -> String {
    match limit {
        QueueLimit::Packets(packets) => packets.to_string(),
        QueueLimit::Bytes(bytes) => format!("{bytes}B"),
        QueueLimit::Time(limit) => time(limit),
    }
}

/// `1000` packets, `"64KiB"`, `"50ms"`.
fn queue_limit(value: &Value<'_>) -> Result<QueueLimit, Wrong> {
    let packets = integer(1..=u32::MAX);
    let Some(text) = value.as_text() else { return packets(value).map(QueueLimit::Packets) };
    if matches!(value.kind, Kind::Word(_)) && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return packets(value).map(QueueLimit::Packets);
    }
    if let Ok(time) = units::parse_duration(text) {
        return Ok(QueueLimit::Time(time));
    }
    let has_unit = text.ends_with(['B', 'b']);
    match units::parse_size(text) {
        Ok(bytes) if has_unit => Ok(QueueLimit::Bytes(bytes)),
        _ => Err(Wrong::new(format_args!("cannot be `{text}`"))
            .help("a number of packets (1000), bytes (\"64KiB\") or time (\"50ms\")")),
    }
}

fn bytes(value: &Value<'_>) -> Result<usize, Wrong> {
    usize::try_from(size(value)?).map_err(|_| Wrong::new("is too large"))
}

/// A time with the largest unit of which it is a whole number.
fn time(time: Duration) -> String {
    let nanos = time.as_nanos();
    let units = [(1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "us"), (1, "ns")];
    let (size, unit) =
        *units.iter().find(|(size, _)| nanos.is_multiple_of(*size)).unwrap_or(&(1, "ns"));
    format!("{}{unit}", nanos / size)
}

fn percent(share: f64) -> String {
    units::share(share).to_string()
}

fn percent_above_0(share: f64) -> Option<String> {
    (share > 0.0).then(|| percent(share))
}
