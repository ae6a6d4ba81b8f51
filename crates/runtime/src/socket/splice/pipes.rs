//! The pipes between sockets.

use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};
use std::os::fd::OwnedFd;

/// Pipes at most: each has two descriptors, and what it holds is memory of the kernel.
pub(super) const PIPES_MAX: usize = 64;

/// The capacity of a pipe in bytes of small pages: of super-packets, whose pages are larger, it holds more.
const CAPACITY: usize = 512 << 10;

/// Bytes that are copied where there is no pipe.
const SCRATCH_LEN: usize = 64 << 10;

/// A pipe.
#[derive(Debug)]
pub(crate) struct Pipe {
    pub(super) read: OwnedFd,
    pub(super) write: OwnedFd,
}

/// Empty pipes, and room for bytes that are copied.
#[derive(Debug, Default)]
pub(crate) struct Pipes {
    empty: Vec<Pipe>,
    count: usize,
    scratch: Vec<u8>,
}

impl Pipes {
    /// An empty pipe; `None`: there are as many as there may be.
    pub(super) fn take(&mut self) -> Option<Pipe> {
        if let Some(pipe) = self.empty.pop() {
            return Some(pipe);
        }
        if self.count >= PIPES_MAX {
            return None;
        }
        let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).ok()?;
        // A user with many pipes gets less.
        let _ = fcntl_setpipe_size(&write, CAPACITY);
        self.count += 1;
        Some(Pipe { read, write })
    }

    /// Takes an empty pipe back.
    pub(super) fn give(&mut self, pipe: Pipe) {
        self.empty.push(pipe);
    }

    /// Closes a pipe with the bytes in it.
    pub(super) fn discard(&mut self, pipe: Pipe) {
        drop(pipe);
        self.count -= 1;
    }

    /// Room for bytes that are copied.
    pub(super) fn scratch(&mut self) -> &mut [u8] {
        self.scratch.resize(SCRATCH_LEN, 0);
        &mut self.scratch
    }
}
