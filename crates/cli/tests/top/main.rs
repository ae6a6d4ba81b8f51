//! `adit status`, `adit top` and `adit report`: real programs, a real terminal, staged faults.
//!
//! Needs a user namespace: `unshare -Urnm --` before the test binary, as `./check` does.
#![allow(clippy::unwrap_used, reason = "in a test, that is the assertion")]

mod charts;
mod report;
mod screen;
mod status;
#[allow(dead_code, reason = "shared with other tests, which use the rest")]
#[path = "../cli/support.rs"]
mod support;
mod terminal;
#[allow(dead_code, reason = "shared with other tests, which use the rest")]
#[path = "../tunnel/world.rs"]
mod world;
