//! Takes from a program that moves packets what it needs no more, in stages as passt does.
//!
//! | stage | when | what |
//! |---|---|---|
//! | `Sandbox::prepare` | first, one thread | a helper process that keeps the privileges, for programs that open something later |
//! | `mounts::isolate` | everything is open, one thread; programs without a helper | a mount namespace with the listed folders alone |
//! | `capabilities::drop_all` | after it, as mounting needs one | no capability, also none of a program that is executed; no debugger |
//! | `landlock::restrict` | after it, as it needs no privilege | files: the listed folders alone; no abstract sockets, no TCP |
//! | `seccomp::restrict` | last, as the others make calls that it forbids | the listed system calls alone |
//!
//! Where mounts are refused (AppArmor's `deny mount`), the other stages still hold. The first packet is read
//! after the last stage.

pub mod capabilities;
mod exercise;
pub mod landlock;
pub mod mounts;
mod needs;
pub mod seccomp;
mod state;
mod syscalls;

pub use needs::{Needs, owner};
pub use rustix::thread::CapabilitySet;
pub use state::{SandboxState, state};
pub use syscalls::is_known;

use crate::error::{Entry, Error, Kind, Result};
use crate::helper::{self, Helper, Policy};
use adit_device::rights::absolute;
use std::fmt;
use std::io;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

/// A stage of the sandbox is refused.
pub const SANDBOX: Entry = Entry {
    code: "ADIT-E0832",
    title: "the sandbox cannot be entered",
    explanation: "With --sandbox require, adit does not start where one of the stages is refused: an empty \
                  mount namespace, no capabilities, Landlock, seccomp.",
    remedy: "Use --sandbox try to go on with the stages that are allowed.",
};

/// The codes of this module.
pub const CATALOG: [Entry; 1] = [SANDBOX];

/// How much of the sandbox is needed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Level {
    /// All of it: a program that cannot have it does not start.
    Require,
    /// What this machine allows; what it does not is reported once.
    #[default]
    Try,
    /// None of it.
    Off,
}

impl Level {
    /// The words for the levels.
    pub const WORDS: [&str; 3] = ["require", "try", "off"];
}

impl FromStr for Level {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "require" => Ok(Self::Require),
            "try" => Ok(Self::Try),
            "off" => Ok(Self::Off),
            _ => Err(format!("the levels are {}", Self::WORDS.join(", "))),
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Require => "require",
            Self::Try => "try",
            Self::Off => "off",
        })
    }
}

/// Takes something away.
type Stage = fn(&Needs) -> io::Result<()>;

/// What holds for a process that reads files for one in the sandbox: no capability, and the listed system calls
/// alone.
///
/// # Errors
/// A stage was refused.
pub fn confine(level: Level, needs: &Needs) -> io::Result<()> {
    if level == Level::Off {
        return Ok(());
    }
    capabilities::drop_all(needs)?;
    seccomp::restrict(needs)
}

/// The sandbox of a program that opens something later, before it is entered.
#[derive(Debug)]
pub struct Sandbox {
    level: Level,
    helper: Option<Arc<Helper>>,
    /// Why there is none.
    failure: Option<io::Error>,
}

impl Sandbox {
    /// Starts the helper, unless the level is off. This process must have a single thread.
    ///
    /// # Errors
    /// [`SANDBOX`]: it cannot be started, with [`Level::Require`].
    pub fn prepare(level: Level, policy: Policy) -> Result<Self> {
        Self::start(level, policy, || Ok(()))
    }

    /// As [`Self::prepare`], with a helper that has no privilege either: it opens files of the user, and sockets.
    ///
    /// # Errors
    /// As [`Self::prepare`].
    pub fn prepare_unprivileged(level: Level, policy: Policy) -> Result<Self> {
        Self::start(level, policy, || capabilities::drop_all(&Needs::default()))
    }

    fn start(level: Level, policy: Policy, give_up: fn() -> io::Result<()>) -> Result<Self> {
        let started = (level != Level::Off).then(|| helper::start(policy, give_up)).transpose();
        match started {
            Ok(helper) => Ok(Self { level, helper, failure: None }),
            Err(error) if level == Level::Require => Err(refused("the helper process", &error)),
            // Without the helper, what is needed later could not be opened.
            Err(error) => Ok(Self { level: Level::Off, helper: None, failure: Some(error) }),
        }
    }

    /// None: for a program that embeds a service, and has a sandbox of its own.
    #[must_use]
    pub const fn off() -> Self {
        Self { level: Level::Off, helper: None, failure: None }
    }

    /// Whether nothing is forbidden.
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.level == Level::Off
    }

    /// The process that keeps the privileges.
    #[must_use]
    pub fn helper(&self) -> Option<&Arc<Helper>> {
        self.helper.as_ref()
    }

    /// Enters it, for good. Returns what was refused, for a note.
    ///
    /// # Errors
    /// As [`enter`].
    pub fn enter(&self, needs: &Needs) -> Result<Option<String>> {
        Ok(notes([self.give_up(needs)?, self.restrict_calls(needs)?]))
    }

    /// Enters all but the last stage: capabilities and files, which a thread passes on to those that it starts. So it comes
    /// before the first of them. From then on the helper opens everything.
    ///
    /// # Errors
    /// As [`enter`].
    pub fn give_up(&self, needs: &Needs) -> Result<Option<String>> {
        if let Some(error) = &self.failure {
            return Ok(Some(format!(
                "there is no sandbox: cannot start its helper process: {error}"
            )));
        }
        self.helper.iter().for_each(Helper::install);
        run(self.level, needs, &STAGES[..CALLS])
    }

    /// Enters the last stage, which holds for all threads: when everything is open.
    ///
    /// # Errors
    /// As [`enter`].
    pub fn restrict_calls(&self, needs: &Needs) -> Result<Option<String>> {
        run(self.level, needs, &STAGES[CALLS..])
    }
}

fn notes(notes: [Option<String>; 2]) -> Option<String> {
    notes.into_iter().flatten().reduce(|first, second| format!("{first}; {second}"))
}

fn refused(stage: &str, error: &io::Error) -> Error {
    let message = format!("cannot enter the sandbox: {stage}: {error}");
    let mut new = Error::new(Kind::Refused, &SANDBOX, message);
    new.report.errno = error.raw_os_error();
    new
}

/// The stages, in order.
const STAGES: [(&str, Stage); 4] = [
    ("an empty mount namespace", mounts::isolate),
    ("no capabilities", capabilities::drop_all),
    ("Landlock", landlock::restrict),
    ("seccomp", seccomp::restrict),
];

/// The place of the last stage.
const CALLS: usize = 3;

/// Enters the sandbox, for good. Returns what was refused, for a note.
///
/// # Errors
/// [`SANDBOX`]: a stage was refused, with [`Level::Require`].
pub fn enter(level: Level, needs: &Needs) -> Result<Option<String>> {
    run(level, needs, &STAGES)
}

fn run(level: Level, needs: &Needs, stages: &[(&str, Stage)]) -> Result<Option<String>> {
    if level == Level::Off {
        return Ok(None);
    }
    adit_runtime::ask_for_the_kernel();
    adit_runtime::record::error::writer();
    let _ = absolute(Path::new("."));
    let mut refusals = Vec::new();
    for (name, stage) in stages {
        match stage(needs) {
            Ok(()) => {}
            Err(error) if level == Level::Require => return Err(refused(name, &error)),
            Err(error) => refusals.push(format!("{name} ({error})")),
        }
    }
    if stages.len() != CALLS {
        exercise::run();
    }
    let note = || format!("the sandbox is without {}", refusals.join(", "));
    Ok((!refusals.is_empty()).then(note))
}
