//! adit in place of other programs, as those who start them do.
//!
//! Needs a user namespace: `unshare -Urnm --` before the test binary, as `./check` does.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod guest;
mod gvproxy;
mod passt;
mod pasta;
mod slirp4netns;
#[allow(dead_code, reason = "shared with other tests, which use the rest")]
#[path = "../cli/support.rs"]
mod support;
mod world;
