//! Reports of the keeper as they are sent.

use crate::keeper::order::{CommandOutput, ProgramEvent, ProgramKey, Ticket};
use adit_service::error::{Error, Kind, Report};
use adit_service::error::{kind_of, number_of};
use serde::{Deserialize, Serialize};

/// A line of the keeper. Descriptors go with it as noted.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Said {
    /// The keeper is there.
    Hello {
        /// Its number outside of its process namespace.
        pid: u32,
    },
    /// It could not be.
    Refused(Failure),
    Done(Ticket, Result<DoneSaid, Failure>),
    Program(ProgramEvent),
    /// With its number outside of the process namespace if it runs.
    Restarted(ProgramKey, Result<u32, Failure>),
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum DoneSaid {
    Plainly,
    /// The number of a descriptor of the keeper.
    Node(i32),
    /// With its queue and a netlink socket.
    Tap,
    /// With the end of a pipe if there is one.
    Started {
        /// Its number outside of the process namespace.
        pid: u32,
        has_output: bool,
    },
    Output(CommandOutput),
    Door {
        net: i32,
        mount: i32,
        uts: i32,
    },
}

/// An error as it is sent.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Failure(u8, Box<Report>);

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self(number_of(&error), error.report)
    }
}

impl From<Failure> for Error {
    fn from(Failure(number, report): Failure) -> Self {
        Self { kind: kind_of(number.into()).unwrap_or(Kind::Refused), report }
    }
}
