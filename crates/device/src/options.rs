//! What a device is to be: plain data, then one call.

use crate::netlink::{Address, Route};
use crate::{
    HashTypes, IfIndex, IfName, MacAddr, Mode, NamePattern, Netns, Offload, OffloadChoice,
    VnetFormat,
};
use std::ffi::OsString;
use std::sync::Arc;

/// Whether the device is to be made or is there already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Create {
    /// Make it; that it exists is an error.
    #[default]
    Exclusive,
    /// Attach to it; that it does not exist is an error.
    Attach,
    /// Attach to it, or make it.
    AttachOrCreate,
}

/// The most queues that one device can have (`MAX_TAP_QUEUES`).
pub const QUEUES_MAX: u16 = 256;

/// Describes a device; [`DeviceOptions::open`] makes it or attaches to it.
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
/// println!("made {}", device.name()?);
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

/// The part that is set by netlink.
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
    /// A device with the kernel's name, one blocking queue, no packet information, no header.
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

    /// A name, or a pattern with `%d`.
    pub fn name(mut self, name: NamePattern) -> Self {
        self.name = name;
        self
    }

    /// Make it, attach to it, or either.
    pub fn create(mut self, create: Create) -> Self {
        self.create = create;
        self
    }

    /// Makes the device in this namespace; the calling thread stays where it is.
    pub fn netns(mut self, netns: Netns) -> Self {
        self.netns = Some(Arc::new(netns));
        self
    }

    /// How many queues to open, 1 to [`QUEUES_MAX`]; more than one makes it multi-queue.
    pub fn queues(mut self, queues: u16) -> Self {
        self.queues = queues.clamp(1, QUEUES_MAX);
        self.multi_queue |= queues > 1;
        self
    }

    /// Whether more queues can be attached later (`IFF_MULTI_QUEUE`).
    pub fn multi_queue(mut self, multi_queue: bool) -> Self {
        self.multi_queue = multi_queue;
        self
    }

    /// Whether the queues give EAGAIN instead of waiting.
    pub fn nonblocking(mut self, nonblocking: bool) -> Self {
        self.nonblocking = nonblocking;
        self
    }

    /// Whether four bytes of packet information stand before each packet.
    pub fn packet_info(mut self, packet_info: bool) -> Self {
        self.packet_info = packet_info;
        self
    }

    /// Puts a virtio-net header before each packet; super-packets need it.
    pub fn vnet_hdr(mut self, format: VnetFormat) -> Self {
        self.vnet_hdr = Some(format);
        self
    }

    /// Which offloads to ask for; without [`DeviceOptions::vnet_hdr`] there can be none.
    pub fn offload(mut self, offload: OffloadChoice) -> Self {
        self.offload = offload;
        self
    }

    /// Runs what is written through NAPI and GRO (`IFF_NAPI`): dearer by 40 % a packet.
    pub fn napi(mut self, napi: bool) -> Self {
        self.napi = napi;
        self
    }

    /// Makes each part of a vectored write a fragment of its own (`IFF_NAPI_FRAGS`): for tests of
    /// the kernel, TAP only, with `CAP_NET_ADMIN` in the first user namespace; turns NAPI on.
    pub fn napi_frags(mut self, napi_frags: bool) -> Self {
        self.napi_frags = napi_frags;
        self.napi |= napi_frags;
        self
    }

    /// Whether the device has a carrier from the start; [`Device::set_carrier`] gives it one later.
    ///
    /// [`Device::set_carrier`]: crate::Device::set_carrier
    pub fn carrier(mut self, carrier: bool) -> Self {
        self.no_carrier = !carrier;
        self
    }

    /// The index that a new device is to have.
    pub fn index(mut self, index: IfIndex) -> Self {
        self.index = Some(index);
        self
    }

    /// Whether the device stays when its last queue is closed. One that is made to stay without an
    /// owner or group gets the caller as its owner, for otherwise every user could attach to it.
    pub fn persist(mut self, persist: bool) -> Self {
        self.persist = Some(persist);
        self
    }

    /// The user who may attach without privilege.
    pub fn owner(mut self, uid: u32) -> Self {
        self.owner = Some(uid);
        self
    }

    /// The group that may attach without privilege; with an owner as well, both must match.
    pub fn group(mut self, gid: u32) -> Self {
        self.group = Some(gid);
        self
    }

    /// The `ARPHRD_*` number that the device shows as its link type.
    pub fn link_type(mut self, arphrd: u16) -> Self {
        self.link_type = Some(arphrd);
        self
    }

    /// How many bytes of sent packets may wait below before `send` gives EAGAIN. Anything but the
    /// default (no limit) makes writes to a TAP dearer.
    pub fn send_buffer(mut self, bytes: u32) -> Self {
        self.send_buffer = Some(bytes);
        self
    }

    /// Fills the hash of each packet's virtio-net header that [`Queue::recv_batch`] gives: by the
    /// kernel where it has the interface for that and the header has room (20 bytes), else here, by
    /// a Toeplitz hash with Microsoft's key.
    ///
    /// [`Queue::recv_batch`]: crate::Queue::recv_batch
    pub fn hash_report(mut self, types: HashTypes) -> Self {
        self.hash_report = Some(types);
        self
    }

    /// The hardware address of a TAP.
    pub fn mac(mut self, mac: MacAddr) -> Self {
        self.link.mac = Some(mac);
        self
    }

    /// The IP MTU: 68 to 65535 on TUN, to 65521 on TAP.
    pub fn mtu(mut self, mtu: u32) -> Self {
        self.link.mtu = Some(mtu);
        self
    }

    /// How many packets wait for the reader before the kernel drops: 500 unless set.
    pub fn txqueuelen(mut self, packets: u32) -> Self {
        self.link.txqueuelen = Some(packets);
        self
    }

    /// A description for people, up to 255 bytes.
    pub fn alias(mut self, alias: impl Into<OsString>) -> Self {
        self.link.alias = Some(alias.into());
        self
    }

    /// The bridge of which the device becomes a port.
    pub fn master(mut self, master: IfName) -> Self {
        self.link.master = Some(master);
        self
    }

    /// Adds an address.
    pub fn address(mut self, address: Address) -> Self {
        self.link.addresses.push(address);
        self
    }

    /// Adds a route; its `oif` is set to the device.
    pub fn route(mut self, route: Route) -> Self {
        self.link.routes.push(route);
        self
    }

    /// Whether the device is set up (or down) at the end.
    pub fn up(mut self, up: bool) -> Self {
        self.link.up = Some(up);
        self
    }

    /// The sets to try for [`DeviceOptions::offload`].
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
