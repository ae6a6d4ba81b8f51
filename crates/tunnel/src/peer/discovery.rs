//! Path MTU discovery between adit peers: when probes are sent, and what follows from their answers.

use adit_engine::Outbox;
use adit_packet::Instant;

use crate::frames::control::Control;
use crate::peer::Peer;
use crate::shared::Shared;
use crate::status::TunnelEvent;

impl Peer {
    /// An answer to a probe arrived.
    pub(crate) fn probe_answered(&mut self, shared: &mut Shared, now: Instant, number: u32) {
        if self.path.answered(now, number) {
            self.report_path_mtu(shared);
        }
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
        let number = u32::from_be_bytes(number);
        let (patience, interval) = (timing.rekey_timeout / 5, timing.mtu_probe_interval);
        let next = self.path.next_probe(now, number, shared.config.mtu, patience, interval);
        let Some(probe) = next else { return };
        let plain = Control::Probe { number: probe.number, len: probe.len }.to_bytes();
        self.send_message(shared, now, &plain, usize::from(probe.len), out);
    }

    fn report_path_mtu(&self, shared: &mut Shared) {
        let peer = self.config.public_key;
        shared.event(TunnelEvent::PathMtu { peer, mtu: self.path.mtu() });
    }
}
