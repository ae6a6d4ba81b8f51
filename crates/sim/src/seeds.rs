//! Many seeds, and what to do with the one that fails.

use core::sync::atomic::{AtomicU64, Ordering};
use std::string::String;
use std::{env, eprintln, format, thread};

use adit_packet::Instant;

/// Runs a scenario for each seed from 0 on, `count` of them, on all cores.
///
/// The environment overrides it: `ADIT_SEEDS=50000` runs so many, `ADIT_SEED=17` that one alone. A
/// scenario that panics prints the command that runs it again.
///
/// # Panics
///
/// If a scenario does, or if one of the variables is not a number.
pub fn for_each_seed(count: u64, scenario: impl Fn(u64) + Sync) {
    let test = thread::current().name().map(String::from);
    let run = |seed| {
        let _told = ToldOnPanic { seed, test: test.as_deref() };
        scenario(seed);
    };
    if let Some(seed) = variable("ADIT_SEED") {
        return run(seed);
    }
    let count = variable("ADIT_SEEDS").unwrap_or(count);
    let next = AtomicU64::new(0);
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|threads| {
        for _ in 0..cores {
            threads.spawn(|| {
                let take =
                    || Some(next.fetch_add(1, Ordering::Relaxed)).filter(|&seed| seed < count);
                while let Some(seed) = take() {
                    run(seed);
                }
            });
        }
    });
}

fn variable(name: &str) -> Option<u64> {
    let value = env::var(name).ok()?;
    match value.parse() {
        Ok(number) => Some(number),
        Err(_) => panic!("{name}={value} is not a number"),
    }
}

/// Says how to run a seed again, should its scenario panic.
struct ToldOnPanic<'a> {
    seed: u64,
    test: Option<&'a str>,
}

impl Drop for ToldOnPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            tell(&replay(self.seed, env::var("CARGO_PKG_NAME").ok().as_deref(), self.test));
        }
    }
}

/// The command that runs a seed again: cargo says in which package a test runs, and the thread in
/// which test.
fn replay(seed: u64, package: Option<&str>, test: Option<&str>) -> String {
    let package = package.map_or_else(String::new, |name| format!(" -p {name}"));
    let test =
        test.filter(|&name| name != "main").map_or_else(String::new, |name| format!(" {name}"));
    format!(
        "seed {seed} failed; run it again with\n  ADIT_SEED={seed} cargo test{package} --all-features{test}"
    )
}

/// Lines of the trace that a failure shows.
const LAST_LINES: usize = 30;

/// Says where a simulation stood when its test panicked.
pub(crate) fn tell_failure<'a>(
    seed: u64,
    now: Instant,
    lines: impl ExactSizeIterator<Item = &'a str>,
) {
    let skipped = lines.len().saturating_sub(LAST_LINES);
    let mut text = format!("the simulation with seed {seed} stopped at {now}; its last events:\n");
    for line in lines.skip(skipped) {
        text.push_str("  ");
        text.push_str(line);
        text.push('\n');
    }
    tell(text.trim_end());
}

#[expect(clippy::print_stderr, reason = "that is where a failed test speaks")]
fn tell(text: &str) {
    eprintln!("{text}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use std::vec::Vec;

    #[test]
    fn every_seed_runs_once() {
        let seen = Mutex::new(Vec::new());
        if env::var_os("ADIT_SEED").is_none() && env::var_os("ADIT_SEEDS").is_none() {
            for_each_seed(50, |seed| seen.lock().unwrap().push(seed));
            let mut seen = seen.into_inner().unwrap();
            seen.sort_unstable();
            assert_eq!(seen, (0..50).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_failure_says_how_to_replay_it() {
        let text = replay(17, Some("my-engine"), Some("storms_end"));
        assert!(text.ends_with("ADIT_SEED=17 cargo test -p my-engine --all-features storms_end"));
        assert!(replay(3, None, Some("main")).ends_with("ADIT_SEED=3 cargo test --all-features"));
    }
}
