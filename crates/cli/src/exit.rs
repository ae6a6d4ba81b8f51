//! The exit statuses of the program.

use adit_service::error::{Error, Kind};

/// The status with which the program ends: `adit --help` lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// Done.
    Ok = 0,
    /// What was asked about is not so.
    NotSo = 1,
    /// The command line is wrong.
    Usage = 2,
    /// A privilege is missing.
    Permission = 3,
    /// There is no such device, user, namespace.
    NotFound = 4,
    /// Another has it, or it is of another kind.
    Conflict = 5,
    /// It took too long.
    Timeout = 6,
    /// The kernel refused it for another reason.
    Refused = 7,
    /// A part was done before the failure.
    Partly = 8,
    /// A thread panicked; what the program had made was taken back.
    Bug = 101,
    /// The reader of the output went away: 128 + SIGPIPE.
    BrokenPipe = 141,
}

impl Exit {
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
        ALL.into_iter().find(|exit| *exit as u64 == code)
    }
}
