//! Signals as something that can be read.

use crate::event::{Event, Signal};
use signal_hook::SigId;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use std::collections::VecDeque;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const SIGNALS: [(i32, Signal); 4] = [
    (SIGHUP, Signal::Hangup),
    (SIGINT, Signal::Interrupt),
    (SIGTERM, Signal::Terminate),
    (SIGUSR1, Signal::User1),
];

/// A flag for each signal, and a descriptor that is readable when one may be set.
#[derive(Debug)]
pub struct Signals {
    reader: UnixStream,
    flags: [Arc<AtomicBool>; SIGNALS.len()],
    ids: Vec<SigId>,
}

impl Signals {
    /// Hears them from now on.
    pub fn new() -> io::Result<Self> {
        let (reader, writer) = UnixStream::pair()?;
        reader.set_nonblocking(true)?;
        writer.set_nonblocking(true)?;
        let mut signals = Self { reader, flags: Default::default(), ids: Vec::new() };
        for ((number, _), flag) in SIGNALS.iter().zip(&signals.flags) {
            // In this order: who is woken sees the flag.
            signals.ids.push(signal_hook::flag::register(*number, Arc::clone(flag))?);
            let writer = writer.try_clone()?;
            signals.ids.push(signal_hook::low_level::pipe::register(*number, writer)?);
        }
        Ok(signals)
    }

    /// Takes those that came since the last call; several of one kind are one.
    pub fn read(&self, events: &mut VecDeque<Event>) {
        let mut bytes = [0; 64];
        while (&self.reader).read(&mut bytes).is_ok_and(|len| len == bytes.len()) {}
        for ((_, signal), flag) in SIGNALS.iter().zip(&self.flags) {
            if flag.swap(false, Ordering::AcqRel) {
                if *signal == Signal::User1 {
                    crate::panics::failpoint("loop");
                }
                events.push_back(Event::Signal(*signal));
            }
        }
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
