//! The text below the options of a help, split into notes and examples.

use super::markdown::write_verbatim;
use clap::Command;
use clap_mangen::roff::{Roff, roman};

/// What the help of a command says after its options.
#[derive(Debug, Default)]
pub(super) struct Help {
    /// Paragraphs, each with its lines; an indented line keeps its columns.
    notes: Vec<Vec<String>>,
    /// Command lines, as they are typed.
    pub(super) examples: Vec<String>,
}

impl Help {
    pub(super) fn of(command: &Command) -> Self {
        let text = command.get_after_long_help().or_else(|| command.get_after_help());
        let text = text.map(ToString::to_string).unwrap_or_default();
        let mut help = Self::default();
        let lines: Vec<&str> = text.lines().collect();
        for block in lines.split(|line| line.trim().is_empty()) {
            help.take(block);
        }
        help
    }

    fn take(&mut self, block: &[&str]) {
        match block {
            [] | ["Exit status:", ..] => {}
            ["Examples:", lines @ ..] => {
                self.examples.extend(lines.iter().map(|line| line.trim().to_owned()));
            }
            [line] if line.starts_with("Example: ") => {
                self.examples.extend(line.strip_prefix("Example: ").map(str::to_owned));
            }
            _ => self.notes.push(block.iter().map(|line| (*line).to_owned()).collect()),
        }
    }

    pub(super) fn write_notes(&self, roff: &mut Roff) {
        for paragraph in &self.notes {
            roff.control("PP", []);
            for run in paragraph.chunk_by(|a, b| is_indented(a) == is_indented(b)) {
                if run.first().is_some_and(|line| is_indented(line)) {
                    write_verbatim(run.iter().map(String::as_str), roff);
                } else {
                    roff.text([roman(run.join(" "))]);
                }
            }
        }
    }
}

fn is_indented(line: &str) -> bool {
    line.starts_with(' ')
}
