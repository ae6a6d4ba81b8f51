//! The Internet checksum (RFC 1071), and its incremental update (RFC 1624).
//!
//! ```
//! use adit_packet::checksum::{self, Sum};
//!
//! let udp = [0x00, 0x35, 0xc0, 0x00, 0x00, 0x0a, 0x00, 0x00, b'h', b'i'];
//! let pseudo = Sum::pseudo_v4([192, 0, 2, 1].into(), [192, 0, 2, 2].into(), 17, 10);
//! let check = pseudo.add_bytes(&udp).finish_udp();
//! assert_eq!(check, 0x5337);
//! // The source port changes from 53 to 54: the checksum follows without reading the packet.
//! assert_eq!(checksum::update16(check, 53, 54), 0x5336);
//! ```

use core::net::{Ipv4Addr, Ipv6Addr};

/// The checksum of `bytes`; 0 if they include a valid checksum.
#[must_use]
pub fn of(bytes: &[u8]) -> u16 {
    Sum::ZERO.add_bytes(bytes).finish()
}

/// The checksum after a covered 16-bit word changed from `old` to `new` (RFC 1624, eqn. 3).
///
/// For UDP the caller must keep a checksum of 0 (none), and write a result of 0 as 0xffff.
#[must_use]
pub fn update16(check: u16, old: u16, new: u16) -> u16 {
    Sum(u64::from(!check) + u64::from(!old) + u64::from(new)).finish_be()
}

/// The checksum after a covered, aligned 32-bit word changed, such as an IPv4 address.
#[must_use]
pub fn update32(check: u16, old: u32, new: u32) -> u16 {
    Sum(u64::from(!check) + u64::from(!old) + u64::from(new)).finish_be()
}

/// A running ones' complement sum of 16-bit words.
///
/// Words are in native byte order (RFC 1071, section 2 B) and folded on demand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum(u64);

impl Sum {
    /// The empty sum.
    pub const ZERO: Self = Self(0);

    /// The sum of the pseudo header of TCP or UDP over IPv4 (RFC 9293, 3.1); `len` is header plus
    /// payload.
    #[must_use]
    pub fn pseudo_v4(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8, len: u16) -> Self {
        Self::ZERO
            .add_bytes(&source.octets())
            .add_bytes(&destination.octets())
            .add_u16(u16::from(protocol))
            .add_u16(len)
    }

    /// The sum of the pseudo header over IPv6 (RFC 8200, 8.1); `len` is header plus payload.
    #[must_use]
    pub fn pseudo_v6(source: Ipv6Addr, destination: Ipv6Addr, protocol: u8, len: u32) -> Self {
        Self::ZERO
            .add_bytes(&source.octets())
            .add_bytes(&destination.octets())
            .add_u16(u16::from(protocol))
            .add_bytes(&len.to_be_bytes())
    }

    /// Adds one word, given by value.
    #[must_use]
    pub const fn add_u16(self, word: u16) -> Self {
        self.add(Self(word.to_be() as u64))
    }

    /// Adds another sum, such as that of an earlier piece.
    #[must_use]
    pub const fn add(self, other: Self) -> Self {
        let (sum, carry) = self.0.overflowing_add(other.0);
        // 2^64 is 1 modulo 0xffff, so a carry out is added at the low end; the sum is then far
        // below overflow.
        Self(sum + carry as u64)
    }

    /// Adds `bytes`, which must start at an even offset of the sum. An odd last byte is padded with
    /// zero, so only the last piece may have an odd length.
    #[must_use]
    #[inline]
    pub fn add_bytes(self, bytes: &[u8]) -> Self {
        /// Longer than any header: headers are summed inline.
        const LONG: usize = 64;
        let (chunks, rest) = bytes.as_chunks::<32>();
        let (mut tail, rest) =
            if bytes.len() > LONG { (adit_simd::sum(chunks), rest) } else { (0, bytes) };
        let (words, rest) = rest.as_chunks::<4>();
        for word in words {
            tail += u64::from(u32::from_ne_bytes(*word));
        }
        tail += match *rest {
            [a] => u64::from(u16::from_ne_bytes([a, 0])),
            [a, b] => u64::from(u16::from_ne_bytes([a, b])),
            [a, b, c] => {
                u64::from(u16::from_ne_bytes([a, b])) + u64::from(u16::from_ne_bytes([c, 0]))
            }
            _ => 0,
        };
        self.add(Self(tail))
    }

    /// The sum of the same bytes when they start at an odd offset (RFC 1071, section 2 B).
    #[must_use]
    pub const fn swapped(self) -> Self {
        Self(self.fold_native().swap_bytes() as u64)
    }

    /// The sum folded to 16 bits, not inverted: the contents of the checksum field of a
    /// `NEEDS_CSUM` packet.
    #[must_use]
    pub const fn fold(self) -> u16 {
        u16::from_be(self.fold_native())
    }

    /// The checksum: the inverted sum.
    #[must_use]
    pub const fn finish(self) -> u16 {
        !self.fold()
    }

    /// The checksum of a UDP datagram: 0 means none, so a result of 0 becomes 0xffff (RFC 768).
    #[must_use]
    pub const fn finish_udp(self) -> u16 {
        match self.finish() {
            0 => 0xffff,
            check => check,
        }
    }

    /// Folds a sum of values, as opposed to words in memory.
    const fn finish_be(self) -> u16 {
        !self.fold_native()
    }

    #[expect(clippy::cast_possible_truncation, reason = "folded to 16 bits before")]
    const fn fold_native(self) -> u16 {
        let sum = (self.0 >> 32) + (self.0 & 0xffff_ffff);
        let sum = (sum >> 32) + (sum & 0xffff_ffff);
        let sum = (sum >> 16) + (sum & 0xffff);
        let sum = (sum >> 16) + (sum & 0xffff);
        let sum = (sum >> 16) + (sum & 0xffff);
        sum as u16
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    /// RFC 1071 word by word.
    fn plain_sum(bytes: &[u8]) -> u16 {
        let mut sum = 0_u32;
        for pair in bytes.chunks(2) {
            sum += u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |&low| u32::from(low));
            sum = (sum & 0xffff) + (sum >> 16);
        }
        u16::try_from(sum).unwrap()
    }

    #[test]
    fn the_example_of_rfc_1071() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(Sum::ZERO.add_bytes(&bytes).fold(), 0xddf2);
        assert_eq!(of(&bytes), 0x220d);
    }

    #[test]
    fn the_example_of_rfc_1624() {
        // Section 4: HC = 0xdd2f, m = 0x5555, m' = 0x3285 must give 0x0000, not 0xffff.
        assert_eq!(update16(0xdd2f, 0x5555, 0x3285), 0x0000);
    }

    #[test]
    fn nothing_and_everything() {
        assert_eq!(of(&[]), 0xffff);
        assert_eq!(of(&[0xff; 65_536]), 0);
        assert_eq!(Sum(u64::MAX).add(Sum(u64::MAX)).fold(), 0xffff);
        assert_eq!(Sum::ZERO.add_u16(0xffff).finish_udp(), 0xffff);
    }

    proptest! {
        #[test]
        fn wide_equals_plain(bytes in prop::collection::vec(any::<u8>(), 0..3000)) {
            prop_assert_eq!(Sum::ZERO.add_bytes(&bytes).fold(), plain_sum(&bytes));
        }

        #[test]
        fn pieces_equal_the_whole(bytes in prop::collection::vec(any::<u8>(), 0..300), cut in 0..150_usize) {
            let (head, tail) = bytes.split_at((cut * 2).min(bytes.len() & !1));
            let sum = Sum::ZERO.add_bytes(head).add_bytes(tail);
            prop_assert_eq!(sum.fold(), plain_sum(&bytes));
            prop_assert_eq!(Sum::ZERO.add_bytes(head).add(Sum::ZERO.add_bytes(tail)).fold(), sum.fold());
        }

        #[test]
        fn an_update_equals_a_new_sum(
            mut bytes in prop::collection::vec(any::<u8>(), 8..64), at in 0..28_usize, new in any::<u32>(),
        ) {
            let at = (at * 2).min((bytes.len() - 4) & !1);
            bytes[0] |= 1; // not all zero: 0 and 0xffff are one number to a sum, two to an update
            let check = of(&bytes);
            let old = u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
            let mut changed: Vec<u8> = bytes.clone();
            changed[at..at + 4].copy_from_slice(&new.to_be_bytes());
            if changed.iter().any(|&byte| byte != 0) {
                prop_assert_eq!(update32(check, old, new), of(&changed));
                let high = |value: u32| u16::try_from(value >> 16).unwrap();
                let low = |value: u32| u16::try_from(value & 0xffff).unwrap();
                let by_words = update16(update16(check, high(old), high(new)), low(old), low(new));
                prop_assert_eq!(by_words, of(&changed));
            }
        }
    }
}
