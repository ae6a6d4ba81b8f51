//! The threads that close ports.

use std::thread::JoinHandle;

/// Threads that close ports; its end waits for them.
#[derive(Debug, Default)]
pub(crate) struct Closing(Vec<JoinHandle<()>>);

impl Closing {
    pub(crate) fn add(&mut self, threads: impl IntoIterator<Item = JoinHandle<()>>) {
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
