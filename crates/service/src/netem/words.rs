//! Times, shares and profiles in words.

use adit_engine::netem::{
    Corrupt, Delay, Discipline, Jitter, Loss, Overhead, Profile, Queue, QueueLimit, Rate,
};
use adit_packet::units;
use std::time::Duration;

/// A time with three digits: `20 ms`, `1.25 s`, `28.1 us`.
pub fn time(time: Duration) -> String {
    let nanos = time.as_nanos();
    let (value, unit) = match nanos {
        0 => return "0".to_owned(),
        1..1_000 => return format!("{nanos} ns"),
        1_000..1_000_000 => (time.as_secs_f64() * 1e6, "us"),
        1_000_000..1_000_000_000 => (time.as_secs_f64() * 1e3, "ms"),
        _ => (time.as_secs_f64(), "s"),
    };
    format!("{} {unit}", units::rounded(value))
}

/// A share in percent: `1 %`, `0.012 %`.
pub fn share(share: f64) -> String {
    format!("{:#}", units::share(share))
}

/// What a profile asks for, an effect each in the order in which they apply; nothing for a perfect
/// link.
pub fn profile(profile: &Profile) -> Vec<String> {
    let mut words = Vec::new();
    for outage in &profile.outages {
        let again =
            outage.every.map_or_else(String::new, |every| format!(", every {}", time(every)));
        words.push(format!("outage of {} at {}{again}", time(outage.lasts), time(outage.at)));
    }
    match profile.corrupt {
        Corrupt::None => {}
        Corrupt::Packets { share } => {
            words.push(format!("a wrong bit in {} of packets", self::share(share)));
        }
        Corrupt::Bits { rate } => words.push(format!("bit error rate {}", units::rounded(rate))),
    }
    words.extend(loss(&profile.loss));
    if profile.mark_loss && profile.loss != Loss::None {
        words.push("ECN packets marked instead of lost".to_owned());
    }
    if profile.duplicate > 0.0 {
        words.push(format!("{} of packets twice", share(profile.duplicate)));
    }
    words.extend(rate(&profile.rate));
    words.extend(overhead(profile.overhead));
    if profile.rate != Rate::Unlimited || profile.queue.discipline != Discipline::DropTail {
        words.push(queue(profile.queue));
    }
    words.extend(delay(&profile.delay));
    if let Some(reorder) = profile.reorder {
        let (share, within) = (share(reorder.share), time(reorder.within));
        words.push(format!(
            "{share} of packets passed by {} later ones, within {within}",
            reorder.by
        ));
    }
    if let Some(steps) = &profile.steps {
        let again = steps
            .period()
            .map_or_else(String::new, |period| format!(", again after {}", time(period)));
        words.push(format!("{} steps of rate, delay and loss{again}", steps.as_slice().len()));
    }
    words
}

fn loss(loss: &Loss) -> Option<String> {
    Some(match loss {
        Loss::None => return None,
        Loss::Random { share } => format!("{} lost", self::share(*share)),
        Loss::Bursts { share, length } => {
            format!("{} lost in bursts of {}", self::share(*share), units::rounded(*length))
        }
        Loss::GilbertElliott(model) => format!(
            "{} lost: good to bad {}, bad to good {}; {} lost in the bad state, {} in the good state",
            share(model.share()),
            share(model.to_bad),
            share(model.to_good),
            share(model.loss_bad),
            share(model.loss_good)
        ),
        Loss::Pattern(pattern) => {
            format!("{} of {} lost by a pattern", pattern.lost(), pattern.len())
        }
    })
}

fn rate(rate: &Rate) -> Option<String> {
    Some(match rate {
        Rate::Unlimited => return None,
        Rate::Fixed(rate) => rate.to_string(),
        Rate::Trace(trace) => {
            format!("a trace of {}, {} in the mean", time(trace.period()), trace.mean_rate())
        }
    })
}

fn overhead(overhead: Overhead) -> Option<String> {
    if overhead == Overhead::NONE {
        return None;
    }
    let least =
        if overhead.min > 0 { format!(", {} at least", overhead.min) } else { String::new() };
    let cells = if overhead.atm { ", in ATM cells" } else { "" };
    Some(format!("overhead of {} bytes a packet{least}{cells}", overhead.bytes))
}

fn queue(queue: Queue) -> String {
    let limit = match queue.limit {
        QueueLimit::Packets(packets) => format!("{packets} packets"),
        QueueLimit::Bytes(bytes) => format!("{bytes} bytes"),
        QueueLimit::Time(limit) => time(limit),
    };
    let discipline = match queue.discipline {
        Discipline::DropTail => String::new(),
        Discipline::CoDel(codel) => {
            format!(", CoDel {} in {}", time(codel.target), time(codel.interval))
        }
        Discipline::FqCoDel(fq) => format!(
            ", FQ-CoDel {} in {}, {} flows",
            time(fq.codel.target),
            time(fq.codel.interval),
            fq.flows
        ),
    };
    format!("queue of {limit}{discipline}{}", if queue.ecn { ", ECN" } else { "" })
}

fn delay(delay: &Delay) -> Option<String> {
    if *delay == Delay::default() {
        return None;
    }
    let base = time(delay.base);
    let mut words = match &delay.jitter {
        Jitter::None => format!("delay {base}"),
        Jitter::Uniform { width } => format!("delay {base} +/- {}", time(*width)),
        Jitter::Normal { deviation } => {
            format!("delay {base}, normal with a deviation of {}", time(*deviation))
        }
        Jitter::Pareto { mean, shape } => {
            format!(
                "delay {base} and a Pareto tail of mean {}, shape {}",
                time(*mean),
                units::rounded(*shape)
            )
        }
        Jitter::Table(table) => format!("delay {base} and a table of {} values", table.len()),
    };
    if delay.jitter != Jitter::None {
        if delay.correlation > 0.0 {
            words.push_str(&format!(", correlated by {}", units::rounded(delay.correlation)));
        }
        words.push_str(if delay.keep_order { ", in order" } else { ", reordering" });
    }
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use adit_engine::netem::Preset;

    #[test]
    fn numbers_are_short() {
        let nanos = |nanos| time(Duration::from_nanos(nanos));
        assert_eq!(nanos(0), "0");
        assert_eq!(nanos(999), "999 ns");
        assert_eq!(nanos(28_123), "28.12 us");
        assert_eq!(nanos(20_000_000), "20 ms");
        assert_eq!(nanos(1_250_000_000), "1.25 s");
        assert_eq!(share(0.01), "1 %");
        assert_eq!(share(0.000_012), "1.20e-3 %");
        assert_eq!(share(0.0), "0 %");
    }

    #[test]
    fn a_profile_in_words() {
        assert_eq!(profile(&Profile::default()), [""; 0]);
        let geo = Preset::named("geo").unwrap().down;
        assert_eq!(
            profile(&geo),
            [
                "0.1 % lost",
                "18.75mbit",
                "queue of 300 ms",
                "delay 289 ms and a Pareto tail of mean 25.5 ms, shape 6, correlated by 0.9, in order",
            ]
        );
        for name in Preset::NAMES {
            assert!(profile(&Preset::named(name).unwrap().up).len() >= 3, "{name}");
        }
    }
}
