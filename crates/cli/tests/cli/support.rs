//! What the tests share.

use rustix::mount::{MountFlags, mount};
use rustix::thread::UnshareFlags;
use serde_json::Value;
use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The program.
pub(crate) const ADIT: &str = env!("CARGO_BIN_EXE_adit");

/// How long a command may take, in seconds: its test fails then, it does not hang.
const COMMAND_TIME_MAX: &str = "120";

/// Variables that change the place of the program's sockets, its service manager and its output.
const VARIABLES: [&str; 5] =
    ["NO_COLOR", "COLUMNS", "CLICOLOR_FORCE", "XDG_RUNTIME_DIR", "NOTIFY_SOCKET"];

/// Moves the calling thread into a network namespace of its own, with a `/sys` that shows it and an
/// empty `/run`, so that `ip netns` meddles with nobody.
pub(crate) fn enter() {
    adit_device::Netns::enter_new()
        .expect("a network namespace: run the tests under `unshare -Urnm --`");
    #[expect(deprecated, reason = "the new name is unsafe for flags that are not used here")]
    rustix::thread::unshare(UnshareFlags::NEWNS | UnshareFlags::FS).expect("a mount namespace");
    mount("sysfs", "/sys", "sysfs", MountFlags::empty(), None).expect("mount /sys");
    mount("tmpfs", "/run", "tmpfs", MountFlags::empty(), None).expect("mount /run");
}

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// A command without the variables of the user who runs the tests.
pub(crate) fn bare(name: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(name);
    for variable in VARIABLES {
        command.env_remove(variable);
    }
    // What outlives a program ends with the world of its test.
    command.env("STATE_DIRECTORY", "/run/adit-state");
    command.stdin(Stdio::null());
    command
}

/// A command with a time limit.
pub(crate) fn command(words: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
    let mut command = bare("timeout");
    command.args(["-k", "1", COMMAND_TIME_MAX]).args(words);
    command
}

/// The program where every user can run it, whatever folders lead to it: for a thread that has entered a
/// world of its own.
pub(crate) fn adit_of_all() -> &'static str {
    const PATH: &str = "/run/adit-of-all";
    run(&format!("touch {PATH}"));
    run(&format!("mount --bind {ADIT} {PATH}"));
    PATH
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs a command line (words between spaces, no quotes) that must succeed; its standard output.
pub(crate) fn run(line: &str) -> String {
    let output = command(line.split_whitespace()).output().unwrap();
    let errors = text(&output.stderr);
    assert!(output.status.success(), "{line}: {}\n{errors}", output.status);
    text(&output.stdout)
}

/// Which of the first `count` echoes are not in what `ping -c COUNT -w SECONDS` prints. Without `-w` it
/// waits for the last echo for two round trips only; with it, until so many have come, and sends more
/// meanwhile: an echo that is late is not lost.
pub(crate) fn lost_echoes(output: &str, count: usize) -> Vec<usize> {
    let echoes = output.split("icmp_seq=").skip(1);
    let numbers = echoes.filter_map(|rest| rest.split(' ').next()?.parse().ok());
    let seen: std::collections::BTreeSet<usize> = numbers.collect();
    (1..=count).filter(|number| !seen.contains(number)).collect()
}

/// What a command prints as JSON; nothing is an empty list.
pub(crate) fn json(line: &str) -> Value {
    parse(&run(line))
}

pub(crate) fn parse(text: &str) -> Value {
    if text.trim().is_empty() {
        return Value::Array(Vec::new());
    }
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// Runs `adit` with these words, whatever comes of it.
pub(crate) fn try_adit(words: &[&str]) -> Output {
    command([ADIT].iter().chain(words)).output().unwrap()
}

/// Runs `adit` with the words of a line; it must succeed.
pub(crate) fn adit(line: &str) -> String {
    run(&format!("{ADIT} {line}"))
}

/// Runs `adit -j`; it must succeed.
pub(crate) fn adit_json(line: &str) -> Value {
    json(&format!("{ADIT} -j {line}"))
}

/// Runs `adit` with the words of a line; its exit status and standard error.
pub(crate) fn refused(line: &str) -> (i32, String) {
    let output = try_adit(&line.split_whitespace().collect::<Vec<_>>());
    assert_eq!(text(&output.stdout), "", "{line}");
    (output.status.code().expect("an exit status"), text(&output.stderr))
}

/// Compares the program at a control socket with its OpenAPI document; `paths` are examples of paths with names.
pub(crate) fn describes_itself(kind: &str, socket: &str, paths: &[&str]) {
    let script = include_str!("../openapi.py");
    let words = ["timeout", "120", "python3", "-c", script, ADIT, kind, socket];
    let output = command(words.iter().chain(paths)).output().unwrap();
    assert!(output.status.success(), "{kind}: {output:?}");
    assert!(text(&output.stdout).trim().parse::<usize>().unwrap() > 3, "{output:?}");
}

/// Validates outputs, each by the schema of that name.
pub(crate) fn validate(outputs: &[(&str, String)]) {
    let mut python = Command::new("timeout")
        .args(["120", "python3", "-c", include_str!("../validate.py"), ADIT])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = python.stdin.take().unwrap();
    for (name, text) in outputs {
        writeln!(stdin, "{name}\t{}", text.trim()).unwrap();
    }
    drop(stdin);
    assert!(python.wait().unwrap().success(), "an output is not valid by its schema");
}
