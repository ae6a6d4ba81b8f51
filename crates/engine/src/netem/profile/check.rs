//! Which profiles can be.

use alloc::format;
use alloc::string::{String, ToString};
use core::time::Duration;

use adit_packet::units::Bitrate;

use super::{
    CoDel, Corrupt, Delay, Discipline, FqCoDel, Jitter, Limits, Loss, Outage, Profile,
    ProfileError, Queue, QueueLimit, Rate, Reorder,
};

type Result = core::result::Result<(), ProfileError>;

impl Profile {
    /// Each packet looks through all of them.
    pub const OUTAGES_MAX: usize = 256;

    /// Checks every field.
    ///
    /// # Errors
    ///
    /// The first field that cannot be as it is.
    pub fn check(&self) -> Result {
        if self.outages.len() > Self::OUTAGES_MAX {
            let problem =
                format!("can have at most {}, not {}", Self::OUTAGES_MAX, self.outages.len());
            return Err(ProfileError { field: "outages", problem });
        }
        self.outages.iter().try_for_each(check_outage)?;
        match self.corrupt {
            Corrupt::None => {}
            Corrupt::Packets { share: chance } => share("corrupt.share", chance)?,
            Corrupt::Bits { rate } => {
                let text = || format!("a bit error rate must be from 0 to 0.1, not {rate}");
                ensure("corrupt.rate", (0.0..=0.1).contains(&rate), text)?;
            }
        }
        self.loss.check()?;
        share("duplicate", self.duplicate)?;
        if let Rate::Fixed(rate) = self.rate {
            let text = || format!("must be from 1bit to {}, not {rate}", Bitrate::MAX);
            ensure("rate", rate > Bitrate::default() && rate <= Bitrate::MAX, text)?;
        }
        let both = matches!(self.rate, Rate::Trace(_)) && self.has_step_rates();
        let text = || "steps cannot change the rate of a trace".to_string();
        ensure("steps.rate", !both, text)?;
        let text = || "must be from -1000 to 1000 bytes".to_string();
        ensure("overhead.bytes", (-1000..=1000).contains(&self.overhead.bytes), text)?;
        self.queue.check(self.has_rate())?;
        check_delay(&self.delay)?;
        self.reorder.as_ref().map_or(Ok(()), check_reorder)?;
        check_limits(&self.limits)
    }

    /// Whether packets may wait for the line.
    #[must_use]
    pub fn has_rate(&self) -> bool {
        self.rate != Rate::Unlimited || self.has_step_rates()
    }

    fn has_step_rates(&self) -> bool {
        self.steps.as_ref().is_some_and(|steps| steps.has_rate())
    }
}

fn check_outage(outage: &Outage) -> Result {
    let text = || "an outage must last longer than 0".to_string();
    ensure("outages.lasts", !outage.lasts.is_zero(), text)?;
    let text = || format!("must be longer than the outage, which lasts {:?}", outage.lasts);
    ensure("outages.every", outage.every.is_none_or(|every| every > outage.lasts), text)
}

impl Loss {
    fn check(&self) -> Result {
        match self {
            Self::None | Self::Pattern(_) => Ok(()),
            &Self::Random { share: chance } => share("loss.share", chance),
            &Self::Bursts { share: chance, length } => {
                share("loss.share", chance)?;
                let text = || format!("a burst must be 1 to 1000000 packets, not {length}");
                ensure("loss.length", (1.0..=1e6).contains(&length), text)?;
                let most = length / (length + 1.0);
                let text = || {
                    format!("bursts of {length} packets cannot lose a share of more than {most:.3}")
                };
                ensure("loss.share", chance <= most || chance >= 1.0, text)
            }
            Self::GilbertElliott(model) => {
                share("loss.p", model.to_bad)?;
                share("loss.r", model.to_good)?;
                share("loss.1-h", model.loss_bad)?;
                share("loss.1-k", model.loss_good)
            }
        }
    }
}

impl Queue {
    fn check(&self, has_rate: bool) -> Result {
        let (field, fits) = match self.limit {
            QueueLimit::Packets(packets) => ("queue.limit", packets > 0),
            QueueLimit::Bytes(bytes) => ("queue.limit", bytes > 0),
            QueueLimit::Time(time) => ("queue.limit", !time.is_zero() && time <= Delay::MAX),
        };
        ensure(field, fits, || "must be more than 0 and at most 1 hour".to_string())?;
        match self.discipline {
            Discipline::DropTail => {
                let text = || "drop-tail cannot mark packets: use codel or fq_codel".to_string();
                return ensure("queue.ecn", !self.ecn, text);
            }
            Discipline::CoDel(codel) => check_codel(&codel)?,
            Discipline::FqCoDel(fq) => fq.check()?,
        }
        let text = || "a queue has no effect without a rate: set a rate".to_string();
        ensure("queue.discipline", has_rate, text)
    }
}

fn check_codel(codel: &CoDel) -> Result {
    at_most_an_hour("queue.interval", codel.interval)?;
    let text = || format!("must be more than 0 and less than the interval of {:?}", codel.interval);
    ensure("queue.target", !codel.target.is_zero() && codel.target < codel.interval, text)
}

impl FqCoDel {
    /// Each flow takes 100 bytes.
    pub const FLOWS_MAX: u32 = 65_536;

    fn check(&self) -> Result {
        check_codel(&self.codel)?;
        let text = || format!("must be from 1 to {}, not {}", Self::FLOWS_MAX, self.flows);
        ensure("queue.flows", (1..=Self::FLOWS_MAX).contains(&self.flows), text)?;
        // A packet of 64 KiB must not take thousands of turns.
        let text = || format!("must be from 256 to 1000000 bytes, not {}", self.quantum);
        ensure("queue.quantum", (256..=1_000_000).contains(&self.quantum), text)
    }
}

fn check_delay(delay: &Delay) -> Result {
    at_most_an_hour("delay", delay.base)?;
    match delay.jitter {
        Jitter::None | Jitter::Table(_) => {}
        Jitter::Uniform { width: jitter } | Jitter::Normal { deviation: jitter } => {
            at_most_an_hour("delay.jitter", jitter)?;
        }
        Jitter::Pareto { mean, shape } => {
            at_most_an_hour("delay.jitter", mean)?;
            let text = || format!("must be more than 1 and at most 100, not {shape}");
            ensure("delay.shape", shape > 1.0 && shape <= 100.0, text)?;
        }
    }
    let text = || format!("must be at least 0 and less than 1, not {}", delay.correlation);
    ensure("delay.correlation", (0.0..1.0).contains(&delay.correlation), text)
}

fn check_reorder(reorder: &Reorder) -> Result {
    share("reorder.share", reorder.share)?;
    let text = || format!("must be from 1 to {} packets, not {}", Reorder::BY_MAX, reorder.by);
    ensure("reorder.by", (1..=Reorder::BY_MAX).contains(&reorder.by), text)?;
    at_most_an_hour("reorder.within", reorder.within)
}

fn check_limits(limits: &Limits) -> Result {
    let text = || format!("must be from 1 to {}, not {}", Limits::PACKETS_MAX, limits.packets);
    ensure("limits.packets", (1..=Limits::PACKETS_MAX).contains(&limits.packets), text)?;
    let range = Limits::BYTES_MIN..=Limits::BYTES_MAX;
    let text =
        || format!("must be from {} to {}, not {}", range.start(), range.end(), limits.bytes);
    ensure("limits.bytes", range.contains(&limits.bytes), text)
}

fn share(field: &'static str, value: f64) -> Result {
    let text = || format!("a share must be from 0 to 1, not {value}");
    ensure(field, (0.0..=1.0).contains(&value), text)
}

fn at_most_an_hour(field: &'static str, value: Duration) -> Result {
    ensure(field, value <= Delay::MAX, || format!("must be at most 1 hour, not {value:?}"))
}

fn ensure(field: &'static str, holds: bool, problem: impl FnOnce() -> String) -> Result {
    if holds { Ok(()) } else { Err(ProfileError { field, problem: problem() }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netem::{GilbertElliott, Jitter, Opportunities, Overhead, Steps};
    use alloc::sync::Arc;
    use alloc::vec;

    fn field(profile: &Profile) -> &'static str {
        profile.check().map_or_else(|error| error.field, |()| "")
    }

    fn check_fields(cases: &[(Profile, &str)]) {
        for (profile, name) in cases {
            assert_eq!(field(profile), *name);
        }
    }

    const SECOND: Duration = Duration::from_secs(1);
    const HOURS: Duration = Duration::from_secs(7200);

    #[test]
    fn each_effect_is_checked_by_its_field() {
        let plain = Profile::default;
        let loss = |loss| Profile { loss, ..plain() };
        let outage = |lasts, every| Profile {
            outages: vec![Outage { at: Duration::ZERO, lasts, every }],
            ..plain()
        };
        let reorder = |share, by| Profile {
            reorder: Some(Reorder { share, by, within: Duration::ZERO }),
            ..plain()
        };
        let model = GilbertElliott { to_bad: 0.0, to_good: 2.0, loss_bad: 0.0, loss_good: 0.0 };
        let many = vec![Outage { at: SECOND, lasts: SECOND, every: None }; 257];
        check_fields(&[
            (plain(), ""),
            (Profile { outages: many, ..plain() }, "outages"),
            (outage(Duration::ZERO, None), "outages.lasts"),
            (outage(SECOND, Some(SECOND)), "outages.every"),
            (Profile { corrupt: Corrupt::Packets { share: -0.1 }, ..plain() }, "corrupt.share"),
            (Profile { corrupt: Corrupt::Bits { rate: 0.2 }, ..plain() }, "corrupt.rate"),
            (loss(Loss::Random { share: f64::NAN }), "loss.share"),
            (loss(Loss::Bursts { share: 0.1, length: 0.5 }), "loss.length"),
            (loss(Loss::Bursts { share: 0.6, length: 1.0 }), "loss.share"),
            (loss(Loss::GilbertElliott(model)), "loss.r"),
            (Profile { duplicate: 1.1, ..plain() }, "duplicate"),
            (reorder(2.0, 1), "reorder.share"),
            (reorder(0.5, 0), "reorder.by"),
        ]);
    }

    #[test]
    fn rate_and_queue_are_checked_by_their_fields() {
        let plain = Profile::default;
        let rate = Rate::Fixed(Bitrate::from_bits_per_second(1_000_000));
        let queue = |queue| Profile { queue, rate: rate.clone(), ..plain() };
        let codel = CoDel { target: SECOND, interval: SECOND };
        let discipline = Discipline::FqCoDel(FqCoDel::default());
        let without_rate = Queue { discipline, ..Queue::default() };
        let trace = Rate::Trace(Arc::new(Opportunities::parse("1").unwrap()));
        let steps = Some(Arc::new(Steps::parse("time,rate\n0,1mbit").unwrap()));
        let overhead = Overhead { bytes: 2000, ..Overhead::NONE };
        let discipline = Discipline::CoDel(codel);
        check_fields(&[
            (Profile { rate: Rate::Fixed(Bitrate::default()), ..plain() }, "rate"),
            (Profile { rate: trace, steps, ..plain() }, "steps.rate"),
            (Profile { overhead, ..plain() }, "overhead.bytes"),
            (queue(Queue { limit: QueueLimit::Packets(0), ..Queue::default() }), "queue.limit"),
            (queue(Queue { ecn: true, ..Queue::default() }), "queue.ecn"),
            (queue(Queue { discipline, ..Queue::default() }), "queue.target"),
            (Profile { queue: without_rate, ..plain() }, "queue.discipline"),
        ]);
    }

    #[test]
    fn delay_and_limits_are_checked_by_their_fields() {
        let plain = Profile::default;
        let delay = |delay| Profile { delay, ..plain() };
        let jitter = |jitter| delay(Delay { jitter, ..Delay::default() });
        let limits = |packets, bytes| Profile { limits: Limits { packets, bytes }, ..plain() };
        check_fields(&[
            (delay(Delay::constant(HOURS)), "delay"),
            (jitter(Jitter::Uniform { width: HOURS }), "delay.jitter"),
            (jitter(Jitter::Pareto { mean: SECOND, shape: 1.0 }), "delay.shape"),
            (delay(Delay { correlation: 1.0, ..Delay::default() }), "delay.correlation"),
            (limits(0, Limits::BYTES_MIN), "limits.packets"),
            (limits(1, 10), "limits.bytes"),
        ]);
    }
}
