//! An IP address with a prefix length: `192.0.2.1/24`.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::str::FromStr;

/// An address family: IPv4 or IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IpFamily {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl IpFamily {
    /// The family of an address.
    #[must_use]
    pub const fn of(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// The length of an address in bits: 32 or 128.
    #[must_use]
    pub const fn bits(self) -> u8 {
        match self {
            Self::V4 => 32,
            Self::V6 => 128,
        }
    }
}

/// An IP address with a prefix length of 0 to 32 or 128 bits: `192.0.2.1/24`.
///
/// It keeps all bits of the address, so it names a host in a network as well as a network.
/// [`network`](Self::network) clears the host bits; [`parse_network`](Self::parse_network) refuses
/// text in which they are set. Two prefixes are equal if all their bits are, host bits included.
///
/// ```
/// use adit_packet::IpPrefix;
///
/// let address: IpPrefix = "192.0.2.1/24".parse()?;
/// assert_eq!(address.network().to_string(), "192.0.2.0/24");
/// assert!(address.contains("192.0.2.77".parse().unwrap()));
/// # Ok::<(), adit_packet::PrefixError>(())
/// ```
///
/// Source: RFC 4632, section 3.1; RFC 4291, section 2.3.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IpPrefix {
    ip: IpAddr,
    len: u8,
}

impl IpPrefix {
    /// `0.0.0.0/0`: all of IPv4.
    pub const ALL_V4: Self = Self { ip: IpAddr::V4(Ipv4Addr::UNSPECIFIED), len: 0 };

    /// `::/0`: all of IPv6.
    pub const ALL_V6: Self = Self { ip: IpAddr::V6(Ipv6Addr::UNSPECIFIED), len: 0 };

    /// `ip` with a prefix of `len` bits.
    ///
    /// # Errors
    ///
    /// [`PrefixError::Length`] if `len` is over 32 (IPv4) or 128 (IPv6).
    pub const fn new(ip: IpAddr, len: u8) -> Result<Self, PrefixError> {
        let max = IpFamily::of(ip).bits();
        if len > max { Err(PrefixError::Length { len, max }) } else { Ok(Self { ip, len }) }
    }

    /// The single address `ip`: a prefix of 32 or 128 bits.
    #[must_use]
    pub const fn host(ip: IpAddr) -> Self {
        Self { ip, len: IpFamily::of(ip).bits() }
    }

    /// Reads a network: as [`FromStr`], but the bits after the prefix must be zero.
    ///
    /// # Errors
    ///
    /// [`PrefixError`]; [`PrefixError::HostBits`] names the network that was probably meant.
    pub fn parse_network(text: &str) -> Result<Self, PrefixError> {
        let prefix: Self = text.parse()?;
        if prefix.is_network() { Ok(prefix) } else { Err(PrefixError::HostBits { prefix }) }
    }

    /// The address, with its host bits.
    #[must_use]
    pub const fn ip(self) -> IpAddr {
        self.ip
    }

    /// The length of the prefix in bits.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "the length of a prefix, not of a collection")]
    pub const fn len(self) -> u8 {
        self.len
    }

    /// IPv4 or IPv6.
    #[must_use]
    pub const fn family(self) -> IpFamily {
        IpFamily::of(self.ip)
    }

    /// The network: the same prefix with all host bits zero.
    #[must_use]
    pub const fn network(self) -> Self {
        let ip = match self.ip {
            IpAddr::V4(ip) => IpAddr::V4(Ipv4Addr::from_bits(ip.to_bits() & mask_v4(self.len))),
            IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & mask_v6(self.len))),
        };
        Self { ip, len: self.len }
    }

    /// Whether all host bits are zero.
    #[must_use]
    pub fn is_network(self) -> bool {
        self == self.network()
    }

    /// Whether `ip` is in the network. Addresses of the other family never are.
    #[must_use]
    pub const fn contains(self, ip: IpAddr) -> bool {
        match (self.ip, ip) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
                (ours.to_bits() ^ theirs.to_bits()) & mask_v4(self.len) == 0
            }
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => {
                (ours.to_bits() ^ theirs.to_bits()) & mask_v6(self.len) == 0
            }
            _ => false,
        }
    }
}

/// The first `len` of 32 bits; all of them for a greater `len`.
#[must_use]
pub const fn mask_v4(len: u8) -> u32 {
    // A shift by 32, for /0, overflows: the mask is then 0.
    match u32::MAX.checked_shl(32_u32.saturating_sub(len as u32)) {
        Some(mask) => mask,
        None => 0,
    }
}

/// The first `len` of 128 bits; all of them for a greater `len`.
#[must_use]
pub const fn mask_v6(len: u8) -> u128 {
    match u128::MAX.checked_shl(128_u32.saturating_sub(len as u32)) {
        Some(mask) => mask,
        None => 0,
    }
}

impl fmt::Display for IpPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&alloc::format!("{}/{}", self.ip, self.len))
    }
}

impl fmt::Debug for IpPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<IpAddr> for IpPrefix {
    fn from(ip: IpAddr) -> Self {
        Self::host(ip)
    }
}

impl FromStr for IpPrefix {
    type Err = PrefixError;

    /// Reads `192.0.2.1/24` or `2001:db8::/32`; an address without a length gets all its bits.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (ip, len) = match text.split_once('/') {
            Some((ip, len)) => (ip, Some(len)),
            None => (text, None),
        };
        let ip = ip.parse().map_err(|_| PrefixError::Syntax)?;
        match len {
            None => Ok(Self::host(ip)),
            // u8's own parser would take a sign.
            Some(len) if len.bytes().all(|byte| byte.is_ascii_digit()) => {
                Self::new(ip, len.parse().map_err(|_| PrefixError::Syntax)?)
            }
            Some(_) => Err(PrefixError::Syntax),
        }
    }
}

/// Why a text or a length is not a valid [`IpPrefix`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PrefixError {
    /// The address is invalid, or the length is not a number up to 255.
    Syntax,
    /// The length exceeds that of the address.
    Length {
        /// The length that was given.
        len: u8,
        /// The maximum of the family: 32 or 128.
        max: u8,
    },
    /// Bits after the prefix are set where a network is needed.
    HostBits {
        /// The address that was given.
        prefix: IpPrefix,
    },
}

impl fmt::Display for PrefixError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax => f.write_str(
                "write an address and a prefix length, as 192.0.2.1/24 or 2001:db8::/32",
            ),
            Self::Length { len, max } => {
                write!(f, "the prefix length {len} is over {max}, the bits of the address")
            }
            Self::HostBits { prefix } => {
                write!(f, "{prefix} is a host in a network; did you mean {}?", prefix.network())
            }
        }
    }
}

impl core::error::Error for PrefixError {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, proptest};
    use std::string::ToString;

    fn prefix(text: &str) -> IpPrefix {
        text.parse().unwrap()
    }

    #[test]
    fn text_both_ways() {
        for text in ["192.0.2.1/24", "0.0.0.0/0", "2001:db8::1/64", "::/0", "fe80::1/128"] {
            assert_eq!(prefix(text).to_string(), text);
        }
        assert_eq!(prefix("192.0.2.1").to_string(), "192.0.2.1/32");
        assert_eq!(prefix("2001:db8::1").to_string(), "2001:db8::1/128");
        assert_eq!(std::format!("{:>12}|", prefix("10.0.0.0/8")), "  10.0.0.0/8|");
        for text in [
            "",
            "/",
            "/24",
            "10/8",
            "::/ 8",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "10.0.0.0/256",
            "x/1",
            "::/1/1",
        ] {
            assert_eq!(text.parse::<IpPrefix>(), Err(PrefixError::Syntax), "{text}");
        }
        let error = "192.0.2.1/33".parse::<IpPrefix>().unwrap_err();
        assert_eq!(error, PrefixError::Length { len: 33, max: 32 });
        assert!("::/129".parse::<IpPrefix>().is_err());
    }

    #[test]
    fn a_network_has_no_host_bits() {
        for (text, network) in [
            ("10.1.2.3/8", "10.0.0.0/8"),
            ("192.0.2.1/32", "192.0.2.1/32"),
            ("192.0.2.1/0", "0.0.0.0/0"),
            ("2001:db8:ffff::1/33", "2001:db8:8000::/33"),
        ] {
            assert_eq!(prefix(text).network(), prefix(network));
            assert_eq!(IpPrefix::parse_network(network), Ok(prefix(network)));
        }
        let error = IpPrefix::parse_network("10.1.2.3/8").unwrap_err();
        assert_eq!(
            error.to_string(),
            "10.1.2.3/8 is a host in a network; did you mean 10.0.0.0/8?"
        );
    }

    #[test]
    fn the_families_are_apart() {
        assert!(IpPrefix::ALL_V4.contains([255; 4].into()));
        assert!(!IpPrefix::ALL_V4.contains([0_u16; 8].into()));
        assert!(!prefix("10.0.0.0/9").contains("10.128.0.0".parse().unwrap()));
        assert!(prefix("10.0.0.0/9").contains("10.127.255.255".parse().unwrap()));
    }

    proptest! {
        #[test]
        fn printed_text_is_read_back(ip: IpAddr, len in 0..=128_u8) {
            let len = len.min(IpFamily::of(ip).bits());
            let prefix = IpPrefix::new(ip, len).unwrap();
            assert_eq!(prefix.to_string().parse(), Ok(prefix));
        }

        #[test]
        fn an_address_is_in_a_network_if_its_own_network_is_the_same(
            ours in any::<u128>(), flipped in 0..128_u32, len in 0..=128_u8, v4: bool,
        ) {
            let theirs = ours ^ (1 << flipped);
            let ip = |bits: u128| match v4 {
                true => IpAddr::V4(Ipv4Addr::from_bits((bits >> 96) as u32)),
                false => IpAddr::V6(Ipv6Addr::from_bits(bits)),
            };
            let len = len.min(IpFamily::of(ip(ours)).bits());
            let new = |bits| IpPrefix::new(ip(bits), len).unwrap();
            let same = new(ours).network() == new(theirs).network();
            assert_eq!(new(ours).contains(ip(theirs)), same);
        }
    }
}
