//! Keys of WireGuard: 32 bytes, in base64 for people and in hexadecimal for the socket of `wg`.

use adit_tunnel::{KEY_LEN, KeyError, PresharedKey, PrivateKey, PublicKey};
use std::fmt;
use std::io;
use std::str::FromStr;
use zeroize::Zeroizing;

/// The three kinds of key, as text: base64 for people, hexadecimal for the socket of `wg`.
pub trait Key: Sized + FromStr<Err = KeyError> {
    /// The key of these bytes.
    fn from_array(bytes: [u8; KEY_LEN]) -> Self;

    /// Its bytes.
    fn array(&self) -> &[u8; KEY_LEN];

    /// A new one from the kernel's random numbers.
    ///
    /// # Errors
    /// ENOSYS on a kernel without getrandom(2).
    fn generate() -> io::Result<Self> {
        let mut bytes = Zeroizing::new([0; KEY_LEN]);
        fill_random(&mut *bytes)?;
        Ok(Self::from_array(*bytes))
    }

    /// A key from base64, as strict as `wg` is: the padding is there and no bit is left over.
    ///
    /// # Errors
    /// [`KeyError`], which reveals nothing of the text.
    fn from_base64(text: &str) -> Result<Self, KeyError> {
        text.parse()
    }

    /// In base64.
    fn to_base64(&self) -> Zeroizing<String>;

    /// A key from 64 hexadecimal digits.
    fn from_hex(text: &str) -> Option<Self> {
        from_hex(text).map(|bytes| Self::from_array(*bytes))
    }

    /// 64 hexadecimal digits.
    fn to_hex(&self) -> Zeroizing<String> {
        to_hex(self.array())
    }
}

impl Key for PrivateKey {
    fn from_array(bytes: [u8; KEY_LEN]) -> Self {
        Self::from_bytes(bytes)
    }

    fn array(&self) -> &[u8; KEY_LEN] {
        self.as_bytes()
    }

    fn to_base64(&self) -> Zeroizing<String> {
        Self::to_base64(self)
    }
}

impl Key for PresharedKey {
    fn from_array(bytes: [u8; KEY_LEN]) -> Self {
        Self::from_bytes(bytes)
    }

    fn array(&self) -> &[u8; KEY_LEN] {
        self.as_bytes()
    }

    fn to_base64(&self) -> Zeroizing<String> {
        Self::to_base64(self)
    }
}

impl Key for PublicKey {
    fn from_array(bytes: [u8; KEY_LEN]) -> Self {
        Self(bytes)
    }

    fn array(&self) -> &[u8; KEY_LEN] {
        &self.0
    }

    fn to_base64(&self) -> Zeroizing<String> {
        Zeroizing::new(self.to_string())
    }
}

fn from_hex(text: &str) -> Option<Zeroizing<[u8; KEY_LEN]>> {
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

fn to_hex(key: &[u8; KEY_LEN]) -> Zeroizing<String> {
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
pub fn fill_random(mut bytes: &mut [u8]) -> io::Result<()> {
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
        let private = PrivateKey::from_base64(PRIVATE).unwrap();
        assert_eq!(*private.public_key().to_base64(), PUBLIC);
        assert_eq!(*private.to_base64(), PRIVATE);
        assert_eq!(PrivateKey::from_hex(&private.to_hex()).unwrap(), private);
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
    fn hexadecimal_is_64_digits() {
        for wrong in ["00".to_owned(), "g0".repeat(32), "ü".repeat(32), "+0".repeat(32)] {
            assert!(PublicKey::from_hex(&wrong).is_none());
        }
    }

    #[test]
    fn no_debug_text_has_a_secret() {
        let private = PrivateKey::from_base64(PRIVATE).unwrap();
        let shared = PresharedKey::from_base64(PRIVATE).unwrap();
        let text = format!("{private:?} {shared:?}");
        assert_eq!(text, "PrivateKey(..) PresharedKey(..)");
    }
}
