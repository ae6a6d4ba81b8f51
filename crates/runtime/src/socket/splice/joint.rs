//! Two joined sockets.

use crate::socket::splice::pipes::Pipes;
use crate::socket::splice::way::Way;
use crate::wake::reactor::Ready;
use adit_packet::Instant;
use socket2::Socket;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

/// A socket of the host and one of the engine's client.
#[derive(Debug)]
pub(crate) struct Joint {
    outside: Socket,
    inside: Socket,
    /// From the inside, and to it.
    up: Way,
    down: Way,
    used: Instant,
    /// A socket reports an error that no read or write may meet.
    has_failed: bool,
    has_more: bool,
}

/// What became of two sockets in a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    Open,
    /// Both directions have ended, or one of the sockets has failed.
    Ended,
}

impl Joint {
    /// Joins two sockets; `inside` has the options of its listener.
    pub(crate) fn new(outside: Socket, inside: Socket, now: Instant) -> Self {
        // Without it the outside would see a FIN if this process is killed.
        let _ = outside.set_linger(Some(Duration::ZERO));
        Self {
            outside,
            inside,
            up: Way::default(),
            // What came before is not announced again.
            down: Way { is_urgent: true, ..Way::default() },
            used: now,
            has_failed: false,
            has_more: true,
        }
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.outside.as_fd()
    }

    pub(crate) fn inside(&self) -> BorrowedFd<'_> {
        self.inside.as_fd()
    }

    /// One of the sockets is ready.
    pub(crate) fn note(&mut self, ready: Ready) {
        // Which one is not known: a look at the other costs little.
        self.up.is_urgent |= ready.is_urgent;
        self.down.is_urgent |= ready.is_urgent;
        self.has_failed |= ready.failed;
    }

    /// Whether there is more to move although no socket is ready.
    pub(crate) const fn has_more(&self) -> bool {
        self.has_more
    }

    /// Bytes from the inside, and to it.
    pub(crate) const fn moved(&self) -> (u64, u64) {
        (self.up.moved, self.down.moved)
    }

    /// When it moved some.
    pub(crate) const fn used(&self) -> Instant {
        self.used
    }

    /// Moves what there is.
    pub(crate) fn run(&mut self, pipes: &mut Pipes, now: Instant) -> Turn {
        let before = self.moved();
        let up = self.up.run(&self.inside, &self.outside, pipes);
        // Also if `up` failed: what the outside has sent before its RST still passes.
        let down = self.down.run(&self.outside, &self.inside, pipes);
        if self.moved() != before {
            self.used = now;
        }
        self.has_more = matches!((&up, &down), (Ok(true), _) | (_, Ok(true)));
        let taken = if std::mem::take(&mut self.has_failed) { self.take_error() } else { Ok(()) };
        if up.and(down).is_err() || taken.is_err() {
            // Both ends see a RST, as they are closed without any time to linger.
            return Turn::Ended;
        }
        if self.up.has_finished && self.down.has_finished {
            // What the kernel has still to send goes out.
            let _ = self.outside.set_linger(None);
            let _ = self.inside.set_linger(None);
            return Turn::Ended;
        }
        Turn::Open
    }

    /// The error of one of the sockets.
    fn take_error(&self) -> io::Result<()> {
        let errors = [self.inside.take_error()?, self.outside.take_error()?];
        errors.into_iter().flatten().next().map_or(Ok(()), Err)
    }

    /// Whether bytes from the inside wait in a pipe.
    #[cfg(test)]
    pub(super) const fn holds_pipe(&self) -> bool {
        self.up.waiting.is_some()
    }

    /// Gives up what it holds.
    pub(crate) fn clear(&mut self, pipes: &mut Pipes) {
        self.up.clear(pipes);
        self.down.clear(pipes);
    }
}
