//! The same scenarios in two worlds: simulated, and real.
//!
//! A scenario is one function of a [`World`]. In the one world the engines run in `adit_sim`,
//! with smoltcp for the hosts; in the other the program `adit` holds real TAPs in namespaces, with the
//! kernel for the hosts. What is true in one only is a mistake of the other.
#![allow(clippy::unwrap_used, reason = "in a test, that is the assertion")]
#![allow(clippy::print_stdout, reason = "a test says what it measured")]

mod netns;
mod sim;
#[path = "../cli/wires.rs"]
mod wires;

use std::net::Ipv4Addr;
use std::thread;
use std::time::Duration;

use adit_sim::Sim;
use netns::Netns;

/// A port of a switch, with a host behind it.
#[derive(Clone, Copy, Default)]
struct PortSpec {
    /// The VLAN that it is an access port of.
    vlan: Option<u16>,
    isolated: bool,
}

/// An emulated link, the same both ways.
#[derive(Clone, Copy, Default)]
struct LinkSpec {
    delay: Duration,
    /// The share of packets in percent.
    loss_percent: u8,
    rate_megabits: Option<u16>,
    seed: u64,
}

/// What a scenario is played in. Hosts are numbered from 0 in the order in which they were made; the
/// address of each is [`address`] of its number.
trait World {
    /// How often a bound on a time is tried to be kept: a machine that does something else as well may be
    /// late, virtual time is not. What is always too late never keeps it.
    const TRIES: usize;

    /// A switch, and a host at each of its ports.
    fn switch(&mut self, ports: &[PortSpec]);

    /// The same with two more ports, which a cable joins to a loop.
    fn switch_with_loop(&mut self, ports: &[PortSpec]);

    /// A link, and a host at each end.
    fn link(&mut self, link: LinkSpec);

    /// How long an echo takes from one host to another; `None` if there is no answer within a second.
    fn ping(&mut self, from: usize, to: usize) -> Option<Duration>;

    /// Moves bytes by TCP: what arrived, and how long it took from the first to the last of them.
    fn transfer(&mut self, from: usize, to: usize, bytes: &[u8]) -> (Vec<u8>, Duration);

    /// Lets time pass.
    fn pass(&mut self, time: Duration);

    /// How many frames have arrived at a host.
    fn received(&mut self, host: usize) -> u64;

    /// Pings until there is an answer: a world may need a while to begin.
    fn wait_for(&mut self, from: usize, to: usize) -> Duration {
        let answer = (0..20).find_map(|_| self.ping(from, to));
        answer.unwrap_or_else(|| panic!("host {to} does not answer to host {from}"))
    }
}

/// The address of a host.
fn address(host: usize) -> Ipv4Addr {
    Ipv4Addr::new(192, 0, 2, u8::try_from(host + 1).unwrap())
}

/// Bytes that show when one is lost, doubled or in the wrong place.
fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at % 251).to_le_bytes()[0] ^ (at / 65_536).to_le_bytes()[0]).collect()
}

fn hosts_ping_through_a_switch(world: &mut impl World) {
    world.switch(&[PortSpec::default(); 3]);
    for (from, to) in [(0, 1), (1, 0), (2, 0), (1, 2)] {
        world.wait_for(from, to);
    }
}

fn tcp_crosses_a_switch_unchanged(world: &mut impl World) {
    world.switch(&[PortSpec::default(); 2]);
    world.wait_for(0, 1);
    let sent = bytes(4 << 20);
    for (from, to) in [(0, 1), (1, 0)] {
        let (received, _) = world.transfer(from, to, &sent);
        assert!(received == sent, "{} bytes of {} arrived", received.len(), sent.len());
    }
}

fn isolated_ports_do_not_see_each_other(world: &mut impl World) {
    let isolated = PortSpec { isolated: true, ..PortSpec::default() };
    world.switch(&[isolated, isolated, PortSpec::default()]);
    for (from, to) in [(0, 2), (1, 2), (2, 0), (2, 1)] {
        world.wait_for(from, to);
    }
    assert_eq!(world.ping(0, 1), None);
    assert_eq!(world.ping(1, 0), None);
}

fn vlans_are_apart(world: &mut impl World) {
    let access = |vlan| PortSpec { vlan: Some(vlan), ..PortSpec::default() };
    world.switch(&[access(10), access(10), access(20), access(20)]);
    world.wait_for(0, 1);
    world.wait_for(2, 3);
    for (from, to) in [(0, 2), (1, 3), (3, 0)] {
        assert_eq!(world.ping(from, to), None, "{from} to {to}");
    }
}

fn a_loop_is_broken_within_a_second<W: World>(world: &mut W) {
    world.switch_with_loop(&[PortSpec::default(); 2]);
    world.wait_for(0, 1);
    world.pass(Duration::from_secs(1));
    // Nobody has that address: the question for it is flooded.
    let mut flooded = || {
        let before = world.received(1);
        assert_eq!(world.ping(0, 99), None);
        world.pass(Duration::from_secs(1));
        world.received(1) - before
    };
    assert!((0..W::TRIES).any(|_| (1..50).contains(&flooded())), "the loop goes on");
    world.wait_for(0, 1);
}

fn a_link_delays_as_asked<W: World>(world: &mut W) {
    let delay = Duration::from_millis(20);
    world.link(LinkSpec { delay, ..LinkSpec::default() });
    world.wait_for(0, 1);
    let is_in_time = |time| time < 2 * delay + Duration::from_millis(10);
    for _ in 0..W::TRIES {
        let pings: Vec<_> = (0..10).filter_map(|_| world.ping(0, 1)).collect();
        assert!(pings.iter().all(|&time| time >= 2 * delay), "too early: {pings:?}");
        if pings.into_iter().any(is_in_time) {
            return;
        }
    }
    panic!("too late");
}

macro_rules! scenarios {
    ($($scenario:ident,)*) => {
        mod in_sim {
            $(#[test]
            fn $scenario() {
                super::$scenario(&mut super::Sim::new(1));
            })*
        }
        mod in_netns {
            $(#[test]
            fn $scenario() {
                super::$scenario(&mut super::Netns::new());
            })*
        }
    };
}

scenarios! {
    hosts_ping_through_a_switch,
    tcp_crosses_a_switch_unchanged,
    isolated_ports_do_not_see_each_other,
    vlans_are_apart,
    a_loop_is_broken_within_a_second,
    a_link_delays_as_asked,
}

/// How long a download over 20 ms each way, 1 % loss and 100 Mbit/s takes, in seconds.
fn lossy_download(world: &mut impl World, seed: u64) -> f64 {
    let delay = Duration::from_millis(20);
    world.link(LinkSpec { delay, loss_percent: 1, rate_megabits: Some(100), seed });
    world.wait_for(0, 1);
    let sent = bytes(4 << 20);
    let (received, time) = world.transfer(0, 1, &sent);
    assert!(received == sent, "{} bytes of {} arrived", received.len(), sent.len());
    time.as_secs_f64()
}

/// Within 10 %, over several downloads. One alone may differ by more: with one seed the same packets are
/// lost until the two hosts first differ by a packet, and others from then on.
#[test]
fn lossy_downloads_take_as_long_in_both_worlds() {
    let seeds = 1..=6;
    let simulated: f64 = seeds.clone().map(|seed| lossy_download(&mut Sim::new(1), seed)).sum();
    // A machine that is busy makes the real ones slower, never faster: then they are tried again, and of
    // each the fastest counts.
    let (mut fastest, mut real) = ([f64::INFINITY; 6], f64::INFINITY);
    for _ in 0..Netns::TRIES {
        thread::scope(|threads| {
            for (seed, fastest) in seeds.clone().zip(&mut fastest) {
                threads.spawn(move || {
                    *fastest = fastest.min(lossy_download(&mut Netns::new(), seed));
                });
            }
        });
        real = fastest.iter().sum();
        if real < simulated * 1.1 {
            break;
        }
    }
    println!("{simulated:.2} s simulated, {real:.2} s real");
    assert!(
        (0.9..1.1).contains(&(real / simulated)),
        "{simulated:.2} s simulated, {real:.2} s real"
    );
}
