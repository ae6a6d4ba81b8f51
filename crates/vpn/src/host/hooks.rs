//! Programs that are run when a peer comes or goes, one after another, beside the loop.

use crate::host::program;
use adit_runtime::RaisedPriority;
use adit_service::output::Output;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How many wait: two for each of a hundred peers that come back at once. More are left out, and told.
const WAITING_MAX: usize = 200;

/// How long the end of a tunnel waits for them, as long as for one that hangs.
const END_TIME_MAX: Duration = Duration::from_secs(30);

/// Runs programs in the order in which they are asked for.
#[derive(Debug)]
pub struct Hooks {
    output: Output,
    /// From the first program on.
    worker: Option<(SyncSender<Vec<String>>, JoinHandle<()>)>,
}

impl Hooks {
    pub const fn new(output: Output) -> Self {
        Self { output, worker: None }
    }

    /// Runs a program after those before it; each takes 30 s at most.
    pub fn run(&mut self, words: Vec<String>) {
        if self.worker.is_none() {
            let (sender, receiver) = sync_channel(WAITING_MAX);
            let output = self.output.clone();
            let work = move || {
                RaisedPriority::lower();
                work(&receiver, &output);
            };
            match std::thread::Builder::new().name("hooks".to_owned()).spawn(work) {
                Ok(thread) => self.worker = Some((sender, thread)),
                Err(error) => self.output.note(format!("warning: no hook is run: {error}")),
            }
        }
        if let Some((queue, _)) = &self.worker
            && let Err(error) = queue.try_send(words)
        {
            self.output.note(format!("warning: a hook is left out: {error}"));
        }
    }

    /// Waits until all have ended.
    pub fn finish(&mut self) {
        let Some((queue, thread)) = self.worker.take() else { return };
        drop(queue);
        let start = Instant::now();
        while !thread.is_finished() {
            if start.elapsed() > END_TIME_MAX {
                return self.output.note("warning: hooks take too long, and are not waited for");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn work(queue: &Receiver<Vec<String>>, output: &Output) {
    for words in queue {
        if let Err(error) = program::run(&words, None) {
            output.note(format!("warning: cannot run {error}"));
        }
    }
}
