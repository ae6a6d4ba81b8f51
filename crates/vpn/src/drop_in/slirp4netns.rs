//! In place of slirp4netns: the TAP has fixed addresses, and descriptors say when it is ready and must end.

use super::api::Api;
use super::api::slirp4netns::HostForwards;
use super::background::inherited;
use super::host::Outbound;
use super::inside::{INSIDE, Inside, address, default_route};
use super::server::Server;
use adit_device::{IfName, MacAddr, Mode};
use adit_nat::Config;
use adit_nat::guest::GuestConfig;
use adit_packet::IpPrefix;
use adit_runtime::port::kinds::device::DevicePort;
use adit_service::error::{Error, Result};
use adit_service::namespace::attach::{Interface, Target, attach};
use adit_service::namespace::life::Life;
use adit_service::sandbox::Level;
use std::net::IpAddr;
use std::os::fd::RawFd;
use std::path::PathBuf;

/// What the command line of slirp4netns asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slirp4netns {
    /// The namespace.
    pub target: Target,
    /// The name of the TAP in it.
    pub device: IfName,
    /// Its MAC address, if it is not any.
    pub mac: Option<MacAddr>,
    /// Whether its addresses, routes and MTU are set here. Otherwise the caller sets them, and may have made it.
    pub configures: bool,
    /// One network for each family.
    pub networks: Vec<Network>,
    /// The IP MTU of the device.
    pub mtu: u16,
    /// Where flows to the outside come from.
    pub outbound: Vec<Outbound>,
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
        let inside = self.inside();
        let mut engine = inside.engine()?;
        let follower = inside.follow(&engine, self.sandbox)?;
        let life = Life::of(&self.target)?;
        let device = attach(&self.target, &self.interface())?;
        engine.add_guests(INSIDE, self.guests()?).map_err(Error::usage)?;
        let mut server = Server::new(engine)?;
        server.set_outbound(&self.outbound)?;
        server.attach(INSIDE, Box::new(DevicePort::new(device)?))?;
        follower.map_or(Ok(()), |follower| server.follow(follower))?;
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
        let route =
            |network: &Network| default_route(network.gateway.is_ipv4(), Some(network.gateway));
        let networks = self.networks.iter().filter(|_| self.configures);
        Interface {
            name: self.device,
            mode: Mode::Tap,
            addresses: networks.clone().map(|network| address(network.device)).collect(),
            routes: networks.map(route).collect(),
            mtu: self.configures.then_some(self.mtu.into()),
            mac: self.mac,
        }
    }

    /// What the other hosts behind the TAP are given: bridges inside may have some.
    fn guests(&self) -> Result<GuestConfig> {
        let of_family = |is_v4| {
            let network = self.networks.iter().find(|one| one.gateway.is_ipv4() == is_v4);
            network.map(|one| one.device.network())
        };
        let mut guests =
            GuestConfig::in_networks(of_family(true), of_family(false)).map_err(Error::usage)?;
        // Less than IPv6 needs is not for IPv6.
        let mtu_min = guests.v6.as_ref().map_or(0, |_| Config::MTU_MIN);
        guests.mtu = self.mtu.max(mtu_min);
        if self.networks.iter().all(|network| network.name_server.is_none()) {
            guests.v4.iter_mut().for_each(|v4| v4.dns.clear());
            guests.v6.iter_mut().for_each(|v6| v6.dns.clear());
        }
        Ok(guests)
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
