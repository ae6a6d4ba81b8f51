//! Threads that close ports; the end of a loop waits for them.

use std::thread::JoinHandle;

/// The threads that may still run.
#[derive(Debug, Default)]
pub(crate) struct Closing(Vec<JoinHandle<()>>);

impl Closing {
    /// Adds threads, and forgets those that have ended.
    pub(crate) fn extend(&mut self, threads: impl IntoIterator<Item = JoinHandle<()>>) {
        self.0.retain(|thread| !thread.is_finished());
        self.0.extend(threads);
    }
}

impl Drop for Closing {
    fn drop(&mut self) {
        for thread in self.0.drain(..) {
            // A panic of the thread concerns a port that is gone.
            let _ = thread.join();
        }
    }
}
