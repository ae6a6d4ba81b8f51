//! DHCP for IPv4 (RFC 2131, RFC 2132): the message of a client, and that of the server.

use core::net::Ipv4Addr;
use core::time::Duration;

use adit_packet::{MacAddr, NoRoom, PacketBuf};

use crate::dns::Name;
use crate::guest::config::{GuestConfig, GuestV4};

pub(super) const SERVER_PORT: u16 = 67;
pub(super) const CLIENT_PORT: u16 = 68;

/// Message types (RFC 2132, 9.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    Discover = 1,
    Offer = 2,
    Request = 3,
    Decline = 4,
    Ack = 5,
    Nak = 6,
    Release = 7,
    Inform = 8,
}

impl Kind {
    /// The type of a client's message.
    const fn of_client(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Discover),
            3 => Some(Self::Request),
            4 => Some(Self::Decline),
            7 => Some(Self::Release),
            8 => Some(Self::Inform),
            _ => None,
        }
    }
}

/// Options (RFC 2132; 81: RFC 4702; 119: RFC 3397; 121: RFC 3442).
mod option {
    pub(super) const PAD: u8 = 0;
    pub(super) const MASK: u8 = 1;
    pub(super) const ROUTER: u8 = 3;
    pub(super) const NAME_SERVERS: u8 = 6;
    pub(super) const HOSTNAME: u8 = 12;
    pub(super) const DOMAIN: u8 = 15;
    pub(super) const MTU: u8 = 26;
    pub(super) const BROADCAST: u8 = 28;
    pub(super) const REQUESTED: u8 = 50;
    pub(super) const LEASE: u8 = 51;
    pub(super) const OVERLOAD: u8 = 52;
    pub(super) const KIND: u8 = 53;
    pub(super) const SERVER: u8 = 54;
    pub(super) const RENEWAL: u8 = 58;
    pub(super) const REBINDING: u8 = 59;
    pub(super) const CLIENT: u8 = 61;
    pub(super) const FQDN: u8 = 81;
    pub(super) const SEARCH: u8 = 119;
    pub(super) const ROUTES: u8 = 121;
    pub(super) const END: u8 = 255;
}

const COOKIE: [u8; 4] = [99, 130, 83, 99];
const BOOT_REQUEST: u8 = 1;
const BOOT_REPLY: u8 = 2;
/// Hardware type and address length of Ethernet.
const ETHERNET: [u8; 2] = [1, 6];
const BROADCAST_FLAG: u8 = 0x80;
/// Some clients ignore a shorter message (RFC 1542, 2.1).
const LEN_MIN: usize = 300;
/// What every client can take (RFC 2132, 9.10), without IP and UDP headers.
const LEN_MAX: usize = 576 - 28;

/// Why a message is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// Its bytes make no sense.
    Malformed,
    /// A server or a relay sends it.
    NotOfAClient,
}

/// A client's message.
///
/// ```text
///  0    1      2     3      4     8      10      12       16       20       24       28       44
///  | op | type | len | hops | xid | secs | flags | ciaddr | yiaddr | siaddr | giaddr | chaddr | ...
///  44      108    236      240
///  | sname | file | cookie | options |
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Request<'a> {
    pub(super) kind: Kind,
    xid: [u8; 4],
    flags: [u8; 2],
    /// The address that the client has and uses; unspecified if none.
    pub(super) client_ip: Ipv4Addr,
    mac: MacAddr,
    pub(super) requested: Option<Ipv4Addr>,
    pub(super) server: Option<Ipv4Addr>,
    client_id: Option<&'a [u8]>,
}

impl<'a> Request<'a> {
    /// Reads the message of the station with this MAC address.
    pub(super) fn parse(message: &'a [u8], station: MacAddr) -> Result<Self, Refused> {
        let (head, rest) = message.split_first_chunk::<44>().ok_or(Refused::Malformed)?;
        let (legacy, rest) = rest.split_first_chunk::<192>().ok_or(Refused::Malformed)?;
        let (cookie, options) = rest.split_first_chunk::<4>().ok_or(Refused::Malformed)?;
        let [op, hw0, hw1, _, x0, x1, x2, x3, _, _, f0, f1, c0, c1, c2, c3, ..] = *head;
        let [.., g0, g1, g2, g3, m0, m1, m2, m3, m4, m5, _, _, _, _, _, _, _, _, _, _] = *head;
        if op != BOOT_REQUEST || [g0, g1, g2, g3] != [0; 4] {
            return Err(Refused::NotOfAClient);
        }
        let mac = MacAddr([m0, m1, m2, m3, m4, m5]);
        if *cookie != COOKIE || [hw0, hw1] != ETHERNET || mac != station {
            return Err(Refused::Malformed);
        }
        let (server_name, file) = legacy.split_at(64);
        let mut read = Options::default();
        read.take(options)?;
        // Options may go on in the file name, then in the server name (RFC 2131, 4.1).
        let overload = read.overload.unwrap_or(0);
        if overload & 1 != 0 {
            read.take(file)?;
        }
        if overload & 2 != 0 {
            read.take(server_name)?;
        }
        Ok(Self {
            kind: read.kind.and_then(Kind::of_client).ok_or(Refused::NotOfAClient)?,
            xid: [x0, x1, x2, x3],
            flags: [f0, f1],
            client_ip: Ipv4Addr::new(c0, c1, c2, c3),
            mac,
            requested: read.requested,
            server: read.server,
            client_id: read.client_id,
        })
    }

    /// Where the reply goes (RFC 2131, 4.1): the addresses of frame and packet.
    pub(super) fn reply_to(&self, kind: Kind, assigned: Ipv4Addr) -> (MacAddr, Ipv4Addr) {
        let [flags, _] = self.flags;
        if kind != Kind::Nak && !self.client_ip.is_unspecified() {
            (self.mac, self.client_ip)
        } else if kind == Kind::Nak || flags & BROADCAST_FLAG != 0 || assigned.is_unspecified() {
            (MacAddr::BROADCAST, Ipv4Addr::BROADCAST)
        } else {
            (self.mac, assigned)
        }
    }

    /// Appends the reply; `assigned` is unspecified if it assigns no address.
    pub(super) fn reply(
        &self,
        kind: Kind,
        assigned: Ipv4Addr,
        config: &GuestConfig,
        v4: &GuestV4,
        packet: &mut PacketBuf,
    ) -> Result<(), NoRoom> {
        packet.extend(&[BOOT_REPLY, ETHERNET[0], ETHERNET[1], 0])?;
        packet.extend(&self.xid)?;
        packet.extend(&[0, 0, self.flags[0], self.flags[1]])?;
        let client_ip = if kind == Kind::Nak { Ipv4Addr::UNSPECIFIED } else { self.client_ip };
        packet.extend(&client_ip.octets())?;
        packet.extend(&assigned.octets())?;
        // Next server and relay; then the MAC address, padded, and the two names.
        packet.extend(&[0; 8])?;
        packet.extend(&self.mac.0)?;
        packet.extend(&[0; 10 + 192])?;
        packet.extend(&COOKIE)?;
        put(packet, option::KIND, &[kind as u8])?;
        put(packet, option::SERVER, &v4.gateway.octets())?;
        if let Some(id) = self.client_id {
            // RFC 6842.
            put(packet, option::CLIENT, id)?;
        }
        if kind != Kind::Nak {
            if let Some(pool) = v4.pool.filter(|_| !assigned.is_unspecified()) {
                put(packet, option::LEASE, &seconds(pool.lease))?;
                put(packet, option::RENEWAL, &seconds(pool.lease / 2))?;
                put(packet, option::REBINDING, &seconds(pool.lease * 7 / 8))?;
            }
            settings(config, v4, packet)?;
        }
        packet.extend(&[option::END])?;
        let padding = LEN_MIN.saturating_sub(packet.len());
        packet.grow(padding).ok_or(NoRoom)?.fill(option::PAD);
        Ok(())
    }
}

/// What a client asks of the options.
#[derive(Default)]
struct Options<'a> {
    kind: Option<u8>,
    requested: Option<Ipv4Addr>,
    server: Option<Ipv4Addr>,
    client_id: Option<&'a [u8]>,
    overload: Option<u8>,
}

impl<'a> Options<'a> {
    fn take(&mut self, mut bytes: &'a [u8]) -> Result<(), Refused> {
        while let Some((&code, rest)) = bytes.split_first() {
            if code == option::END {
                break;
            }
            if code == option::PAD {
                bytes = rest;
                continue;
            }
            let (&len, rest) = rest.split_first().ok_or(Refused::Malformed)?;
            let (value, rest) =
                rest.split_at_checked(usize::from(len)).ok_or(Refused::Malformed)?;
            bytes = rest;
            match code {
                option::KIND => self.kind = Some(exact::<1>(value)?[0]),
                option::OVERLOAD => self.overload = Some(exact::<1>(value)?[0]),
                option::REQUESTED => self.requested = Some(exact::<4>(value)?.into()),
                option::SERVER => self.server = Some(exact::<4>(value)?.into()),
                option::CLIENT => self.client_id = Some(value),
                _ => {}
            }
        }
        Ok(())
    }
}

fn exact<const LEN: usize>(value: &[u8]) -> Result<[u8; LEN], Refused> {
    value.try_into().map_err(|_| Refused::Malformed)
}

/// The options that describe the network.
fn settings(config: &GuestConfig, v4: &GuestV4, packet: &mut PacketBuf) -> Result<(), NoRoom> {
    put(packet, option::MASK, &v4.mask().octets())?;
    if v4.prefix.len() < 31 {
        put(packet, option::BROADCAST, &v4.broadcast().octets())?;
    }
    if v4.prefix.contains(v4.gateway.into()) {
        put(packet, option::ROUTER, &v4.gateway.octets())?;
    } else {
        // The gateway itself on the link, then everything behind it.
        let [a, b, c, d] = v4.gateway.octets();
        put(packet, option::ROUTES, &[32, a, b, c, d, 0, 0, 0, 0, 0, a, b, c, d])?;
    }
    put(packet, option::MTU, &config.mtu.to_be_bytes())?;
    if !v4.dns.is_empty() {
        head(packet, option::NAME_SERVERS, 4 * v4.dns.len())?;
        for server in &v4.dns {
            packet.extend(&server.octets())?;
        }
    }
    let hostname = config.hostname.as_ref().map(|name| alloc::format!("{name}"));
    if let Some(name) = hostname.filter(|name| has_room(packet, name.len())) {
        put(packet, option::HOSTNAME, name.as_bytes())?;
    }
    let fqdn = config.fqdn.as_ref().map(Name::as_wire);
    if let Some(name) = fqdn.filter(|name| has_room(packet, 3 + name.len())) {
        // In the form of the wire (E); what the answer codes of old were has no meaning (RFC 4702, 2.1 and 2.2).
        head(packet, option::FQDN, 3 + name.len())?;
        packet.extend(&[0x04, 0xff, 0xff])?;
        packet.extend(name)?;
    }
    if let Some(first) = config.search.first() {
        put(packet, option::DOMAIN, alloc::format!("{first}").as_bytes())?;
    }
    let search = config.search_within(room(packet));
    let len = search.clone().map(<[u8]>::len).sum();
    if len > 0 {
        head(packet, option::SEARCH, len)?;
        for name in search {
            packet.extend(name)?;
        }
    }
    Ok(())
}

/// What the value of an option may have: what a client takes in all, without the two bytes before the option and the
/// end behind it.
fn room(packet: &PacketBuf) -> usize {
    LEN_MAX.saturating_sub(packet.len() + 3).min(usize::from(u8::MAX))
}

fn has_room(packet: &PacketBuf, len: usize) -> bool {
    len <= room(packet)
}

fn head(packet: &mut PacketBuf, code: u8, len: usize) -> Result<(), NoRoom> {
    packet.extend(&[code, u8::try_from(len).map_err(|_| NoRoom)?])
}

fn put(packet: &mut PacketBuf, code: u8, value: &[u8]) -> Result<(), NoRoom> {
    head(packet, code, value.len())?;
    packet.extend(value)
}

fn seconds(time: Duration) -> [u8; 4] {
    u32::try_from(time.as_secs()).unwrap_or(u32::MAX).to_be_bytes()
}
