//! Exit status, signals, the terminal, and what is left.

use crate::support::{ADIT, bare, command, refused, text};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a condition may take to become true on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// `adit run --net none -- sh -c SCRIPT`, as the user of the test.
fn run(script: &str) -> Command {
    command([ADIT, "run", "--net", "none", "--", "sh", "-c", script])
}

/// The same as a user without any privilege.
fn run_unprivileged(options: &[&str], script: &str) -> Command {
    let words =
        ["unshare", "-U", "--map-user=4711", "--map-group=4712", ADIT, "run", "--net", "none"];
    command(words.iter().chain(options).chain(&["--", "sh", "-c", script]))
}

fn status(mut command: Command) -> Option<i32> {
    command.stderr(Stdio::null()).status().unwrap().code()
}

/// The processes with this word in their command line.
fn processes(word: &str) -> Vec<Pid> {
    let pids = fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let pid: i32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
        let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        text(&line).split('\0').any(|part| part == word).then(|| Pid::from_raw(pid))?
    });
    pids.collect()
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn parent(pid: Pid) -> Option<Pid> {
    let status = fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero())).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
    Pid::from_raw(line.trim().parse().ok()?)
}

#[test]
fn the_status_is_that_of_the_command() {
    for (script, expected) in
        [("exit 0", 0), ("exit 7", 7), ("exit 255", 255), ("kill -9 $$", 137), ("kill $$", 143)]
    {
        assert_eq!(status(run(script)), Some(expected), "{script}");
    }
    let missing = refused("run --net none -- /nonexistent/program");
    assert_eq!(missing.0, 127);
    assert!(missing.1.contains("No such file or directory"), "{}", missing.1);
    let (code, error) = refused("run --net none -- /etc/passwd");
    assert_eq!(code, 126, "{error}");
    assert!(error.contains("ADIT-E0831"), "{error}");
}

#[test]
fn options_after_the_command_are_its_own() {
    let output = command([ADIT, "run", "--net", "none", "echo", "-n", "--json"]).output().unwrap();
    assert_eq!(text(&output.stdout), "--json");
}

#[test]
fn without_a_command_it_starts_the_shell() {
    let shell = command(["env", "SHELL=/bin/echo", ADIT, "run", "--net", "none"]).output().unwrap();
    assert_eq!((text(&shell.stdout).as_str(), shell.status.code()), ("\n", Some(0)));
}

#[test]
fn an_unprivileged_user_stays_that_user_without_capabilities() {
    let script = "id -u; id -g; grep CapEff /proc/self/status; ip -o link | wc -l; ping -c1 -W9 127.0.0.1 \
                  >/dev/null && echo pong; python3 -c 'import socket; socket.create_server((\"\", 80))' && echo http; exit 5";
    let output = run_unprivileged(&[], script).output().unwrap();
    let lines = text(&output.stdout);
    assert_eq!(
        lines.split_whitespace().collect::<Vec<_>>(),
        ["4711", "4712", "CapEff:", "0000000000000000", "1", "pong", "http"],
        "{}",
        text(&output.stderr)
    );
    assert_eq!(output.status.code(), Some(5));
}

#[test]
fn root_is_root_of_its_namespaces_only() {
    let script = "id -u; ip link add v type veth && ip -o link | wc -l; mount -t tmpfs none /mnt && echo mounted";
    let output = run_unprivileged(&["--root"], script).output().unwrap();
    assert_eq!(text(&output.stdout), "0\n3\nmounted\n", "{}", text(&output.stderr));
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.lines().any(|line| line.starts_with("none /mnt ")), "{mounts}");
}

#[test]
fn runs_nest() {
    let script = format!("{ADIT} run --net none -- sh -c 'id -u; exit 9'; echo $?");
    let output = run_unprivileged(&[], &script).output().unwrap();
    assert_eq!(text(&output.stdout), "4711\n9\n", "{}", text(&output.stderr));
}

/// A run whose script has said `up`.
struct Up {
    adit: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Up {
    fn new(script: &str) -> Self {
        let mut command = bare(ADIT);
        command.args(["run", "--net", "none", "--", "sh", "-c", script]);
        let mut adit = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(adit.stdout.take().unwrap()).lines();
        assert_eq!(lines.next().unwrap().unwrap(), "up");
        Self { adit, lines }
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.adit)
    }

    fn wait(mut self) -> Option<i32> {
        wait_until("adit ends", || self.adit.try_wait().unwrap().is_some());
        self.adit.wait().unwrap().code()
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.adit.kill();
        let _ = self.adit.wait();
    }
}

#[test]
fn signals_are_passed_on() {
    let script = "for s in HUP INT QUIT TERM USR1 USR2; do trap \"echo $s\" $s; done; echo up; \
                  while :; do sleep 0.05; done";
    let mut run = Up::new(script);
    let signals = [
        (Signal::HUP, "HUP"),
        (Signal::INT, "INT"),
        (Signal::QUIT, "QUIT"),
        (Signal::TERM, "TERM"),
        (Signal::USR1, "USR1"),
        (Signal::USR2, "USR2"),
    ];
    for (signal, name) in signals {
        kill_process(run.pid(), signal).unwrap();
        assert_eq!(run.lines.next().unwrap().unwrap(), name);
    }
}

#[test]
fn a_command_that_a_signal_ends_gives_its_status() {
    let run = Up::new("echo up; exec sleep 1000");
    kill_process(run.pid(), Signal::TERM).unwrap();
    assert_eq!(run.wait(), Some(143));
}

#[test]
fn an_ignored_signal_stays_ignored() {
    let script = "echo up; kill -HUP $$; exit 3";
    let mut command = bare("nohup");
    command.args([ADIT, "run", "--net", "none", "--", "sh", "-c", script]);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
}

#[test]
fn what_the_command_leaves_ends_with_it() {
    let word = format!("98765.{}1", std::process::id());
    let script = format!("setsid sleep {word} & sleep {word} & exit 2");
    assert_eq!(status(run(&script)), Some(2));
    assert!(processes(&word).is_empty());
}

#[test]
fn a_kill_of_any_process_leaves_nothing() {
    for victim in ["adit", "holder", "first", "command"] {
        let word = format!("98765.{}2", std::process::id());
        let script = format!("setsid sleep {word} & echo up; exec sleep {word}");
        let run = Up::new(&script);
        let adit = run.pid();
        wait_until("two sleepers", || {
            processes(&word).iter().filter(|&&p| parent(p) != Some(adit)).count() >= 2
        });
        // The command is the one whose parent's parent's parent is adit.
        let sleepers = processes(&word);
        let chain = sleepers.iter().find_map(|&command| {
            let first = parent(command)?;
            let holder = parent(first)?;
            (parent(holder)? == adit).then_some([holder, first, command])
        });
        let [holder, first, command] = chain.expect("the processes of the run");
        let pid = match victim {
            "adit" => adit,
            "holder" => holder,
            "first" => first,
            _ => command,
        };
        kill_process(pid, Signal::KILL).unwrap();
        if victim == "adit" {
            drop(run);
        } else {
            assert_eq!(run.wait(), Some(137), "{victim}");
        }
        let all = [holder, first];
        wait_until(&format!("nothing is left after a kill of {victim}"), || {
            processes(&word).is_empty()
                && all
                    .iter()
                    .all(|pid| !Path::new(&format!("/proc/{}", pid.as_raw_nonzero())).exists())
        });
    }
}

#[test]
fn the_terminal_is_the_commands() {
    crate::support::enter();
    for options in [&["--net", "none"][..], &["--sandbox", "require"]] {
        let words = [&["python3", "-c", include_str!("terminal.py"), ADIT], options].concat();
        let output = command(words).output().unwrap();
        assert_eq!(text(&output.stdout), "all is well\n", "{}", text(&output.stderr));
    }
}

#[test]
fn a_machine_without_user_namespaces_says_so() {
    let script =
        format!("echo 0 >/proc/sys/user/max_user_namespaces; exec {ADIT} run --net none -- true");
    let output = command(["unshare", "-Ur", "sh", "-c", &script]).output().unwrap();
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{error}");
    assert!(error.contains("user.max_user_namespaces is 0") && error.contains("sysctl"), "{error}");
    assert!(error.contains("ADIT-E0830"), "{error}");
}
