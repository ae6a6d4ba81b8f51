//! `adit status`.

use crate::context::Context;
use crate::exit::Exit;
use crate::output::{Output, Tone, clean, table};
use adit_packet::units::parse_duration;
use adit_service::error::Result;
use adit_top::{Cell, Machine, Problem, State, Status};
use std::time::Duration;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Asks all running programs that this user can reach: as root those of all users. Problems come first, each with its code, \
cause and remedy: a peer that does not answer, a port that is down, drops that grow, a program that has died or does not \
answer, settings that a killed program left. 'adit explain CODE' has more.

Exits with status 0 if nothing is wrong, and with 1 if something is.

Examples:
  adit status
  adit status --interval 0
  adit -j status | jq -r '.problems[].message'")]
pub(crate) struct Args {
    /// How long to watch counters for drops that grow
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = time)]
    interval: Duration,
}

fn time(text: &str) -> std::result::Result<Duration, String> {
    parse_duration(text).map_err(|error| error.message().to_owned())
}

/// The state of this machine, with what grows in this time.
pub(super) fn measure(interval: Duration) -> Status {
    let first = Machine::collect(false);
    if interval.is_zero() || first.services.is_empty() {
        return Status::of(None, &first);
    }
    std::thread::sleep(interval);
    Status::of(Some(&first), &Machine::collect(false))
}

impl Args {
    pub(crate) fn run(self, context: &Context) -> Result<Exit> {
        let status = measure(self.interval);
        if context.output.json {
            context.output.value(&status)?;
        } else {
            for line in lines(&status, &context.output) {
                context.output.line(line)?;
            }
        }
        Ok(if status.ok { Exit::Ok } else { Exit::NotSo })
    }
}

/// The status for people.
pub(super) fn lines(status: &Status, output: &Output) -> Vec<String> {
    let mut lines = vec![match status.problems.len() {
        0 => output.paint(Tone::Good, "no problems"),
        1 => output.paint(Tone::Bad, "1 problem"),
        count => output.paint(Tone::Bad, format_args!("{count} problems")),
    }];
    for problem in &status.problems {
        lines.push(String::new());
        lines.extend(problem_lines(problem, output));
    }
    lines.push(String::new());
    if status.services.is_empty() {
        lines.push("no programs are running".to_owned());
        return lines;
    }
    let head = ["STATE", "NAME", "KIND", "PID", "UPTIME", "SUMMARY"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    let text = |cell: Option<Cell>| cell.unwrap_or(Cell::None).to_string();
    rows.extend(status.services.iter().map(|row| {
        let [name, kind, summary] = [&row.name, &row.kind, &row.summary].map(|text| clean(text));
        let pid = row.pid.map(|pid| Cell::Count(pid.into()));
        let uptime = row.uptime_s.map(|seconds| Cell::seconds(Duration::from_secs(seconds)));
        vec![row.state.as_str().to_owned(), name, kind, text(pid), text(uptime), summary]
    }));
    let states = status.services.iter().map(|row| row.state);
    let tones = std::iter::once(None).chain(states.map(Some));
    lines.extend(table(&rows).into_iter().zip(tones).map(|(line, state)| match state {
        Some(State::Problem | State::Stale | State::NoAnswer) => output.paint(Tone::Bad, line),
        _ => line,
    }));
    lines
}

/// What is wrong, and with what.
pub(super) fn headline(problem: &Problem, output: &Output) -> String {
    let (finding, kind) = (&problem.finding, &problem.kind);
    let mut place = clean(format!("{kind} {}", problem.service).trim());
    if !finding.object.is_empty() {
        let separator = if place.is_empty() { "" } else { ", " };
        place = format!("{place}{separator}{}", clean(&finding.object));
    }
    if place.is_empty() {
        "this machine".clone_into(&mut place);
    }
    format!("{}: {}", output.paint(Tone::Name, place), clean(&finding.message))
}

fn problem_lines(problem: &Problem, output: &Output) -> Vec<String> {
    let finding = &problem.finding;
    let mut lines = vec![headline(problem, output)];
    lines.push(format!("  cause: {}", clean(&finding.cause)));
    if !finding.remedy.is_empty() {
        lines.push(format!("  help: {}", clean(&finding.remedy)));
    }
    lines.push(format!("  code: {}", finding.code));
    lines
}
