//! Explicit congestion notification, and its treatment in tunnels.

use crate::checksum;

/// The ECN codepoint of a packet (RFC 3168, section 5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Ecn {
    /// Not ECN-capable: a congested router drops the packet.
    #[default]
    NotEct,
    /// ECN-capable transport, ECT(1).
    Ect1,
    /// ECN-capable transport, ECT(0).
    Ect0,
    /// Congestion experienced: a router marked the packet.
    Ce,
}

impl Ecn {
    /// The codepoint of the two low bits; higher ones are ignored.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Self {
        match bits & 3 {
            0 => Self::NotEct,
            1 => Self::Ect1,
            2 => Self::Ect0,
            _ => Self::Ce,
        }
    }

    /// The two bits.
    #[must_use]
    pub const fn bits(self) -> u8 {
        match self {
            Self::NotEct => 0,
            Self::Ect1 => 1,
            Self::Ect0 => 2,
            Self::Ce => 3,
        }
    }

    /// The codepoint of the IPv4 or IPv6 header at the start of `ip`; `NotEct` if there is none.
    #[must_use]
    pub const fn of(ip: &[u8]) -> Self {
        match ip {
            [0x40..=0x4f, tos, ..] => Self::from_bits(*tos),
            [0x60..=0x6f, class, ..] => Self::from_bits(*class >> 4),
            _ => Self::NotEct,
        }
    }

    /// Writes the codepoint to the IPv4 or IPv6 header at the start of `ip`, and updates the IPv4
    /// checksum.
    pub fn write(self, ip: &mut [u8]) {
        match ip {
            [first @ 0x40..=0x4f, tos, _, _, _, _, _, _, _, _, c0, c1, ..] => {
                let old = u16::from_be_bytes([*first, *tos]);
                *tos = *tos & !3 | self.bits();
                let new = u16::from_be_bytes([*first, *tos]);
                let check = u16::from_be_bytes([*c0, *c1]);
                [*c0, *c1] = checksum::update16(check, old, new).to_be_bytes();
            }
            [0x60..=0x6f, class, ..] => *class = *class & !0x30 | self.bits() << 4,
            _ => {}
        }
    }

    /// The codepoint of a packet that leaves a tunnel, where this is its own and `outer` that of
    /// the outer header; `None` if the packet must be dropped: it is marked, but not ECN-capable
    /// (RFC 6040, figure 4).
    #[must_use]
    pub const fn decapsulated(self, outer: Self) -> Option<Self> {
        match (self, outer) {
            (Self::NotEct, Self::Ce) => None,
            (Self::Ect0 | Self::Ect1, Self::Ce) => Some(Self::Ce),
            (Self::Ect0, Self::Ect1) => Some(Self::Ect1),
            (inner, _) => Some(inner),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Ecn; 4] = [Ecn::NotEct, Ecn::Ect0, Ecn::Ect1, Ecn::Ce];

    #[test]
    fn the_table_of_rfc_6040() {
        let [not, ect0, ect1, ce] = ALL.map(Some);
        // Rows are what arrives inside, columns outside: Not-ECT, ECT(0), ECT(1), CE.
        let figure_4 = [
            (Ecn::NotEct, [not, not, not, None]),
            (Ecn::Ect0, [ect0, ect0, ect1, ce]),
            (Ecn::Ect1, [ect1, ect1, ect1, ce]),
            (Ecn::Ce, [ce, ce, ce, ce]),
        ];
        for (inner, row) in figure_4 {
            assert_eq!(ALL.map(|outer| inner.decapsulated(outer)), row, "{inner:?}");
        }
    }

    #[test]
    fn headers_are_read_and_written() {
        let mut v4 = [0x45, 0xb8, 0, 40, 0, 1, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
        let check = checksum::of(&v4);
        v4[10..12].copy_from_slice(&check.to_be_bytes());
        let mut v6 = [0; 40];
        v6[..4].copy_from_slice(&[0x6b, 0x8f, 0xff, 0xff]);
        for ecn in ALL {
            assert_eq!(Ecn::from_bits(ecn.bits() | 0xfc), ecn);
            ecn.write(&mut v4);
            assert_eq!((Ecn::of(&v4), v4[1] >> 2, checksum::of(&v4)), (ecn, 0xb8 >> 2, 0));
            ecn.write(&mut v6);
            assert_eq!((Ecn::of(&v6), v6[0], v6[1] & 0xcf), (ecn, 0x6b, 0x8f));
        }
        for short in [&[][..], &[0x45], &[0x60], &[0x10, 0xff, 3]] {
            let mut copy = short.to_vec();
            Ecn::Ce.write(&mut copy);
            assert_eq!((Ecn::of(short), &copy[..]), (Ecn::NotEct, short));
        }
    }
}
