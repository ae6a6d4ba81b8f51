//! `adit tunnel` in namespaces: two ends joined by a veth pair, and real peers.
#![allow(clippy::unwrap_used, reason = "in a test, that is the assertion")]

mod addresses;
mod basics;
#[path = "../cli/browser.rs"]
mod browser;
mod changes;
mod connections;
mod dns;
mod ecn;
mod endure;
mod faults;
mod files;
mod frames;
mod guard;
mod host;
mod invite;
mod killed;
mod leak;
mod many;
mod metrics;
mod page;
mod panics;
mod peers;
mod post_quantum;
mod presence;
mod reload;
mod remake;
#[allow(dead_code, reason = "shared with other tests, which use the rest")]
#[path = "../cli/scrape.rs"]
mod scrape;
mod secrets;
mod show;
mod soak;
mod stamps;
mod streams;
#[allow(dead_code, reason = "shared with other tests, which use the rest")]
#[path = "../cli/support.rs"]
mod support;
mod system;
mod threats;
mod transports;
mod upgrade;
mod wg;
#[allow(dead_code, reason = "shared with other tests, which use the rest")]
mod world;
