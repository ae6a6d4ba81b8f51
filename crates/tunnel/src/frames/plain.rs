//! The formats inside a data message.
//!
//! ```text
//! IP packet    | 4x or 6x ...                           | padding |     every WireGuard
//! frame        | 1p | Ethernet frame                    | padding |     between our own
//! fragment     | 2p | number 2 | offset, last 2 | bytes | padding |     between our own
//! control      | 3p | kind 1 | ...                      | padding |     between our own
//! keepalive    nothing
//! ```
//!
//! `p` is the length of the padding, 0 to 15: it gives the length of a frame. Numbers are big endian. Our own
//! formats have neither 4 nor 6 in place of the IP version, so other implementations drop them.

/// A frame: its first byte, less the padding.
pub(crate) const FRAME: u8 = 0x10;
/// A fragment of a frame.
pub(crate) const FRAGMENT: u8 = 0x20;
/// A control message.
pub(crate) const CONTROL: u8 = 0x30;
/// The length of the header before a frame.
pub(crate) const FRAME_HEADER_LEN: usize = 1;
/// The length of the header before a fragment.
pub(crate) const FRAGMENT_HEADER_LEN: usize = 5;

/// The padding after `len` bytes: up to a multiple of 16, which hides the exact length (NDSS 2017, 5.4.6), but not
/// past `max`, the longest that fits a datagram.
pub(crate) fn padding(len: usize, max: usize) -> usize {
    len.next_multiple_of(16).min(max).saturating_sub(len)
}

/// The first byte of our own formats: the type, and the length of the padding (at most 15).
pub(crate) fn first_byte(kind: u8, padding: usize) -> u8 {
    kind | u8::try_from(padding & 15).unwrap_or_default()
}

/// The contents of a decrypted message, and their end without padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plain {
    Keepalive,
    Packet { len: usize },
    Frame { end: usize },
    Fragment { end: usize },
    Control { end: usize },
}

impl Plain {
    /// Determines the contents by the first byte and the lengths; `None` if unknown.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let Some(&first) = bytes.first() else { return Some(Self::Keepalive) };
        let end = bytes.len().checked_sub(usize::from(first & 15));
        match first & 0xf0 {
            0x40 => {
                let &[_, _, l0, l1, ..] = bytes.first_chunk::<20>()?;
                let len = usize::from(u16::from_be_bytes([l0, l1]));
                (len >= 20 && len <= bytes.len()).then_some(Self::Packet { len })
            }
            0x60 => {
                let &[_, _, _, _, l0, l1, ..] = bytes.first_chunk::<40>()?;
                let len = 40 + usize::from(u16::from_be_bytes([l0, l1]));
                (len <= bytes.len()).then_some(Self::Packet { len })
            }
            FRAME => end.filter(|&end| end >= FRAME_HEADER_LEN + 14).map(|end| Self::Frame { end }),
            FRAGMENT => {
                end.filter(|&end| end > FRAGMENT_HEADER_LEN).map(|end| Self::Fragment { end })
            }
            CONTROL => end.filter(|&end| end >= 2).map(|end| Self::Control { end }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_does_not_pass_the_mtu() {
        assert_eq!(padding(0, 1420), 0);
        assert_eq!(padding(1, 1420), 15);
        assert_eq!(padding(1416, 1420), 4);
        assert_eq!(padding(1420, 1420), 0);
        assert_eq!(padding(1500, 1420), 0);
    }

    #[test]
    fn lengths_that_do_not_fit_are_refused() {
        let mut packet = [0; 64];
        (packet[0], packet[3]) = (0x45, 60);
        assert_eq!(Plain::parse(&packet), Some(Plain::Packet { len: 60 }));
        packet[3] = 65;
        assert_eq!(Plain::parse(&packet), None);
        packet[3] = 19;
        assert_eq!(Plain::parse(&packet), None);
        let mut packet = [0; 64];
        (packet[0], packet[5]) = (0x60, 24);
        assert_eq!(Plain::parse(&packet), Some(Plain::Packet { len: 64 }));
        packet[5] = 25;
        assert_eq!(Plain::parse(&packet), None);
        assert_eq!(Plain::parse(&packet[..39]), None);
        assert_eq!(Plain::parse(&[]), Some(Plain::Keepalive));
        let mut frame = [0; 32];
        frame[0] = first_byte(FRAME, 3);
        assert_eq!(Plain::parse(&frame), Some(Plain::Frame { end: 29 }));
        assert_eq!(Plain::parse(&frame[..17]), None);
        assert_eq!(Plain::parse(&[FRAGMENT, 0, 0, 0, 0]), None);
        assert_eq!(Plain::parse(&[CONTROL | 2, 0]), None);
        for first in [0, 0x50, 0x70, 0xf0] {
            assert_eq!(Plain::parse(&[first; 64]), None);
        }
    }
}
