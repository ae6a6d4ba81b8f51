//! What happens to flows, for a log.

use alloc::collections::VecDeque;
use core::net::SocketAddr;

use adit_packet::Instant;

use super::limiter::Limiter;
use super::report::FlowRow;
use adit_engine::flow::Transport;

/// News that wait for their reader: those of one turn of a loop.
const NEWS_MAX: usize = 4096;

/// Denied packets that are news in a second: a program that is denied tries again.
const DENIED_MAX: u32 = 100;

/// What happened to a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FlowChange {
    /// It is in the table: a connect is on its way, or a datagram was sent.
    Opened,
    /// It has left the table.
    Closed,
    /// The policy denied a packet, for which there is no flow.
    Denied,
}

/// Something that happened to a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FlowNews {
    /// What happened.
    pub change: FlowChange,
    /// Its transport.
    pub transport: Transport,
    /// The inside address and port; of an echo, its identifier.
    pub inside: SocketAddr,
    /// The remote one as the inside knows it; of a UDP mapping, the latest.
    pub remote: Option<SocketAddr>,
    /// Bytes from the inside.
    pub sent_bytes: u64,
    /// Bytes to the inside.
    pub received_bytes: u64,
}

impl FlowNews {
    /// News of a flow.
    #[must_use]
    pub const fn of(change: FlowChange, row: &FlowRow) -> Self {
        let &FlowRow { transport, inside, remote, sent_bytes, received_bytes, .. } = row;
        Self { change, transport, inside, remote, sent_bytes, received_bytes }
    }

    pub(super) const fn denied(transport: Transport, inside: SocketAddr, to: SocketAddr) -> Self {
        let change = FlowChange::Denied;
        Self { change, transport, inside, remote: Some(to), sent_bytes: 0, received_bytes: 0 }
    }
}

/// News in order, as many as a reader can be late.
#[derive(Debug)]
pub(super) struct News {
    queue: VecDeque<FlowNews>,
    denied: Limiter,
    lost: u64,
}

impl News {
    pub(super) const fn new() -> Self {
        Self { queue: VecDeque::new(), denied: Limiter::new(DENIED_MAX), lost: 0 }
    }

    pub(super) fn add(&mut self, news: FlowNews) {
        if self.queue.len() < NEWS_MAX {
            self.queue.push_back(news);
        } else {
            self.lost += 1;
        }
    }

    pub(super) fn deny(&mut self, now: Instant, news: FlowNews) {
        if self.denied.pass(now) {
            self.add(news);
        } else {
            self.lost += 1;
        }
    }

    pub(super) fn poll(&mut self) -> Option<FlowNews> {
        self.queue.pop_front()
    }

    pub(super) const fn lost(&self) -> u64 {
        self.lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::time::Duration;

    #[test]
    fn news_are_bounded_and_their_losses_counted() {
        let mut news = News::new();
        let at = SocketAddr::from(([192, 0, 2, 1], 80));
        let one = FlowNews::denied(Transport::Tcp, at, at);
        let now = Instant::ZERO + Duration::from_secs(5);
        (0..1000).for_each(|_| news.deny(now, one));
        assert_eq!(news.lost(), 900);
        (0..4000).for_each(|_| news.add(one));
        assert_eq!(news.lost(), 904);
        assert_eq!(core::iter::from_fn(|| news.poll()).count(), NEWS_MAX);
    }
}
