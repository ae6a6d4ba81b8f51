//! A program that runs, and hosts for it.

use crate::support::{ADIT, bare, command, enter, run, text};
use crate::wires::rewired;
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

/// How long anything may take on a machine that does something else as well.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A child that ends with the test.
pub(crate) struct Ended(pub(crate) Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `adit` with these words, killed when dropped.
pub(crate) struct Program {
    child: Child,
    events: Receiver<String>,
    pub(crate) seen: Vec<Value>,
}

impl Program {
    /// Starts `adit -j` with the words of a line and waits until it is ready.
    pub(crate) fn start(line: &str) -> Self {
        let words: Vec<&str> = line.split_whitespace().collect();
        Self::start_words(&words)
    }

    pub(crate) fn start_words(words: &[&str]) -> Self {
        let mut program = Self::spawn(bare(ADIT).arg("-j").args(rewired(words)));
        let ready = program.wait_for("ready");
        assert!(ready["socket"].is_string(), "{ready}");
        program
    }

    /// Starts it, whatever becomes of it.
    pub(crate) fn spawn(command: &mut Command) -> Self {
        let command = command.stdin(Stdio::null());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap();
        let stdout = child.stdout.take().unwrap();
        let (sender, events) = mpsc::channel();
        std::thread::spawn(move || lines(stdout, &sender));
        Self { child, events, seen: Vec::new() }
    }

    /// The next event of this kind; those before it are kept as seen.
    pub(crate) fn wait_for(&mut self, kind: &str) -> Value {
        let end = Instant::now() + PATIENCE;
        loop {
            let rest = end.saturating_duration_since(Instant::now());
            let line = self.events.recv_timeout(rest).unwrap_or_else(|_| {
                panic!("no '{kind}' came, but {:?}", self.seen);
            });
            let event: Value = serde_json::from_str(&line).unwrap();
            self.seen.push(event.clone());
            if event["event"] == kind {
                return event;
            }
        }
    }

    /// Events of this kind that have come by now.
    pub(crate) fn count(&mut self, kind: &str) -> usize {
        while let Ok(line) = self.events.try_recv() {
            self.seen.push(serde_json::from_str(&line).unwrap());
        }
        self.seen.iter().filter(|event| event["event"] == kind).count()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, name: &str) {
        run(&format!("kill -{name} {}", self.pid()));
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.ended() {
                return status;
            }
            assert!(Instant::now() < end, "it does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines(stdout: ChildStdout, to: &mpsc::Sender<String>) {
    for line in BufReader::new(stdout).lines() {
        let Ok(line) = line else { return };
        if to.send(line).is_err() {
            return;
        }
    }
}

/// Waits until something is so.
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "it never came: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A namespace for the test, with the named ones `na`, `nb`, ... for hosts.
pub(crate) fn hosts(names: &[&str]) {
    enter();
    run("ip link set lo up");
    for name in names {
        run(&format!("ip netns add {name}"));
    }
}

/// Gives the device of a host an address; duplicates are not looked for, so it works at once.
pub(crate) fn address(netns: &str, device: &str, address: &str) {
    run(&format!("ip -n {netns} address add {address} dev {device}"));
    run(&format!("ip -n {netns} link set dev {device} up"));
}

/// Runs a command line that may fail; its output.
pub(crate) fn try_run(line: &str) -> (bool, String) {
    let output = command(line.split_whitespace()).output().unwrap();
    (output.status.success(), text(&output.stdout) + &text(&output.stderr))
}

/// Whether a host reaches another one within a while.
pub(crate) fn reaches(netns: &str, to: &str) -> bool {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        if try_run(&format!("ip netns exec {netns} ping -q -c 1 -W 1 {to}")).0 {
            return true;
        }
    }
    false
}

/// Whether a host gets no answer to three pings.
pub(crate) fn is_cut_off(netns: &str, from: &str) -> bool {
    !try_run(&format!("ip netns exec {netns} ping -q -c 3 -i 0.2 -W 1 {from}")).0
}

/// The shortest round trip of some pings, in milliseconds.
pub(crate) fn fastest(netns: &str, to: &str) -> f64 {
    let output = run(&format!("ip netns exec {netns} ping -q -c 5 -i 0.1 {to}"));
    let times = output.rsplit(" = ").next().unwrap();
    times.split('/').next().unwrap().parse().unwrap()
}

/// What stands in the folder of control sockets.
pub(crate) fn debris() -> Vec<String> {
    let Ok(entries) = std::fs::read_dir("/run/adit") else { return Vec::new() };
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}
