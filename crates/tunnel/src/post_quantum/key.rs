//! The preshared key of a handshake that a recording does not open.

use zeroize::Zeroizing;

use crate::codec::codec;
use crate::keys::{PresharedKey, PublicKey};
use crate::noise::{Hash, Key, hash, hmac};
use crate::post_quantum::kem::{CIPHERTEXT_LEN, PUBLIC_LEN, Secret};

/// The name of this protocol and its version.
const LABEL: &[u8] = b"adit post-quantum ML-KEM-768 v1";

/// What both ends put into the key besides the secret of ML-KEM.
pub(crate) struct Binding<'a> {
    /// The secret of the session in which the encapsulation key was sent, bound to its transcript.
    pub(crate) session: &'a Key,
    /// The preshared key of the configuration; zeros without one.
    pub(crate) preshared: &'a PresharedKey,
    /// The static keys of the end that sent the encapsulation key, and of the other end.
    pub(crate) statics: [&'a PublicKey; 2],
}

/// A preshared key for handshakes, from the secret of ML-KEM and the session in which it was exchanged. Its memory is
/// cleared when it is dropped.
#[derive(Clone)]
pub(crate) struct HandshakeKey {
    pub(crate) preshared: PresharedKey,
    tag: Key,
    /// By which our own state names it; never sent.
    pub(crate) number: u32,
}

codec! { HandshakeKey { preshared, tag, number } }

impl core::fmt::Debug for HandshakeKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("HandshakeKey").field("number", &self.number).finish_non_exhaustive()
    }
}

impl HandshakeKey {
    /// Derives the key: HKDF (RFC 5869) with HMAC-BLAKE2s, two blocks.
    pub(crate) fn new(
        number: u32,
        secret: &Secret,
        binding: &Binding<'_>,
        public: &[u8; PUBLIC_LEN],
        ciphertext: &[u8; CIPHERTEXT_LEN],
    ) -> Self {
        let Binding { session, preshared, statics: [one, other] } = binding;
        let secrets: [&[u8]; 3] =
            [session.as_slice(), secret.as_slice(), preshared.as_bytes().as_slice()];
        let extracted = hmac(&hash(&[LABEL]), &secrets);
        let transcript = hash(&[public, ciphertext]);
        let preshared = hmac(&extracted, &[&transcript, &one.0, &other.0, &[1]]);
        let tag = hmac(&extracted, &[preshared.as_slice(), &transcript, &one.0, &other.0, &[2]]);
        Self { preshared: PresharedKey::from_bytes(*preshared), tag, number }
    }

    /// The index of an initiation with this ephemeral key: the responder knows by it which preshared key is meant. To
    /// all others it is a random number.
    pub(crate) fn index_of(&self, ephemeral: &Hash) -> u32 {
        let tag: Zeroizing<Hash> = hmac(&self.tag, &[ephemeral]);
        let &[a, b, c, d, ..] = &*tag;
        u32::from_le_bytes([a, b, c, d])
    }
}
