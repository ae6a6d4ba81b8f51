//! A report as JUnit's XML, which CI systems read.

use super::report::{Entry, Outcome, Report};
use std::fmt::Write;

/// The report of one or more runs, a test suite each.
#[must_use]
pub fn xml(reports: &[Report]) -> String {
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n");
    for report in reports {
        suite(&mut text, report);
    }
    text += "</testsuites>\n";
    text
}

fn suite(text: &mut String, report: &Report) {
    let count = |outcome| report.entries().filter(|(_, entry)| entry.outcome == outcome).count();
    let (tests, failures) = (report.entries().count(), count(Outcome::Failed));
    let (errors, skipped) = (count(Outcome::Error), count(Outcome::Skipped));
    let (name, seconds) = (escaped(&report.lab), report.seconds);
    // A string takes everything.
    let _ = writeln!(
        text,
        "  <testsuite name=\"{name}\" tests=\"{tests}\" failures=\"{failures}\" errors=\"{errors}\" skipped=\"{skipped}\" time=\"{seconds:.6}\">"
    );
    let _ = writeln!(
        text,
        "    <properties><property name=\"seed\" value=\"{}\"/></properties>",
        report.seed
    );
    for step in &report.steps {
        let class = match &step.name {
            Some(title) => format!("{}.step {}: {title}", report.lab, step.step),
            None => format!("{}.step {}", report.lab, step.step),
        };
        step.entries.iter().for_each(|entry| case(text, &class, entry));
    }
    *text += "  </testsuite>\n";
}

fn case(text: &mut String, class: &str, entry: &Entry) {
    let (class, name, seconds) = (escaped(class), escaped(&entry.text), entry.seconds);
    let measured = entry.measured.as_ref().map(|measured| escaped(&measured.to_string()));
    let _ =
        write!(text, "    <testcase classname=\"{class}\" name=\"{name}\" time=\"{seconds:.6}\">");
    let why = entry.error.as_deref().map(escaped).or_else(|| measured.clone()).unwrap_or_default();
    let _ = match entry.outcome {
        Outcome::Passed => Ok(()),
        Outcome::Failed => write!(text, "<failure message=\"{why}\"/>"),
        Outcome::Error => write!(text, "<error message=\"{why}\"/>"),
        Outcome::Skipped => write!(text, "<skipped message=\"{why}\"/>"),
    };
    if let Some(measured) = measured {
        let _ = write!(text, "<system-out>{measured}</system-out>");
    }
    *text += "</testcase>\n";
}

/// A text in an attribute or between tags. XML 1.0 has no way to write most control characters.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            '\t' | '\n' | '\r' => {
                let _ = write!(escaped, "&#{};", u32::from(c));
            }
            '\0'..' ' | '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}
