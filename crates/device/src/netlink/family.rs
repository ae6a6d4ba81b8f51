//! The kernel's numbers of the address families.

use super::uapi;
use adit_packet::IpFamily;

/// `AF_INET` or `AF_INET6`.
pub(super) const fn number(family: IpFamily) -> u8 {
    match family {
        IpFamily::V4 => uapi::AF_INET,
        IpFamily::V6 => uapi::AF_INET6,
    }
}

/// The family with that number; `None` for all but IPv4 and IPv6.
pub(super) const fn from_number(number: u8) -> Option<IpFamily> {
    match number {
        uapi::AF_INET => Some(IpFamily::V4),
        uapi::AF_INET6 => Some(IpFamily::V6),
        _ => None,
    }
}
