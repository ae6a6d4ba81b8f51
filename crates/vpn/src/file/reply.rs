//! The reply to an invitation: the line that `join` prints for `accept`.

use crate::file::keys::Key;
use adit_tunnel::{PresharedKey, PublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use blake2::Blake2sMac;
use blake2::digest::consts::U16;
use blake2::digest::{KeyInit, Mac};
use std::fmt;
use std::net::IpAddr;

/// The start of the line. Another format gets another number.
const PREFIX: &str = "adit-reply-1:";

/// The longest line: an address and a key of 44 characters take far less.
const LINE_LEN_MAX: usize = 256;

/// The length of the code.
const CODE_LEN: usize = 16;

/// The public key of the machine that joined, for one invitation.
///
/// The line is plain data without white space or characters that a shell interprets. It is no secret: the
/// preshared key of the invitation authenticates it, so only a reader of the invitation can make it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The first address of the invitation, by which it is found.
    pub address: IpAddr,
    /// The key of the machine that joined.
    pub public_key: PublicKey,
    code: [u8; CODE_LEN],
}

/// The line is no reply, or a part of it is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadReply;

impl fmt::Display for BadReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "not a complete reply of 'adit tunnel join': expected one line that begins with {PREFIX}"
        )
    }
}

impl Reply {
    /// The reply to the invitation with this address and preshared key.
    #[must_use]
    pub fn new(address: IpAddr, public_key: PublicKey, preshared_key: &PresharedKey) -> Self {
        let code = mac(address, &public_key, preshared_key).finalize().into_bytes().into();
        Self { address, public_key, code }
    }

    /// The line.
    #[must_use]
    pub fn to_line(&self) -> String {
        let (key, code) = (self.public_key.to_base64(), URL_SAFE_NO_PAD.encode(self.code));
        let text = format!("{}\n{}\n{code}", self.address, *key);
        format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(text))
    }

    /// Reads a line.
    ///
    /// # Errors
    /// [`BadReply`].
    pub fn parse(line: &str) -> Result<Self, BadReply> {
        Self::read(line.trim()).ok_or(BadReply)
    }

    fn read(line: &str) -> Option<Self> {
        let code = line.strip_prefix(PREFIX).filter(|code| code.len() <= LINE_LEN_MAX)?;
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(code).ok()?).ok()?;
        let mut lines = text.split('\n');
        let reply = Self {
            address: lines.next()?.parse().ok()?,
            public_key: PublicKey::from_base64(lines.next()?).ok()?,
            code: URL_SAFE_NO_PAD.decode(lines.next()?).ok()?.try_into().ok()?,
        };
        lines.next().is_none().then_some(reply)
    }

    /// Whether it was made from the invitation with this preshared key, and was not changed since.
    #[must_use]
    pub fn is_of(&self, preshared_key: &PresharedKey) -> bool {
        mac(self.address, &self.public_key, preshared_key).verify_slice(&self.code).is_ok()
    }
}

fn mac(address: IpAddr, key: &PublicKey, preshared_key: &PresharedKey) -> Blake2sMac<U16> {
    let mut mac = Blake2sMac::<U16>::new_from_slice(preshared_key.as_bytes())
        .expect("a preshared key has 32 bytes, which is the limit");
    mac.update(format!("{PREFIX}{address}\n").as_bytes());
    mac.update(&key.0);
    mac
}

#[cfg(test)]
mod tests {
    use super::*;
    use adit_tunnel::PrivateKey;

    #[test]
    fn a_reply_is_of_its_invitation_and_nobody_can_change_it() {
        let [shared, other] = [7, 8].map(|byte| PresharedKey::from_bytes([byte; 32]));
        let [key, foreign] = [5, 6].map(|byte| PrivateKey::from_bytes([byte; 32]).public_key());
        for address in ["10.0.0.2", "fd00::2"] {
            let reply = Reply::new(address.parse().unwrap(), key, &shared);
            let line = reply.to_line();
            assert!(
                line.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_:".contains(&b)),
                "{line}"
            );
            assert_eq!(Reply::parse(&format!(" {line}\r\n")).as_ref(), Ok(&reply));
            assert!(reply.is_of(&shared) && !reply.is_of(&other));
            assert!(!Reply { public_key: foreign, ..reply.clone() }.is_of(&shared));
            assert!(!Reply { address: "10.0.0.3".parse().unwrap(), ..reply }.is_of(&shared));
            for at in 0..line.len() {
                assert_eq!(Reply::parse(&line[..at]), Err(BadReply), "{at}");
            }
        }
    }
}
