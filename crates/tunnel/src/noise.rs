//! The symmetric half of the handshake: BLAKE2s, HMAC, HKDF, ChaCha20-Poly1305.
//!
//! Source: Perrin, "The Noise Protocol Framework", revision 34, 5.2; NDSS 2017, 5.4.

use blake2::{Blake2s256, Digest};
use ring::aead::{Aad, Algorithm, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::codec::codec;
use crate::keys::KEY_LEN;

/// The length of an authentication tag.
pub(crate) const TAG_LEN: usize = 16;
/// The length of a nonce.
const NONCE_LEN: usize = 12;

/// The output of the hash.
pub(crate) type Hash = [u8; 32];

/// The key of an AEAD or a MAC. Its memory is cleared when it is dropped.
pub(crate) type Key = Zeroizing<[u8; KEY_LEN]>;

const CONSTRUCTION: &[u8] = b"Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s";
const IDENTIFIER: &[u8] = b"WireGuard v1 zx2c4 Jason@zx2c4.com";
/// The label of the secret that two of adit derive further keys from.
const EXPORTER: &[u8] = b"adit own peers v1";

/// HASH of the pieces one after another.
pub(crate) fn hash(pieces: &[&[u8]]) -> Hash {
    let mut state = Blake2s256::new();
    for piece in pieces {
        state.update(piece);
    }
    state.finalize().into()
}

/// HMAC (RFC 2104) with BLAKE2s; the key is no longer than a block.
pub(crate) fn hmac(key: &Hash, pieces: &[&[u8]]) -> Key {
    const BLOCK: usize = 64;
    let mut pad = Zeroizing::new([0x36; BLOCK]);
    pad.iter_mut().zip(key).for_each(|(pad, key)| *pad ^= key);
    let mut inner = Blake2s256::new();
    inner.update(pad.as_slice());
    for piece in pieces {
        inner.update(piece);
    }
    let inner: Key = Zeroizing::new(inner.finalize().into());
    pad.iter_mut().for_each(|byte| *byte ^= 0x36 ^ 0x5c);
    Zeroizing::new(hash(&[pad.as_slice(), inner.as_slice()]))
}

/// `KDF_n`: `N` keys from a key and an input (RFC 5869 without info).
pub(crate) fn kdf<const N: usize>(key: &Hash, input: &[u8]) -> [Key; N] {
    let secret = hmac(key, &[input]);
    let mut last: Key = Zeroizing::default();
    let mut count = 0_u8;
    core::array::from_fn(|_| {
        count = count.wrapping_add(1);
        let before: &[u8] = if count == 1 { &[] } else { last.as_slice() };
        let next = hmac(&secret, &[before, &[count]]);
        last = next.clone();
        next
    })
}

/// A key as the AEAD needs it, and a mask that its nonces get. The cipher's own type does not clear its memory, so
/// dropping this overwrites it with another key.
pub(crate) struct CipherKey {
    key: LessSafeKey,
    mask: [u8; NONCE_LEN],
}

impl CipherKey {
    /// A key of ChaCha20-Poly1305 without a mask: that of WireGuard.
    pub(crate) fn new(key: &[u8; KEY_LEN]) -> Self {
        Self::masked(&CHACHA20_POLY1305, key, [0; NONCE_LEN])
    }

    /// A key of an algorithm. `key` must have the length of its keys.
    pub(crate) fn masked(algorithm: &'static Algorithm, key: &[u8], mask: [u8; NONCE_LEN]) -> Self {
        let key = UnboundKey::new(algorithm, key).expect("a key has the length of its algorithm");
        Self { key: LessSafeKey::new(key), mask }
    }

    /// Encrypts a packet in place and writes the tag to the last bytes of `text`. `counter` must not be used twice.
    pub(crate) fn seal(&self, counter: u64, text: &mut [u8]) {
        self.seal_with(counter, &[], text);
    }

    fn seal_with(&self, counter: u64, aad: &[u8], text: &mut [u8]) {
        let Some((text, tag)) = text.split_last_chunk_mut::<TAG_LEN>() else { return };
        let sealed = self
            .key
            .seal_in_place_separate_tag(self.nonce(counter), Aad::from(aad), text)
            .expect("a datagram is shorter than what the cipher takes");
        tag.copy_from_slice(sealed.as_ref());
    }

    /// Decrypts `buffer[skip..]`, which ends with the tag, to the front of `buffer`. Returns the length; `None` if
    /// it does not authenticate, and then the contents of `buffer` are lost.
    ///
    /// So a packet is moved and decrypted in one pass.
    pub(crate) fn open(&self, counter: u64, buffer: &mut [u8], skip: usize) -> Option<usize> {
        let opened = self.key.open_within(self.nonce(counter), Aad::empty(), buffer, skip..);
        opened.ok().map(|plain| plain.len())
    }

    /// The nonce of a counter: four bytes of zero and the counter, little endian (NDSS 2017, 5.4.6), under the mask.
    fn nonce(&self, counter: u64) -> Nonce {
        let [a, b, c, d, e, f, g, h] = counter.to_le_bytes();
        let mut nonce = [0, 0, 0, 0, a, b, c, d, e, f, g, h];
        nonce.iter_mut().zip(self.mask).for_each(|(byte, mask)| *byte ^= mask);
        Nonce::assume_unique_for_key(nonce)
    }
}

impl Drop for CipherKey {
    fn drop(&mut self) {
        // Of the same algorithm, so that all bytes of its key schedule are written.
        let algorithm = self.key.algorithm();
        let zeros = [0; KEY_LEN];
        let zeros = zeros.get(..algorithm.key_len()).unwrap_or(&zeros);
        self.key = LessSafeKey::new(
            UnboundKey::new(algorithm, zeros).expect("a key has the length of its algorithm"),
        );
        self.mask.zeroize();
        // Without this the compiler could omit a write to memory that is about to be freed.
        core::hint::black_box(&self.key);
    }
}

/// The chaining key and the hash of a handshake. Cleared when it is dropped.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub(crate) struct Symmetric {
    chaining: Hash,
    hash: Hash,
}

codec! { Symmetric { chaining, hash } }

impl core::fmt::Debug for Symmetric {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Symmetric(..)")
    }
}

impl Symmetric {
    /// The start of a handshake with the responder whose static key this is (NDSS 2017, 5.4.2).
    pub(crate) fn new(responder: &[u8; KEY_LEN]) -> Self {
        let chaining = hash(&[CONSTRUCTION]);
        let identified = hash(&[&chaining, IDENTIFIER]);
        Self { chaining, hash: hash(&[&identified, responder]) }
    }

    /// Mixes public data into the hash.
    pub(crate) fn mix_hash(&mut self, data: &[u8]) {
        self.hash = hash(&[&self.hash, data]);
    }

    /// Mixes a secret into the chaining key.
    pub(crate) fn mix_key(&mut self, secret: &[u8]) {
        let [chaining] = kdf::<1>(&self.chaining, secret);
        self.chaining = *chaining;
    }

    /// Mixes a secret into the chaining key and returns a key to encrypt with.
    pub(crate) fn mix_key_for_cipher(&mut self, secret: &[u8]) -> Key {
        let [chaining, key] = kdf::<2>(&self.chaining, secret);
        self.chaining = *chaining;
        key
    }

    /// Mixes the preshared key into both and returns a key to encrypt with.
    pub(crate) fn mix_preshared(&mut self, preshared: &[u8; KEY_LEN]) -> Key {
        let [chaining, temporary, key] = kdf::<3>(&self.chaining, preshared);
        self.chaining = *chaining;
        self.mix_hash(temporary.as_slice());
        key
    }

    /// Writes `plain` encrypted and its tag to `out`, which is as long as both, and mixes it in.
    pub(crate) fn seal(&mut self, key: &Key, plain: &[u8], out: &mut [u8]) {
        let Some(text) = out.get_mut(..plain.len()) else { return };
        text.copy_from_slice(plain);
        CipherKey::new(key).seal_with(0, &self.hash, out);
        self.mix_hash(out);
    }

    /// Decrypts a field of `N` bytes and its tag and mixes it in; `None` if it does not authenticate.
    pub(crate) fn open<const N: usize>(
        &mut self,
        key: &Key,
        text: &[u8; N],
        tag: &[u8; TAG_LEN],
    ) -> Option<[u8; N]> {
        let mut plain = *text;
        let key = CipherKey::new(key);
        let opened = key.key.open_in_place_separate_tag(
            key.nonce(0),
            Aad::from(&self.hash),
            (*tag).into(),
            &mut plain,
            0..,
        );
        opened.ok()?;
        self.hash = hash(&[&self.hash, text, tag]);
        Some(plain)
    }

    /// The two keys of the session: first the one that the initiator sends with (NDSS 2017, 5.4.5).
    pub(crate) fn split(&self) -> [Key; 2] {
        kdf::<2>(&self.chaining, &[])
    }

    /// A secret of this handshake, bound to its transcript and independent of the keys of the session: two of adit
    /// derive further keys from it.
    pub(crate) fn export(&self) -> Key {
        let [secret] = kdf::<1>(&self.chaining, &hash(&[EXPORTER, &self.hash]));
        secret
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What every implementation starts from, as they print it (boringtun `INITIAL_CHAIN_KEY`,
    /// `INITIAL_CHAIN_HASH`; wireguard-go `InitialChainKey`).
    #[test]
    fn the_published_start() {
        let chaining = hash(&[CONSTRUCTION]);
        assert_eq!(
            chaining,
            [
                96, 226, 109, 174, 243, 39, 239, 192, 46, 195, 53, 226, 160, 37, 210, 208, 22, 235,
                66, 6, 248, 114, 119, 245, 45, 56, 209, 152, 139, 120, 205, 54
            ]
        );
        assert_eq!(
            hash(&[&chaining, IDENTIFIER]),
            [
                34, 17, 179, 97, 8, 26, 197, 102, 105, 18, 67, 219, 69, 138, 213, 50, 45, 156, 108,
                102, 34, 147, 232, 183, 14, 225, 156, 101, 186, 7, 158, 243
            ]
        );
    }

    /// The vector of docs/src/protocol.md, which Python's hashlib made.
    #[test]
    fn the_exporter_is_bound_to_the_transcript() {
        let numbers = |from: u8| core::array::from_fn(|at| from + u8::try_from(at).unwrap());
        let ours = Symmetric { chaining: numbers(0), hash: numbers(32) };
        let hex: std::string::String =
            ours.export().iter().map(|byte| std::format!("{byte:02x}")).collect();
        assert_eq!(hex, "99253c3e5fa66d233c9b3b4dd561fa874635b09297686b6f59e3c4c88a929f83");
        let other = Symmetric { chaining: numbers(0), hash: numbers(33) };
        assert_ne!(other.export(), ours.export());
        assert!(!ours.split().contains(&ours.export()));
    }

    /// RFC 7693, appendix B.
    #[test]
    fn blake2s_of_abc() {
        let hash = hash(&[b"a", b"bc"]);
        assert_eq!(hash[..8], [0x50, 0x8c, 0x5e, 0x8c, 0x32, 0x7c, 0x14, 0xe2]);
    }

    /// RFC 8439, A.5: its nonce has no counter's form, so only the key schedule is compared.
    #[test]
    fn a_sealed_message_opens_only_unchanged() {
        let mut ours = Symmetric::new(&[1; KEY_LEN]);
        let mut theirs = ours.clone();
        let key = ours.mix_key_for_cipher(b"secret");
        let same = theirs.mix_key_for_cipher(b"secret");
        let mut sealed = [0; 28];
        ours.seal(&key, b"twelve bytes", &mut sealed);
        let (text, tag) = sealed.split_at(12);
        let (text, tag): ([u8; 12], [u8; 16]) = (text.try_into().unwrap(), tag.try_into().unwrap());
        let mut changed = text;
        changed[3] ^= 1;
        assert!(theirs.clone().open(&same, &changed, &tag).is_none());
        assert_eq!(theirs.open(&same, &text, &tag).as_ref(), Some(b"twelve bytes"));
        assert_eq!(ours.hash, theirs.hash);
        assert_eq!(ours.split(), theirs.split());
    }
}
