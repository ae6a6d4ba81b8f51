//! Keys of WireGuard: 32 bytes, in base64 for people and in hexadecimal for the socket of `wg`.

use adit_tunnel::{KEY_LEN, PresharedKey, PrivateKey, PublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::fmt;
use std::io;
use zeroize::Zeroizing;

/// The characters of a key in base64: 32 bytes in groups of three, padded.
const BASE64_LEN: usize = 44;

/// The three kinds of key, as text: base64 for people, hexadecimal for the socket of `wg`.
pub trait Key: Sized {
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
    /// [`KeyError`], which tells nothing of the text.
    fn from_base64(text: &str) -> Result<Self, KeyError> {
        from_base64(text).map(|bytes| Self::from_array(*bytes))
    }

    /// In base64.
    fn to_base64(&self) -> Zeroizing<String> {
        Zeroizing::new(STANDARD.encode(self.array()))
    }

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
}

impl Key for PresharedKey {
    fn from_array(bytes: [u8; KEY_LEN]) -> Self {
        Self::from_bytes(bytes)
    }

    fn array(&self) -> &[u8; KEY_LEN] {
        self.as_bytes()
    }
}

impl Key for PublicKey {
    fn from_array(bytes: [u8; KEY_LEN]) -> Self {
        Self(bytes)
    }

    fn array(&self) -> &[u8; KEY_LEN] {
        &self.0
    }
}

/// What is wrong with the text of a key; the text itself is never told, it may be a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyError {
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
    fn what_is_no_key_is_refused_and_never_told() {
        let left_over = PUBLIC.replace("kw=", "kx=");
        let no_padding = &PUBLIC[..43];
        for wrong in ["", "abc", no_padding, &left_over, &format!("{PUBLIC} "), &"ü".repeat(22)] {
            let error = PublicKey::from_base64(wrong).unwrap_err().to_string();
            assert!(error.starts_with("a key is "), "{error}");
            assert!(wrong.is_empty() || !error.contains(wrong), "{error}");
        }
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
