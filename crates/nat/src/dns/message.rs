//! DNS messages: the header and the question are read, answers of our own are written (RFC 1035, 4).
//!
//! ```text
//!  0    2       4           6         8           10           12
//!  | id | flags | questions | answers | authority | additional | question | records ... |
//! ```
//!
//! A forwarder changes two bytes of a message, so nothing behind the question is read: records that nobody
//! knows yet, EDNS options, signatures and compression pass unchanged. That is why no DNS crate is used: what
//! remains is a name without compression and two numbers.

use adit_packet::{NoRoom, PacketBuf};
use core::net::IpAddr;

use crate::dns::name::Name;

pub(super) const HEADER_LEN: usize = 12;
/// The longest query: what a resolver takes in one datagram without fragments (RFC 9715).
pub(super) const QUERY_MAX: usize = 1232;

/// Record types (IANA, Domain Name System Parameters).
pub(super) mod kind {
    pub(in super::super) const A: u16 = 1;
    pub(in super::super) const SOA: u16 = 6;
    pub(in super::super) const PTR: u16 = 12;
    pub(in super::super) const AAAA: u16 = 28;
    pub(in super::super) const OPT: u16 = 41;
    pub(in super::super) const ANY: u16 = 255;
}
/// The class of the Internet, and any.
const CLASS_IN: u16 = 1;
const CLASS_ANY: u16 = 255;

/// Response codes (RFC 1035, 4.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Code {
    NoError = 0,
    FormatError = 1,
    ServerFailure = 2,
    NoName = 3,
    NotImplemented = 4,
    Refused = 5,
}

/// Bits of the flags.
const RESPONSE: u16 = 0x8000;
const OPCODE: u16 = 0x7800;
const AUTHORITATIVE: u16 = 0x0400;
const RECURSION_DESIRED: u16 = 0x0100;
const RECURSION_AVAILABLE: u16 = 0x0080;
const CHECKING_DISABLED: u16 = 0x0010;

/// How long our own names may be kept: they change while the NAT runs.
const TTL: u32 = 10;
/// The datagrams that we take, as EDNS says it.
const UDP_SIZE: u16 = 1232;

/// The fixed header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) id: u16,
    flags: u16,
    questions: u16,
    answers: u16,
    authority: u16,
    additional: u16,
}

impl Header {
    pub(super) fn parse(message: &[u8]) -> Option<Self> {
        let (words, _) = message.get(..HEADER_LEN)?.as_chunks::<2>();
        let &[id, flags, questions, answers, authority, additional] = words else { return None };
        let word = u16::from_be_bytes;
        Some(Self {
            id: word(id),
            flags: word(flags),
            questions: word(questions),
            answers: word(answers),
            authority: word(authority),
            additional: word(additional),
        })
    }

    pub(super) const fn is_response(&self) -> bool {
        self.flags & RESPONSE != 0
    }

    /// Whether the code is one of an error, so that the question may be missing.
    pub(super) const fn is_error(&self) -> bool {
        self.flags & 15 != Code::NoError as u16
    }

    /// Whether a name server could not answer, and another may.
    pub(super) const fn is_failure(&self) -> bool {
        let code = self.flags & 15;
        code == Code::ServerFailure as u16
            || code == Code::NotImplemented as u16
            || code == Code::Refused as u16
    }

    /// The flags of a response to this query.
    const fn response(&self, code: Code, authoritative: bool) -> u16 {
        let kept = self.flags & (OPCODE | RECURSION_DESIRED | CHECKING_DISABLED);
        let authoritative = if authoritative { AUTHORITATIVE } else { 0 };
        RESPONSE | kept | RECURSION_AVAILABLE | authoritative | code as u16
    }
}

/// A query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Query<'a> {
    pub(super) header: Header,
    pub(super) name: Name,
    pub(super) kind: u16,
    class: u16,
    /// The question as it was sent.
    pub(super) question: &'a [u8],
    /// What is behind it.
    rest: &'a [u8],
}

/// Why a query is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Not a query, or too short to be answered.
    Ignored,
    /// Answered with this code.
    Answered(Header, Code),
}

impl<'a> Query<'a> {
    pub(super) fn parse(message: &'a [u8]) -> Result<Self, Fault> {
        let header = Header::parse(message).ok_or(Fault::Ignored)?;
        // A response is never answered: two servers would go on for ever.
        if header.is_response() {
            return Err(Fault::Ignored);
        }
        if header.flags & OPCODE != 0 {
            return Err(Fault::Answered(header, Code::NotImplemented));
        }
        let malformed = Fault::Answered(header, Code::FormatError);
        if (header.questions, header.answers, header.authority) != (1, 0, 0) {
            return Err(malformed);
        }
        let body = message.get(HEADER_LEN..).unwrap_or_default();
        let name_len = name_len(body).ok_or(malformed)?;
        let (question, rest) = body.split_at_checked(name_len + 4).ok_or(malformed)?;
        let (name, numbers) = question.split_at_checked(name_len).ok_or(malformed)?;
        let &[k0, k1, c0, c1] = numbers else { return Err(malformed) };
        Ok(Self {
            header,
            name: Name::from_wire(name),
            kind: u16::from_be_bytes([k0, k1]),
            class: u16::from_be_bytes([c0, c1]),
            question,
            rest,
        })
    }

    /// Whether it asks about names of the Internet.
    pub(super) const fn is_of_internet(&self) -> bool {
        matches!(self.class, CLASS_IN | CLASS_ANY)
    }

    /// Whether it has EDNS (RFC 6891), of which version, and with the bit for signatures: the first record is
    /// one of the root.
    fn edns(&self) -> Option<(u8, u16)> {
        let &[0, k0, k1, _, _, _, version, f0, f1, ..] = self.rest else { return None };
        let is_opt = u16::from_be_bytes([k0, k1]) == kind::OPT && self.header.additional != 0;
        is_opt.then(|| (version, u16::from_be_bytes([f0, f1])))
    }
}

/// The length of an uncompressed name, its root included; `None` if it is none.
fn name_len(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let len = usize::from(*bytes.get(at)?);
        at += 1 + len;
        if len > Name::LABEL_MAX || at > Name::LEN_MAX {
            return None;
        }
        if len == 0 {
            return Some(at);
        }
    }
}

/// The question of a response, as far as it has one question; empty if it has none.
pub(super) fn question_of(response: &[u8]) -> Option<&[u8]> {
    let header = Header::parse(response)?;
    let body = response.get(HEADER_LEN..)?;
    match header.questions {
        0 => Some(&[]),
        1 => body.get(..name_len(body)? + 4),
        _ => None,
    }
}

/// What we know of a name of our own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known<'a> {
    /// These addresses, of one family or both.
    Addresses(&'a [IpAddr]),
    /// The name of an address.
    Host(&'a Name),
    /// The name exists, but has nothing of that type.
    Nothing,
    /// It does not exist; the zone that says so begins at this offset of the name.
    NoName(usize),
}

/// Appends the answer to a query for a name of our own.
pub(super) fn answer(
    query: &Query<'_>,
    known: Known<'_>,
    packet: &mut PacketBuf,
) -> Result<(), NoRoom> {
    /// The name in the question, as a pointer (RFC 1035, 4.1.4).
    const NAME: u16 = 0xc000 | 12;
    let edns = query.edns();
    // Of another version of EDNS only that it is unknown is said (RFC 6891, 6.1.3).
    let is_unknown = edns.is_some_and(|(version, _)| version != 0);
    let code = if matches!(known, Known::NoName(_)) { Code::NoName } else { Code::NoError };
    let wanted = |ip: &IpAddr| match query.kind {
        kind::ANY => true,
        kind::A => ip.is_ipv4(),
        kind::AAAA => ip.is_ipv6(),
        _ => false,
    };
    let (ips, host, zone) = match known {
        _ if is_unknown => (&[][..], None, None),
        Known::Addresses(ips) if ips.iter().any(wanted) => (ips, None, None),
        Known::Host(name) if matches!(query.kind, kind::PTR | kind::ANY) => {
            (&[][..], Some(name), None)
        }
        Known::Addresses(_) | Known::Host(_) | Known::Nothing => (&[][..], None, Some(0)),
        Known::NoName(at) => (&[][..], None, Some(at)),
    };
    let ips = || ips.iter().filter(|ip| wanted(ip));
    let answers = ips().count() + usize::from(host.is_some());
    let code = if is_unknown { Code::NoError } else { code };
    let counts = [1, answers, usize::from(zone.is_some()), usize::from(edns.is_some())];
    header(&query.header, query.header.response(code, true), counts, packet)?;
    packet.extend(query.question)?;
    for ip in ips() {
        match ip {
            IpAddr::V4(ip) => record(packet, NAME, kind::A, &ip.octets())?,
            IpAddr::V6(ip) => record(packet, NAME, kind::AAAA, &ip.octets())?,
        }
    }
    if let Some(host) = host {
        record(packet, NAME, kind::PTR, host.as_wire())?;
    }
    if let Some(at) = zone {
        // Without it, nobody keeps the answer (RFC 2308, 5): a primary and a mailbox of the root, serial 1,
        // four times, the last for how long a name is known not to exist.
        let mut soa = [0; 2 + 5 * 4];
        let (words, _) = soa.split_at_mut(2).1.as_chunks_mut::<4>();
        let numbers = [1, 3600, 600, 86_400, TTL];
        words.iter_mut().zip(numbers).for_each(|(to, number)| *to = u32::to_be_bytes(number));
        let owner = NAME + u16::try_from(at).unwrap_or(0);
        record(packet, owner, kind::SOA, &soa)?;
    }
    if let Some((_, flags)) = edns {
        const DNSSEC_OK: u16 = 0x8000;
        // The upper bits of the response code 16, "bad version".
        let code = u8::from(is_unknown);
        packet.extend(&[0])?;
        packet.extend(&kind::OPT.to_be_bytes())?;
        packet.extend(&UDP_SIZE.to_be_bytes())?;
        packet.extend(&[code, 0])?;
        packet.extend(&(flags & DNSSEC_OK).to_be_bytes())?;
        packet.extend(&[0, 0])?;
    }
    Ok(())
}

/// Appends a response that has nothing but its code; `question` is empty if that was not read.
pub(super) fn refuse(
    query: &Header,
    code: Code,
    question: &[u8],
    packet: &mut PacketBuf,
) -> Result<(), NoRoom> {
    let counts = [usize::from(!question.is_empty()), 0, 0, 0];
    header(query, query.response(code, false), counts, packet)?;
    packet.extend(question)
}

/// Leaves the header and the question of a response, marked as truncated.
pub(crate) fn truncate(response: &mut PacketBuf) {
    const TRUNCATED: u8 = 0x02;
    let question = question_of(response.bytes()).map_or(0, <[u8]>::len);
    response.truncate(HEADER_LEN + question);
    let bytes = response.bytes_mut();
    if let Some(flags) = bytes.get_mut(2) {
        *flags |= TRUNCATED;
    }
    if let Some(counts) = bytes.get_mut(6..HEADER_LEN) {
        counts.fill(0);
    }
}

fn header(
    query: &Header,
    flags: u16,
    counts: [usize; 4],
    packet: &mut PacketBuf,
) -> Result<(), NoRoom> {
    packet.extend(&query.id.to_be_bytes())?;
    packet.extend(&flags.to_be_bytes())?;
    for count in counts {
        packet.extend(&u16::try_from(count).map_err(|_| NoRoom)?.to_be_bytes())?;
    }
    Ok(())
}

fn record(packet: &mut PacketBuf, owner: u16, kind: u16, data: &[u8]) -> Result<(), NoRoom> {
    packet.extend(&owner.to_be_bytes())?;
    packet.extend(&kind.to_be_bytes())?;
    packet.extend(&CLASS_IN.to_be_bytes())?;
    packet.extend(&TTL.to_be_bytes())?;
    packet.extend(&u16::try_from(data.len()).map_err(|_| NoRoom)?.to_be_bytes())?;
    packet.extend(data)
}
