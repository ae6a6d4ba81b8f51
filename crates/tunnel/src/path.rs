//! What the peer is, and the longest packet that fits the way to it (RFC 8899, between our own).

use adit_packet::Instant;

use super::TunnelEvent;
use super::peer::Peer;
use super::plain::{CONTROL, first_byte};
use super::shared::Shared;
use adit_engine::Outbox;

/// Control messages: the byte after the first.
///
/// ```text
/// hello   | 3p | 1 | version 1 | flags: 1 = I know you |
/// probe   | 3p | 2 | number 4 | len 2 | zeros up to len |
/// answer  | 3p | 3 | number 4 | len 2 |
/// ```
const HELLO: u8 = 1;
const PROBE: u8 = 2;
const ANSWER: u8 = 3;
const VERSION: u8 = 1;
const KNOWN: u8 = 1;

/// Hellos to a peer that does not answer them: it is not adit.
const HELLOS_MAX: u8 = 3;
/// Probes of one length before it counts as too long (RFC 8899, 5.1.2: `MAX_PROBES`).
const TRIES_MAX: u8 = 3;
/// A length that every path has room for: IPv6's 1280, less 80 of our own headers.
const BASE: u16 = 1200;
/// No path is believed to be narrower: IPv4's 576, less 60 of our own headers.
pub(super) const MTU_MIN: u16 = 516;
/// The search ends when the answer is known this well: padding is up to 16.
const STEP: u16 = 16;

/// The path to one peer.
///
/// The longest length is probed first, for most often it fits. If it does not, one that surely does
/// is found, and the truth lies between the two.
#[derive(Debug)]
pub(super) struct Path {
    mtu: u16,
    ours: bool,
    hellos: u8,
    /// What was found to fit; `None` before anything was.
    low: Option<u16>,
    /// The longest that may fit.
    high: u16,
    /// What is probed while nothing was found to fit.
    first: u16,
    probe: Option<Probe>,
    due: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Probe {
    number: u32,
    len: u16,
    tries: u8,
}

impl Path {
    pub(super) const fn new(mtu: u16) -> Self {
        Self {
            mtu,
            ours: false,
            hellos: 0,
            low: None,
            high: mtu,
            first: mtu,
            probe: None,
            due: None,
        }
    }

    /// The longest packet that fits, as far as is known.
    pub(super) const fn mtu(&self) -> u16 {
        self.mtu
    }

    /// Whether the peer said that it is adit.
    pub(super) const fn is_ours(&self) -> bool {
        self.ours
    }

    pub(super) const fn next_timeout(&self) -> Option<Instant> {
        self.due
    }

    /// The path is another one: what is known of it is forgotten.
    pub(super) fn moved(&mut self, mtu: u16) {
        let (ours, hellos) = (self.ours, self.hellos);
        *self = Self { ours, hellos, ..Self::new(mtu) };
        self.due = ours.then_some(Instant::ZERO);
    }

    /// Searches again from the top at `due`.
    fn restart(&mut self, due: Instant, mtu: u16) {
        (self.low, self.high, self.first, self.probe) = (None, mtu, mtu, None);
        self.due = self.ours.then_some(due);
    }

    /// A probe of `len` came through.
    fn fits(&mut self, len: u16) {
        self.low = Some(self.low.map_or(len, |low| low.max(len)));
        self.probe = None;
    }

    /// No answer to the last of the tries.
    fn fits_not(&mut self, len: u16) {
        self.probe = None;
        self.high = len.saturating_sub(1);
        if self.low.is_none() && len > BASE {
            self.first = if self.mtu < len { self.mtu.max(BASE) } else { BASE };
        } else if self.low.is_none() {
            // Not even the shortest: nobody answers probes there (any more).
            self.ours = false;
            self.low = Some(self.mtu);
        }
    }

    /// The length to be probed next; `None` when the search is over.
    fn next_len(&self) -> Option<u16> {
        match self.low {
            None => Some(self.first),
            Some(low) if self.high.saturating_sub(low) < STEP => None,
            Some(low) => Some(low + (self.high - low).div_ceil(2)),
        }
    }
}

impl Peer {
    /// At the start of a session: tells the peer that we are adit, unless it knows or is not, and goes
    /// on with the search.
    pub(super) fn say_hello(&mut self, shared: &mut Shared, now: Instant, out: &mut Outbox) {
        if self.path.ours {
            self.path.due.get_or_insert(now);
            self.plan(shared);
        }
        if self.config.extensions && !self.path.ours && self.path.hellos < HELLOS_MAX {
            self.path.hellos += 1;
            self.send_control(shared, now, &[HELLO, VERSION, 0], out);
        }
    }

    /// Takes a control message, from its second byte on and without padding.
    pub(super) fn handle_control(
        &mut self,
        shared: &mut Shared,
        now: Instant,
        message: &[u8],
        out: &mut Outbox,
    ) {
        if !self.config.extensions {
            return;
        }
        match *message {
            [HELLO, _, flags, ..] => {
                if !self.path.ours {
                    self.path.ours = true;
                    self.path.due = Some(now);
                }
                if flags & KNOWN == 0 {
                    self.send_control(shared, now, &[HELLO, VERSION, KNOWN], out);
                }
            }
            [PROBE, n0, n1, n2, n3, l0, l1, ..] => {
                self.send_control(shared, now, &[ANSWER, n0, n1, n2, n3, l0, l1], out);
            }
            [ANSWER, n0, n1, n2, n3, ..] => {
                let number = u32::from_be_bytes([n0, n1, n2, n3]);
                if let Some(probe) = self.path.probe
                    && probe.number == number
                {
                    self.path.fits(probe.len);
                    self.set_path_mtu(shared, probe.len);
                    self.path.due = Some(now);
                }
            }
            _ => {}
        }
        self.plan(shared);
    }

    /// The network refused a datagram for being longer than one that holds a packet of `mtu` bytes.
    pub(super) fn lower_path_mtu(&mut self, shared: &mut Shared, now: Instant, mtu: u16) {
        if mtu < self.path.mtu {
            let later = now + shared.config.timing.mtu_probe_interval;
            self.path.restart(later, shared.config.mtu);
            self.set_path_mtu(shared, mtu);
            self.plan(shared);
        }
    }

    /// Probes the path if that is due.
    pub(super) fn probe_path(&mut self, shared: &mut Shared, now: Instant, out: &mut Outbox) {
        if self.path.due.is_none_or(|due| due > now) {
            return;
        }
        let timing = shared.config.timing;
        if !self.can_send(now, shared) {
            // It goes on with the next session: an idle peer is not woken for this.
            self.path.due = None;
            return;
        }
        if let Some(probe) = self.path.probe.filter(|probe| probe.tries >= TRIES_MAX) {
            self.path.fits_not(probe.len);
        }
        let tried = self.path.probe.map(|probe| (probe.len, probe.tries));
        let next = tried.or_else(|| self.path.next_len().map(|len| (len, 0)));
        let Some((len, tries)) = next else {
            // It is found. After a while the path may be another one.
            return self.path.restart(now + timing.mtu_probe_interval, shared.config.mtu);
        };
        let mut number = [0; 4];
        (shared.random)(&mut number);
        let number = u32::from_be_bytes(number);
        self.path.probe = Some(Probe { number, len, tries: tries + 1 });
        self.path.due = Some(now + timing.rekey_timeout / 5);
        let [n0, n1, n2, n3] = number.to_be_bytes();
        let [l0, l1] = len.to_be_bytes();
        let plain = [CONTROL, PROBE, n0, n1, n2, n3, l0, l1];
        self.send_message(shared, now, &plain, usize::from(len), out);
    }

    fn set_path_mtu(&mut self, shared: &mut Shared, mtu: u16) {
        if self.path.mtu != mtu {
            self.path.mtu = mtu;
            self.report_path_mtu(shared);
        }
    }

    fn report_path_mtu(&self, shared: &mut Shared) {
        let peer = self.config.public_key;
        shared.event(TunnelEvent::PathMtu { peer, mtu: self.path.mtu });
    }

    /// Sends a control message, padded to a multiple of 16.
    fn send_control(
        &mut self,
        shared: &mut Shared,
        now: Instant,
        message: &[u8],
        out: &mut Outbox,
    ) {
        let mut plain = [0; 16];
        plain[0] = first_byte(CONTROL, 15_usize.saturating_sub(message.len()));
        plain.iter_mut().skip(1).zip(message).for_each(|(to, from)| *to = *from);
        self.send_message(shared, now, &plain, plain.len(), out);
    }
}
