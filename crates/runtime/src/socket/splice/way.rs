//! One direction of two joined sockets.

use crate::socket::splice::pipes::{Pipe, Pipes};
use adit_device::{discard_received, received_before_urgent};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{RecvFlags, SendFlags, Shutdown};
use rustix::pipe::{SpliceFlags, splice};
use socket2::Socket;
use std::io;

/// Bytes that are moved before others have their turn: eight times what a pipe holds of small pages.
const SHARE_LEN: u64 = 4 << 20;

/// The most that one call moves.
const PIECE_LEN: usize = 1 << 20;

const NOW: SpliceFlags = SpliceFlags::MOVE.union(SpliceFlags::NONBLOCK);

/// The state of a direction.
#[derive(Debug, Default)]
pub(super) struct Way {
    /// Bytes that the receiver had no room for.
    pub(super) waiting: Option<(Pipe, usize)>,
    /// Bytes that the receiver has taken.
    pub(super) moved: u64,
    /// There may be an urgent byte: splice(2) ends before it.
    pub(super) is_urgent: bool,
    pub(super) has_ended: bool,
    /// The receiver knows that it has ended.
    pub(super) has_finished: bool,
}

/// What a step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Moved,
    /// A change of one of the sockets announces that there is more to do.
    Waits,
    Ended,
}

impl Way {
    /// Moves bytes until there are none, there is no room for them, or others have their turn. Whether there
    /// may be more.
    pub(super) fn run(
        &mut self,
        from: &Socket,
        to: &Socket,
        pipes: &mut Pipes,
    ) -> io::Result<bool> {
        let until = self.moved + SHARE_LEN;
        while !self.has_finished {
            let step = match self.waiting.take() {
                Some((pipe, len)) => self.drain(pipe, len, to, pipes)?,
                None if self.has_ended => {
                    rustix::net::shutdown(to, Shutdown::Write)?;
                    self.has_finished = true;
                    Step::Ended
                }
                None => match pipes.take() {
                    Some(pipe) => self.fill(pipe, from, to, pipes)?,
                    None => self.copy(from, to, pipes)?,
                },
            };
            match step {
                Step::Waits => return Ok(false),
                Step::Ended => self.has_ended = true,
                Step::Moved if self.moved >= until => return Ok(true),
                Step::Moved => {}
            }
        }
        Ok(false)
    }

    /// Fills an empty pipe.
    fn fill(
        &mut self,
        pipe: Pipe,
        from: &Socket,
        to: &Socket,
        pipes: &mut Pipes,
    ) -> io::Result<Step> {
        let read = retry_on_intr(|| splice(from, None, &pipe.write, None, PIECE_LEN, NOW));
        if let Ok(len @ 1..) = read {
            self.waiting = Some((pipe, len));
            return Ok(Step::Moved);
        }
        pipes.give(pipe);
        match read {
            Ok(_) => Ok(Step::Ended),
            Err(Errno::AGAIN) if self.is_urgent && is_at_mark(from) => self.copy(from, to, pipes),
            Err(Errno::AGAIN) => {
                self.is_urgent = false;
                Ok(Step::Waits)
            }
            Err(errno) => Err(errno.into()),
        }
    }

    /// Empties a pipe with bytes in it.
    fn drain(
        &mut self,
        pipe: Pipe,
        len: usize,
        to: &Socket,
        pipes: &mut Pipes,
    ) -> io::Result<Step> {
        match retry_on_intr(|| splice(&pipe.read, None, to, None, len, NOW)) {
            Ok(count) if count >= len => pipes.give(pipe),
            Ok(count) => self.waiting = Some((pipe, len - count)),
            Err(Errno::AGAIN) => {
                self.waiting = Some((pipe, len));
                return Ok(Step::Waits);
            }
            Err(errno) => {
                pipes.discard(pipe);
                return Err(errno.into());
            }
        }
        let rest = self.waiting.as_ref().map_or(0, |(_, rest)| *rest);
        self.moved += u64::try_from(len - rest).unwrap_or(0);
        Ok(Step::Moved)
    }

    /// Copies bytes, which stay where they are until the receiver has taken them. An urgent one is sent as such.
    fn copy(&mut self, from: &Socket, to: &Socket, pipes: &mut Pipes) -> io::Result<Step> {
        let is_at_mark = self.is_urgent && is_at_mark(from);
        let scratch = pipes.scratch();
        let room = if is_at_mark { 1 } else { scratch.len() };
        let scratch = scratch.get_mut(..room).unwrap_or_default();
        let peek = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        // It ends before an urgent byte.
        let len = match retry_on_intr(|| rustix::net::recv(from, &mut *scratch, peek)) {
            Ok((0, _)) => return Ok(Step::Ended),
            Ok((len, _)) => len,
            Err(Errno::AGAIN) => {
                self.is_urgent = false;
                return Ok(Step::Waits);
            }
            Err(errno) => return Err(errno.into()),
        };
        let bytes = scratch.get(..len).unwrap_or_default();
        let flags = if is_at_mark { SendFlags::OOB } else { SendFlags::empty() };
        let flags = flags | SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        match retry_on_intr(|| rustix::net::send(to, bytes, flags)) {
            Ok(count) => {
                discard_received(from, count)?;
                self.moved += u64::try_from(count).unwrap_or(0);
                self.is_urgent &= !is_at_mark;
                Ok(Step::Moved)
            }
            Err(Errno::AGAIN) => Ok(Step::Waits),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Gives the pipe up.
    pub(super) fn clear(&mut self, pipes: &mut Pipes) {
        if let Some((pipe, _)) = self.waiting.take() {
            pipes.discard(pipe);
        }
    }
}

/// Whether the next byte is the urgent one.
fn is_at_mark(socket: &Socket) -> bool {
    received_before_urgent(socket).is_ok_and(|before| before == Some(0))
}
