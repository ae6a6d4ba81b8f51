//! The entries of the table, as the programs read them.

use adit_packet::MacAddr;
use std::time::Duration;

/// The most interfaces of one [`FastPath`](super::FastPath).
pub const FAST_SLOTS_MAX: u16 = 1024;
/// The counters of one slot: four numbers of 64 bits.
pub(super) const COUNTERS_LEN: usize = 32;

/// The length of a key: VLAN (native byte order) and address.
pub(super) const KEY_LEN: usize = 8;
/// The length of a value. Its offsets are below.
pub(super) const VALUE_LEN: usize = 56;

/// The key once more, read last: an entry that was removed, and its memory used for another one, while a
/// program looked at it has another key there.
pub(super) const KEY: i16 = 0;
pub(super) const EPOCH: i16 = 8;
/// `CLOCK_MONOTONIC`, in nanoseconds: written by the programs.
pub(super) const SEEN: i16 = 16;
/// How long it is valid after that, in nanoseconds, with a sign.
pub(super) const LIFETIME: i16 = 24;
pub(super) const INDEX: i16 = 32;
pub(super) const PORT: i16 = 36;
pub(super) const SLOT: i16 = 40;
pub(super) const LEN_MAX: i16 = 44;
pub(super) const FORM: i16 = 48;
pub(super) const GROUP: i16 = 52;
pub(super) const ISOLATED: i16 = 54;

/// The form of [`FastForm::Untagged`]; that of a tag is its type in network byte order.
pub(super) const UNTAGGED: u32 = 1;
/// The group of a port without one: groups are numbers of 16 bits, kept plus one where they fit.
pub(super) const NO_GROUP: u16 = 0;

/// An address in a VLAN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FastKey {
    /// The VLAN; 0 for frames without one.
    pub vlan: u16,
    /// The address.
    pub mac: MacAddr,
}

/// An address to which, and from which, frames are forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FastEntry {
    /// The address.
    pub key: FastKey,
    /// The entry is valid while this is the epoch of the table.
    pub epoch: u64,
    /// When a frame from it was last seen, by `CLOCK_MONOTONIC`.
    pub seen: Duration,
    /// How long after that frames are forwarded to it; `None` for ever.
    pub lifetime: Option<Duration>,
    /// The interface that it is on.
    pub index: u32,
    /// The port that it is on.
    pub port: u16,
    /// The slot of that port.
    pub slot: u16,
    /// The longest frame that the interface takes, without VLAN tag.
    pub len_max: u32,
    /// How frames to it leave.
    pub form: FastForm,
    /// The group of its port, which must not be `u16::MAX`.
    pub group: Option<u16>,
    /// Whether its port is isolated.
    pub isolated: bool,
}

/// How a frame leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FastForm {
    /// With its VLAN's tag, if it is in one, of the type with which it came.
    Kept,
    /// Without its VLAN's tag.
    Untagged,
    /// With a tag of this type.
    Tagged(u16),
}

/// What is the same for all frames that come in at one port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FastPort {
    /// Its number.
    pub port: u16,
    /// Its slot, below [`FAST_SLOTS_MAX`].
    pub slot: u16,
    /// Its interface.
    pub index: u32,
    /// The VLANs.
    pub tags: FastTags,
    /// Its group: no frame goes to another port of it.
    pub group: Option<u16>,
    /// Whether no frame goes to other isolated ports.
    pub isolated: bool,
}

/// The VLAN of a frame that comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FastTags {
    /// That of its tag, of any type; none without a tag.
    Any,
    /// This one. A frame with a tag is not forwarded.
    Access(u16),
    /// That of its tag if that is of the type; this one without a tag, or the frame is not forwarded.
    Trunk(u16, Option<u16>),
}

/// An address as it is in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FastAddress {
    /// The address.
    pub key: FastKey,
    /// Its epoch.
    pub epoch: u64,
    /// When a frame from it was last seen, by `CLOCK_MONOTONIC`, to within 0.2 s.
    pub seen: Duration,
    /// The port that it is on.
    pub port: u16,
}

impl FastKey {
    pub(super) fn to_bytes(self) -> [u8; KEY_LEN] {
        let ([v0, v1], [a, b, c, d, e, f]) = (self.vlan.to_ne_bytes(), self.mac.0);
        [v0, v1, a, b, c, d, e, f]
    }

    fn from_bytes(&[v0, v1, mac @ ..]: &[u8; KEY_LEN]) -> Self {
        Self { vlan: u16::from_ne_bytes([v0, v1]), mac: MacAddr(mac) }
    }
}

impl FastEntry {
    pub(super) fn to_bytes(self) -> [u8; VALUE_LEN] {
        let lifetime = self.lifetime.map_or(i64::MAX.cast_unsigned(), nanos);
        let form = match self.form {
            FastForm::Kept => 0,
            FastForm::Untagged => UNTAGGED,
            FastForm::Tagged(tpid) => u32::from(tpid.to_be()),
        };
        let mut bytes = [0; VALUE_LEN];
        let mut put = |at: i16, field: &[u8]| {
            let at = usize::try_from(at).expect("offsets are not negative");
            bytes[at..at + field.len()].copy_from_slice(field);
        };
        put(KEY, &self.key.to_bytes());
        put(EPOCH, &self.epoch.to_ne_bytes());
        put(SEEN, &nanos(self.seen).to_ne_bytes());
        put(LIFETIME, &lifetime.to_ne_bytes());
        put(INDEX, &self.index.to_ne_bytes());
        put(PORT, &u32::from(self.port).to_ne_bytes());
        put(SLOT, &u32::from(self.slot).to_ne_bytes());
        put(LEN_MAX, &self.len_max.to_ne_bytes());
        put(FORM, &form.to_ne_bytes());
        put(GROUP, &group(self.group).to_ne_bytes());
        put(ISOLATED, &u16::from(self.isolated).to_ne_bytes());
        bytes
    }
}

impl FastAddress {
    pub(super) fn from_bytes(key: &[u8; KEY_LEN], value: &[u8; VALUE_LEN]) -> Self {
        let word = |at: i16| {
            let at = usize::try_from(at).expect("offsets are not negative");
            value[at..].first_chunk().copied().expect("within the value")
        };
        let port: [u8; 8] = word(PORT);
        let [p0, p1, p2, p3, ..] = port;
        let port = u32::from_ne_bytes([p0, p1, p2, p3]);
        Self {
            key: FastKey::from_bytes(key),
            epoch: u64::from_ne_bytes(word(EPOCH)),
            seen: Duration::from_nanos(u64::from_ne_bytes(word(SEEN))),
            port: u16::try_from(port).unwrap_or(u16::MAX),
        }
    }
}

/// A group as the programs compare it.
pub(super) fn group(group: Option<u16>) -> u16 {
    group.map_or(NO_GROUP, |group| group.wrapping_add(1))
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
