//! The members of a lab's patch, by their numbers.

use super::tee::Tee;
use adit_engine::Engine;
use adit_engine::netem::Netem;
use adit_engine::patch;
use adit_engine::switch::Switch;
use adit_packet::Instant;

/// A member.
#[derive(Debug)]
pub(super) enum Member {
    Switch(Box<Switch>),
    Netem(Box<Netem>),
    Tee(Tee),
}

impl Member {
    fn engine(&self) -> &dyn Engine {
        match self {
            Self::Switch(switch) => &**switch,
            Self::Netem(netem) => &**netem,
            Self::Tee(tee) => tee,
        }
    }

    fn engine_mut(&mut self) -> &mut dyn Engine {
        match self {
            Self::Switch(switch) => &mut **switch,
            Self::Netem(netem) => &mut **netem,
            Self::Tee(tee) => tee,
        }
    }
}

/// The members of a lab.
#[derive(Debug)]
pub(super) struct Members {
    /// None is the main one: the place 0 stays empty, so that no port is one of the patch unless it is exposed.
    list: Vec<Option<Member>>,
    /// Which of them may have a new deadline.
    used: Vec<usize>,
}

impl Members {
    pub(super) fn new() -> Self {
        Self { list: vec![None], used: Vec::new() }
    }

    /// Adds a member, and returns its number.
    pub(super) fn add(&mut self, member: Member) -> usize {
        let free = self.list.iter().skip(1).position(Option::is_none).map(|at| at + 1);
        let place = free.unwrap_or(self.list.len());
        if place == self.list.len() {
            self.list.push(None);
        }
        self.list[place] = Some(member);
        place
    }

    pub(super) fn remove(&mut self, member: usize) {
        if let Some(place) = self.list.get_mut(member) {
            *place = None;
        }
    }

    pub(super) fn switch(&self, member: usize) -> Option<&Switch> {
        match self.list.get(member)?.as_ref()? {
            Member::Switch(switch) => Some(switch),
            Member::Netem(_) | Member::Tee(_) => None,
        }
    }

    #[inline]
    pub(super) fn switch_mut(&mut self, member: usize) -> Option<&mut Switch> {
        match self.list.get_mut(member)?.as_mut()? {
            Member::Switch(switch) => Some(switch),
            Member::Netem(_) | Member::Tee(_) => None,
        }
    }

    pub(super) fn netem(&self, member: usize) -> Option<&Netem> {
        match self.list.get(member)?.as_ref()? {
            Member::Netem(netem) => Some(netem),
            Member::Switch(_) | Member::Tee(_) => None,
        }
    }

    pub(super) fn netem_mut(&mut self, member: usize) -> Option<&mut Netem> {
        match self.list.get_mut(member)?.as_mut()? {
            Member::Netem(netem) => Some(netem),
            Member::Switch(_) | Member::Tee(_) => None,
        }
    }

    /// The earliest deadline of the members that ran since the last call.
    pub(super) fn next_of_used(&mut self) -> Option<Instant> {
        let mut used = std::mem::take(&mut self.used);
        let due = used.drain(..).filter_map(|member| {
            self.list.get(member).and_then(Option::as_ref)?.engine().next_timeout()
        });
        let due = due.min();
        self.used = used;
        due
    }
}

impl patch::Members for Members {
    fn count(&self) -> usize {
        self.list.len()
    }

    fn get(&self, member: usize) -> Option<&dyn Engine> {
        Some(self.list.get(member)?.as_ref()?.engine())
    }

    fn get_mut(&mut self, member: usize) -> Option<&mut dyn Engine> {
        if self.used.last() != Some(&member) {
            self.used.push(member);
        }
        Some(self.list.get_mut(member)?.as_mut()?.engine_mut())
    }
}
