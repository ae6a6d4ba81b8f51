//! The two control messages of an exchange. They are longer than all others, and not padded.
//!
//! ```text
//! offer   | 30 | 8 | number 2 | encapsulation key 1184 |
//! accept  | 30 | 9 | number 2 | ciphertext 1088 |
//! ```
//!
//! A datagram with an offer has 1220 bytes: with headers of UDP and IPv6 it fits a path of 1280.

use crate::frames::plain::CONTROL;
use crate::post_quantum::kem::{CIPHERTEXT_LEN, PUBLIC_LEN};

const OFFER: u8 = 8;
const ACCEPT: u8 = 9;
const HEAD_LEN: usize = 4;

/// The lengths of both as they are sent.
pub(crate) const OFFER_LEN: usize = HEAD_LEN + PUBLIC_LEN;
pub(crate) const ACCEPT_LEN: usize = HEAD_LEN + CIPHERTEXT_LEN;

/// A message of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExchangeMessage<'a> {
    Offer { number: u16, public: &'a [u8; PUBLIC_LEN] },
    Accept { number: u16, ciphertext: &'a [u8; CIPHERTEXT_LEN] },
}

impl<'a> ExchangeMessage<'a> {
    /// Reads the text of a control message, without its first byte. Bytes behind it are ignored.
    pub(crate) fn parse(text: &'a [u8]) -> Option<Self> {
        let (&[kind, n0, n1], rest) = text.split_first_chunk()?;
        let number = u16::from_be_bytes([n0, n1]);
        match kind {
            OFFER => Some(Self::Offer { number, public: rest.first_chunk()? }),
            ACCEPT => Some(Self::Accept { number, ciphertext: rest.first_chunk()? }),
            _ => None,
        }
    }
}

/// An offer as it is sent.
pub(crate) fn offer(number: u16, public: &[u8; PUBLIC_LEN]) -> [u8; OFFER_LEN] {
    write(OFFER, number, public)
}

/// An accept as it is sent.
pub(crate) fn accept(number: u16, ciphertext: &[u8; CIPHERTEXT_LEN]) -> [u8; ACCEPT_LEN] {
    write(ACCEPT, number, ciphertext)
}

fn write<const N: usize>(kind: u8, number: u16, rest: &[u8]) -> [u8; N] {
    let [n0, n1] = number.to_be_bytes();
    let mut bytes = [0; N];
    let head = [CONTROL, kind, n0, n1];
    let all = head.iter().chain(rest);
    bytes.iter_mut().zip(all).for_each(|(to, from)| *to = *from);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_formats() {
        let (public, ciphertext) = ([7; PUBLIC_LEN], [8; CIPHERTEXT_LEN]);
        let bytes = offer(0x0102, &public);
        assert_eq!((&bytes[..5], bytes.len()), (&[0x30, 8, 1, 2, 7][..], 1188));
        let read = ExchangeMessage::Offer { number: 0x0102, public: &public };
        assert_eq!(ExchangeMessage::parse(&bytes[1..]), Some(read));
        let bytes = accept(0x0304, &ciphertext);
        assert_eq!((&bytes[..5], bytes.len()), (&[0x30, 9, 3, 4, 8][..], 1092));
        let read = ExchangeMessage::Accept { number: 0x0304, ciphertext: &ciphertext };
        assert_eq!(ExchangeMessage::parse(&bytes[1..]), Some(read));
        assert_eq!(ExchangeMessage::parse(&bytes[1..bytes.len() - 1]), None);
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in prop::collection::vec(any::<u8>(), 0..1300)) {
            let _ = ExchangeMessage::parse(&text);
        }
    }
}
