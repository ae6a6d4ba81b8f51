//! Preshared keys from ML-KEM-768, exchanged between two of adit inside a session.
//!
//! ```text
//! offerer                                 answerer
//!    | -- offer: encapsulation key ---------> |    in a session that exists
//!    | <------------ accept: ciphertext ----- |    both derive a preshared key
//!    | -- initiation with it ---------------> |    WireGuard's own, its index names the key
//!    | <---------------------- response ----- |    a session that a recording does not open
//! ```
//!
//! Each of the four may be lost: the offer is repeated, its repetition gets the same answer, and the initiation is
//! repeated as every other. An end that has lost its keys answers an initiation with the preshared key of the
//! configuration, so that the two connect at once and exchange keys again. docs/src/protocol.md has the protocol.

pub(crate) mod exchange;
pub(crate) mod kem;
pub(crate) mod key;
pub(crate) mod message;

use adit_engine::{DropReason, Reason};

use crate::codec::codec;
use crate::post_quantum::exchange::Exchange;

/// Data in a session without a post-quantum key, where the peer must have one.
pub(crate) const NOT_POST_QUANTUM: DropReason = DropReason::new(&Reason::new(
    "not post-quantum",
    "The session has no post-quantum key, which this peer must have.",
));

/// The state with one peer.
#[derive(Debug, Default)]
pub(crate) struct Hybrid {
    pub(crate) exchange: Exchange,
    /// Whether a session with this peer ever had a post-quantum key.
    pub(crate) had: bool,
    /// Failed exchanges in a row.
    pub(crate) failures: u8,
    /// Whether the peer is known to have no key although it must have one; the owner knows it.
    pub(crate) refused: bool,
}

codec! { Hybrid { exchange, had, failures, refused } }
