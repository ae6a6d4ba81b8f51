//! Ports of the host that lead to the inside from the start.

use super::addressing::Family;
use super::host::Host;
use super::inside::INSIDE;
use adit_device::IfName;
use adit_engine::{FlowError, FlowId, PortId, Transport};
use adit_nat::{Gateway, Publish, PublishSpec};
use adit_packet::IpPrefix;
use adit_runtime::Runner;
use adit_service::error::{Error, Kind, Result, SYSTEM};
use adit_service::namespace::attach::SOCKETS_MAX;
use adit_service::nat::publish::{self, Failure};
use rustix::process::{Resource, getrlimit};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;

/// Ports of the host that lead to the inside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forward {
    /// TCP or UDP.
    pub transport: Transport,
    /// The address of the host; `None` for all, or for those of the interface.
    pub local: Option<IpAddr>,
    /// The interface of the host.
    pub interface: Option<IfName>,
    /// The ports of the host.
    pub ports: RangeInclusive<u16>,
    /// The address inside; `None` for the first one of its family.
    pub guest: Option<IpAddr>,
    /// The port inside for the first of them; the others follow.
    pub inside: u16,
    /// Those that other programs have, or that the system gives to clients, are left out, and those for which there
    /// are not enough descriptors.
    pub as_possible: bool,
    /// The option that asks for it, for messages.
    pub option: String,
}

impl Forward {
    /// One for each port and family that the inside, with these addresses, has.
    fn publishes(&self, locals: Vec<IpAddr>, devices: &[IpAddr], port: PortId) -> Vec<Publish> {
        let of_local = |local| {
            let (transport, ports, inside) = (self.transport, self.ports.clone(), self.inside);
            let guest = self.guest;
            let spec = PublishSpec { transport, address: Some(local), ports, guest, inside };
            spec.of_device(devices, port)
        };
        locals.into_iter().flat_map(of_local).collect()
    }

    /// The addresses of the host.
    fn locals(&self) -> Result<Vec<IpAddr>> {
        match (self.local, &self.interface) {
            (Some(local), _) => Ok(vec![local]),
            (None, None) => Ok(vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()]),
            (None, Some(name)) => {
                let of_both = Host::open().and_then(|mut host| {
                    let families = [true, false].map(|is_v4| host.copy(is_v4, Some(name)));
                    families.into_iter().collect::<io::Result<Vec<_>>>()
                });
                let of_both = of_both.map_err(|error| {
                    Error::io("list", format!("the addresses of {name}"), &error)
                })?;
                let prefixes = of_both.into_iter().flatten().flat_map(|one| one.addresses);
                Ok(prefixes.map(IpPrefix::ip).collect())
            }
        }
    }
}

/// Where a socket of the namespace is, and the address of the host to which it leads.
pub(super) type Outward = (Transport, SocketAddr, SocketAddr);

/// Ports of the namespace that lead to the host's loopback, at the loopback addresses of these families unless others
/// are given.
///
/// # Errors
/// They are too many.
pub(super) fn outward(forwards: &[Forward], families: &[Family]) -> Result<Vec<Outward>> {
    let mut all = Vec::new();
    for forward in forwards {
        let both = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        let is_there = |ip: &IpAddr| families.iter().any(|one| one.is_v4 == ip.is_ipv4());
        let is_wanted = |ip: &IpAddr| forward.guest.is_none_or(|to| to.is_ipv4() == ip.is_ipv4());
        let locals = match forward.local {
            Some(local) => vec![local],
            None => both.into_iter().filter(|ip| is_there(ip) && is_wanted(ip)).collect(),
        };
        for (port, inside) in forward.ports.clone().zip(forward.inside..=u16::MAX) {
            all.extend(locals.iter().map(|&local| {
                let loopback = if local.is_ipv4() { both[0] } else { both[1] };
                let to = forward.guest.unwrap_or(loopback);
                (forward.transport, SocketAddr::new(local, port), SocketAddr::new(to, inside))
            }));
        }
    }
    if all.len() > SOCKETS_MAX {
        let message = format!("adit forwards at most {SOCKETS_MAX} sockets of the namespace");
        return Err(Error::usage(message));
    }
    Ok(all)
}

/// Opens the ports.
///
/// # Errors
/// One of them cannot be opened: another program has it, or this one may not.
pub(super) fn open_all(
    runner: &mut Runner<Gateway>,
    forwards: &[Forward],
    devices: &[IpAddr],
) -> Result<()> {
    let failed = |message| Error::new(Kind::Refused, &SYSTEM, message);
    // The rest is for flows.
    let mut left = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX) / 2;
    let ephemeral = ephemeral();
    for forward in forwards {
        let option = &forward.option;
        let mut count = 0;
        for publish in forward.publishes(forward.locals()?, devices, INSIDE) {
            let port = publish.local.port();
            if forward.as_possible && (left == 0 || ephemeral.contains(&port)) {
                continue;
            }
            match open(runner, publish) {
                Ok(_) => {
                    count += 1;
                    left = left.saturating_sub(1);
                }
                Err(_) if forward.as_possible => {}
                // In the words of passt, for which callers look.
                Err(why) => {
                    let why = format!("Failed to bind port {port} ({why}) for option '{option}'");
                    return Err(failed(why));
                }
            }
        }
        if count == 0 {
            return Err(failed(format!("Failed to bind any port for '{option}'")));
        }
    }
    Ok(())
}

/// The ports that the system gives to clients.
pub(super) fn ephemeral() -> RangeInclusive<u16> {
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range");
    let text = text.unwrap_or_default();
    let mut numbers = text.split_whitespace().filter_map(|word| word.parse().ok());
    // Linux's own.
    numbers.next().unwrap_or(32768)..=numbers.next().unwrap_or(60999)
}

/// The most flows that the ports of the host take.
pub(super) fn flows(forwards: &[Forward]) -> u32 {
    // In both families.
    forwards
        .iter()
        .map(|forward| 2 * (u32::from(*forward.ports.end() - *forward.ports.start()) + 1))
        .sum()
}

/// Opens a port of the host.
///
/// # Errors
/// Why it is not open, in the words that callers know.
pub(super) fn open(runner: &mut Runner<Gateway>, publish: Publish) -> Result<FlowId, String> {
    publish::open_one(runner, publish).map_err(|why| match why {
        Failure::Host(FlowError::InUse) => "Address already in use".to_owned(),
        Failure::Host(FlowError::NoAddress) => "Cannot assign requested address".to_owned(),
        Failure::Host(FlowError::Prohibited) => "Permission denied".to_owned(),
        Failure::Host(error) => error.to_string(),
        Failure::Nat(error) => error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_one_port_each_in_the_families_of_the_inside() {
        let mut forward = Forward {
            transport: Transport::Tcp,
            local: None,
            interface: None,
            ports: 8000..=8001,
            guest: None,
            inside: 80,
            as_possible: false,
            option: String::new(),
        };
        let devices: [IpAddr; 2] = [[192, 0, 2, 9].into(), Ipv6Addr::LOCALHOST.into()];
        let pairs = |forward: &Forward, devices: &[IpAddr]| -> Vec<(String, String)> {
            let all = forward.publishes(forward.locals().unwrap(), devices, PortId(0)).into_iter();
            all.map(|one| (one.local.to_string(), one.inside.to_string())).collect()
        };
        let pair = |local: &str, inside: &str| (local.to_owned(), inside.to_owned());
        let v4 = [pair("0.0.0.0:8000", "192.0.2.9:80"), pair("0.0.0.0:8001", "192.0.2.9:81")];
        let v6 = [pair("[::]:8000", "[::1]:80"), pair("[::]:8001", "[::1]:81")];
        assert_eq!(pairs(&forward, &devices), [v4.clone(), v6].concat());
        assert_eq!(pairs(&forward, &devices[..1]), v4);
        forward.local = Some([127, 0, 0, 1].into());
        forward.ports = 8000..=8000;
        assert_eq!(pairs(&forward, &devices), [pair("127.0.0.1:8000", "192.0.2.9:80")]);
    }
}
