//! A program that continues in the background: the same command line again, in a session of its own.

use crate::exit::Exit;
use adit_service::error::{Error, Result};
use adit_service::helper;
use rustix::fs::{Mode, OFlags};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

/// What the background process writes when it is ready; its exit status for the parent follows, a byte.
const READY: &[u8] = b"ready";

/// Starts this program in the background, with `--detached` in place of `--detach`, and waits until it is ready or has
/// failed.
pub(super) fn detach() -> Result<Exit> {
    let program = std::env::current_exe();
    let program = program.map_err(|error| Error::io("find", "this program", &error))?;
    let is_detach = |word: &std::ffi::OsString| word == "--detach" || word == "-d";
    let mut words: Vec<_> = std::env::args_os().skip(1).collect();
    if !words.iter().any(is_detach) {
        return Err(Error::usage("-d cannot be combined with other short options"));
    }
    for word in words.iter_mut().filter(|word| is_detach(word)) {
        *word = "--detached".into();
    }
    let mut command = Command::new(&program);
    command.args(words).stdout(Stdio::piped());
    let mut child =
        command.spawn().map_err(|error| Error::io("start", program.display(), &error))?;
    let mut answer = [0; READY.len() + 1];
    if let Some(mut stdout) = child.stdout.take()
        && stdout.read_exact(&mut answer).is_ok()
        && let [word @ .., status] = answer
        && word == READY
    {
        return Ok(Exit::from_code(status.into()).unwrap_or(Exit::Ok));
    }
    let status = child.wait().map_err(|error| Error::io("wait for", "the process", &error))?;
    // The process has printed the reason.
    let code = status.code().and_then(|code| u64::try_from(code).ok());
    Ok(code.and_then(Exit::from_code).filter(|exit| *exit != Exit::Ok).unwrap_or(Exit::Refused))
}

/// A process in the background whose parent waits until it is ready.
#[derive(Debug)]
pub(super) struct Detached {
    /// Opened before a sandbox forbids it.
    null: Option<OwnedFd>,
}

/// Logs to where a program in the background does, from the start on: nobody waits for this one.
pub(super) fn continue_in_background() {
    adit_log::prepare_to_detach();
    adit_log::detach(|| {});
}

impl Detached {
    /// Outlives the terminal, and prepares the log for the time after [`Detached::notify_ready`].
    pub(super) fn leave_terminal() -> Self {
        // The call fails only if we lead a session already, which is fine.
        let _ = rustix::process::setsid();
        adit_log::prepare_to_detach();
        Self { null: rustix::fs::open("/dev/null", OFlags::RDWR, Mode::empty()).ok() }
    }

    /// Lets the waiting parent exit with a status once all that was logged is printed, and closes its descriptors, but
    /// not a file as standard error. Later messages go there, or to the journal.
    pub(super) fn notify_ready(self, exit: Exit) {
        adit_log::detach(move || self.close_standard(exit));
    }

    fn close_standard(&self, exit: Exit) {
        let answer = [READY, &[exit.code()]].concat();
        // The parent may be gone.
        let _ =
            std::io::stdout().lock().write_all(&answer).and_then(|()| std::io::stdout().flush());
        if let Some(null) = &self.null {
            let _ = rustix::stdio::dup2_stdin(null);
            let _ = rustix::stdio::dup2_stdout(null);
            if !adit_log::is_stderr_a_file() {
                let _ = rustix::stdio::dup2_stderr(null);
            }
        }
        helper::installed().into_iter().for_each(|helper| helper.detach());
    }
}
