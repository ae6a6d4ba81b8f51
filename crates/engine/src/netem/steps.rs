//! A link whose rate, delay and loss change at given moments.

use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::time::Duration;

use super::file::{self, ParseError, quoted};
use super::table::DelayTable;
use adit_packet::units::Bitrate;
use adit_packet::units::{UnitError, parse_duration, parse_share};

/// What holds from a moment on, until the next step. What a step leaves out is as in the profile.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Step {
    /// From when on, counted from the link's start (or from when it was set).
    pub at: Duration,
    /// The rate; 0 stops the line, and what waits goes on waiting.
    pub rate: Option<Bitrate>,
    /// The delay in place of [`Delay::base`](super::Delay::base).
    pub delay: Option<Duration>,
    /// The share of packets lost, each by itself, in place of the profile's loss.
    pub loss: Option<f64>,
}

/// Steps in order of time, once or again and again.
#[derive(Clone, Debug, PartialEq)]
pub struct Steps {
    /// At least one, each later than the one before.
    steps: Vec<Step>,
    /// After how long it starts again, later than the last step.
    period: Option<Duration>,
}

/// The step that holds at a moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now<'a> {
    /// `None` before the first one.
    pub(super) step: Option<&'a Step>,
    /// When the next one begins, in nanoseconds from the start; `None`: never.
    pub(super) until: Option<u64>,
}

impl Steps {
    /// An hour of ten a second, and more.
    pub const LEN_MAX: usize = 1 << 16;
    /// The latest step and the longest period: 24 hours.
    pub const TIME_MAX: Duration = Duration::from_secs(86_400);

    /// These steps, repeated after `period`.
    ///
    /// # Errors
    ///
    /// If there are none or more than [`Self::LEN_MAX`], one is not later than the one before, or a
    /// value is out of range. The line is the number of the step, from 1.
    pub fn new(steps: Vec<Step>, period: Option<Duration>) -> Result<Self, ParseError> {
        if steps.len() > Self::LEN_MAX {
            return Err(ParseError::whole(format!("more than {} steps", Self::LEN_MAX)));
        }
        let mut before = None;
        for (number, step) in (1..).zip(&steps) {
            check(step, before).map_err(|problem| ParseError::new(number, problem))?;
            before = Some(step.at);
        }
        let Some(last) = before else { return Err(ParseError::whole("no steps")) };
        if period.is_some_and(|period| period <= last || period > Self::TIME_MAX) {
            return Err(ParseError::whole(
                "the repeat time must be after the last step and within 24 hours",
            ));
        }
        Ok(Self { steps, period })
    }

    /// Reads comma-separated values, a step a line, under a line with the names of the columns:
    /// `time` and any of `rate`, `delay` and `loss`. An empty value leaves that as in the profile.
    /// A last line `TIME,repeat` starts again from there.
    ///
    /// ```
    /// # use adit_engine::netem::Steps;
    /// let steps = Steps::parse("time,rate,loss\n0s,10mbit,\n5s,500kbit,2%\n15s,repeat\n")?;
    /// assert_eq!(steps.as_slice().len(), 2);
    /// # Ok::<(), adit_engine::netem::ParseError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The first line that is not so.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        file::check_len(text)?;
        let mut lines = file::lines(text);
        let (number, names) = lines.next().ok_or_else(|| ParseError::whole("no steps"))?;
        let columns = columns(number, names)?;
        let mut steps: Vec<Step> = Vec::new();
        let mut period = None;
        for (number, line) in lines {
            let error = |problem| ParseError::new(number, problem);
            if period.is_some() {
                return Err(error("no line may follow 'repeat'".into()));
            }
            if steps.len() == Self::LEN_MAX {
                return Err(error(format!("more than {} steps", Self::LEN_MAX)));
            }
            if let Some((time, _)) =
                line.split_once(',').filter(|(_, rest)| rest.trim() == "repeat")
            {
                let time = parse_duration(time);
                period = Some(time.map_err(|wrong| error(wrong.to_string()))?);
                continue;
            }
            let step = step(line, &columns).map_err(error)?;
            check(&step, steps.last().map(|step| step.at)).map_err(error)?;
            steps.push(step);
        }
        Self::new(steps, period)
    }

    /// The steps in order of time.
    #[must_use]
    pub fn as_slice(&self) -> &[Step] {
        &self.steps
    }

    /// After how long they start again.
    #[must_use]
    pub const fn period(&self) -> Option<Duration> {
        self.period
    }

    /// Whether any of them has a rate.
    pub(super) fn has_rate(&self) -> bool {
        self.steps.iter().any(|step| step.rate.is_some())
    }

    /// Whether any of them has a loss.
    pub(super) fn has_loss(&self) -> bool {
        self.steps.iter().any(|step| step.loss.is_some())
    }

    /// The shortest delay of any of them.
    pub(super) fn least_delay(&self) -> Option<Duration> {
        self.steps.iter().filter_map(|step| step.delay).min()
    }

    /// The step that holds `since` nanoseconds after the start.
    pub(super) fn at(&self, since: u64) -> Now<'_> {
        let period = self.period.map(nanos);
        let round = period.map_or(0, |period| since / period * period);
        let within = since - round;
        let next = self.steps.partition_point(|step| nanos(step.at) <= within);
        let step = match (next.checked_sub(1), period) {
            (Some(index), _) => self.steps.get(index),
            // Before the first step of a later round the last one still holds.
            (None, Some(_)) if round > 0 => self.steps.last(),
            (None, _) => None,
        };
        let until = match (self.steps.get(next), period) {
            (Some(step), _) => Some(round.saturating_add(nanos(step.at))),
            (None, Some(period)) => Some(round.saturating_add(period)),
            (None, None) => None,
        };
        Now { step, until }
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn check(step: &Step, before: Option<Duration>) -> Result<(), alloc::string::String> {
    if before.is_some_and(|before| step.at <= before) {
        return Err("the time must be later than that of the step before".into());
    }
    if step.at > Steps::TIME_MAX {
        return Err("the time must be within 24 hours".into());
    }
    if step.rate.is_some_and(|rate| rate > Bitrate::MAX) {
        return Err(format!("the rate must be at most {}", Bitrate::MAX));
    }
    if step.delay.is_some_and(|delay| delay > DelayTable::VALUE_MAX) {
        return Err("the delay must be at most 1 hour".into());
    }
    if step.loss.is_some_and(|loss| !(0.0..=1.0).contains(&loss)) {
        return Err("the loss must be from 0 to 1".into());
    }
    Ok(())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    Time,
    Rate,
    Delay,
    Loss,
}

fn columns(number: usize, names: &str) -> Result<Vec<Column>, ParseError> {
    let mut columns = Vec::new();
    for name in names.split(',') {
        let column = match name.trim() {
            "time" => Column::Time,
            "rate" => Column::Rate,
            "delay" => Column::Delay,
            "loss" => Column::Loss,
            other => {
                let what = "the first line must name the columns: time, rate, delay, loss";
                return Err(ParseError::new(number, format!("{}: {what}", quoted(other))));
            }
        };
        if columns.contains(&column) {
            let problem = format!("duplicate column {}", quoted(name.trim()));
            return Err(ParseError::new(number, problem));
        }
        columns.push(column);
    }
    if !columns.contains(&Column::Time) {
        return Err(ParseError::new(number, "the column 'time' is missing"));
    }
    Ok(columns)
}

fn step(line: &str, columns: &[Column]) -> Result<Step, alloc::string::String> {
    let mut step = Step::default();
    let count = line.split(',').count();
    if count != columns.len() {
        return Err(format!("{count} values for {} columns", columns.len()));
    }
    for (value, column) in line.split(',').map(str::trim).zip(columns) {
        let read: Result<(), UnitError> = match column {
            Column::Time => parse_duration(value).map(|at| step.at = at),
            _ if value.is_empty() => Ok(()),
            Column::Rate => value.parse().map(|rate| step.rate = Some(rate)),
            Column::Delay => parse_duration(value).map(|delay| step.delay = Some(delay)),
            Column::Loss => parse_share(value).map(|loss| step.loss = Some(loss)),
        };
        read.map_err(|wrong| wrong.to_string())?;
    }
    Ok(step)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn steps_are_found_by_their_time() {
        let text = "time, rate, delay, loss\n1s, 1mbit,,\n2s,, 30ms, 1%\n4s, repeat\n";
        let steps = Steps::parse(text).unwrap();
        let rate = |since| steps.at(since).step.and_then(|step| step.rate);
        assert!(steps.at(0).step.is_none());
        assert_eq!(steps.at(0).until, Some(SECOND));
        assert_eq!(rate(SECOND), Some(Bitrate::from_bits_per_second(1_000_000)));
        assert_eq!(rate(2 * SECOND), None);
        assert_eq!(steps.at(3 * SECOND).until, Some(4 * SECOND));
        let again = steps.at(4 * SECOND);
        assert_eq!((again.step.unwrap().loss, again.until), (Some(0.01), Some(5 * SECOND)));
        assert_eq!(rate(5 * SECOND), rate(SECOND));
    }

    #[test]
    fn the_last_step_of_a_single_round_holds_for_ever() {
        let steps = Steps::parse("time,loss\n0,50%\n").unwrap();
        let now = steps.at(u64::MAX);
        assert_eq!((now.step.unwrap().loss, now.until), (Some(0.5), None));
    }

    #[test]
    fn an_error_has_its_line() {
        for (text, line) in [
            ("", 0),
            ("time\n", 0),
            ("rate\n1mbit", 1),
            ("time,speed\n", 1),
            ("time,rate,rate\n", 1),
            ("time,rate\n0,1mbit\n0,2mbit", 3),
            ("time,rate\n0\n", 2),
            ("time,rate\n0,1mb\n", 2),
            ("time,delay\n0,2h\n", 2),
            ("time,loss\n0,101%\n", 2),
            ("time,loss\n25h,1%\n", 2),
            ("time,loss\n1s,1%\n2s,repeat\n3s,1%", 4),
            ("time,loss\n1s,1%\n1s,repeat\n", 0),
        ] {
            assert_eq!(Steps::parse(text).unwrap_err().line, line, "{text}");
        }
    }
}
