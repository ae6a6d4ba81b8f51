//! The units of systemd: what they give the services, and that the services run with it. What packages are made of.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod package;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

const UNITS: [&str; 4] = ["nat", "netem", "switch", "tunnel"];

const PACKAGING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../packaging/systemd");

/// How long systemd and the services may take on a machine that does something else as well.
const PATIENCE: Duration = Duration::from_secs(180);

/// A process that is killed with the test; `unshare --kill-child` ends its process namespace.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn units_are_exposed_to_at_most_two() {
    for unit in UNITS.map(|unit| format!("{unit}@")).into_iter().chain(["exporter".to_owned()]) {
        let file = Path::new(PACKAGING).join(format!("adit-{unit}.service"));
        // --threshold is in tenths.
        let words = ["security", "--offline=yes", "--threshold=20", "--no-pager"];
        let output = Command::new("systemd-analyze").args(words).arg(&file).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains("Overall exposure level"), "{text}");
        assert!(output.status.success(), "{text}");
    }
}

/// systemd as process 1 of a process namespace: the units are verified, and a service of each is started, used,
/// reloaded and stopped; a loop that hangs is killed by the watchdog and started again.
#[test]
#[ignore = "needs root"]
fn root_units_start_reload_and_stop() {
    let tests = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/units"));
    let mut command = Command::new("unshare");
    command.args(["-nmpuiC", "--fork", "--kill-child", "bash"]);
    command.args([&tests.join("boot.sh"), Path::new(env!("CARGO_BIN_EXE_adit"))]);
    command.args([Path::new(PACKAGING), &tests.join("script.sh")]);
    let command = command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut systemd = Ended(command.spawn().unwrap());
    let stdout = systemd.0.stdout.take().unwrap();
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        let lines = BufReader::new(stdout).lines().map_while(Result::ok);
        lines.map_while(|line| sender.send(line).ok()).for_each(drop);
    });
    let mut seen = Vec::new();
    while !seen.last().is_some_and(|line: &String| line.starts_with("ended: ")) {
        let line = lines.recv_timeout(PATIENCE);
        seen.push(line.unwrap_or_else(|_| panic!("it does not end: {}", seen.join("\n"))));
    }
    assert_eq!(seen.last().unwrap(), "ended: 0", "{}", seen.join("\n"));
}
