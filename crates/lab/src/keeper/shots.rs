//! Commands that run to their end: what they write is kept, and their time is limited.

use crate::keeper::nodes::Nodes;
use crate::keeper::order::{CommandOutput, CommandSpec};
use crate::keeper::spawn::{What, spawn};
use adit_service::error::{Error, Result};
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, kill_process_group};
use std::collections::{HashMap, VecDeque};
use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::time::Instant;

/// How many run at once.
const RUNNING_MAX: usize = 64;

/// How many wait beyond that.
const WAITING_MAX: usize = 1 << 16;

/// Commands for `T`, which is returned with the output.
#[derive(Debug)]
pub(super) struct Shots<T> {
    waiting: VecDeque<(T, CommandSpec)>,
    running: HashMap<Pid, Shot<T>>,
}

#[derive(Debug)]
struct Shot<T> {
    owner: T,
    outputs: [Pipe; 2],
    deadline: Instant,
    is_late: bool,
}

#[derive(Debug)]
struct Pipe {
    fd: OwnedFd,
    is_open: bool,
    bytes: Vec<u8>,
    is_cut: bool,
}

impl Pipe {
    const fn new(fd: OwnedFd) -> Self {
        Self { fd, is_open: true, bytes: Vec::new(), is_cut: false }
    }

    /// Reads what is there.
    fn read(&mut self) {
        let mut buffer = [0; 16 << 10];
        while self.is_open {
            match rustix::io::read(&self.fd, &mut buffer) {
                Ok(0) => self.is_open = false,
                Ok(len) => {
                    let room = CommandOutput::LEN_MAX.saturating_sub(self.bytes.len());
                    self.is_cut |= len > room;
                    self.bytes.extend_from_slice(&buffer[..len.min(room)]);
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Err(_) => self.is_open = false,
            }
        }
    }
}

impl<T> Shots<T> {
    pub(super) fn new() -> Self {
        Self { waiting: VecDeque::new(), running: HashMap::new() }
    }

    /// Adds a command.
    pub(super) fn add(&mut self, owner: T, spec: CommandSpec) -> Result<()> {
        if self.waiting.len() >= WAITING_MAX {
            return Err(Error::usage(format!("{WAITING_MAX} commands wait already")));
        }
        self.waiting.push_back((owner, spec));
        Ok(())
    }

    /// Starts those for which there is room; returns those that cannot be started.
    pub(super) fn start(&mut self, nodes: &mut Nodes) -> Vec<(T, Error)> {
        let mut failed = Vec::new();
        while self.running.len() < RUNNING_MAX {
            let Some((owner, spec)) = self.waiting.pop_front() else { break };
            match start(nodes, &spec) {
                Ok((pid, outputs)) => {
                    let deadline = Instant::now() + spec.within;
                    self.running.insert(pid, Shot { owner, outputs, deadline, is_late: false });
                }
                Err(error) => failed.push((owner, error)),
            }
        }
        failed
    }

    /// What to wait for.
    pub(super) fn descriptors<'a>(&'a self, fds: &mut Vec<PollFd<'a>>) {
        let pipes = self.running.values().flat_map(|shot| &shot.outputs);
        fds.extend(
            pipes.filter(|pipe| pipe.is_open).map(|pipe| PollFd::new(&pipe.fd, PollFlags::IN)),
        );
    }

    /// Reads what they have written.
    pub(super) fn read(&mut self) {
        for shot in self.running.values_mut() {
            shot.outputs.iter_mut().for_each(Pipe::read);
        }
    }

    /// When the next one is late.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.running.values().filter(|shot| !shot.is_late).map(|shot| shot.deadline).min()
    }

    /// Kills those that are late.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        for (pid, shot) in &mut self.running {
            if !shot.is_late && shot.deadline <= now {
                shot.is_late = true;
                // It may have ended.
                let _ = kill_process_group(*pid, Signal::KILL);
            }
        }
    }

    /// Takes the end of a process, if it is one of these.
    pub(super) fn ended(&mut self, pid: Pid, status: u8) -> Option<(T, CommandOutput)> {
        let Shot { owner, mut outputs, is_late, .. } = self.running.remove(&pid)?;
        // What it started may have the pipes open, and write on.
        outputs.iter_mut().for_each(Pipe::read);
        let [stdout, stderr] = outputs;
        let text = |pipe: &Pipe| String::from_utf8_lossy(&pipe.bytes).into_owned();
        let output = CommandOutput {
            status: (!is_late).then_some(status),
            stdout: text(&stdout),
            stderr: text(&stderr),
            is_cut: stdout.is_cut || stderr.is_cut,
        };
        Some((owner, output))
    }
}

fn start(nodes: &mut Nodes, spec: &CommandSpec) -> Result<(Pid, [Pipe; 2])> {
    let pipe = || -> Result<(OwnedFd, OwnedFd)> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC)
            .map_err(|errno| Error::io("open", "a pipe", &errno.into()))?;
        rustix::io::ioctl_fionbio(&read, true)
            .map_err(|errno| Error::io("set up", "a pipe", &errno.into()))?;
        Ok((read, write))
    };
    let ((out, out_end), (err, err_end)) = (pipe()?, pipe()?);
    let what = What {
        node: spec.node,
        words: &spec.words,
        environment: &spec.environment,
        directory: spec.directory.as_deref(),
    };
    let (pid, _) = spawn(nodes, what, Stdio::from(out_end), Stdio::from(err_end))?;
    Ok((pid, [Pipe::new(out), Pipe::new(err)]))
}
