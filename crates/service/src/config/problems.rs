//! The problems of a configuration, collected so that all are reported at once.

use crate::config::problem::Problem;
use crate::config::source::Source;
use crate::error::Error;
use std::cell::RefCell;
use std::fmt;
use std::ops::Range;

/// The most problems that are reported: nobody reads more, and a file of another format has one a line.
const PROBLEMS_MAX: usize = 100;

/// The problems found so far.
#[derive(Debug, Default)]
pub struct Problems {
    list: RefCell<Vec<Problem>>,
}

impl Problems {
    /// Adds a problem at the bytes `span` of `source`; a second one at the same place is dropped, as a
    /// consequence of the first.
    pub fn push(
        &self,
        source: &Source,
        span: Range<usize>,
        message: impl fmt::Display,
        help: Option<String>,
    ) {
        // To find a place takes time proportional to the length of the file.
        if self.is_full() {
            return;
        }
        let problem = Problem::new((source.name(), source.text()), span, message, help);
        let mut list = self.list.borrow_mut();
        // A request has no text, and one place for all.
        let has_places = !source.text().is_empty();
        let same = |known: &Problem| {
            (&known.file, known.line, known.column) == (&problem.file, problem.line, problem.column)
                && (has_places || known.message == problem.message)
        };
        if !list.iter().any(same) {
            list.push(problem);
        }
    }

    /// Adds a problem that was found elsewhere.
    pub fn add(&self, problem: Problem) {
        if !self.is_full() {
            self.list.borrow_mut().push(problem);
        }
    }

    /// Changes each: to hide secrets, for example.
    pub fn edit(&self, change: impl FnMut(&mut Problem)) {
        self.list.borrow_mut().iter_mut().for_each(change);
    }

    /// Whether no more are added: one more than is reported, to know that there are more.
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

    /// `Ok` without problems.
    ///
    /// # Errors
    /// All problems of `what`, as one error.
    pub fn check(self, what: impl fmt::Display) -> Result<(), Error> {
        let mut problems = self.into_list();
        if problems.is_empty() {
            return Ok(());
        }
        let has_more = problems.len() > PROBLEMS_MAX;
        problems.truncate(PROBLEMS_MAX);
        Err(Error::of_problems(what, problems, has_more))
    }
}
