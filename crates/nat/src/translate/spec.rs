//! Ports to publish, as people write them.

use alloc::format;
use alloc::string::String;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::ops::RangeInclusive;
use core::str::FromStr;

use super::publish::Publish;
use adit_engine::PortId;
use adit_engine::flow::Transport;

/// Ports of the host that lead inside: `[ADDR:]PORT[-PORT][:[GUEST:]INSIDE][/udp]`.
///
/// ```
/// use adit_nat::PublishSpec;
///
/// let spec: PublishSpec = "127.0.0.1:8080-8089:80".parse()?;
/// assert_eq!((spec.ports.clone(), spec.inside), (8080..=8089, 80));
/// assert_eq!(spec.to_string(), "127.0.0.1:8080-8089:80");
/// assert!("8080:80/sctp".parse::<PublishSpec>().is_err());
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishSpec {
    /// TCP or UDP.
    pub transport: Transport,
    /// The host's address; `None` for all of both families.
    pub address: Option<IpAddr>,
    /// The host's ports.
    pub ports: RangeInclusive<u16>,
    /// The address inside; `None` for the device, or the first guest.
    pub guest: Option<IpAddr>,
    /// The port inside of the first one; the others follow.
    pub inside: u16,
}

/// What to publish: [`PublishSpec`], `[ADDR:]auto`, or `fd:N=INSIDE`.
///
/// ```
/// use adit_nat::Publishing;
///
/// assert_eq!("127.0.0.1:auto".parse(), Ok(Publishing::Auto(Some([127, 0, 0, 1].into()))));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Publishing {
    /// These ports.
    Ports(PublishSpec),
    /// The TCP ports that listen inside, at this address of the host, or at all.
    Auto(Option<IpAddr>),
    /// A listening socket that another program has opened.
    Listener {
        /// The number of its descriptor.
        fd: i32,
        /// The port inside.
        inside: u16,
    },
}

impl FromStr for Publishing {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(listener) = text.strip_prefix("fd:") {
            let number = |text: &str| text.parse().ok().filter(|fd: &i32| *fd >= 0);
            let (fd, inside) = listener.split_once('=').ok_or("`=PORT` must follow `fd:N`")?;
            let fd = number(fd).ok_or("a number must follow `fd:`")?;
            let inside = parse_ports(inside)?;
            if inside.start() != inside.end() {
                return Err("a socket leads to one port".into());
            }
            return Ok(Self::Listener { fd, inside: *inside.start() });
        }
        match split_address(text)? {
            (address, "auto") => Ok(Self::Auto(address)),
            _ => text.parse().map(Self::Ports),
        }
    }
}

impl fmt::Display for Publishing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ports(spec) => spec.fmt(f),
            Self::Auto(address) => {
                write_address(f, *address)?;
                f.write_str("auto")
            }
            Self::Listener { fd, inside } => write!(f, "fd:{fd}={inside}"),
        }
    }
}

fn write_address(f: &mut fmt::Formatter<'_>, address: Option<IpAddr>) -> fmt::Result {
    match address {
        Some(IpAddr::V4(ip)) => write!(f, "{ip}:"),
        Some(IpAddr::V6(ip)) => write!(f, "[{ip}]:"),
        None => Ok(()),
    }
}

impl PublishSpec {
    /// What to publish, for a device inside with these addresses: nothing of a family that it has not.
    pub fn of_device(
        &self,
        addresses: &[IpAddr],
        port: PortId,
    ) -> impl Iterator<Item = Publish> + use<> {
        let any = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
        let locals = self.address.map_or_else(|| any.to_vec(), |address| [address].to_vec());
        let addresses = self.guest.as_ref().map_or(addresses, core::slice::from_ref);
        let pair = |local: IpAddr| {
            let inside = addresses.iter().find(|ip| ip.is_ipv4() == local.is_ipv4())?;
            Some((local, *inside))
        };
        let pairs: alloc::vec::Vec<_> = locals.into_iter().filter_map(pair).collect();
        let (transport, first) = (self.transport, self.inside);
        self.ports.clone().zip(first..=u16::MAX).flat_map(move |(of_host, of_inside)| {
            let publish = move |(local, inside)| Publish {
                transport,
                local: SocketAddr::new(local, of_host),
                inside: SocketAddr::new(inside, of_inside),
                port,
            };
            pairs.clone().into_iter().map(publish)
        })
    }

    /// Whether it describes a published port; the port inside does not matter.
    #[must_use]
    pub fn covers(&self, publish: &Publish) -> bool {
        publish.transport == self.transport
            && self.ports.contains(&publish.local.port())
            && self.address.is_none_or(|address| address == publish.local.ip())
    }
}

impl FromStr for PublishSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (rest, transport) = match text.rsplit_once('/') {
            None => (text, Transport::Tcp),
            Some((rest, "tcp")) => (rest, Transport::Tcp),
            Some((rest, "udp")) => (rest, Transport::Udp),
            Some(_) => return Err("the protocol is `/tcp` or `/udp`".into()),
        };
        let (address, rest) = split_address(rest)?;
        let (ports, (guest, inside)) = match rest.split_once(':') {
            Some((ports, inside)) => {
                let (guest, inside) = split_address(inside)?;
                (ports, (guest, Some(parse_ports(inside)?)))
            }
            None => (rest, (None, None)),
        };
        if address.zip(guest).is_some_and(|(host, guest)| host.is_ipv4() != guest.is_ipv4()) {
            return Err("both addresses must be IPv4, or both IPv6".into());
        }
        let ports = parse_ports(ports)?;
        let inside = inside.unwrap_or_else(|| ports.clone());
        let more = ports.end() - ports.start();
        let is_range = inside.start() != inside.end();
        if is_range && inside.end() - inside.start() != more {
            return Err("both ranges must have the same number of ports".into());
        }
        if inside.start().checked_add(more).is_none() {
            return Err("a port inside would exceed 65535".into());
        }
        Ok(Self { transport, address, ports, guest, inside: *inside.start() })
    }
}

impl fmt::Display for PublishSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, last) = (*self.ports.start(), *self.ports.end());
        write_address(f, self.address)?;
        write!(f, "{first}")?;
        if last != first {
            write!(f, "-{last}")?;
        }
        if self.inside != first || self.guest.is_some() {
            f.write_str(":")?;
            write_address(f, self.guest)?;
            write!(f, "{}", self.inside)?;
        }
        f.write_str(if self.transport == Transport::Udp { "/udp" } else { "" })
    }
}

/// The address before the ports, if there is one: IPv4, or IPv6 in brackets.
pub(super) fn split_address(text: &str) -> Result<(Option<IpAddr>, &str), String> {
    let invalid = |address: &str| format!("`{}` is not an IP address", address.escape_debug());
    if let Some(rest) = text.strip_prefix('[') {
        let (address, rest) = rest.split_once("]:").ok_or("`]:` and a port must follow `[`")?;
        let ip: Ipv6Addr = address.parse().map_err(|_| invalid(address))?;
        return Ok((Some(ip.to_canonical()), rest));
    }
    match text.split_once(':') {
        Some((address, _)) if !address.starts_with(|c: char| c.is_ascii_digit()) => {
            Err(invalid(address))
        }
        Some((address, rest)) if address.contains('.') => {
            let ip: Ipv4Addr = address.parse().map_err(|_| invalid(address))?;
            Ok((Some(ip.into()), rest))
        }
        _ => Ok((None, text)),
    }
}

/// `PORT` or `PORT-PORT`, from 1 on.
pub(super) fn parse_ports(text: &str) -> Result<RangeInclusive<u16>, String> {
    let port = |text: &str| {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|&port: &u16| is_number && port > 0);
        number.ok_or_else(|| format!("`{}` is not a port (1 to 65535)", text.escape_debug()))
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let ports = port(first)?..=port(last)?;
    if ports.is_empty() {
        return Err(format!("the range {first}-{last} is empty"));
    }
    Ok(ports)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::proptest;
    use std::string::ToString;
    use std::vec::Vec;

    #[test]
    fn a_spec_reads_and_prints() {
        for (text, printed) in [
            ("8080", "8080"),
            ("8080/tcp", "8080"),
            ("8080:8080", "8080"),
            ("8080:80", "8080:80"),
            ("53:5353/udp", "53:5353/udp"),
            ("127.0.0.1:8080", "127.0.0.1:8080"),
            ("[::1]:8080:80/udp", "[::1]:8080:80/udp"),
            ("[::ffff:127.0.0.1]:80", "127.0.0.1:80"),
            ("8000-8009:9000", "8000-8009:9000"),
            ("8000-8009:9000-9009", "8000-8009:9000"),
            ("65535", "65535"),
            ("8080:10.0.2.16:80", "8080:10.0.2.16:80"),
            ("80:10.0.2.16:80/udp", "80:10.0.2.16:80/udp"),
            ("127.0.0.1:8000-8009:10.0.2.16:80-89", "127.0.0.1:8000-8009:10.0.2.16:80"),
            ("[::1]:8080:[fd00::16]:80", "[::1]:8080:[fd00::16]:80"),
        ] {
            let spec: PublishSpec = text.parse().unwrap();
            assert_eq!(spec.to_string(), printed, "{text}");
            assert_eq!(printed.parse(), Ok(spec), "{text}");
        }
        for wrong in [
            "",
            "0",
            "x",
            "8080:",
            ":80",
            "8080/",
            "8080/sctp",
            "70000",
            "80-79",
            "1-2:1-3",
            "65534-65535:65535",
            "::1:80",
            "[::1]",
            "[::1]80",
            "[127.0.0.1]:80",
            "1.2.3:80",
            "localhost:80",
            "80:80:80",
            "80:10.0.2.16",
            "80:[fd00::16]",
            "80:fd00::16:80",
            "127.0.0.1:80:[fd00::16]:80",
            "80:guest:80",
            "+80",
            "1.2.3.4",
            "[fe80::1%eth0]:80",
            "8-",
            "\u{7}:80",
        ] {
            assert!(wrong.parse::<PublishSpec>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn ports_may_be_automatic_or_those_of_a_socket() {
        for text in ["auto", "127.0.0.1:auto", "[::1]:auto", "8080:80", "fd:3=80"] {
            let publishing: Publishing = text.parse().unwrap();
            assert_eq!(publishing.to_string(), text);
        }
        for wrong in [
            "auto:80",
            "auto/udp",
            "lo:auto",
            "[::1]auto",
            "fd:3",
            "fd:=80",
            "fd:-1=80",
            "fd:3=80-81",
            "fd:3=0",
        ] {
            assert!(wrong.parse::<Publishing>().is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[0-9a-fudpito:./=\\[\\]-]{0,24}|.{0,24}") {
            if let Ok(publishing) = text.parse::<Publishing>() {
                assert_eq!(publishing.to_string().parse(), Ok(publishing), "{text}");
            }
            if let Ok(to) = text.parse::<crate::translate::Destination>() {
                assert_eq!(to.to_string().parse(), Ok(to), "{text}");
            }
        }
    }

    #[test]
    fn ports_lead_to_the_device_of_their_family() {
        let both: [IpAddr; 2] = ["10.0.2.100", "fd00::100"].map(|ip| ip.parse().unwrap());
        let of = |text: &str, addresses: &[IpAddr]| {
            let spec: PublishSpec = text.parse().unwrap();
            let all: Vec<Publish> = spec.of_device(addresses, PortId(0)).collect();
            assert!(all.iter().all(|publish| spec.covers(publish)));
            all.iter().map(|one| format!("{} {}", one.local, one.inside)).collect::<Vec<_>>()
        };
        assert_eq!(
            of("80-81:8080", &both),
            [
                "0.0.0.0:80 10.0.2.100:8080",
                "[::]:80 [fd00::100]:8080",
                "0.0.0.0:81 10.0.2.100:8081",
                "[::]:81 [fd00::100]:8081"
            ]
        );
        assert_eq!(of("80", &both[..1]), ["0.0.0.0:80 10.0.2.100:80"]);
        assert_eq!(of("[::1]:80", &both), ["[::1]:80 [fd00::100]:80"]);
        assert!(of("[::1]:80", &both[..1]).is_empty());
        assert_eq!(of("80:10.0.2.16:8080", &both), ["0.0.0.0:80 10.0.2.16:8080"]);
        assert_eq!(of("80:[fd00::16]:8080", &both[..1]), ["[::]:80 [fd00::16]:8080"]);
    }
}
