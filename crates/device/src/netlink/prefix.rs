//! An IP address and how many of its bits are the network's.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// IPv4 or IPv6.
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

    /// How many bits its addresses have.
    #[must_use]
    pub const fn bits(self) -> u8 {
        match self {
            Self::V4 => 32,
            Self::V6 => 128,
        }
    }

    /// The kernel's number.
    pub(super) const fn number(self) -> u8 {
        match self {
            Self::V4 => super::uapi::AF_INET,
            Self::V6 => super::uapi::AF_INET6,
        }
    }

    pub(super) const fn from_number(number: u8) -> Option<Self> {
        match number {
            super::uapi::AF_INET => Some(Self::V4),
            super::uapi::AF_INET6 => Some(Self::V6),
            _ => None,
        }
    }
}

/// An address with the length of its network's prefix, `192.0.2.1/24`: a host in a network, or, if
/// the other bits are zero, the network itself.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IpPrefix {
    ip: IpAddr,
    len: u8,
}

impl IpPrefix {
    /// `0.0.0.0/0`: where every IPv4 address is.
    pub const ALL_V4: Self = Self { ip: IpAddr::V4(Ipv4Addr::UNSPECIFIED), len: 0 };

    /// `::/0`: where every IPv6 address is.
    pub const ALL_V6: Self = Self { ip: IpAddr::V6(Ipv6Addr::UNSPECIFIED), len: 0 };

    /// `ip` with a prefix of `len` bits.
    ///
    /// # Errors
    /// [`PrefixError::Length`] if `len` is over 32 (IPv4) or 128 (IPv6).
    pub const fn new(ip: IpAddr, len: u8) -> Result<Self, PrefixError> {
        if len > IpFamily::of(ip).bits() {
            return Err(PrefixError::Length { len, max: IpFamily::of(ip).bits() });
        }
        Ok(Self { ip, len })
    }

    /// `ip` alone: a prefix of all its bits.
    #[must_use]
    pub const fn host(ip: IpAddr) -> Self {
        Self { ip, len: IpFamily::of(ip).bits() }
    }

    /// The address, all of its bits.
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

    /// The network: the same prefix, all other bits zero.
    #[must_use]
    pub fn network(self) -> Self {
        let ip = match self.ip {
            IpAddr::V4(ip) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.len)).unwrap_or(0);
                Ipv4Addr::from_bits(ip.to_bits() & mask).into()
            }
            IpAddr::V6(ip) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.len)).unwrap_or(0);
                Ipv6Addr::from_bits(ip.to_bits() & mask).into()
            }
        };
        Self { ip, len: self.len }
    }

    /// Whether `ip` is in the network.
    #[must_use]
    pub fn contains(self, ip: IpAddr) -> bool {
        IpFamily::of(ip) == self.family() && Self { ip, len: self.len }.network() == self.network()
    }
}

impl fmt::Display for IpPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}/{}", self.ip, self.len))
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

    /// Reads `192.0.2.1/24`, `2001:db8::/32`, or an address alone, which is all prefix.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (ip, len) = match text.split_once('/') {
            Some((ip, len)) => (ip, Some(len)),
            None => (text, None),
        };
        let ip = ip.parse().map_err(|_| PrefixError::Syntax)?;
        match len {
            None => Ok(Self::host(ip)),
            Some(len) if len.bytes().all(|byte| byte.is_ascii_digit()) => {
                Self::new(ip, len.parse().map_err(|_| PrefixError::Syntax)?)
            }
            Some(_) => Err(PrefixError::Syntax),
        }
    }
}

/// Why something is no [`IpPrefix`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PrefixError {
    /// Not an address, or what follows the slash is no number up to 255.
    Syntax,
    /// The prefix is longer than the address.
    Length {
        /// The length that was asked for.
        len: u8,
        /// The greatest that the family has.
        max: u8,
    },
}

impl fmt::Display for PrefixError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax => {
                f.write_str("an address with a prefix length is written as 192.0.2.1/24")
            }
            Self::Length { len, max } => {
                write!(f, "the prefix length {len} is over {max}, the bits of the address")
            }
        }
    }
}

impl std::error::Error for PrefixError {}
