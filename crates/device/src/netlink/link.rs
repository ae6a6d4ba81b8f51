//! Links, as the kernel reports them.

use super::Netlink;
use super::flags::{AddrGenMode, LinkFlags, LinkMode, OperState};
use super::message::{
    Message, Request, attributes, read_i32, read_string, read_u8, read_u32, split,
};
use super::stats::LinkStats;
use super::tun::TunInfo;
use super::uapi::{
    AF_INET6, AF_UNSPEC, IFLA_ADDRESS, IFLA_AF_SPEC, IFLA_ALLMULTI, IFLA_ALT_IFNAME,
    IFLA_BROADCAST, IFLA_CARRIER, IFLA_EXT_MASK, IFLA_GRO_MAX_SIZE, IFLA_GROUP, IFLA_GSO_MAX_SEGS,
    IFLA_GSO_MAX_SIZE, IFLA_IFALIAS, IFLA_IFNAME, IFLA_INET6_ADDR_GEN_MODE, IFLA_INFO_DATA,
    IFLA_INFO_KIND, IFLA_LINK, IFLA_LINK_NETNSID, IFLA_LINKINFO, IFLA_LINKMODE, IFLA_MASTER,
    IFLA_MAX_MTU, IFLA_MIN_MTU, IFLA_MTU, IFLA_NEW_NETNSID, IFLA_NUM_RX_QUEUES, IFLA_NUM_TX_QUEUES,
    IFLA_OPERSTATE, IFLA_PERM_ADDRESS, IFLA_PROMISCUITY, IFLA_PROP_LIST, IFLA_QDISC, IFLA_STATS64,
    IFLA_TSO_MAX_SEGS, IFLA_TSO_MAX_SIZE, IFLA_TXQLEN, RTEXT_FILTER_VF, RTM_GETLINK, RTM_NEWLINK,
};
use super::{HardwareAddress, HardwareType};
use crate::{IfIndex, IfName};
use netlink_packet_core::NLM_F_DUMP;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// A link as the kernel reports it: everything that `ip -d -s link show` prints of a TUN or TAP
/// device.
///
/// `rx` and `tx` are the kernel's words for its counters and queues.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LinkInfo {
    /// The index, in the queried namespace.
    pub index: IfIndex,
    /// The name.
    pub name: IfName,
    /// Alternative names, which may have up to 127 bytes; bytes, not text.
    pub altnames: Vec<OsString>,
    /// The description (`ip link set alias`).
    pub alias: Option<OsString>,
    /// Up, broadcast and the like.
    pub flags: LinkFlags,
    /// The IP MTU in bytes.
    pub mtu: u32,
    /// The minimum MTU; 0 if the driver sets no limit.
    pub min_mtu: u32,
    /// The maximum MTU; 0 if the driver sets no limit.
    pub max_mtu: u32,
    /// The queueing discipline: `noop`, `fq_codel`, `mq`.
    pub qdisc: Option<String>,
    /// The operational state.
    pub operstate: OperState,
    /// What takes it from dormant to up.
    pub link_mode: LinkMode,
    /// The number of its group; 0 is `default`.
    pub group: u32,
    /// The length of its transmit queue in packets.
    pub txqueuelen: u32,
    /// The hardware type.
    pub hardware_type: HardwareType,
    /// The hardware address; TUN has none.
    pub address: Option<HardwareAddress>,
    /// The hardware broadcast address (the peer's address of a point-to-point link).
    pub broadcast: Option<HardwareAddress>,
    /// The permanent hardware address.
    pub permanent_address: Option<HardwareAddress>,
    /// The bridge, bond or VRF that it is a port of.
    pub master: Option<IfIndex>,
    /// The lower link, or the peer of a veth; in the namespace `link_netnsid` if that is set.
    pub lower: Option<IfIndex>,
    /// Whether there is a carrier.
    pub carrier: bool,
    /// How many users requested promiscuous mode.
    pub promiscuity: u32,
    /// How many users requested all multicast frames.
    pub allmulti: u32,
    /// The maximum number of transmit queues.
    pub num_tx_queues: u32,
    /// The maximum number of receive queues.
    pub num_rx_queues: u32,
    /// The maximum length in bytes of the super-packets that the stack builds for it.
    pub gso_max_size: u32,
    /// The maximum number of segments of those.
    pub gso_max_segs: u32,
    /// The maximum length in bytes of TCP super-packets for its hardware; 0 from older kernels.
    pub tso_max_size: u32,
    /// The maximum number of segments of those; 0 from older kernels.
    pub tso_max_segs: u32,
    /// The maximum length in bytes of the super-packets that GRO builds from received packets.
    pub gro_max_size: u32,
    /// How the kernel generates its IPv6 link-local address; `None` without IPv6.
    pub inet6_addr_gen_mode: Option<AddrGenMode>,
    /// The id, in the queried namespace, of the namespace that `lower` is in.
    pub link_netnsid: Option<i32>,
    /// Whether it was moved to another namespace: in an event for a link that is gone from this one.
    pub is_moved: bool,
    /// The counters.
    pub stats: LinkStats,
    /// The kind that its driver reports: `tun`, `bridge`, `veth`; `None` for hardware and `lo`.
    pub kind: Option<String>,
    /// The report of the TUN/TAP driver.
    pub tun: Option<TunInfo>,
}

impl Netlink {
    /// All links of the namespace, by index.
    ///
    /// # Errors
    /// ETIMEDOUT if the kernel does not answer; EINTR if the list kept changing.
    pub fn links(&mut self) -> io::Result<Vec<LinkInfo>> {
        self.list(&mut request(NLM_F_DUMP, None), new_link)
    }

    /// The ports of a bridge, bond or VRF.
    ///
    /// # Errors
    /// As [`Netlink::links`].
    pub fn ports(&mut self, master: IfIndex) -> io::Result<Vec<LinkInfo>> {
        let mut request = request(NLM_F_DUMP, None);
        request.u32(IFLA_MASTER, master.get());
        // A kernel without strict checking returns all links.
        self.list(&mut request, |message| {
            new_link(message).filter(|link| link.master == Some(master))
        })
    }

    /// The link with this index.
    ///
    /// # Errors
    /// ENODEV if it does not exist.
    pub fn link_by_index(&mut self, index: IfIndex) -> io::Result<LinkInfo> {
        self.query(&mut request(0, Some(index)), new_link)
    }

    /// The link with this name or alternative name.
    ///
    /// # Errors
    /// ENODEV if it does not exist.
    pub fn link_by_name(&mut self, name: &IfName) -> io::Result<LinkInfo> {
        self.link_named(IFLA_IFNAME, name.as_bytes())
    }

    /// The link with this name or alternative name of up to 127 bytes.
    ///
    /// # Errors
    /// ENODEV if it does not exist; EINVAL or ERANGE if the name is too long.
    pub fn link_by_altname(&mut self, name: impl AsRef<OsStr>) -> io::Result<LinkInfo> {
        self.link_named(IFLA_ALT_IFNAME, name.as_ref().as_bytes())
    }

    fn link_named(&mut self, kind: u16, name: &[u8]) -> io::Result<LinkInfo> {
        let mut request = request(0, None);
        request.string(kind, name);
        self.query(&mut request, new_link)
    }
}

/// A request for links.
fn request(flags: u16, index: Option<IfIndex>) -> Request {
    let header = header(index, LinkFlags::empty(), LinkFlags::empty());
    let mut request = Request::new(RTM_GETLINK, flags, &header);
    // Only with a mask does the kernel (6.18, `rtnl_calcit`) size the answer for the longest link.
    // Without it, a link with hundreds of alternative names ends the list early and without an
    // error.
    request.u32(IFLA_EXT_MASK, RTEXT_FILTER_VF);
    request
}

/// `struct ifinfomsg` of `linux/rtnetlink.h`.
///
/// ```text
/// | family u8 | pad u8 | type u16 | index i32 | flags u32 | change u32 |
/// ```
pub(super) fn header(index: Option<IfIndex>, flags: LinkFlags, change: LinkFlags) -> [u8; 16] {
    let mut header = [0; 16];
    header[4..8].copy_from_slice(&index.map_or(0, IfIndex::get).to_ne_bytes());
    header[8..12].copy_from_slice(&flags.bits().to_ne_bytes());
    header[12..].copy_from_slice(&change.bits().to_ne_bytes());
    header
}

fn new_link(message: &Message<'_>) -> Option<LinkInfo> {
    if message.kind == RTM_NEWLINK { decode(message.body) } else { None }
}

/// Decodes the body of an RTM_NEWLINK or RTM_DELLINK. `None` if it is malformed, or describes a
/// port of a bridge (AF_BRIDGE) and not the link itself.
pub(super) fn decode(body: &[u8]) -> Option<LinkInfo> {
    let (header, rest) = split::<16>(body)?;
    let [family, _, type_low, type_high, i0, i1, i2, i3, f0, f1, f2, f3, ..] = *header;
    if family != AF_UNSPEC {
        return None;
    }
    let index = IfIndex::new(u32::from_ne_bytes([i0, i1, i2, i3]))?;
    let (_, name) = attributes(rest).find(|(kind, _)| *kind == IFLA_IFNAME)?;
    let name = IfName::new(OsStr::from_bytes(read_string(name))).ok()?;
    let mut link = LinkInfo {
        flags: LinkFlags::from_bits_retain(u32::from_ne_bytes([f0, f1, f2, f3])),
        hardware_type: HardwareType(u16::from_ne_bytes([type_low, type_high])),
        ..blank(index, name)
    };
    for (kind, value) in attributes(rest) {
        link.attribute(kind, value);
    }
    Some(link)
}

/// A link of which only index and name are known.
fn blank(index: IfIndex, name: IfName) -> LinkInfo {
    LinkInfo {
        index,
        name,
        altnames: Vec::new(),
        alias: None,
        flags: LinkFlags::empty(),
        mtu: 0,
        min_mtu: 0,
        max_mtu: 0,
        qdisc: None,
        operstate: OperState::Unknown,
        link_mode: LinkMode::Default,
        group: 0,
        txqueuelen: 0,
        hardware_type: HardwareType::NONE,
        address: None,
        broadcast: None,
        permanent_address: None,
        master: None,
        lower: None,
        carrier: false,
        promiscuity: 0,
        allmulti: 0,
        num_tx_queues: 0,
        num_rx_queues: 0,
        gso_max_size: 0,
        gso_max_segs: 0,
        tso_max_size: 0,
        tso_max_segs: 0,
        gro_max_size: 0,
        inet6_addr_gen_mode: None,
        link_netnsid: None,
        is_moved: false,
        stats: LinkStats::default(),
        kind: None,
        tun: None,
    }
}

impl LinkInfo {
    /// Applies one attribute; an unknown or short one changes nothing.
    fn attribute(&mut self, kind: u16, value: &[u8]) {
        match kind {
            IFLA_ADDRESS => self.address = HardwareAddress::new(value),
            IFLA_BROADCAST => self.broadcast = HardwareAddress::new(value),
            IFLA_PERM_ADDRESS => self.permanent_address = HardwareAddress::new(value),
            IFLA_IFALIAS => self.alias = Some(os_string(value)),
            IFLA_QDISC => self.qdisc = Some(text(value)),
            IFLA_MASTER => self.master = read_u32(value).and_then(IfIndex::new),
            IFLA_LINK => self.lower = read_u32(value).and_then(IfIndex::new),
            IFLA_LINK_NETNSID => self.link_netnsid = read_i32(value),
            IFLA_NEW_NETNSID => self.is_moved = true,
            IFLA_OPERSTATE => self.operstate = read_u8(value).unwrap_or(0).into(),
            IFLA_LINKMODE => self.link_mode = read_u8(value).unwrap_or(0).into(),
            IFLA_CARRIER => self.carrier = read_u8(value).is_some_and(|carrier| carrier != 0),
            IFLA_STATS64 => self.stats = LinkStats::decode(value),
            IFLA_AF_SPEC => self.inet6_addr_gen_mode = addr_gen_mode(value),
            IFLA_LINKINFO => self.link_info(value),
            IFLA_PROP_LIST => {
                let names = attributes(value).filter(|(kind, _)| *kind == IFLA_ALT_IFNAME);
                self.altnames = names.map(|(_, name)| os_string(name)).collect();
            }
            _ => {
                if let (Some(field), Some(number)) = (self.number(kind), read_u32(value)) {
                    *field = number;
                }
            }
        }
    }

    /// The field of an attribute that is one 32-bit number.
    fn number(&mut self, kind: u16) -> Option<&mut u32> {
        Some(match kind {
            IFLA_MTU => &mut self.mtu,
            IFLA_MIN_MTU => &mut self.min_mtu,
            IFLA_MAX_MTU => &mut self.max_mtu,
            IFLA_GROUP => &mut self.group,
            IFLA_TXQLEN => &mut self.txqueuelen,
            IFLA_PROMISCUITY => &mut self.promiscuity,
            IFLA_ALLMULTI => &mut self.allmulti,
            IFLA_NUM_TX_QUEUES => &mut self.num_tx_queues,
            IFLA_NUM_RX_QUEUES => &mut self.num_rx_queues,
            IFLA_GSO_MAX_SIZE => &mut self.gso_max_size,
            IFLA_GSO_MAX_SEGS => &mut self.gso_max_segs,
            IFLA_TSO_MAX_SIZE => &mut self.tso_max_size,
            IFLA_TSO_MAX_SEGS => &mut self.tso_max_segs,
            IFLA_GRO_MAX_SIZE => &mut self.gro_max_size,
            _ => return None,
        })
    }

    fn link_info(&mut self, value: &[u8]) {
        let mut data: &[u8] = &[];
        for (kind, value) in attributes(value) {
            match kind {
                IFLA_INFO_KIND => self.kind = Some(text(value)),
                IFLA_INFO_DATA => data = value,
                _ => {}
            }
        }
        if self.kind.as_deref() == Some("tun") {
            self.tun = TunInfo::decode(data);
        }
    }
}

/// `IFLA_AF_SPEC` { AF_INET6 { IFLA_INET6_ADDR_GEN_MODE } }.
fn addr_gen_mode(value: &[u8]) -> Option<AddrGenMode> {
    let (_, inet6) = attributes(value).find(|(family, _)| *family == u16::from(AF_INET6))?;
    let (_, mode) = attributes(inet6).find(|(kind, _)| *kind == IFLA_INET6_ADDR_GEN_MODE)?;
    read_u8(mode).map(AddrGenMode::from)
}

fn os_string(value: &[u8]) -> OsString {
    OsString::from_vec(read_string(value).to_vec())
}

fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(read_string(value)).into_owned()
}
