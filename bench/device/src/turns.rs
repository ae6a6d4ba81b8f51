//! Measures how fast packets move on this machine: the library beside a plain system-call loop.
//!
//! Everything happens in network namespaces without a name, which go with the process, however it
//! ends. The two movers ([`mover`]) take turns, so that a machine that gets slower meanwhile does so
//! for both.

use crate::case::{Case, Sample};
use crate::mover::{Mover, MoverKind};
use crate::report::{Report, Row};
use crate::{forward, traffic};
use std::io;
use std::time::Duration;

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
        let first = measure(case, plain, time)?;
        return Ok([first, measure(case, ours, time)?]);
    }
    let first = measure(case, ours, time)?;
    Ok([measure(case, plain, time)?, first])
}

/// One turn of a case.
fn measure(case: Case, kind: MoverKind, time: Duration) -> io::Result<Sample> {
    match case {
        Case::Write(len) => traffic::write(&mut Mover::new(kind), len, time),
        Case::Read(len) => traffic::read(&mut Mover::new(kind), len, time),
        Case::ForwardStream => forward::stream(kind, time),
        Case::ForwardDatagrams => forward::datagrams(kind, time),
    }
}
