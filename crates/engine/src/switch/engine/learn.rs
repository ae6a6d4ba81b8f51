//! Learning: the source of a frame is on the port where it came in.

use core::time::Duration;

use adit_packet::Instant;

use crate::drop_reason::DropReason;
use crate::endpoint::PortId;
use crate::switch::engine::Switch;
use crate::switch::event::SwitchEvent;
use crate::switch::fdb::{FdbKind, Key, SETTLED, Slot};
use crate::switch::port::Notice;

/// In this time moves and flaps are counted.
const SECOND: Duration = Duration::from_secs(1);
/// How long a flapping address is bound to its home.
const BOUND: Duration = Duration::from_secs(2);
/// How often at most an entry is refreshed; one that ages sooner is refreshed eight times before.
const REFRESH: Duration = Duration::from_secs(1);
/// The table is swept in steps of so many slots: some ten microseconds.
const SWEEP_STEP: usize = 4096;

/// What becomes of an address that shows on another port.
enum Move {
    /// It is there from now on; `true` if that is news.
    Follow(bool),
    /// It moves too often and stays at home.
    Stay,
    /// It flaps: a loop, a forged source, or two machines with one address.
    Flap,
}

impl Switch {
    /// Learns the source of a frame; until when it needs not be learned again, if it is in the
    /// table at this port.
    ///
    /// # Errors
    ///
    /// [`DropReason::MAC_GUARD`] if the address is static or sticky on another port, or flaps between
    /// this port and its home.
    pub(super) fn learn(&mut self, place: usize, key: Key) -> Result<Option<Instant>, DropReason> {
        let (now, ageing) = (self.now, self.config.ageing);
        let port = self.ports.at_mut(place).ok_or(DropReason::PORT_DOWN)?;
        let Some(slot) = self.fdb.find_mut(key) else {
            return Ok(self.learn_new(place, key));
        };
        if slot.port == port.id {
            let refresh_at = slot.seen + REFRESH.min(ageing / 8);
            if now >= refresh_at {
                slot.refresh(now, port.config.sticky);
                return Ok(Some(now + REFRESH.min(ageing / 8)));
            }
            return Ok(Some(refresh_at));
        }
        if slot.kind != FdbKind::Dynamic {
            let owner = slot.port;
            return Err(self.refuse(place, key, owner));
        }
        if slot.is_aged(now, ageing) {
            self.forget(key);
            return Ok(self.learn_new(place, key));
        }
        self.learn_moved(place, key)
    }

    fn learn_new(&mut self, place: usize, key: Key) -> Option<Instant> {
        let now = self.now;
        let port = self.ports.at_mut(place)?;
        if port.learned >= port.config.fdb_limit {
            self.report_limit(place);
            return None;
        }
        let kind = if port.config.sticky { FdbKind::Sticky } else { FdbKind::Dynamic };
        if !self.fdb.insert(Slot::new(key, port.id, kind, now)) {
            if self.table_full_reported.is_none_or(|last| now.since(last) >= Notice::QUIET) {
                self.table_full_reported = Some(now);
                self.events.push(SwitchEvent::TableFull);
            }
            return None;
        }
        port.learned += 1;
        Some(now + REFRESH.min(self.config.ageing / 8))
    }

    /// An address that is in the table shows on another port.
    fn learn_moved(&mut self, place: usize, key: Key) -> Result<Option<Instant>, DropReason> {
        let now = self.now;
        if self.is_draining() {
            return Ok(None);
        }
        let (Some(port), Some(slot)) = (self.ports.at(place), self.fdb.find_mut(key)) else {
            return Ok(None);
        };
        if self.ports.find(slot.home).is_none_or(|home| home.closed.is_some()) {
            slot.home = slot.port;
        }
        let (id, from, is_full) = (port.id, slot.port, port.learned >= port.config.fdb_limit);
        let guard = &self.config.loop_guard;
        let flaps = guard.enabled.then_some(guard.flaps_per_second);
        let judged = classify(slot, now, self.config.moves_per_second, flaps);
        let home = slot.home;
        match judged {
            Move::Follow(_) if is_full => {
                self.report_limit(place);
                Ok(None)
            }
            Move::Follow(is_first) => {
                self.relocate(key, id);
                if is_first {
                    self.report_moved(place, key, from);
                }
                Ok(Some(now + REFRESH.min(self.config.ageing / 8)))
            }
            Move::Flap if self.note_flap(key) => {
                self.relocate(key, home);
                if home == id {
                    return Ok(None);
                }
                if let Some(slot) = self.fdb.find_mut(key) {
                    slot.moving_since = slot.moving_since.max(now + BOUND);
                }
                Err(self.refuse(place, key, home))
            }
            Move::Stay | Move::Flap => {
                self.relocate(key, home);
                Ok(None)
            }
        }
    }

    /// Reports a frame from an address that belongs to the port `owner`.
    fn refuse(&mut self, place: usize, key: Key, owner: PortId) -> DropReason {
        if let Some(port) = self.ports.at_mut(place)
            && port.may_report(Notice::Refused, self.now)
        {
            let (vlan, mac, port) = (key.vlan(), key.mac(), port.id);
            self.events.push(SwitchEvent::MacRefused { vlan, mac, owner, port });
        }
        DropReason::MAC_GUARD
    }

    fn report_limit(&mut self, place: usize) {
        if let Some(port) = self.ports.at_mut(place)
            && port.may_report(Notice::Limit, self.now)
        {
            let limit = port.config.fdb_limit;
            self.events.push(SwitchEvent::PortLimit { port: port.id, limit });
        }
    }

    fn report_moved(&mut self, place: usize, key: Key, from: PortId) {
        if let Some(port) = self.ports.at_mut(place)
            && port.may_report(Notice::Moved, self.now)
        {
            let (vlan, mac, to) = (key.vlan(), key.mac(), port.id);
            self.events.push(SwitchEvent::MacMoved { vlan, mac, from, to });
        }
    }

    /// Puts a learned address on another port.
    fn relocate(&mut self, key: Key, to: PortId) {
        let Some(slot) = self.fdb.find_mut(key) else { return };
        slot.seen = self.now;
        let from = core::mem::replace(&mut slot.port, to);
        if from == to {
            return;
        }
        self.declared.withdraw(slot);
        slot.declared = 0;
        self.fdb.touch();
        if let Some(port) = self.ports.find_mut(from) {
            port.learned = port.learned.saturating_sub(1);
        }
        match self.ports.find_mut(to) {
            Some(port) => port.learned += 1,
            // Its home is gone.
            None => drop(self.fdb.remove(key)),
        }
    }

    /// Takes an address out of the table; whether it was there.
    pub(super) fn forget(&mut self, key: Key) -> bool {
        let Some(slot) = self.fdb.remove(key) else { return false };
        self.declared.withdraw(&slot);
        if slot.kind != FdbKind::Static
            && let Some(port) = self.ports.find_mut(slot.port)
        {
            port.learned = port.learned.saturating_sub(1);
        }
        true
    }

    /// Takes out all that `unwanted` says; how many these were.
    pub(super) fn forget_all(&mut self, unwanted: impl FnMut(&Slot) -> bool) -> usize {
        self.forget_in(0..self.fdb.size(), unwanted)
    }

    fn forget_in(
        &mut self,
        slots: core::ops::Range<usize>,
        unwanted: impl FnMut(&Slot) -> bool,
    ) -> usize {
        let before = self.fdb.len();
        let (ports, declared) = (&mut self.ports, &mut self.declared);
        self.fdb.remove_if(slots, unwanted, |slot| {
            declared.withdraw(slot);
            if slot.kind != FdbKind::Static
                && let Some(port) = ports.find_mut(slot.port)
            {
                port.learned = port.learned.saturating_sub(1);
            }
        });
        before - self.fdb.len()
    }

    /// Takes out what has aged, a step at a time; once around in an eighth of the ageing.
    pub(super) fn sweep(&mut self) {
        let (now, ageing) = (self.now, self.config.ageing);
        let steps = u32::try_from(self.fdb.size().div_ceil(SWEEP_STEP)).unwrap_or(u32::MAX).max(1);
        self.next_sweep = now + ageing / 8 / steps;
        let from = self.sweep_at;
        self.forget_in(from..from + SWEEP_STEP, |slot| slot.is_aged(now, ageing));
        self.sweep_at = if from + SWEEP_STEP < self.fdb.size() { from + SWEEP_STEP } else { 0 };
    }
}

/// Counts the move and says what becomes of it.
fn classify(
    slot: &mut Slot,
    now: Instant,
    moves_per_second: u8,
    flaps_per_second: Option<u8>,
) -> Move {
    let calm = now.since(slot.moving_since);
    // The port becomes the home if frames came from it in all that time.
    if slot.seen.since(slot.moving_since) >= SETTLED {
        slot.home = slot.port;
    }
    if calm >= SECOND {
        slot.moving_since = now;
        slot.moves = 0;
    }
    slot.moves = slot.moves.saturating_add(1);
    if flaps_per_second.is_some_and(|flaps| slot.moves >= flaps) {
        return Move::Flap;
    }
    if slot.moves > moves_per_second { Move::Stay } else { Move::Follow(slot.moves == 1) }
}
