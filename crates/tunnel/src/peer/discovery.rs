//! Control messages between adit peers: hello, and path MTU discovery.

use adit_engine::Outbox;
use adit_packet::Instant;

use crate::frames::plain::{CONTROL, first_byte};
use crate::peer::Peer;
use crate::shared::Shared;
use crate::status::TunnelEvent;

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

impl Peer {
    /// At the start of a session: sends a hello to a peer that may be adit, and continues the path MTU search.
    pub(crate) fn say_hello(&mut self, shared: &mut Shared, now: Instant, out: &mut Outbox) {
        let says_hello = self.path.begin_session(now, self.config.extensions);
        self.schedule(shared);
        if says_hello {
            self.send_control(shared, now, &[HELLO, VERSION, 0], out);
        }
    }

    /// Handles a control message (without its first byte and padding).
    pub(crate) fn handle_control(
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
                self.path.found_ours(now);
                if flags & KNOWN == 0 {
                    self.send_control(shared, now, &[HELLO, VERSION, KNOWN], out);
                }
            }
            [PROBE, n0, n1, n2, n3, l0, l1, ..] => {
                self.send_control(shared, now, &[ANSWER, n0, n1, n2, n3, l0, l1], out);
            }
            [ANSWER, n0, n1, n2, n3, ..]
                if self.path.answered(now, u32::from_be_bytes([n0, n1, n2, n3])) =>
            {
                self.report_path_mtu(shared);
            }
            _ => {}
        }
        self.schedule(shared);
    }

    /// The kernel refused a datagram; it says that one with a packet of `mtu` bytes fits.
    pub(crate) fn lower_path_mtu(&mut self, shared: &mut Shared, now: Instant, mtu: u16) {
        let later = now + shared.config.timing.mtu_probe_interval;
        if self.path.lower(now, mtu, shared.config.mtu, later) {
            self.report_path_mtu(shared);
        }
        self.schedule(shared);
    }

    /// Sends a path MTU probe if one is due.
    pub(crate) fn probe_path(&mut self, shared: &mut Shared, now: Instant, out: &mut Outbox) {
        if !self.path.is_due(now) {
            return;
        }
        if !self.path.is_ours() {
            if self.path.expire(shared.config.mtu) {
                self.report_path_mtu(shared);
            }
            return;
        }
        if self.path.is_idle() || !self.can_send(now, shared) {
            return self.path.pause();
        }
        let timing = shared.config.timing;
        let mut number = [0; 4];
        (shared.random)(&mut number);
        let [n0, n1, n2, n3] = number;
        let number = u32::from_be_bytes(number);
        let (patience, interval) = (timing.rekey_timeout / 5, timing.mtu_probe_interval);
        let next = self.path.next_probe(now, number, shared.config.mtu, patience, interval);
        let Some(probe) = next else { return };
        let [l0, l1] = probe.len.to_be_bytes();
        let plain = [CONTROL, PROBE, n0, n1, n2, n3, l0, l1];
        self.send_message(shared, now, &plain, usize::from(probe.len), out);
    }

    fn report_path_mtu(&self, shared: &mut Shared) {
        let peer = self.config.public_key;
        shared.event(TunnelEvent::PathMtu { peer, mtu: self.path.mtu() });
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
