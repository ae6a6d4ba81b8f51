//! Requests from other threads to the thread that owns something.

use rustix::event::{EventfdFlags, eventfd};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::ThreadId;

/// The system calls of this file.
pub(crate) const SYSCALLS: &[&str] = &["read", "write"];

/// How many requests wait for the owner; past it, the threads that ask wait.
const REQUESTS_MAX: usize = 64;

type Job<T> = Box<dyn FnOnce(&mut T) + Send>;

/// The requests to an owner, on the owner's side.
pub(crate) struct Mailbox<T> {
    jobs: Receiver<Job<T>>,
    sender: SyncSender<Job<T>>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// Readable while requests wait.
    event: OwnedFd,
    /// The thread that carries out requests, while it runs.
    owner: Mutex<Option<ThreadId>>,
}

impl Shared {
    fn owner(&self) -> Option<ThreadId> {
        *self.owner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Mailbox<T> {
    /// An empty one.
    pub(crate) fn new() -> io::Result<Self> {
        let (sender, jobs) = sync_channel(REQUESTS_MAX);
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { jobs, sender, shared: Arc::new(Shared { event, owner: Mutex::new(None) }) })
    }

    /// A handle for other threads.
    pub(crate) fn remote(&self) -> Remote<T> {
        Remote { jobs: self.sender.clone(), shared: Arc::clone(&self.shared) }
    }

    /// From now on this thread carries out requests, or none does.
    pub(crate) fn set_owned(&self, is_owned: bool) {
        let owner = is_owned.then(|| std::thread::current().id());
        *self.shared.owner.lock().unwrap_or_else(PoisonError::into_inner) = owner;
    }

    /// The requests that wait now. Others stay for the next call, so that they cannot keep the owner
    /// from its work.
    pub(crate) fn take(&self) -> Vec<Job<T>> {
        let mut count = [0; 8];
        // Before the queue is looked at: a request that comes after it makes the descriptor readable.
        let _ = rustix::io::read(&self.shared.event, &mut count);
        let jobs: Vec<_> = self.jobs.try_iter().take(REQUESTS_MAX).collect();
        if jobs.len() == REQUESTS_MAX {
            ring(&self.shared.event);
        }
        jobs
    }
}

fn ring(event: &OwnedFd) {
    // It fails only when the counter is full: the owner is woken all the same.
    let _ = rustix::io::write(event, &1_u64.to_ne_bytes());
}

impl<T> AsFd for Mailbox<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.shared.event.as_fd()
    }
}

/// Asks the thread that owns a `T` to do something with it; for any thread, and cheap to clone.
///
/// At most 64 requests wait; a thread that asks for more waits. The owner never does.
pub struct Remote<T> {
    jobs: SyncSender<Job<T>>,
    shared: Arc<Shared>,
}

impl<T> Remote<T> {
    /// Does `work` on the owner's thread, between two batches of packets, and waits for its result.
    /// `work` must not block: no packet moves until it returns.
    ///
    /// # Errors
    /// [`CallError::Gone`]: the owner was dropped, or `work` panicked. [`CallError::Deadlock`]: the
    /// owner's own thread asked.
    pub fn call<R: Send + 'static>(
        &self,
        work: impl FnOnce(&mut T) -> R + Send + 'static,
    ) -> Result<R, CallError> {
        if self.shared.owner() == Some(std::thread::current().id()) {
            return Err(CallError::Deadlock);
        }
        let (reply, result) = sync_channel(1);
        let job = Box::new(move |owner: &mut T| {
            // There is room for it; it is lost only if the caller's thread ends.
            let _ = reply.send(work(owner));
        });
        self.jobs.send(job).map_err(|_| CallError::Gone)?;
        ring(&self.shared.event);
        result.recv().map_err(|_| CallError::Gone)
    }

    /// Has `work` done on the owner's thread and does not wait for it.
    ///
    /// # Errors
    /// [`CallError::Gone`]: the owner was dropped. [`CallError::Busy`]: 64 requests wait.
    pub fn post(&self, work: impl FnOnce(&mut T) + Send + 'static) -> Result<(), CallError> {
        use std::sync::mpsc::TrySendError;
        self.jobs.try_send(Box::new(work)).map_err(|error| match error {
            TrySendError::Full(_) => CallError::Busy,
            TrySendError::Disconnected(_) => CallError::Gone,
        })?;
        ring(&self.shared.event);
        Ok(())
    }
}

impl<T> Clone for Remote<T> {
    fn clone(&self) -> Self {
        Self { jobs: self.jobs.clone(), shared: Arc::clone(&self.shared) }
    }
}

impl<T> fmt::Debug for Remote<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Mailbox<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailbox").finish_non_exhaustive()
    }
}

/// Why a request to another thread was not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CallError {
    /// The owner was dropped, or the request panicked.
    Gone,
    /// The owner's own thread asked: it would wait for itself.
    Deadlock,
    /// Too many requests wait.
    Busy,
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gone => "the loop has ended",
            Self::Deadlock => "the loop's own thread cannot wait for the loop",
            Self::Busy => "too many requests wait for the loop",
        })
    }
}

impl std::error::Error for CallError {}
