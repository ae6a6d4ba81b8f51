//! Random inside networks, servers, faults and packets: no byte is lost or invented, nothing is left.

use super::{SECOND, World, bytes};
use adit_engine::netem::{Corrupt, Delay, Jitter, Loss, Profile};
use adit_engine::{FlowError, Transport};
use adit_packet::Meta;
use adit_sim::{Fault, ProbeId, Server, TcpId, for_each_seed};
use std::net::SocketAddr;
use std::time::Duration;

/// A connection, what it sends, and where.
struct Use {
    stream: TcpId,
    sent: usize,
    to: SocketAddr,
}

fn below(world: &mut World, limit: u64) -> u64 {
    let limit = usize::try_from(limit).expect("small");
    u64::try_from(world.sim.random().below(limit)).expect("small")
}

/// A link inside: fast and clean, or slow, lossy, reordering and corrupting.
fn profile(seed: u64) -> Profile {
    let milliseconds = [0, 1, 20][usize::try_from(seed % 3).expect("small")];
    let share = [0.0, 0.0, 0.02, 0.1][usize::try_from(seed % 4).expect("small")];
    Profile {
        delay: Delay {
            jitter: Jitter::Normal { deviation: Duration::from_millis(milliseconds / 4) },
            keep_order: seed.is_multiple_of(2),
            ..Delay::constant(Duration::from_millis(milliseconds))
        },
        loss: Loss::Random { share },
        corrupt: Corrupt::Packets { share: share / 10.0 },
        ..Profile::default()
    }
}

/// Servers, with small buffers where nothing is lost: smoltcp 0.14 sends a lost segment again past a window
/// that has closed, and then forgets it.
fn servers(world: &mut World, is_lossless: bool) -> Vec<(SocketAddr, Server)> {
    let ip = world.server().ip();
    let errors =
        [FlowError::Refused, FlowError::HostUnreachable, FlowError::TimedOut, FlowError::Exhausted];
    let mut all = Vec::new();
    for port in 80..86 {
        let least = if is_lossless { 2000 } else { 100_000 };
        let buffer = usize::try_from(least + below(world, 100_000)).expect("small");
        let slow = below(world, 3) == 0;
        let reads = if slow { 3000 } else { usize::MAX };
        let delay = Duration::from_micros(1 + below(world, 30_000));
        let server = Server { buffer, reads, delay, ..Server::ECHOES };
        all.push((SocketAddr::new(ip, port), server));
    }
    let error = errors[usize::try_from(below(world, 4)).expect("small")];
    all.push((SocketAddr::new(ip, 86), Server::fails(error)));
    for &(at, server) in &all {
        world.sim.outside_mut().listen(Transport::Tcp, at, server);
        world.sim.outside_mut().listen(Transport::Udp, at, server);
    }
    all
}

/// A packet of random bytes, or one that is nearly right.
fn junk(world: &mut World, probe: ProbeId) {
    let len = usize::try_from(20 + below(world, 80)).expect("small");
    let mut packet: Vec<u8> =
        (0..len).map(|_| u8::try_from(below(world, 256)).expect("a byte")).collect();
    if below(world, 4) > 0 {
        let protocol = [1, 6, 17, 47][usize::try_from(below(world, 4)).expect("small")];
        packet[..2].copy_from_slice(&[0x45, 0]);
        packet[2..4].copy_from_slice(&u16::try_from(len).expect("short").to_be_bytes());
        if below(world, 3) > 0 {
            packet[6..8].fill(0);
        }
        packet[9] = protocol;
        let source = u8::try_from(below(world, 256)).expect("a byte");
        packet[12..16].copy_from_slice(&[10, 0, 2, source]);
        packet[16..20].copy_from_slice(&[192, 0, 2, 80]);
        packet[10..12].fill(0);
        let sum = adit_packet::checksum::of(&packet[..20]).to_be_bytes();
        packet[10..12].copy_from_slice(&sum);
    }
    let mut meta = Meta::default();
    if below(world, 2) == 0 {
        // As a guest that leaves checksums to be finished.
        meta.vnet.flags = 1;
        (meta.vnet.csum_start, meta.vnet.csum_offset) = (20, 16);
    }
    world.sim.send(probe, &packet, meta);
}

#[test]
fn any_network_behind_a_nat_keeps_its_bytes() {
    for_each_seed(250, |seed| {
        let link = profile(seed / 2);
        let super_packets = seed % 3 != 0;
        let mut world = World::with(
            seed,
            seed % 5 == 0,
            |_| (),
            |host| if super_packets { host.with_super_packets() } else { host },
            (seed % 7 != 0).then_some([&link, &link]),
        );
        let probe = world.sim.probe("attacker");
        world.sim.wire(probe, world.nat.port(1));
        let is_lossless = seed % 7 == 0;
        let servers = servers(&mut world, is_lossless);
        let mut uses = Vec::new();
        for _ in 0..1 + below(&mut world, 8) {
            let (to, _) = servers[usize::try_from(below(&mut world, 7)).expect("small")];
            let stream = world.sim.tcp_connect(world.host, to);
            let sent = usize::try_from(below(&mut world, 60_000)).expect("small");
            world.sim.tcp_send(stream, &bytes(sent));
            world.sim.tcp_close(stream);
            uses.push(Use { stream, sent, to });
            let socket =
                world.sim.udp_bind(world.host, 4000 + u16::try_from(uses.len()).expect("few"));
            world.sim.udp_send(socket, to, &bytes(sent % 1000));
            world.sim.ping(world.host, to.ip());
            (0..below(&mut world, 20)).for_each(|_| junk(&mut world, probe));
            let fault = match below(&mut world, 4) {
                0 => Some(Fault::Full(Duration::from_millis(300))),
                1 => Some(Fault::Slow(Duration::from_micros(100))),
                _ => None,
            };
            let end = if below(&mut world, 2) == 0 { world.nat.port(0) } else { world.host.into() };
            let fault = fault.filter(|_| !is_lossless);
            fault.into_iter().for_each(|fault| world.sim.fault(end, fault));
            let pause = Duration::from_micros(below(&mut world, 200_000));
            world.sim.run_for(pause);
        }
        let faults = [adit_sim::End::from(world.host), world.nat.port(0)];
        faults.into_iter().for_each(|end| world.sim.fault(end, Fault::Slow(Duration::ZERO)));
        let end = world.sim.now() + 900 * SECOND;
        let streams: Vec<_> =
            uses.iter().filter(|one| one.to.port() != 86).map(|one| one.stream).collect();
        let is_done =
            world.sim.run_until(end, |sim| streams.iter().all(|&one| sim.tcp_is_finished(one)));
        assert!(is_done, "{:?}", world.nat().flows().collect::<Vec<_>>());
        for one in uses.iter().filter(|one| one.to.port() != 86) {
            let got = world.sim.tcp_received(one.stream);
            let good =
                got.iter().zip(bytes(one.sent)).take_while(|(got, sent)| **got == *sent).count();
            assert_eq!((good, got.len()), (one.sent, one.sent), "{}", one.to);
        }
        // Whatever is half open ends by itself.
        world.sim.run_for(SECOND * 3 * 3600);
        assert_eq!(world.nat().flow_count(), 0, "{:?}", world.nat().flows().collect::<Vec<_>>());
    });
}
