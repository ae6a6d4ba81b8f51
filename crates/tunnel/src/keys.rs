//! Keys: what identifies a peer and what nobody may see.

use alloc::boxed::Box;
use alloc::string::String;
use core::fmt;
use core::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use subtle::ConstantTimeEq;
use x25519_dalek::StaticSecret;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::codec::{Codec, Decoder, Encoder};

/// The length of every key.
pub const KEY_LEN: usize = 32;

/// The characters of a key in base64: 32 bytes in groups of three, padded.
const BASE64_LEN: usize = 44;

/// A peer's Curve25519 public key: its name. As text in base64, as `wg` prints it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey(pub [u8; KEY_LEN]);

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0; BASE64_LEN];
        // It has room for exactly so many.
        let _ = STANDARD.encode_slice(self.0, &mut text);
        f.pad(core::str::from_utf8(&text).unwrap_or_default())
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

    /// Reads 44 characters of base64, as strictly as `wg`: with padding, and without bits left over.
    fn from_str(text: &str) -> Result<Self, KeyError> {
        decode(text).map(|bytes| Self(*bytes))
    }
}

/// The first four bytes in hexadecimal: enough to tell peers apart.
impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, ..] = self.0;
        write!(f, "PublicKey({a:02x}{b:02x}{c:02x}{d:02x}..)")
    }
}

/// The bytes of a key that nobody may see, in a place of their own, so that a key that is moved leaves no copy
/// behind. The memory is cleared when it is dropped.
#[derive(Clone, Default)]
struct Secret(Box<[u8; KEY_LEN]>);

impl Secret {
    fn new(mut bytes: [u8; KEY_LEN]) -> Self {
        let secret = Self(Box::new(bytes));
        bytes.zeroize();
        secret
    }
}

impl Zeroize for Secret {
    fn zeroize(&mut self) {
        self.0.as_mut_slice().zeroize();
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.zeroize();
    }
}

impl ZeroizeOnDrop for Secret {}

/// A Curve25519 private key. Its memory is cleared when it is dropped, and it has no `Display`, so that
/// it does not get into a log: see [`Self::to_base64`].
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct PrivateKey(Secret);

impl PrivateKey {
    /// A key from 32 random bytes, clamped as RFC 7748, section 5, has it.
    #[must_use]
    pub fn from_bytes(mut bytes: [u8; KEY_LEN]) -> Self {
        bytes[0] &= 248;
        bytes[31] = bytes[31] & 127 | 64;
        let key = Self(Secret::new(bytes));
        bytes.zeroize();
        key
    }

    /// The clamped bytes, for a key file.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; KEY_LEN] {
        &self.0.0
    }

    /// The key in base64, as `wg genkey` prints it.
    #[must_use]
    pub fn to_base64(&self) -> Zeroizing<String> {
        Zeroizing::new(STANDARD.encode(self.as_bytes()))
    }

    /// The public key that belongs to it.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        PublicKey(x25519_dalek::PublicKey::from(&self.secret()).to_bytes())
    }

    /// The shared secret with another's key; `None` if that is one of the few points that give zero.
    pub(crate) fn agree(&self, theirs: &PublicKey) -> Option<SharedSecret> {
        let shared = self.secret().diffie_hellman(&theirs.0.into());
        shared.was_contributory().then(|| SharedSecret(shared.to_bytes()))
    }

    fn secret(&self) -> StaticSecret {
        StaticSecret::from(*self.as_bytes())
    }
}

impl FromStr for PrivateKey {
    type Err = KeyError;

    /// Reads a key as [`PublicKey`] does, and clamps it.
    fn from_str(text: &str) -> Result<Self, KeyError> {
        decode(text).map(|bytes| Self::from_bytes(*bytes))
    }
}

impl PartialEq for PrivateKey {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes().ct_eq(other.as_bytes()).into()
    }
}

impl Eq for PrivateKey {}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(..)")
    }
}

/// A symmetric key that both sides of one peering share. Its memory is cleared when it is dropped, and
/// it has no `Display`.
#[derive(Clone, Default, Zeroize, ZeroizeOnDrop)]
pub struct PresharedKey(Secret);

impl PresharedKey {
    /// A key from 32 random bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; KEY_LEN]) -> Self {
        Self(Secret::new(bytes))
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; KEY_LEN] {
        &self.0.0
    }

    /// The key in base64, as `wg genpsk` prints it.
    #[must_use]
    pub fn to_base64(&self) -> Zeroizing<String> {
        Zeroizing::new(STANDARD.encode(self.as_bytes()))
    }
}

impl FromStr for PresharedKey {
    type Err = KeyError;

    /// Reads a key as [`PublicKey`] does.
    fn from_str(text: &str) -> Result<Self, KeyError> {
        decode(text).map(|bytes| Self::from_bytes(*bytes))
    }
}

impl PartialEq for PresharedKey {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes().ct_eq(other.as_bytes()).into()
    }
}

impl Eq for PresharedKey {}

impl fmt::Debug for PresharedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PresharedKey(..)")
    }
}

/// Keys as state: their bytes.
macro_rules! codec_of_keys {
    ($($type:ident)*) => {$(
        impl Codec for $type {
            fn encode(&self, to: &mut Encoder) {
                to.bytes(self.as_bytes());
            }

            fn decode(from: &mut Decoder<'_>) -> Option<Self> {
                let bytes = Zeroizing::<[u8; KEY_LEN]>::decode(from)?;
                Some(Self::from_bytes(*bytes))
            }
        }
    )*};
}

codec_of_keys! { PrivateKey PresharedKey }

impl Codec for PublicKey {
    fn encode(&self, to: &mut Encoder) {
        self.0.encode(to);
    }

    fn decode(from: &mut Decoder<'_>) -> Option<Self> {
        Codec::decode(from).map(Self)
    }
}

/// Why a text is not a key. It holds no part of the text, which may be a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyError {
    /// The characters of the text.
    len: usize,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.len {
            BASE64_LEN => f.write_str("a key is 32 bytes in base64; this text is not valid base64"),
            len => write!(f, "a key is {BASE64_LEN} characters of base64; this text has {len}"),
        }
    }
}

impl core::error::Error for KeyError {}

fn decode(text: &str) -> Result<Zeroizing<[u8; KEY_LEN]>, KeyError> {
    let wrong = KeyError { len: text.chars().count() };
    if text.len() != BASE64_LEN {
        return Err(wrong);
    }
    // The decoder wants room for the padding as well.
    let mut room = Zeroizing::new([0; KEY_LEN + 1]);
    let len = STANDARD.decode_slice(text, &mut *room).map_err(|_| wrong)?;
    let (key, _) = room.split_first_chunk().filter(|_| len == KEY_LEN).ok_or(wrong)?;
    Ok(Zeroizing::new(*key))
}

/// The result of a Diffie-Hellman exchange. Its memory is cleared when it is dropped.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub(crate) struct SharedSecret([u8; KEY_LEN]);

impl fmt::Debug for SharedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedSecret(..)")
    }
}

impl Codec for SharedSecret {
    fn encode(&self, to: &mut Encoder) {
        to.bytes(&self.0);
    }

    fn decode(from: &mut Decoder<'_>) -> Option<Self> {
        Codec::decode(from).map(Self)
    }
}

impl SharedSecret {
    pub(crate) const fn as_bytes(&self) -> &[u8; KEY_LEN] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::format;
    use std::string::ToString;

    fn hex(text: &str) -> [u8; KEY_LEN] {
        let mut bytes = [0; KEY_LEN];
        for (byte, at) in bytes.iter_mut().zip((0..).step_by(2)) {
            *byte = u8::from_str_radix(&text[at..at + 2], 16).unwrap();
        }
        bytes
    }

    /// RFC 7748, section 6.1.
    #[test]
    fn the_vectors_of_rfc_7748() {
        let alice = hex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a");
        let bob = hex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb");
        let (alice, bob) = (PrivateKey::from_bytes(alice), PrivateKey::from_bytes(bob));
        let theirs = hex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a");
        assert_eq!(alice.public_key().0, theirs);
        let shared = hex("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742");
        assert_eq!(*bob.agree(&alice.public_key()).unwrap().as_bytes(), shared);
        assert_eq!(*alice.agree(&bob.public_key()).unwrap().as_bytes(), shared);
    }

    #[test]
    fn keys_are_read_as_strictly_as_wg_reads_them() {
        // A pair that `wg genkey` and `wg pubkey` made.
        let private = "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=";
        let public = "HIgo9xNzJMWLKASShiTqIybxZ0U3wGLiUeJ1PKf8ykw=";
        let key: PrivateKey = private.parse().unwrap();
        assert_eq!(key.public_key().to_string(), public);
        assert_eq!(public.parse(), Ok(key.public_key()));
        assert_eq!(*key.to_base64(), private);
        assert_eq!(*private.parse::<PresharedKey>().unwrap().to_base64(), private);
        let left_over = public.replace("kw=", "kx=");
        let no_padding = &public[..43];
        for wrong in ["", "abc", no_padding, &left_over, &format!("{public} "), &"ü".repeat(22)] {
            let error = wrong.parse::<PublicKey>().unwrap_err().to_string();
            assert!(error.starts_with("a key is "), "{error}");
            assert!(wrong.is_empty() || !error.contains(wrong), "{error}");
        }
    }

    #[test]
    fn a_point_of_small_order_is_no_secret() {
        let key = PrivateKey::from_bytes([7; KEY_LEN]);
        assert!(key.agree(&PublicKey([0; KEY_LEN])).is_none());
        let mut one = [0; KEY_LEN];
        one[0] = 1;
        assert!(key.agree(&PublicKey(one)).is_none());
    }

    #[test]
    fn secrets_are_not_printed() {
        let private = PrivateKey::from_bytes([0x5a; KEY_LEN]);
        let preshared = PresharedKey::from_bytes([0x5a; KEY_LEN]);
        let text = format!("{private:?} {preshared:?}");
        assert!(!text.contains("5a") && !text.contains("90"), "{text}");
    }
}
