//! Plays a scenario in virtual time, with one seed or with many.

use super::Virtual;
use adit_service::error::Result;
use adit_topology::plan::Plan;
use adit_topology::scenario::report::{Entry, Kind, Outcome, Report, StepReport};
use adit_topology::scenario::{Scenario, run};
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

/// A scenario to be played in virtual time.
#[derive(Clone, Copy, Debug)]
pub struct Play<'a> {
    /// The lab.
    pub plan: &'a Plan,
    /// What happens in it.
    pub scenario: &'a Scenario,
}

/// What is written while a scenario is played.
#[derive(Clone, Debug, Default)]
pub struct Recording {
    /// A file for each event, a line each.
    pub trace: Option<PathBuf>,
    /// A folder for the packets of each link.
    pub capture: Option<PathBuf>,
}

impl Play<'_> {
    /// Plays it with a seed, and calls `each` after each event and expectation.
    ///
    /// # Errors
    /// A setting of the lab is not valid; a file cannot be written.
    pub fn once(
        &self,
        seed: u64,
        recording: &Recording,
        each: impl FnMut(&Entry),
    ) -> Result<Report> {
        let plan =
            if seed == self.plan.seed { self.plan.clone() } else { self.plan.reseeded(seed) };
        let mut world = Virtual::new(&plan)?;
        match &recording.trace {
            Some(file) => world.trace_to(file)?,
            None => world = world.without_trace(),
        }
        if let Some(folder) = &recording.capture {
            world.capture_to(folder)?;
        }
        // The simulator checks its laws by assertions.
        let played = catch_unwind(AssertUnwindSafe(|| run::run(self.scenario, &mut world, each)));
        let mut report = played.unwrap_or_else(|panic| broken(&*panic));
        world.finish()?;
        report.lab = plan.lab.name.as_ref().map_or_else(|| "lab".to_owned(), ToString::to_string);
        (report.seed, report.is_virtual) = (seed, true);
        Ok(report)
    }

    /// Plays it with each seed below `count` on `threads` threads, and calls `each` after each run, in any order. It
    /// ends early once `each` returns `false`.
    ///
    /// # Errors
    /// As [`Self::once`].
    pub fn seeds(
        &self,
        count: u64,
        threads: usize,
        each: impl FnMut(Report) -> bool + Send,
    ) -> Result<()> {
        let (next, goes_on) = (AtomicU64::new(0), AtomicBool::new(true));
        let (each, error) = (Mutex::new(each), Mutex::new(None));
        let work = || {
            while goes_on.load(Ordering::Relaxed) {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= count {
                    break;
                }
                let played = self.once(seed, &Recording::default(), |_| ());
                let wants_more = match played {
                    Ok(report) => each.lock().is_ok_and(|mut each| each(report)),
                    Err(failure) => {
                        if let Ok(mut error) = error.lock() {
                            error.get_or_insert(failure);
                        }
                        false
                    }
                };
                if !wants_more {
                    goes_on.store(false, Ordering::Relaxed);
                }
            }
        };
        thread::scope(|scope| {
            for _ in 1..threads {
                scope.spawn(work);
            }
            work();
        });
        let error = error.into_inner().unwrap_or_default();
        error.map_or(Ok(()), Err)
    }
}

/// The report of a simulation that broke a law.
fn broken(panic: &(dyn Any + Send)) -> Report {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it panicked");
    let entry = Entry {
        text: "the simulation".to_owned(),
        kind: Kind::Event,
        outcome: Outcome::Error,
        at: 0.0,
        seconds: 0.0,
        tries: 1,
        measured: None,
        error: Some(text.to_owned()),
        captures: Vec::new(),
    };
    let steps = vec![StepReport { step: 0, name: None, entries: vec![entry] }];
    Report { steps, ..Report::default() }
}
