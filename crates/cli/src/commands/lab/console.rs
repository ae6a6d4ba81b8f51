//! The serial console of a guest, on the terminal of the caller.

use crate::context::Context;
use crate::exit::Exit;
use adit_service::error::{Error, Result};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcsetattr};
use std::io::{self, Read, Write, stdin, stdout};
use std::os::unix::net::UnixStream;
use std::path::Path;

/// Ctrl-] leaves the console, as that of telnet, virsh and LXC.
const LEAVE: u8 = 0x1d;

/// A terminal that passes each key on; it is as before when this is dropped.
struct Raw(Termios);

impl Raw {
    fn new() -> io::Result<Self> {
        let before = tcgetattr(stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(stdin(), OptionalActions::Drain, &raw)?;
        Ok(Self(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // The terminal may be gone.
        let _ = tcsetattr(stdin(), OptionalActions::Drain, &self.0);
    }
}

/// Joins standard input and output with a console until one of them ends, or Ctrl-].
pub(super) fn run(context: &Context, guest: &str, socket: &Path) -> Result<Exit> {
    let stream = UnixStream::connect(socket).map_err(|error| {
        Error::io("connect to", format_args!("the console of '{guest}'"), &error)
            .hint("See whether the guest runs: 'adit lab show'.")
    })?;
    let failed =
        |error: io::Error| Error::io("use", format_args!("the console of '{guest}'"), &error);
    let is_terminal = isatty(stdin());
    if is_terminal {
        context.output.note(format_args!("console of '{guest}': Ctrl-] leaves it"));
    }
    let raw = is_terminal.then(Raw::new).transpose().map_err(failed)?;
    join(&stream, raw.is_some()).map_err(failed)?;
    Ok(Exit::Ok)
}

fn join(stream: &UnixStream, is_terminal: bool) -> io::Result<()> {
    let (mut to, mut from) = (stream, stream);
    let mut bytes = [0; 4096];
    loop {
        let mut fds = [
            PollFd::from_borrowed_fd(rustix::stdio::stdin(), PollFlags::IN),
            PollFd::new(stream, PollFlags::IN),
        ];
        rustix::io::retry_on_intr(|| poll(&mut fds, None))?;
        let [keys, console] = fds.map(|fd| !fd.revents().is_empty());
        if console {
            let len = from.read(&mut bytes)?;
            if len == 0 {
                return Ok(());
            }
            let mut out = stdout().lock();
            out.write_all(&bytes[..len])?;
            out.flush()?;
        }
        if keys {
            let len = stdin().lock().read(&mut bytes)?;
            let keys = &bytes[..len];
            let end = keys.iter().position(|key| is_terminal && *key == LEAVE);
            to.write_all(&keys[..end.unwrap_or(len)])?;
            if len == 0 || end.is_some() {
                return Ok(());
            }
        }
    }
}
