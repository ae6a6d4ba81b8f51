//! In place of slirp4netns: the device has fixed addresses, and descriptors say when it is ready and must end.

use super::api::Api;
use super::api::slirp4netns::HostForwards;
use super::background::inherited;
use super::inside::{INSIDE, Inside, address, default_route};
use super::server::Server;
use adit_device::{Create, IfName, Mode};
use adit_nat::guest::{AddressPool, GuestConfig, GuestV4, GuestV6};
use adit_packet::IpPrefix;
use adit_runtime::port::kinds::device::DevicePort;
use adit_service::error::{Error, Result};
use adit_service::namespace::attach::{Interface, Target, attach};
use adit_service::namespace::life::Life;
use adit_service::sandbox::Level;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::RawFd;
use std::path::PathBuf;

/// What the command line of slirp4netns asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slirp4netns {
    /// The namespace.
    pub target: Target,
    /// The name of the device in it.
    pub device: IfName,
    /// The device gets addresses and routes. Otherwise it is a TAP device, which may be there, and which others set
    /// up.
    pub configures: bool,
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

impl Slirp4netns {
    /// Runs until the namespace, the caller or a signal ends it. `note` takes what is good to know.
    ///
    /// # Errors
    /// What failed before it was ready; the end of the device.
    pub fn run(&self, note: impl Fn(&str)) -> Result<()> {
        // First of all: what this process opens could get their numbers if they are not open.
        let ready = inherited(self.ready)?;
        let exit = inherited(self.exit)?;
        let life = Life::of(&self.target)?;
        let device = attach(&self.target, &self.interface())?;
        let mut engine = self.inside().engine()?;
        if !self.configures {
            engine.add_guests(INSIDE, self.guests()).map_err(Error::usage)?;
        }
        let mut server = Server::new(engine)?;
        server.attach(INSIDE, Box::new(DevicePort::new(device)?))?;
        server.ends_with(life)?;
        exit.map_or(Ok(()), |exit| server.ends_by(exit))?;
        if let Some(path) = &self.api_socket {
            let devices = self.networks.iter().map(|one| one.device.ip()).collect();
            let mut api = Api::new(Box::new(HostForwards::new(devices, INSIDE)));
            api.listen(path).map_err(|error| Error::io("listen on", path.display(), &error))?;
            server.serve(api)?;
        }
        if let Some(lacking) = Server::enter_sandbox(self.sandbox, Vec::new())? {
            note(&lacking);
        }
        if let Some(ready) = ready {
            rustix::io::write(&ready, b"1")
                .map_err(|errno| Error::io("write to", "the ready descriptor", &errno.into()))?;
        }
        server.run()
    }

    fn interface(&self) -> Interface {
        if !self.configures {
            return Interface {
                name: self.device,
                mode: Mode::Tap,
                create: Create::AttachOrCreate,
                addresses: Vec::new(),
                routes: Vec::new(),
                mtu: None,
                mac: None,
            };
        }
        let route =
            |network: &Network| default_route(network.gateway.is_ipv4(), Some(network.gateway));
        Interface {
            name: self.device,
            mode: Mode::Tun,
            create: Create::Exclusive,
            addresses: self.networks.iter().map(|network| address(network.device)).collect(),
            routes: self.networks.iter().map(route).collect(),
            mtu: Some(self.mtu.into()),
            mac: None,
        }
    }

    /// What slirp has for those who set up the device by DHCP: addresses from number 15 on.
    fn guests(&self) -> GuestConfig {
        let mut config = GuestConfig { mtu: self.mtu, v6: None, ..GuestConfig::default() };
        let usual = GuestConfig::default();
        for network in &self.networks {
            match (network.device.network().ip(), network.gateway, network.name_server) {
                (IpAddr::V4(base), IpAddr::V4(gateway), server) => {
                    let at = |number| Ipv4Addr::from_bits(base.to_bits().saturating_add(number));
                    let server =
                        server.and_then(|ip| if let IpAddr::V4(ip) = ip { Some(ip) } else { None });
                    config.v4 = usual.v4.clone().map(|v4| GuestV4 {
                        gateway,
                        prefix: network.device.network(),
                        dns: server.into_iter().collect(),
                        pool: v4.pool.map(|pool| AddressPool {
                            first: at(15),
                            last: at(30),
                            ..pool
                        }),
                    });
                }
                (IpAddr::V6(_), _, server) => {
                    config.v6 = usual.v6.clone().map(|v6| GuestV6 {
                        dns: if server.is_some() { v6.dns } else { Vec::new() },
                        ..v6
                    });
                }
                _ => {}
            }
        }
        config
    }

    fn inside(&self) -> Inside {
        let gateways: Vec<IpAddr> = self.networks.iter().map(|network| network.gateway).collect();
        Inside {
            sources: self.networks.iter().map(|network| network.device.network()).collect(),
            loopback: if self.host_loopback { gateways.clone() } else { Vec::new() },
            own: gateways,
            name_servers: self.networks.iter().filter_map(|network| network.name_server).collect(),
            mtu: self.mtu,
            ..Inside::default()
        }
    }
}
