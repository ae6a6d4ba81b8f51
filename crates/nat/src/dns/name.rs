//! A domain name in the form of the wire, lower case.

use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;
use core::str::FromStr;

/// A domain name: labels of 1 to 63 bytes, at most 255 bytes on the wire (RFC 1035, 3.1), in lower case.
///
/// ```
/// use adit_nat::dns::Name;
///
/// let name: Name = "Host.adit.internal.".parse()?;
/// assert_eq!(name.to_string(), "host.adit.internal");
/// assert_eq!(name.as_wire(), b"\x04host\x04adit\x08internal\x00");
/// assert!("a..b".parse::<Name>().is_err());
/// # Ok::<(), adit_nat::dns::NameError>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Vec<u8>);

impl Name {
    /// The most bytes on the wire, the root's label included.
    pub const LEN_MAX: usize = 255;
    pub(super) const LABEL_MAX: usize = 63;

    /// The labels, each behind its length, and the empty label of the root.
    #[must_use]
    pub fn as_wire(&self) -> &[u8] {
        &self.0
    }

    /// Takes bytes that a parser found to be labels without compression.
    pub(super) fn from_wire(labels: &[u8]) -> Self {
        Self(labels.to_ascii_lowercase())
    }

    /// The name whose PTR record names the owner of `ip` (RFC 1035, 3.5; RFC 3596, 2.5).
    #[must_use]
    pub fn reverse(ip: IpAddr) -> Self {
        let mut wire = Vec::with_capacity(80);
        match ip {
            IpAddr::V4(ip) => {
                for byte in ip.octets().into_iter().rev() {
                    push_label(&mut wire, alloc::format!("{byte}").as_bytes());
                }
                push_label(&mut wire, b"in-addr");
            }
            IpAddr::V6(ip) => {
                for byte in ip.octets().into_iter().rev() {
                    for nibble in [byte & 15, byte >> 4] {
                        push_label(&mut wire, alloc::format!("{nibble:x}").as_bytes());
                    }
                }
                push_label(&mut wire, b"ip6");
            }
        }
        push_label(&mut wire, b"arpa");
        wire.push(0);
        Self(wire)
    }

    /// Where `zone` begins in this name, in bytes, if the name is the zone itself or below it.
    pub(super) fn offset_of(&self, zone: &Self) -> Option<usize> {
        let mut at = 0;
        while let Some((&len, _)) = self.0.get(at..).and_then(|rest| rest.split_first()) {
            if self.0.get(at..) == Some(zone.as_wire()) {
                return Some(at);
            }
            at += 1 + usize::from(len);
        }
        None
    }
}

fn push_label(wire: &mut Vec<u8>, label: &[u8]) {
    wire.push(u8::try_from(label.len()).unwrap_or_default());
    wire.extend_from_slice(label);
}

impl FromStr for Name {
    type Err = NameError;

    /// Reads a host or domain name: letters, digits, `-` and `_`, with or without the final dot.
    fn from_str(text: &str) -> Result<Self, NameError> {
        let mut wire = Vec::with_capacity(text.len() + 2);
        for label in text.strip_suffix('.').unwrap_or(text).split('.') {
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
            let is_label = !label.is_empty() && label.len() <= Self::LABEL_MAX;
            if !is_label || !label.bytes().all(is_plain) {
                return Err(NameError);
            }
            push_label(&mut wire, label.to_ascii_lowercase().as_bytes());
        }
        wire.push(0);
        if wire.len() > Self::LEN_MAX { Err(NameError) } else { Ok(Self(wire)) }
    }
}

/// Prints the labels with dots, other bytes than letters, digits, `-` and `_` as `\DDD` (RFC 1035, 5.1).
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0.as_slice();
        let mut is_first = true;
        while let Some((&len, tail)) = rest.split_first().filter(|(len, _)| **len != 0) {
            let (label, tail) = tail.split_at_checked(usize::from(len)).unwrap_or((tail, &[]));
            if !is_first {
                f.write_str(".")?;
            }
            for &byte in label {
                if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') {
                    write!(f, "{}", char::from(byte))?;
                } else {
                    write!(f, "\\{byte:03}")?;
                }
            }
            (rest, is_first) = (tail, false);
        }
        if is_first { f.write_str(".") } else { Ok(()) }
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is no domain name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameError;

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "write a name as host.example.net: labels of 1 to 63 letters, digits, '-' and '_', at most \
             253 bytes",
        )
    }
}

impl core::error::Error for NameError {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::{String, ToString};

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    #[test]
    fn names_have_limits() {
        assert_eq!(name(&"a".repeat(63)).as_wire().len(), 65);
        assert!("a".repeat(64).parse::<Name>().is_err());
        let longest = ["a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(61)].join(".");
        assert_eq!((longest.len(), name(&longest).as_wire().len()), (253, 255));
        assert!(longest.replacen('d', "dd", 1).parse::<Name>().is_err());
        for text in ["", ".", "a b", ".a", "a..b", "ä", "a\0"] {
            assert_eq!(text.parse::<Name>(), Err(NameError), "{text}");
        }
    }

    #[test]
    fn addresses_have_reverse_names() {
        let four = Name::reverse([10, 0, 2, 254].into());
        assert_eq!(four.to_string(), "254.2.0.10.in-addr.arpa");
        let six = Name::reverse("fd00::2:1f".parse().unwrap()).to_string();
        let zeros: String = "0.".repeat(20);
        assert_eq!(six, std::format!("f.1.0.0.2.0.0.0.{zeros}0.0.d.f.ip6.arpa"));
    }

    #[test]
    fn a_zone_is_found_at_the_borders_of_labels() {
        let zone = name("adit.internal");
        assert_eq!(name("host.adit.internal").offset_of(&zone), Some(5));
        assert_eq!(zone.offset_of(&zone), Some(0));
        assert_eq!(name("xadit.internal").offset_of(&zone), None);
        assert_eq!(name("internal").offset_of(&zone), None);
        assert_eq!(Name::from_wire(b"\x01\xff\0").to_string(), "\\255");
        assert_eq!(Name::from_wire(b"\0").to_string(), ".");
    }
}
