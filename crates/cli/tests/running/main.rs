//! Programs that run (`adit switch`, `adit netem`), in namespaces of their own, used as users do.
//!
//! Needs a user namespace: `unshare -Urnm --` before the test binary, as `./check` does.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod accelerate;
mod api;
#[path = "../cli/browser.rs"]
mod browser;
mod check;
mod faults;
mod log;
mod metrics;
mod names;
mod netem;
mod page;
mod program;
mod reload;
mod sandbox;
mod save;
#[path = "../cli/scrape.rs"]
mod scrape;
#[path = "../cli/support.rs"]
#[allow(dead_code, reason = "the other test binary uses the rest")]
mod support;
mod switch;
#[path = "../cli/wires.rs"]
mod wires;
