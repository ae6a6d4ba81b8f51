//! Ports as `-t` and `-u` of pasta and passt describe them.
//!
//! ```text
//! none                  8080:80            127.0.0.1/8080:80       22,25        8000-8010:80-90
//! auto                  ::1/8080           5-25,~10-20             0.0.0.0/80:192.0.2.9/8080
//! all                   127.0.0.1/all      ~5000                   192.0.2.1%eth0/22
//! ```

use adit_device::IfName;
use adit_engine::Transport;
use adit_vpn::drop_in::Forward;
use std::net::IpAddr;
use std::ops::RangeInclusive;

/// The most ports of one option: each takes a descriptor.
const PORTS_MAX: usize = 4096;

/// The ports that options ask for.
#[derive(Debug, Default)]
pub(super) struct Ports {
    pub(super) forwards: Vec<Forward>,
    /// The addresses of the host for ports that listen inside; `None` for all of them.
    pub(super) follows: Vec<(Transport, Option<IpAddr>)>,
    /// For which an option was given.
    pub(super) given: Vec<Transport>,
}

impl Ports {
    /// Opens no ports of these transports.
    pub(super) fn exclude(&mut self, transports: &[Transport]) {
        self.forwards.retain(|forward| !transports.contains(&forward.transport));
        self.follows.retain(|(transport, _)| !transports.contains(transport));
        self.given.extend(transports);
    }
}

/// Adds the ports of one option.
///
/// # Errors
/// Why the text is not valid, or that adit does not have it.
pub(super) fn add(
    transport: Transport,
    option: &str,
    text: &str,
    all: &mut Ports,
) -> Result<(), String> {
    let Ports { forwards, follows, given } = all;
    given.push(transport);
    if text == "none" {
        forwards.retain(|forward| forward.transport != transport);
        follows.retain(|follow| follow.0 != transport);
        return Ok(());
    }
    let invalid = || format!("Invalid port specifier {text}");
    let (local, ports) = split_address(text).ok_or_else(invalid)?;
    let (local, interface) = match local.and_then(|local| local.split_once('%')) {
        Some((local, interface)) => (Some(local), Some(interface)),
        None => (local, None),
    };
    let interface = interface.map(IfName::new).transpose().map_err(|_| invalid())?;
    let address = |text: &str| match text.trim_start_matches('[').trim_end_matches(']') {
        "" => None,
        text => Some(text.parse::<IpAddr>()),
    };
    let local = local.and_then(address).transpose().map_err(|_| invalid())?;
    if ports == "auto" && interface.is_none() {
        follows.push((transport, local));
        return Ok(());
    }
    let Parts { mut included, excluded, mut is_all } =
        read_parts(ports).map_err(|why| match why {
            None => invalid(),
            Some(why) => format!("{option} {text}: {why} is not supported by adit"),
        })?;
    if is_all || included.is_empty() {
        is_all = true;
        included = vec![(1..=u16::MAX, None, 1)];
    }
    let is_excluded =
        |port: &u16| excluded.iter().any(|range: &RangeInclusive<u16>| range.contains(port));
    for (host, guest, inside) in included {
        // Without those that are excluded, in one piece where none is.
        let pieces = pieces(host.clone().filter(|port| !is_excluded(port)));
        forwards.extend(pieces.into_iter().map(|piece| Forward {
            transport,
            local,
            interface,
            guest,
            inside: inside + (*piece.start() - *host.start()),
            ports: piece,
            as_possible: is_all,
            option: format!("{option} {text}"),
        }));
    }
    let fixed = forwards.iter().filter(|forward| !forward.as_possible);
    let count: usize = fixed.map(|forward| forward.ports.clone().count()).sum();
    if count > PORTS_MAX {
        return Err(format!("{option} {text}: adit forwards at most {PORTS_MAX} ports"));
    }
    Ok(())
}

/// Ranges of ports, those that are included with the address and the first port inside.
#[derive(Default)]
struct Parts {
    included: Vec<(RangeInclusive<u16>, Option<IpAddr>, u16)>,
    excluded: Vec<RangeInclusive<u16>>,
    is_all: bool,
}

/// Reads what stands between commas. The error is what adit does not have; `None` if it is not valid.
fn read_parts(ports: &str) -> Result<Parts, Option<&'static str>> {
    let mut parts = Parts::default();
    for part in ports.split(',') {
        if let Some(range) = part.strip_prefix('~') {
            parts.excluded.push(read_range(range).ok_or(None)?);
            continue;
        }
        match part {
            "all" => parts.is_all = true,
            "auto" => return Err(Some("'auto' among others")),
            _ => {
                let (host, inside) = part.split_once(':').unwrap_or((part, ""));
                let host = read_range(host).ok_or(None)?;
                let (guest, inside) = split_guest(inside).ok_or(None)?;
                let inside = match inside {
                    "" => host.clone(),
                    inside => read_range(inside).ok_or(None)?,
                };
                if inside.clone().count() != host.clone().count() {
                    return Err(None);
                }
                parts.included.push((host, guest, *inside.start()));
            }
        }
    }
    Ok(parts)
}

/// The address before the ports, if there is one. The address inside has a slash as well, behind a port.
fn split_address(text: &str) -> Option<(Option<&str>, &str)> {
    let Some((first, rest)) = text.split_once('/') else { return Some((None, text)) };
    let is_address = first.is_empty()
        || first.contains('%')
        || first.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok();
    if is_address { Some((Some(first), rest)) } else { first.contains(':').then_some((None, text)) }
}

/// The address inside and the ports, of `ADDR/PORTS`, `ADDR` or `PORTS`.
fn split_guest(text: &str) -> Option<(Option<IpAddr>, &str)> {
    let address = |text: &str| text.trim_start_matches('[').trim_end_matches(']').parse().ok();
    match text.split_once('/') {
        Some((_, "")) => None,
        Some((guest, ports)) => Some((Some(address(guest)?), ports)),
        None => Some(address(text).map_or((None, text), |guest| (Some(guest), ""))),
    }
}

fn read_range(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first > 0 && first <= last).then_some(first..=last)
}

/// Ports as ranges.
fn pieces(ports: impl Iterator<Item = u16>) -> Vec<RangeInclusive<u16>> {
    let mut pieces: Vec<RangeInclusive<u16>> = Vec::new();
    for port in ports {
        match pieces.last_mut() {
            Some(piece) if piece.end().checked_add(1) == Some(port) => {
                *piece = *piece.start()..=port
            }
            _ => pieces.push(port..=port),
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<String>, String> {
        let mut ports = Ports::default();
        add(Transport::Tcp, "-t", text, &mut ports)?;
        let show = |one: Forward| {
            let local = one.local.map_or("*".to_owned(), |ip| ip.to_string());
            let interface = one.interface.map_or(String::new(), |name| format!("%{name}"));
            let guest = one.guest.map_or(String::new(), |ip| format!("{ip}/"));
            let (first, last) = (one.ports.start(), one.ports.end());
            format!("{local}{interface}/{first}-{last}:{guest}{}", one.inside)
        };
        let follow = |(_, local): (Transport, Option<IpAddr>)| format!("auto {local:?}");
        let follows = ports.follows.into_iter().map(follow);
        Ok(ports.forwards.into_iter().map(show).chain(follows).collect())
    }

    #[test]
    fn the_ports_of_pasta_are_read() {
        for (text, expected) in [
            ("none", vec![]),
            ("22", vec!["*/22-22:22"]),
            ("80-80:60-60", vec!["*/80-80:60"]),
            ("8080:80", vec!["*/8080-8080:80"]),
            ("22,25", vec!["*/22-22:22", "*/25-25:25"]),
            ("22-80:32-90", vec!["*/22-80:32"]),
            ("192.0.2.1/5", vec!["192.0.2.1/5-5:5"]),
            ("127.0.0.1/8080-8080:80-80", vec!["127.0.0.1/8080-8080:80"]),
            ("::1/8080:80", vec!["::1/8080-8080:80"]),
            ("[::1]/80", vec!["::1/80-80:80"]),
            ("192.0.2.1%eth0/22", vec!["192.0.2.1%eth0/22-22:22"]),
            ("%eth0/22", vec!["*%eth0/22-22:22"]),
            ("/80", vec!["*/80-80:80"]),
            ("all", vec!["*/1-65535:1"]),
            ("127.0.0.1/all", vec!["127.0.0.1/1-65535:1"]),
            ("~25", vec!["*/1-24:1", "*/26-65535:26"]),
            ("all,~1-65000", vec!["*/65001-65535:65001"]),
            ("auto", vec!["auto None"]),
            ("127.0.0.1/auto", vec!["auto Some(127.0.0.1)"]),
            ("80:192.0.2.5/8080", vec!["*/80-80:192.0.2.5/8080"]),
            ("127.0.0.1/80-81:192.0.2.5/90-91", vec!["127.0.0.1/80-81:192.0.2.5/90"]),
            ("80:192.0.2.5", vec!["*/80-80:192.0.2.5/80"]),
            ("80:[2001:db8::5]/8080,22", vec!["*/80-80:2001:db8::5/8080", "*/22-22:22"]),
            ("5-25:105-125,~10-20", vec!["*/5-9:105", "*/21-25:121"]),
        ] {
            assert_eq!(read(text), Ok(expected.into_iter().map(str::to_owned).collect()), "{text}");
        }
        for (text, part) in [
            ("", "Invalid port specifier"),
            ("0", "Invalid port specifier"),
            ("65536", "Invalid port specifier"),
            ("9-8", "Invalid port specifier"),
            ("80:90-91", "Invalid port specifier"),
            ("x/80", "Invalid port specifier"),
            ("%eth0/auto", "'auto' among others"),
            ("%a-name-that-is-too-long/22", "Invalid port specifier"),
            ("all:192.0.2.5", "Invalid port specifier"),
            ("80,auto", "'auto' among others"),
            ("80:192.0.2.5/", "Invalid port specifier"),
            ("80:guest/8080", "Invalid port specifier"),
            ("1-5000", "at most 4096 ports"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
        let mut ports = Ports::default();
        for (transport, option, text) in [
            (Transport::Tcp, "-t", "22"),
            (Transport::Tcp, "-t", "auto"),
            (Transport::Udp, "-u", "53"),
            (Transport::Udp, "-u", "auto"),
            (Transport::Tcp, "-t", "none"),
        ] {
            add(transport, option, text, &mut ports).unwrap();
        }
        assert_eq!((ports.forwards.len(), ports.follows), (1, vec![(Transport::Udp, None)]));
    }
}
