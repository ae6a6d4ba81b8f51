//! The exit statuses of the program.

use adit_service::error::{Error, Kind};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

/// The status with which the program ends: `adit --help` lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done.
    Ok,
    /// What was asked about is not so.
    NotSo,
    /// The command line is wrong.
    Usage,
    /// A privilege is missing.
    Permission,
    /// There is no such device, user, namespace.
    NotFound,
    /// Another has it, or it is of another kind.
    Conflict,
    /// It took too long.
    Timeout,
    /// The kernel refused it for another reason.
    Refused,
    /// A part was done before the failure.
    Partly,
    /// A thread panicked; what the program had made was taken back.
    Bug,
    /// The reader of the output went away: 128 + SIGPIPE.
    BrokenPipe,
    /// That of a program whose end was ours.
    Program(u8),
}

impl Exit {
    /// Its number.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::NotSo => 1,
            Self::Usage => 2,
            Self::Permission => 3,
            Self::NotFound => 4,
            Self::Conflict => 5,
            Self::Timeout => 6,
            Self::Refused => 7,
            Self::Partly => 8,
            Self::Bug => 101,
            Self::BrokenPipe => 141,
            Self::Program(code) => code,
        }
    }

    /// That of a program: 128 + the signal that killed it, as a shell has it.
    pub(crate) fn of_program(status: ExitStatus) -> Self {
        let code = status.code().or_else(|| Some(128 + status.signal()?));
        Self::Program(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX))
    }

    /// The status for a failure.
    pub(crate) fn of(error: &Error) -> Self {
        if !error.report.done.is_empty() {
            return Self::Partly;
        }
        match error.kind {
            Kind::Usage => Self::Usage,
            Kind::Permission => Self::Permission,
            Kind::NotFound => Self::NotFound,
            Kind::Conflict => Self::Conflict,
            Kind::Timeout => Self::Timeout,
            Kind::BrokenPipe => Self::BrokenPipe,
            _ => Self::Refused,
        }
    }

    /// The status with this number, as another adit exited.
    pub(crate) fn from_code(code: u64) -> Option<Self> {
        const ALL: [Exit; 8] = [
            Exit::NotSo,
            Exit::Usage,
            Exit::Permission,
            Exit::NotFound,
            Exit::Conflict,
            Exit::Timeout,
            Exit::Refused,
            Exit::Partly,
        ];
        ALL.into_iter().find(|exit| u64::from(exit.code()) == code)
    }
}
