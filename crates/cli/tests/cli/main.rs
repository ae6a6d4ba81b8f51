//! The program `adit`, run as users run it, in namespaces of its own.
//!
//! Needs a user namespace: `unshare -Urnm --` before the test binary, as `./check` does.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod agree;
mod book;
mod commands;
mod errors;
mod kill;
mod lab;
mod man;
mod metrics;
mod reference;
mod remedies;
mod schema;
#[allow(dead_code, reason = "shared with other tests, which use the rest")]
mod support;
mod tuntap;
mod watch;
