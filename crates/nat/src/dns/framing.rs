//! Messages in a TCP stream: each behind its length in two bytes (RFC 1035, 4.2.2).

use alloc::vec::Vec;

/// Cuts a stream into messages.
#[derive(Debug)]
pub struct Framing {
    max: usize,
    bytes: Vec<u8>,
}

/// A message is longer than the receiver takes: the stream cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong;

impl Framing {
    /// Takes messages of at most `max` bytes, and holds at most two more.
    #[must_use]
    pub const fn new(max: usize) -> Self {
        Self { max, bytes: Vec::new() }
    }

    /// Takes bytes of the stream off `bytes`, up to the end of a message. Returns that message if it is
    /// complete. Call it until `bytes` is empty.
    ///
    /// # Errors
    ///
    /// [`TooLong`].
    pub fn push(&mut self, bytes: &mut &[u8]) -> Result<Option<Vec<u8>>, TooLong> {
        self.take(bytes, 2);
        let Some(&[high, low]) = self.bytes.first_chunk() else { return Ok(None) };
        let len = usize::from(u16::from_be_bytes([high, low]));
        if len > self.max {
            return Err(TooLong);
        }
        self.take(bytes, 2 + len);
        if self.bytes.len() < 2 + len {
            return Ok(None);
        }
        let message = self.bytes.split_off(2);
        self.bytes.clear();
        Ok(Some(message))
    }

    /// Takes as many bytes as make `len` in all.
    fn take(&mut self, bytes: &mut &[u8], len: usize) {
        let missing = len.saturating_sub(self.bytes.len()).min(bytes.len());
        let (taken, rest) = bytes.split_at(missing);
        self.bytes.extend_from_slice(taken);
        *bytes = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_message_that_is_too_long_ends_the_stream() {
        let mut framing = Framing::new(4);
        assert_eq!(framing.push(&mut &[0, 4, 1, 2, 3, 4][..]), Ok(Some([1, 2, 3, 4].to_vec())));
        assert_eq!(framing.push(&mut &[0][..]), Ok(None));
        assert_eq!(framing.push(&mut &[5][..]), Err(TooLong));
    }

    proptest! {
        #[test]
        fn pieces_make_the_messages_whole(
            messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..8),
            pieces in prop::collection::vec(1_usize..20, 1..100),
        ) {
            let mut stream = Vec::new();
            for message in &messages {
                stream.extend(u16::try_from(message.len()).unwrap().to_be_bytes());
                stream.extend(message);
            }
            let (mut framing, mut found, mut rest) = (Framing::new(40), Vec::new(), &stream[..]);
            for len in pieces.into_iter().cycle() {
                let (mut piece, behind) = rest.split_at(len.min(rest.len()));
                rest = behind;
                while !piece.is_empty() {
                    found.extend(framing.push(&mut piece).unwrap());
                }
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(found, messages);
        }
    }
}
