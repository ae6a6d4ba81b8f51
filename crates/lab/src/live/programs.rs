//! The programs of a lab: which run, and in which order they start.
//!
//! The programs of a node start one after the other, each once the one before is ready; those of different nodes at
//! the same time.

use crate::keeper::{NodeKey, Order, Output, ProgramEvent, ProgramKey, ProgramSpec};
use crate::live::log::Log;
use adit_packet::Instant;
use adit_topology::model::{NodeName, Program as Wanted, Restart};
use adit_topology::report::{self, LogPart, ProgramState};
use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

/// How long a program has between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(2);

/// All programs by their keys, in the order in which they were wanted.
#[derive(Debug, Default)]
pub(super) struct Programs {
    all: BTreeMap<ProgramKey, Program>,
    next: u32,
    /// Guests that are not ready.
    guests: BTreeMap<ProgramKey, Awaited>,
    /// Programs may start: the network is there.
    are_started: bool,
    /// Where they start.
    directory: Option<PathBuf>,
}

/// A guest that is not ready.
#[derive(Debug)]
struct Awaited {
    /// What its console must print.
    text: String,
    /// When its time is over; `None`: QEMU does not run yet.
    until: Option<Instant>,
}

#[derive(Debug)]
struct Program {
    node: (NodeKey, NodeName),
    wanted: Wanted,
    state: ProgramState,
    pid: Option<u32>,
    status: Option<u8>,
    restarts: u64,
    reason: Option<String>,
    log: Log,
}

impl Program {
    /// Whether the next one of the node may start.
    const fn is_settled(&self) -> bool {
        !matches!(self.state, ProgramState::Waiting | ProgramState::Starting)
    }

    /// Whether it runs, or will without a change.
    fn is_alive(&self) -> bool {
        match self.state {
            ProgramState::Waiting | ProgramState::Starting | ProgramState::Running => true,
            ProgramState::Failed => self.pid.is_some() || self.wanted.restart != Restart::Never,
            ProgramState::Done | ProgramState::Stopped => false,
        }
    }

    fn shown(&self) -> String {
        format!("{}/{}", self.node.1, self.wanted.name)
    }

    fn spec(&self, key: ProgramKey, directory: Option<&PathBuf>) -> ProgramSpec {
        ProgramSpec {
            key,
            node: self.node.0,
            words: self.wanted.words.clone(),
            environment: vec![("ADIT_NODE".to_owned(), self.node.1.to_string())],
            directory: directory.cloned(),
            output: Output::Pipe,
            restart: self.wanted.restart,
            ready: self.wanted.ready.clone(),
            ready_within: self.wanted.ready_within,
        }
    }

    fn fail(&mut self, reason: String) {
        (self.state, self.reason) = (ProgramState::Failed, Some(reason));
    }
}

/// Something that happened to a program, for a report.
#[derive(Debug)]
pub(super) struct News {
    pub(super) program: String,
    pub(super) state: &'static str,
    pub(super) message: String,
}

impl Programs {
    /// Of a lab whose programs start in the working directory of this process.
    pub(super) fn here() -> Self {
        Self { directory: std::env::current_dir().ok(), ..Self::default() }
    }

    /// Adds a program, which waits for its turn.
    pub(super) fn add(&mut self, node: (NodeKey, NodeName), wanted: Wanted) -> ProgramKey {
        let program = Program {
            node,
            wanted,
            state: ProgramState::Waiting,
            pid: None,
            status: None,
            restarts: 0,
            reason: None,
            log: Log::default(),
        };
        let key = ProgramKey(self.next);
        self.all.insert(key, program);
        self.next += 1;
        key
    }

    /// Adds a guest, which is ready once its links are connected and its console has printed `text`.
    pub(super) fn add_guest(&mut self, node: (NodeKey, NodeName), wanted: Wanted, text: String) {
        let key = self.add(node, wanted);
        self.guests.insert(key, Awaited { text, until: None });
    }

    /// Takes programs of a node away, and returns what ends them and the pipes that are read no more; with `keep`, all
    /// but these.
    pub(super) fn remove(&mut self, node: &NodeName, keep: &[Wanted]) -> (Vec<Order>, Vec<Log>) {
        let is_gone =
            |program: &Program| program.node.1 == *node && !keep.contains(&program.wanted);
        let gone = self.all.iter().filter(|(_, program)| is_gone(program));
        let gone: Vec<ProgramKey> = gone.map(|(key, _)| *key).collect();
        let (mut orders, mut logs) = (Vec::new(), Vec::new());
        for key in gone {
            let Some(program) = self.all.remove(&key) else { continue };
            self.guests.remove(&key);
            if !matches!(program.state, ProgramState::Waiting | ProgramState::Stopped) {
                orders.push(Order::Stop(key, GRACE));
            }
            logs.push(program.log);
        }
        (orders, logs)
    }

    /// Kills the programs of a node that fails; returns the orders. `unwatch` gets the pipes that are read no more.
    pub(super) fn kill(&mut self, node: &NodeName, unwatch: impl Fn(&File)) -> Vec<Order> {
        let is_it = |program: &Program| program.node.1 == *node && program.is_alive();
        let alive = self.all.iter().filter(|(_, program)| is_it(program));
        let alive: Vec<ProgramKey> = alive.map(|(key, _)| *key).collect();
        let mut orders = Vec::new();
        for key in alive {
            let Some(mut program) = self.all.remove(&key) else { continue };
            if program.state != ProgramState::Waiting {
                orders.push(Order::Stop(key, Duration::ZERO));
            }
            program.log.pipe().into_iter().for_each(&unwatch);
            program.log.detach();
            (program.state, program.pid, program.reason) = (ProgramState::Stopped, None, None);
            // What the keeper still reports of the old one is not about the next one.
            self.all.insert(ProgramKey(self.next), program);
            self.next += 1;
        }
        orders
    }

    /// The programs of nodes that were healed wait for their turn again.
    pub(super) fn revive(&mut self, is_failed: impl Fn(&NodeName) -> bool) {
        for program in self.all.values_mut() {
            if program.state == ProgramState::Stopped && !is_failed(&program.node.1) {
                program.state = ProgramState::Waiting;
            }
        }
    }

    /// The programs of a node.
    pub(super) fn of(&self, node: &NodeName) -> Vec<Wanted> {
        let own = self.all.values().filter(|program| program.node.1 == *node);
        own.map(|program| program.wanted.clone()).collect()
    }

    /// From now on programs start.
    pub(super) const fn begin(&mut self) {
        self.are_started = true;
    }

    /// The programs whose turn it is.
    pub(super) fn due(&mut self) -> Vec<(ProgramKey, Order)> {
        if !self.are_started {
            return Vec::new();
        }
        let mut open: Vec<NodeKey> = Vec::new();
        let mut due = Vec::new();
        for (&key, program) in &mut self.all {
            let node = program.node.0;
            if program.state == ProgramState::Waiting && !open.contains(&node) {
                program.state = ProgramState::Starting;
                due.push((key, Order::Run(Box::new(program.spec(key, self.directory.as_ref())))));
            }
            if !program.is_settled() {
                open.push(node);
            }
        }
        due
    }

    /// Whether no program is still to become ready.
    pub(super) fn are_settled(&self) -> bool {
        self.are_started && self.all.values().all(Program::is_settled)
    }

    /// A program runs; its output comes from this pipe.
    pub(super) fn started(&mut self, key: ProgramKey, pid: u32, output: Option<OwnedFd>) {
        let Some(program) = self.all.get_mut(&key) else { return };
        program.pid = Some(pid);
        if let Some(output) = output {
            program.log.attach(output);
        }
    }

    /// A program could not be started.
    pub(super) fn not_started(&mut self, key: ProgramKey, why: &str) -> Option<News> {
        self.guests.remove(&key);
        let program = self.all.get_mut(&key)?;
        program.fail(why.to_owned());
        let message = format!("{} cannot start: {why}", program.shown());
        Some(News { program: program.shown(), state: "failed", message })
    }

    /// Notes what the keeper reports.
    pub(super) fn changed(&mut self, event: ProgramEvent, now: Instant) -> Option<News> {
        match event {
            ProgramEvent::Ready(program) => self.ready(program, now),
            ProgramEvent::NotReady(program) => self.not_ready(program),
            ProgramEvent::Exited { program, status, again_in } => {
                self.exited(program, status, again_in)
            }
        }
    }

    fn ready(&mut self, key: ProgramKey, now: Instant) -> Option<News> {
        let program = self.all.get_mut(&key)?;
        if let Some(guest) = self.guests.get_mut(&key) {
            guest.until = Some(now + program.wanted.ready_within);
            return None;
        }
        if matches!(program.state, ProgramState::Starting | ProgramState::Failed) {
            (program.state, program.reason) = (ProgramState::Running, None);
        }
        let message = format!("{} is ready", program.shown());
        Some(News { program: program.shown(), state: "ready", message })
    }

    /// Guests that have become ready, or have had their time.
    pub(super) fn await_guests(
        &mut self,
        now: Instant,
        is_connected: impl Fn(&NodeName) -> bool,
    ) -> Vec<News> {
        let mut news = Vec::new();
        for key in self.guests.keys().copied().collect::<Vec<_>>() {
            let (Some(program), Some(guest)) = (self.all.get(&key), self.guests.get(&key)) else {
                continue;
            };
            let Some(until) = guest.until else { continue };
            let has_printed = guest.text.is_empty() || program.log.since(0).0.contains(&guest.text);
            let is_ready = has_printed && is_connected(&program.node.1);
            if is_ready || now >= until {
                self.guests.remove(&key);
                news.extend(if is_ready { self.ready(key, now) } else { self.not_ready(key) });
            }
        }
        news
    }

    fn not_ready(&mut self, key: ProgramKey) -> Option<News> {
        let program = self.all.get_mut(&key)?;
        let within = program.wanted.ready_within.as_secs_f64();
        let reason = format!("it was not ready within {within} s");
        let message = format!("{} was not ready within {within} s", program.shown());
        program.fail(reason);
        Some(News { program: program.shown(), state: "not-ready", message })
    }

    fn exited(&mut self, key: ProgramKey, status: u8, again_in: Option<Duration>) -> Option<News> {
        self.guests.remove(&key);
        let program = self.all.get_mut(&key)?;
        (program.pid, program.status) = (None, Some(status));
        let again = match again_in {
            Some(time) => format!("; it starts again in {} s", time.as_secs_f64()),
            None => String::new(),
        };
        let message = format!("{} has exited with status {status}{again}", program.shown());
        if status == 0 && again_in.is_none() {
            (program.state, program.reason) = (ProgramState::Done, None);
        } else {
            program.fail(format!("it has exited with status {status}{again}"));
        }
        Some(News { program: program.shown(), state: "exited", message })
    }

    pub(super) fn restarted(
        &mut self,
        key: ProgramKey,
        result: Result<u32, String>,
    ) -> Option<News> {
        let why = match result {
            Ok(pid) => {
                let program = self.all.get_mut(&key)?;
                program.restarts += 1;
                (program.pid, program.state, program.reason) =
                    (Some(pid), ProgramState::Running, None);
                let message = format!("{} was started again", program.shown());
                return Some(News { program: program.shown(), state: "restarted", message });
            }
            Err(why) => why,
        };
        self.not_started(key, &why)
    }

    /// The log of a program, to read from its pipe.
    pub(super) fn log_mut(&mut self, key: ProgramKey) -> Option<&mut Log> {
        self.all.get_mut(&key).map(|program| &mut program.log)
    }

    /// The output of programs: of one node, or of one program, from there on.
    pub(super) fn logs(&self, node: Option<&str>, name: Option<&str>, from: u64) -> Vec<LogPart> {
        let is_it = |program: &&Program| {
            node.is_none_or(|node| program.node.1.as_str() == node)
                && name.is_none_or(|name| program.wanted.name == name)
        };
        let part = |program: &Program| {
            let (text, from, to) = program.log.since(from);
            let (node, program) = (program.node.1.to_string(), program.wanted.name.clone());
            LogPart { node, program, text, from, to }
        };
        self.all.values().filter(is_it).map(part).collect()
    }

    /// What is wrong with programs.
    pub(super) fn problems(&self) -> impl Iterator<Item = String> {
        let failed = self.all.values().filter(|program| program.state == ProgramState::Failed);
        failed.map(|program| {
            let why = program.reason.as_deref().unwrap_or("it failed");
            format!("program {}: {why}", program.shown())
        })
    }

    /// The reports of the programs of a node.
    /// How all programs are, each with its node.
    pub(super) fn each(&self) -> impl Iterator<Item = (&NodeName, &str, ProgramState, u64)> {
        let all = self.all.values();
        all.map(|one| (&one.node.1, one.wanted.name.as_str(), one.state, one.restarts))
    }

    pub(super) fn report(&self, node: &NodeName) -> Vec<report::Program> {
        let own = self.all.values().filter(|program| program.node.1 == *node);
        own.map(|program| report::Program {
            name: program.wanted.name.clone(),
            state: program.state,
            pid: program.pid.filter(|&pid| pid != 0),
            status: program.status,
            restarts: program.restarts,
            reason: program.reason.clone(),
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn programs(list: &[(u32, &str)]) -> Programs {
        let mut programs = Programs::default();
        for (node, name) in list {
            let key = NodeKey(*node);
            let wanted = Wanted {
                name: (*name).to_owned(),
                words: vec!["true".to_owned()],
                restart: Restart::Never,
                ready: Vec::new(),
                ready_within: Duration::from_secs(1),
            };
            programs.add((key, format!("h{node}").parse().unwrap()), wanted);
        }
        programs
    }

    fn due(programs: &mut Programs) -> Vec<u32> {
        programs.due().into_iter().map(|(key, _)| key.0).collect()
    }

    #[test]
    fn programs_of_a_node_start_one_after_the_other() {
        let mut programs = programs(&[(1, "a"), (1, "b"), (2, "c"), (1, "d")]);
        assert!(due(&mut programs).is_empty());
        programs.begin();
        assert_eq!(due(&mut programs), [0, 2]);
        assert!(due(&mut programs).is_empty());
        programs.started(ProgramKey(0), 77, None);
        assert!(programs.ready(ProgramKey(0), Instant::ZERO).is_some());
        assert_eq!(due(&mut programs), [1]);
        // One that ends, well or not, makes room for the next.
        programs.exited(ProgramKey(1), 3, None);
        assert_eq!(due(&mut programs), [3]);
        assert!(!programs.are_settled());
        programs.ready(ProgramKey(2), Instant::ZERO);
        programs.exited(ProgramKey(3), 0, None);
        assert!(programs.are_settled());
        let problems: Vec<String> = programs.problems().collect();
        assert_eq!(problems, ["program h1/b: it has exited with status 3"]);
        let report = programs.report(&"h1".parse().unwrap());
        let states: Vec<&str> = report.iter().map(|program| program.state.as_str()).collect();
        assert_eq!(states, ["running", "failed", "done"]);
    }

    #[test]
    fn programs_of_a_failed_node_are_killed_and_start_again_in_order() {
        let mut programs = programs(&[(1, "once"), (1, "a"), (1, "b"), (2, "c")]);
        programs.begin();
        let h1: NodeName = "h1".parse().unwrap();
        due(&mut programs);
        programs.exited(ProgramKey(0), 0, None);
        due(&mut programs);
        programs.started(ProgramKey(1), 77, None);
        programs.ready(ProgramKey(1), Instant::ZERO);
        let orders = programs.kill(&h1, |_| {});
        assert!(matches!(orders[..], [Order::Stop(ProgramKey(1), Duration::ZERO)]), "{orders:?}");
        assert!(programs.kill(&h1, |_| {}).is_empty());
        assert!(due(&mut programs).is_empty());
        assert!(programs.exited(ProgramKey(1), 137, None).is_none(), "nothing that failed");
        let states = |programs: &Programs| {
            let report = programs.report(&h1);
            report.iter().map(|program| program.state.as_str()).collect::<Vec<_>>()
        };
        assert_eq!(states(&programs), ["done", "stopped", "stopped"]);
        programs.revive(|name| *name == h1);
        assert!(due(&mut programs).is_empty(), "it fails still");
        programs.revive(|_| false);
        assert_eq!(due(&mut programs), [4]);
        programs.ready(ProgramKey(4), Instant::ZERO);
        assert_eq!(due(&mut programs), [5]);
    }

    #[test]
    fn programs_that_are_wanted_no_more_are_stopped() {
        let mut programs = programs(&[(1, "a"), (1, "b"), (2, "c")]);
        programs.begin();
        due(&mut programs);
        let h1 = "h1".parse().unwrap();
        let keep = programs.of(&h1)[1..].to_vec();
        let (orders, logs) = programs.remove(&h1, &keep);
        assert_eq!((orders.len(), logs.len()), (1, 1));
        assert_eq!(due(&mut programs), [1], "its turn has come");
    }
}
