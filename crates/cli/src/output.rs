//! The only place that prints.

use crate::errno::errno_name;
use adit_service::error::Report;
pub(crate) use adit_service::text::clean;
use adit_top::columns;
use anstyle::{AnsiColor, Style};
use serde::Serialize;
use std::fmt;
use std::io::{self, IsTerminal, Write};

/// How and what to print.
#[derive(Clone, Debug)]
pub(crate) struct Output {
    pub(crate) json: bool,
    pub(crate) pretty: bool,
    pub(crate) quiet: bool,
    /// How often `-v` was given.
    pub(crate) verbose: u8,
    color_out: bool,
    color_err: bool,
}

/// What a piece of text is, for its colour; never told by colour alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    Name,
    Good,
    Bad,
    Faint,
}

impl Tone {
    const fn style(self) -> Style {
        match self {
            Self::Name => AnsiColor::Cyan.on_default(),
            Self::Good => AnsiColor::Green.on_default(),
            Self::Bad => AnsiColor::Red.on_default().bold(),
            Self::Faint => Style::new().dimmed(),
        }
    }
}

impl Output {
    pub(crate) fn new(
        json: bool,
        pretty: bool,
        colors: [bool; 2],
        quiet: bool,
        verbose: u8,
    ) -> Self {
        Self {
            json: json || pretty,
            pretty,
            quiet,
            verbose,
            color_out: colors[0],
            color_err: colors[1],
        }
    }

    /// `text` in its colour, if colours are on for standard output.
    pub(crate) fn paint(&self, tone: Tone, text: impl fmt::Display) -> String {
        paint(self.color_out, tone, text)
    }

    /// Whether colours are on for standard output.
    pub(crate) const fn is_colored(&self) -> bool {
        self.color_out
    }

    /// Whether colours are on for standard error.
    pub(crate) const fn is_colored_on_stderr(&self) -> bool {
        self.color_err
    }

    /// A line of what was asked for.
    pub(crate) fn line(&self, text: impl fmt::Display) -> io::Result<()> {
        let mut out = io::stdout().lock();
        writeln!(out, "{text}")?;
        out.flush()
    }

    /// Bytes of what was asked for, as they are.
    pub(crate) fn bytes(&self, bytes: &[u8]) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(bytes)?;
        out.flush()
    }

    /// A JSON value: on one line, or with `--pretty` on many.
    pub(crate) fn value(&self, value: &impl Serialize) -> io::Result<()> {
        self.line(to_json(value, self.pretty)?)
    }

    /// Something that is good to know, on standard error; not with `-q`.
    pub(crate) fn note(&self, text: impl fmt::Display) {
        if !self.quiet {
            // Standard error may be closed; there is nobody to tell then.
            let _ = writeln!(io::stderr().lock(), "{text}");
        }
    }

    /// How far something is, on a line of standard error that the next one replaces; only on a terminal.
    pub(crate) fn progress(&self, text: impl fmt::Display) {
        let mut err = io::stderr().lock();
        if !self.quiet && !self.json && err.is_terminal() {
            let _ = write!(err, "\r\x1b[K{text}");
            let _ = err.flush();
        }
    }

    /// A failure, on standard error.
    pub(crate) fn error(&self, report: &Report) {
        let text = if self.json {
            // A report is numbers and strings: it always has a JSON form.
            to_json(report, self.pretty).unwrap_or_else(|_| report.message.clone())
        } else {
            report_text(report, self.color_err)
        };
        let _ = writeln!(io::stderr().lock(), "{text}");
    }
}

fn to_json(value: &impl Serialize, pretty: bool) -> io::Result<String> {
    let text =
        if pretty { serde_json::to_string_pretty(value) } else { serde_json::to_string(value) };
    text.map_err(io::Error::from)
}

fn paint(on: bool, tone: Tone, text: impl fmt::Display) -> String {
    if on {
        let style = tone.style();
        format!("{style}{text}{style:#}")
    } else {
        text.to_string()
    }
}

fn report_text(report: &Report, color: bool) -> String {
    let mut text = format!("{}: {}", paint(color, Tone::Bad, "error"), clean(&report.message));
    for done in &report.done {
        text.push_str(&format!("\n  done: {}", clean(done)));
    }
    for problem in &report.problems {
        // Its parts are made harmless where they are put together.
        text.push_str(&format!("\n{problem}"));
    }
    if let Some(hint) = &report.hint {
        text.push_str(&format!("\n  help: {}", clean(hint)));
    }
    text.push_str(&format!("\n  code: {}", report.code));
    if let Some(errno) = report.errno {
        let name = errno_name(errno).map_or(String::new(), |name| format!(", {name}"));
        text.push_str(&format!(" (errno {errno}{name})"));
    }
    text
}

/// Lines up the columns of `rows`, two spaces between them.
pub(crate) fn table(rows: &[Vec<String>]) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let mut widths = vec![0; columns];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(columns::width(cell));
        }
    }
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| columns::fit(cell, *width, false));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = [vec!["NAME".to_owned(), "MTU".into()], vec!["t".into(), "1500".into()]];
        assert_eq!(table(&rows), ["NAME  MTU", "t     1500"]);
        let rows = [vec!["测试".to_owned(), "1".into()], vec!["abcde".into(), "2".into()]];
        assert_eq!(table(&rows), ["测试   1", "abcde  2"]);
    }
}
