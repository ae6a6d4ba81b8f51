//! The thread that writes, and the queue before it.

use crate::destination::Destination;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::Instant;

/// What the thread writes for.
pub(crate) trait Writes: Send + Sync + 'static {
    /// Writes a message to its reader, and waits for it.
    fn deliver(&self, destination: &mut Destination, bytes: &[u8]);

    /// When [`Writes::report`] has something to write.
    fn next_report(&self) -> Option<Instant>;

    /// Writes how many messages were left out until `now`; at the end, all.
    fn report(&self, destination: &mut Destination, now: Option<Instant>);
}

/// What the queue carries.
enum Item {
    /// One message, as it is written.
    Message(Vec<u8>),
    /// A report of what was left out became due.
    Wake,
    /// Runs after the messages before it are written; those after it go elsewhere, if a place is given.
    Then(Box<dyn FnOnce() + Send>, Option<Destination>),
}

/// The side of the queue that never waits.
pub(crate) struct Queue {
    sender: SyncSender<Item>,
    end: Receiver<()>,
}

impl Queue {
    /// Starts the thread; `len` messages can wait. It makes no system calls but write(2), poll(2) and futex(2).
    ///
    /// # Errors
    /// EAGAIN: there are too many threads.
    pub(crate) fn start(
        source: Arc<impl Writes>,
        destination: Destination,
        len: usize,
    ) -> std::io::Result<Self> {
        let (sender, items) = sync_channel(len);
        let (ended, end) = sync_channel(1);
        std::thread::Builder::new().name("log".to_owned()).spawn(move || {
            write_all(&*source, destination, &items);
            let _ = ended.send(());
        })?;
        Ok(Self { sender, end })
    }

    /// Queues a message; `false` if there is no room.
    pub(crate) fn send(&self, bytes: Vec<u8>) -> bool {
        !matches!(self.sender.try_send(Item::Message(bytes)), Err(TrySendError::Full(_)))
    }

    /// Makes the thread look at what was left out.
    pub(crate) fn wake(&self) {
        // A full queue wakes it as well.
        let _ = self.sender.try_send(Item::Wake);
    }

    /// Makes the thread run `then` after it has written what is queued, and write to `next` from then on; returns `then`
    /// if there is no room.
    pub(crate) fn then(
        &self,
        then: Box<dyn FnOnce() + Send>,
        next: Option<Destination>,
    ) -> Option<Box<dyn FnOnce() + Send>> {
        match self.sender.try_send(Item::Then(then, next)) {
            Err(
                TrySendError::Full(Item::Then(then, _))
                | TrySendError::Disconnected(Item::Then(then, _)),
            ) => Some(then),
            _ => None,
        }
    }

    /// Lets the thread write what is queued. The receiver returns once it has.
    pub(crate) fn close(self) -> Receiver<()> {
        self.end
    }
}

/// Writes until the queue is closed, and then what was left out.
fn write_all(source: &impl Writes, mut destination: Destination, items: &Receiver<Item>) {
    loop {
        let item = match source.next_report() {
            Some(due) => items.recv_timeout(due.saturating_duration_since(Instant::now())),
            None => items.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match item {
            Ok(Item::Message(bytes)) => source.deliver(&mut destination, &bytes),
            Ok(Item::Then(then, next)) => {
                next.into_iter().for_each(|next| destination = next);
                then();
            }
            Ok(Item::Wake) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        source.report(&mut destination, Some(Instant::now()));
    }
    source.report(&mut destination, None);
}
