//! The description of a device to open: plain data, then one call.

mod attach;
pub(crate) mod open;

use crate::netlink::{Address, Route};
use crate::sys::tun::QUEUES_MAX;
use crate::wire::{Reader, Wire};
use crate::{
    HashTypes, IfIndex, IfName, MacAddr, Mode, NamePattern, Netns, Offload, OffloadChoice,
    VnetFormat, wire_enum, wire_structs,
};
use std::ffi::OsString;
use std::sync::Arc;

/// Whether [`DeviceOptions::open`] creates the device or attaches to an existing one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Create {
    /// Create it; fail if an interface of that name exists.
    #[default]
    Exclusive,
    /// Attach to it; fail if it does not exist.
    Attach,
    /// Attach to it if it exists, otherwise create it.
    AttachOrCreate,
}

/// Describes a device; [`DeviceOptions::open`] creates it or attaches to it.
///
/// ```no_run
/// use adit_device::netlink::Address;
/// use adit_device::{DeviceOptions, Mode};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let device = DeviceOptions::new(Mode::Tun)
///     .name("vpn%d".parse()?)
///     .address(Address::new("192.0.2.1/24".parse()?))
///     .mtu(1400)
///     .up(true)
///     .open()?;
/// println!("created {}", device.name()?);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct DeviceOptions {
    pub(crate) mode: Mode,
    pub(crate) name: NamePattern,
    pub(crate) create: Create,
    pub(crate) netns: Option<Arc<Netns>>,
    pub(crate) queues: u16,
    pub(crate) multi_queue: bool,
    pub(crate) nonblocking: bool,
    pub(crate) packet_info: bool,
    pub(crate) vnet_hdr: Option<VnetFormat>,
    pub(crate) offload: OffloadChoice,
    pub(crate) napi: bool,
    pub(crate) napi_frags: bool,
    pub(crate) no_carrier: bool,
    pub(crate) index: Option<IfIndex>,
    pub(crate) persist: Option<bool>,
    pub(crate) owner: Option<u32>,
    pub(crate) group: Option<u32>,
    pub(crate) link_type: Option<u16>,
    pub(crate) send_buffer: Option<u32>,
    pub(crate) hash_report: Option<HashTypes>,
    pub(crate) link: LinkOptions,
}

/// The options that are set through netlink.
#[derive(Clone, Debug, Default)]
pub(crate) struct LinkOptions {
    pub(crate) mac: Option<MacAddr>,
    pub(crate) mtu: Option<u32>,
    pub(crate) txqueuelen: Option<u32>,
    pub(crate) alias: Option<OsString>,
    pub(crate) master: Option<IfName>,
    pub(crate) addresses: Vec<Address>,
    pub(crate) routes: Vec<Route>,
    pub(crate) up: Option<bool>,
}

impl DeviceOptions {
    /// A new device of this mode, named by the kernel, with one blocking queue, without packet
    /// information and virtio-net header.
    pub fn new(mode: Mode) -> Self {
        Self {
            mode,
            name: NamePattern::KERNEL,
            create: Create::Exclusive,
            netns: None,
            queues: 1,
            multi_queue: false,
            nonblocking: false,
            packet_info: false,
            vnet_hdr: None,
            offload: OffloadChoice::Off,
            napi: false,
            napi_frags: false,
            no_carrier: false,
            index: None,
            persist: None,
            owner: None,
            group: None,
            link_type: None,
            send_buffer: None,
            hash_report: None,
            link: LinkOptions::default(),
        }
    }

    /// Sets the name, or a pattern with `%d` in which the kernel puts the first free number.
    pub fn name(mut self, name: NamePattern) -> Self {
        self.name = name;
        self
    }

    /// Sets whether to create the device, to attach to it, or either.
    pub fn create(mut self, create: Create) -> Self {
        self.create = create;
        self
    }

    /// Opens the device in this network namespace. The calling thread stays in its own.
    pub fn netns(mut self, netns: Netns) -> Self {
        self.netns = Some(Arc::new(netns));
        self
    }

    /// Sets how many queues to open, 1 to [`QUEUES_MAX`]. More than one makes the device
    /// multi-queue.
    pub fn queues(mut self, queues: u16) -> Self {
        self.queues = queues.clamp(1, QUEUES_MAX);
        self.multi_queue |= queues > 1;
        self
    }

    /// Sets whether further queues can attach later (`IFF_MULTI_QUEUE`).
    pub fn multi_queue(mut self, multi_queue: bool) -> Self {
        self.multi_queue = multi_queue;
        self
    }

    /// Sets whether calls on the queues return EAGAIN instead of blocking.
    pub fn nonblocking(mut self, nonblocking: bool) -> Self {
        self.nonblocking = nonblocking;
        self
    }

    /// Sets whether four bytes of packet information precede each packet.
    pub fn packet_info(mut self, packet_info: bool) -> Self {
        self.packet_info = packet_info;
        self
    }

    /// Puts a virtio-net header before each packet. Super-packets and partial checksums require it.
    pub fn vnet_hdr(mut self, format: VnetFormat) -> Self {
        self.vnet_hdr = Some(format);
        self
    }

    /// Sets which offloads to request. Without [`DeviceOptions::vnet_hdr`] there can be none.
    pub fn offload(mut self, offload: OffloadChoice) -> Self {
        self.offload = offload;
        self
    }

    /// Sets whether sent packets pass through NAPI and GRO (`IFF_NAPI`). It costs 40 % more per
    /// packet.
    pub fn napi(mut self, napi: bool) -> Self {
        self.napi = napi;
        self
    }

    /// Turns each part of a vectored write into a fragment (`IFF_NAPI_FRAGS`), and NAPI on. Made
    /// for kernel tests: TAP only, and it requires `CAP_NET_ADMIN` in the initial user namespace.
    pub fn napi_frags(mut self, napi_frags: bool) -> Self {
        self.napi_frags = napi_frags;
        self.napi |= napi_frags;
        self
    }

    /// Sets whether the device starts without a carrier; [`Device::set_carrier`] turns it on later.
    ///
    /// [`Device::set_carrier`]: crate::Device::set_carrier
    pub fn carrier(mut self, carrier: bool) -> Self {
        self.no_carrier = !carrier;
        self
    }

    /// Sets the index of a new device.
    pub fn index(mut self, index: IfIndex) -> Self {
        self.index = Some(index);
        self
    }

    /// Sets whether the device outlives its last queue. A new persistent device without owner and
    /// group gets the effective user as its owner: otherwise every user could attach to it.
    pub fn persist(mut self, persist: bool) -> Self {
        self.persist = Some(persist);
        self
    }

    /// Sets the user who may attach without privileges.
    pub fn owner(mut self, uid: u32) -> Self {
        self.owner = Some(uid);
        self
    }

    /// Sets the group that may attach without privileges. With an owner too, both must match.
    pub fn group(mut self, gid: u32) -> Self {
        self.group = Some(gid);
        self
    }

    /// Sets the link type that the device reports (an `ARPHRD_*` number).
    pub fn link_type(mut self, arphrd: u16) -> Self {
        self.link_type = Some(arphrd);
        self
    }

    /// Limits the bytes of sent packets that the kernel may queue; beyond it, `send` returns
    /// EAGAIN. Any value other than the default (no limit) makes writes to a TAP more expensive.
    pub fn send_buffer(mut self, bytes: u32) -> Self {
        self.send_buffer = Some(bytes);
        self
    }

    /// Fills in the flow hash of each packet that [`Queue::recv_batch`] returns: by the kernel if
    /// it supports that and the header has at least 20 bytes, otherwise by a Toeplitz hash with
    /// Microsoft's key.
    ///
    /// [`Queue::recv_batch`]: crate::Queue::recv_batch
    pub fn hash_report(mut self, types: HashTypes) -> Self {
        self.hash_report = Some(types);
        self
    }

    /// Sets the hardware address of a TAP.
    pub fn mac(mut self, mac: MacAddr) -> Self {
        self.link.mac = Some(mac);
        self
    }

    /// Sets the IP MTU in bytes: 68 to 65535 on TUN, 68 to 65521 on TAP.
    pub fn mtu(mut self, mtu: u32) -> Self {
        self.link.mtu = Some(mtu);
        self
    }

    /// Sets how many packets the kernel queues for the reader before it drops: 500 by default.
    pub fn txqueuelen(mut self, packets: u32) -> Self {
        self.link.txqueuelen = Some(packets);
        self
    }

    /// Sets a description for people, up to 255 bytes.
    pub fn alias(mut self, alias: impl Into<OsString>) -> Self {
        self.link.alias = Some(alias.into());
        self
    }

    /// Makes the device a port of this bridge.
    pub fn master(mut self, master: IfName) -> Self {
        self.link.master = Some(master);
        self
    }

    /// Adds an address.
    pub fn address(mut self, address: Address) -> Self {
        self.link.addresses.push(address);
        self
    }

    /// Adds a route; its `oif` becomes this device.
    pub fn route(mut self, route: Route) -> Self {
        self.link.routes.push(route);
        self
    }

    /// Sets the device up (or down) as the last step but persistence and owner.
    pub fn up(mut self, up: bool) -> Self {
        self.link.up = Some(up);
        self
    }

    /// The sets of offloads to try, richest first.
    pub(crate) fn offload_ladder(&self) -> Vec<Offload> {
        let room = self.vnet_hdr.map(|format| format.len);
        match self.offload {
            OffloadChoice::Off => vec![Offload::empty()],
            OffloadChoice::Exact(set) => vec![set],
            OffloadChoice::Auto => {
                let fits = |set: &Offload| match room {
                    None => set.is_empty(),
                    Some(adit_packet::VnetLen::Tunnel) => true,
                    Some(_) => !set.contains(Offload::UDP_TUNNEL_GSO),
                };
                Offload::LADDER.into_iter().filter(fits).collect()
            }
        }
    }
}

/// A namespace is passed on as a descriptor, beside the options.
impl Wire for Netns {
    fn put(&self, _: &mut Vec<u8>) {}

    fn take(_: &mut Reader<'_>) -> Option<Self> {
        None
    }
}

wire_enum! { Create { 0 = Exclusive, 1 = Attach, 2 = AttachOrCreate } }
wire_structs! {
    LinkOptions { mac, mtu, txqueuelen, alias, master, addresses, routes, up }
    DeviceOptions {
        mode, name, create, netns, queues, multi_queue, nonblocking, packet_info, vnet_hdr, offload, napi,
        napi_frags, no_carrier, index, persist, owner, group, link_type, send_buffer, hash_report, link,
    }
}
