//! A range of addresses.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::str::FromStr;

/// All addresses that begin with the same bits: `10.0.0.0/8`, `2001:db8::/32`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    address: IpAddr,
    len: u8,
}

impl Prefix {
    /// The prefix of `address` that is `len` bits long, the bits behind it set to 0; `None` if `len` is
    /// more than the address has.
    #[must_use]
    pub fn new(address: IpAddr, len: u8) -> Option<Self> {
        let address = match address {
            IpAddr::V4(address) if len <= 32 => {
                Ipv4Addr::from_bits(address.to_bits() & mask32(len)).into()
            }
            IpAddr::V6(address) if len <= 128 => {
                Ipv6Addr::from_bits(address.to_bits() & mask128(len)).into()
            }
            _ => return None,
        };
        Some(Self { address, len })
    }

    /// Its first address.
    #[must_use]
    pub const fn address(&self) -> IpAddr {
        self.address
    }

    /// How many bits are the same.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "the length of a prefix, not of a container")]
    pub const fn len(&self) -> u8 {
        self.len
    }

    /// Whether the address is one of them.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        Self::new(address, self.len).is_some_and(|prefix| prefix == *self)
    }
}

/// The bits of an IPv4 address that a prefix of `len` has.
pub(super) fn mask32(len: u8) -> u32 {
    u32::MAX.checked_shl(32_u32.saturating_sub(len.into())).unwrap_or_default()
}

/// The bits of an IPv6 address that a prefix of `len` has.
pub(super) fn mask128(len: u8) -> u128 {
    u128::MAX.checked_shl(128_u32.saturating_sub(len.into())).unwrap_or_default()
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.len)
    }
}

/// An address with or without a length; without, it is that one address.
impl FromStr for Prefix {
    type Err = ParsePrefixError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (address, len) = match text.split_once('/') {
            Some((address, len)) => (address, Some(len)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| ParsePrefixError)?;
        let len = match len {
            Some(len) if len.bytes().all(|byte| byte.is_ascii_digit()) => {
                len.parse().map_err(|_| ParsePrefixError)?
            }
            Some(_) => return Err(ParsePrefixError),
            None if address.is_ipv4() => 32,
            None => 128,
        };
        Self::new(address, len).ok_or(ParsePrefixError)
    }
}

/// Text that is no address with a length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParsePrefixError;

impl fmt::Display for ParsePrefixError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no prefix: wanted an address and a length, as in 10.0.0.0/8 or 2001:db8::/32")
    }
}

impl core::error::Error for ParsePrefixError {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn text_both_ways() {
        for (text, prints) in [
            ("10.1.2.3/8", "10.0.0.0/8"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("::/0", "::/0"),
            ("192.0.2.1", "192.0.2.1/32"),
            ("2001:db8::1", "2001:db8::1/128"),
            ("2001:db8:ffff::1/33", "2001:db8:8000::/33"),
        ] {
            assert_eq!(text.parse::<Prefix>().unwrap().to_string(), prints);
        }
        for text in
            ["", "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/+8", "10/8", "x/1", "::/1/1"]
        {
            assert_eq!(text.parse::<Prefix>(), Err(ParsePrefixError), "{text}");
        }
    }

    #[test]
    fn what_is_in_it() {
        let prefix: Prefix = "10.0.0.0/9".parse().unwrap();
        assert!(prefix.contains("10.127.255.255".parse().unwrap()));
        assert!(!prefix.contains("10.128.0.0".parse().unwrap()));
        assert!(!prefix.contains("::10.0.0.0".parse().unwrap()));
    }
}
