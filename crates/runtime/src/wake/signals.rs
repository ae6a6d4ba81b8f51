//! Signals as a descriptor to read.

use rustix::pipe::{PipeFlags, pipe_with};
use signal_hook::SigId;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A signal that a loop reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGHUP: read the configuration again.
    Hangup,
    /// SIGINT.
    Interrupt,
    /// SIGTERM.
    Terminate,
    /// SIGUSR1: print the state.
    User1,
}

const SIGNALS: [(i32, Signal); 4] = [
    (SIGHUP, Signal::Hangup),
    (SIGINT, Signal::Interrupt),
    (SIGTERM, Signal::Terminate),
    (SIGUSR1, Signal::User1),
];

/// SIGHUP, SIGINT, SIGTERM and SIGUSR1 as something to wait for: while it exists they do not end the
/// process.
///
/// Give it to a loop ([`Runner::watch_signals`](crate::Runner::watch_signals)), or wait for its
/// descriptor elsewhere and call [`Self::read`].
#[derive(Debug)]
pub struct Signals {
    reader: OwnedFd,
    flags: [Arc<AtomicBool>; SIGNALS.len()],
    ids: Vec<SigId>,
}

impl Signals {
    /// Catches the four signals from now on, for the whole process.
    ///
    /// # Errors
    /// EMFILE.
    pub fn new() -> io::Result<Self> {
        let (reader, writer) = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC)?;
        let mut signals = Self { reader, flags: Default::default(), ids: Vec::new() };
        for ((number, _), flag) in SIGNALS.iter().zip(&signals.flags) {
            // In this order: the flag is set before the reader wakes.
            signals.ids.push(signal_hook::flag::register(*number, Arc::clone(flag))?);
            let writer = writer.try_clone()?;
            signals.ids.push(signal_hook::low_level::pipe::register(*number, writer)?);
        }
        Ok(signals)
    }

    /// The signals that came since the last call, each once.
    pub fn read(&self) -> impl Iterator<Item = Signal> {
        let mut bytes = [0; 64];
        while rustix::io::read(&self.reader, &mut bytes).is_ok_and(|len| len == bytes.len()) {}
        let came = SIGNALS.iter().zip(&self.flags);
        came.filter(|(_, flag)| flag.swap(false, Ordering::AcqRel)).map(|((_, signal), _)| *signal)
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        for id in self.ids.drain(..) {
            signal_hook::low_level::unregister(id);
        }
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }
}
