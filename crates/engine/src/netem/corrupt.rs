//! Bit errors.

use adit_packet::{PacketBuf, VnetHeader, finish_checksum};

use super::profile::Corrupt;
use super::random::{Chance, Effect, Seed, Stream};

/// What decides which bits are turned round.
#[derive(Debug)]
pub(super) struct Errors {
    corrupt: Corrupt,
    packets: Stream,
    bits: Stream,
    /// Bits that are right before the next error, over all packets; `None`: not drawn yet.
    gap: Option<u64>,
}

impl Errors {
    pub(super) fn new(corrupt: Corrupt, seed: Seed) -> Self {
        let packets = seed.stream(Effect::Corrupt);
        Self { corrupt, packets, bits: seed.stream(Effect::Bit), gap: None }
    }

    pub(super) fn set(&mut self, corrupt: Corrupt) {
        if corrupt != self.corrupt {
            (self.corrupt, self.gap) = (corrupt, None);
        }
    }

    /// Turns bits of the next packet round and says how many.
    ///
    /// A checksum that was left to be finished is finished first, and nothing says any more that it
    /// was verified: the receiver finds it wrong.
    pub(super) fn apply(&mut self, packet: &mut PacketBuf) -> u64 {
        let len = u64::try_from(packet.len()).unwrap_or(u64::MAX).saturating_mul(8);
        match self.corrupt {
            Corrupt::None => 0,
            Corrupt::Packets { share } => {
                if !self.packets.happens(Chance::new(share)) || len == 0 {
                    return 0;
                }
                prepare(packet);
                turn(packet, self.bits.below(len));
                1
            }
            Corrupt::Bits { rate } => {
                if Chance::new(rate).is_zero() {
                    return 0;
                }
                let mut at = self.gap.take().unwrap_or_else(|| gap(&mut self.bits, rate));
                let mut count = 0;
                while at < len {
                    if count == 0 {
                        prepare(packet);
                    }
                    turn(packet, at);
                    count += 1;
                    at = at.saturating_add(1).saturating_add(gap(&mut self.bits, rate));
                }
                self.gap = Some(at - len);
                count
            }
        }
    }
}

/// How many bits are right before the next error: a geometric variable.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a cast from a float stays within the range of what it is cast to"
)]
fn gap(random: &mut Stream, rate: f64) -> u64 {
    libm::floor(libm::log(random.unit()) / libm::log1p(-rate)) as u64
}

fn prepare(packet: &mut PacketBuf) {
    // A packet whose checksum cannot be finished is wrong already.
    let _ = finish_checksum(packet);
    packet.meta.vnet.flags &= !VnetHeader::DATA_VALID;
}

fn turn(packet: &mut PacketBuf, bit: u64) {
    let at = usize::try_from(bit / 8).unwrap_or(usize::MAX);
    if let Some(byte) = packet.bytes_mut().get_mut(at) {
        *byte ^= 1 << (bit % 8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netem::Estimate;

    const LEN: usize = 1500;

    fn blank() -> PacketBuf {
        let mut packet = PacketBuf::new(0, LEN);
        packet.set_len(LEN).unwrap();
        packet
    }

    /// Errors and packets with errors among `packets`.
    fn count(corrupt: Corrupt, packets: u64) -> (u64, u64) {
        let mut errors = Errors::new(corrupt, Seed::new(11));
        let (mut bits, mut hit) = (0, 0);
        for _ in 0..packets {
            let mut packet = blank();
            let turned = errors.apply(&mut packet);
            let set: u32 = packet.bytes().iter().map(|byte| byte.count_ones()).sum();
            assert_eq!(u64::from(set), turned);
            bits += turned;
            hit += u64::from(turned > 0);
        }
        (bits, hit)
    }

    #[test]
    fn one_bit_in_a_share_of_packets() {
        let (bits, hit) = count(Corrupt::Packets { share: 0.05 }, 20_000);
        assert_eq!(bits, hit);
        assert!(Estimate::new(hit, 20_000, 1.0).unwrap().contains(0.05), "{hit}");
        assert_eq!(count(Corrupt::None, 100), (0, 0));
        assert_eq!(count(Corrupt::Packets { share: 1.0 }, 100), (100, 100));
    }

    #[test]
    fn a_bit_error_rate_over_all_packets() {
        let (packets, rate) = (20_000, 1e-5);
        let (bits, hit) = count(Corrupt::Bits { rate }, packets);
        let all = packets * u64::try_from(LEN).unwrap() * 8;
        assert!(Estimate::new(bits, all, 1.0).unwrap().contains(rate), "{bits}");
        let share = 1.0 - libm::pow(1.0 - rate, 12_000.0);
        assert!(Estimate::new(hit, packets, 1.0).unwrap().contains(share), "{hit}");
        assert_eq!(count(Corrupt::Bits { rate: 0.0 }, 100), (0, 0));
    }

    /// An unfinished checksum is finished before the error, so that it is wrong after it.
    #[test]
    fn the_checksum_is_left_wrong() {
        let mut packet = PacketBuf::new(0, 64);
        packet.extend(&[0xab; 20]).unwrap();
        packet.meta.vnet.flags = VnetHeader::NEEDS_CSUM | VnetHeader::DATA_VALID;
        packet.meta.vnet.csum_offset = 6;
        let mut errors = Errors::new(Corrupt::Packets { share: 1.0 }, Seed::new(1));
        assert_eq!(errors.apply(&mut packet), 1);
        assert_eq!(packet.meta.vnet.flags, 0);
        let mut empty = PacketBuf::new(0, 0);
        assert_eq!(errors.apply(&mut empty), 0);
    }
}
