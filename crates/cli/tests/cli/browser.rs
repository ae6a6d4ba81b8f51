//! The status page in headless Chromium, driven by scripts in Python that begin with `browser.py`.

use crate::support::text;
use std::fs;
use std::process::Command;

/// Whether there is no browser, which is a failure where the peers of the tests are required.
#[expect(clippy::print_stdout, reason = "a test that is skipped says so")]
pub(crate) fn is_missing() -> bool {
    let is_there = |name: &&str| fs::exists(format!("/usr/bin/{name}")).unwrap();
    let missing = !["chromium", "chromedriver"].iter().all(is_there);
    if missing {
        let required = std::env::var("ADIT_REQUIRE").is_ok_and(|what| what.contains("peers"));
        assert!(!required, "not there: chromium, chromium-driver");
        println!("skipped: not there: chromium, chromium-driver");
    }
    missing
}

/// Runs `script` with the folder of screenshots (of `ADIT_SCREENSHOTS`, if it is set) and `words`. `command` runs a
/// program where the pages are reached. Each screenshot must be there.
#[track_caller]
pub(crate) fn play(mut command: Command, script: &str, words: &[&str], pictures: &[&str]) {
    let folder = std::env::var("ADIT_SCREENSHOTS").unwrap_or_else(|_| "/run/adit-page".to_owned());
    fs::create_dir_all(&folder).unwrap();
    let script = include_str!("browser.py").to_owned() + script;
    command.args(["timeout", "-k", "1", "300", "python3", "-c", &script, &folder]).args(words);
    let output = command.env("HOME", "/run").output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    for name in pictures {
        assert!(fs::metadata(format!("{folder}/{name}.png")).unwrap().len() > 20_000, "{name}");
    }
}
