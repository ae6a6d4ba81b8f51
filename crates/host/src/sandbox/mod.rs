//! Takes from a program that moves packets what it needs no more, in stages as passt does.
//!
//! | stage | when | what |
//! |---|---|---|
//! | `mounts::isolate` | everything is open, one thread | a mount namespace with the listed folders alone |
//! | `capabilities::drop_all` | after it, as mounting needs one | no capability, also none of a program that is executed; no debugger |
//! | `landlock::restrict` | after it, as it needs no privilege | files: the listed folders alone; no abstract sockets |
//! | `seccomp::restrict` | last, as the others make calls that it forbids | the listed system calls alone |
//!
//! Where mounts are refused (AppArmor's `deny mount`), the other stages still hold. The first packet is read
//! after the last stage.

pub mod capabilities;
pub mod landlock;
pub mod mounts;
mod needs;
pub mod seccomp;
mod syscalls;

pub use needs::Needs;
pub use syscalls::is_known;

use crate::error::{Entry, Error, Kind, Result};
use std::fmt;
use std::io;
use std::str::FromStr;

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

/// Enters the sandbox, for good. Returns what was refused, for a note.
///
/// # Errors
/// [`SANDBOX`]: a stage was refused, with [`Level::Require`].
pub fn enter(level: Level, needs: &Needs) -> Result<Option<String>> {
    if level == Level::Off {
        return Ok(None);
    }
    let stages: [(&str, Stage); 4] = [
        ("an empty mount namespace", mounts::isolate),
        ("no capabilities", capabilities::drop_all),
        ("Landlock", landlock::restrict),
        ("seccomp", seccomp::restrict),
    ];
    let mut refused = Vec::new();
    for (name, stage) in stages {
        let Err(error) = stage(needs) else { continue };
        if level == Level::Require {
            let message = format!("cannot enter the sandbox: {name}: {error}");
            let mut new = Error::new(Kind::Refused, &SANDBOX, message);
            new.report.errno = error.raw_os_error();
            return Err(new);
        }
        refused.push(format!("{name} ({error})"));
    }
    // In a debug build, a call that is on no list, for the test that it kills.
    if cfg!(debug_assertions)
        && std::env::var_os("ADIT_FAILPOINT").is_some_and(|set| set == "sandbox")
    {
        let _ = rustix::process::chroot("/");
    }
    let note = || format!("the sandbox is without {}", refused.join(", "));
    Ok((!refused.is_empty()).then(note))
}
