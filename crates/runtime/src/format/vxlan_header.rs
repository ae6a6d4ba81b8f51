//! The header of VXLAN: pure, no input or output.
//!
//! ```text
//!  0       1                4                      7          8
//!  | flags | 0 (reserved)   | VNI, BE              | 0        | Ethernet frame
//! ```
//!
//! Source: RFC 7348, section 5.

use crate::format::framing::{FRAME_LEN_MAX, FRAME_LEN_MIN};

/// How long it is.
pub(crate) const HEADER_LEN: usize = 8;

/// The flag that says that there is a VNI; the other seven mean nothing to a receiver.
const HAS_VNI: u8 = 0x08;

/// The segment and the frame of a datagram; `None` if it is not VXLAN, or has no frame in it.
pub(crate) fn parse(datagram: &[u8]) -> Option<(u32, &[u8])> {
    let (&[flags, _, _, _, v2, v1, v0, _], frame) = datagram.split_first_chunk()?;
    let is_frame = (FRAME_LEN_MIN..=FRAME_LEN_MAX).contains(&frame.len());
    (flags & HAS_VNI != 0 && is_frame).then(|| (u32::from_be_bytes([0, v2, v1, v0]), frame))
}

/// The header of a segment; of `vni` the low 24 bits count.
pub(crate) fn header(vni: u32) -> [u8; HEADER_LEN] {
    let [_, v2, v1, v0] = vni.to_be_bytes();
    [HAS_VNI, 0, 0, 0, v2, v1, v0, 0]
}

/// What must hold whatever a datagram is.
///
/// # Panics
/// If it does not hold.
pub(crate) fn exercise(datagram: &[u8]) {
    let Some((vni, frame)) = parse(datagram) else { return };
    assert!(vni < 1 << 24);
    assert_eq!(frame, &datagram[HEADER_LEN..]);
    let again = [&header(vni)[..], frame].concat();
    assert_eq!(parse(&again), Some((vni, frame)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_vectors_of_the_rfc() {
        assert_eq!(header(0x12_34_56), [8, 0, 0, 0, 0x12, 0x34, 0x56, 0]);
        let datagram = [&header(42)[..], &[7; 14]].concat();
        assert_eq!(parse(&datagram), Some((42, &[7; 14][..])));
        assert_eq!(parse(&datagram[..21]), None, "no frame");
        assert_eq!(parse(&datagram[..7]), None, "no header");
        let mut without = datagram.clone();
        without[0] = 0xf7;
        assert_eq!(parse(&without), None, "the flag is not set");
        let mut reserved = datagram.clone();
        reserved[0] = 0xff;
        reserved[1..4].fill(0xff);
        reserved[7] = 0xff;
        assert_eq!(parse(&reserved), parse(&datagram), "reserved bits mean nothing");
        assert_eq!(parse(&vec![8; HEADER_LEN + FRAME_LEN_MAX + 1]), None, "too long");
    }

    proptest! {
        #[test]
        fn any_datagram(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            exercise(&bytes);
        }
    }
}
