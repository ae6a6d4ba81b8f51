//! DHCP for IPv6 (RFC 8415): the message of a client, and that of the server.

use core::net::Ipv6Addr;
use core::time::Duration;

use adit_packet::{MacAddr, NoRoom, PacketBuf};

use crate::guest::config::{GuestConfig, GuestV6};

pub(super) const SERVER_PORT: u16 = 547;
pub(super) const CLIENT_PORT: u16 = 546;
/// All servers and relays of the link.
pub(super) const SERVERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2);

/// Message types (RFC 8415, 7.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    Solicit = 1,
    Advertise = 2,
    Request = 3,
    Confirm = 4,
    Renew = 5,
    Rebind = 6,
    Reply = 7,
    Release = 8,
    Decline = 9,
    Information = 11,
}

impl Kind {
    const fn of_client(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Solicit),
            3 => Some(Self::Request),
            4 => Some(Self::Confirm),
            5 => Some(Self::Renew),
            6 => Some(Self::Rebind),
            8 => Some(Self::Release),
            9 => Some(Self::Decline),
            11 => Some(Self::Information),
            _ => None,
        }
    }

    /// Whether the message must have the identifier of a server (RFC 8415, 16). An information request may.
    const fn names_server(self) -> Option<bool> {
        match self {
            Self::Information => None,
            Self::Request | Self::Renew | Self::Release | Self::Decline => Some(true),
            _ => Some(false),
        }
    }
}

/// Options (RFC 8415, 21; 23 and 24: RFC 3646; 39: RFC 4704).
mod option {
    pub(super) const CLIENT: u16 = 1;
    pub(super) const SERVER: u16 = 2;
    pub(super) const NON_TEMPORARY: u16 = 3;
    pub(super) const TEMPORARY: u16 = 4;
    pub(super) const ADDRESS: u16 = 5;
    pub(super) const STATUS: u16 = 13;
    pub(super) const RAPID_COMMIT: u16 = 14;
    pub(super) const NAME_SERVERS: u16 = 23;
    pub(super) const SEARCH: u16 = 24;
    pub(super) const PREFIX_DELEGATION: u16 = 25;
    pub(super) const FQDN: u16 = 39;
}

/// Status codes (RFC 8415, 21.13).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub(super) enum Status {
    Success = 0,
    NoAddresses = 2,
    NoBinding = 3,
    NotOnLink = 4,
    NoPrefix = 6,
}

/// A client's identifier is at most that long, its type included (RFC 8415, 11.1).
const DUID_MAX: usize = 130;
/// Identity associations of one message that are read.
const ASSOCIATIONS_MAX: usize = 4;
/// Bytes of the search list.
const SEARCH_MAX: usize = 256;

/// Why a message is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// Its bytes make no sense.
    Malformed,
    /// A server or a relay sends it.
    NotOfAClient,
    /// For another server.
    OtherServer,
}

/// A client's message.
///
/// ```text
///  0      1     4
///  | type | xid | options: code 2, length 2, value |
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Request<'a> {
    pub(super) kind: Kind,
    xid: [u8; 3],
    client: Option<&'a [u8]>,
    pub(super) rapid_commit: bool,
    /// It asks that its name be entered into DNS by the server (S, RFC 4704, 4.1).
    asks_for_name: bool,
    pub(super) associations: [Option<Association>; ASSOCIATIONS_MAX],
}

/// An identity association: what a client wants addresses for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Association {
    code: u16,
    id: [u8; 4],
    /// The first address in it.
    pub(super) address: Option<Ipv6Addr>,
}

/// What an association gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Grant {
    /// This address for the time of a lease.
    Address(Ipv6Addr),
    /// This address no longer.
    Withdrawn(Ipv6Addr),
    /// Nothing.
    Status(Status),
}

impl Association {
    /// Whether it is for addresses as others than privacy extensions use them.
    pub(super) const fn is_for_addresses(&self) -> bool {
        self.code == option::NON_TEMPORARY
    }

    /// What an association of another kind gets.
    pub(super) const fn refusal(&self) -> Grant {
        Grant::Status(match self.code {
            option::PREFIX_DELEGATION => Status::NoPrefix,
            _ => Status::NoAddresses,
        })
    }

    fn parse(code: u16, value: &[u8]) -> Result<Self, Refused> {
        let (&id, rest) = value.split_first_chunk().ok_or(Refused::Malformed)?;
        // Two times follow, but in an association for temporary addresses.
        let times = if code == option::TEMPORARY { 0 } else { 8 };
        let mut options = rest.get(times..).ok_or(Refused::Malformed)?;
        let mut address = None;
        while let Some((code, value)) = next_option(&mut options)? {
            if code == option::ADDRESS && address.is_none() {
                let octets: &[u8; 16] = value.first_chunk().ok_or(Refused::Malformed)?;
                address = Some(Ipv6Addr::from(*octets));
            }
        }
        Ok(Self { code, id, address })
    }

    /// Appends the association with what it gets.
    fn reply(&self, grant: Grant, lease: Duration, packet: &mut PacketBuf) -> Result<(), NoRoom> {
        let times = if self.code == option::TEMPORARY { 0 } else { 8 };
        let inside = match grant {
            Grant::Status(_) => 4 + 2,
            Grant::Address(_) | Grant::Withdrawn(_) => 4 + 16 + 8,
        };
        head(packet, self.code, 4 + times + inside)?;
        packet.extend(&self.id)?;
        if times != 0 {
            // When to renew and to rebind (RFC 8415, 21.4).
            packet.extend(&seconds(lease / 2))?;
            packet.extend(&seconds(lease * 4 / 5))?;
        }
        let (ip, lease) = match grant {
            Grant::Status(status) => {
                return put(packet, option::STATUS, &(status as u16).to_be_bytes());
            }
            Grant::Address(ip) => (ip, lease),
            Grant::Withdrawn(ip) => (ip, Duration::ZERO),
        };
        head(packet, option::ADDRESS, 16 + 8)?;
        packet.extend(&ip.octets())?;
        packet.extend(&seconds(lease))?;
        packet.extend(&seconds(lease))
    }
}

/// The server's identifier: of its link-layer address (RFC 8415, 11.4).
fn duid(mac: MacAddr) -> [u8; 10] {
    let [a, b, c, d, e, f] = mac.0;
    [0, 3, 0, 1, a, b, c, d, e, f]
}

impl<'a> Request<'a> {
    /// Reads a message to the server with this MAC address.
    pub(super) fn parse(message: &'a [u8], server_mac: MacAddr) -> Result<Self, Refused> {
        let (&[kind, x0, x1, x2], mut options) =
            message.split_first_chunk().ok_or(Refused::Malformed)?;
        let kind = Kind::of_client(kind).ok_or(Refused::NotOfAClient)?;
        let mut associations = [None; ASSOCIATIONS_MAX];
        let mut free = associations.iter_mut();
        let (mut client, mut server) = (None, None);
        let (mut rapid_commit, mut asks_for_name) = (false, false);
        while let Some((code, value)) = next_option(&mut options)? {
            match code {
                option::CLIENT if (3..=DUID_MAX).contains(&value.len()) => client = Some(value),
                option::CLIENT => return Err(Refused::Malformed),
                option::SERVER => server = Some(value),
                option::RAPID_COMMIT => rapid_commit = true,
                option::FQDN => asks_for_name = value.first().is_some_and(|flags| flags & 1 != 0),
                option::NON_TEMPORARY | option::TEMPORARY | option::PREFIX_DELEGATION => {
                    let association = Association::parse(code, value)?;
                    if let Some(free) = free.next() {
                        *free = Some(association);
                    }
                }
                _ => {}
            }
        }
        if server.is_some_and(|server| server != duid(server_mac)) {
            return Err(Refused::OtherServer);
        }
        let has_server = kind.names_server().is_none_or(|must| must == server.is_some());
        if !has_server || client.is_none() && kind != Kind::Information {
            return Err(Refused::Malformed);
        }
        Ok(Self { kind, xid: [x0, x1, x2], client, rapid_commit, asks_for_name, associations })
    }

    /// Appends the reply: `status` for the whole message, and what each association gets.
    pub(super) fn reply(
        &self,
        kind: Kind,
        status: Option<Status>,
        grants: &[Option<Grant>; ASSOCIATIONS_MAX],
        config: &GuestConfig,
        v6: &GuestV6,
        packet: &mut PacketBuf,
    ) -> Result<(), NoRoom> {
        let [x0, x1, x2] = self.xid;
        packet.extend(&[kind as u8, x0, x1, x2])?;
        if let Some(client) = self.client {
            put(packet, option::CLIENT, client)?;
        }
        put(packet, option::SERVER, &duid(config.mac))?;
        if self.rapid_commit && (self.kind, kind) == (Kind::Solicit, Kind::Reply) {
            put(packet, option::RAPID_COMMIT, &[])?;
        }
        if let Some(status) = status {
            put(packet, option::STATUS, &(status as u16).to_be_bytes())?;
        }
        let lease = v6.pool.map_or(Duration::ZERO, |pool| pool.lease);
        for (association, grant) in self.associations.iter().zip(grants) {
            if let (Some(association), Some(grant)) = (association, grant) {
                association.reply(*grant, lease, packet)?;
            }
        }
        if !v6.dns.is_empty() {
            head(packet, option::NAME_SERVERS, 16 * v6.dns.len())?;
            for server in &v6.dns {
                packet.extend(&server.octets())?;
            }
        }
        if let Some(name) = &config.fqdn {
            // No server enters it into DNS: if the client asked for that, it learns so (O).
            let overrides = if self.asks_for_name { 0x02 } else { 0 };
            head(packet, option::FQDN, 1 + name.as_wire().len())?;
            packet.extend(&[overrides])?;
            packet.extend(name.as_wire())?;
        }
        let search = config.search_within(SEARCH_MAX);
        let len = search.clone().map(<[u8]>::len).sum();
        if len > 0 {
            head(packet, option::SEARCH, len)?;
            for name in search {
                packet.extend(name)?;
            }
        }
        Ok(())
    }
}

/// Takes the next option off; `None` at the end.
fn next_option<'a>(bytes: &mut &'a [u8]) -> Result<Option<(u16, &'a [u8])>, Refused> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let (&[c0, c1, l0, l1], rest) = bytes.split_first_chunk().ok_or(Refused::Malformed)?;
    let len = usize::from(u16::from_be_bytes([l0, l1]));
    let (value, rest) = rest.split_at_checked(len).ok_or(Refused::Malformed)?;
    *bytes = rest;
    Ok(Some((u16::from_be_bytes([c0, c1]), value)))
}

fn head(packet: &mut PacketBuf, code: u16, len: usize) -> Result<(), NoRoom> {
    packet.extend(&code.to_be_bytes())?;
    packet.extend(&u16::try_from(len).map_err(|_| NoRoom)?.to_be_bytes())
}

fn put(packet: &mut PacketBuf, code: u16, value: &[u8]) -> Result<(), NoRoom> {
    head(packet, code, value.len())?;
    packet.extend(value)
}

fn seconds(time: Duration) -> [u8; 4] {
    u32::try_from(time.as_secs()).unwrap_or(u32::MAX).to_be_bytes()
}
