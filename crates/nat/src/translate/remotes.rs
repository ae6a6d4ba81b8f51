//! The remote addresses that an inside socket talks to.

use alloc::vec::Vec;
use core::net::SocketAddr;

/// Remote addresses of one socket that are remembered, the latest ones: more than an application talks to
/// at a time, few enough to look at one by one.
const REMOTES_MAX: usize = 256;

/// A remote address, and the one by which the inside knows it.
#[derive(Clone, Copy, Debug)]
struct Remote {
    at: SocketAddr,
    seen: SocketAddr,
}

/// Remote addresses, the one that was sent to last at the front.
#[derive(Debug, Default)]
pub(super) struct Remotes(Vec<Remote>);

impl Remotes {
    pub(super) const fn new() -> Self {
        Self(Vec::new())
    }

    /// The one that was sent to last, as the inside knows it.
    pub(super) fn latest(&self) -> Option<SocketAddr> {
        self.0.first().map(|remote| remote.seen)
    }

    /// Where the remote that the inside knows as `seen` is; `None` if it never sent there.
    pub(super) fn place_of(&mut self, seen: SocketAddr) -> Option<SocketAddr> {
        let at = self.0.iter().position(|remote| remote.seen == seen)?;
        self.0.get_mut(..=at)?.rotate_right(1);
        Some(self.0.first()?.at)
    }

    /// By which address the inside knows a remote that sent or caused something.
    pub(super) fn name_of(&self, at: SocketAddr) -> Option<SocketAddr> {
        self.0.iter().find(|remote| remote.at == at).map(|remote| remote.seen)
    }

    /// Forgets the remotes for whose address inside `keeps` does not hold.
    pub(super) fn retain(&mut self, mut keeps: impl FnMut(SocketAddr) -> bool) {
        self.0.retain(|remote| keeps(remote.seen));
    }

    /// The inside sends to a remote for the first time.
    pub(super) fn add(&mut self, at: SocketAddr, seen: SocketAddr) {
        self.0.truncate(REMOTES_MAX - 1);
        self.0.insert(0, Remote { at, seen });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_are_remembered() {
        let mut remotes = Remotes::new();
        let at = |number: u16| SocketAddr::from(([192, 0, 2, 1], number));
        (0..300).for_each(|number| remotes.add(at(number), at(number + 1000)));
        assert_eq!(remotes.0.len(), REMOTES_MAX);
        assert_eq!((remotes.name_of(at(0)), remotes.name_of(at(44))), (None, Some(at(1044))));
        assert_eq!(remotes.place_of(at(1044)), Some(at(44)));
        assert_eq!(remotes.latest(), Some(at(1044)));
        remotes.add(at(999), at(999));
        assert_eq!((remotes.name_of(at(44)), remotes.name_of(at(45))), (Some(at(1044)), None));
    }
}
