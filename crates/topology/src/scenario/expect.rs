//! An expectation, as a line of text: `ping a b within 20ms`.
//!
//! ```text
//! ping A B [within TIME] [loss <= SHARE] [count N]     ping A B never      ping6 ... for IPv6
//! throughput A B >= RATE [<= RATE] [for TIME] [streams N] [using CC]
//! transfer A B SIZE within TIME [streams N] [using CC]
//! traffic NAME [>= RATE] [<= RATE] [within TIME]
//! route A to B via R [R2 ...]    route A to B not via R
//! run NODE "COMMAND" [status N] [prints "TEXT"]
//! ```
//!
//! Each may end with `by TIME`: it is tried again until it holds or that time has passed. For `route` and `run`, `within`
//! means the same.

use super::names::Names;
use super::part::Target;
use super::traffic::{Amount, Traffic};
use super::words::{self, Word};
use crate::model::NodeName;
use adit_packet::units::{self, Bitrate, UnitError};
use adit_service::config::suggest::nearest;
use adit_service::config::value::Wrong;
use std::fmt;
use std::ops::Range;
use std::time::Duration;

/// What must be true.
#[derive(Clone, Debug, PartialEq)]
pub struct Expectation {
    /// How it was written.
    pub text: String,
    /// What is checked.
    pub check: Check,
    /// How long it is tried again; zero: it is tried once.
    pub deadline: Duration,
}

/// What an expectation checks.
#[derive(Clone, Debug, PartialEq)]
pub enum Check {
    /// Echo requests are answered, or not.
    Ping(Ping),
    /// TCP carries payload at a rate.
    Throughput {
        /// What is sent.
        traffic: Traffic,
        /// The rates that pass.
        bounds: Bounds,
    },
    /// TCP carries some bytes within a time, from the first SYN to the last byte read.
    Transfer {
        /// What is sent.
        traffic: Traffic,
        /// The longest time that passes.
        within: Duration,
    },
    /// Traffic that a step started has ended.
    Traffic {
        /// Its name.
        name: String,
        /// The rates that pass.
        bounds: Bounds,
        /// The longest time that passes.
        within: Option<Duration>,
    },
    /// The nodes that packets pass.
    Route {
        /// The sender.
        from: NodeName,
        /// The receiver.
        to: Target,
        /// Nodes that are on the way, in this order.
        via: Vec<NodeName>,
        /// Nodes that are not.
        not_via: Vec<NodeName>,
    },
    /// A command ends with a status.
    Run {
        /// Where it runs.
        node: NodeName,
        /// For `sh -c`.
        command: String,
        /// The status that passes.
        status: i32,
        /// A text that must be in its output.
        prints: Option<String>,
    },
}

/// Echo requests.
#[derive(Clone, Debug, PartialEq)]
pub struct Ping {
    /// The sender.
    pub from: NodeName,
    /// The receiver.
    pub to: Target,
    /// Whether a node's IPv6 address is meant.
    pub is_v6: bool,
    /// The number of requests.
    pub count: u32,
    /// Which answers pass.
    pub answers: Answers,
}

/// Which answers to echo requests pass.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Answers {
    /// None.
    Never,
    /// At least this share, with at most this median of round trip times.
    Some {
        /// The share that may be lost.
        loss: f64,
        /// The longest median.
        within: Option<Duration>,
    },
}

/// Rates that pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// The lowest.
    pub min: Option<Bitrate>,
    /// The highest.
    pub max: Option<Bitrate>,
}

impl Bounds {
    /// Whether a rate passes.
    #[must_use]
    pub fn hold(&self, rate: Bitrate) -> bool {
        self.min.is_none_or(|min| rate >= min) && self.max.is_none_or(|max| rate <= max)
    }
}

impl fmt::Display for Expectation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// How long `ping` and `route` are tried again by default: addresses are resolved, routing converges.
const RETRY: Duration = Duration::from_secs(5);
/// How long throughput is measured by default.
const MEASURE: Duration = Duration::from_secs(5);
/// Longer than any scenario: a time above is a mistake.
const TIME_MAX: Duration = Duration::from_secs(86_400);
/// The most echo requests of a `ping`.
const COUNT_MAX: u32 = 10_000;
/// Echo requests from which loss is measured, and those that must all remain unanswered.
const COUNT_LOSS: u32 = 100;
const COUNT_NEVER: u32 = 3;

/// What ends the nodes of a route.
const AFTER_NODES: [&str; 4] = ["via", "not", "within", "by"];

const KINDS: [&str; 7] = ["ping", "ping6", "throughput", "transfer", "traffic", "route", "run"];

impl Expectation {
    /// Reads an expectation.
    ///
    /// # Errors
    /// The word that is wrong, by its bytes, with what may have been meant.
    pub fn parse(text: &str, names: &Names<'_>) -> Result<Self, Wrong> {
        let words = words::split(text)?;
        let mut line = Line { words: &words, end: text.len(), at: 0, names };
        let kind = line.next("what is expected, for example `ping a b within 20ms`")?;
        let (check, retry) = match kind.text.as_str() {
            "ping" => (line.ping(false)?, RETRY),
            "ping6" => (line.ping(true)?, RETRY),
            "throughput" => (line.throughput()?, Duration::ZERO),
            "transfer" => (line.transfer()?, Duration::ZERO),
            "traffic" => (line.traffic()?, Duration::ZERO),
            "route" => (line.route()?, RETRY),
            "run" => (line.run()?, Duration::ZERO),
            other => return Err(unknown(kind, "expectation", other, &KINDS)),
        };
        let (check, deadline) = check;
        // What must never happen is not tried until it has stopped.
        let is_never = matches!(&check, Check::Ping(Ping { answers: Answers::Never, .. }));
        let deadline = deadline.unwrap_or(if is_never { Duration::ZERO } else { retry });
        Ok(Self { text: text.trim().to_owned(), check, deadline })
    }
}

/// The words of an expectation, read from left to right.
struct Line<'a> {
    words: &'a [Word],
    end: usize,
    at: usize,
    names: &'a Names<'a>,
}

type Checked = Result<(Check, Option<Duration>), Wrong>;

/// Options that were given: each once.
#[derive(Default)]
struct Options {
    seen: Vec<&'static str>,
    within: Option<Duration>,
    by: Option<Duration>,
    bounds: Bounds,
    loss: Option<f64>,
    count: Option<u32>,
    is_never: bool,
    time: Option<Duration>,
    streams: Option<u16>,
    congestion: Option<String>,
    status: Option<i32>,
    prints: Option<String>,
}

impl<'a> Line<'a> {
    fn peek(&self) -> Option<&'a Word> {
        self.words.get(self.at)
    }

    fn next(&mut self, what: &str) -> Result<&'a Word, Wrong> {
        let word = self.peek();
        self.at += 1;
        let missing = || Wrong::new(format_args!("needs {what}")).part(self.end..self.end);
        word.ok_or_else(missing)
    }

    /// The next word, as `read` has it.
    fn read<T>(
        &mut self,
        what: &str,
        read: impl FnOnce(&Word) -> Result<T, Wrong>,
    ) -> Result<T, Wrong> {
        let word = self.next(what)?;
        read(word).map_err(|wrong| {
            let part = wrong.part.clone().unwrap_or(0..word.text.len());
            wrong.part(within(&word.part, &part))
        })
    }

    fn station(&mut self, what: &str) -> Result<NodeName, Wrong> {
        let names = self.names;
        self.read(what, |word| names.host(&word.text))
    }

    fn target(&mut self) -> Result<Target, Wrong> {
        let names = self.names;
        self.read("the receiver: a host or an address", |word| names.target(&word.text))
    }

    fn ping(&mut self, is_v6: bool) -> Checked {
        let (from, to) = (self.station("the sender")?, self.target()?);
        let options = self.options(&["within", "loss", "never", "not", "count", "by"])?;
        if options.is_never && (options.within.is_some() || options.loss.is_some()) {
            let wrong = Wrong::new("excludes itself: `never` allows no answer");
            return Err(wrong.part(0..self.end));
        }
        let default = match (options.is_never, options.loss) {
            (true, _) => COUNT_NEVER,
            (false, Some(loss)) if loss > 0.0 => COUNT_LOSS,
            _ => 1,
        };
        let answers = if options.is_never {
            Answers::Never
        } else {
            Answers::Some { loss: options.loss.unwrap_or(0.0), within: options.within }
        };
        let count = options.count.unwrap_or(default);
        Ok((Check::Ping(Ping { from, to, is_v6, count, answers }), options.by))
    }

    fn throughput(&mut self) -> Checked {
        let (from, to) = (self.station("the sender")?, self.station("the receiver")?);
        let options = self.options(&[">=", "<=", "for", "streams", "using", "by"])?;
        if options.bounds == Bounds::default() {
            let wrong = Wrong::new("needs a rate").part(self.end..self.end);
            return Err(wrong.help("add a rate, for example `>= 90mbit`"));
        }
        let amount = Amount::For(options.time.unwrap_or(MEASURE));
        let (bounds, by) = (options.bounds, options.by);
        Ok((Check::Throughput { traffic: options.traffic(from, to, amount), bounds }, by))
    }

    fn transfer(&mut self) -> Checked {
        let (from, to) = (self.station("the sender")?, self.station("the receiver")?);
        let size = self.read("a size, for example `1MB`", |word| {
            match units::parse_size(&word.text).map_err(of_unit)? {
                0 => Err(Wrong::new("must not be 0")),
                size => Ok(size),
            }
        })?;
        let options = self.options(&["within", "streams", "using", "by"])?;
        let Some(within) = options.within else {
            let wrong = Wrong::new("needs a time").part(self.end..self.end);
            return Err(wrong.help("add a time, for example `within 3s`"));
        };
        let by = options.by;
        Ok((
            Check::Transfer { traffic: options.traffic(from, to, Amount::Bytes(size)), within },
            by,
        ))
    }

    fn traffic(&mut self) -> Checked {
        let names = self.names;
        let name = self.read("the name of traffic", |word| names.traffic(&word.text))?;
        let options = self.options(&[">=", "<=", "within"])?;
        let (bounds, within) = (options.bounds, options.within);
        Ok((Check::Traffic { name, bounds, within }, None))
    }

    fn route(&mut self) -> Checked {
        let from = self.station("the sender")?;
        if self.peek().is_some_and(|word| word.text == "to") {
            self.at += 1;
        }
        let to = self.target()?;
        let (mut via, mut not_via) = (Vec::new(), Vec::new());
        let names = self.names;
        while let Some(word) = self.peek() {
            let is_not = word.text == "not";
            if !is_not && word.text != "via" {
                break;
            }
            self.at += 1;
            if is_not {
                let word = self.next("`via`")?;
                if word.text != "via" {
                    return Err(word.wrong("needs `via` after `not`"));
                }
            }
            let nodes = if is_not { &mut not_via } else { &mut via };
            nodes.push(self.read("a node", |word| names.node(&word.text))?);
            while self.peek().is_some_and(|word| !AFTER_NODES.contains(&word.text.as_str())) {
                nodes.push(self.read("a node", |word| names.node(&word.text))?);
            }
        }
        let has_via = !via.is_empty() || !not_via.is_empty();
        let options = self.options(if has_via { &["within", "by"] } else { &["via", "not"] })?;
        if !has_via {
            let wrong = Wrong::new("needs a node on the way").part(self.end..self.end);
            return Err(wrong.help("add a node, for example `via r2`"));
        }
        Ok((Check::Route { from, to, via, not_via }, options.by.or(options.within)))
    }

    fn run(&mut self) -> Checked {
        let node = self.station("a host")?;
        let command = self.next("a command in quotes")?.text.clone();
        let options = self.options(&["status", "prints", "within", "by"])?;
        let (status, prints) = (options.status.unwrap_or(0), options.prints);
        Ok((Check::Run { node, command, status, prints }, options.by.or(options.within)))
    }

    /// Reads options until the end of the line.
    fn options(&mut self, known: &[&'static str]) -> Result<Options, Wrong> {
        let mut options = Options::default();
        while let Some(word) = self.peek() {
            self.at += 1;
            let (text, glued) = operator(word);
            let Some(&option) = known.iter().find(|known| **known == text) else {
                return Err(unknown(word, "word", &word.text, known));
            };
            if options.seen.contains(&option) {
                return Err(word.wrong(format_args!("has `{option}` twice")));
            }
            options.seen.push(option);
            match glued {
                Some(value) => {
                    let value = [value];
                    let mut rest = Line { words: &value, end: self.end, at: 0, names: self.names };
                    rest.option(option, &mut options)?;
                }
                None => self.option(option, &mut options)?,
            }
        }
        Ok(options)
    }

    fn option(&mut self, option: &'static str, options: &mut Options) -> Result<(), Wrong> {
        match option {
            "never" | "not" => options.is_never = true,
            "within" => options.within = Some(self.time()?),
            "by" => options.by = Some(self.time()?),
            "for" => options.time = Some(self.time()?),
            ">=" => options.bounds.min = Some(self.rate()?),
            "<=" => options.bounds.max = Some(self.rate()?),
            "loss" => options.loss = Some(self.loss()?),
            "count" => options.count = Some(self.number(1..=COUNT_MAX)?),
            "streams" => {
                let streams = self.number(1..=u32::from(Traffic::STREAMS_MAX))?;
                options.streams = u16::try_from(streams).ok();
            }
            "using" => {
                let congestion = self.next("a congestion control, for example `reno`")?;
                options.congestion = Some(congestion.text.clone());
            }
            "status" => {
                let status = self.number(0..=255)?;
                options.status = i32::try_from(status).ok();
            }
            "prints" => options.prints = Some(self.next("a text in quotes")?.text.clone()),
            _ => {}
        }
        Ok(())
    }

    fn time(&mut self) -> Result<Duration, Wrong> {
        self.read("a time, for example `20ms`", |word| {
            let time = units::parse_duration(&word.text).map_err(of_unit)?;
            if time.is_zero() || time > TIME_MAX {
                let max = units::duration(TIME_MAX);
                return Err(Wrong::new(format_args!("must be above 0 and at most {max}")));
            }
            Ok(time)
        })
    }

    fn rate(&mut self) -> Result<Bitrate, Wrong> {
        self.read("a rate, for example `90mbit`", |word| word.text.parse().map_err(of_unit))
    }

    /// `<= 1%`, or `1%` alone.
    fn loss(&mut self) -> Result<f64, Wrong> {
        if self.peek().is_some_and(|word| word.text == "<=") {
            self.at += 1;
        }
        self.read("a share, for example `loss <= 1%`", |word| {
            units::parse_share(word.text.trim_start_matches("<=")).map_err(of_unit)
        })
    }

    fn number(&mut self, range: std::ops::RangeInclusive<u32>) -> Result<u32, Wrong> {
        self.read("a number", |word| {
            let number = word.text.parse().ok().filter(|number| range.contains(number));
            let (from, to) = (range.start(), range.end());
            number.ok_or_else(|| Wrong::new(format_args!("needs a number from {from} to {to}")))
        })
    }
}

impl Options {
    fn traffic(self, from: NodeName, to: NodeName, amount: Amount) -> Traffic {
        let (streams, congestion) = (self.streams.unwrap_or(1), self.congestion);
        Traffic { streams, congestion, ..Traffic::tcp(from, to, amount) }
    }
}

/// `>=90mbit` as the operator and the rest.
fn operator(word: &Word) -> (&str, Option<Word>) {
    for operator in [">=", "<="] {
        match word.text.strip_prefix(operator) {
            Some("") | None => {}
            Some(rest) => {
                let part = word.part.start + operator.len()..word.part.end;
                return (operator, Some(Word { text: rest.to_owned(), part }));
            }
        }
    }
    (&word.text, None)
}

/// A part of a word as a part of the line.
fn within(word: &Range<usize>, part: &Range<usize>) -> Range<usize> {
    let start = (word.start + part.start).min(word.end);
    start..(word.start + part.end).clamp(start, word.end)
}

fn of_unit(error: UnitError) -> Wrong {
    let wrong = Wrong::new(error.message()).part(error.part());
    Wrong {
        message: format!("is wrong: {}", wrong.message),
        help: error.help().map(str::to_owned),
        ..wrong
    }
}

fn unknown(word: &Word, what: &str, text: &str, known: &[&str]) -> Wrong {
    let wrong = word.wrong(format_args!("has an unknown {what}: `{text}`"));
    match (text, nearest(text, known.iter().copied())) {
        (">" | "=" | "==", _) if known.contains(&">=") => wrong.help("did you mean `>=`?"),
        ("<", _) if known.contains(&"<=") => wrong.help("did you mean `<=`?"),
        (_, Some(near)) => wrong.help(format_args!("did you mean `{near}`?")),
        (_, None) if known.is_empty() => wrong,
        (_, None) => wrong.help(format_args!("known here: {}", known.join(", "))),
    }
}

#[cfg(test)]
mod tests;
