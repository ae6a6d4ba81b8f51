//! What a switch has declared to the fast path, and what was not taken yet.

use alloc::collections::VecDeque;

use crate::fast_path::{FastChange, Station, StationKey};
use crate::switch::fdb::{Key, Slot};

/// How many changes may wait: a loop takes them after every 64 KiB of frames.
const CHANGES_MAX: usize = 1024;

/// What is declared, and the changes that wait.
#[derive(Debug, Default)]
pub(super) struct Declared {
    /// Whether some port may be passed by.
    pub(super) is_on: bool,
    pub(super) epoch: u64,
    changes: VecDeque<FastChange>,
}

impl Declared {
    /// What marks a slot of the table as declared in the present epoch; never 0.
    pub(super) fn mark(&self) -> u16 {
        u16::try_from(self.epoch % u64::from(u16::MAX)).unwrap_or(0) + 1
    }

    /// Voids all that was declared.
    pub(super) fn void_all(&mut self) {
        if self.is_on {
            self.epoch += 1;
            self.changes.clear();
        }
    }

    /// Begins to declare.
    pub(super) fn turn_on(&mut self) {
        self.is_on = true;
        self.changes.reserve_exact(CHANGES_MAX);
    }

    /// Declares a station; `false` if there is no room for that now.
    pub(super) fn declare(&mut self, station: Station) -> bool {
        let has_room = self.changes.len() < CHANGES_MAX;
        if has_room {
            self.changes.push_back(FastChange::Declare(station));
        }
        has_room
    }

    pub(super) fn next_change(&mut self) -> Option<FastChange> {
        self.changes.pop_front()
    }

    /// Withdraws a station that is taken out of the table or moves.
    pub(super) fn withdraw(&mut self, slot: &Slot) {
        if !self.is_on || slot.declared != self.mark() {
            return;
        }
        if self.changes.len() >= CHANGES_MAX {
            return self.void_all();
        }
        self.changes.push_back(FastChange::Withdraw(station_key(slot.key)));
    }
}

pub(super) fn station_key(key: Key) -> StationKey {
    StationKey { vlan: key.number(), mac: key.mac() }
}
