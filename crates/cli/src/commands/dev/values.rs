//! Values of device options on the command line, parsed once into valid types.

use adit_device::netlink::{Address, AddressFlags, IpPrefix, Route};
use adit_device::{IfName, MacAddr, Mode, NamePattern};
use adit_service::text::clean;
use clap::ValueEnum;
use std::ffi::OsStr;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// Packets or frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ModeArg {
    Tun,
    Tap,
}

impl From<ModeArg> for Mode {
    fn from(mode: ModeArg) -> Self {
        match mode {
            ModeArg::Tun => Self::Tun,
            ModeArg::Tap => Self::Tap,
        }
    }
}

/// The settings that new and existing devices share.
#[derive(Debug, clap::Args)]
pub(crate) struct LinkArgs {
    /// The IP MTU in bytes
    #[arg(long, value_name = "BYTES")]
    pub(crate) mtu: Option<u32>,
    /// Length of its queue towards the program, in packets
    #[arg(long, value_name = "PACKETS")]
    pub(crate) txqueuelen: Option<u32>,
    /// The MAC address of a TAP
    #[arg(long)]
    pub(crate) mac: Option<MacAddr>,
    /// A description; an empty one removes it
    #[arg(long, value_name = "TEXT")]
    pub(crate) alias: Option<String>,
    /// The bridge to attach it to
    #[arg(long, value_name = "BRIDGE", value_parser = name)]
    pub(crate) master: Option<IfName>,
}

/// `on` or `off`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Switch {
    On,
    Off,
}

impl From<Switch> for bool {
    fn from(switch: Switch) -> Self {
        switch == Switch::On
    }
}

impl fmt::Display for Switch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::On { "on" } else { "off" })
    }
}

/// The name of an existing device.
pub(crate) fn name(text: &str) -> Result<IfName, adit_device::NameError> {
    IfName::new(OsStr::new(text))
}

/// An existing device, by its name or by an alternative name, which may be longer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AnyName(String);

impl AnyName {
    /// The kernel's `ALTIFNAMSIZ` less the NUL.
    const LEN_MAX: usize = 127;
}

impl FromStr for AnyName {
    type Err = adit_device::NameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match name(text) {
            Err(adit_device::NameError::TooLong { len }) if len <= Self::LEN_MAX => {}
            checked => drop(checked?),
        }
        Ok(Self(text.to_owned()))
    }
}

impl AsRef<OsStr> for AnyName {
    fn as_ref(&self) -> &OsStr {
        self.0.as_ref()
    }
}

impl fmt::Display for AnyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&clean(&self.0))
    }
}

/// The name of a new device, or a pattern for it.
pub(crate) fn pattern(text: &str) -> Result<NamePattern, adit_device::NameError> {
    NamePattern::new(OsStr::new(text))
}

/// `192.0.2.1/24` or `2001:db8::1/64,nodad`.
pub(crate) fn address(text: &str) -> Result<Address, String> {
    let mut parts = text.split(',');
    let local = parts.next().unwrap_or_default().parse::<IpPrefix>();
    let mut address = Address::new(local.map_err(|error| error.to_string())?);
    for option in parts {
        match option {
            "nodad" => address.flags |= AddressFlags::NODAD,
            _ => {
                return Err(format!(
                    "unknown option '{option}' of an address; the only one is nodad"
                ));
            }
        }
    }
    Ok(address)
}

/// `198.51.100.0/24,via=192.0.2.1,metric=100`, `default`.
pub(crate) fn route(text: &str) -> Result<Route, String> {
    let mut parts = text.split(',');
    let destination = parts.next().unwrap_or_default();
    let (mut via, mut metric) = (None, None);
    for option in parts {
        match option.split_once('=') {
            Some(("via", ip)) => {
                let ip: IpAddr = ip.parse().map_err(|_| format!("'{ip}' is not an IP address"))?;
                via = Some(ip);
            }
            Some(("metric", number)) => {
                metric = Some(number.parse().map_err(|_| format!("'{number}' is not a metric"))?);
            }
            _ => {
                return Err(format!(
                    "unknown option '{option}' of a route; expected via=IP or metric=N"
                ));
            }
        }
    }
    let destination = match (destination, via) {
        ("default", Some(IpAddr::V6(_))) => IpPrefix::ALL_V6,
        ("default", _) => IpPrefix::ALL_V4,
        (text, _) => {
            text.parse().map_err(|error: adit_device::netlink::PrefixError| error.to_string())?
        }
    };
    if destination != destination.network() {
        let network = destination.network();
        return Err(format!(
            "{destination} is a host address; did you mean the network {network}?"
        ));
    }
    Ok(Route { gateway: via, metric, ..Route::new(destination) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use adit_service::host::action::route_text;

    #[test]
    fn addresses_and_routes() {
        let nodad = address("2001:db8::1/64,nodad").unwrap();
        assert!(nodad.flags.contains(AddressFlags::NODAD));
        assert_eq!(address("192.0.2.1").unwrap().local.to_string(), "192.0.2.1/32");
        assert!(address("192.0.2.1/24,dad").unwrap_err().contains("nodad"));
        let routed = route("198.51.100.0/24,via=192.0.2.2,metric=7").unwrap();
        assert_eq!(route_text(&routed), "198.51.100.0/24 via 192.0.2.2 metric 7");
        assert_eq!(route("default,via=fe80::1").unwrap().destination, IpPrefix::ALL_V6);
        assert!(route("198.51.100.1/24").unwrap_err().contains("198.51.100.0/24"));
    }
}
