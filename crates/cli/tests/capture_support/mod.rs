//! The built program, and a network namespace for each test.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How long anything here may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Runs `test` in a network namespace and a directory of its own, with the loopback up.
pub(crate) fn world(test: impl FnOnce(&Path) + Send + 'static) {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let directory = std::env::temp_dir().join(format!("adit-test-{}-{number}", std::process::id()));
    std::fs::create_dir(&directory).unwrap();
    let clean = Cleaner(directory.clone());
    let thread = std::thread::spawn(move || {
        adit_device::Netns::enter_new().unwrap();
        ip("link set lo up");
        test(&directory);
    });
    let result = thread.join();
    drop(clean);
    result.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}

struct Cleaner(PathBuf);

impl Drop for Cleaner {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// `ip` with these words, which must succeed.
pub(crate) fn ip(words: &str) {
    run("ip", &words.split(' ').collect::<Vec<_>>());
}

/// A program that must succeed; what it prints.
pub(crate) fn run(program: &str, args: &[&str]) -> String {
    let output = output(Command::new(program).args(args));
    assert!(output.status.success(), "{program} {args:?}: {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Whether an address answers ping.
pub(crate) fn answers(address: &str) -> bool {
    let args = ["-c3", "-i0.2", "-W10", address];
    output(Command::new("ping").args(args)).status.success()
}

/// Runs a command to its end.
pub(crate) fn output(command: &mut Command) -> Output {
    let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    finish(child)
}

/// Waits for the end, and kills what does not end.
fn finish(child: Child) -> Output {
    let pid = rustix::process::Pid::from_child(&child);
    let (done, wait) = std::sync::mpsc::channel::<()>();
    let killer = std::thread::spawn(move || {
        if wait.recv_timeout(PATIENCE) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    });
    let output = child.wait_with_output().unwrap();
    drop(done);
    killer.join().unwrap();
    output
}

/// `adit` with these words.
pub(crate) fn adit(words: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_adit"));
    command.args(words.split(' ').filter(|word| !word.is_empty()));
    for variable in ["NO_COLOR", "COLUMNS", "CLICOLOR_FORCE", "XDG_RUNTIME_DIR", "NOTIFY_SOCKET"] {
        command.env_remove(variable);
    }
    command
}

/// A capture that is going on; it is killed if the test fails.
pub(crate) struct Capture {
    child: Option<Child>,
    stderr: Option<BufReader<ChildStderr>>,
    /// What it said before it began.
    pub(crate) introduction: String,
}

impl Capture {
    /// Starts `adit capture` and waits until it captures.
    pub(crate) fn start(command: &mut Command) -> Self {
        let command = command.stdin(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut introduction = String::new();
        while !introduction.contains("capturing from ") {
            let len = stderr.read_line(&mut introduction).unwrap();
            assert!(len > 0, "it ended: {introduction}");
        }
        Self { child: Some(child), stderr: Some(stderr), introduction }
    }

    /// As Ctrl-C does.
    pub(crate) fn interrupt(&self) {
        self.signal(rustix::process::Signal::INT);
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(self.child.as_ref().unwrap());
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Waits for the end: status, standard output (if piped) and the rest of standard error.
    pub(crate) fn finish(mut self) -> (Output, String) {
        let mut stderr = self.stderr.take().unwrap();
        let rest = std::thread::spawn(move || {
            let mut rest = String::new();
            stderr.read_to_string(&mut rest).unwrap();
            rest
        });
        let output = finish(self.child.take().unwrap());
        (output, rest.join().unwrap())
    }

    /// Ctrl-C, then the end, which must be a good one.
    pub(crate) fn stop(self) -> (String, String) {
        self.interrupt();
        let (output, stderr) = self.finish();
        assert!(output.status.success(), "{output:?} {stderr}");
        (String::from_utf8(output.stdout).unwrap(), stderr)
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Waits until `test` is true.
pub(crate) fn eventually(what: &str, mut test: impl FnMut() -> bool) {
    let start = Instant::now();
    while !test() {
        assert!(start.elapsed() < PATIENCE, "it never happened: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// How many packets Wireshark's programs find in a file, none of them malformed.
pub(crate) fn sound_packets(file: &Path) -> u64 {
    let file = file.to_str().unwrap();
    run("capinfos", &[file]);
    let malformed =
        run("tshark", &["-r", file, "-Y", "_ws.malformed || _ws.expert.severity == 0x800000"]);
    assert_eq!(malformed, "", "malformed packets in {file}");
    let packets = run("tshark", &["-r", file, "-T", "fields", "-e", "frame.number"]);
    u64::try_from(packets.lines().count()).unwrap()
}
