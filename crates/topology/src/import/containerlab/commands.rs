//! What a command in a container only sets, so that the lab sets it itself.

use adit_device::{IfName, MacAddr};
use adit_packet::IpPrefix;
use std::net::IpAddr;

/// What a command does.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Nothing that a lab does not do anyway.
    None,
    /// Adds an address to an interface.
    Address(String, String),
    /// Sets the MAC address of an interface.
    Mac(String, String),
    /// Adds a route.
    Route(String, String),
    /// Sets a sysctl.
    Sysctl(String, String),
    /// Something else.
    Unknown,
}

/// Reads a command.
pub(super) fn effect(line: &str) -> Effect {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let known = match words.as_slice() {
        ["ip", rest @ ..] => ip(rest),
        ["sysctl", "-w", setting] => setting
            .split_once('=')
            .map(|(key, value)| Effect::Sysctl(key.to_owned(), value.to_owned())),
        _ => None,
    };
    known.unwrap_or(Effect::Unknown)
}

/// The words after `ip`.
fn ip(words: &[&str]) -> Option<Effect> {
    let words = match words {
        ["-4" | "-6", rest @ ..] => rest,
        _ => words,
    };
    let [object, verb, rest @ ..] = words else { return None };
    let is_add = matches!(*verb, "add" | "a" | "replace");
    match *object {
        "a" | "addr" | "address" if is_add => {
            let (address, interface) = with_device(rest)?;
            let prefix = address.parse::<IpPrefix>().ok().filter(|_| interface != "lo");
            prefix.map(|prefix| Effect::Address(interface.to_owned(), prefix.to_string()))
        }
        "r" | "ro" | "route" if is_add => route(rest),
        "l" | "link" if *verb == "set" => match rest {
            ["dev", name, "up"] | [name, "up"] if name.parse::<IfName>().is_ok() => {
                Some(Effect::None)
            }
            ["address", mac, "dev", name]
            | ["dev", name, "address", mac]
            | [name, "address", mac] => {
                let is_valid = mac.parse::<MacAddr>().is_ok() && name.parse::<IfName>().is_ok();
                is_valid.then(|| Effect::Mac((*name).to_owned(), (*mac).to_owned()))
            }
            _ => None,
        },
        _ => None,
    }
}

/// `VALUE dev NAME` or `dev NAME VALUE`.
fn with_device<'a>(words: &[&'a str]) -> Option<(&'a str, &'a str)> {
    match words {
        [value, "dev", name] | ["dev", name, value] => {
            name.parse::<IfName>().is_ok().then_some((*value, *name))
        }
        _ => None,
    }
}

/// `PREFIX via ADDRESS [dev NAME]`: the interface follows from the next hop.
fn route(words: &[&str]) -> Option<Effect> {
    let (to, via) = match words {
        [to, "via", via] | [to, "via", via, "dev", _] => (*to, via.parse::<IpAddr>().ok()?),
        _ => return None,
    };
    let to = match (to, via) {
        ("default", IpAddr::V4(_)) => "0.0.0.0/0".to_owned(),
        ("default", IpAddr::V6(_)) => "::/0".to_owned(),
        (to, _) => to.parse::<IpPrefix>().ok()?.to_string(),
    };
    Some(Effect::Route(to, via.to_string()))
}

#[cfg(test)]
mod tests {
    use super::{Effect, effect};

    #[test]
    fn commands_that_only_set_are_taken_apart() {
        let address = |name: &str, text: &str| Effect::Address(name.to_owned(), text.to_owned());
        let route = |to: &str, via: &str| Effect::Route(to.to_owned(), via.to_owned());
        for (line, wanted) in [
            ("ip addr add 192.168.1.2/30 dev eth1", address("eth1", "192.168.1.2/30")),
            ("ip addr add dev eth1 10.0.1.1/24", address("eth1", "10.0.1.1/24")),
            ("ip -6 address add 2001:db8::1/96 dev eth1", address("eth1", "2001:db8::1/96")),
            ("ip link set dev eth1 up", Effect::None),
            (
                "ip route add 10.0.0.0/8 via 192.168.1.1 dev eth1",
                route("10.0.0.0/8", "192.168.1.1"),
            ),
            ("ip route replace default via 2001:db8::2", route("::/0", "2001:db8::2")),
            (
                "sysctl -w net.ipv4.ip_forward=1",
                Effect::Sysctl("net.ipv4.ip_forward".into(), "1".into()),
            ),
            ("ip link set eth1 mtu 9000", Effect::Unknown),
            ("ip addr add 10.0.0.1/32 dev lo", Effect::Unknown),
            ("bash -c 'ip link set eth1 up'", Effect::Unknown),
            ("", Effect::Unknown),
        ] {
            assert_eq!(effect(line), wanted, "{line}");
        }
    }
}
