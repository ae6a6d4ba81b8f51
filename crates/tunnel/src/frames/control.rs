//! Control messages between two of adit: formats, without behaviour.
//!
//! ```text
//! hello   | 3p | 1 | version 1 | flags 1 | features 2 | index 4 |
//! probe   | 3p | 2 | number 4 | len 2 | zeros up to len |
//! answer  | 3p | 3 | number 4 | len 2 |
//! ```
//!
//! `p` is the length of the padding. Numbers are big endian. The rules by which the protocol grows: a receiver ignores
//! kinds, flags and features that it does not know, and bytes behind the ones that it knows. Numbers that are missing
//! at the end count as 0.

use crate::codec::{Codec, Decoder, Encoder};
use crate::frames::plain::{CONTROL, first_byte};

const HELLO: u8 = 1;
const PROBE: u8 = 2;
const ANSWER: u8 = 3;
/// Informative: no receiver decides by it.
const VERSION: u8 = 2;
/// The sender has received a hello in this session.
const KNOWN: u8 = 1;

/// The length of a short control message as it is sent: one block of padding.
pub(crate) const SHORT_LEN: usize = 16;

/// What an end can do besides the protocol of every WireGuard: bits of a hello.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Features(pub(crate) u16);

impl Features {
    /// The sender answers offers of post-quantum keys.
    pub(crate) const POST_QUANTUM: Self = Self(0x0100);

    /// Whether all of `other` are in it.
    pub(crate) const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    pub(crate) const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The features of both.
    pub(crate) const fn common(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl Codec for Features {
    fn encode(&self, to: &mut Encoder) {
        self.0.encode(to);
    }

    fn decode(from: &mut Decoder<'_>) -> Option<Self> {
        Codec::decode(from).map(Self)
    }
}

/// "I am adit": what the sender can do in this session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hello {
    /// Whether the sender has received a hello in this session.
    pub(crate) known: bool,
    pub(crate) features: Features,
    /// The index that the sender receives under, once both agree on a suite; 0 before.
    pub(crate) index: u32,
}

/// A control message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Control {
    Hello(Hello),
    /// A probe of the path MTU. It is as long as the packets that it stands for.
    Probe {
        number: u32,
        len: u16,
    },
    /// The answer to a probe.
    Answer {
        number: u32,
        len: u16,
    },
}

impl Control {
    /// Reads the text of a message, without its first byte and padding; `None` if its kind is unknown or it is
    /// too short.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let (&kind, rest) = text.split_first()?;
        match kind {
            HELLO => {
                let (&[_, flags], rest) = rest.split_first_chunk()?;
                let [f0, f1, i0, i1, i2, i3] = first_or_zeros(rest);
                Some(Self::Hello(Hello {
                    known: flags & KNOWN != 0,
                    features: Features(u16::from_be_bytes([f0, f1])),
                    index: u32::from_be_bytes([i0, i1, i2, i3]),
                }))
            }
            PROBE | ANSWER => {
                let &[n0, n1, n2, n3, l0, l1] = rest.first_chunk()?;
                let number = u32::from_be_bytes([n0, n1, n2, n3]);
                let len = u16::from_be_bytes([l0, l1]);
                Some(if kind == PROBE {
                    Self::Probe { number, len }
                } else {
                    Self::Answer { number, len }
                })
            }
            _ => None,
        }
    }

    /// The message as it is sent, with its padding. A probe is extended with zeros to its length.
    pub(crate) fn to_bytes(self) -> [u8; SHORT_LEN] {
        let mut bytes = [0; SHORT_LEN];
        let len = match self {
            Self::Hello(Hello { known, features, index }) => {
                let flags = if known { KNOWN } else { 0 };
                let ([f0, f1], [i0, i1, i2, i3]) = (features.0.to_be_bytes(), index.to_be_bytes());
                write(&mut bytes, &[HELLO, VERSION, flags, f0, f1, i0, i1, i2, i3])
            }
            Self::Probe { number, len } => numbered(&mut bytes, PROBE, number, len),
            Self::Answer { number, len } => numbered(&mut bytes, ANSWER, number, len),
        };
        // The length of a probe says what is padding.
        let padding = if matches!(self, Self::Probe { .. }) { 0 } else { SHORT_LEN - len };
        bytes[0] = first_byte(CONTROL, padding);
        bytes
    }
}

fn numbered(bytes: &mut [u8; SHORT_LEN], kind: u8, number: u32, len: u16) -> usize {
    let ([n0, n1, n2, n3], [l0, l1]) = (number.to_be_bytes(), len.to_be_bytes());
    write(bytes, &[kind, n0, n1, n2, n3, l0, l1])
}

/// Writes a text behind the first byte; returns the length of both.
fn write(bytes: &mut [u8; SHORT_LEN], text: &[u8]) -> usize {
    bytes.iter_mut().skip(1).zip(text).for_each(|(to, from)| *to = *from);
    1 + text.len()
}

fn first_or_zeros<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut first = [0; N];
    first.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    first
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frames::plain::Plain;
    use proptest::prelude::*;

    fn text(bytes: &[u8]) -> &[u8] {
        match Plain::parse(bytes) {
            Some(Plain::Control { end }) => &bytes[1..end],
            other => panic!("{other:?}"),
        }
    }

    /// The vectors of docs/src/protocol.md.
    #[test]
    fn the_formats() {
        let hello = Hello { known: true, features: Features(0x0203), index: 0x0a0b_0c0d };
        let bytes = Control::Hello(hello).to_bytes();
        assert_eq!(bytes, [0x36, 1, 2, 1, 2, 3, 10, 11, 12, 13, 0, 0, 0, 0, 0, 0]);
        assert_eq!(Control::parse(text(&bytes)), Some(Control::Hello(hello)));
        let answer = Control::Answer { number: 0x0102_0304, len: 1420 };
        let bytes = answer.to_bytes();
        assert_eq!(bytes, [0x38, 3, 1, 2, 3, 4, 5, 0x8c, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(Control::parse(text(&bytes)), Some(answer));
        let probe = Control::Probe { number: 9, len: 1420 };
        assert_eq!(probe.to_bytes()[..8], [0x30, 2, 0, 0, 0, 9, 5, 0x8c]);
        assert_eq!(Control::parse(text(&probe.to_bytes())), Some(probe));
    }

    /// Version 1 ends after the flags, and a later one may be longer.
    #[test]
    fn other_versions_are_understood() {
        let old = Hello { known: true, ..Hello::default() };
        assert_eq!(Control::parse(&[1, 1, 1]), Some(Control::Hello(old)));
        let cut = Hello { features: Features(0x0100), ..Hello::default() };
        assert_eq!(Control::parse(&[1, 1, 0xfe, 1]), Some(Control::Hello(cut)));
        let later = [&[1, 9, 1, 0xff, 0xff, 0, 0, 0, 7][..], &[0xee; 500]].concat();
        let hello = Hello { known: true, features: Features(0xffff), index: 7 };
        assert_eq!(Control::parse(&later), Some(Control::Hello(hello)));
        for unknown in [&[][..], &[0], &[1], &[1, 1], &[2, 0, 0, 0, 0, 0], &[4, 1, 2], &[255; 90]] {
            assert_eq!(Control::parse(unknown), None, "{unknown:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_is_written(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            if let Some(control) = Control::parse(&bytes) {
                prop_assert_eq!(Control::parse(text(&control.to_bytes())), Some(control));
            }
        }
    }
}
