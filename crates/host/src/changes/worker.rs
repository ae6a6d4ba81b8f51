//! A thread that owns a state and does jobs on it, one after another, beside a loop.
//!
//! Changes to the host take time: netlink dumps, nft, files on slow disks. No packet waits for them.
//!
//! ```text
//! loop  -- job -->  queue  -->  thread, owner of the state
//!   ^                                 |
//!   '------- readable: result --------'
//! ```

use adit_runtime::RaisedPriority;
use rustix::event::{EventfdFlags, eventfd};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

/// Something to do with the state; its result comes back to the loop.
pub type Job<S, T> = Box<dyn FnOnce(&mut S) -> T + Send>;

/// The thread, seen from the loop. Its descriptor is readable when a result is there.
///
/// The queue has no limit of its own: the owner has at most one job of each kind in it.
pub struct Worker<S, T> {
    jobs: Sender<Job<S, T>>,
    results: Receiver<T>,
    wake: OwnedFd,
    thread: JoinHandle<S>,
}

impl<S, T> fmt::Debug for Worker<S, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").finish_non_exhaustive()
    }
}

impl<S: Send + 'static, T: Send + 'static> Worker<S, T> {
    /// Starts the thread.
    ///
    /// # Errors
    /// EMFILE, EAGAIN.
    pub fn start(name: &str, mut state: S) -> io::Result<Self> {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let (jobs, queue) = channel::<Job<S, T>>();
        let (sender, results) = channel();
        let signal = wake.try_clone()?;
        let work = move || {
            RaisedPriority::lower();
            for job in queue {
                let done = catch_unwind(AssertUnwindSafe(|| {
                    adit_runtime::panics::failpoint("host");
                    job(&mut state)
                }));
                // The panic ends the program; the state is needed for undoing what it lists.
                let Ok(result) = done else { break };
                // The loop takes no result only when it ends.
                let _ = sender.send(result);
                // It fails only if it is readable already.
                let _ = rustix::io::write(&signal, &1_u64.to_ne_bytes());
            }
            state
        };
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(work)?;
        Ok(Self { jobs, results, wake, thread })
    }

    /// Puts a job into the queue.
    pub fn submit(&self, job: impl FnOnce(&mut S) -> T + Send + 'static) {
        // The thread ends only by a panic, which ends the program.
        let _ = self.jobs.send(Box::new(job));
    }

    /// The results that are there; call it when the descriptor is readable.
    pub fn results(&self) -> Vec<T> {
        // Only to make it unreadable.
        let _ = rustix::io::read(&self.wake, &mut [0; 8]);
        self.results.try_iter().collect()
    }

    /// Waits until all jobs are done; returns the state, also after a job panicked.
    pub fn finish(self) -> Option<S> {
        drop(self.jobs);
        self.thread.join().ok()
    }
}

impl<S, T> AsFd for Worker<S, T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags, poll};

    #[test]
    fn jobs_are_done_in_order_and_the_state_comes_back() {
        let worker = Worker::<Vec<u32>, usize>::start("test", Vec::new()).unwrap();
        for number in 0..3 {
            worker.submit(move |list| {
                list.push(number);
                list.len()
            });
        }
        let mut results = Vec::new();
        while results.len() < 3 {
            poll(&mut [PollFd::new(&worker, PollFlags::IN)], None).unwrap();
            results.extend(worker.results());
        }
        assert_eq!(results, [1, 2, 3]);
        assert_eq!(worker.finish(), Some(vec![0, 1, 2]));
    }
}
