//! Random configurations of the engines that are built in.

use std::net::SocketAddr;
use std::time::Duration;

use adit_engine::netem::{
    Bitrate, CoDel, Corrupt, Delay, Discipline, FqCoDel, GilbertElliott, Jitter, Loss, Netem,
    NetemConfig, Outage, Profile, Queue, QueueLimit, Rate, Reorder,
};
use adit_engine::switch::{
    GroupId, GuardConfig, IpPrefix, Mirror, MirrorDirection, MirrorFilter, PortConfig, StormConfig,
    StormRate, Switch, SwitchConfig, Trunk, VlanId, VlanMode, VlanSet,
};
use adit_engine::{Endpoint, PortId};
use adit_packet::Instant;
use adit_sim::Random;
use adit_tunnel::{
    KEY_LEN, PeerConfig, PeerMode, PostQuantum, PresharedKey, PrivateKey, SuitePolicy, Tunnel,
    TunnelConfig,
};

fn number(random: &mut Random, limit: usize) -> u32 {
    u32::try_from(random.below(limit)).unwrap()
}

/// Up to `percent` of 100.
fn share(random: &mut Random, percent: usize) -> f64 {
    f64::from(number(random, percent * 100 + 1)) / 10_000.0
}

fn micros(random: &mut Random, limit: usize) -> Duration {
    Duration::from_micros(u64::from(number(random, limit)))
}

/// A link on which anything may happen, but not too slowly.
pub(crate) fn random_profile(random: &mut Random) -> Profile {
    let mut profile = Profile {
        delay: Delay { base: micros(random, 3000), ..Delay::default() },
        ..Profile::default()
    };
    if random.chance(30) {
        profile.delay.jitter = match random.below(3) {
            0 => Jitter::Uniform { width: micros(random, 1000) },
            1 => Jitter::Normal { deviation: micros(random, 1000) },
            _ => Jitter::Pareto { mean: micros(random, 1000), shape: 2.5 },
        };
        profile.delay.correlation = share(random, 90);
        profile.delay.keep_order = random.chance(50);
    }
    if random.chance(30) {
        profile.loss = match random.below(3) {
            0 => Loss::Random { share: share(random, 30) },
            1 => Loss::Bursts { share: share(random, 30), length: 3.0 },
            _ => Loss::GilbertElliott(GilbertElliott {
                to_bad: share(random, 20),
                to_good: 0.3,
                loss_bad: share(random, 100),
                loss_good: 0.0,
            }),
        };
        profile.mark_loss = random.chance(20);
    }
    if random.chance(20) {
        profile.duplicate = share(random, 50);
    }
    if random.chance(20) {
        profile.corrupt = match random.below(2) {
            0 => Corrupt::Packets { share: share(random, 30) },
            _ => Corrupt::Bits { rate: 0.0001 },
        };
    }
    if random.chance(40) {
        let kilobits = random.pick(&[300, 1000, 10_000, 100_000]);
        profile.rate = Rate::Fixed(Bitrate::from_bits_per_second(kilobits * 1000));
        profile.queue = random_queue(random);
    }
    if random.chance(20) {
        let by = 1 + number(random, 5);
        let within = Duration::from_millis(5);
        profile.reorder = Some(Reorder { share: share(random, 30), by, within });
    }
    if random.chance(10) {
        let (at, lasts) = (micros(random, 10_000), micros(random, 5000));
        profile.outages = vec![Outage { at, lasts: lasts + Duration::from_micros(1), every: None }];
    }
    profile
}

fn random_queue(random: &mut Random) -> Queue {
    // A scenario is short: a standing queue shows within a millisecond.
    let codel = CoDel { target: Duration::from_micros(100), interval: Duration::from_micros(1000) };
    let discipline = match random.below(3) {
        0 => Discipline::DropTail,
        1 => Discipline::CoDel(codel),
        _ => Discipline::FqCoDel(FqCoDel { codel, flows: 16, ..FqCoDel::default() }),
    };
    Queue {
        limit: match random.below(3) {
            0 => QueueLimit::Packets(1 + number(random, 20)),
            1 => QueueLimit::Bytes(2000 + u64::from(number(random, 50_000))),
            _ => QueueLimit::Time(Duration::from_millis(1) + micros(random, 20_000)),
        },
        ecn: discipline != Discipline::DropTail && random.chance(30),
        discipline,
    }
}

/// Ports 0 and 1 with a random link each way.
pub(crate) fn random_netem(random: &mut Random) -> Netem {
    let config = NetemConfig {
        a_to_b: random_profile(random),
        b_to_a: random_profile(random),
        seed: random.next(),
        ..NetemConfig::default()
    };
    Netem::new(&config).unwrap()
}

/// Two tunnels that know each other's key and address, for frames at their ports 0.
pub(crate) fn tunnels(random: &mut Random, addresses: [SocketAddr; 2]) -> [Tunnel; 2] {
    let keys = [(); 2].map(|()| {
        let mut key = [0; KEY_LEN];
        random.fill(&mut key);
        PrivateKey::from_bytes(key)
    });
    let publics = [keys[0].public_key(), keys[1].public_key()];
    let psk = random.chance(50);
    let [a, b] = keys;
    [(a, publics[1], addresses[1]), (b, publics[0], addresses[0])].map(|(key, peer, at)| {
        let config = TunnelConfig {
            private_key: Some(key),
            join: random.chance(50),
            aes_is_faster: random.chance(50),
            ..TunnelConfig::default()
        };
        let mut own = Random::new(random.next());
        let mut tunnel = Tunnel::new(config, Box::new(move |bytes| own.fill(bytes)));
        tunnel.set_wall_clock(Instant::ZERO, Duration::from_secs(1_700_000_000));
        let peer = PeerConfig {
            endpoint: Some(Endpoint::Udp(at)),
            mode: PeerMode::Frames(PortId(0)),
            suite: SuitePolicy::ALL[random.below(4)],
            preshared_key: psk.then(|| PresharedKey::from_bytes([7; KEY_LEN])),
            post_quantum: match random.below(3) {
                0 => PostQuantum::Off,
                1 => PostQuantum::Prefer,
                _ => PostQuantum::Require,
            },
            ..PeerConfig::new(peer)
        };
        tunnel.set_peer(Instant::ZERO, peer);
        tunnel
    })
}

/// A switch with ports from 0 on, each with some of what ports can be told; small tables, so that they
/// fill.
pub(crate) fn random_switch(random: &mut Random, ports: u16) -> Switch {
    let mut config = SwitchConfig {
        ageing: Duration::from_secs(1),
        fdb_limit: 4 + random.below(60),
        seed: random.next(),
        ..SwitchConfig::default()
    };
    config.loop_guard.enabled = random.chance(70);
    if random.chance(30) {
        config.mirrors = vec![Mirror {
            to: PortId(u16::try_from(random.below(usize::from(ports) + 2)).unwrap()),
            ports: Vec::new(),
            direction: random.pick(&[
                MirrorDirection::Ingress,
                MirrorDirection::Egress,
                MirrorDirection::Both,
            ]),
            filter: MirrorFilter::All,
            truncate: random.chance(50).then_some(64),
        }];
    }
    let mut switch = Switch::new(config).unwrap();
    for port in 0..ports {
        switch.add_port(PortId(port), random_port(random)).unwrap();
    }
    switch
}

pub(crate) fn random_port(random: &mut Random) -> PortConfig {
    let mut port = PortConfig { fdb_limit: 1 + random.below(20), ..PortConfig::default() };
    if random.chance(30) {
        let [ten, twenty] = [10, 20].map(|number| VlanId::new(number).unwrap());
        let all: VlanSet = [ten, twenty].into_iter().collect();
        port.vlan = match random.below(3) {
            0 => VlanMode::Access(ten),
            1 => VlanMode::Trunk(Trunk::new(all, random.chance(50).then_some(ten))),
            _ => VlanMode::Tunnel(twenty),
        };
    }
    port.isolated = random.chance(25);
    port.sticky = random.chance(10);
    port.group = random.chance(10).then_some(GroupId(1));
    if random.chance(15) {
        port.guard = GuardConfig {
            addresses: vec![IpPrefix::new([192, 0, 2, 0].into(), random.pick(&[24, 31])).unwrap()],
            arp: random.chance(50),
            nd: random.chance(50),
            no_dhcp_server: random.chance(50),
            no_router: random.chance(50),
            ..GuardConfig::default()
        };
    }
    if random.chance(15) {
        let rate = Some(StormRate { frames_per_second: number(random, 100), burst: 5 });
        port.storm = StormConfig { broadcast: rate, multicast: rate, unknown_unicast: rate };
    }
    port
}
