//! For fuzzing: every decoder on the same bytes.

use super::{addr, error, link, message, monitor, route, rule};

/// Decodes a datagram as every kind of answer and event; returns how many were valid.
///
/// For fuzzing: no bytes may make it panic, hang, or use more memory than a small multiple of theirs.
#[doc(hidden)]
#[must_use]
pub fn decode_for_fuzzing(datagram: &[u8]) -> usize {
    let mut understood = 0;
    for message in message::messages(datagram) {
        let (flags, body) = (message.flags, message.body);
        understood += usize::from(monitor::event(&message).is_some());
        understood += usize::from(link::decode(body).is_some());
        understood += usize::from(addr::decode(body).is_some());
        understood += usize::from(route::decode(body).is_some());
        understood += usize::from(rule::decode(body).is_some());
        understood += usize::from(error::acknowledgement(flags, body).is_ok());
        understood += usize::from(error::end_of_dump(flags, body).is_ok());
    }
    understood
}
