//! What the command line of another program asks for.

use adit_device::IfName;
use adit_packet::IpPrefix;
use adit_service::namespace::attach::Target;
use adit_service::sandbox::Level;
use std::net::IpAddr;
use std::os::fd::RawFd;
use std::path::PathBuf;

/// A network namespace that gets a way out, as another program's command line describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The namespace.
    pub target: Target,
    /// The name of the device in it.
    pub device: IfName,
    /// One network for each family.
    pub networks: Vec<Network>,
    /// The IP MTU of the device.
    pub mtu: u16,
    /// The inside reaches the host's loopback at the gateways.
    pub host_loopback: bool,
    /// The descriptor to which `1` is written when the device is ready.
    pub ready: Option<RawFd>,
    /// The descriptor whose other end closes when this program must end.
    pub exit: Option<RawFd>,
    /// Where requests for ports of the host come.
    pub api_socket: Option<PathBuf>,
    /// How much of the sandbox is needed.
    pub sandbox: Level,
}

/// The addresses of one family inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// That of the device, with the network.
    pub device: IpPrefix,
    /// That of the NAT.
    pub gateway: IpAddr,
    /// That of the name server, which stands for the host's.
    pub name_server: Option<IpAddr>,
}
