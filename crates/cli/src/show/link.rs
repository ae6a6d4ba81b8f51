//! An emulated link for people: its settings and what has happened.

use crate::output::{Output, Tone, clean};
use adit_service::netem::report::Links;
use adit_service::netem::report::{LinkReport, LinkStatus, Share, Times};
use adit_service::netem::words;
use std::time::Duration;

/// A link.
pub(crate) fn status(output: &Output, status: &LinkStatus) -> String {
    let names: Vec<String> = status
        .ports
        .iter()
        .map(|end| match &end.gone {
            None => clean(&end.name),
            Some(why) => format!("{} (gone: {})", clean(&end.name), clean(why)),
        })
        .collect();
    let mut text = vec![format!(
        "{} (pid {}): {}, seed {}",
        output.paint(Tone::Name, clean(&status.name)),
        status.pid,
        names.join(" and "),
        status.seed
    )];
    text.extend(status.sandbox.as_ref().map(|sandbox| format!("sandbox: {sandbox}")));
    let name = |at: usize| status.ports.get(at).map_or(String::new(), |end| clean(&end.name));
    text.extend(lines(&status.a_to_b, &format!("{} to {}", name(0), name(1))));
    text.extend(lines(&status.b_to_a, &format!("{} to {}", name(1), name(0))));
    text.join("\n")
}

/// The link of a port of a switch.
pub(crate) fn of_port(port: &str, links: &Links) -> Vec<String> {
    let mut text = lines(&links.ingress, &format!("link of {port}, in"));
    text.extend(lines(&links.egress, &format!("link of {port}, out")));
    text
}

/// A direction of a link as lines of text, `name` (a direction, a port) on the first: a block for each of
/// its settings.
pub(crate) fn lines(report: &LinkReport, name: &str) -> Vec<String> {
    let count = report.settings.len();
    if count == 0 {
        return block(report, name);
    }
    let numbered = report.settings.iter().zip(1..);
    let one = |(report, number)| block(report, &format!("{name}, setting {number} of {count}"));
    numbered.flat_map(one).collect()
}

fn block(report: &LinkReport, name: &str) -> Vec<String> {
    let asked =
        if report.asked.is_empty() { "a perfect link".to_owned() } else { report.asked.join("; ") };
    let counts = &report.counts;
    let mut lines = vec![format!("{name}: {asked}")];
    let cut = match counts.get("cut") {
        0 => String::new(),
        count => format!(", {count} cut up"),
    };
    lines.push(format!(
        "  packets    {} in{cut}, {} out, {} held, in {:.3} s",
        counts.get("received"),
        counts.get("delivered"),
        counts.get("held"),
        report.seconds
    ));
    let shares = [
        ("lost", report.loss),
        ("corrupted", report.corrupted),
        ("twice", report.duplicates),
        ("reordered", report.reordered),
    ];
    for (name, share) in shares {
        lines.extend(share.map(|share| format!("  {name:<10} {}", share_text(share))));
    }
    let drops = counts.drops().map(|(count, why)| format!("{count} {why}")).collect::<Vec<_>>();
    if !drops.is_empty() {
        lines.push(format!("  dropped    {}", drops.join(", ")));
    }
    let marks = counts.get("lost_marked") + counts.get("queue_marked");
    if marks > 0 {
        lines.push(format!("  marked     {marks} with ECN"));
    }
    lines.extend(times_line(report.delay, "delay"));
    lines.extend(report.waiting.and_then(|times| times_line(times, "waiting")));
    lines.extend(times_line(report.late, "late"));
    if let Some(bits) = report.line_bits_per_second {
        lines.push(format!("  line       {} while it was busy", rate(bits)));
    }
    lines.push(format!("  rate       {} out", rate(report.bits_per_second)));
    lines.push(format!("  decisions  {}", report.decisions));
    lines
}

fn share_text(share: Share) -> String {
    format!(
        "{} of {}: {}, with 99.9 % confidence {} to {}",
        share.hits,
        share.of,
        words::share(share.share),
        words::share(share.low),
        words::share(share.high)
    )
}

fn times_line(times: Times, name: &str) -> Option<String> {
    let ms = |ms: f64| words::time(Duration::from_secs_f64(ms / 1e3));
    (times.count > 0).then(|| {
        format!(
            "  {name:<10} p50 {}, p90 {}, p99 {}, p99.9 {}, {} to {}",
            ms(times.p50_ms),
            ms(times.p90_ms),
            ms(times.p99_ms),
            ms(times.p999_ms),
            ms(times.min_ms),
            ms(times.max_ms)
        )
    })
}

/// Bits a second with three decimals of its unit.
#[expect(clippy::cast_precision_loss, reason = "53 bits are enough for a rate")]
pub(crate) fn rate(bits: u64) -> String {
    match bits as f64 {
        bits if bits >= 1e9 => format!("{:.3} Gbit/s", bits / 1e9),
        bits if bits >= 1e6 => format!("{:.3} Mbit/s", bits / 1e6),
        bits if bits >= 1e3 => format!("{:.3} kbit/s", bits / 1e3),
        bits => format!("{bits:.0} bit/s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_have_their_unit() {
        assert_eq!(rate(999), "999 bit/s");
        assert_eq!(rate(99_999_900), "100.000 Mbit/s");
        assert_eq!(rate(2_500_000_000), "2.500 Gbit/s");
    }
}
