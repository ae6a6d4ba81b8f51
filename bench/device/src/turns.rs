//! Measures how fast packets move on this machine: the library beside a plain system-call loop.
//!
//! Everything happens in network namespaces without a name, which go with the process, however it
//! ends. The two movers ([`mover`]) take turns, so that a machine that gets slower meanwhile does so
//! for both.

use crate::mover::{Mover, MoverKind};
use crate::report::{Report, Row};
use crate::{forward, traffic};
use std::io;
use std::time::Duration;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Case {
    /// Packets of this length written to a TUN device, where the kernel drops them for want of a
    /// route: what is left is the system call and the driver.
    Write(usize),
    /// Packets of this length read from the filled queue of a TUN device.
    Read(usize),
    /// One TCP stream from TAP to TAP, in super-packets.
    ForwardStream,
    /// UDP packets of 64 bytes from TAP to TAP.
    ForwardDatagrams,
}

/// The longest packet: what a super-packet of 64 KiB is.
pub(crate) const LONGEST: usize = 65_535;

impl Case {
    /// In the order in which they are measured and shown.
    pub(crate) const ALL: [Self; 8] = [
        Self::Write(64),
        Self::Write(1500),
        Self::Write(LONGEST),
        Self::Read(64),
        Self::Read(1500),
        Self::Read(LONGEST),
        Self::ForwardStream,
        Self::ForwardDatagrams,
    ];

    /// Its name in the table and in JSON.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Write(64) => "write 64 B",
            Self::Write(1500) => "write 1500 B",
            Self::Write(_) => "write 64 KiB",
            Self::Read(64) => "read 64 B",
            Self::Read(1500) => "read 1500 B",
            Self::Read(_) => "read 64 KiB",
            Self::ForwardStream => "forward TCP",
            Self::ForwardDatagrams => "forward UDP",
        }
    }

    fn measure(self, kind: MoverKind, time: Duration) -> io::Result<Sample> {
        match self {
            Self::Write(len) => traffic::write(&mut Mover::new(kind), len, time),
            Self::Read(len) => traffic::read(&mut Mover::new(kind), len, time),
            Self::ForwardStream => forward::stream(kind, time),
            Self::ForwardDatagrams => forward::datagrams(kind, time),
        }
    }
}

/// What one turn gave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    /// The time in which they moved.
    pub(crate) time: Duration,
    /// Of all cores, whoever used it, what makes the packets included; zero if too short to count.
    pub(crate) cpu: Duration,
}

/// Measures all cases, `rounds` times `time` each for both movers.
///
/// A case that fails is in the report with the reason, and the others go on.
pub(crate) fn run(rounds: u32, time: Duration) -> Report {
    let mut rows = Vec::new();
    for case in Case::ALL {
        let mut plain = Vec::new();
        let mut ours = Vec::new();
        let mut failure = None;
        for round in 0..rounds {
            match take_turns(case, round, time) {
                Ok([one, other]) => {
                    plain.push(one);
                    ours.push(other);
                }
                Err(error) => {
                    failure = Some(error.to_string());
                    break;
                }
            }
        }
        rows.push(Row::new(case, MoverKind::Plain, &plain, &plain, failure.as_deref()));
        rows.push(Row::new(case, MoverKind::Adit, &ours, &plain, failure.as_deref()));
    }
    Report::new(rounds, time, rows)
}

/// A round: the plain loop and the library, each first every other time, so that what a turn leaves
/// behind, as a device that is still being taken down, burdens both alike.
fn take_turns(case: Case, round: u32, time: Duration) -> io::Result<[Sample; 2]> {
    let [plain, ours] = MoverKind::ALL;
    if round.is_multiple_of(2) {
        let first = case.measure(plain, time)?;
        return Ok([first, case.measure(ours, time)?]);
    }
    let first = case.measure(ours, time)?;
    Ok([case.measure(plain, time)?, first])
}
