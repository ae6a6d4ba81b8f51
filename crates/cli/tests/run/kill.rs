//! `kill -9` of each process of a NAT, at any instant of its start.

use crate::support::{ADIT, bare, enter, run, text};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a condition may take to become true on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The name of the NAT, by which its processes are found.
const NAME: &str = "killed-at-random";

/// The latest instant after the start, in microseconds: a debug build is ready by then.
const LATEST: u64 = 120_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    /// The process that was started.
    Daemon,
    /// The process whose namespace it is, or the command.
    Target,
    /// The last of the processes that the daemon has started.
    Helper,
    /// The process that follows the host's name servers.
    Follower,
}

/// Processes that have not ended: each with its parent and its command line.
fn processes() -> Vec<(i32, i32, String)> {
    let of = |entry: fs::DirEntry| {
        let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        // One that nobody has waited for yet is a zombie.
        status.lines().find(|line| line.starts_with("State:") && !line.contains('Z'))?;
        let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse();
        let words = text(&fs::read(format!("/proc/{pid}/cmdline")).ok()?).replace('\0', " ");
        Some((pid, parent.ok()?, words))
    };
    fs::read_dir("/proc").unwrap().filter_map(|entry| of(entry.ok()?)).collect()
}

/// The process that follows the host's name servers has a name of its own.
fn is_follower(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "adit-resolvers\n")
}

/// All that the daemon has started, and what they have.
fn descendants(daemon: i32) -> Vec<i32> {
    let all = processes();
    let mut found = vec![daemon];
    let mut at = 0;
    while let Some(&parent) = found.get(at) {
        found.extend(all.iter().filter(|one| one.1 == parent).map(|one| one.0));
        at += 1;
    }
    found.remove(0);
    found
}

fn kill(pid: i32) {
    // It may have ended.
    let _ = kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL);
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "{what}: {:?}", left());
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The processes of the NAT that are there.
fn left() -> Vec<(i32, i32, String)> {
    let mut all = processes();
    all.retain(|one| one.2.contains(NAME));
    all
}

/// Instants that differ, and processes by turns.
fn rounds() -> impl Iterator<Item = (u64, Victim)> {
    let victims = [Victim::Daemon, Victim::Target, Victim::Helper, Victim::Follower];
    (0..20).zip(victims.into_iter().cycle()).map(|(round, victim)| {
        // A sequence that fills the range evenly.
        (round * 74_047 % LATEST, victim)
    })
}

/// Starts a command that ends as a test does.
struct Started(Child);

impl Started {
    fn new(command: &mut Command) -> Self {
        Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }

    fn pid(&self) -> i32 {
        i32::try_from(self.0.id()).unwrap()
    }

    fn has_ended(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A process with a network of its own.
fn target() -> Started {
    let ours = fs::read_link("/proc/thread-self/ns/net").unwrap();
    let target = Started::new(bare("unshare").args(["-n", "sleep", "1000"]));
    let theirs = format!("/proc/{}/ns/net", target.pid());
    let is_sleep = || {
        let words = fs::read(format!("/proc/{}/cmdline", target.pid())).unwrap_or_default();
        words.starts_with(b"sleep") && fs::read_link(&theirs).is_ok_and(|theirs| theirs != ours)
    };
    wait_until("a target", is_sleep);
    target
}

#[test]
fn a_kill_at_any_instant_of_an_attach_leaves_nothing() {
    enter();
    for (after, victim) in rounds() {
        println!("{victim:?} after {after} us");
        let mut target = target();
        let number = target.pid().to_string();
        let mut adit = Started::new(bare(ADIT).args(["nat", "attach", &number, "--name", NAME]));
        std::thread::sleep(Duration::from_micros(after));
        let helpers = descendants(adit.pid());
        match victim {
            Victim::Daemon => kill(adit.pid()),
            Victim::Target => kill(target.pid()),
            _ => {
                let is_meant = |pid: &&i32| is_follower(**pid) == (victim == Victim::Follower);
                helpers.iter().rev().filter(is_meant).take(1).for_each(|&helper| kill(helper));
            }
        }
        if victim == Victim::Daemon {
            wait_until("the daemon ends", || adit.has_ended());
            // The namespace is as it was, but for `lo`.
            let links = format!("nsenter -t {number} -n ip -o link");
            wait_until("the device is gone", || run(&links).lines().count() == 1);
        } else {
            // Without a helper it may go on; with its target it ends.
            kill(target.pid());
            wait_until("the target ends", || target.has_ended());
            wait_until("the daemon ends with its target", || adit.has_ended());
        }
        wait_until("all processes are gone", || left().is_empty());
    }
    // Nothing is in the way of the next one.
    let target = target();
    let number = target.pid().to_string();
    let _adit = Started::new(bare(ADIT).args(["nat", "attach", &number, "--name", NAME]));
    wait_until("it runs", runs);
}

/// Whether the NAT answers.
fn runs() -> bool {
    bare(ADIT).args(["nat", "show", NAME]).output().unwrap().status.success()
}

#[test]
fn a_kill_at_any_instant_of_a_run_leaves_nothing() {
    enter();
    for (after, victim) in rounds() {
        println!("{victim:?} after {after} us");
        let words = ["run", "--name", NAME, "--", "sleep", "1000"];
        let mut adit = Started::new(bare(ADIT).args(words));
        std::thread::sleep(Duration::from_micros(after));
        let helpers = descendants(adit.pid());
        let (followers, mut others): (Vec<i32>, Vec<i32>) =
            helpers.into_iter().partition(|&pid| is_follower(pid));
        if victim == Victim::Target {
            others.reverse();
        }
        match (victim, others.first()) {
            (Victim::Helper | Victim::Target, Some(&one)) => kill(one),
            (Victim::Follower, _) => followers.iter().for_each(|&one| kill(one)),
            _ => kill(adit.pid()),
        }
        let all = descendants(adit.pid());
        // It ends, or runs: what was killed may have done its work, or be the one that follows name servers.
        wait_until("the run ends or is there", || adit.has_ended() || runs());
        kill(adit.pid());
        wait_until("the run ends", || adit.has_ended());
        wait_until("all processes are gone", || {
            left().is_empty() && all.iter().all(|pid| !processes().iter().any(|one| one.0 == *pid))
        });
    }
}

#[test]
fn the_end_of_the_target_ends_the_nat_at_once() {
    enter();
    // A loaded machine may be slow now and then.
    let soonest = (0..5).map(|_| {
        let target = target();
        let number = target.pid().to_string();
        let mut adit = Started::new(bare(ADIT).args(["nat", "attach", &number, "--name", NAME]));
        wait_until("it runs", runs);
        let start = Instant::now();
        kill(target.pid());
        wait_until("the NAT ends", || adit.has_ended());
        start.elapsed()
    });
    let soonest = soonest.min().unwrap();
    assert!(soonest < Duration::from_millis(200), "{soonest:?}");
}
