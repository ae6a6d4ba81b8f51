//! `adit lab sim`.

use crate::commands::lab::played;
use crate::commands::lab::wanted::Wanted;
use crate::context::Context;
use crate::exit::Exit;
use adit_lab::simulated::limits;
use adit_lab::simulated::play::{Play, Recording};
use adit_service::error::{Error, Result};
use adit_service::text::clean;
use adit_topology::file::FromFile;
use adit_topology::scenario::report::Report;
use schemars::JsonSchema;
use serde::Serialize;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Plays the steps of the file in virtual time: no privileges, no devices, faster than time. The same seed gives the same \
packets at the same nanoseconds. Programs, guests and ports outside are not simulated; adit lists what it leaves out.

Exits with status 1 if an expectation fails, 2 if the file has an error.

Examples:
  adit lab sim office.toml --seeds 1000
  adit lab sim office.toml --seed 17 --trace trace.txt --capture packets")]
pub(crate) struct Args {
    #[command(flatten)]
    wanted: Wanted,
    /// Draw every random decision from this seed
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(..1 << 53))]
    seed: Option<u64>,
    /// Run once with each seed from 0 to N - 1
    #[arg(long, value_name = "N", conflicts_with_all = ["seed", "trace"])]
    seeds: Option<NonZeroU64>,
    /// Number of seeds to run in parallel [default: one per core]
    #[arg(long, value_name = "N", requires = "seeds")]
    jobs: Option<NonZeroU64>,
    /// Write each event to a file, one per line
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Record each link to DIR/LINK.pcapng; with --seeds, the first runs that fail, with their traces
    #[arg(long, value_name = "DIR")]
    capture: Option<PathBuf>,
    /// Write the result in JUnit's format to a file
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
}

/// The result of all runs.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(title = "adit lab sim")]
pub(crate) struct Simulated {
    /// Whether all runs passed.
    passed: bool,
    /// How many runs there were.
    runs: u64,
    /// How many of them failed.
    failed: u64,
    /// What of the lab was not simulated.
    left_out: Vec<String>,
    /// The single run; with `--seeds`, the first ones that failed.
    reports: Vec<Report>,
    /// The commands that repeat those that failed, with their trace and their packets.
    replay: Vec<String>,
}

/// Failed runs that are reported in full.
const REPORTS_MAX: usize = 10;
/// Failed runs of which packets are recorded.
const CAPTURES_MAX: usize = 3;
/// How often progress is shown.
const PROGRESS: Duration = Duration::from_millis(200);

impl Args {
    pub(crate) fn run(self, context: &Context) -> Result<Exit> {
        let read = self.wanted.with_steps()?;
        let left_out = limits::lacks(&read.plan);
        for lack in left_out.iter().filter(|_| !context.output.json) {
            context.output.note(clean(&format!("not simulated: {lack}")));
        }
        let mut simulated = match self.seeds {
            None => self.one(context, &read)?,
            Some(count) => self.many(context, &read, count.get())?,
        };
        simulated.left_out = left_out;
        played::write_junit(self.junit.as_deref(), &simulated.reports)?;
        if context.output.json {
            context.output.value(&simulated)?;
        } else {
            for command in &simulated.replay {
                context.output.line(clean(&format!("replay: {command}")))?;
            }
        }
        Ok(if simulated.passed { Exit::Ok } else { Exit::NotSo })
    }

    fn one(&self, context: &Context, read: &FromFile) -> Result<Simulated> {
        let seed = self.seed.unwrap_or(read.plan.seed);
        let output = &context.output;
        let play = Play { plan: &read.plan, scenario: &read.scenario };
        let recording = Recording { trace: self.trace.clone(), capture: self.capture.clone() };
        let start = Instant::now();
        let mut printed = Ok(());
        let report = play.once(seed, &recording, |entry| {
            if !output.json && printed.is_ok() {
                printed = output.line(played::entry_line(output, entry));
            }
        })?;
        printed?;
        if !output.json {
            let took = start.elapsed().as_secs_f64();
            let summary = played::summary(output, &report);
            output.line(format_args!("{summary} of virtual time ({took:.3} s), seed {seed}"))?;
        }
        let replay = if report.passed { Vec::new() } else { vec![self.replay(seed)] };
        Ok(Simulated {
            passed: report.passed,
            runs: 1,
            failed: u64::from(!report.passed),
            left_out: Vec::new(),
            reports: vec![report],
            replay,
        })
    }

    fn many(&self, context: &Context, read: &FromFile, count: u64) -> Result<Simulated> {
        let output = &context.output;
        let play = Play { plan: &read.plan, scenario: &read.scenario };
        let cores = available_parallelism().map_or(1, usize::from);
        let jobs = self.jobs.map_or(cores, |jobs| usize::try_from(jobs.get()).unwrap_or(cores));
        let (mut runs, mut failed, mut virtual_time) = (0, 0, 0.0);
        let mut reports: Vec<Report> = Vec::new();
        let (start, mut shown) = (Instant::now(), Instant::now());
        play.seeds(count, jobs.clamp(1, cores), |report| {
            runs += 1;
            virtual_time += report.seconds;
            if !report.passed {
                failed += 1;
                reports.push(report);
                // Threads finish in any order: the smallest seeds are kept, so that the result is always the same.
                reports.sort_by_key(|report| report.seed);
                reports.truncate(REPORTS_MAX);
            }
            if shown.elapsed() >= PROGRESS {
                shown = Instant::now();
                output.progress(format_args!("{runs} of {count} seeds, {failed} failed"));
            }
            true
        })?;
        output.progress("");
        if let Some(folder) = &self.capture {
            for report in reports.iter().take(CAPTURES_MAX) {
                let folder = folder.join(format!("seed-{}", report.seed));
                std::fs::create_dir_all(&folder)
                    .map_err(|error| Error::io("create", folder.display(), &error))?;
                let trace = Some(folder.join("trace.txt"));
                let recording = Recording { trace, capture: Some(folder) };
                play.once(report.seed, &recording, |_| ())?;
            }
        }
        if !output.json {
            for report in &reports {
                output.line(format_args!("seed {}:", report.seed))?;
                let has_failed = |entry: &&adit_topology::scenario::report::Entry| {
                    use adit_topology::scenario::report::Outcome::{Error, Failed};
                    matches!(entry.outcome, Failed | Error)
                };
                for entry in report.entries().map(|(_, entry)| entry).filter(has_failed) {
                    output.line(played::entry_line(output, entry))?;
                }
            }
            let took = start.elapsed().as_secs_f64();
            output.line(format_args!(
                "{runs} seeds: {} passed, {failed} failed; {virtual_time:.0} s of virtual time in {took:.1} s",
                runs - failed
            ))?;
        }
        let replay = reports.iter().map(|report| self.replay(report.seed)).collect();
        let left_out = Vec::new();
        Ok(Simulated { passed: failed == 0, runs, failed, left_out, reports, replay })
    }

    /// The command that repeats a run.
    fn replay(&self, seed: u64) -> String {
        let wanted = self.wanted.words();
        format!("adit lab sim {wanted} --seed {seed} --trace seed-{seed}.txt --capture seed-{seed}")
    }
}
