//! A tunnel whose receiver is slower than its sender: the queue before it is managed by time.

use adit_engine::{CoDel, DropReason, Endpoint, Engine, Handled, Outbox, PortId, Sojourn};
use adit_packet::{Instant, PacketBuf};
use adit_sim::{EngineId, HostConfig, HostId, Sim};
use adit_tunnel::{PeerConfig, PrivateKey, Random, Tunnel, TunnelConfig};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

/// As the sockets of the runtime have it.
const LAW: CoDel = CoDel { target: Duration::from_millis(2), interval: Duration::from_millis(20) };
/// Bytes a second that the receiver decrypts.
const SPEED: u64 = 6_000_000;
/// When the queue is expected to be short: slow start is over.
const SETTLED: Duration = Duration::from_millis(500);

/// A tunnel on a thread that is not fast enough for what its socket receives.
struct Slow {
    tunnel: Tunnel,
    queue: VecDeque<(Instant, Endpoint, PacketBuf)>,
    free_at: Instant,
    sojourn: Sojourn,
    law: Option<CoDel>,
    /// How long packets waited once the queue was expected to be short.
    waits: Vec<Duration>,
}

impl Slow {
    fn work(&mut self, now: Instant, out: &mut Outbox) {
        while self.free_at <= now
            && let Some((came, from, mut packet)) = self.queue.pop_front()
        {
            let waited = now.since(came);
            if let Some(law) = self.law {
                packet.meta.congested = self.sojourn.must_drop(now, waited, law);
            }
            if now > Instant::ZERO + SETTLED {
                self.waits.push(waited);
            }
            let len = u64::try_from(packet.len()).expect("a length");
            self.free_at = now + Duration::from_nanos(len * 1_000_000_000 / SPEED);
            self.tunnel.handle(now, from, packet, out);
        }
        if self.queue.is_empty() {
            self.sojourn.rest();
        }
    }
}

impl Engine for Slow {
    fn handle(
        &mut self,
        now: Instant,
        from: Endpoint,
        packet: PacketBuf,
        out: &mut Outbox,
    ) -> Handled {
        if !matches!(from, Endpoint::Udp(_)) {
            return self.tunnel.handle(now, from, packet, out);
        }
        self.queue.push_back((now, from, packet));
        self.work(now, out);
        Handled::NOTHING
    }

    fn next_timeout(&self) -> Option<Instant> {
        let work = (!self.queue.is_empty()).then_some(self.free_at);
        self.tunnel.next_timeout().into_iter().chain(work).min()
    }

    fn handle_timeout(&mut self, now: Instant, out: &mut Outbox) {
        if self.tunnel.next_timeout().is_some_and(|at| at <= now) {
            self.tunnel.handle_timeout(now, out);
        }
        self.work(now, out);
    }

    fn held(&self) -> usize {
        self.queue.len() + self.tunnel.held()
    }
}

struct World {
    sim: Sim,
    hosts: [HostId; 2],
    receiver: EngineId<Slow>,
}

fn random(seed: u64) -> Random {
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    Box::new(move |bytes| rng.fill_bytes(bytes))
}

impl World {
    fn new(law: Option<CoDel>) -> Self {
        let mut sim = Sim::new(7);
        let outside = |side: u8| SocketAddr::from(([198, 51, 100, side], 51_820));
        let host = |sim: &mut Sim, side: u8| {
            let config = HostConfig::new(&format!("10.0.0.{side}/24")).without_ethernet();
            sim.host(
                &format!("host{side}"),
                HostConfig { mtu: 1420, tcp_buffer: 512 << 10, ..config },
            )
        };
        let tunnel = |side: u8| {
            let key = |side: u8| PrivateKey::from_bytes([side; 32]);
            let config = TunnelConfig {
                private_key: Some(key(side)),
                device: Some(PortId(0)),
                ..TunnelConfig::default()
            };
            let mut tunnel = Tunnel::new(config, random(side.into()));
            let mut peer = PeerConfig::new(key(3 - side).public_key());
            peer.endpoint = Some(Endpoint::Udp(outside(3 - side)));
            peer.allowed_ips = vec!["10.0.0.0/8".parse().expect("a prefix")];
            tunnel.set_peer(Instant::ZERO, peer);
            tunnel
        };
        let hosts = [1, 2].map(|side| host(&mut sim, side));
        let sender = sim.engine("sender", tunnel(1));
        let receiver = Slow {
            tunnel: tunnel(2),
            queue: VecDeque::new(),
            free_at: Instant::ZERO,
            sojourn: Sojourn::default(),
            law,
            waits: Vec::new(),
        };
        let receiver = sim.engine("receiver", receiver);
        sim.wire(hosts[0], sender.port(0));
        sim.wire(hosts[1], receiver.port(0));
        sim.wire(sender.peer(outside(2)), receiver.peer(outside(1)));
        Self { sim, hosts, receiver }
    }

    /// Two streams that do not end, for a second; returns the bytes of each that arrived.
    fn two_streams(&mut self) -> [usize; 2] {
        let bytes = vec![5; 8_000_000];
        let servers = [80, 81].map(|port| {
            let server = self.sim.tcp_listen(self.hosts[1], port);
            let client =
                self.sim.tcp_connect(self.hosts[0], SocketAddr::from(([10, 0, 0, 2], port)));
            self.sim.tcp_send(client, &bytes);
            server
        });
        self.sim.run_for(Duration::from_secs(1));
        servers.map(|server| self.sim.tcp_received(server).len())
    }

    fn receiver(&self) -> &Slow {
        self.sim.get(self.receiver)
    }

    /// The wait that 99 of 100 packets do not exceed.
    fn p99(&self) -> Duration {
        let mut waits = self.receiver().waits.clone();
        waits.sort();
        waits[waits.len() * 99 / 100]
    }

    fn dropped(&self) -> u64 {
        let (tunnel, now) = (&self.receiver().tunnel, self.sim.now());
        let peer = tunnel.peers().next().expect("it has one");
        tunnel.status(now, &peer).expect("it is a peer").drops.count(DropReason::QUEUE_MANAGED)
    }
}

/// A queue that stands loses few packets and stays short; the receiver stays busy, and flows have equal shares.
#[test]
fn a_queue_that_stands_is_short_and_fair() {
    let mut unmanaged = World::new(None);
    let all: usize = unmanaged.two_streams().iter().sum();
    assert_eq!(unmanaged.dropped(), 0);
    assert!(unmanaged.p99() > Duration::from_millis(100), "{:?}", unmanaged.p99());

    let mut managed = World::new(Some(LAW));
    let shares = managed.two_streams();
    let [first, second] = shares;
    let sent = managed.receiver().waits.len();
    assert!(managed.p99() < Duration::from_millis(12), "{:?}", managed.p99());
    // The window of a flow is ten packets here.
    let dropped = usize::try_from(managed.dropped()).expect("a count");
    assert!((1..sent / 20).contains(&dropped), "{dropped} of {sent}");
    assert!((first + second) * 10 > all * 8, "{shares:?} of {all}");
    assert!(first.max(second) < first.min(second) * 2, "{shares:?}");
}
