//! Attacks and faults: what a port, a guest or the machine does to `adit switch` and `adit netem`
//! while others have traffic.
//!
//! Needs a user namespace: `unshare -Urnm --` before the test binary, as `./check` does.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
#![allow(clippy::print_stdout, reason = "the seed of a test that failed")]

mod flood;
mod junk;
mod kill;
mod lost;
#[path = "../running/program.rs"]
#[allow(dead_code, reason = "the other test binary uses the rest")]
mod program;
mod short;
#[path = "../cli/support.rs"]
#[allow(dead_code, reason = "the other test binaries use the rest")]
mod support;
mod wire;
#[path = "../cli/wires.rs"]
mod wires;
