//! The DHCP servers: what a client may have, and what it is refused. Messages by RFC 2131 and RFC 8415.

use super::{GATEWAY, ONE, TWO, World, config, udp_v4, udp_v6, v6};
use crate::guest::GuestConfig;
use adit_engine::DropReason;
use adit_packet::MacAddr;
use core::net::{Ipv4Addr, Ipv6Addr};
use core::time::Duration;
use std::vec::Vec;

/// Message types.
const DISCOVER: u8 = 1;
const REQUEST: u8 = 3;
const DECLINE: u8 = 4;
const ACK: u8 = 5;
const NAK: u8 = 6;
const RELEASE: u8 = 7;
const INFORM: u8 = 8;

/// A message of a client: the address that it has, and options.
fn message(mac: MacAddr, kind: u8, client_ip: Ipv4Addr, options: &[(u8, &[u8])]) -> Vec<u8> {
    let mut bytes = [1, 1, 6, 0, 0xca, 0xfe, 0, 1, 0, 0, 0, 0].to_vec();
    bytes.extend(client_ip.octets());
    bytes.extend([0; 12]);
    bytes.extend(mac.0);
    bytes.extend([0; 202]);
    bytes.extend([99, 130, 83, 99, 53, 1, kind]);
    for (code, value) in options {
        bytes.extend([*code, u8::try_from(value.len()).unwrap()]);
        bytes.extend(*value);
    }
    bytes.push(255);
    bytes
}

fn ask(
    world: &mut World,
    mac: MacAddr,
    kind: u8,
    options: &[(u8, &[u8])],
) -> Option<(u8, Ipv4Addr)> {
    ask_with(world, mac, kind, Ipv4Addr::UNSPECIFIED, options)
}

/// The type of the answer, and the address that it assigns.
fn ask_with(
    world: &mut World,
    mac: MacAddr,
    kind: u8,
    client_ip: Ipv4Addr,
    options: &[(u8, &[u8])],
) -> Option<(u8, Ipv4Addr)> {
    let bytes = message(mac, kind, client_ip, options);
    let sent = world.give(&udp_v4(mac, client_ip, Ipv4Addr::BROADCAST, 67, &bytes));
    let reply = sent.first()?.get(42..)?;
    assert_eq!((reply[0], &reply[4..8]), (2, &[0xca, 0xfe, 0, 1][..]));
    assert_eq!(reply[240..242], [53, 1]);
    Some((reply[242], Ipv4Addr::from([reply[16], reply[17], reply[18], reply[19]])))
}

fn ip(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 2, last)
}

/// Takes an address by discover and request.
fn lease(world: &mut World, mac: MacAddr) -> Ipv4Addr {
    let (kind, offered) = ask(world, mac, DISCOVER, &[]).unwrap();
    assert_eq!(kind, 2);
    let options: &[(u8, &[u8])] = &[(50, &offered.octets()), (54, &GATEWAY.octets())];
    assert_eq!(ask(world, mac, REQUEST, options), Some((ACK, offered)));
    offered
}

#[test]
fn each_guest_has_its_own_address_and_keeps_it() {
    let mut world = World::new(config());
    assert_eq!(lease(&mut world, ONE), ip(15));
    assert_eq!(lease(&mut world, TWO), ip(16));
    assert_eq!(lease(&mut world, ONE), ip(15), "the same for the same MAC address");
    // Renewed, given back, and taken again.
    assert_eq!(ask_with(&mut world, ONE, REQUEST, ip(15), &[]), Some((ACK, ip(15))));
    assert_eq!(ask_with(&mut world, ONE, RELEASE, ip(15), &[(54, &GATEWAY.octets())]), None);
    assert_eq!(lease(&mut world, ONE), ip(15));
    // A leased address is its guest's before that has sent anything by it.
    let stolen = udp_v4(TWO, ip(15), [192, 0, 2, 1].into(), 9, b"x");
    world.now += Duration::from_secs(60);
    world.refuses(&stolen, DropReason::IP_GUARD);
    assert!(world.send(&super::packet_v4(GATEWAY, ip(16), (1, 2), b"x"))[0].starts_with(&TWO.0));
}

#[test]
fn after_a_restart_guests_keep_their_addresses() {
    let mut world = World::new(config());
    // A client that reboots, and one that renews.
    assert_eq!(ask(&mut world, ONE, REQUEST, &[(50, &[10, 0, 2, 40])]), Some((ACK, ip(40))));
    assert_eq!(ask_with(&mut world, TWO, REQUEST, ip(41), &[]), Some((ACK, ip(41))));
    // What cannot be had is refused at once, so that the client starts again.
    let nak = Some((NAK, Ipv4Addr::UNSPECIFIED));
    for taken in [[10, 0, 2, 41], [10, 0, 2, 2], [10, 0, 2, 3], [10, 0, 2, 255], [192, 0, 2, 9]] {
        assert_eq!(ask(&mut world, ONE, REQUEST, &[(50, &taken)]), nak, "{taken:?}");
    }
    let bytes = message(ONE, REQUEST, Ipv4Addr::UNSPECIFIED, &[(50, &[192, 0, 2, 9])]);
    let sent = world.give(&udp_v4(ONE, Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST, 67, &bytes));
    assert_eq!(sent[0][..6], [0xff; 6], "all hear a refusal");
}

#[test]
fn an_address_in_use_is_not_assigned() {
    let mut world = World::new(config());
    world.settle(TWO, ip(15));
    assert_eq!(lease(&mut world, ONE), ip(16), "15 is used without a lease");
    assert_eq!(ask(&mut world, ONE, DECLINE, &[(50, &[10, 0, 2, 16])]), None);
    assert_eq!(lease(&mut world, ONE), ip(17));
    // The offer of another server.
    let options: &[(u8, &[u8])] = &[(50, &[10, 0, 2, 30]), (54, &[10, 0, 2, 9])];
    assert_eq!(ask(&mut world, ONE, REQUEST, options), None);
    let told = ask_with(&mut world, TWO, INFORM, ip(15), &[]);
    assert_eq!(told, Some((ACK, Ipv4Addr::UNSPECIFIED)), "settings without an address");
}

#[test]
fn a_pool_that_is_used_up_is_counted() {
    let mut config = config();
    config.stations_max = 1000;
    config.v4.as_mut().unwrap().pool.as_mut().unwrap().last = ip(17);
    let mut world = World::new(config);
    for last in 0..3 {
        assert_eq!(lease(&mut world, MacAddr([2, 0, 0, 0, 1, last])), ip(15 + last));
    }
    for last in 3..200 {
        assert_eq!(ask(&mut world, MacAddr([2, 0, 0, 0, 1, last]), DISCOVER, &[]), None);
    }
    assert_eq!(world.drops(DropReason::NO_FREE_ADDRESS), 197);
    assert_eq!(lease(&mut world, MacAddr([2, 0, 0, 0, 1, 1])), ip(16), "honest guests keep theirs");
}

#[test]
fn messages_that_are_not_of_a_client_are_dropped() {
    let mut world = World::new(config());
    let none = Ipv4Addr::UNSPECIFIED;
    let good = message(ONE, DISCOVER, none, &[]);
    let mut drop = |change: &dyn Fn(&mut Vec<u8>), why| {
        let mut bytes = good.clone();
        change(&mut bytes);
        world.refuses(&udp_v4(ONE, none, Ipv4Addr::BROADCAST, 67, &bytes), why);
    };
    drop(&|bytes| bytes[0] = 2, DropReason::DHCP_GUARD);
    drop(&|bytes| bytes[24] = 10, DropReason::DHCP_GUARD); // by a relay
    drop(&|bytes| bytes[242] = ACK, DropReason::DHCP_GUARD);
    drop(&|bytes| bytes[240] = 0, DropReason::DHCP_GUARD); // BOOTP
    drop(&|bytes| bytes[28] ^= 4, DropReason::MALFORMED);
    drop(&|bytes| bytes[236] = 0, DropReason::MALFORMED);
    drop(&|bytes| bytes[1] = 6, DropReason::MALFORMED);
    drop(&|bytes| bytes[241] = 2, DropReason::MALFORMED);
    drop(&|bytes| bytes[241] = 200, DropReason::MALFORMED);
    drop(&|bytes| bytes.truncate(239), DropReason::MALFORMED);
    drop(&|bytes| bytes[242] = REQUEST, DropReason::MALFORMED); // of which address?
    // Options in the fields of the two names (RFC 2131, 4.1).
    let mut overloaded = message(ONE, DISCOVER, none, &[(52, &[3])]);
    overloaded[44..51].copy_from_slice(&[50, 4, 10, 0, 2, 99, 255]);
    overloaded[108] = 255;
    let sent = world.give(&udp_v4(ONE, none, Ipv4Addr::BROADCAST, 67, &overloaded));
    assert_eq!(sent[0][42 + 16..42 + 20], [10, 0, 2, 99]);
    // A wrong checksum of the datagram, and of the header.
    for at in [300, 25] {
        let mut frame = udp_v4(ONE, none, Ipv4Addr::BROADCAST, 67, &good);
        let last = frame.len() - 1;
        frame[at.min(last)] ^= 1;
        world.refuses(&frame, DropReason::MALFORMED);
    }
}

#[test]
fn a_gateway_outside_of_the_prefix_is_reached_by_a_route() {
    let mut config = config();
    config.v4.as_mut().unwrap().gateway = [169, 254, 0, 1].into();
    let mut world = World::new(config);
    let bytes = message(ONE, DISCOVER, Ipv4Addr::UNSPECIFIED, &[]);
    let sent = world.give(&udp_v4(ONE, Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST, 67, &bytes));
    let routes = [121, 14, 32, 169, 254, 0, 1, 0, 0, 0, 0, 0, 169, 254, 0, 1];
    assert!(sent[0].windows(16).any(|option| option == routes), "{sent:02x?}");
    // Without a pool there is no server.
    let mut config = super::config();
    config.v4.as_mut().unwrap().pool = None;
    let frame = udp_v4(ONE, Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST, 67, &bytes);
    World::new(config).refuses(&frame, DropReason::FILTERED);
}

const DUID: [u8; 10] = [0, 3, 0, 1, 2, 0, 0, 0, 0, 1];
const SERVERS: &str = "ff02::1:2";

fn option(code: u16, value: &[u8]) -> Vec<u8> {
    let len = u16::try_from(value.len()).unwrap();
    [&code.to_be_bytes()[..], &len.to_be_bytes(), value].concat()
}

fn server() -> Vec<u8> {
    let [a, b, c, d, e, f] = config().mac.0;
    option(2, &[0, 3, 0, 1, a, b, c, d, e, f])
}

/// An association that asks for an address, or any.
fn association(code: u16, ip: Option<&str>) -> Vec<u8> {
    let mut value = [0, 0, 0, 7].to_vec();
    if code != 4 {
        value.extend([0; 8]);
    }
    if let Some(ip) = ip {
        value.extend(option(5, &[&v6(ip).octets()[..], &[0; 8]].concat()));
    }
    option(code, &value)
}

/// Gives a message; the kind of the answer and its options.
fn ask_v6(world: &mut World, mac: MacAddr, kind: u8, options: &[Vec<u8>]) -> Option<(u8, Vec<u8>)> {
    let client = option(1, &[&DUID[..9], &mac.0[5..]].concat());
    let message = [&[kind, 1, 2, 3][..], &client, &options.concat()].concat();
    let link_local = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, u16::from(mac.0[5]) + 0x100);
    let sent = world.give(&udp_v6(mac, link_local, v6(SERVERS), (546, 547), &message));
    let reply = sent.first()?.get(62..)?;
    assert_eq!(reply[1..4], [1, 2, 3]);
    assert!(has(reply, &client) && has(reply, &server()));
    Some((reply[0], reply.to_vec()))
}

fn has(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|one| one == part)
}

/// The option of an address with its times.
fn address(ip: &str, seconds: u32) -> Vec<u8> {
    let times = seconds.to_be_bytes();
    option(5, &[&v6(ip).octets()[..], &times, &times].concat())
}

fn status(code: u8) -> Vec<u8> {
    option(13, &[0, code])
}

#[test]
fn addresses_of_ipv6_are_leased_and_given_back() {
    let mut world = World::new(config());
    let any = || association(3, None);
    // With rapid commit, two messages are enough.
    let (kind, reply) = ask_v6(&mut world, ONE, 1, &[any(), option(14, &[])]).unwrap();
    assert!(kind == 7 && has(&reply, &option(14, &[])) && has(&reply, &address("fd00::15", 3600)));
    assert!(has(&reply, &option(23, &v6("fd00::3").octets())));
    let (kind, reply) = ask_v6(&mut world, TWO, 1, &[any()]).unwrap();
    assert!(kind == 2 && has(&reply, &address("fd00::16", 3600)), "{reply:02x?}");
    let wanted = |ip| association(3, Some(ip));
    let (kind, reply) = ask_v6(&mut world, TWO, 3, &[server(), wanted("fd00::16")]).unwrap();
    assert!(kind == 7 && has(&reply, &address("fd00::16", 3600)));
    for (kind, with_server) in [(5, true), (6, false)] {
        let server = if with_server { server() } else { Vec::new() };
        let (_, reply) = ask_v6(&mut world, TWO, kind, &[server, wanted("fd00::16")]).unwrap();
        assert!(has(&reply, &address("fd00::16", 3600)), "renewed: {reply:02x?}");
    }
    // Another's address, one of no guest, and one that is free, after a restart of the server.
    let (_, reply) = ask_v6(&mut world, TWO, 5, &[server(), wanted("fd00::15")]).unwrap();
    assert!(has(&reply, &status(3)));
    let (_, reply) = ask_v6(&mut world, TWO, 6, &[wanted("2001:db8::9")]).unwrap();
    assert!(has(&reply, &address("2001:db8::9", 0)));
    let (_, reply) = ask_v6(&mut world, ONE, 6, &[wanted("fd00::40")]).unwrap();
    assert!(has(&reply, &address("fd00::40", 3600)));
    // Given back, or declined.
    let (_, reply) = ask_v6(&mut world, TWO, 8, &[server(), wanted("fd00::16")]).unwrap();
    assert!(has(&reply, &status(0)));
    let (_, reply) = ask_v6(&mut world, TWO, 1, &[any()]).unwrap();
    assert!(has(&reply, &address("fd00::16", 3600)), "the same again");
    ask_v6(&mut world, TWO, 9, &[server(), wanted("fd00::16")]).unwrap();
    let (_, reply) = ask_v6(&mut world, TWO, 1, &[any()]).unwrap();
    assert!(has(&reply, &address("fd00::15", 3600)), "15 is free since ONE has 40");
}

#[test]
fn what_a_client_of_ipv6_cannot_have_is_refused_by_name() {
    let mut world = World::new(config());
    let (_, reply) = ask_v6(&mut world, ONE, 1, &[association(25, None)]).unwrap();
    assert!(has(&reply, &status(6)), "no prefix: {reply:02x?}");
    let (_, reply) = ask_v6(&mut world, ONE, 1, &[association(4, None)]).unwrap();
    assert!(has(&reply, &status(2)), "no temporary address");
    for (ip, code) in [("fd00::15", 0), ("2001:db8::1", 4), ("fd00::2", 4)] {
        let (_, reply) = ask_v6(&mut world, ONE, 4, &[association(3, Some(ip))]).unwrap();
        assert!(has(&reply, &status(code)), "{ip}");
    }
    assert_eq!(ask_v6(&mut world, ONE, 4, &[association(3, None)]), None, "nothing to confirm");
    // Without a pool, there are name servers only.
    let mut six = config().v6.unwrap();
    six.pool = None;
    let mut world = World::new(GuestConfig { v6: Some(six), ..config() });
    let (_, reply) = ask_v6(&mut world, ONE, 1, &[association(3, None)]).unwrap();
    assert!(has(&reply, &status(2)));
    let (kind, reply) = ask_v6(&mut world, ONE, 11, &[]).unwrap();
    assert!(kind == 7 && has(&reply, &option(23, &v6("fd00::3").octets())));
}

#[test]
fn messages_of_ipv6_that_are_not_of_a_client_are_dropped() {
    let mut world = World::new(config());
    let good = [&[1, 1, 2, 3][..], &option(1, &DUID), &association(3, None)].concat();
    let mine = v6("fe80::1");
    let mut drop = |bytes: &[u8], why| {
        world.refuses(&udp_v6(ONE, mine, v6(SERVERS), (546, 547), bytes), why);
    };
    for (kind, why) in [
        (2, DropReason::DHCP_GUARD),
        (7, DropReason::DHCP_GUARD),
        (12, DropReason::DHCP_GUARD), // by a relay
        (3, DropReason::MALFORMED),   // without a server
    ] {
        drop(&[&[kind][..], &good[1..]].concat(), why);
    }
    drop(&good[..4], DropReason::MALFORMED); // without a client
    drop(&good[..10], DropReason::MALFORMED);
    drop(&[&good[..4], &option(1, &[0, 3])[..]].concat(), DropReason::MALFORMED);
    drop(&[&good[..4], &option(1, &[7; 131])[..]].concat(), DropReason::MALFORMED);
    drop(&[&good[..], &option(3, &[1, 2, 3])].concat(), DropReason::MALFORMED);
    let other = [&[3][..], &good[1..], &option(2, &DUID)].concat();
    drop(&other, DropReason::NO_DESTINATION);
    let mut frame = udp_v6(ONE, mine, v6(SERVERS), (546, 547), &good);
    frame[60] ^= 1;
    world.refuses(&frame, DropReason::MALFORMED);
    let global = udp_v6(ONE, v6("fd00::9"), v6(SERVERS), (546, 547), &good);
    world.refuses(&global, DropReason::IP_GUARD);
}

#[test]
fn a_guest_is_told_its_name_as_far_as_there_is_room() {
    let named = |hostname: &str, fqdn: &str| {
        let [hostname, fqdn] = [hostname, fqdn].map(|name| name.parse().ok());
        World::new(GuestConfig { hostname, fqdn, ..config() })
    };
    let discover = message(ONE, DISCOVER, Ipv4Addr::UNSPECIFIED, &[]);
    let offer = |world: &mut World| {
        let frame = udp_v4(ONE, Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST, 67, &discover);
        world.give(&frame)[0][42..].to_vec()
    };
    let mut world = named("vm", "vm.example.org");
    let wire = b"\x02vm\x07example\x03org\x00";
    let reply = offer(&mut world);
    assert!(has(&reply, b"\x0c\x02vm"), "{reply:02x?}");
    assert!(has(&reply, &[&[81, 19, 0x04, 0xff, 0xff][..], wire].concat()), "{reply:02x?}");
    let any = || association(3, None);
    let (_, reply) = ask_v6(&mut world, ONE, 1, &[any()]).unwrap();
    assert!(has(&reply, &option(39, &[&[0][..], wire].concat())), "{reply:02x?}");
    // The server does not enter it into DNS, though the client asks for that.
    let (_, reply) = ask_v6(&mut world, ONE, 1, &[any(), option(39, b"\x01\x02vm")]).unwrap();
    assert!(has(&reply, &option(39, &[&[2][..], wire].concat())), "{reply:02x?}");
    // What a client may not be able to take is left out.
    let long = ["x"; 4].map(|label| label.repeat(60)).join(".");
    let reply = offer(&mut named(&long, &long));
    assert!(has(&reply, long.as_bytes()) && reply.len() <= 548, "{}", reply.len());
    assert!(!has(&reply, &[0xff, 0xff, 60]));
    let reply = offer(&mut World::new(config()));
    assert!(!has(&reply, b"\x0c\x02vm"));
}
