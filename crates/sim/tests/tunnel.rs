//! Hosts on both sides of a tunnel in a simulated network: TCP over loss, new sessions, layer 2.

use adit_engine::netem::{Delay, Loss, Profile};
use adit_engine::{Endpoint, PortId};
use adit_packet::Instant;
use adit_sim::{End, EngineId, HostConfig, HostId, Sim};
use adit_tunnel::{PeerConfig, PeerMode, PrivateKey, Random, Timing, Tunnel, TunnelConfig, Vxlan};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use std::net::SocketAddr;
use std::time::Duration;

const DEVICE: PortId = PortId(0);

fn random(seed: u64) -> Random {
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    Box::new(move |bytes| rng.fill_bytes(bytes))
}

fn outside(side: u8) -> SocketAddr {
    SocketAddr::from(([198, 51, 100, side], 51_820))
}

/// Two hosts, each behind a tunnel of its own.
struct World {
    sim: Sim,
    hosts: [HostId; 2],
    tunnels: [EngineId<Tunnel>; 2],
}

impl World {
    fn new(seed: u64, mode: impl Fn(u8) -> PeerMode, profile: &Profile) -> Self {
        let mut sim = Sim::new(seed);
        let frames = mode(1) != PeerMode::Packets;
        let [a, b] = [1_u8, 2].map(|side| {
            let config = HostConfig::new(&format!("10.0.0.{side}/24")).with_super_packets();
            let config = HostConfig { mtu: if frames { 1500 } else { 1420 }, ..config };
            let config = if frames { config } else { config.without_ethernet() };
            let host = sim.host(&format!("host{side}"), config);
            let key = |side: u8| PrivateKey::from_bytes([side; 32]);
            let timing = Timing::STANDARD.faster(20);
            let device = (!frames).then_some(DEVICE);
            let config = TunnelConfig {
                private_key: Some(key(side)),
                device,
                timing,
                ..TunnelConfig::default()
            };
            let mut tunnel = Tunnel::new(config, random(seed ^ u64::from(side)));
            let mut peer = PeerConfig::new(key(3 - side).public_key());
            peer.endpoint = Some(Endpoint::Udp(outside(3 - side)));
            peer.mode = mode(side);
            peer.allowed_ips = vec!["10.0.0.0/8".parse().expect("a prefix")];
            tunnel.set_peer(Instant::ZERO, peer);
            let engine = sim.engine(&format!("tunnel{side}"), tunnel);
            sim.wire(host, engine.port(0));
            (host, engine)
        });
        let ends: [End; 2] = [a.1.peer(outside(2)), b.1.peer(outside(1))];
        sim.wire_through(ends[0], ends[1], [profile, profile]);
        Self { sim, hosts: [a.0, b.0], tunnels: [a.1, b.1] }
    }

    /// A file goes from one host to the other; every byte must arrive.
    fn transfer(&mut self, len: usize) {
        let bytes: Vec<u8> = (0..len).map(|at| (at % 251).to_le_bytes()[0]).collect();
        let server = self.sim.tcp_listen(self.hosts[1], 80);
        let to = SocketAddr::from(([10, 0, 0, 2], 80));
        let client = self.sim.tcp_connect(self.hosts[0], to);
        self.sim.tcp_send(client, &bytes);
        self.sim.tcp_close(client);
        let end = self.sim.now() + Duration::from_secs(600);
        let done = self.sim.run_until(end, |sim| sim.tcp_is_finished(server));
        assert!(done, "the transfer did not end");
        assert!(self.sim.tcp_received(server) == bytes, "every byte as it was sent");
    }

    fn bytes_sent(&self) -> u64 {
        let (tunnel, now) = (self.sim.get(self.tunnels[0]), self.sim.now());
        let peer = tunnel.peers().next().expect("it has one");
        tunnel.status(now, &peer).expect("it is there").bytes_sent
    }
}

fn lossy() -> Profile {
    Profile {
        delay: Delay { base: Duration::from_millis(5), ..Delay::default() },
        loss: Loss::Random { share: 0.01 },
        ..Profile::default()
    }
}

#[test]
fn a_file_crosses_at_layer_three() {
    let mut world = World::new(1, |_| PeerMode::Packets, &Profile::default());
    world.transfer(3_000_000);
    assert!(world.bytes_sent() < 3_300_000, "little is added");
}

#[test]
fn a_file_crosses_over_loss_and_many_sessions() {
    for seed in 0..4 {
        let mut world = World::new(seed, |_| PeerMode::Packets, &lossy());
        // Sessions last 6 s here.
        for _ in 0..4 {
            world.transfer(1_000_000);
            world.sim.run_for(Duration::from_secs(7));
        }
    }
}

#[test]
fn a_file_crosses_at_layer_two() {
    let mut world = World::new(3, |_| PeerMode::Frames(DEVICE), &lossy());
    world.transfer(1_000_000);
}

#[test]
fn a_file_crosses_in_vxlan() {
    let mode = |side: u8| {
        PeerMode::Vxlan(Vxlan {
            port: DEVICE,
            vni: 7,
            local: [10, 9, 9, side].into(),
            remote: [10, 9, 9, 3 - side].into(),
            udp_port: Vxlan::UDP_PORT,
        })
    };
    let mut world = World::new(3, mode, &lossy());
    world.transfer(1_000_000);
}
