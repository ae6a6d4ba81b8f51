//! The first bytes of a frame, read once.

use adit_packet::{MacAddr, VlanTag, ether_type};

use crate::drop_reason::DropReason;

/// What a switch needs to know of every frame.
///
/// ```text
///  0             6        12     14    16     18
///  | destination | source | tpid | tci | type | ...
/// ```
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub(super) destination: MacAddr,
    pub(super) source: MacAddr,
    /// The outermost tag.
    pub(super) tag: Option<VlanTag>,
}

impl Head {
    /// Where the type, or the tag, stands: after the two addresses.
    pub(super) const TYPE: usize = 12;

    /// Reads the addresses and one tag.
    pub(super) fn parse(frame: &[u8]) -> Result<Self, DropReason> {
        let Some(&[a, b, c, d, e, f, g, h, i, j, k, l, t0, t1]) = frame.first_chunk() else {
            return Err(DropReason::MALFORMED);
        };
        let source = MacAddr([g, h, i, j, k, l]);
        if !source.is_station() {
            return Err(DropReason::MALFORMED);
        }
        let tpid = u16::from_be_bytes([t0, t1]);
        let tag = if ether_type::is_tag(tpid) {
            let Some(&[.., c0, c1, _, _]) = frame.first_chunk::<18>() else {
                return Err(DropReason::MALFORMED);
            };
            Some(VlanTag { tpid, tci: u16::from_be_bytes([c0, c1]) })
        } else {
            None
        };
        Ok(Self { destination: MacAddr([a, b, c, d, e, f]), source, tag })
    }
}

/// The type at offset `at` of a frame, if there is one.
pub(super) fn type_at(frame: &[u8], at: usize) -> Option<u16> {
    frame.get(at..)?.first_chunk().map(|&bytes| u16::from_be_bytes(bytes))
}

/// Where pause frames go (802.3x): from one end of a cable to the other, never further.
pub(super) const PAUSE: MacAddr = MacAddr([0x01, 0x80, 0xc2, 0x00, 0x00, 0x01]);

/// Whether the address is one that bridges keep for themselves: spanning tree, pause, LACP, 802.1X,
/// LLDP (IEEE 802.1Q, table 8-1).
pub(super) const fn is_reserved(destination: MacAddr) -> bool {
    matches!(destination.0, [0x01, 0x80, 0xc2, 0x00, 0x00, 0x00..=0x0f])
}
