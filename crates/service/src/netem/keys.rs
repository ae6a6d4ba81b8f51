//! The keys of a profile as they are told.

use adit_engine::netem::{
    CoDel, Corrupt, Delay, Discipline, Jitter, Loss, Outage, Overhead, Profile, Queue, QueueLimit,
    Rate,
};
use std::time::Duration;

/// The keys that make this profile out of a perfect link; a file is told of by what it holds.
pub fn to_json(profile: &Profile) -> serde_json::Map<String, serde_json::Value> {
    let default = Profile::default();
    let mut keys: Vec<(&str, String)> = Vec::new();
    if !profile.outages.is_empty() {
        let one = |outage: &Outage| {
            let every = outage.every.map_or(String::new(), |every| format!("/{}", time(every)));
            format!("{}/{}{every}", time(outage.at), time(outage.lasts))
        };
        keys.push(("outage", profile.outages.iter().map(one).collect::<Vec<_>>().join("+")));
    }
    match profile.corrupt {
        Corrupt::None => {}
        Corrupt::Packets { share } => keys.push(("corrupt", percent(share))),
        Corrupt::Bits { rate } => keys.push(("bit-errors", rate.to_string())),
    }
    match &profile.loss {
        Loss::None => {}
        Loss::Random { share } => keys.push(("loss", percent(*share))),
        Loss::Bursts { share, length } => {
            keys.extend([("loss", percent(*share)), ("loss-burst", length.to_string())]);
        }
        Loss::GilbertElliott(model) => keys.extend([
            ("ge-p", percent(model.to_bad)),
            ("ge-r", percent(model.to_good)),
            ("ge-loss-bad", percent(model.loss_bad)),
            ("ge-loss-good", percent(model.loss_good)),
        ]),
        Loss::Pattern(pattern) => {
            keys.push(("loss-pattern", format!("{} of {} packets", pattern.lost(), pattern.len())));
        }
    }
    keys.extend(profile.mark_loss.then(|| ("mark-loss", "true".to_owned())));
    keys.extend((profile.duplicate > 0.0).then(|| ("duplicate", percent(profile.duplicate))));
    match &profile.rate {
        Rate::Unlimited => {}
        Rate::Fixed(rate) => keys.push(("rate", rate.to_string())),
        Rate::Trace(_) => keys.push(("trace", "a trace".to_owned())),
    }
    if let Some(steps) = &profile.steps {
        keys.push(("steps", format!("{} steps", steps.as_slice().len())));
    }
    if profile.overhead != default.overhead {
        let Overhead { bytes, min, atm } = profile.overhead;
        keys.push(("overhead", bytes.to_string()));
        keys.extend((min > 0).then(|| ("overhead-min", min.to_string())));
        keys.extend(atm.then(|| ("atm", "true".to_owned())));
    }
    queue_keys(&profile.queue, &mut keys);
    delay_keys(&profile.delay, &mut keys);
    if let Some(reorder) = profile.reorder {
        keys.extend([
            ("reorder", percent(reorder.share)),
            ("reorder-by", reorder.by.to_string()),
            ("reorder-within", time(reorder.within)),
        ]);
    }
    if profile.limits != default.limits {
        keys.push(("limit-packets", profile.limits.packets.to_string()));
        keys.push(("limit-bytes", profile.limits.bytes.to_string()));
    }
    keys.into_iter().map(|(key, text)| (key.to_owned(), text.into())).collect()
}

fn queue_keys(queue: &Queue, keys: &mut Vec<(&str, String)>) {
    let codel = |codel: &CoDel| {
        [("codel-target", time(codel.target)), ("codel-interval", time(codel.interval))]
    };
    match &queue.discipline {
        Discipline::DropTail => {}
        Discipline::CoDel(of) => {
            keys.push(("queue", "codel".to_owned()));
            keys.extend(codel(of));
        }
        Discipline::FqCoDel(of) => {
            keys.push(("queue", "fq-codel".to_owned()));
            keys.extend(codel(&of.codel));
            keys.push(("fq-flows", of.flows.to_string()));
            keys.push(("fq-quantum", of.quantum.to_string()));
        }
    }
    if queue.limit != QueueLimit::default() {
        let limit = match queue.limit {
            QueueLimit::Packets(packets) => packets.to_string(),
            QueueLimit::Bytes(bytes) => format!("{bytes}B"),
            QueueLimit::Time(limit) => time(limit),
        };
        keys.push(("queue-limit", limit));
    }
    keys.extend(queue.ecn.then(|| ("ecn", "true".to_owned())));
}

fn delay_keys(delay: &Delay, keys: &mut Vec<(&str, String)>) {
    keys.extend((!delay.base.is_zero()).then(|| ("delay", time(delay.base))));
    match &delay.jitter {
        Jitter::None => {}
        Jitter::Uniform { width } => keys.push(("jitter", time(*width))),
        Jitter::Normal { deviation } => {
            keys.push(("jitter", time(*deviation)));
            keys.push(("distribution", "normal".to_owned()));
        }
        Jitter::Pareto { mean, shape } => {
            keys.push(("jitter", time(*mean)));
            keys.push(("distribution", "pareto".to_owned()));
            keys.push(("pareto-shape", shape.to_string()));
        }
        Jitter::Table(values) => keys.push(("delay-table", format!("{} values", values.len()))),
    }
    if delay.correlation > 0.0 {
        keys.push(("correlation", percent(delay.correlation)));
    }
    keys.extend((!delay.keep_order).then(|| ("keep-order", "false".to_owned())));
}

/// A time with the largest unit of which it is a whole number.
fn time(time: Duration) -> String {
    let nanos = time.as_nanos();
    let units = [(1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "us"), (1, "ns")];
    let (size, unit) =
        *units.iter().find(|(size, _)| nanos.is_multiple_of(*size)).unwrap_or(&(1, "ns"));
    format!("{}{unit}", nanos / size)
}

/// A share without the dust of binary fractions.
fn percent(share: f64) -> String {
    let text = format!("{:.9}", share * 100.0);
    format!("{}%", text.trim_end_matches('0').trim_end_matches('.'))
}
