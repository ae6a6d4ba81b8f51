//! A program that goes on in the background once it is ready, and whose caller waits until then.

use adit_device::process::Child;
use adit_device::take_inherited;
use adit_service::error::{Error, Kind, Report, Result, SYSTEM};
use rustix::fs::{Mode, OFlags, open};
use rustix::process::{Signal, set_parent_process_death_signal};
use std::io::{self, Read, Write};
use std::os::fd::{OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

/// The first byte that the copy sends when it is ready; a failure is a report as JSON.
const READY: u8 = b'1';

/// What connects a program with the caller that waits for it.
#[derive(Debug)]
pub(super) struct Caller {
    /// Where it waits, and what takes the place of the standard streams; `None` in the foreground.
    waits: Option<(UnixStream, OwnedFd)>,
}

impl Caller {
    /// Of a program in the foreground, for which nobody waits.
    pub(super) const fn none() -> Self {
        Self { waits: None }
    }

    /// Leaves the streams, the terminal and the life of the caller: for what is open, its end would never come.
    pub(super) fn leave(&self) -> Result<()> {
        let Some((_, null)) = &self.waits else { return Ok(()) };
        let left = rustix::process::setsid()
            .and_then(|_| rustix::stdio::dup2_stdin(null))
            .and_then(|()| rustix::stdio::dup2_stdout(null))
            .and_then(|()| rustix::stdio::dup2_stderr(null))
            .and_then(|()| set_parent_process_death_signal(None));
        left.map_err(|errno| Error::io("leave", "the caller", &errno.into()))
    }

    /// Lets the caller go on: everything is ready.
    pub(super) fn ready(self) -> Result<()> {
        let Some((mut stream, _)) = self.waits else { return Ok(()) };
        stream.write_all(&[READY]).map_err(|error| Error::io("write to", "the caller", &error))
    }
}

/// Does `work` in a copy of this process, and returns when that calls [`Caller::ready`]; the copy goes on. This
/// process must have a single thread.
///
/// # Errors
/// What `work` returns before it is ready.
pub(super) fn detach(work: impl FnOnce(Caller) -> Result<()>) -> Result<()> {
    let failed = |error: io::Error| Error::io("start", "a process", &error);
    let (mut ours, theirs) = UnixStream::pair().map_err(failed)?;
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    let null = open("/dev/null", flags, Mode::empty());
    let null = null.map_err(|errno| Error::io("open", "/dev/null", &errno.into()))?;
    let parent = rustix::process::getpid();
    Child::fork(|| {
        // Until it is ready it ends with the caller, which may be killed.
        let is_orphan = set_parent_process_death_signal(Some(Signal::KILL)).is_err()
            || rustix::process::getppid() != Some(parent);
        let reports = theirs.try_clone();
        match (is_orphan, reports) {
            (false, Ok(mut reports)) => match work(Caller { waits: Some((theirs, null)) }) {
                Ok(()) => 0,
                Err(error) => {
                    // Once it is ready, nobody reads it.
                    let _ =
                        reports.write_all(&serde_json::to_vec(&error.report).unwrap_or_default());
                    1
                }
            },
            _ => 1,
        }
    })
    .map_err(failed)?;
    let mut answer = Vec::new();
    // The copy holds its end of the pair as long as it lives, so a byte decides.
    let mut first = [0];
    match ours.read(&mut first) {
        Ok(1) if first == [READY] => return Ok(()),
        Ok(1) => answer.extend(first),
        _ => {}
    }
    let read = ours.read_to_end(&mut answer);
    let report: Option<Report> = read.ok().and_then(|_| serde_json::from_slice(&answer).ok());
    Err(match report {
        Some(report) => Error { kind: Kind::Refused, report: Box::new(report) },
        None => Error::new(Kind::Refused, &SYSTEM, "the process in the background has ended"),
    })
}

/// Writes the id of this process, on a line.
pub(super) fn write_pid(path: &Path) -> Result<()> {
    std::fs::write(path, format!("{}\n", std::process::id()))
        .map_err(|error| Error::io("write", path.display(), &error))
}

/// Takes a descriptor that the caller left open on purpose.
pub(super) fn inherited(number: Option<RawFd>) -> Result<Option<OwnedFd>> {
    let Some(number) = number else { return Ok(None) };
    let taken = take_inherited(number);
    taken.map(Some).map_err(|error| Error::io("take", format!("descriptor {number}"), &error))
}

/// Closes the descriptors that the caller left open by mistake: what is at their other ends may wait for that.
/// Those that were taken before stay.
pub(super) fn close_inherited() {
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else { return };
    let numbers: Vec<i32> =
        entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    numbers.into_iter().for_each(|number| drop(take_inherited(number)));
}
