//! Creating, changing and deleting links.

use super::Netlink;
use super::flags::{AddrGenMode, LinkFlags};
use super::link::header;
use super::message::Request;
use super::uapi::{
    AF_INET6, IFLA_ADDRESS, IFLA_AF_SPEC, IFLA_ALT_IFNAME, IFLA_CARRIER, IFLA_GROUP,
    IFLA_GSO_MAX_SIZE, IFLA_IFALIAS, IFLA_IFNAME, IFLA_INET6_ADDR_GEN_MODE, IFLA_INFO_DATA,
    IFLA_INFO_KIND, IFLA_LINKINFO, IFLA_MASTER, IFLA_MTU, IFLA_NET_NS_FD, IFLA_PROP_LIST,
    IFLA_TXQLEN, RTM_DELLINK, RTM_DELLINKPROP, RTM_NEWLINK, RTM_NEWLINKPROP, VETH_INFO_PEER,
};
use crate::{IfIndex, IfName, MacAddr, Netns};
use netlink_packet_core::{NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;

/// The changes for [`Netlink::set_link`]; everything not set stays as it is.
///
/// ```no_run
/// use adit_device::netlink::{LinkChange, Netlink};
/// let mut netlink = Netlink::open()?;
/// let link = netlink.link_by_name(&"tun0".parse()?)?;
/// netlink.set_link(link.index, &LinkChange::new().mtu(1400).up(true))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "a change takes place only in `Netlink::set_link`"]
pub struct LinkChange<'a> {
    name: Option<IfName>,
    mtu: Option<u32>,
    txqueuelen: Option<u32>,
    gso_max_size: Option<u32>,
    up: Option<bool>,
    address: Option<MacAddr>,
    alias: Option<OsString>,
    master: Option<Option<IfIndex>>,
    carrier: Option<bool>,
    group: Option<u32>,
    addr_gen_mode: Option<AddrGenMode>,
    netns: Option<BorrowedFd<'a>>,
}

impl<'a> LinkChange<'a> {
    /// No change yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Renames the link. EEXIST if the name is taken; EBUSY on kernels before 6.2 while the link is
    /// up.
    pub fn name(mut self, name: IfName) -> Self {
        self.name = Some(name);
        self
    }

    /// Sets the IP MTU in bytes. EINVAL outside of the link's own limits.
    pub fn mtu(mut self, mtu: u32) -> Self {
        self.mtu = Some(mtu);
        self
    }

    /// Sets the length of the transmit queue in packets.
    pub fn txqueuelen(mut self, packets: u32) -> Self {
        self.txqueuelen = Some(packets);
        self
    }

    /// Sets the maximum length in bytes of the super-packets that the stack builds for the link.
    /// EINVAL above the driver's maximum.
    pub fn gso_max_size(mut self, bytes: u32) -> Self {
        self.gso_max_size = Some(bytes);
        self
    }

    /// Sets the link up or down.
    pub fn up(mut self, up: bool) -> Self {
        self.up = Some(up);
        self
    }

    /// Sets the hardware address. EADDRNOTAVAIL if it is a group address or zero; EOPNOTSUPP on TUN.
    pub fn address(mut self, address: MacAddr) -> Self {
        self.address = Some(address);
        self
    }

    /// Sets the description, up to 255 bytes; an empty one removes it.
    pub fn alias(mut self, alias: impl AsRef<OsStr>) -> Self {
        self.alias = Some(alias.as_ref().to_owned());
        self
    }

    /// Makes the link a port of a bridge, bond or VRF.
    pub fn master(mut self, master: IfIndex) -> Self {
        self.master = Some(Some(master));
        self
    }

    /// Removes the link from its master.
    pub fn no_master(mut self) -> Self {
        self.master = Some(None);
        self
    }

    /// Turns the carrier on or off. EINVAL while the link is down; EOPNOTSUPP if the driver does
    /// not support it.
    pub fn carrier(mut self, carrier: bool) -> Self {
        self.carrier = Some(carrier);
        self
    }

    /// Puts the link into a group, for `ip link set group`.
    pub fn group(mut self, group: u32) -> Self {
        self.group = Some(group);
        self
    }

    /// Sets how the kernel generates the link's IPv6 link-local address. EAFNOSUPPORT without IPv6.
    pub fn addr_gen_mode(mut self, mode: AddrGenMode) -> Self {
        self.addr_gen_mode = Some(mode);
        self
    }

    /// Moves the link to another network namespace, where it may get another index. It goes down
    /// and loses its addresses. EEXIST if its name is taken there.
    pub fn netns(mut self, netns: &'a Netns) -> Self {
        self.netns = Some(netns.as_fd());
        self
    }

    fn request(&self, index: IfIndex) -> Request {
        let (flags, change) = match self.up {
            None => (LinkFlags::empty(), LinkFlags::empty()),
            Some(true) => (LinkFlags::UP, LinkFlags::UP),
            Some(false) => (LinkFlags::empty(), LinkFlags::UP),
        };
        let mut request = Request::new(RTM_NEWLINK, 0, &header(Some(index), flags, change));
        if let Some(name) = &self.name {
            request.string(IFLA_IFNAME, name.as_bytes());
        }
        let numbers = [
            (IFLA_MTU, self.mtu),
            (IFLA_TXQLEN, self.txqueuelen),
            (IFLA_GSO_MAX_SIZE, self.gso_max_size),
            (IFLA_GROUP, self.group),
            (IFLA_MASTER, self.master.map(|master| master.map_or(0, IfIndex::get))),
        ];
        for (kind, number) in numbers {
            if let Some(number) = number {
                request.u32(kind, number);
            }
        }
        if let Some(address) = self.address {
            request.attribute(IFLA_ADDRESS, &address.0);
        }
        if let Some(alias) = &self.alias {
            // Without NUL: the kernel counts a NUL as part of the alias. An empty value removes the
            // alias.
            request.attribute(IFLA_IFALIAS, alias.as_bytes());
        }
        if let Some(carrier) = self.carrier {
            request.attribute(IFLA_CARRIER, &[u8::from(carrier)]);
        }
        if let Some(mode) = self.addr_gen_mode {
            request.nested(IFLA_AF_SPEC, |spec| {
                spec.nested(u16::from(AF_INET6), |inet6| {
                    inet6.attribute(IFLA_INET6_ADDR_GEN_MODE, &[mode.number()]);
                });
            });
        }
        if let Some(netns) = self.netns {
            request.attribute(IFLA_NET_NS_FD, &netns.as_raw_fd().to_ne_bytes());
        }
        request
    }
}

impl Netlink {
    /// Changes a link. The kernel applies the changes in this order and stops at the first failure:
    /// namespace, address, MTU, group, name, alias, master, up or down, carrier, txqueuelen, GSO
    /// size (`do_setlink` in Linux `net/core/rtnetlink.c`). The address generation mode is applied
    /// before them.
    ///
    /// # Errors
    /// ENODEV if the link does not exist, EPERM without `CAP_NET_ADMIN`, and those documented at
    /// the setters of [`LinkChange`].
    pub fn set_link(&mut self, index: IfIndex, change: &LinkChange<'_>) -> io::Result<()> {
        if let (Some(mode), Some(true)) = (change.addr_gen_mode, change.up) {
            // Otherwise the kernel would generate the address, as the link goes up, before the mode
            // is set.
            self.change(&mut LinkChange::new().addr_gen_mode(mode).request(index))?;
        }
        self.change(&mut change.request(index))
    }

    /// Deletes a link.
    ///
    /// # Errors
    /// EOPNOTSUPP for hardware and `lo`; ENODEV if it does not exist; EPERM without
    /// `CAP_NET_ADMIN`.
    pub fn delete_link(&mut self, index: IfIndex) -> io::Result<()> {
        let header = header(Some(index), LinkFlags::empty(), LinkFlags::empty());
        self.change(&mut Request::new(RTM_DELLINK, 0, &header))
    }

    /// Adds an alternative name to a link, up to 127 bytes.
    ///
    /// # Errors
    /// EEXIST if a link of the namespace has the name; ENODEV; EPERM.
    pub fn add_altname(&mut self, index: IfIndex, name: impl AsRef<OsStr>) -> io::Result<()> {
        let flags = NLM_F_CREATE | NLM_F_EXCL | NLM_F_APPEND;
        self.altname(RTM_NEWLINKPROP, flags, index, name.as_ref())
    }

    /// Deletes an alternative name of a link.
    ///
    /// # Errors
    /// ENOENT if the link does not have the name; ENODEV; EPERM.
    pub fn del_altname(&mut self, index: IfIndex, name: impl AsRef<OsStr>) -> io::Result<()> {
        self.altname(RTM_DELLINKPROP, 0, index, name.as_ref())
    }

    /// Creates a bridge and returns its index.
    ///
    /// # Errors
    /// EEXIST if the name is taken; EOPNOTSUPP without the kernel's bridge module; EPERM.
    pub fn add_bridge(&mut self, name: &IfName) -> io::Result<IfIndex> {
        self.add_link(name, |info| {
            info.string(IFLA_INFO_KIND, b"bridge");
        })?;
        Ok(self.link_by_name(name)?.index)
    }

    /// Creates a veth pair and returns the indices of both ends.
    ///
    /// # Errors
    /// EEXIST if a name is taken; EOPNOTSUPP without the kernel's veth module; EPERM.
    pub fn add_veth(&mut self, name: &IfName, peer: &IfName) -> io::Result<(IfIndex, IfIndex)> {
        self.add_veth_pair(name, peer, None)?;
        Ok((self.link_by_name(name)?.index, self.link_by_name(peer)?.index))
    }

    /// Creates a veth pair with its second end, `peer`, in another network namespace.
    ///
    /// # Errors
    /// As [`Netlink::add_veth`].
    pub fn add_veth_into(&mut self, name: &IfName, peer: &IfName, netns: &Netns) -> io::Result<()> {
        self.add_veth_pair(name, peer, Some(netns))
    }

    fn add_veth_pair(
        &mut self,
        name: &IfName,
        peer: &IfName,
        netns: Option<&Netns>,
    ) -> io::Result<()> {
        self.add_link(name, |info| {
            info.string(IFLA_INFO_KIND, b"veth");
            info.nested(IFLA_INFO_DATA, |data| {
                data.nested(VETH_INFO_PEER, |veth| {
                    veth.header(&header(None, LinkFlags::empty(), LinkFlags::empty()));
                    veth.string(IFLA_IFNAME, peer.as_bytes());
                    if let Some(netns) = netns {
                        veth.attribute(IFLA_NET_NS_FD, &netns.as_fd().as_raw_fd().to_ne_bytes());
                    }
                });
            });
        })
    }

    /// Creates a link; `info` writes its kind and attributes.
    fn add_link(&mut self, name: &IfName, info: impl FnOnce(&mut Request)) -> io::Result<()> {
        let header = header(None, LinkFlags::empty(), LinkFlags::empty());
        let mut request = Request::new(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &header);
        request.string(IFLA_IFNAME, name.as_bytes()).nested(IFLA_LINKINFO, info);
        self.change(&mut request)
    }

    fn altname(&mut self, kind: u16, flags: u16, index: IfIndex, name: &OsStr) -> io::Result<()> {
        let header = header(Some(index), LinkFlags::empty(), LinkFlags::empty());
        let mut request = Request::new(kind, flags, &header);
        request.nested(IFLA_PROP_LIST, |list| {
            list.string(IFLA_ALT_IFNAME, name.as_bytes());
        });
        self.change(&mut request)
    }
}
