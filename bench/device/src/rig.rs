//! The namespaces and devices of a turn.

use adit_device::{
    Device, DeviceOptions, Mode, Netns, Offload, OffloadChoice, Queue, Result, VnetFormat,
};
use std::io;
use std::net::Ipv4Addr;

/// The two ends, of the block for benchmarks (RFC 2544).
pub(crate) const NEAR: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
pub(crate) const FAR: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 2);

/// How many packets wait for a reader before the kernel drops: more than [`crate::traffic`] fills.
const QUEUE_LEN: u32 = 1000;

/// Moves the process into a network namespace of its own, and where that takes a privilege that it
/// has not, into a user namespace as well. To be called before the first thread starts.
///
/// # Errors
/// As [`Netns::enter_new_rootless`].
pub(crate) fn enter() -> io::Result<()> {
    match Netns::enter_new() {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            Netns::enter_new_rootless()
        }
        entered => entered,
    }
}

fn options(mode: Mode, vnet: bool) -> DeviceOptions {
    let options = DeviceOptions::new(mode).nonblocking(true).txqueuelen(QUEUE_LEN).up(true);
    if !vnet {
        return options;
    }
    options.vnet_hdr(VnetFormat::default()).offload(OffloadChoice::Exact(Offload::TSO))
}

/// A TUN device in the namespace of the calling thread, with [`NEAR`]; packets longer than an
/// Ethernet's go with a virtio-net header.
pub(crate) fn tun(long: bool) -> Result<Device> {
    let mtu = if long { 65_535 } else { 1500 };
    options(Mode::Tun, long).mtu(mtu).address(net(NEAR)).open()
}

/// Two TAP devices: [`NEAR`] in the namespace of the calling thread, [`FAR`] in one of its own.
pub(crate) struct TapPair {
    pub(crate) near: Device,
    pub(crate) far: Device,
    pub(crate) far_netns: Netns,
}

impl TapPair {
    pub(crate) fn new() -> io::Result<Self> {
        let far_netns = Netns::new_anonymous()?;
        let far = options(Mode::Tap, true).netns(far_netns.try_clone()?).address(net(FAR));
        let near = options(Mode::Tap, true).address(net(NEAR));
        let (near, far) = (near.open().map_err(io::Error::other)?, far.open());
        Ok(Self { near, far: far.map_err(io::Error::other)?, far_netns })
    }

    pub(crate) fn queues(&self) -> Option<(&Queue, &Queue)> {
        Some((self.near.queues().first()?, self.far.queues().first()?))
    }
}

fn net(address: Ipv4Addr) -> adit_device::netlink::Address {
    format!("{address}/24").parse().expect("an address and a length")
}
