//! Keys of WireGuard: 32 bytes, in base64 for people and in hexadecimal for the socket of `wg`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::fmt;
use std::io;
use std::str::FromStr;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// The bytes of every key.
pub(crate) const KEY_LEN: usize = 32;

/// The characters of a key in base64: 32 bytes in groups of three, padded.
const BASE64_LEN: usize = 44;

/// A private key of Curve25519, clamped; it is wiped from memory when it goes, and `Debug` hides it.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub(crate) struct PrivateKey([u8; KEY_LEN]);

impl PrivateKey {
    /// A new one.
    ///
    /// # Errors
    /// ENOSYS on a kernel without getrandom(2).
    pub(crate) fn generate() -> io::Result<Self> {
        let mut bytes = Zeroizing::new([0; KEY_LEN]);
        fill_random(&mut *bytes)?;
        Ok(Self::from_bytes(*bytes))
    }

    /// The key of these bytes, clamped as RFC 7748, section 5 says.
    pub(crate) const fn from_bytes(mut bytes: [u8; KEY_LEN]) -> Self {
        bytes[0] &= 0b1111_1000;
        bytes[31] = (bytes[31] & 0b0111_1111) | 0b0100_0000;
        Self(bytes)
    }

    pub(crate) const fn as_bytes(&self) -> &[u8; KEY_LEN] {
        &self.0
    }

    /// The public key that belongs to it.
    pub(crate) fn public(&self) -> PublicKey {
        let secret = x25519_dalek::StaticSecret::from(self.0);
        PublicKey(x25519_dalek::PublicKey::from(&secret).to_bytes())
    }

    /// In base64, to be written to a file or to `wg`.
    pub(crate) fn to_base64(&self) -> Zeroizing<String> {
        Zeroizing::new(STANDARD.encode(self.0))
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(hidden)")
    }
}

/// The public key of a peer, by which it is known.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct PublicKey(pub(crate) [u8; KEY_LEN]);

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&STANDARD.encode(self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A key that both peers were given beforehand; wiped and hidden as a [`PrivateKey`] is.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub(crate) struct PresharedKey([u8; KEY_LEN]);

impl PresharedKey {
    /// A new one.
    ///
    /// # Errors
    /// As [`PrivateKey::generate`].
    pub(crate) fn generate() -> io::Result<Self> {
        let mut bytes = [0; KEY_LEN];
        fill_random(&mut bytes)?;
        Ok(Self(bytes))
    }

    pub(crate) const fn from_bytes(bytes: [u8; KEY_LEN]) -> Self {
        Self(bytes)
    }

    pub(crate) const fn as_bytes(&self) -> &[u8; KEY_LEN] {
        &self.0
    }

    /// In base64, to be written to a file or to `wg`.
    pub(crate) fn to_base64(&self) -> Zeroizing<String> {
        Zeroizing::new(STANDARD.encode(self.0))
    }
}

impl fmt::Debug for PresharedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PresharedKey(hidden)")
    }
}

/// What is wrong with the text of a key; the text itself is never told, it may be a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeyError {
    len: usize,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.len == BASE64_LEN {
            f.write_str("a key is 32 bytes in base64, and this is none")
        } else {
            write!(f, "a key is {BASE64_LEN} characters of base64, this has {}", self.len)
        }
    }
}

impl std::error::Error for KeyError {}

/// 32 bytes from base64, as strict as `wg` is: the padding is there and no bit is left over.
fn from_base64(text: &str) -> Result<Zeroizing<[u8; KEY_LEN]>, KeyError> {
    let wrong = KeyError { len: text.chars().count() };
    if text.len() != BASE64_LEN {
        return Err(wrong);
    }
    // The decoder asks for room for the padding as well.
    let mut room = Zeroizing::new([0; KEY_LEN + 1]);
    let len = STANDARD.decode_slice(text, &mut *room).map_err(|_| wrong)?;
    let (key, _) = room.split_first_chunk().filter(|_| len == KEY_LEN).ok_or(wrong)?;
    Ok(Zeroizing::new(*key))
}

impl FromStr for PrivateKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        from_base64(text).map(|bytes| Self::from_bytes(*bytes))
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        from_base64(text).map(|bytes| Self(*bytes))
    }
}

impl FromStr for PresharedKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        from_base64(text).map(|bytes| Self(*bytes))
    }
}

/// 32 bytes from 64 hexadecimal digits, as the socket of `wg` has them.
pub(crate) fn from_hex(text: &str) -> Option<Zeroizing<[u8; KEY_LEN]>> {
    let mut key = Zeroizing::new([0; KEY_LEN]);
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != KEY_LEN || !rest.is_empty() {
        return None;
    }
    for (byte, [high, low]) in key.iter_mut().zip(pairs) {
        let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|d| u8::try_from(d).ok());
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(key)
}

/// 64 hexadecimal digits.
pub(crate) fn to_hex(key: &[u8; KEY_LEN]) -> Zeroizing<String> {
    use fmt::Write as _;
    let mut text = Zeroizing::new(String::with_capacity(2 * KEY_LEN));
    for byte in key {
        // A string takes all.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Fills `bytes` from the kernel's random numbers.
///
/// # Errors
/// ENOSYS on a kernel without getrandom(2).
pub(crate) fn fill_random(mut bytes: &mut [u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let len = rustix::io::retry_on_intr(|| {
            rustix::rand::getrandom(&mut *bytes, rustix::rand::GetRandomFlags::empty())
        })?;
        bytes = &mut bytes[len..];
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pair that `wg genkey` and `wg pubkey` made.
    const PRIVATE: &str = "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=";
    const PUBLIC: &str = "HIgo9xNzJMWLKASShiTqIybxZ0U3wGLiUeJ1PKf8ykw=";

    #[test]
    fn a_private_key_gives_the_public_key_that_wg_gives() {
        let private: PrivateKey = PRIVATE.parse().unwrap();
        assert_eq!(private.public().to_string(), PUBLIC);
        assert_eq!(*private.to_base64(), PRIVATE);
        let again = from_hex(&to_hex(private.as_bytes())).unwrap();
        assert_eq!(PrivateKey::from_bytes(*again), private);
    }

    #[test]
    fn new_keys_are_clamped_and_differ() {
        let (a, b) = (PrivateKey::generate().unwrap(), PrivateKey::generate().unwrap());
        assert_ne!(a, b);
        assert_eq!(a.as_bytes()[0] & 7, 0);
        assert_eq!(a.as_bytes()[31] & 0xc0, 0x40);
        assert_ne!(PresharedKey::generate().unwrap(), PresharedKey::generate().unwrap());
    }

    #[test]
    fn what_is_no_key_is_refused_and_never_told() {
        let left_over = PUBLIC.replace("kw=", "kx=");
        let no_padding = &PUBLIC[..43];
        for wrong in ["", "abc", no_padding, &left_over, &format!("{PUBLIC} "), &"ü".repeat(22)] {
            let error = wrong.parse::<PublicKey>().unwrap_err().to_string();
            assert!(error.starts_with("a key is "), "{error}");
            assert!(wrong.is_empty() || !error.contains(wrong), "{error}");
        }
        assert!(from_hex("00").is_none());
        assert!(from_hex(&"g0".repeat(32)).is_none());
        assert!(from_hex(&"ü".repeat(32)).is_none());
    }

    #[test]
    fn no_debug_text_has_a_secret() {
        let private: PrivateKey = PRIVATE.parse().unwrap();
        let shared: PresharedKey = PRIVATE.parse().unwrap();
        let text = format!("{private:?} {shared:?}");
        assert_eq!(text, "PrivateKey(hidden) PresharedKey(hidden)");
    }
}
