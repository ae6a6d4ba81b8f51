//! The routers on a way: echo requests with small hop limits.

use adit_device::Netns;
use adit_packet::{IcmpHeader, Ipv4, Ipv6Header, icmp};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, ipproto, recvfrom, sendto,
    socket_with, sockopt,
};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// How far it looks, as `traceroute` does.
pub(super) const HOPS_MAX: u8 = 30;
/// How long a router may take to answer, and how often it is asked. A kernel sends an error a second to one address.
const WAIT: Duration = Duration::from_millis(1_100);
const TRIES: u16 = 2;

/// A way to an address.
pub(super) struct Hops {
    socket: OwnedFd,
    to: IpAddr,
    id: u16,
    sequence: u16,
}

impl Hops {
    pub(super) fn open(from: &Netns, to: IpAddr) -> io::Result<Self> {
        let (family, protocol) = match to {
            IpAddr::V4(_) => (AddressFamily::INET, ipproto::ICMP),
            IpAddr::V6(_) => (AddressFamily::INET6, ipproto::ICMPV6),
        };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = from.run(|| socket_with(family, SocketType::RAW, flags, Some(protocol)))??;
        let [a, b] = adit_service::supervisor::random().map_err(io::Error::other)?;
        Ok(Self { socket, to, id: u16::from_be_bytes([a, b]), sequence: 0 })
    }

    /// Who answers to an echo request with this hop limit.
    pub(super) fn at(&mut self, hop: u8) -> io::Result<Option<IpAddr>> {
        match self.to {
            IpAddr::V4(_) => sockopt::set_ip_ttl(&self.socket, u32::from(hop))?,
            IpAddr::V6(_) => sockopt::set_ipv6_unicast_hops(&self.socket, Some(hop))?,
        }
        for _ in 0..TRIES {
            self.sequence += 1;
            let kind =
                if self.to.is_ipv4() { icmp::v4::ECHO_REQUEST } else { icmp::v6::ECHO_REQUEST };
            let mut message = [0; 16];
            let header = IcmpHeader::echo(kind, self.id, self.sequence).to_bytes();
            message[..header.len()].copy_from_slice(&header);
            // The kernel fills the checksum of ICMPv6 in.
            if self.to.is_ipv4() {
                icmp::fill_checksum_v4(&mut message);
            }
            let at = SocketAddr::new(self.to, 0);
            // Unreachable networks are refused here.
            if sendto(&self.socket, &message, SendFlags::empty(), &at).is_err() {
                return Ok(None);
            }
            if let Some(from) = self.answer()? {
                return Ok(Some(from));
            }
        }
        Ok(None)
    }

    fn answer(&self) -> io::Result<Option<IpAddr>> {
        let end = Instant::now() + WAIT;
        let mut bytes = [0; 2048];
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            let timeout =
                Timespec { tv_sec: 0, tv_nsec: i64::from(left.subsec_nanos()).min(999_999_999) };
            poll(&mut [PollFd::new(&self.socket, PollFlags::IN)], Some(&timeout))?;
            let Ok((len, _, Some(from))) = recvfrom(&self.socket, &mut bytes, RecvFlags::empty())
            else {
                continue;
            };
            let from = SocketAddr::try_from(from).map(|from| from.ip());
            if let Ok(from) = from
                && bytes.get(..len).is_some_and(|message| self.is_about_ours(message))
            {
                return Ok(Some(from));
            }
        }
    }

    /// Whether a received message answers our last request.
    fn is_about_ours(&self, bytes: &[u8]) -> bool {
        let ours = |message: &[u8], kind: u8| {
            let id = [self.id.to_be_bytes(), self.sequence.to_be_bytes()].concat();
            message.first() == Some(&kind) && message.get(4..8) == Some(&id[..])
        };
        if self.to.is_ipv4() {
            let Ok(ip) = Ipv4::parse(bytes) else { return false };
            let message = ip.payload();
            let quoted = message.get(8..).unwrap_or_default();
            let inner = quoted.first().map_or(0, |first| usize::from(first & 0xf) * 4);
            let is_error = message.first() == Some(&icmp::v4::TIME_EXCEEDED);
            return ours(message, icmp::v4::ECHO_REPLY)
                || is_error
                    && ours(quoted.get(inner..).unwrap_or_default(), icmp::v4::ECHO_REQUEST);
        }
        let quoted = bytes.get(8 + Ipv6Header::LEN..).unwrap_or_default();
        let is_error = bytes.first() == Some(&icmp::v6::TIME_EXCEEDED);
        ours(bytes, icmp::v6::ECHO_REPLY) || is_error && ours(quoted, icmp::v6::ECHO_REQUEST)
    }
}
