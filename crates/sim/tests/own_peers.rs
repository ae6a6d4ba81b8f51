//! Two of adit agree on a suite over a network that loses, delays and doubles messages, and when one of them restarts
//! at any step: packets cross again within 5 s, and both use the suite.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::SocketAddr;
use std::time::Duration;

use adit_engine::{Endpoint, Engine, Outbox, PortId};
use adit_packet::{Batch, Instant, Pool, PoolConfig};
use adit_sim::for_each_seed;
use adit_tunnel::{PeerConfig, PrivateKey, Suite, SuitePolicy, Tunnel, TunnelConfig};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

const DEVICE: PortId = PortId(0);
/// Seeds by default; `ADIT_SEEDS` sets another number.
const SEEDS: u64 = 500;
/// Messages from the first initiation to the last one about the suite, and a few packets.
const STEPS: u64 = 24;
/// An initiation is repeated after 5 s and up to 1/3 s of jitter (NDSS 2017, 6.1); then the answer travels.
const PATIENCE: Duration = Duration::from_millis(5_500);

fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

fn at(side: usize) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, u8::try_from(side).expect("0 or 1")], 51_820))
}

fn key(side: usize) -> PrivateKey {
    PrivateKey::from_bytes([u8::try_from(side + 1).expect("1 or 2"); 32])
}

/// What goes wrong, once; `step` counts messages.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Loss {
        step: u64,
    },
    Restart {
        side: usize,
        step: u64,
    },
    /// Messages take up to 300 ms, and some arrive twice, up to this step.
    Disorder {
        step: u64,
    },
}

struct Side {
    tunnel: Tunnel,
    out: Outbox,
    arrived: usize,
}

/// By arrival and number: the side that it is for, and its bytes.
type Message = (Instant, u64, usize, Vec<u8>);

struct World {
    now: Instant,
    rng: ChaCha20Rng,
    sides: [Side; 2],
    policies: [SuitePolicy; 2],
    wire: BinaryHeap<Reverse<Message>>,
    steps: u64,
    fault: Fault,
    /// When the fault was over.
    healed: Option<Instant>,
}

fn start(us: usize, now: Instant, seed: u64, policies: [SuitePolicy; 2]) -> Side {
    let config = TunnelConfig {
        private_key: Some(key(us)),
        device: Some(DEVICE),
        aes_is_faster: true,
        ..TunnelConfig::default()
    };
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    let mut tunnel = Tunnel::new(config, Box::new(move |bytes| rng.fill_bytes(bytes)));
    tunnel.set_wall_clock(now, Duration::from_secs(1_700_000_000) + now.since(Instant::ZERO));
    let mut peer = PeerConfig::new(key(1 - us).public_key());
    peer.endpoint = Some(Endpoint::Udp(at(1 - us)));
    peer.suite = policies[us];
    peer.allowed_ips = vec!["10.0.0.0/8".parse().expect("a prefix")];
    tunnel.set_peer(now, peer);
    Side { tunnel, out: Outbox::new(Pool::new(PoolConfig::default())), arrived: 0 }
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let policies = [(); 2].map(|()| match rng.next_u32() % 4 {
            0 => SuitePolicy::Aes256Gcm,
            _ => SuitePolicy::Auto,
        });
        let step = rng.next_u64() % STEPS;
        let fault = match seed % 3 {
            0 => Fault::Loss { step },
            1 => Fault::Restart { side: usize::from(rng.next_u32().is_multiple_of(2)), step },
            _ => Fault::Disorder { step },
        };
        let now = Instant::ZERO + Duration::from_secs(100);
        let sides = [0, 1].map(|us| start(us, now, rng.next_u64(), policies));
        let wire = BinaryHeap::new();
        Self { now, rng, sides, policies, wire, steps: 0, fault, healed: None }
    }

    /// Puts what a side sent on the wire, unless the fault is in the way.
    fn collect(&mut self, us: usize) {
        let (mut batch, mut sent) = (Batch::new(), Vec::new());
        let side = &mut self.sides[us];
        while let Some(to) = side.out.next_group(&mut batch) {
            for packet in batch.drain(..) {
                match to {
                    Endpoint::Udp(_) => sent.push(packet.bytes().to_vec()),
                    _ => side.arrived += 1,
                }
                side.out.pool().give(packet);
            }
        }
        for bytes in sent {
            let step = self.steps;
            self.steps += 1;
            let mut copies = 1;
            let mut delay = millis(5);
            match self.fault {
                Fault::Loss { step: lost } if lost == step => {
                    (copies, self.healed) = (0, Some(self.now));
                }
                Fault::Restart { side: again, step: last } if last == step => {
                    self.sides[again] = start(again, self.now, self.rng.next_u64(), self.policies);
                    self.healed = Some(self.now);
                }
                Fault::Disorder { step: last } if step <= last => {
                    delay = millis(self.rng.next_u64() % 300);
                    copies = 1 + u64::from(self.rng.next_u32().is_multiple_of(4));
                    self.healed = Some(self.now + millis(300));
                }
                _ => {}
            }
            for copy in 0..copies {
                let due = self.now + delay + millis(copy * (self.rng.next_u64() % 50));
                self.wire.push(Reverse((due, self.steps, 1 - us, bytes.clone())));
            }
        }
    }

    /// A packet comes from the device of a side.
    fn send(&mut self, us: usize) {
        let Side { tunnel, out, .. } = &mut self.sides[us];
        let mut packet = out.pool().take(60).expect("buffers are given back");
        let head = [0x45, 0, 0, 60, 0, 1, 0x40, 0, 64, 253, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
        packet.extend(&head).expect("room");
        packet.set_len(60).expect("room");
        tunnel.handle(self.now, Endpoint::Port(DEVICE), packet, out);
        self.collect(us);
    }

    fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        loop {
            let timers = self.sides.iter().filter_map(|side| side.tunnel.next_timeout());
            let wire = self.wire.peek().map(|Reverse((due, ..))| *due);
            let Some(next) = timers.chain(wire).min().filter(|next| *next <= end) else { break };
            self.now = self.now.max(next);
            if wire.is_some_and(|due| due <= self.now)
                && let Some(Reverse((_, _, us, bytes))) = self.wire.pop()
            {
                let Side { tunnel, out, .. } = &mut self.sides[us];
                let mut packet = out.pool().take(bytes.len()).expect("buffers are given back");
                packet.extend(&bytes).expect("room");
                tunnel.handle(self.now, Endpoint::Udp(at(1 - us)), packet, out);
                self.collect(us);
                continue;
            }
            for us in [0, 1] {
                let Side { tunnel, out, .. } = &mut self.sides[us];
                tunnel.handle_timeout(self.now, out);
                self.collect(us);
            }
        }
        self.now = end;
    }

    fn suites(&self) -> [Option<Suite>; 2] {
        [0, 1].map(|us| {
            let status = self.sides[us].tunnel.status(self.now, &key(1 - us).public_key());
            status.expect("the peer is there").suite
        })
    }
}

#[test]
fn no_fault_keeps_two_apart_or_at_the_first_suite() {
    for_each_seed(SEEDS, |seed| {
        let mut world = World::new(seed);
        // A packet each way every 100 ms, until the fault has happened.
        let first = usize::from(seed % 2 == 1);
        while world.healed.is_none_or(|healed| healed > world.now) {
            world.send(first);
            world.run(millis(50));
            world.send(1 - first);
            world.run(millis(50));
            assert!(world.steps < 1000, "{:?} does not happen", world.fault);
        }
        let end = world.healed.expect("it has happened") + PATIENCE;
        while world.now < end {
            world.send(0);
            world.send(1);
            world.run(millis(100));
        }
        let before = [0, 1].map(|us| world.sides[us].arrived);
        for _ in 0..10 {
            world.send(0);
            world.send(1);
            world.run(millis(20));
        }
        let arrived = [0, 1].map(|us| world.sides[us].arrived - before[us]);
        assert_eq!(arrived, [10; 2], "{:?}: every packet crosses", world.fault);
        assert_eq!(world.suites(), [Some(Suite::Aes256Gcm); 2], "{:?}", world.fault);
    });
}
