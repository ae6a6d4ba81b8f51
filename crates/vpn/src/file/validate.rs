//! What must hold between the settings of a configuration. A start, a reload and `check` share it.

use crate::file::config::{Config, Table};
use crate::file::keys::Key;
use adit_device::Mode;
use adit_device::netlink::{IpFamily, IpPrefix, TABLE_MAIN};
use adit_tunnel::PostQuantum;

/// IPv6 needs this MTU (RFC 8200, section 5).
const MTU_IPV6_MIN: u32 = 1280;

/// Every problem, for people; empty if the configuration can be started. The endpoints are in the device's
/// namespace if `same_netns`.
#[must_use]
pub fn problems(config: &Config, same_netns: bool) -> Vec<String> {
    let mut problems = Vec::new();
    addresses(config, &mut problems);
    networks(config, &mut problems);
    if same_netns {
        loops(config, &mut problems);
    }
    if config.interface.kill_switch && config.interface.master.is_some() {
        problems.push(
            "`kill_switch` and `master` exclude each other: frames leave by the bridge".into(),
        );
    }
    for peer in &config.peers {
        // Frames cross in VXLAN to a peer that is not adit.
        if peer.vxlan.is_some() && peer.post_quantum == PostQuantum::Require {
            problems.push(format!(
                "peer {} cannot have a post-quantum key: `post_quantum = \"require\"` needs adit at both ends, and \
                 `vxlan` is for other implementations",
                *peer.public_key.to_base64()
            ));
        }
    }
    problems
}

/// Settings that can be started, but let packets out that a user expects to be inside; for people.
#[must_use]
pub fn warnings(config: &Config) -> Vec<String> {
    let interface = &config.interface;
    let is_blocked = interface.block_ipv6 || interface.kill_switch;
    let is_whole = |family: IpFamily| {
        let all = config.peers.iter().flat_map(|peer| &peer.allowed_ips);
        let lens: Vec<u8> =
            all.filter(|network| network.family() == family).map(|network| network.len()).collect();
        // The whole, or its halves.
        lens.contains(&0) || lens.iter().filter(|len| **len == 1).count() > 1
    };
    let mut warnings = Vec::new();
    let is_routed = config.mode() == Mode::Tun && interface.table != Table::Off;
    if is_routed && is_whole(IpFamily::V4) && !is_whole(IpFamily::V6) && !is_blocked {
        warnings.push(
            "IPv6 packets leave without the tunnel: add ::/0 to the allowed IPs, or block them with \
             block_ipv6 (BlockIPv6 in a wg-quick file)"
                .to_owned(),
        );
    }
    if interface.kill_switch && is_whole(IpFamily::V4) && interface.dns.is_empty() {
        warnings.push(
            "the kill switch blocks the name servers of the local network: set dns to servers behind the \
             tunnel"
                .to_owned(),
        );
    }
    warnings
}

fn addresses(config: &Config, problems: &mut Vec<String>) {
    let interface = &config.interface;
    let addresses = &interface.addresses;
    for (at, address) in addresses.iter().enumerate() {
        if addresses.iter().take(at).any(|known| known.ip() == address.ip()) {
            problems.push(format!("the address {} is given twice", address.ip()));
        }
    }
    let has_ipv6 = addresses.iter().any(|address| address.family() == IpFamily::V6);
    if let Some(mtu) = interface.mtu.filter(|&mtu| has_ipv6 && mtu < MTU_IPV6_MIN) {
        problems.push(format!(
            "the MTU {mtu} is too small for IPv6: use at least {MTU_IPV6_MIN}, or remove the IPv6 addresses"
        ));
    }
}

/// A network belongs to one peer: of two, the first would silently have none.
fn networks(config: &Config, problems: &mut Vec<String>) {
    let mut seen: Vec<(IpPrefix, usize)> = Vec::new();
    for (number, peer) in config.peers.iter().enumerate() {
        seen.extend(peer.allowed_ips.iter().map(|network| (network.network(), number)));
    }
    seen.sort_by_key(|(network, number)| (network.ip(), network.len(), *number));
    for pair in seen.windows(2) {
        if let [(network, one), (other, two)] = pair
            && network == other
            && one != two
            && let (Some(one), Some(two)) = (config.peers.get(*one), config.peers.get(*two))
        {
            problems.push(format!(
                "{network} is an allowed IP of two peers: {} and {}",
                *one.public_key.to_base64(),
                *two.public_key.to_base64()
            ));
        }
    }
}

/// The tunnel's own datagrams must not be routed into the tunnel. A default route does not catch them, as
/// they have a mark; a longer one in the main table does.
fn loops(config: &Config, problems: &mut Vec<String>) {
    let is_main = match config.interface.table {
        Table::Auto => true,
        Table::Number(table) => table == TABLE_MAIN,
        Table::Off => false,
    };
    if !is_main {
        return;
    }
    let networks = || config.peers.iter().flat_map(|peer| &peer.allowed_ips);
    for peer in &config.peers {
        // Frames have no routes; the address of VXLAN is inside.
        if peer.vxlan.is_some() {
            continue;
        }
        for endpoint in [peer.endpoint_udp(), peer.endpoint_tcp()].into_iter().flatten() {
            let Some(address) = endpoint.address() else { continue };
            let is_inside =
                |network: &&IpPrefix| network.len() > 0 && network.contains(address.ip());
            if let Some(network) = networks().find(is_inside) {
                problems.push(format!(
                    "the endpoint {address} is inside the allowed IPs {network}: the tunnel would send its \
                     own datagrams to itself"
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::config::{Peer, PeerEndpoint};
    use adit_tunnel::PublicKey;

    fn peer(number: u8, networks: &[&str]) -> Peer {
        let allowed_ips = networks.iter().map(|network| network.parse().unwrap()).collect();
        Peer { allowed_ips, ..Peer::new(PublicKey([number; 32])) }
    }

    #[test]
    fn a_route_that_leaves_in_clear_is_warned_of() {
        let of = |networks: &[&str]| Config { peers: vec![peer(1, networks)], ..Config::default() };
        assert_eq!(warnings(&of(&["10.0.0.0/8"])), Vec::<String>::new());
        assert_eq!(warnings(&of(&["0.0.0.0/0", "::/0"])), Vec::<String>::new());
        for networks in [&["0.0.0.0/0"][..], &["0.0.0.0/1", "128.0.0.0/1", "fd00::/8"]] {
            let mut config = of(networks);
            assert!(warnings(&config)[0].starts_with("IPv6 packets leave"), "{networks:?}");
            config.interface.block_ipv6 = true;
            assert_eq!(warnings(&config), Vec::<String>::new());
            config.interface.block_ipv6 = false;
            config.interface.kill_switch = true;
            assert!(warnings(&config)[0].starts_with("the kill switch blocks the name servers"));
            config.interface.dns = vec!["10.0.0.1".parse().unwrap()];
            assert_eq!(warnings(&config), Vec::<String>::new());
        }
        let mut off = of(&["0.0.0.0/0"]);
        off.interface.table = Table::Off;
        assert_eq!(warnings(&off), Vec::<String>::new());
    }

    #[test]
    fn a_configuration_that_cannot_work_is_refused() {
        let mut config = Config { peers: vec![peer(1, &["10.0.0.2/32"])], ..Config::default() };
        config.interface.addresses = vec!["10.0.0.1/24".parse().unwrap()];
        assert!(problems(&config, true).is_empty());
        config.interface.addresses.push("10.0.0.1/32".parse().unwrap());
        config.interface.addresses.push("fd00::1/64".parse().unwrap());
        config.interface.mtu = Some(1279);
        config.peers.push(peer(2, &["10.0.0.2/32", "192.0.2.0/24"]));
        let endpoint = PeerEndpoint::Address("192.0.2.1:51820".parse().unwrap());
        config.peers[0].endpoint = Some(endpoint);
        let all = problems(&config, true);
        let begins =
            ["the address 10.0.0.1 is", "the MTU 1279", "10.0.0.2/32 is", "the endpoint 192"];
        assert_eq!(all.len(), begins.len(), "{all:?}");
        assert!(all.iter().zip(begins).all(|(text, begin)| text.starts_with(begin)), "{all:?}");
        assert_eq!(problems(&config, false).len(), 3);
        config.interface.table = Table::Off;
        assert_eq!(problems(&config, true).len(), 3);
    }
}
