//! Addresses of links.

use super::Netlink;
use super::family;
use super::flags::words;
use super::message::{Message, Request, attributes, read_ip, read_string, read_u32, split};
use super::uapi::{
    AF_UNSPEC, IFA_ADDRESS, IFA_BROADCAST, IFA_CACHEINFO, IFA_FLAGS, IFA_LABEL, IFA_LOCAL,
    RTM_DELADDR, RTM_GETADDR, RTM_NEWADDR,
};
use crate::IfIndex;
use crate::{wire_as, wire_structs};
use adit_packet::{IpFamily, IpPrefix, PrefixError};
use netlink_packet_core::{NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REPLACE};
use std::ffi::OsString;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::time::Duration;

words! {
    /// The scope of an address or a route: `RT_SCOPE_*` of `linux/rtnetlink.h`.
    Scope {
        /// Global.
        Global = 0 "global",
        /// The site (IPv6, deprecated).
        Site = 200 "site",
        /// The link.
        Link = 253 "link",
        /// This host.
        Host = 254 "host",
        /// Nowhere.
        Nowhere = 255 "nowhere",
    }
}

bitflags::bitflags! {
    /// The flags of an address: `IFA_F_*` of `linux/if_addr.h`. Bits not named here are kept.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct AddressFlags: u32 {
        /// A further address in the same network (IPv4), or a temporary one (IPv6, RFC 8981).
        const SECONDARY = 0x01;
        /// Without duplicate address detection: usable at once (IPv6).
        const NODAD = 0x02;
        /// Usable while duplicate address detection runs (RFC 4429).
        const OPTIMISTIC = 0x04;
        /// Duplicate: another host has it.
        const DADFAILED = 0x08;
        /// A mobile node's home address (RFC 6275).
        const HOMEADDRESS = 0x10;
        /// Past its preferred lifetime.
        const DEPRECATED = 0x20;
        /// Tentative: duplicate address detection runs, the address is not usable yet.
        const TENTATIVE = 0x40;
        /// Without an expiry time.
        const PERMANENT = 0x80;
        /// Temporary addresses are derived from it.
        const MANAGETEMPADDR = 0x100;
        /// The kernel adds no route to its network.
        const NOPREFIXROUTE = 0x200;
        /// The kernel joins its multicast group.
        const MCAUTOJOIN = 0x400;
        /// Derived from a secret (RFC 7217).
        const STABLE_PRIVACY = 0x800;
        const _ = !0;
    }
}

impl AddressFlags {
    /// The flags that may be set. IPv4 supports NOPREFIXROUTE and MCAUTOJOIN only.
    pub const SETTABLE: Self = Self::NODAD
        .union(Self::OPTIMISTIC)
        .union(Self::HOMEADDRESS)
        .union(Self::MANAGETEMPADDR)
        .union(Self::NOPREFIXROUTE)
        .union(Self::MCAUTOJOIN);
}

/// An address of a link, existing or wanted. Minor versions may add fields: end a literal with
/// `..Address::new(prefix)`.
///
/// ```
/// use adit_device::netlink::{Address, AddressFlags};
/// let address = Address {
///     flags: AddressFlags::NODAD,
///     ..Address::new("2001:db8::1/64".parse().unwrap())
/// };
/// assert_eq!(address.local.to_string(), "2001:db8::1/64");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The host's own address. With a peer, the prefix length is that of the peer's network.
    pub local: IpPrefix,
    /// The address at the other end of a point-to-point link, of the same family.
    pub peer: Option<IpAddr>,
    /// The broadcast address; the kernel does not compute one.
    pub broadcast: Option<Ipv4Addr>,
    /// Its scope; IPv6 derives it from the address.
    pub scope: Scope,
    /// The label that old programs show (IPv4): the link's name, or that name, a colon and more, up
    /// to 15 bytes. `None` requests the link's name.
    pub label: Option<OsString>,
    /// Its flags. Only [`AddressFlags::SETTABLE`] are sent to the kernel, which sets the others.
    pub flags: AddressFlags,
    /// How long it is valid, in whole seconds; `None` is forever.
    pub valid_lifetime: Option<Duration>,
    /// How long it is preferred for new connections, at most its validity; `None` is forever.
    pub preferred_lifetime: Option<Duration>,
}

impl Address {
    /// A permanent address without a peer. Its scope is host for loopback addresses, otherwise
    /// global.
    #[must_use]
    pub fn new(local: IpPrefix) -> Self {
        Self {
            local,
            peer: None,
            broadcast: None,
            scope: if local.ip().is_loopback() { Scope::Host } else { Scope::Global },
            label: None,
            flags: AddressFlags::empty(),
            valid_lifetime: None,
            preferred_lifetime: None,
        }
    }
}

impl std::str::FromStr for Address {
    type Err = PrefixError;

    /// As [`Address::new`] of the prefix in the text: `192.0.2.1/24`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self::new)
    }
}

impl Netlink {
    /// The IPv4 and IPv6 addresses of one link, or of all links of the namespace.
    ///
    /// # Errors
    /// ETIMEDOUT if the kernel does not answer; ENODEV if the link does not exist.
    pub fn addresses(&mut self, link: Option<IfIndex>) -> io::Result<Vec<(IfIndex, Address)>> {
        let mut request = Request::new(RTM_GETADDR, NLM_F_DUMP, &header(AF_UNSPEC, 0, 0, link));
        // A kernel without strict checking returns those of all links.
        self.list(&mut request, |message| {
            new_address(message).filter(|(index, _)| link.is_none_or(|link| link == *index))
        })
    }

    /// Adds an address to a link.
    ///
    /// # Errors
    /// EEXIST if it has the address; EINVAL; ENODEV; EPERM; EACCES for IPv6 where it is disabled.
    pub fn add_address(&mut self, link: IfIndex, address: &Address) -> io::Result<()> {
        self.change(&mut request(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, link, address))
    }

    /// Adds an address to a link, or changes lifetimes and flags of the existing one.
    ///
    /// # Errors
    /// As [`Netlink::add_address`], except EEXIST.
    pub fn replace_address(&mut self, link: IfIndex, address: &Address) -> io::Result<()> {
        self.change(&mut request(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, link, address))
    }

    /// Deletes the address of a link that has this address, prefix length, peer and label.
    ///
    /// # Errors
    /// EADDRNOTAVAIL if there is none; ENODEV; EPERM.
    pub fn delete_address(&mut self, link: IfIndex, address: &Address) -> io::Result<()> {
        self.change(&mut request(RTM_DELADDR, 0, link, address))
    }
}

/// `struct ifaddrmsg` of `linux/if_addr.h`.
///
/// ```text
/// | family u8 | prefix length u8 | flags u8 | scope u8 | index u32 |
/// ```
fn header(family: u8, prefix_len: u8, scope: u8, link: Option<IfIndex>) -> [u8; 8] {
    let [i0, i1, i2, i3] = link.map_or(0, IfIndex::get).to_ne_bytes();
    [family, prefix_len, 0, scope, i0, i1, i2, i3]
}

fn request(kind: u16, flags: u16, link: IfIndex, address: &Address) -> Request {
    let local = address.local;
    let header =
        header(family::number(local.family()), local.len(), address.scope.number(), Some(link));
    let mut request = Request::new(kind, flags, &header);
    request.ip(IFA_LOCAL, local.ip()).ip(IFA_ADDRESS, address.peer.unwrap_or(local.ip()));
    if let Some(broadcast) = address.broadcast {
        request.ip(IFA_BROADCAST, broadcast.into());
    }
    if let Some(label) = &address.label {
        request.string(IFA_LABEL, label.as_bytes());
    }
    let flags = address.flags & AddressFlags::SETTABLE;
    if !flags.is_empty() {
        request.u32(IFA_FLAGS, flags.bits());
    }
    if kind == RTM_NEWADDR {
        // struct ifa_cacheinfo: preferred, valid, and two time stamps that the kernel sets.
        let mut lifetimes = [0; 16];
        lifetimes[..4].copy_from_slice(&seconds(address.preferred_lifetime).to_ne_bytes());
        lifetimes[4..8].copy_from_slice(&seconds(address.valid_lifetime).to_ne_bytes());
        request.attribute(IFA_CACHEINFO, &lifetimes);
    }
    request
}

/// The kernel's value for "forever".
const FOR_EVER: u32 = u32::MAX;

fn seconds(lifetime: Option<Duration>) -> u32 {
    lifetime.map_or(FOR_EVER, |time| {
        u32::try_from(time.as_secs()).unwrap_or(FOR_EVER).min(FOR_EVER - 1)
    })
}

fn lifetime(seconds: u32) -> Option<Duration> {
    (seconds != FOR_EVER).then(|| Duration::from_secs(seconds.into()))
}

fn new_address(message: &Message<'_>) -> Option<(IfIndex, Address)> {
    if message.kind == RTM_NEWADDR { decode(message.body) } else { None }
}

/// Reads the body of an RTM_NEWADDR or RTM_DELADDR; `None` if it is malformed or of another family.
pub(super) fn decode(body: &[u8]) -> Option<(IfIndex, Address)> {
    let (header, rest) = split::<8>(body)?;
    let [family, prefix_len, flags, scope, i0, i1, i2, i3] = *header;
    let family = family::from_number(family)?;
    let index = IfIndex::new(u32::from_ne_bytes([i0, i1, i2, i3]))?;
    let (mut local, mut remote) = (None, None);
    let mut address = Address {
        scope: scope.into(),
        flags: AddressFlags::from_bits_retain(flags.into()),
        ..Address::new(IpPrefix::ALL_V4)
    };
    let ip = |value| read_ip(value).filter(|ip| IpFamily::of(*ip) == family);
    for (kind, value) in attributes(rest) {
        match kind {
            IFA_LOCAL => local = ip(value),
            IFA_ADDRESS => remote = ip(value),
            IFA_BROADCAST => {
                if let Some(IpAddr::V4(broadcast)) = ip(value) {
                    address.broadcast = Some(broadcast);
                }
            }
            IFA_LABEL => address.label = Some(OsString::from_vec(read_string(value).to_vec())),
            IFA_FLAGS => {
                let flags = read_u32(value).unwrap_or(flags.into());
                address.flags = AddressFlags::from_bits_retain(flags);
            }
            IFA_CACHEINFO => {
                if let Some((lifetimes, _)) = split::<8>(value) {
                    address.preferred_lifetime = read_u32(&lifetimes[..4]).and_then(lifetime);
                    address.valid_lifetime = read_u32(&lifetimes[4..]).and_then(lifetime);
                }
            }
            _ => {}
        }
    }
    // The kernel omits IFA_LOCAL for an IPv6 address without a peer.
    let own = local.or(remote)?;
    address.local = IpPrefix::new(own, prefix_len).ok()?;
    address.peer = remote.filter(|peer| *peer != own);
    Some((index, address))
}

wire_as! { AddressFlags as u32: |flags| flags.bits(), |bits| Some(Self::from_bits_retain(bits)); }
wire_as! { Scope as u8: |scope| scope.number(), |number| Some(number.into()); }
wire_structs! {
    Address { local, peer, broadcast, scope, label, flags, valid_lifetime, preferred_lifetime }
}
