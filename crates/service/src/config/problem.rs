//! Mistakes in a configuration, and how they are told.

use crate::config::source::Source;
use crate::error::{Entry, Error, Kind};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::fmt;
use std::ops::Range;
use std::path::Path;

/// The most mistakes that are told of: nobody reads more, and a file that is none has one a line.
const PROBLEMS_MAX: usize = 100;

/// The most characters of a line that are shown.
const EXCERPT_LEN_MAX: usize = 120;

/// A configuration is wrong.
const CONFIG: Entry = Entry {
    code: "ADIT-E0821",
    title: "the configuration is wrong",
    explanation: "A file, or the options of a port on the command line, has keys that are not known, \
                  values that make no sense, or is no TOML. All mistakes are listed with their places. \
                  Nothing was done; a program that runs goes on with what it had.",
    remedy: "Mend the places that are named; 'adit check FILE' tells when a file is well.",
};

/// The codes of configurations.
pub const CATALOG: [Entry; 1] = [CONFIG];

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// The file, or the option of the command line.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1, in characters.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What may have been meant, or what helps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// The line as it stands in the file.
    pub excerpt: String,
    /// How many characters of it are wrong.
    pub width: usize,
}

impl Problem {
    fn new(
        source: &Source,
        span: Range<usize>,
        message: impl fmt::Display,
        help: Option<String>,
    ) -> Self {
        let place = source.place(span);
        Self {
            file: source.name().to_owned(),
            line: place.line,
            column: place.column,
            message: message.to_string(),
            help,
            excerpt: place.text.to_owned(),
            width: place.width,
        }
    }
}

/// `lab.toml:3:1: unknown key`, the line, and a caret below the place.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let clean = crate::output::clean;
        let Self { file, line, column, message, help, excerpt, width } = self;
        if excerpt.is_empty() {
            write!(f, "{}: {}", clean(file), clean(message))?;
            return help.as_ref().map_or(Ok(()), |help| write!(f, ": {}", clean(help)));
        }
        write!(f, "{}:{line}:{column}: {}", clean(file), clean(message))?;
        let number = line.to_string();
        // A tab is shown as one space, so that the caret stands below its character.
        let shown = |c: char| if c == '\t' { ' ' } else { c };
        // A long line is shown from a little before the place.
        let from = if *column > EXCERPT_LEN_MAX / 2 { column - EXCERPT_LEN_MAX / 4 } else { 1 };
        let part = excerpt.chars().skip(from - 1).take(EXCERPT_LEN_MAX).map(shown);
        // What has no shape of its own gets one of one character: the caret must not move.
        let part: String = part.map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
        let margin = " ".repeat(number.len());
        let indent = " ".repeat(column - from);
        let room = EXCERPT_LEN_MAX.saturating_sub(column - from).max(1);
        let carets = "^".repeat((*width).clamp(1, room));
        write!(f, "\n {number} | {part}\n {margin} | {indent}{carets}")?;
        match help {
            Some(help) => write!(f, " {}", clean(help)),
            None => Ok(()),
        }
    }
}

/// The mistakes found so far.
#[derive(Debug, Default)]
pub struct Problems {
    list: RefCell<Vec<Problem>>,
}

impl Problems {
    /// Notes a mistake at the bytes `span` of `source`; one at the same place as another is the
    /// consequence of that.
    pub fn push(
        &self,
        source: &Source,
        span: Range<usize>,
        message: impl fmt::Display,
        help: Option<String>,
    ) {
        // To find a place takes time in the length of the file.
        if self.is_full() {
            return;
        }
        let problem = Problem::new(source, span, message, help);
        let mut list = self.list.borrow_mut();
        // What has no text has one place for all.
        let has_places = !source.text().is_empty();
        let same = |known: &Problem| {
            (&known.file, known.line, known.column) == (&problem.file, problem.line, problem.column)
                && (has_places || known.message == problem.message)
        };
        if !list.iter().any(same) {
            list.push(problem);
        }
    }

    /// Notes a mistake that was found elsewhere.
    pub fn add(&self, problem: Problem) {
        if !self.is_full() {
            self.list.borrow_mut().push(problem);
        }
    }

    /// Changes what is told of each: what nobody may see is hidden by this.
    pub fn edit(&self, change: impl FnMut(&mut Problem)) {
        self.list.borrow_mut().iter_mut().for_each(change);
    }

    /// Whether no more are noted: there is one more than is told of, to know that there are more.
    pub fn is_full(&self) -> bool {
        self.list.borrow().len() > PROBLEMS_MAX
    }

    /// All of them, in the order of their places.
    pub fn into_list(self) -> Vec<Problem> {
        let mut list = self.list.into_inner();
        // Files stay in the order in which they were read.
        let mut files: Vec<String> = Vec::new();
        for problem in &list {
            if !files.contains(&problem.file) {
                files.push(problem.file.clone());
            }
        }
        let file_number = |problem: &Problem| files.iter().position(|file| *file == problem.file);
        list.sort_by_key(|problem| (file_number(problem), problem.line, problem.column));
        list
    }

    /// Nothing if all is well.
    ///
    /// # Errors
    /// All mistakes in `what`, as one error.
    pub fn check(self, what: impl fmt::Display) -> Result<(), Error> {
        let mut problems = self.into_list();
        if problems.is_empty() {
            return Ok(());
        }
        let more = if problems.len() > PROBLEMS_MAX { "more than " } else { "" };
        problems.truncate(PROBLEMS_MAX);
        let count = problems.len();
        let mistakes = if count == 1 { "mistake" } else { "mistakes" };
        let message = format!("{what} has {more}{count} {mistakes}");
        let mut error = Error::new(Kind::Usage, &CONFIG, message).object(what);
        if problems.iter().all(|problem| !Path::new(&problem.file).exists()) {
            error = error.hint("Mend what is named; nothing was done.");
        }
        error.report.problems = problems;
        Err(error)
    }
}
