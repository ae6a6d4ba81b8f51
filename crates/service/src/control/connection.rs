//! One client of a server: what it has sent, and what it gets.

use crate::control::http;
use crate::control::rights::Rights;
use crate::journal::{Format, Journal, Mark};
use rustix::net::{RecvFlags, SendFlags};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a stream of events may be silent: what is between client and program may close an idle connection.
const SILENCE_MAX: Duration = Duration::from_secs(15);

/// A client.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) socket: OwnedFd,
    pub(super) number: u64,
    pub(super) rights: Rights,
    pub(super) received: Vec<u8>,
    /// Its request was passed on, and the reply comes later: the client is not waited for.
    pub(super) is_asked: bool,
    /// Its request was HEAD.
    pub(super) is_head: bool,
    /// What is to be sent; empty until the reply is there, and between events.
    pub(super) reply: Arc<[u8]>,
    written: usize,
    pub(super) since: Instant,
    /// The events that it follows.
    pub(super) stream: Option<Stream>,
}

/// Events that a client follows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stream {
    pub(super) format: Format,
    /// The number of the last event that was written for it.
    pub(super) after: u64,
    /// Whether it stays for those to come.
    pub(super) follows: bool,
}

/// What becomes of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    Stay,
    Close,
}

impl Connection {
    pub(super) fn new(socket: OwnedFd, number: u64, rights: Rights) -> Self {
        Self {
            socket,
            number,
            rights,
            received: Vec::new(),
            is_asked: false,
            is_head: false,
            reply: Arc::default(),
            written: 0,
            since: Instant::now(),
            stream: None,
        }
    }

    /// Whether the client is idle for too long, and not because of us.
    pub(super) fn is_late(&self, patience: Duration) -> bool {
        let waits_for_us = self.is_asked && self.reply.is_empty();
        !waits_for_us && self.since.elapsed() > patience
    }

    /// Takes the reply.
    pub(super) fn give(&mut self, mut reply: Arc<[u8]>) {
        if self.is_head {
            reply = reply.get(..http::head_len(&reply)).unwrap_or_default().into();
        }
        (self.reply, self.since) = (reply, Instant::now());
    }

    /// Takes what is there, once: the rest is there next time, after the packets.
    pub(super) fn receive(&mut self) -> Then {
        let mut buf = [0; 16 << 10];
        match rustix::net::recv(&self.socket, &mut buf, RecvFlags::empty()) {
            Ok((0, _)) => Then::Close,
            Ok((len, _)) => {
                self.received.extend_from_slice(buf.get(..len).unwrap_or_default());
                // Beyond the longest request `parse` has refused it.
                Then::Stay
            }
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Then::Stay,
            Err(_) => Then::Close,
        }
    }

    /// Sends what waits, once.
    pub(super) fn send(&mut self) -> Then {
        let rest = self.reply.get(self.written..).unwrap_or_default();
        match rustix::net::send(&self.socket, rest, SendFlags::NOSIGNAL) {
            Ok(len) => {
                self.written += len;
                self.since = Instant::now();
                if self.written < self.reply.len() {
                    return Then::Stay;
                }
                if !self.stream.is_some_and(|stream| stream.follows) {
                    return Then::Close;
                }
                (self.reply, self.written) = (Arc::default(), 0);
                Then::Stay
            }
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Then::Stay,
            Err(_) => Then::Close,
        }
    }

    /// Takes the next events, unless some are still to be sent. A slow client has this much in memory, and learns of
    /// the events that it has missed.
    pub(super) fn follow(&mut self, journal: &Journal) {
        let Some(stream) = self.stream.as_mut().filter(|_| self.reply.is_empty()) else { return };
        let mut bytes = Vec::new();
        if stream.after != journal.last() {
            stream.after = journal.read(stream.after, stream.format, &mut bytes);
        } else if self.since.elapsed() > SILENCE_MAX {
            Journal::mark(Mark::Alive { seq: stream.after }, stream.format, &mut bytes);
        }
        if !bytes.is_empty() {
            self.give(bytes.into());
        }
    }
}
