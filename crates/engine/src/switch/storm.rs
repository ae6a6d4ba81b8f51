//! Storm control: how much of what is flooded a port may send.

use core::time::Duration;

use adit_packet::{Instant, PacketBuf};

use crate::switch::config::{StormConfig, StormRate};
use crate::switch::event::StormKind;

/// The limits of one port.
#[derive(Debug)]
pub(super) struct Storm {
    broadcast: Option<Bucket>,
    multicast: Option<Bucket>,
    unknown_unicast: Option<Bucket>,
}

impl Storm {
    pub(super) fn new(config: &StormConfig) -> Self {
        Self {
            broadcast: config.broadcast.map(Bucket::new),
            multicast: config.multicast.map(Bucket::new),
            unknown_unicast: config.unknown_unicast.map(Bucket::new),
        }
    }

    /// Whether the port may send this frame.
    pub(super) fn admits(&mut self, now: Instant, kind: StormKind, packet: &PacketBuf) -> bool {
        let bucket = match kind {
            StormKind::Broadcast => &mut self.broadcast,
            StormKind::Multicast => &mut self.multicast,
            StormKind::UnknownUnicast => &mut self.unknown_unicast,
        };
        bucket.as_mut().is_none_or(|bucket| bucket.admits(now, frames_in(packet)))
    }
}

/// For how many frames a super-packet stands.
fn frames_in(packet: &PacketBuf) -> u32 {
    let vnet = &packet.meta.vnet;
    if !vnet.is_super_packet() || vnet.gso_size == 0 {
        return 1;
    }
    let payload = packet.len().saturating_sub(usize::from(vnet.hdr_len));
    u32::try_from(payload.div_ceil(usize::from(vnet.gso_size))).unwrap_or(u32::MAX).max(1)
}

/// A token bucket, kept as the moment at which it is full again (the generic cell rate algorithm,
/// ITU-T I.371).
///
/// One token is enough for a super-packet; what it costs more is owed.
#[derive(Debug)]
struct Bucket {
    /// The time of one token; `None` if there never is any.
    interval: Option<Duration>,
    /// The time of all tokens but one.
    tolerance: Duration,
    full_at: Instant,
}

impl Bucket {
    fn new(rate: StormRate) -> Self {
        let interval = Duration::from_secs(1).checked_div(rate.frames_per_second);
        let tolerance = interval.unwrap_or_default().saturating_mul(rate.burst.saturating_sub(1));
        Self { interval, tolerance, full_at: Instant::ZERO }
    }

    fn admits(&mut self, now: Instant, frames: u32) -> bool {
        let Some(interval) = self.interval else { return false };
        let full_at = self.full_at.max(now);
        let admitted = full_at.since(now) <= self.tolerance;
        if admitted {
            self.full_at = full_at + interval.saturating_mul(frames);
        }
        admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use adit_packet::{Gso, VnetHeader};

    fn rate(frames_per_second: u32, burst: u32) -> StormRate {
        StormRate { frames_per_second, burst }
    }

    #[test]
    fn a_burst_and_then_the_rate() {
        let mut bucket = Bucket::new(rate(100, 5));
        let mut now = Instant::ZERO + Duration::from_secs(1);
        assert_eq!((0..20).filter(|_| bucket.admits(now, 1)).count(), 5);
        let mut admitted = 0;
        for _ in 0..10_000 {
            now += Duration::from_millis(1);
            admitted += u32::from(bucket.admits(now, 1));
        }
        assert_eq!(admitted, 1000);
    }

    #[test]
    fn none_is_none() {
        let mut bucket = Bucket::new(rate(0, 5));
        assert!(!bucket.admits(Instant::MAX, 1));
    }

    #[test]
    fn a_super_packet_counts_as_its_frames_and_is_owed() {
        let mut packet = PacketBuf::new(0, 50 + 10_000);
        packet.set_len(50 + 9_001).unwrap();
        packet.meta.vnet =
            VnetHeader { gso: Gso::UdpL4, gso_size: 1000, hdr_len: 50, ..VnetHeader::default() };
        assert_eq!(frames_in(&packet), 10);
        let config = StormConfig { multicast: Some(rate(10, 2)), ..StormConfig::default() };
        let mut storm = Storm::new(&config);
        let start = Instant::ZERO + Duration::from_secs(1);
        let mut admits = |millis| {
            storm.admits(start + Duration::from_millis(millis), StormKind::Multicast, &packet)
        };
        assert!(admits(0));
        assert!(!admits(850), "it owes nine frames");
        assert!(admits(900));
        assert!(storm.admits(start, StormKind::Broadcast, &packet), "no limit for this kind");
    }
}
