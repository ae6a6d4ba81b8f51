//! Plays a scenario in a world.

use super::expect::{Answers, Check, Expectation, Ping};
use super::names::Names;
use super::part::Target;
use super::report::{Entry, Kind, Measured, Outcome, Report, StepReport};
use super::step::{Event, Scenario, Start, Step};
use super::traffic::{Amount, Traffic};
use super::world::{Moved, Need, World};
use crate::model::{Lab, NodeName};
use adit_packet::units::Bitrate;
use adit_service::error::{Error, Result};
use std::time::Duration;

/// The pause between two tries of an expectation.
const PAUSE: Duration = Duration::from_millis(100);
/// How long a transfer of a number of bytes may take if no time is given.
const TRANSFER_MAX: Duration = Duration::from_secs(600);
/// How long the last packets of traffic may take.
const LAST_PACKETS: Duration = Duration::from_secs(10);
/// How long a command may run.
const COMMAND_MAX: Duration = Duration::from_secs(600);

/// Plays a scenario and calls `each` after each event and expectation. The caller fills in the lab and the seed of the
/// report.
pub fn run<W: World + ?Sized>(
    scenario: &Scenario,
    world: &mut W,
    mut each: impl FnMut(&Entry),
) -> Report {
    let mut player = Player { world, traffic: Vec::new(), skipped: Vec::new() };
    let mut steps = Vec::new();
    for (at, step) in scenario.steps.iter().enumerate() {
        let entries = player.step(step, &mut each);
        steps.push(StepReport { step: at + 1, name: step.name.clone(), entries });
    }
    let last = player.end(&mut each);
    if !last.is_empty() {
        let name = Some("the end of traffic".to_owned());
        steps.push(StepReport { step: scenario.steps.len() + 1, name, entries: last });
    }
    let seconds = player.world.now().as_secs_f64();
    let mut report = Report { seconds, steps, ..Report::default() };
    report.passed = report.failures() == 0;
    report
}

/// Checks one expectation in a world, as a step of a scenario does.
///
/// # Errors
/// The text is not an expectation about this lab.
pub fn expect<W: World + ?Sized>(world: &mut W, lab: &Lab, text: &str) -> Result<Entry> {
    let expectation = Expectation::parse(text, &Names::new(lab))
        .map_err(|wrong| Error::usage(format_args!("`{text}` {wrong}")))?;
    Ok(Player { world, traffic: Vec::new(), skipped: Vec::new() }.expectation(&expectation))
}

struct Player<'w, W: ?Sized> {
    world: &'w mut W,
    /// Traffic that has started.
    traffic: Vec<Started>,
    /// Traffic that this world cannot have.
    skipped: Vec<Traffic>,
}

struct Started {
    number: usize,
    traffic: Traffic,
    start: Duration,
    /// The result was asked for.
    is_known: bool,
}

/// One try: whether it passed, and what was measured.
type Tried = Result<(bool, Measured)>;

impl<W: World + ?Sized> Player<'_, W> {
    fn step(&mut self, step: &Step, each: &mut impl FnMut(&Entry)) -> Vec<Entry> {
        let now = self.world.now();
        let start = match step.start {
            Start::At(at) => at,
            Start::After(time) => now + time,
        };
        let mut entries = Vec::new();
        if start > now
            && let Err(error) = self.world.wait_until(start)
        {
            let failed = Entry {
                error: Some(error.to_string()),
                outcome: Outcome::Error,
                ..new(Kind::Event, "wait", now)
            };
            each(&failed);
            return vec![failed];
        }
        for event in &step.events {
            let entry = self.event(event);
            each(&entry);
            entries.push(entry);
        }
        for expectation in &step.expect {
            let entry = self.expectation(expectation);
            each(&entry);
            entries.push(entry);
        }
        entries
    }

    fn event(&mut self, event: &Event) -> Entry {
        let start = self.world.now();
        if let Some(why) = self.lacks(&needs_of_event(event)) {
            if let Event::Traffic(traffic) = event {
                self.skipped.push(traffic.clone());
            }
            return skipped(new(Kind::Event, event, start), why);
        }
        let done = match event {
            Event::Fail(part) => self.world.fail(part).map(|()| None),
            Event::Heal(part) => self.world.heal(part).map(|()| None),
            Event::Set { link, setting } => self.world.set(link, setting).map(|()| None),
            Event::Traffic(traffic) => self.world.start(traffic).map(|number| {
                let traffic = traffic.clone();
                self.traffic.push(Started { number, traffic, start, is_known: false });
                None
            }),
            Event::Run { node, command } => self.world.run(node, command, COMMAND_MAX).map(|ran| {
                let (status, output) = (ran.status, ran.output);
                Some((status == Some(0), Measured::Command { status, output }))
            }),
        };
        let mut entry = new(Kind::Event, event, start);
        match done {
            Ok(None) => {}
            Ok(Some(tried)) => set_result(&mut entry, Ok(tried)),
            Err(error) => set_result(&mut entry, Err(error)),
        }
        entry.seconds = (self.world.now() - start).as_secs_f64();
        entry
    }

    /// Tries an expectation until it holds or its deadline passes. All tries but the first one are captured; if there
    /// is only one, it is repeated for the capture.
    fn expectation(&mut self, expectation: &Expectation) -> Entry {
        let start = self.world.now();
        let mut entry = new(Kind::Expectation, expectation, start);
        if let Some(why) = self.lacks(&self.needs_of_check(&expectation.check)) {
            return skipped(entry, why);
        }
        set_result(&mut entry, self.attempt(&expectation.check));
        if entry.outcome != Outcome::Passed && !matches!(expectation.check, Check::Traffic { .. }) {
            let until = start + expectation.deadline;
            let nodes = nodes_of(&expectation.check);
            let title = format!("{:.3}s {}", start.as_secs_f64(), expectation.text);
            let begun = self.world.begin_capture(&nodes, &title);
            let captures = matches!(begun, Ok(true));
            let mut failure = begun.err();
            let once = expectation.deadline.is_zero();
            while entry.outcome != Outcome::Passed && self.world.now() + PAUSE <= until {
                let next = self.world.now() + PAUSE;
                if let Err(error) = self.world.wait_until(next) {
                    failure = Some(error);
                    break;
                }
                entry.tries += 1;
                set_result(&mut entry, self.attempt(&expectation.check));
            }
            if once && captures {
                // It has failed, whatever this shows.
                let _ = self.attempt(&expectation.check);
            }
            match self.world.end_capture(entry.outcome != Outcome::Passed) {
                Ok(captures) => entry.captures = captures,
                Err(error) => failure = failure.or(Some(error)),
            }
            if let Some(error) = failure {
                entry.error.get_or_insert_with(|| error.to_string());
            }
        }
        entry.seconds = (self.world.now() - start).as_secs_f64();
        entry
    }

    fn lacks(&self, needs: &[Need<'_>]) -> Option<String> {
        needs.iter().find_map(|need| self.world.lacks(*need))
    }

    fn needs_of_check<'a>(&'a self, check: &'a Check) -> Vec<Need<'a>> {
        match check {
            Check::Ping(ping) => stations(&ping.from, Some(&ping.to)),
            Check::Route { from, to, .. } => stations(from, Some(to)),
            Check::Throughput { traffic, .. } | Check::Transfer { traffic, .. } => {
                needs_of_traffic(traffic)
            }
            Check::Traffic { name, .. } => {
                let skipped = |traffic: &&Traffic| traffic.name.as_ref() == Some(name);
                self.skipped.iter().find(skipped).map(needs_of_traffic).unwrap_or_default()
            }
            Check::Run { node, .. } => vec![Need::Station(node), Need::Program(node)],
        }
    }

    fn attempt(&mut self, check: &Check) -> Tried {
        match check {
            Check::Ping(ping) => self.ping(ping),
            Check::Throughput { traffic, bounds } => {
                let moved = self.transfer(traffic)?;
                Ok((bounds.hold(rate(&moved)), measured(&moved)))
            }
            Check::Transfer { traffic, within } => {
                let now = self.world.now();
                let number = self.world.start(traffic)?;
                let moved = self.world.traffic(number, now + *within)?;
                Ok((moved.is_complete && moved.time <= *within, measured(&moved)))
            }
            Check::Traffic { name, bounds, within } => {
                let of_name = |started: &&mut Started| started.traffic.name.as_ref() == Some(name);
                let Some(started) = self.traffic.iter_mut().find(of_name) else {
                    return Err(Error::usage(format_args!("traffic `{name}` did not start")));
                };
                started.is_known = true;
                let until = started.start + within.unwrap_or_else(|| longest(&started.traffic));
                let moved = self.world.traffic(started.number, until)?;
                let in_time = within.is_none_or(|within| moved.time <= within);
                Ok((moved.is_complete && in_time && bounds.hold(rate(&moved)), measured(&moved)))
            }
            Check::Route { from, to, via, not_via } => {
                let route = self.world.route(from, to)?;
                let mut rest = route.iter();
                let passes = via.iter().all(|node| rest.any(|passed| passed == node));
                let avoids = !not_via.iter().any(|node| route.contains(node));
                let arrives = match to {
                    Target::Node(node) => route.last() == Some(node),
                    Target::Address(_) => route.len() > 1,
                };
                let nodes = route.iter().map(|node| node.as_str().to_owned()).collect();
                Ok((passes && avoids && arrives, Measured::Route(nodes)))
            }
            Check::Run { node, command, status, prints } => {
                let ran = self.world.run(node, command, COMMAND_MAX)?;
                let prints = prints.as_ref().is_none_or(|text| ran.output.contains(text.as_str()));
                let passes = ran.status == Some(*status) && prints;
                Ok((passes, Measured::Command { status: ran.status, output: ran.output }))
            }
        }
    }

    fn ping(&mut self, ping: &Ping) -> Tried {
        let mut echoes = self.world.ping(ping)?;
        echoes.times.sort_unstable();
        let median = echoes.times.get(echoes.times.len() / 2).copied();
        let received = u32::try_from(echoes.times.len()).unwrap_or(u32::MAX);
        let lost = f64::from(echoes.sent.saturating_sub(received)) / f64::from(echoes.sent.max(1));
        let passes = match ping.answers {
            Answers::Never => received == 0,
            Answers::Some { loss, within } => {
                let is_near = within.is_none_or(|within| median.is_some_and(|rtt| rtt <= within));
                received > 0 && lost <= loss && is_near
            }
        };
        let rtt_ms = median.map(|rtt| rtt.as_secs_f64() * 1e3);
        Ok((passes, Measured::Ping { sent: echoes.sent, received, rtt_ms }))
    }

    fn transfer(&mut self, traffic: &Traffic) -> Result<Moved> {
        let until = self.world.now() + longest(traffic);
        let number = self.world.start(traffic)?;
        self.world.traffic(number, until)
    }

    /// Stops the traffic that is left, and reports it.
    fn end(&mut self, each: &mut impl FnMut(&Entry)) -> Vec<Entry> {
        let mut entries = Vec::new();
        for started in std::mem::take(&mut self.traffic) {
            if started.is_known {
                continue;
            }
            let Traffic { name, from, to, .. } = &started.traffic;
            let text = match name {
                Some(name) => format!("traffic {name}"),
                None => format!("traffic {from} {to}"),
            };
            let now = self.world.now();
            let mut entry = new(Kind::Traffic, text, started.start);
            // Nobody expects anything of it.
            let result = self.world.traffic(started.number, now);
            set_result(&mut entry, result.map(|moved| (true, measured(&moved))));
            entry.seconds = (now - started.start).as_secs_f64();
            each(&entry);
            entries.push(entry);
        }
        entries
    }
}

fn needs_of_event(event: &Event) -> Vec<Need<'_>> {
    match event {
        Event::Run { node, .. } => vec![Need::Station(node), Need::Program(node)],
        Event::Traffic(traffic) => needs_of_traffic(traffic),
        Event::Fail(_) | Event::Heal(_) | Event::Set { .. } => Vec::new(),
    }
}

fn needs_of_traffic(traffic: &Traffic) -> Vec<Need<'_>> {
    let congestion = traffic.congestion.as_deref().map(Need::Congestion);
    [Need::Station(&traffic.from), Need::Station(&traffic.to)]
        .into_iter()
        .chain(congestion)
        .collect()
}

fn stations<'a>(from: &'a NodeName, to: Option<&'a Target>) -> Vec<Need<'a>> {
    let to = to.and_then(|to| if let Target::Node(node) = to { Some(node) } else { None });
    [Some(from), to].into_iter().flatten().map(Need::Station).collect()
}

fn skipped(entry: Entry, why: String) -> Entry {
    Entry { outcome: Outcome::Skipped, error: Some(why), tries: 0, ..entry }
}

fn longest(traffic: &Traffic) -> Duration {
    match traffic.amount {
        Amount::For(time) => time + LAST_PACKETS,
        Amount::Bytes(_) => TRANSFER_MAX,
    }
}

fn rate(moved: &Moved) -> Bitrate {
    let nanos = moved.time.as_nanos().max(1);
    let bits = u128::from(moved.bytes) * 8 * 1_000_000_000 / nanos;
    Bitrate::from_bits_per_second(u64::try_from(bits).unwrap_or(u64::MAX))
}

fn measured(moved: &Moved) -> Measured {
    Measured::Transfer {
        bytes: moved.bytes,
        seconds: moved.time.as_secs_f64(),
        rate: rate(moved).bits_per_second(),
        is_complete: moved.is_complete,
    }
}

fn nodes_of(check: &Check) -> Vec<NodeName> {
    let (from, to) = match check {
        Check::Ping(ping) => (&ping.from, Some(&ping.to)),
        Check::Route { from, to, .. } => (from, Some(to)),
        Check::Throughput { traffic, .. } | Check::Transfer { traffic, .. } => {
            return vec![traffic.from.clone(), traffic.to.clone()];
        }
        Check::Run { node, .. } => (node, None),
        Check::Traffic { .. } => return Vec::new(),
    };
    let mut nodes = vec![from.clone()];
    if let Some(Target::Node(node)) = to {
        nodes.push(node.clone());
    }
    nodes
}

fn new(kind: Kind, text: impl std::fmt::Display, at: Duration) -> Entry {
    Entry {
        text: text.to_string(),
        kind,
        outcome: Outcome::Passed,
        at: at.as_secs_f64(),
        seconds: 0.0,
        tries: 1,
        measured: None,
        error: None,
        captures: Vec::new(),
    }
}

fn set_result(entry: &mut Entry, tried: Tried) {
    match tried {
        Ok((passed, measured)) => {
            entry.outcome = if passed { Outcome::Passed } else { Outcome::Failed };
            (entry.measured, entry.error) = (Some(measured), None);
        }
        Err(error) => (entry.outcome, entry.error) = (Outcome::Error, Some(error.to_string())),
    }
}

#[cfg(test)]
mod tests;
