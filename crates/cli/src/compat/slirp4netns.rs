//! The command line of slirp4netns.

use super::call::{Call, Fault};
use super::getopt::{self, Known, Operands};
use adit_device::{IfName, MacAddr};
use adit_packet::IpPrefix;
use adit_service::namespace::attach::Target;
use adit_service::sandbox::Level;
use adit_vpn::drop_in::{Network, Outbound, Slirp4netns};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::RawFd;

static KNOWN: &[Known] = &[
    Known::flag("configure", Some('c')),
    Known::value("exit-fd", Some('e')),
    Known::value("ready-fd", Some('r')),
    Known::value("mtu", Some('m')),
    Known::flag("enable-ipv6", Some('6')),
    Known::value("api-socket", Some('a')),
    Known::value("cidr", None),
    Known::flag("disable-host-loopback", None),
    Known::value("netns-type", None),
    Known::value("userns-path", None),
    Known::flag("enable-sandbox", None),
    Known::flag("enable-seccomp", None),
    Known::value("outbound-addr", None),
    Known::value("outbound-addr6", None),
    Known::flag("disable-dns", None),
    Known::value("macaddress", None),
    Known::value("target-type", None),
    Known::flag("help", Some('h')),
    Known::flag("version", Some('v')),
];

/// podman and rootlesskit look for the names of the options in it.
pub(super) const HELP: &str = "\
Usage: slirp4netns [OPTION]... PID|PATH [TAPNAME]
A network namespace gets a way out through sockets of this process (adit).

-c, --configure          set addresses, routes and MTU of the TAP; without it the caller does
-e, --exit-fd=FD         end when the other end of FD is closed
-r, --ready-fd=FD        write 1 to FD when the network is ready
-m, --mtu=MTU            the MTU (default 1500, at most 65521)
-6, --enable-ipv6        IPv6 as well
-a, --api-socket=PATH    where requests for ports of the host come
--cidr=CIDR              the network inside (default 10.0.2.0/24)
--disable-host-loopback  the host's loopback cannot be reached
--netns-type=TYPE        what the first operand is: path or pid (default)
--userns-path=PATH       the user namespace, which is found without it
--enable-sandbox         accepted: the sandbox is always on
--enable-seccomp         accepted: seccomp is always on
--macaddress=MAC         the MAC address of the TAP (with --configure)
--outbound-addr=ADDR     connections come from this address or interface of the host
--outbound-addr6=ADDR    the same for IPv6
--disable-dns            no name server at the third address
--target-type=TYPE       netns
-h, --help               print this help
-v, --version            print the version
";

/// The largest MTU that slirp4netns takes, and the least.
const MTU_MAX: u16 = 65521;
const MTU_MIN: u16 = 68;

/// Reads a command line, without the program's name.
pub(super) fn read(words: &[String]) -> Result<Call, Fault> {
    let line = getopt::read(KNOWN, Operands::Anywhere, words).map_err(Fault::Usage)?;
    let mut options = Options::default();
    for &(name, value) in &line.options {
        match name {
            "help" => return Ok(Call::Print(HELP.to_owned())),
            "version" => return Ok(Call::Print(version())),
            _ => options.set(name, value)?,
        }
    }
    let (target, device) = match line.operands[..] {
        [target] => (target, "tap0"),
        [target, device] => (target, device),
        _ => return Err(Fault::Usage("a PID or PATH is required".to_owned())),
    };
    let target = if options.is_path {
        Target::Text(path(target)?)
    } else {
        let pid = target.parse().ok().filter(|&pid| pid > 0);
        Target::Process(pid.ok_or_else(|| fault("PID must be a positive integer"))?)
    };
    if options.mac.is_some() && !options.configures {
        return Err(fault(
            "--macaddress cannot be specified when --configure or -c is not specified",
        ));
    }
    let device = IfName::new(device).map_err(|error| fault(format!("TAPNAME: {error}")))?;
    Ok(Call::Slirp4netns(options.wanted(target, device)?))
}

#[derive(Debug)]
struct Options {
    configures: bool,
    mac: Option<MacAddr>,
    is_path: bool,
    ready: Option<RawFd>,
    exit: Option<RawFd>,
    mtu: u16,
    has_v6: bool,
    api_socket: Option<String>,
    network: IpPrefix,
    has_host_loopback: bool,
    has_dns: bool,
    outbound: Vec<Outbound>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            configures: false,
            mac: None,
            is_path: false,
            ready: None,
            exit: None,
            mtu: 1500,
            has_v6: false,
            api_socket: None,
            network: IpPrefix::new(Ipv4Addr::new(10, 0, 2, 0).into(), 24)
                .unwrap_or(IpPrefix::ALL_V4),
            has_host_loopback: true,
            has_dns: true,
            outbound: Vec::new(),
        }
    }
}

impl Options {
    fn set(&mut self, name: &str, value: &str) -> Result<(), Fault> {
        match name {
            "configure" => self.configures = true,
            "macaddress" => {
                let mac = value.parse().ok().filter(|mac: &MacAddr| mac.is_station());
                self.mac =
                    Some(mac.ok_or_else(|| fault("macaddress must be a valid MAC address"))?);
            }
            "exit-fd" => self.exit = Some(descriptor("exit-fd", value)?),
            "ready-fd" => self.ready = Some(descriptor("ready-fd", value)?),
            "mtu" => {
                let mtu = value.parse().ok().filter(|mtu| (MTU_MIN..=MTU_MAX).contains(mtu));
                self.mtu =
                    mtu.ok_or_else(|| fault("MTU must be a positive integer (68 to 65521)"))?;
            }
            "enable-ipv6" => self.has_v6 = true,
            "api-socket" => self.api_socket = Some(value.to_owned()),
            "cidr" => self.network = network(value)?,
            "disable-host-loopback" => self.has_host_loopback = false,
            "netns-type" => {
                self.is_path = match value {
                    "path" => true,
                    "pid" => false,
                    _ => return Err(fault("netns-type must be either 'path' or 'pid'")),
                }
            }
            // The owner of the network namespace is its user namespace.
            "userns-path" => drop(path(value)?),
            "enable-sandbox" | "enable-seccomp" => {}
            "disable-dns" => self.has_dns = false,
            "outbound-addr" | "outbound-addr6" => {
                self.outbound.push(outbound(value, name == "outbound-addr")?);
            }
            "target-type" if value == "netns" => {}
            _ => return Err(fault(format!("--{name}={value} is not supported by adit"))),
        }
        Ok(())
    }

    fn wanted(self, target: Target, device: IfName) -> Result<Slirp4netns, Fault> {
        let four = |number: u32| {
            let IpAddr::V4(base) = self.network.ip() else { return None };
            Some(IpAddr::V4(Ipv4Addr::from_bits(base.to_bits().checked_add(number)?)))
        };
        let six = |number| IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, number));
        let invalid = || fault("invalid CIDR");
        let prefix = |ip, len| IpPrefix::new(ip, len).map_err(|_| invalid());
        let mut networks = vec![Network {
            device: prefix(four(DEVICE.into()).ok_or_else(invalid)?, self.network.len())?,
            gateway: four(GATEWAY.into()).ok_or_else(invalid)?,
            name_server: four(NAME_SERVER.into()).filter(|_| self.has_dns),
        }];
        if self.has_v6 {
            networks.push(Network {
                device: prefix(six(DEVICE), 64)?,
                gateway: six(GATEWAY),
                name_server: Some(six(NAME_SERVER)).filter(|_| self.has_dns),
            });
        }
        Ok(Slirp4netns {
            target,
            device,
            mac: self.mac,
            configures: self.configures,
            networks,
            mtu: self.mtu,
            outbound: self.outbound,
            host_loopback: self.has_host_loopback,
            ready: self.ready,
            exit: self.exit,
            api_socket: self.api_socket.map(Into::into),
            sandbox: Level::Try,
        })
    }
}

/// The numbers of the NAT, the name server and the device in their network.
const GATEWAY: u16 = 2;
const NAME_SERVER: u16 = 3;
const DEVICE: u16 = 100;

fn version() -> String {
    // The format is that of slirp4netns, whose version decides which options callers use.
    format!("slirp4netns version 1.2.0\ncommit: adit {}\n", env!("CARGO_PKG_VERSION"))
}

fn fault(message: impl Into<String>) -> Fault {
    Fault::Refused(message.into())
}

fn descriptor(name: &str, value: &str) -> Result<RawFd, Fault> {
    let number = value.parse().ok().filter(|&number| number >= 0);
    number.ok_or_else(|| fault(format!("{name} must be a non-negative integer")))
}

fn path(text: &str) -> Result<String, Fault> {
    match std::fs::metadata(text) {
        // A relative path would be taken for a name.
        Ok(_) if text.contains('/') => Ok(text.to_owned()),
        Ok(_) => Ok(format!("./{text}")),
        Err(error) => Err(fault(format!("existing path expected: {text}: {error}"))),
    }
}

/// An address, or the name of an interface.
fn outbound(text: &str, is_v4: bool) -> Result<Outbound, Fault> {
    let name = || Some(Outbound::Interface { name: IfName::new(text).ok()?, is_v4 });
    let found = match text.parse::<IpAddr>() {
        Ok(ip) => Some(Outbound::Address(ip)).filter(|_| ip.is_ipv4() == is_v4),
        Err(_) => name(),
    };
    found.ok_or_else(|| fault(format!("{text}: an address or an interface is expected")))
}

fn network(text: &str) -> Result<IpPrefix, Fault> {
    let invalid = || fault(format!("invalid CIDR: {text}"));
    let prefix: IpPrefix =
        text.contains('/').then(|| text.parse().ok()).flatten().ok_or_else(invalid)?;
    // The device is number 100 of it.
    let is_valid = prefix.ip().is_ipv4() && prefix.network() == prefix && prefix.len() <= 25;
    if is_valid { Ok(prefix) } else { Err(invalid()) }
}

#[cfg(test)]
mod tests;
