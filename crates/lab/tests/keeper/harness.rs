//! Runs each test in a process of its own, with one thread: from others no keeper starts.

use adit_device::process::Child;
use std::time::Instant;

/// The tests whose names contain an argument; those named `root_` and `long_` only with `--ignored`.
#[expect(clippy::print_stdout, reason = "what a test harness prints")]
pub(crate) fn run(tests: &[(&str, fn())]) {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let filters: Vec<&String> = arguments.iter().filter(|word| !word.starts_with('-')).collect();
    let has = |flag: &str| arguments.iter().any(|word| word == flag);
    let (only_ignored, all) = (has("--ignored"), has("--include-ignored"));
    let mut failed = Vec::new();
    for (name, test) in tests {
        let is_ignored = name.starts_with("root_") || name.starts_with("long_");
        let is_wanted = filters.is_empty() || filters.iter().any(|filter| name.contains(*filter));
        if !is_wanted || !(all || is_ignored == only_ignored) {
            continue;
        }
        if has("--list") {
            println!("{name}: test");
            continue;
        }
        let start = Instant::now();
        let child = Child::fork(|| {
            test();
            0
        });
        let is_ok = child.unwrap().wait().unwrap() == 0;
        println!(
            "test {name} ... {} ({:.2?})",
            if is_ok { "ok" } else { "FAILED" },
            start.elapsed()
        );
        if !is_ok {
            failed.push(*name);
        }
    }
    assert!(failed.is_empty(), "failed: {failed:?}");
}
