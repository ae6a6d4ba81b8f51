//! The result of a scenario as text and files.

use crate::output::{Output, Tone};
use adit_service::error::{Error, Result};
use adit_service::text::clean;
use adit_topology::scenario::junit;
use adit_topology::scenario::report::{Entry, Outcome, Report};
use std::fs;
use std::path::Path;

/// An event or expectation as a line: when, how it ended, what it was, what was measured.
pub(super) fn entry_line(output: &Output, entry: &Entry) -> String {
    let (word, tone) = match entry.outcome {
        Outcome::Passed => ("ok", Tone::Good),
        Outcome::Failed => ("FAILED", Tone::Bad),
        Outcome::Error => ("ERROR", Tone::Bad),
        Outcome::Skipped => ("skipped", Tone::Faint),
    };
    let mut line = format!("{:>9.3}  {}", entry.at, output.paint(tone, format_args!("{word:<7}")));
    line += &format!("  {}", clean(&entry.text));
    let measured = entry.measured.as_ref().map(ToString::to_string);
    for detail in measured.iter().chain(&entry.error) {
        line += &format!(": {}", clean(detail));
    }
    if entry.tries > 1 {
        line += &format!(" ({} tries)", entry.tries);
    }
    for capture in &entry.captures {
        line += &format!("\n{:>20}{}", "", clean(&format!("packets: {}", capture.display())));
    }
    line
}

/// The counts of a report as a line.
pub(super) fn summary(output: &Output, report: &Report) -> String {
    let count = |outcome| report.entries().filter(|(_, entry)| entry.outcome == outcome).count();
    let (failed, skipped) = (report.failures(), count(Outcome::Skipped));
    let verdict = if report.passed {
        output.paint(Tone::Good, "passed")
    } else {
        output.paint(Tone::Bad, "failed")
    };
    let skipped = if skipped == 0 { String::new() } else { format!(", {skipped} skipped") };
    let (passed, name) = (count(Outcome::Passed), clean(&report.lab));
    format!("{name}: {verdict}: {passed} ok, {failed} failed{skipped}, in {:.3} s", report.seconds)
}

/// Writes reports in JUnit's format.
pub(super) fn write_junit(file: Option<&Path>, reports: &[Report]) -> Result<()> {
    let Some(file) = file else { return Ok(()) };
    fs::write(file, junit::xml(reports)).map_err(|error| Error::io("write", file.display(), &error))
}
