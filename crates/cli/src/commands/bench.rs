//! `adit bench`.

use crate::bench;
use crate::bench::report::{Report, Row};
use crate::commands::Context;
use adit_service::error::{Error, Exit, Result};
use adit_service::output::{Output, Tone, clean};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Everything happens in network namespaces of its own, which go with the program however it ends.
'ratio' is packets a second against a plain loop of read(2) and write(2), in the same round.
CPU is that of all cores of the machine, for what makes the packets as well.

Example: adit bench --svg bench.svg")]
pub(crate) struct Args {
    /// How long each of the 16 turns of a round takes
    #[arg(long, value_name = "SECONDS", default_value = "0.12", value_parser = seconds)]
    seconds: Duration,
    /// How many rounds there are
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Draw the figures into this file as well
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

/// Shorter turns are noise, longer ones nobody waits for.
fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.01..=60.0).contains(&seconds) {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err("0.01 to 60 seconds".to_owned())
    }
}

impl Args {
    pub(crate) fn run(self, context: &Context) -> Result<Exit> {
        let output = &context.output;
        let mut actions = vec![
            "enter a network namespace without a name".to_owned(),
            format!("move packets for {} rounds of {:?} a turn", self.rounds, self.seconds),
        ];
        if let Some(path) = &self.svg {
            actions.push(format!("write {}", path.display()));
        }
        if context.is_rehearsal(&actions)? {
            return Ok(Exit::Ok);
        }
        if cfg!(debug_assertions) {
            output.note("warning: this is a debug build; its figures say nothing of a release");
        }
        bench::enter().map_err(|error| Error::io("enter", "a network namespace", &error))?;
        let report = bench::run(self.rounds, self.seconds, |case| {
            if output.verbose > 0 {
                output.note(format_args!("measuring: {}", case.name()));
            }
        });
        if let Some(path) = &self.svg {
            fs::write(path, bench::draw(&report))
                .map_err(|error| Error::io("write", path.display(), &error))?;
        }
        if output.json {
            output.value(&report)?
        } else {
            print(output, &report)?
        }
        let measured = report.results.iter().any(|row| row.figures.is_some());
        if measured {
            return Ok(Exit::Ok);
        }
        let reason = report.results.iter().find_map(|row| row.missing.as_deref());
        let message = format!("nothing could be measured: {}", reason.unwrap_or("no reason known"));
        Err(Error::new(Exit::Refused, &adit_service::error::SYSTEM, message))
    }
}

fn print(output: &Output, report: &Report) -> Result<()> {
    output.line(format_args!(
        "Linux {}, {} cores, {} rounds of {} s a turn",
        report.kernel, report.cores, report.rounds, report.seconds
    ))?;
    output.line("median, and in brackets lowest..highest")?;
    let head = format!(
        "\n{:<13} {:<10} {:>28} {:>8} {:>10} {:>18}",
        "case", "mover", "packets/s", "Gbit/s", "CPU/packet", "ratio"
    );
    output.line(output.paint(Tone::Faint, head))?;
    for row in &report.results {
        output.line(line(row))?;
    }
    Ok(())
}

fn line(row: &Row) -> String {
    let start = format!("{:<13} {:<10}", row.case, row.mover);
    let Some(figures) = &row.figures else {
        let why = row.missing.as_deref().unwrap_or("no reason known");
        return format!("{start} not measured: {}", clean(why));
    };
    let rate = figures.packets_per_second;
    let rate = format!("{:.0} ({:.0}..{:.0})", rate.median, rate.lowest, rate.highest);
    let cpu = figures
        .cpu_ns_per_packet
        .map_or_else(|| "too short".to_owned(), |cpu| format!("{:.0} ns", cpu.median));
    let ratio = figures.ratio;
    let ratio = format!("{:.2} ({:.2}..{:.2})", ratio.median, ratio.lowest, ratio.highest);
    format!("{start} {rate:>28} {:>8.2} {cpu:>10} {ratio:>18}", figures.gigabits_per_second.median)
}
