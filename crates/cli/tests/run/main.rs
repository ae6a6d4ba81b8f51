//! `adit run`: commands in namespaces of their own, as users run them.
//!
//! Needs a user namespace: `unshare -Urnm --` before the test binary, as `./check` does.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod command;
mod kill;
mod names;
mod nat;
mod policy;
mod programs;
mod publish;
mod roaming;
mod sandbox;
mod semantics;
mod serve;
mod soak;
mod splice;
#[allow(dead_code, reason = "shared with other tests, which use the rest")]
#[path = "../cli/support.rs"]
mod support;
mod tunnel;
