//! Traffic between two simulated hosts.

use adit_packet::Instant;
use adit_sim::{HostId, Sim, TcpId, UdpId};
use adit_topology::scenario::world::Moved;
use adit_topology::scenario::{Amount, Protocol, Traffic};
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::time::Duration;

/// How often bytes are added to a TCP connection with a rate.
const TICK: Duration = Duration::from_millis(10);
/// How long UDP's last datagrams may take.
const LAST_DATAGRAMS: Duration = Duration::from_secs(1);

/// Traffic that has started.
#[derive(Debug)]
pub(super) struct Running {
    start: Instant,
    flows: Flows,
    /// When it stops to send; `None`: when all bytes are sent.
    stop: Option<Instant>,
    /// When it sends again, of traffic with a rate.
    next: Option<Instant>,
    /// The time between, and the bytes of each flow then.
    pace: (Duration, u64),
    /// Bytes that a flow has still to send; of the first flow, which has the remainder.
    left: u64,
    /// When it stopped to send.
    closed: Option<Instant>,
    result: Option<Moved>,
}

#[derive(Debug)]
enum Flows {
    /// Senders and receivers.
    Tcp(Vec<(TcpId, TcpId)>),
    Udp(Vec<(UdpId, UdpId)>, SocketAddr),
}

impl Running {
    pub(super) fn start(
        sim: &mut Sim,
        traffic: &Traffic,
        (from, to): (HostId, HostId),
        address: IpAddr,
        ports: Range<u16>,
    ) -> Self {
        let start = sim.now();
        let streams = u64::from(traffic.streams.max(1));
        let (left, stop) = match traffic.amount {
            Amount::Bytes(bytes) => (bytes.div_ceil(streams), None),
            Amount::For(time) => (u64::MAX, Some(start + time)),
        };
        let rate = traffic.rate.map(|rate| (rate.bits_per_second() / streams).max(8));
        let first = ports.start;
        let flows = match traffic.protocol {
            Protocol::Tcp => Flows::Tcp(
                ports
                    .map(|port| {
                        let receiver = sim.tcp_listen(to, port);
                        sim.tcp_discard(receiver);
                        let sender = sim.tcp_connect(from, SocketAddr::new(address, port));
                        if rate.is_none() {
                            sim.tcp_fill(sender, stop.is_none().then_some(left));
                            if stop.is_none() {
                                sim.tcp_close(sender);
                            }
                        }
                        (sender, receiver)
                    })
                    .collect(),
            ),
            Protocol::Udp => {
                let one = |port: u16| {
                    let receiver = sim.udp_bind(to, port);
                    sim.udp_discard(receiver);
                    (sim.udp_bind(from, port), receiver)
                };
                Flows::Udp(ports.map(one).collect(), SocketAddr::new(address, first))
            }
        };
        let pace = match (&flows, rate) {
            (_, None) => (TICK, 0),
            (Flows::Tcp(_), Some(rate)) => (TICK, (rate / 8 / 100).max(1)),
            (Flows::Udp(..), Some(rate)) => {
                let bytes = u64::try_from(Traffic::DATAGRAM).unwrap_or(u64::MAX);
                (Duration::from_nanos(bytes * 8 * 1_000_000_000 / rate), bytes)
            }
        };
        Self {
            start,
            flows,
            stop,
            next: rate.map(|_| start),
            pace,
            left,
            closed: None,
            result: None,
        }
    }

    /// When [`Self::act`] has something to do.
    pub(super) fn due(&self) -> Option<Instant> {
        [self.stop, self.next].into_iter().flatten().min()
    }

    /// Does what is due.
    pub(super) fn act(&mut self, sim: &mut Sim) {
        let now = sim.now();
        if self.stop.is_some_and(|stop| stop <= now) {
            self.close(sim);
        } else if let Some(next) = self.next.filter(|next| *next <= now) {
            let bytes = self.pace.1.min(self.left);
            match &self.flows {
                Flows::Tcp(flows) => {
                    flows.iter().for_each(|&(sender, _)| sim.tcp_fill(sender, Some(bytes)));
                }
                Flows::Udp(flows, to) => {
                    const ZEROS: [u8; Traffic::DATAGRAM] = [0; Traffic::DATAGRAM];
                    let len = usize::try_from(bytes).unwrap_or(usize::MAX).min(ZEROS.len());
                    for (port, &(sender, _)) in (to.port()..).zip(flows) {
                        // A socket without room loses it, as the kernel's does.
                        sim.udp_send(sender, SocketAddr::new(to.ip(), port), &ZEROS[..len]);
                    }
                }
            }
            if self.stop.is_none() {
                self.left -= bytes;
            }
            self.next = Some(next + self.pace.0);
            if self.left == 0 {
                self.close(sim);
            }
        }
    }

    fn close(&mut self, sim: &mut Sim) {
        (self.stop, self.next) = (None, None);
        self.closed = Some(sim.now());
        if let Flows::Tcp(flows) = &self.flows {
            flows.iter().for_each(|&(sender, _)| sim.tcp_close(sender));
        }
    }

    /// Whether all was received. UDP has no end: it is awaited for some time.
    pub(super) fn done(&self) -> impl FnMut(&Sim) -> bool + use<> {
        let is_over = self.result.is_some();
        let receivers: Vec<TcpId> = match &self.flows {
            Flows::Tcp(flows) => flows.iter().map(|&(_, receiver)| receiver).collect(),
            Flows::Udp(..) => Vec::new(),
        };
        move |sim| {
            is_over
                || (!receivers.is_empty()
                    && receivers.iter().all(|&receiver| sim.tcp_is_finished(receiver)))
        }
    }

    /// When UDP's datagrams have arrived if they arrive at all; `None` for TCP.
    pub(super) fn last_datagrams(&self) -> Option<Instant> {
        let Flows::Udp(..) = self.flows else { return None };
        let (count, bytes) = (self.left.div_ceil(self.pace.1.max(1)), self.pace.0);
        let sent = match (self.stop.or(self.closed), self.next) {
            (Some(stop), _) => stop,
            (None, Some(next)) => next + bytes * u32::try_from(count).unwrap_or(u32::MAX),
            (None, None) => self.start,
        };
        Some(sent + LAST_DATAGRAMS)
    }

    /// Stops it, and returns what arrived.
    pub(super) fn end(&mut self, sim: &mut Sim) -> Moved {
        if let Some(result) = self.result {
            return result;
        }
        let has_sent = self.stop.is_none() && self.next.is_none();
        let (is_complete, read): (bool, Vec<(u64, Instant)>) = match &self.flows {
            Flows::Tcp(flows) => {
                let is_complete = flows.iter().all(|&(_, receiver)| sim.tcp_is_finished(receiver));
                if !is_complete {
                    flows.iter().for_each(|&(sender, _)| sim.tcp_abort(sender));
                }
                (is_complete, flows.iter().map(|&(_, receiver)| sim.tcp_read(receiver)).collect())
            }
            Flows::Udp(flows, _) => {
                (has_sent, flows.iter().map(|&(_, receiver)| sim.udp_read(receiver)).collect())
            }
        };
        (self.stop, self.next) = (None, None);
        let last = read.iter().map(|&(_, at)| at).max().unwrap_or(self.start);
        let end = if is_complete { last } else { sim.now() };
        let moved = Moved {
            bytes: read.iter().map(|&(bytes, _)| bytes).sum(),
            time: end.max(self.start).since(self.start),
            is_complete,
        };
        self.result = Some(moved);
        moved
    }
}
