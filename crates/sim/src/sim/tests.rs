use super::*;
use adit_engine::netem::{Delay, Loss};
use adit_engine::{Handled, Hub, PortId};
use adit_packet::{Gso, VnetHeader};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::string::ToString;

/// Passes what comes from its port to a peer, and back.
struct Relay(Endpoint);
impl Engine for Relay {
    fn handle(
        &mut self,
        _: Instant,
        from: Endpoint,
        packet: PacketBuf,
        out: &mut Outbox,
    ) -> Handled {
        let port = Endpoint::Port(PortId(0));
        out.send(if from == port { self.0 } else { port }, packet);
        Handled::NOTHING
    }
}

const SECOND: Duration = Duration::from_secs(1);

/// Two hosts on a hub.
fn pair(seed: u64, a: HostConfig, b: HostConfig) -> (Sim, HostId, HostId, EngineId<Hub>) {
    let mut sim = Sim::new(seed);
    let hub = sim.engine("hub", Hub::new(2));
    let (a, b) = (sim.host("a", a), sim.host("b", b));
    sim.wire(a, hub.port(0));
    sim.wire(b, hub.port(1));
    (sim, a, b, hub)
}

fn plain_pair(seed: u64) -> (Sim, HostId, HostId, EngineId<Hub>) {
    pair(seed, HostConfig::new("192.0.2.1/24"), HostConfig::new("192.0.2.2/24"))
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// What a transfer of `len` bytes from `a` to `b` took; every byte must arrive.
fn transfer(sim: &mut Sim, a: HostId, b: HostId, to: &str, len: usize) -> Duration {
    let bytes: Vec<u8> = (0..len).map(|at| (at % 251).to_le_bytes()[0]).collect();
    let server = sim.tcp_listen(b, 80);
    let client = sim.tcp_connect(a, to.parse().unwrap());
    sim.tcp_send(client, &bytes);
    sim.tcp_close(client);
    let start = sim.now();
    let done = sim.run_until(start + 600 * SECOND, |sim| sim.tcp_is_finished(server));
    assert!(done, "the transfer did not end");
    assert_eq!(sim.tcp_received(server), bytes);
    sim.now() - start
}

#[test]
fn hosts_ping_each_other_through_an_engine() {
    let (mut sim, a, b, _) = plain_pair(1);
    let ping = sim.ping(a, address("192.0.2.2"));
    let lost = sim.ping(b, address("192.0.2.9"));
    sim.run_for(SECOND);
    // ARP there and back, the echo there and back: two wires each time.
    assert_eq!(sim.rtt(ping).map(|rtt| rtt.as_micros()), Some(8));
    assert_eq!(sim.rtt(lost), None);
    let again = sim.ping(a, address("192.0.2.2"));
    sim.run_for(SECOND);
    assert_eq!(sim.rtt(again).map(|rtt| rtt.as_micros()), Some(4));
    // Nor does one that has no answer hold up the next.
    let next = sim.ping(b, address("192.0.2.1"));
    sim.run_for(SECOND);
    assert_eq!(sim.rtt(next).map(|rtt| rtt.as_micros()), Some(4));
    assert_eq!(sim.now(), Instant::ZERO + 3 * SECOND);
    // It is given up in the end.
    sim.run_for(10 * SECOND);
    let last = sim.trace().lines().next_back().map(|line| line.to_string());
    assert!(last.unwrap().starts_with("3."), "{}", sim.trace());
}

#[test]
fn the_trace_says_what_happened() {
    let (mut sim, a, _, _) = plain_pair(1);
    sim.ping(a, address("192.0.2.2"));
    sim.run_for(SECOND);
    let expected = "\
0.000001000 a:0 > hub:0 42 #4d6dfd2b arp
0.000002000 hub:1 > b:0 42 #4d6dfd2b arp
0.000003000 b:0 > hub:1 42 #da5ecf61 arp
0.000004000 hub:0 > a:0 42 #da5ecf61 arp
0.000005000 a:0 > hub:0 98 #1eefb29a 192.0.2.1 > 192.0.2.2 icmp
0.000006000 hub:1 > b:0 98 #1eefb29a 192.0.2.1 > 192.0.2.2 icmp
0.000007000 b:0 > hub:1 98 #d318a567 192.0.2.2 > 192.0.2.1 icmp
0.000008000 hub:0 > a:0 98 #d318a567 192.0.2.2 > 192.0.2.1 icmp
";
    assert_eq!(sim.trace(), expected);
}

#[test]
fn ipv6_hosts_and_hosts_without_ethernet_ping_too() {
    let mut sim = Sim::new(1);
    let (a, b) = (sim.host("a", "2001:db8::1/64"), sim.host("b", "2001:db8::2/64"));
    sim.wire(a, b);
    let tun = |text| HostConfig::new(text).without_ethernet();
    let (c, d) = (sim.host("c", tun("10.0.0.1/24")), sim.host("d", tun("10.0.0.2/24")));
    sim.wire(c, d);
    let pings = [sim.ping(a, address("2001:db8::2")), sim.ping(d, address("10.0.0.1"))];
    sim.run_for(SECOND);
    assert!(pings.into_iter().all(|ping| sim.rtt(ping).is_some()), "{}", sim.trace());
}

#[test]
fn udp_arrives() {
    let (mut sim, a, b, _) = plain_pair(1);
    let (from, to) = (sim.udp_bind(a, 1000), sim.udp_bind(b, 2000));
    assert!(sim.udp_send(from, "192.0.2.2:2000".parse().unwrap(), b"hello"));
    sim.run_for(SECOND);
    let expected = ("192.0.2.1:1000".parse().unwrap(), b"hello".to_vec());
    assert_eq!(sim.udp_recv(to), Some(expected));
    assert_eq!(sim.udp_recv(to), None);
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let run = |seed| {
        let (mut sim, a, b, _) = plain_pair(seed);
        transfer(&mut sim, a, b, "192.0.2.2:80", 100_000);
        (sim.trace(), sim.trace_hash())
    };
    assert_eq!(run(5), run(5));
    // Initial sequence numbers come from the seed.
    assert_ne!(run(5).1, run(6).1);
}

#[test]
fn super_packets_cross_whole_and_arrive_cut_up() {
    let config = |text| HostConfig::new(text).with_super_packets();
    let (mut sim, a, b, _) = pair(3, config("192.0.2.1/24"), config("192.0.2.2/24"));
    transfer(&mut sim, a, b, "192.0.2.2:80", 1_000_000);
    let trace = sim.trace();
    assert!(trace.contains("Tcp4 14"), "there were super-packets:\n{trace}");
    let segments = 1_000_000 / 1460;
    assert!(sim.port_counts(a).sent < segments / 2, "{:?}", sim.port_counts(a));
    // Without them each segment is a packet of its own.
    let (mut sim, a, b, _) = plain_pair(3);
    transfer(&mut sim, a, b, "192.0.2.2:80", 1_000_000);
    assert!(sim.port_counts(a).sent > segments);
}

#[test]
fn a_device_leaves_checksums_undone_only_with_super_packets() {
    let mut sim = Sim::new(1);
    let host =
        sim.host("a", HostConfig::new("10.0.0.1/24").without_ethernet().with_super_packets());
    let probe = sim.probe("p");
    sim.wire(host, probe);
    let socket = sim.udp_bind(host, 1000);
    assert!(sim.udp_send(socket, "10.0.0.2:2000".parse().unwrap(), b"hello"));
    sim.run_for(SECOND);
    let (bytes, meta) = sim.recv(probe).unwrap();
    assert_eq!(
        (meta.vnet.needs_csum(), meta.vnet.csum_start, meta.vnet.csum_offset),
        (true, 20, 6)
    );
    // The way back: its own packet with source and destination exchanged is an answer it takes.
    let mut answer = bytes.clone();
    answer[12..16].copy_from_slice(&bytes[16..20]);
    answer[16..20].copy_from_slice(&bytes[12..16]);
    answer[20..22].copy_from_slice(&bytes[22..24]);
    answer[22..24].copy_from_slice(&bytes[20..22]);
    sim.send(probe, &answer, meta);
    sim.run_for(SECOND);
    assert_eq!(sim.udp_recv(socket).map(|(_, payload)| payload), Some(b"hello".to_vec()));
    // Without its meta the checksum is wrong.
    sim.send(probe, &answer, Meta::default());
    sim.run_for(SECOND);
    assert_eq!(sim.udp_recv(socket), None);
}

#[test]
fn a_host_refuses_what_its_device_would() {
    let mut sim = Sim::new(1);
    let (host, probe) = (sim.host("a", "192.0.2.1/24"), sim.probe("p"));
    sim.wire(probe, host);
    sim.send(probe, &[0xff; 1523], Meta::default());
    let vnet = VnetHeader { gso: Gso::Tcp4, gso_size: 1000, ..VnetHeader::default() };
    sim.send(probe, &[0xff; 3000], Meta { vnet, ..Meta::default() });
    sim.run_for(SECOND);
    let lost: Vec<_> = sim.lost().by_reason().collect();
    assert_eq!(lost, [(DropReason::MALFORMED, 1), (DropReason::TOO_BIG, 1)]);
    assert_eq!(sim.port_counts(host).lost, 2);
}

#[test]
fn a_port_that_is_down_loses_both_ways_and_comes_back() {
    let (mut sim, a, _, hub) = plain_pair(1);
    for (fault, answered) in [
        (Fault::Up, true),
        (Fault::Down, false),
        (Fault::Up, true),
        (Fault::Gone, false),
        (Fault::Up, false),
    ] {
        sim.fault(hub.port(1), fault);
        let ping = sim.ping(a, address("192.0.2.2"));
        sim.run_for(2 * SECOND);
        assert_eq!(sim.rtt(ping).is_some(), answered, "{fault}");
    }
    assert!(sim.lost().by_reason().any(|(why, _)| why == DropReason::PORT_DOWN));
    assert!(sim.trace().contains(" hub:1 gone\n"));
}

#[test]
fn faults_of_the_script_come_in_time() {
    let (mut sim, a, _, _) = plain_pair(1);
    sim.fault_at(Instant::ZERO + 2 * SECOND, a, Fault::Up);
    sim.fault_at(Instant::ZERO + SECOND, a, Fault::Down);
    sim.run_for(3 * SECOND);
    assert_eq!(sim.trace(), "1.000000000 a:0 down\n2.000000000 a:0 up\n");
}

#[test]
fn a_full_port_keeps_a_bounded_queue_and_a_slow_reader_takes_his_time() {
    let mut sim = Sim::new(1);
    let (a, b) = (sim.probe("a"), sim.probe("b"));
    sim.wire(a, b);
    sim.fault(a, Fault::Full(SECOND));
    (0..300_u16).for_each(|number| sim.send(a, &number.to_be_bytes(), Meta::default()));
    sim.run_for(SECOND - Duration::from_millis(1));
    assert_eq!(sim.recv(b), None);
    sim.fault(a, Fault::Slow(SECOND));
    sim.run_for(10 * SECOND);
    let arrived = core::iter::from_fn(|| sim.recv(b)).count();
    // The queue held 256 of them; one left at each whole second from the first on.
    assert_eq!((sim.port_counts(a).lost, arrived), (44, 10));
    sim.fault(a, Fault::Slow(Duration::ZERO));
    sim.run_for(10 * SECOND);
    assert_eq!(core::iter::from_fn(|| sim.recv(b)).count(), 246);
}

#[test]
fn an_engine_without_buffers_loses_at_its_port() {
    let mut sim = Sim::new(1);
    let pool = PoolConfig { small_limit: 1, large_limit: 0, ..PoolConfig::default() };
    let hub = sim.engine_with("hub", Hub::new(3), pool);
    let (a, b) = (sim.probe("a"), sim.probe("b"));
    sim.wire(a, hub.port(0));
    sim.wire(b, hub.port(1));
    sim.send(a, &[1; 60], Meta::default());
    sim.send(a, &[1; 4000], Meta::default());
    sim.run_for(SECOND);
    // The small one has no buffer for its copy, the large one none at all.
    assert_eq!(sim.counts(hub).by_reason().collect::<Vec<_>>(), [(DropReason::NO_BUFFER, 1)]);
    assert_eq!(sim.lost().by_reason().next(), Some((DropReason::NO_BUFFER, 1)));
    assert_eq!(sim.recv(b), None);
    assert!(sim.trace().contains(" hub:0 loses 1 no buffer\n"), "{}", sim.trace());
    assert!(sim.trace().contains(" hub loses 1 no buffer\n"), "{}", sim.trace());
}

#[test]
fn peers_have_ways_to_each_other() {
    let [left, right]: [SocketAddr; 2] = ["192.0.2.1:1", "192.0.2.2:2"].map(|a| a.parse().unwrap());
    let mut sim = Sim::new(1);
    let a = sim.engine("left", Relay(Endpoint::Udp(right)));
    let b = sim.engine("right", Relay(Endpoint::Udp(left)));
    sim.wire(a.peer(right), b.peer(left));
    let tun = |text| HostConfig::new(text).without_ethernet();
    let (c, d) = (sim.host("c", tun("10.0.0.1/24")), sim.host("d", tun("10.0.0.2/24")));
    sim.wire(c, a.port(0));
    sim.wire(d, b.port(0));
    let ping = sim.ping(c, address("10.0.0.2"));
    sim.run_for(SECOND);
    assert!(sim.rtt(ping).is_some());
    assert!(sim.trace().contains(" left@192.0.2.2:2 > right@192.0.2.1:1 "), "{}", sim.trace());
}

#[test]
fn a_wire_with_a_profile_is_as_slow_as_it_says() {
    let delay = |millis| Profile {
        delay: Delay::constant(Duration::from_millis(millis)),
        ..Profile::default()
    };
    let mut sim = Sim::new(1);
    let (a, b) = (sim.host("a", "192.0.2.1/24"), sim.host("b", "192.0.2.2/24"));
    sim.wire_through(a, b, [&delay(20), &delay(5)]);
    let first = sim.ping(a, address("192.0.2.2"));
    sim.run_for(SECOND);
    assert_eq!(sim.rtt(first), Some(Duration::from_millis(50)));
    sim.set_profile(b, &delay(30));
    let second = sim.ping(a, address("192.0.2.2"));
    sim.run_for(SECOND);
    assert_eq!(sim.rtt(second), Some(Duration::from_millis(50)));
    assert_eq!(sim.report(b).unwrap().asked, delay(30));
    assert!(sim.report(a).is_some());
}

#[test]
fn a_wire_that_loses_is_the_same_for_the_same_seed() {
    let profile = Profile {
        delay: Delay::constant(Duration::from_millis(2)),
        loss: Loss::Random { share: 0.02 },
        ..Profile::default()
    };
    let run = |seed| {
        let mut sim = Sim::new(seed);
        let config = HostConfig::new("192.0.2.1/24").with_super_packets();
        let (a, b) = (sim.host("a", config), sim.host("b", "192.0.2.2/24"));
        sim.wire_through(a, b, [&profile, &profile]);
        transfer(&mut sim, a, b, "192.0.2.2:80", 300_000);
        assert!(sim.lost().by_reason().any(|(why, _)| why == DropReason::LOSS));
        assert_eq!(sim.lost().by_reason().count(), 1);
        sim.trace_hash()
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

#[test]
fn a_train_of_datagrams_is_cut_before_an_emulated_link() {
    let [left, right]: [SocketAddr; 2] = ["192.0.2.1:1", "192.0.2.2:2"].map(|a| a.parse().unwrap());
    let mut sim = Sim::new(1);
    let (a, b) = (
        sim.engine("left", Relay(Endpoint::Udp(right))),
        sim.engine("right", Relay(Endpoint::Udp(left))),
    );
    sim.wire_through(a.peer(right), b.peer(left), [&Profile::default(), &Profile::default()]);
    let (from, to) = (sim.probe("from"), sim.probe("to"));
    sim.wire(from, a.port(0));
    sim.wire(to, b.port(0));
    let vnet = VnetHeader { gso: Gso::UdpL4, gso_size: 1000, ..VnetHeader::default() };
    sim.send(from, &[7; 2500], Meta { vnet, ..Meta::default() });
    sim.run_for(SECOND);
    let lens: Vec<_> = core::iter::from_fn(|| sim.recv(to)).map(|(bytes, _)| bytes.len()).collect();
    assert_eq!(lens, [1000, 1000, 500]);
}

#[test]
fn packets_in_a_loop_of_hubs_are_bounded_and_time_goes_on() {
    let mut sim = Sim::new(1);
    let (a, b) = (sim.engine("a", Hub::new(3)), sim.engine("b", Hub::new(3)));
    let probe = sim.probe("p");
    sim.wire(probe, a.port(0));
    sim.wire(a.port(1), b.port(1));
    sim.wire(a.port(2), b.port(2));
    sim.send(probe, &[7; 60], Meta::default());
    sim.run_for(Duration::from_micros(100));
    assert_eq!(sim.now().as_nanos(), 100_000);
    assert!(sim.counts(a).sent() > 100);
    sim.limit_events(10_000);
    let text = panic_of(|| sim.run_for(SECOND));
    assert!(text.ends_with("does a packet run in circles?"), "{text}");
}

/// The message of the panic that this ends in.
fn panic_of(run: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(run)).expect_err("it does not panic");
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| text.to_string())).unwrap_or_default()
}

/// Breaks the law in one of several ways.
#[derive(Default)]
struct Thief {
    way: usize,
    kept: Option<PacketBuf>,
}

impl Engine for Thief {
    fn handle(
        &mut self,
        _: Instant,
        from: Endpoint,
        packet: PacketBuf,
        out: &mut Outbox,
    ) -> Handled {
        match self.way {
            // Forgotten, and its buffer with it.
            0 => drop(packet),
            // Given back without a word.
            1 => out.pool().give(packet),
            // Kept in secret.
            2 => self.kept = Some(packet),
            // A buffer taken past the books; the packet itself goes its way.
            3 => {
                self.kept = out.pool().take(1);
                out.send(from, packet);
            }
            _ => out.send(from, packet),
        }
        Handled::NOTHING
    }

    fn next_timeout(&self) -> Option<Instant> {
        (self.way == 4).then_some(Instant::ZERO)
    }
}

#[test]
fn an_engine_that_breaks_the_law_is_caught() {
    for (way, expected) in [
        (0, "thief lost packets: 1 in + 0 made is not 0 sent + 0 discarded + 0 absorbed + 0 held"),
        (1, "thief lost packets"),
        (2, "thief lost packets"),
        (3, "thief lost buffers"),
        (4, "thief was woken 10000 times and still asks for a moment that has passed"),
    ] {
        let text = panic_of(|| {
            let mut sim = Sim::new(1);
            let thief = sim.engine("thief", Thief { way, kept: None });
            let probe = sim.probe("p");
            sim.wire(probe, thief.port(0));
            sim.send(probe, b"packet", Meta::default());
            sim.run_for(SECOND);
        });
        assert!(text.contains(expected), "{way}: {text}");
    }
}

#[test]
fn wiring_a_port_twice_panics() {
    let text = panic_of(|| {
        let (mut sim, a, _, _) = plain_pair(1);
        let other = sim.probe("p");
        sim.wire(a, other);
    });
    assert_eq!(text, "there is a wire at a:0 already");
    let text = panic_of(|| Sim::new(1).fault(EngineId::<Hub>::new(0).port(1), Fault::Up));
    assert!(text.starts_with("no wire at"), "{text}");
}
