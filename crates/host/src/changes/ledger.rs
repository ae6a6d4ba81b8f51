//! Lists of actions: in order, undone in reverse.

use crate::changes::action::{Action, OnFailure, OpenDevice};
use crate::changes::executor::{Executor, Outcome};
use crate::error::Result;
use adit_device::wire;

/// What one owner has changed on the host, with what reverts each change.
///
/// The ledger is also what the owner wants: [`Ledger::apply`] with the same list again restores what
/// others have removed.
#[derive(Debug, Default)]
pub struct Ledger {
    entries: Vec<Entry>,
    warnings: Vec<String>,
}

#[derive(Debug)]
struct Entry {
    action: Action,
    /// `None` if it was there before us, or goes by itself.
    undo: Option<Action>,
}

impl Ledger {
    /// Nothing was changed.
    #[must_use]
    pub const fn new() -> Self {
        Self { entries: Vec::new(), warnings: Vec::new() }
    }

    /// The actions and what reverts them as bytes, for another process that undoes them.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let entries = self.entries.iter();
        let entries = entries.map(|entry| (entry.action.clone(), entry.undo.clone()));
        wire::encode(&entries.collect::<Vec<_>>())
    }

    /// The ledger of [`Self::encode`]; `None` if the bytes are not one.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let entries: Vec<(Action, Option<Action>)> = wire::decode(bytes)?;
        let entries = entries.into_iter().map(|(action, undo)| Entry { action, undo }).collect();
        Some(Self { entries, warnings: Vec::new() })
    }

    /// The actions that were performed, in order.
    pub fn actions(&self) -> impl Iterator<Item = &Action> {
        self.entries.iter().map(|entry| &entry.action)
    }

    /// What failed and was no reason to end, since the last call.
    pub fn take_warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
    }

    /// Makes the host as `wanted` says: performs each action of the list in order, then undoes in reverse
    /// what an earlier list had and this one has not. Returns the actions that changed something.
    ///
    /// [`Action::OpenDevice`] comes before what is on the device. It is skipped while the device is open, as
    /// are programs that an earlier list ran.
    ///
    /// # Errors
    /// The first action that failed and must not. What this call has done is undone in reverse; what could
    /// not be undone is in the error's list of things done, and the program exits with status 8 then.
    pub fn apply(&mut self, executor: &mut dyn Executor, wanted: &[Action]) -> Result<Vec<Action>> {
        let (mut changed, mut added) = (Vec::new(), Vec::new());
        for action in wanted {
            let known = self.entries.iter().position(|entry| entry.action == *action);
            if known.is_some() && matches!(action, Action::OpenDevice(_) | Action::Run(_)) {
                continue;
            }
            match perform(executor, action) {
                Ok(outcome) => {
                    let undo = match outcome {
                        Outcome::Unchanged => None,
                        Outcome::Changed { undo } => {
                            changed.push(action.clone());
                            undo
                        }
                    };
                    match known.and_then(|at| self.entries.get_mut(at)) {
                        Some(entry) => entry.undo = entry.undo.take().or(undo),
                        None => added.push(Entry { action: action.clone(), undo }),
                    }
                }
                Err(error) => match action.on_failure() {
                    OnFailure::Ignore => {}
                    OnFailure::Warn => self.warnings.push(action.warning(&error.report.message)),
                    OnFailure::Abort => {
                        let left = self.roll_back(executor, added);
                        return Err(error.after(left.into_iter().map(|left| left.0).collect()));
                    }
                },
            }
        }
        self.adopt(added);
        self.drop_unwanted(executor, wanted);
        Ok(changed)
    }

    /// Undoes what a list that failed has added, and restores what it replaced whose undoing is a deletion:
    /// the packet filter, name servers. Returns what could not be undone.
    fn roll_back(&self, executor: &mut dyn Executor, added: Vec<Entry>) -> Vec<(String, String)> {
        let is_replaced = |old: &&Entry| {
            matches!(old.action, Action::SetFilter(_) | Action::Run(_))
                && added.iter().any(|new| new.action.replaces(&old.action))
        };
        let replaced: Vec<&Entry> = self.entries.iter().filter(is_replaced).collect();
        let mut left = undo_all(executor, added);
        for old in replaced {
            if let Err(error) = perform(executor, &old.action) {
                left.push((old.action.to_string(), error.report.message));
            }
        }
        left
    }

    /// Takes in new entries; one that replaces an old one reverts to what was before that.
    fn adopt(&mut self, added: Vec<Entry>) {
        for mut entry in added {
            let replaced = self.entries.iter().position(|old| entry.action.replaces(&old.action));
            if let Some(at) = replaced {
                entry.undo = self.entries.remove(at).undo.or(entry.undo);
            }
            self.entries.push(entry);
        }
    }

    /// Performs again the actions that `may_miss` selects, whose results others may have removed. Returns
    /// those that were missing, and those that cannot be restored, each with the reason.
    pub fn restore(
        &mut self,
        executor: &mut dyn Executor,
        may_miss: impl Fn(&Action) -> bool,
    ) -> (Vec<Action>, Vec<String>) {
        let (mut restored, mut missing) = (Vec::new(), Vec::new());
        for entry in &mut self.entries {
            if !may_miss(&entry.action) {
                continue;
            }
            match perform(executor, &entry.action) {
                Ok(Outcome::Unchanged) => {}
                Ok(Outcome::Changed { undo }) => {
                    entry.undo = entry.undo.take().or(undo);
                    restored.push(entry.action.clone());
                }
                Err(error) => missing.push(error.report.message),
            }
        }
        (restored, missing)
    }

    fn drop_unwanted(&mut self, executor: &mut dyn Executor, wanted: &[Action]) {
        let (kept, gone) = std::mem::take(&mut self.entries)
            .into_iter()
            .partition(|entry| wanted.contains(&entry.action));
        self.entries = kept;
        let left = undo_all(executor, gone);
        self.warnings.extend(left.into_iter().map(|(_, why)| why));
    }

    /// Sets what reverts the actions that `is_meant` selects; `None` leaves their results.
    pub fn set_undo(&mut self, is_meant: impl Fn(&Action) -> bool, undo: Option<&Action>) {
        for entry in self.entries.iter_mut().filter(|entry| is_meant(&entry.action)) {
            entry.undo = undo.cloned();
        }
    }

    /// Whether the device of this ledger is new, and goes with its last queue.
    #[must_use]
    pub fn has_new_device(&self) -> bool {
        self.entries.iter().any(is_new_device)
    }

    /// The device was deleted, and everything that was on it is gone. Returns the list that restores it by
    /// [`Ledger::apply`], with a new device.
    pub fn device_is_gone(&mut self) -> Vec<Action> {
        let mut wanted: Vec<Action> = self.actions().cloned().collect();
        for action in &mut wanted {
            if let Action::OpenDevice(open) = action {
                (open.is_new, open.multi_queue) = (true, false);
            }
        }
        // A program that sets name servers sets them for a device: it runs again.
        let stays = |action: &Action| !action.is_on_device() && !matches!(action, Action::Run(_));
        self.entries.retain(|entry| stays(&entry.action));
        wanted
    }

    /// Undoes everything in reverse. Goes on after a failure; returns what could not be undone, and why.
    ///
    /// What is on a new device is left: it goes with the device.
    pub fn undo(&mut self, executor: &mut dyn Executor) -> Vec<String> {
        if self.has_new_device() {
            self.entries.retain(|entry| !entry.action.is_on_device());
        }
        let left = undo_all(executor, std::mem::take(&mut self.entries));
        left.into_iter().map(|(_, why)| why).collect()
    }
}

/// Performs an action, and logs what it did.
fn perform(executor: &mut dyn Executor, action: &Action) -> Result<Outcome> {
    let result = executor.perform(action);
    match &result {
        Ok(Outcome::Unchanged) => tracing::trace!("{action}: nothing to do"),
        Ok(Outcome::Changed { .. }) => tracing::debug!("{action}"),
        Err(error) => tracing::debug!("{action}: {error}"),
    }
    result
}

fn is_new_device(entry: &Entry) -> bool {
    matches!(&entry.action, Action::OpenDevice(OpenDevice { is_new: true, .. }))
}

/// Undoes entries in reverse; returns the actions whose undoing failed, each with the reason.
fn undo_all(executor: &mut dyn Executor, entries: Vec<Entry>) -> Vec<(String, String)> {
    // A new device takes with it what is on it.
    let closes = entries.iter().any(is_new_device);
    let goes_with_it =
        |entry: &Entry| closes && entry.action.is_on_device() && !is_new_device(entry);
    let mut left = Vec::new();
    for entry in entries.into_iter().rev().filter(|entry| !goes_with_it(entry)) {
        let Entry { action, undo: Some(undo) } = entry else { continue };
        if let Err(error) = perform(executor, &undo) {
            left.push((action.to_string(), error.report.message));
        }
    }
    left
}

#[cfg(test)]
mod tests;
