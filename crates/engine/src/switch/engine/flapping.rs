//! The address that moved most recently between two ports.

use adit_packet::Instant;

use crate::switch::fdb::Key;

/// An address that flaps.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flapping {
    pub(super) key: Key,
    pub(super) since: Instant,
    pub(super) last: Instant,
}
