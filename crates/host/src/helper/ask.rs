//! What the worker may ask, and the replies.

use crate::changes::action::Action;
use crate::changes::executor::Outcome;
use crate::changes::filter::TableId;
use crate::error::{Error, Kind, Report, kind_of, number_of};
use adit_device::broker::{Failure, Request};
use adit_device::wire::{decode, encode};
use adit_device::{IfName, Mode, wire_as, wire_enum};
use std::net::SocketAddr;
use std::path::PathBuf;

/// A request of the worker. Descriptors come beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Opens something for the loop or for a port: a socket, a device, a namespace, a recording.
    Open(Request),
    /// Begins with another executor, for a device if it exists; with a namespace, or for that of the program.
    Begin(Option<IfName>),
    /// Carries an action out.
    Perform(Action),
    /// Hands the device over that was opened.
    TakeDevice,
    /// Runs a program of the configuration to its end.
    Run(Vec<String>),
    /// Opens a file of the configuration to be read; whether it must be a regular one.
    File(PathBuf, bool),
    /// Resolves a name of the configuration, with a port.
    Resolve(String, u16),
    /// Compiles a filter by tcpdump: the name of the link type, the bytes that are kept, the expression.
    Filter(String, u32, String),
    /// Lists the tables of the packet filter; with a namespace, or in that of the program.
    FilterTables,
    /// What the service defines.
    Service(Vec<u8>),
    /// Writes no longer to the terminal.
    Detach,
    /// Starts the program that takes over; with its standard output.
    Succeed,
    /// Waits for the program that takes over.
    AwaitSuccessor,
    /// Holds a descriptor until the helper ends: that of the lock of the program's name.
    Hold,
}

/// What became of a request; descriptors come beside it.
#[derive(Debug)]
pub enum Reply {
    /// It was done.
    Done,
    /// The failure of [`Ask::Open`].
    NotOpened(Failure),
    /// What an action did.
    Outcome(Outcome),
    /// What kind of device was handed over.
    Device(Mode),
    /// The addresses of a name, or the number of the failure and its text.
    Addresses(Result<Vec<SocketAddr>, String>),
    /// Whether a program succeeded, and what it wrote: to standard output, and the last line of standard error.
    Output(bool, String, String),
    /// The tables.
    Tables(Vec<TableId>),
    /// What the service replies.
    Service(Vec<u8>),
    /// The failure.
    Failed(Box<Error>),
    /// The number of the program that takes over; with its pidfd, and the socket to it.
    Started(u32),
    /// How it exited, as wait(2) has it, if it is a child of the helper.
    Exited(Option<i32>),
}

wire_enum! { Ask {
    0 = Open(request),
    1 = Begin(device),
    2 = Perform(action),
    3 = TakeDevice,
    4 = Run(words),
    5 = File(path, is_regular),
    6 = Resolve(name, port),
    7 = Filter(link, snap_len, expression),
    8 = FilterTables,
    9 = Service(bytes),
    10 = Detach,
    11 = Succeed,
    12 = AwaitSuccessor,
    13 = Hold,
} }

wire_enum! { Reply {
    0 = Done,
    1 = NotOpened(failure),
    2 = Outcome(outcome),
    3 = Device(mode),
    4 = Addresses(result),
    5 = Output(is_success, output, error),
    6 = Tables(tables),
    7 = Service(bytes),
    8 = Failed(error),
    9 = Started(pid),
    10 = Exited(status),
} }

wire_as! {
    Error as (u8, String):
        |error| (number_of(error), serde_json::to_string(&error.report).unwrap_or_default()),
        |(number, text)| {
            let report: Report = serde_json::from_str(&text).ok()?;
            let kind = kind_of(number.into()).unwrap_or(Kind::Refused);
            Some(Self { kind, report: Box::new(report) })
        };
}

/// Whatever the bytes are, reading them as a request ends and does not panic; what is a request is written as the bytes that
/// it was read from.
///
/// # Panics
/// If it does not hold.
pub fn exercise(bytes: &[u8]) {
    if let Some(ask) = decode::<Ask>(bytes) {
        let again = encode(&ask);
        assert_eq!(decode::<Ask>(&again).as_ref(), Some(&ask), "it comes back");
    }
    let _ = decode::<Reply>(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_are_a_request_or_refused(
            kind in 0_u8..14,
            rest in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            exercise(&[&[kind], &rest[..]].concat());
            exercise(&rest);
        }
    }

    #[test]
    fn requests_come_back() {
        let words = |list: &[&str]| list.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        for ask in [
            Ask::Open(Request::Netlink(0, 1)),
            Ask::Perform(Action::SetUp(true)),
            Ask::Perform(Action::Rename("tap0".parse().unwrap())),
            Ask::Run(words(&["a", ""])),
            Ask::File("/etc/adit/site.conf".into(), true),
        ] {
            let bytes = encode(&ask);
            assert_eq!(decode::<Ask>(&bytes), Some(ask));
            exercise(&bytes);
        }
    }
}
