//! Packets that wait until the MAC address of their destination is known.

use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

use adit_packet::{Instant, PacketBuf};

/// Addresses that are asked for at once.
const WAITING_MAX: usize = 16;
/// How often an address is asked for, and how long apart (RFC 4861, 10: three times, one second).
const TRIES: u8 = 3;
const INTERVAL: Duration = Duration::from_secs(1);

/// One packet for each address that is asked for: the newest, as a resend is newer than the original.
#[derive(Debug, Default)]
pub(super) struct Pending(Vec<Waiting>);

#[derive(Debug)]
struct Waiting {
    ip: IpAddr,
    packet: PacketBuf,
    asked: u8,
    next: Instant,
}

/// What is due for a waiting packet.
#[derive(Debug)]
pub(super) enum Due {
    /// Ask again for this address.
    Ask(IpAddr),
    /// Nobody answered.
    GiveUp(PacketBuf),
}

impl Pending {
    pub(super) const fn len(&self) -> usize {
        self.0.len()
    }

    /// Holds a packet; one that has to give way comes back. The flag says to ask for the address now.
    pub(super) fn hold(
        &mut self,
        now: Instant,
        ip: IpAddr,
        packet: PacketBuf,
    ) -> (Option<PacketBuf>, bool) {
        if let Some(waiting) = self.0.iter_mut().find(|waiting| waiting.ip == ip) {
            return (Some(core::mem::replace(&mut waiting.packet, packet)), false);
        }
        let oldest = (self.0.len() >= WAITING_MAX).then(|| self.0.remove(0).packet);
        self.0.push(Waiting { ip, packet, asked: 1, next: now + INTERVAL });
        (oldest, true)
    }

    /// The packet that waited for this address.
    pub(super) fn take(&mut self, ip: IpAddr) -> Option<PacketBuf> {
        let at = self.0.iter().position(|waiting| waiting.ip == ip)?;
        Some(self.0.remove(at).packet)
    }

    /// Any packet, to give up all of them.
    pub(super) fn pop(&mut self) -> Option<PacketBuf> {
        self.0.pop().map(|waiting| waiting.packet)
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.0.iter().map(|waiting| waiting.next).min()
    }

    /// The next thing that is due.
    pub(super) fn due(&mut self, now: Instant) -> Option<Due> {
        let at = self.0.iter().position(|waiting| waiting.next <= now)?;
        let waiting = self.0.get_mut(at)?;
        if waiting.asked >= TRIES {
            return Some(Due::GiveUp(self.0.remove(at).packet));
        }
        waiting.asked += 1;
        waiting.next = now + INTERVAL;
        Some(Due::Ask(waiting.ip))
    }
}
