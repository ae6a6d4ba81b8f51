//! The loop guard: probes that tell of loops, and ports that are blocked for one.
//!
//! Every port sends a probe now and then, a frame for a group that every bridge floods. A probe that
//! comes back was in a loop. Its token is random and goes out by one port only, so who is not in a
//! loop with a port cannot have it blocked.
//!
//! Where the loop is between two of our ports the one with the higher number is blocked, at once.
//! Two more cases wait for the next probe to come back as well, so that others may act first: a loop
//! behind one port, which its own switch ends without cutting itself off; and a loop through another
//! switch of our kind with a lower name, which then blocks a port, so that we do not both do it.
//!
//! A loop makes addresses flap between ports. So do a forged source and two machines with one address,
//! and nothing in a frame distinguishes them. So flapping blocks no port: it sends probes at once, also
//! as broadcasts in the VLAN of the address, which pass wherever the frames of a loop do. If it goes on
//! without a probe that returns, the address is bound to its home for a while, the port from which it
//! sent for the longest: frames from that address on other ports are dropped, which ends what is left
//! of a storm and hurts nobody else on those ports.
//!
//! A blocked port is tried again after a hold-down: it sends probes, and forwards again if none came
//! back. The hold-down doubles as long as the loop is there.

use core::time::Duration;

use adit_packet::{EthernetHeader, Instant, MacAddr, PacketBuf, VlanTag, ether_type};

use crate::endpoint::PortId;
use crate::switch::config::LoopGuardConfig;
use crate::switch::event::LoopCause;
use crate::switch::head::type_at;

/// The group of probes: locally administered, so nobody else's, and flooded by every bridge.
pub(super) const GROUP: MacAddr = MacAddr(*b"\x03adit\x01");
/// IEEE 802, local experimental type 1.
const ETHER_TYPE: u16 = 0x88b5;
const MAGIC: [u8; 8] = *b"adit-lp1";
/// Rounds of probes after the first in which a port that is tried again must not see one come back.
const TRIAL_ROUNDS: u32 = 2;

/// So many probes of a port are known when they come back: those of 3 s, at the usual interval.
const TOKENS: usize = 8;

/// One probe.
///
/// ```text
///  0             6        12     14      22     30       38     40      48
///  | group       | source | 88b5 | magic | name | lowest | port | token | 0 up to 60 |
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Probe {
    /// Of the switch that sent it.
    pub(super) name: u64,
    /// The lowest name of the switches that it went through.
    pub(super) lowest: u64,
    /// By which port it left.
    pub(super) port: PortId,
    /// Known to who got it only.
    pub(super) token: u64,
}

impl Probe {
    /// The shortest frame of Ethernet, without its checksum.
    pub(super) const LEN: usize = 60;
    const LOWEST: usize = 16;
    const BODY_LEN: usize = 34;

    /// Appends the frame, to the group of probes or to all stations.
    pub(super) fn append_to(&self, packet: &mut PacketBuf, destination: MacAddr) {
        let [.., a, b, c, d] = self.name.to_be_bytes();
        let source = MacAddr([0x02, 0x61, a, b, c, d]);
        let header = EthernetHeader { destination, source, ether_type: ETHER_TYPE };
        let pieces: [&[u8]; 6] = [
            &header.to_bytes(),
            &MAGIC,
            &self.name.to_be_bytes(),
            &self.lowest.to_be_bytes(),
            &self.port.0.to_be_bytes(),
            &self.token.to_be_bytes(),
        ];
        if let Some(frame) = packet.grow(Self::LEN) {
            frame.fill(0);
            let from = pieces.into_iter().flatten();
            frame.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
        }
    }

    /// The probe in a frame, with or without tags, and where its body starts.
    pub(super) fn parse(frame: &[u8]) -> Option<(Self, usize)> {
        let mut at = EthernetHeader::LEN - 2;
        while ether_type::is_tag(type_at(frame, at)?) {
            at += VlanTag::LEN;
        }
        let body: &[u8; Self::BODY_LEN] = frame.get(at + 2..)?.first_chunk()?;
        let (magic, rest) = body.split_first_chunk::<8>()?;
        let (&name, rest) = rest.split_first_chunk()?;
        let (&lowest, rest) = rest.split_first_chunk()?;
        let (&port, rest) = rest.split_first_chunk()?;
        let &token = rest.first_chunk()?;
        let probe = Self {
            name: u64::from_be_bytes(name),
            lowest: u64::from_be_bytes(lowest),
            port: PortId(u16::from_be_bytes(port)),
            token: u64::from_be_bytes(token),
        };
        (type_at(frame, at) == Some(ETHER_TYPE) && *magic == MAGIC).then_some((probe, at + 2))
    }

    /// Writes our name into another's probe that passes through, if it is the lowest so far.
    pub(super) fn stamp(self, frame: &mut [u8], body: usize, name: u64) {
        let at = body + Self::LOWEST;
        if name < self.lowest
            && let Some(field) = frame.get_mut(at..at + 8)
        {
            field.copy_from_slice(&name.to_be_bytes());
        }
    }
}

/// What the guard keeps of one port.
#[derive(Debug)]
pub(super) struct LoopState {
    /// The tokens of the last probes, the newest first: a loop may lead through a slow link.
    tokens: [Option<u64>; TOKENS],
    /// Since when a probe of this port came back in every round.
    returning_since: Option<Instant>,
    returned: bool,
    blocked: Option<Blocked>,
    /// How long it is blocked the next time.
    hold: Duration,
    unblocked_at: Instant,
}

/// Why and until when a port is blocked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Blocked {
    pub(super) cause: LoopCause,
    pub(super) until: Instant,
    /// Rounds left of the trial, and whether a probe came back in it.
    trial: Option<Trial>,
}

#[derive(Clone, Copy, Debug)]
struct Trial {
    rounds: u32,
    failed: bool,
}

/// The action for a port in a round of probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Round {
    /// It sends a probe.
    Probe,
    /// It stays silent: it is blocked.
    Silent,
    /// It forwards again from now on, and sends a probe.
    Unblocked,
}

impl LoopState {
    pub(super) const fn new() -> Self {
        Self {
            tokens: [None; TOKENS],
            returning_since: None,
            returned: false,
            blocked: None,
            hold: Duration::ZERO,
            unblocked_at: Instant::ZERO,
        }
    }

    pub(super) const fn blocked(&self) -> Option<&Blocked> {
        self.blocked.as_ref()
    }

    /// Whether the port sent that token lately.
    pub(super) fn knows(&self, token: u64) -> bool {
        self.tokens.contains(&Some(token))
    }

    /// Begins a round.
    pub(super) fn begin_round(&mut self, now: Instant, config: &LoopGuardConfig) -> Round {
        if !core::mem::take(&mut self.returned) {
            self.returning_since = None;
        }
        let Some(blocked) = &mut self.blocked else { return Round::Probe };
        match &mut blocked.trial {
            None if now < blocked.until => Round::Silent,
            None => {
                blocked.trial = Some(Trial { rounds: TRIAL_ROUNDS, failed: false });
                Round::Probe
            }
            Some(Trial { failed: true, .. }) => {
                self.hold_on(now, blocked_cause(self.blocked), config);
                Round::Silent
            }
            Some(Trial { rounds: 0, .. }) => {
                self.blocked = None;
                self.unblocked_at = now;
                Round::Unblocked
            }
            Some(Trial { rounds, .. }) => {
                *rounds -= 1;
                Round::Probe
            }
        }
    }

    /// Keeps the token of the probe that leaves now.
    pub(super) fn sent(&mut self, token: u64) {
        self.tokens.rotate_right(1);
        if let Some(first) = self.tokens.first_mut() {
            *first = Some(token);
        }
    }

    /// Notes that a probe of this port came back; for how long each of them did.
    pub(super) fn note_return(&mut self, now: Instant) -> Duration {
        self.returned = true;
        now.since(*self.returning_since.get_or_insert(now))
    }

    /// Notes a probe that shows that the loop is still there, if the port is blocked; whether it is.
    pub(super) const fn note_still_there(&mut self) -> bool {
        match &mut self.blocked {
            Some(Blocked { trial: Some(trial), .. }) => {
                trial.failed = true;
                true
            }
            Some(_) => true,
            None => false,
        }
    }

    /// Blocks the port, longer than the last time if that was not long ago.
    pub(super) fn block(&mut self, now: Instant, cause: LoopCause, config: &LoopGuardConfig) {
        if now.since(self.unblocked_at) >= config.hold_max {
            self.hold = Duration::ZERO;
        }
        self.hold_on(now, Some(cause), config);
    }

    fn hold_on(&mut self, now: Instant, cause: Option<LoopCause>, config: &LoopGuardConfig) {
        let Some(cause) = cause else { return };
        self.hold = self.hold.saturating_mul(2).clamp(config.hold, config.hold_max);
        self.blocked = Some(Blocked { cause, until: now + self.hold, trial: None });
    }
}

fn blocked_cause(blocked: Option<Blocked>) -> Option<LoopCause> {
    blocked.map(|blocked| blocked.cause)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    const PROBE: Probe = Probe {
        name: 0x0102_0304_0506_0708,
        lowest: 0x1112_1314_1516_1718,
        port: PortId(0x2122),
        token: 0x3132_3334_3536_3738,
    };
    const BYTES: [u8; 48] = *b"\x03adit\x01\x02a\x05\x06\x07\x08\x88\xb5adit-lp1\
        \x01\x02\x03\x04\x05\x06\x07\x08\x11\x12\x13\x14\x15\x16\x17\x18\x21\x22\
        \x31\x32\x33\x34\x35\x36\x37\x38";

    fn frame() -> PacketBuf {
        let mut packet = PacketBuf::new(0, Probe::LEN);
        PROBE.append_to(&mut packet, GROUP);
        packet
    }

    #[test]
    fn bytes_both_ways_with_and_without_tags() {
        let frame = frame();
        assert_eq!((&frame.bytes()[..48], frame.len()), (&BYTES[..], 60));
        assert_eq!(Probe::parse(frame.bytes()), Some((PROBE, 14)));
        let tag = [0x81, 0, 0, 5];
        let tagged = [&BYTES[..12], &tag, &tag, &BYTES[12..]].concat();
        assert_eq!(Probe::parse(&tagged), Some((PROBE, 22)));
        for len in 0..BYTES.len() {
            assert_eq!(Probe::parse(&BYTES[..len]), None);
        }
    }

    #[test]
    fn only_a_lower_name_is_stamped() {
        let mut frame = frame();
        PROBE.stamp(frame.bytes_mut(), 14, PROBE.lowest + 1);
        assert_eq!(Probe::parse(frame.bytes()), Some((PROBE, 14)));
        PROBE.stamp(frame.bytes_mut(), 14, 7);
        assert_eq!(Probe::parse(frame.bytes()), Some((Probe { lowest: 7, ..PROBE }, 14)));
    }

    fn rounds(
        state: &mut LoopState,
        from: Instant,
        config: &LoopGuardConfig,
    ) -> (Vec<Round>, Instant) {
        let mut now = from;
        let mut seen = Vec::new();
        loop {
            let round = state.begin_round(now, config);
            if seen.last() != Some(&round) {
                seen.push(round);
            }
            if round == Round::Unblocked || seen.len() > 3 {
                return (seen, now);
            }
            now += config.probe_interval;
        }
    }

    #[test]
    fn the_hold_doubles_while_the_loop_is_there_and_is_forgotten_later() {
        let config = LoopGuardConfig::default();
        let mut state = LoopState::new();
        let cause = LoopCause::Probe { other: PortId(1) };
        let start = Instant::ZERO + Duration::from_secs(1000);
        state.block(start, cause, &config);
        assert_eq!(state.begin_round(start, &config), Round::Silent);
        assert!(state.note_still_there(), "but it was no trial");
        let until = start + config.hold;
        assert_eq!(state.begin_round(until, &config), Round::Probe);
        assert!(state.note_still_there());
        assert_eq!(state.begin_round(until, &config), Round::Silent);
        assert_eq!(state.blocked().unwrap().until, until + config.hold * 2);

        let (seen, unblocked) = rounds(&mut state, until, &config);
        assert_eq!(seen, [Round::Silent, Round::Probe, Round::Unblocked]);
        assert!(!state.note_still_there());

        state.block(unblocked, cause, &config);
        assert_eq!(state.blocked().unwrap().until, unblocked + config.hold * 4);
        let (_, unblocked) = rounds(&mut state, unblocked, &config);
        let later = unblocked + config.hold_max;
        state.block(later, cause, &config);
        assert_eq!(state.blocked().unwrap().until, later + config.hold);
    }

    #[test]
    fn rounds_without_a_return_restart_the_count() {
        let config = LoopGuardConfig::default();
        let mut state = LoopState::new();
        let mut now = Instant::ZERO;
        let mut round = |state: &mut LoopState, returns: bool| {
            now += config.probe_interval;
            state.begin_round(now, &config);
            returns.then(|| state.note_return(now))
        };
        assert_eq!(round(&mut state, true), Some(Duration::ZERO));
        assert_eq!(round(&mut state, true), Some(config.probe_interval));
        assert_eq!(round(&mut state, false), None);
        assert_eq!(round(&mut state, false), None);
        assert_eq!(round(&mut state, true), Some(Duration::ZERO));
        (0..9).for_each(|token| state.sent(token));
        assert!(state.knows(1) && state.knows(8) && !state.knows(0) && !state.knows(9));
    }
}
