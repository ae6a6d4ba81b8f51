//! `adit lab`: whole networks from files, as users make them.
//!
//! Needs a user namespace: `unshare -Urnm --` before the test binary, as `./check` does.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
#![allow(clippy::print_stdout, reason = "a test that is skipped says so")]

mod agree;
mod examples;
mod guests;
mod live;
mod metrics;
mod outside;
mod python;
mod sandbox;
mod scenario;
#[allow(dead_code, reason = "shared with other tests, which use the rest")]
#[path = "../cli/scrape.rs"]
mod scrape;
#[allow(dead_code, reason = "shared with other tests, which use the rest")]
#[path = "../cli/support.rs"]
mod support;
mod users;
