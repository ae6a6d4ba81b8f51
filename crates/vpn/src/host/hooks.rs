//! Hooks: programs of the user. Those of peers run one after another, on a thread of their own.

use crate::file::config::Hook;
use crate::file::keys::Key;
use adit_device::IfName;
use adit_runtime::RaisedPriority;
use adit_service::event::Events;
use adit_service::helper;
use adit_service::host::action::{Action, Program, Purpose};
use adit_tunnel::PublicKey;
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How many may wait: two for each of a hundred peers that come back at once. More are skipped, with a
/// warning.
const WAITING_MAX: usize = 200;

/// How long the end of a tunnel waits for them: as long as for one program that hangs.
const END_TIME_MAX: Duration = Duration::from_secs(30);

/// The words of a hook, with the device's name for `%i`.
#[must_use]
pub fn words(hook: &Hook, name: &IfName) -> Vec<String> {
    let name = name.to_string();
    hook.0.iter().map(|word| word.replace("%i", &name)).collect()
}

/// The words of a hook of a peer: `%k` is its key, `%a` and `%p` are its address and port, empty if unknown.
#[must_use]
pub fn peer_words(
    hook: &Hook,
    name: &IfName,
    key: &PublicKey,
    at: Option<SocketAddr>,
) -> Vec<String> {
    let mut words = words(hook, name);
    let address = at.map_or(String::new(), |at| at.ip().to_string());
    let port = at.map_or(String::new(), |at| at.port().to_string());
    for word in &mut words {
        *word = word.replace("%k", &key.to_base64());
        *word = word.replace("%a", &address).replace("%p", &port);
    }
    words
}

/// Hooks of the tunnel itself as actions, in order.
#[must_use]
pub fn actions(hooks: &[Hook], name: &IfName) -> Vec<Action> {
    let action = |hook| {
        let (words, undo, purpose) = (words(hook, name), Vec::new(), Purpose::Hook);
        Action::Run(Program { words, input: None, undo, purpose })
    };
    hooks.iter().map(action).collect()
}

/// Runs the hooks of peers in the order of their events.
#[derive(Debug)]
pub struct Hooks {
    events: Events,
    /// Started for the first program.
    worker: Option<(SyncSender<Vec<String>>, JoinHandle<()>)>,
}

impl Hooks {
    /// No program yet; warnings go to `events`.
    #[must_use]
    pub const fn new(events: Events) -> Self {
        Self { events, worker: None }
    }

    /// Runs a program after those before it; each takes 30 s at most.
    pub fn run(&mut self, words: Vec<String>) {
        if self.worker.is_none() {
            let (sender, receiver) = sync_channel(WAITING_MAX);
            let events = self.events.clone();
            let work = move || {
                RaisedPriority::lower();
                work(&receiver, &events);
            };
            match std::thread::Builder::new().name("hooks".to_owned()).spawn(work) {
                Ok(thread) => self.worker = Some((sender, thread)),
                Err(error) => {
                    self.events.note(format!("warning: cannot start a thread for hooks: {error}"))
                }
            }
        }
        if let Some((queue, _)) = &self.worker
            && let Err(error) = queue.try_send(words)
        {
            self.events.note(format!("warning: skipped a hook: {error}"));
        }
    }

    /// Waits until all programs have ended, for at most 30 s.
    pub fn finish(&mut self) {
        let Some((queue, thread)) = self.worker.take() else { return };
        drop(queue);
        let start = Instant::now();
        while !thread.is_finished() {
            if start.elapsed() > END_TIME_MAX {
                return self.events.note("warning: hooks take too long; exiting without them");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn work(queue: &Receiver<Vec<String>>, events: &Events) {
    for words in queue {
        tracing::debug!("runs {}", words.join(" "));
        if let Err(error) = helper::run(&words) {
            events.note(format!("warning: cannot run {error}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_hooks_name_the_device() {
        let hook = Hook(["echo", "%i", "up-%i"].map(str::to_owned).to_vec());
        assert_eq!(words(&hook, &"site".parse().unwrap()), ["echo", "site", "up-site"]);
    }
}
