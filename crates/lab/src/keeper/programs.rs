//! Programs that run on: started, watched, started again, ended.

use crate::keeper::nodes::Nodes;
use crate::keeper::order::{CommandSpec, Output, ProgramEvent, ProgramKey, ProgramSpec};
use crate::keeper::spawn::{What, spawn};
use adit_service::error::{Error, Kind, Result};
use adit_topology::model::Restart;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, kill_process_group};
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// How long a program that ended waits until it is started again: first, and at most.
const BACK_OFF_MIN: Duration = Duration::from_millis(100);
const BACK_OFF_MAX: Duration = Duration::from_secs(10);

/// How long lies between two questions whether a program is ready.
const READY_INTERVAL: Duration = Duration::from_millis(100);

/// Programs by their keys.
#[derive(Debug, Default)]
pub(super) struct Programs(BTreeMap<ProgramKey, Program>);

#[derive(Debug)]
struct Program {
    spec: ProgramSpec,
    /// The end to write of its pipe.
    pipe: Option<OwnedFd>,
    state: State,
    /// When it was started last, and how long it waits when it ends.
    started: Instant,
    back_off: Duration,
    /// Until when it must be ready, and when it is asked next.
    ready_until: Option<(Instant, Option<Instant>)>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Running(Pid),
    /// Until it is started again.
    Waiting(Instant),
    /// Until it is killed.
    Stopping(Pid, Instant),
    Ended,
}

/// What has happened.
#[derive(Debug)]
pub(super) enum Event {
    Program(ProgramEvent),
    Restarted(ProgramKey, Result<OwnedFd>),
    /// A command whose status says whether it is ready.
    Ask(ProgramKey, CommandSpec),
}

impl Programs {
    /// Starts a program: a pidfd, and the end to read of its pipe. The pipe stays when it is started again.
    pub(super) fn run(
        &mut self,
        nodes: &mut Nodes,
        spec: ProgramSpec,
    ) -> Result<(OwnedFd, Option<OwnedFd>)> {
        if self.0.get(&spec.key).is_some_and(|program| !matches!(program.state, State::Ended)) {
            return Err(Error::usage(format!("there are two programs of number {}", spec.key.0)));
        }
        let (output, pipe) = match spec.output {
            Output::Pipe => {
                let failed = |errno: rustix::io::Errno| Error::io("open", "a pipe", &errno.into());
                let (read, write) = pipe_with(PipeFlags::CLOEXEC).map_err(failed)?;
                rustix::io::ioctl_fionbio(&read, true).map_err(failed)?;
                (Some(read), Some(write))
            }
            _ => (None, None),
        };
        let now = Instant::now();
        let ready_until = Some((now + spec.ready_within, Some(now)));
        let mut program = Program {
            spec,
            pipe,
            state: State::Ended,
            started: now,
            back_off: BACK_OFF_MIN,
            ready_until,
        };
        let pidfd = program.start(nodes)?;
        self.0.insert(program.spec.key, program);
        Ok((pidfd, output))
    }

    /// Ends a program: SIGTERM, and SIGKILL if it is still there after `patience`. Then its number is free.
    pub(super) fn stop(&mut self, key: ProgramKey, patience: Duration) -> Result<()> {
        // One that could not be started has no number.
        let Some(program) = self.0.get_mut(&key) else { return Ok(()) };
        program.ready_until = None;
        match program.state {
            State::Running(pid) | State::Stopping(pid, _) => {
                program.state = State::Stopping(pid, Instant::now() + patience);
                // It may have ended.
                let _ = kill_process_group(pid, Signal::TERM);
            }
            State::Waiting(_) | State::Ended => {
                self.0.remove(&key);
            }
        }
        Ok(())
    }

    /// Sends the processes of a program a signal.
    pub(super) fn signal(&mut self, key: ProgramKey, signal: i32) -> Result<()> {
        let program = self.get(key)?;
        let name = program.spec.words.first().cloned().unwrap_or_default();
        let signal = Signal::from_named_raw(signal)
            .ok_or_else(|| Error::usage(format!("there is no signal {signal}")))?;
        let State::Running(pid) = program.state else {
            let message = format!("{name} is not running");
            return Err(Error::new(Kind::NotFound, &crate::keeper::codes::PART, message));
        };
        kill_process_group(pid, signal)
            .map_err(|errno| Error::io("send a signal to", name, &errno.into()))
    }

    fn get(&mut self, key: ProgramKey) -> Result<&mut Program> {
        self.0.get_mut(&key).ok_or_else(|| {
            let message = format!("the program of number {} is not running", key.0);
            Error::new(Kind::NotFound, &crate::keeper::codes::PART, message)
        })
    }

    /// Programs of a node are not started again.
    pub(super) fn forget(&mut self, is_gone: impl Fn(&ProgramSpec) -> bool) {
        for program in self.0.values_mut().filter(|program| is_gone(&program.spec)) {
            program.spec.restart = Restart::Never;
            program.ready_until = None;
            if let State::Waiting(_) = program.state {
                program.state = State::Ended;
            }
        }
    }

    /// When something is due.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        let times = self.0.values().flat_map(|program| {
            let state = match program.state {
                State::Waiting(until) | State::Stopping(_, until) => Some(until),
                State::Running(_) | State::Ended => None,
            };
            [state, program.ready_until.and_then(|(_, next)| next)]
        });
        times.flatten().min()
    }

    /// Does what is due.
    pub(super) fn handle_timeout(&mut self, now: Instant, nodes: &mut Nodes) -> Vec<Event> {
        let mut events = Vec::new();
        for (key, program) in &mut self.0 {
            match program.state {
                State::Waiting(until) if until <= now => {
                    let started = program.start(nodes);
                    if started.is_err() {
                        program.wait_again(now);
                    }
                    events.push(Event::Restarted(*key, started));
                }
                State::Stopping(pid, until) if until <= now => {
                    let _ = kill_process_group(pid, Signal::KILL);
                    // Its end is reported once.
                    program.state = State::Stopping(pid, now + BACK_OFF_MAX);
                }
                _ => {}
            }
            events.extend(program.ask(now));
        }
        events
    }

    /// Takes the answer to [`Event::Ask`].
    pub(super) fn answer(&mut self, key: ProgramKey, is_ready: bool) -> Option<Event> {
        let program = self.0.get_mut(&key)?;
        let (until, next) = program.ready_until.as_mut()?;
        let now = Instant::now();
        let event = if is_ready {
            ProgramEvent::Ready(key)
        } else if *until <= now {
            ProgramEvent::NotReady(key)
        } else {
            *next = Some(now + READY_INTERVAL);
            return None;
        };
        program.ready_until = None;
        Some(Event::Program(event))
    }

    /// Takes the end of a process, if it is one of these.
    pub(super) fn ended(&mut self, pid: Pid, status: u8) -> Option<Event> {
        let is_it =
            |state| matches!(state, State::Running(own) | State::Stopping(own, _) if own == pid);
        let (&key, program) = self.0.iter_mut().find(|(_, program)| is_it(program.state))?;
        let exited = |again_in| {
            Some(Event::Program(ProgramEvent::Exited { program: key, status, again_in }))
        };
        let is_wanted = match program.spec.restart {
            Restart::Never => false,
            Restart::OnFailure => status != 0,
            Restart::Always => true,
        };
        if let State::Stopping(..) = program.state {
            // What it has started goes as well.
            let _ = kill_process_group(pid, Signal::KILL);
            self.0.remove(&key);
        } else if is_wanted {
            let now = Instant::now();
            if now.duration_since(program.started) > BACK_OFF_MAX {
                program.back_off = BACK_OFF_MIN;
            }
            let again_in = Some(program.wait_again(now));
            return exited(again_in);
        } else {
            program.state = State::Ended;
        }
        exited(None)
    }
}

impl Program {
    fn start(&mut self, nodes: &mut Nodes) -> Result<OwnedFd> {
        let failed = |what: &str, object: String, error: &io::Error| Error::io(what, object, error);
        let (stdout, stderr) = match &self.spec.output {
            Output::Null => (Stdio::null(), Stdio::null()),
            Output::File(path) => {
                let open = || -> io::Result<(File, File)> {
                    let file = File::options().create(true).append(true).open(path)?;
                    Ok((file.try_clone()?, file))
                };
                let (out, err) =
                    open().map_err(|error| failed("open", path.display().to_string(), &error))?;
                (Stdio::from(out), Stdio::from(err))
            }
            Output::Pipe => {
                let pipe = self.pipe.as_ref().ok_or(rustix::io::Errno::BADF.into());
                let ends = pipe.and_then(|pipe| Ok((pipe.try_clone()?, pipe.try_clone()?)));
                let (out, err) =
                    ends.map_err(|error| failed("open", "a pipe".to_owned(), &error))?;
                (Stdio::from(out), Stdio::from(err))
            }
        };
        let what = What {
            node: self.spec.node,
            words: &self.spec.words,
            environment: &self.spec.environment,
            directory: self.spec.directory.as_deref(),
        };
        let (pid, pidfd) = spawn(nodes, what, stdout, stderr)?;
        self.state = State::Running(pid);
        self.started = Instant::now();
        Ok(pidfd)
    }

    /// Waits until it is started again: each time twice as long.
    fn wait_again(&mut self, now: Instant) -> Duration {
        let wait = self.back_off;
        self.back_off = (wait * 2).min(BACK_OFF_MAX);
        self.state = State::Waiting(now + wait);
        wait
    }

    /// Asks whether it is ready, if that is due.
    fn ask(&mut self, now: Instant) -> Option<Event> {
        let (until, next) = self.ready_until.as_mut()?;
        if next.is_none_or(|next| next > now) {
            return None;
        }
        if self.spec.ready.is_empty() {
            self.ready_until = None;
            return Some(Event::Program(ProgramEvent::Ready(self.spec.key)));
        }
        *next = None;
        let spec = CommandSpec {
            node: self.spec.node,
            words: self.spec.ready.clone(),
            environment: self.spec.environment.clone(),
            directory: self.spec.directory.clone(),
            within: until.saturating_duration_since(now).max(READY_INTERVAL),
        };
        Some(Event::Ask(self.spec.key, spec))
    }
}
