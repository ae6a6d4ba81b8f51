//! The entries of the table, as the programs read them.

use adit_device::IfIndex;
use adit_engine::PortId;
use adit_engine::fast_path::{FastForm, FastPort, Station, StationKey};
use adit_packet::MacAddr;
use std::time::Duration;

/// The most interfaces of one [`Table`](super::Table).
pub const SLOTS_MAX: u16 = 1024;
/// The counters of one slot: four numbers of 64 bits.
pub(crate) const COUNTERS_LEN: usize = 32;

/// The length of a key: VLAN (native byte order) and address.
pub(crate) const KEY_LEN: usize = 8;
/// The length of a value. Its offsets are below.
pub(crate) const VALUE_LEN: usize = 56;

/// The key once more, read last: an entry that was removed, and its memory used for another one, while a
/// program looked at it has another key there.
pub(crate) const KEY: i16 = 0;
pub(crate) const EPOCH: i16 = 8;
/// `CLOCK_MONOTONIC`, in nanoseconds: written by the programs.
pub(crate) const SEEN: i16 = 16;
/// How long it is valid after that, in nanoseconds, with a sign.
pub(crate) const LIFETIME: i16 = 24;
pub(crate) const INDEX: i16 = 32;
pub(crate) const PORT: i16 = 36;
pub(crate) const SLOT: i16 = 40;
pub(crate) const LEN_MAX: i16 = 44;
pub(crate) const FORM: i16 = 48;
pub(crate) const GROUP: i16 = 52;
pub(crate) const ISOLATED: i16 = 54;

/// The form of [`FastForm::Untagged`]; that of a tag is its type in network byte order.
pub(crate) const UNTAGGED: u32 = 1;
/// The group of a port without one: groups are numbers of 16 bits, kept plus one where they fit.
pub(crate) const NO_GROUP: u16 = 0;

/// An address to which, and from which, frames are forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The address and where it is. Its `seen` is not used.
    pub station: Station,
    /// What holds at its port.
    pub rules: FastPort,
    /// The entry is valid while this is the epoch of the table.
    pub epoch: u64,
    /// When a frame from it was last seen, by `CLOCK_MONOTONIC`.
    pub seen: Duration,
    /// The interface of its port.
    pub index: IfIndex,
    /// The slot of its port.
    pub slot: u16,
    /// The longest frame that the interface takes, without VLAN tag.
    pub len_max: u32,
}

/// A port, as frames come in at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ingress {
    /// Its number.
    pub port: PortId,
    /// Its slot, below [`SLOTS_MAX`].
    pub slot: u16,
    /// What holds for all its frames.
    pub rules: FastPort,
}

/// An address as it is in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// The address.
    pub key: StationKey,
    /// Its epoch.
    pub epoch: u64,
    /// When a frame from it was last seen, by `CLOCK_MONOTONIC`, to within 0.2 s.
    pub seen: Duration,
    /// The port that it is on.
    pub port: PortId,
}

pub(crate) fn key_bytes(StationKey { vlan, mac }: StationKey) -> [u8; KEY_LEN] {
    let ([v0, v1], [a, b, c, d, e, f]) = (vlan.to_ne_bytes(), mac.0);
    [v0, v1, a, b, c, d, e, f]
}

fn key_of(&[v0, v1, a, b, c, d, e, f]: &[u8; KEY_LEN]) -> StationKey {
    StationKey { vlan: u16::from_ne_bytes([v0, v1]), mac: MacAddr([a, b, c, d, e, f]) }
}

impl Entry {
    pub(crate) fn to_bytes(self) -> [u8; VALUE_LEN] {
        let Station { key, port, lifetime, form, .. } = self.station;
        let lifetime = lifetime.map_or(i64::MAX.cast_unsigned(), nanos);
        let form = match form {
            FastForm::Kept => 0,
            FastForm::Untagged => UNTAGGED,
            FastForm::Tagged(tpid) => u32::from(tpid.to_be()),
        };
        let mut bytes = [0; VALUE_LEN];
        let mut put = |at: i16, field: &[u8]| {
            let at = usize::try_from(at).expect("offsets are not negative");
            bytes[at..at + field.len()].copy_from_slice(field);
        };
        put(KEY, &key_bytes(key));
        put(EPOCH, &self.epoch.to_ne_bytes());
        put(SEEN, &nanos(self.seen).to_ne_bytes());
        put(LIFETIME, &lifetime.to_ne_bytes());
        put(INDEX, &self.index.get().to_ne_bytes());
        put(PORT, &u32::from(port.0).to_ne_bytes());
        put(SLOT, &u32::from(self.slot).to_ne_bytes());
        put(LEN_MAX, &self.len_max.to_ne_bytes());
        put(FORM, &form.to_ne_bytes());
        put(GROUP, &group(self.rules.group).to_ne_bytes());
        put(ISOLATED, &u16::from(self.rules.isolated).to_ne_bytes());
        bytes
    }
}

impl Address {
    pub(crate) fn from_bytes(key: &[u8; KEY_LEN], value: &[u8; VALUE_LEN]) -> Self {
        let word = |at: i16| {
            let at = usize::try_from(at).expect("offsets are not negative");
            value[at..].first_chunk().copied().expect("within the value")
        };
        let port: [u8; 8] = word(PORT);
        let [p0, p1, p2, p3, ..] = port;
        let port = u32::from_ne_bytes([p0, p1, p2, p3]);
        Self {
            key: key_of(key),
            epoch: u64::from_ne_bytes(word(EPOCH)),
            seen: Duration::from_nanos(u64::from_ne_bytes(word(SEEN))),
            port: PortId(u16::try_from(port).unwrap_or(u16::MAX)),
        }
    }
}

/// A group as the programs compare it.
pub(crate) fn group(group: Option<u16>) -> u16 {
    group.map_or(NO_GROUP, |group| group.wrapping_add(1))
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
