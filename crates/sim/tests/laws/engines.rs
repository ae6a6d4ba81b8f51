//! Engines that do all that the contract allows.

use std::collections::VecDeque;
use std::time::Duration;

use adit_engine::{DropReason, Endpoint, Engine, Handled, Hub, Outbox, PortId};
use adit_packet::{Instant, PacketBuf};

/// A hub that holds packets for a while, discards some, answers some with packets of its own and sends
/// some where there is nobody.
pub(crate) struct Moody {
    hub: Hub,
    held: VecDeque<(Instant, Endpoint, PacketBuf)>,
    count: usize,
}

impl Moody {
    const HELD_MAX: usize = 16;
    const DELAY: Duration = Duration::from_micros(300);

    pub(crate) fn new(ports: u16) -> Self {
        Self { hub: Hub::new(ports), held: VecDeque::new(), count: 0 }
    }
}

impl Engine for Moody {
    fn handle(
        &mut self,
        now: Instant,
        from: Endpoint,
        packet: PacketBuf,
        out: &mut Outbox,
    ) -> Handled {
        self.count += 1;
        match self.count % 16 {
            3 => out.discard(packet, DropReason::FILTERED),
            5 => out.send(Endpoint::Port(PortId(u16::MAX)), packet),
            7 => {
                if let Some(mut answer) = out.make(60) {
                    let _ = answer.extend(&[0xff; 60]);
                    out.send(from, answer);
                }
                return self.hub.handle(now, from, packet, out);
            }
            9 => out.send(Endpoint::Udp(([192, 0, 2, 1], 1).into()), packet),
            odd if odd % 2 == 1 && self.held.len() < Self::HELD_MAX => {
                self.held.push_back((now + Self::DELAY, from, packet));
            }
            _ => return self.hub.handle(now, from, packet, out),
        }
        Handled::NOTHING
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.held.front().map(|&(due, ..)| due)
    }

    fn handle_timeout(&mut self, now: Instant, out: &mut Outbox) {
        while self.next_timeout().is_some_and(|due| due <= now) {
            if let Some((_, from, packet)) = self.held.pop_front() {
                self.hub.handle(now, from, packet, out);
            }
        }
    }

    fn held(&self) -> usize {
        self.held.len()
    }
}
