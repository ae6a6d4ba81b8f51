//! What must hold whatever comes from outside: called by property tests and by fuzz targets.

use crate::format::{framing, recording as recordings, unfinished, vxlan_header};
use crate::port::Port;
use crate::port::kind::Opened;
use crate::port::messages;
use crate::port::spec::PortSpec;
use crate::port::stream::StreamPort;
use crate::runner::Handler;
use crate::runner::Runner;
use crate::runner::event::{Event, Next};
use crate::runner::nested::Nested;
use adit_device::netlink::{LinkChange, Netlink};
use adit_device::{IfName, PacketSocket, PacketSocketOptions};
use adit_engine::switch::{PortConfig, Switch, SwitchConfig};
use adit_engine::{Hub, PortId};
use adit_packet::{Pool, PoolConfig, VnetHeader};
use std::io::Read;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::time::Duration;

/// A byte stream of frames.
pub fn stream_frames(bytes: &[u8]) {
    framing::exercise(bytes);
}

/// A byte stream of a tunnel's messages.
pub fn stream_messages(bytes: &[u8]) {
    messages::exercise(bytes);
}

/// A datagram of VXLAN.
pub fn vxlan(datagram: &[u8]) {
    vxlan_header::exercise(datagram);
    unfinished::exercise(datagram);
}

/// A pcap or pcapng file.
pub fn recording(file: &[u8]) {
    recordings::exercise(file);
}

/// The text of a port.
pub fn port_spec(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match text.parse::<PortSpec>() {
        Ok(spec) => assert!(spec.rest.len() <= text.len()),
        Err(error) => {
            assert!(error.at <= text.len(), "{error:?}");
            assert!(!error.message.is_empty());
        }
    }
}

/// How often traffic is made in a window.
const ROUNDS: u32 = 200;

/// The first window warms the loop up.
const WINDOWS: u32 = 4;

/// The host's addresses at `t0`, and at `t2` behind an engine in a port, in networks of 24 bits.
const SOURCES: [(&str, Ipv4Addr); 2] =
    [("t0", Ipv4Addr::new(192, 0, 2, 1)), ("t2", Ipv4Addr::new(198, 51, 100, 1))];

/// Frames of all lengths go between ports of all kinds, one with an engine behind it; how much `count` grew meanwhile, in the
/// quietest window once the loop was warm. Needs a network namespace of the caller's own and a folder for sockets.
pub fn count_while_forwarding(folder: &std::path::Path, count: fn() -> u64) -> u64 {
    let mut runner =
        Runner::new(Hub::default(), Pool::new(PoolConfig::default())).expect("descriptors");
    runner.engine_and_outbox().2.pool().warm_up(PoolConfig::SMALL_LIMIT, 64);
    let path = folder.join("s");
    let specs =
        ["tap:t0,mtu=9000".to_owned(), "tap:t1,mtu=9000".to_owned(), "vxlan:127.0.0.1".to_owned()];
    let mut traffic = Traffic::default();
    for spec in specs {
        let opened = spec.parse::<PortSpec>().expect("a port").open().expect("it opens");
        let Opened::Ports(ports) = opened else { unreachable!("no listener") };
        ports.into_iter().for_each(|port| traffic.add(&mut runner, port));
    }
    let spec = format!("unix:{},type=dgram", path.display()).parse::<PortSpec>();
    let Ok(Opened::Listener(listener)) = spec.expect("a port").open() else {
        unreachable!("a listener")
    };
    runner.listen(listener).expect("it listens");
    let guest = UnixDatagram::bind(folder.join("g")).expect("a guest");
    guest.set_nonblocking(true).expect("a socket");
    guest.send_to(&[0xff; 60], &path).expect("it is there");
    traffic.guest = Some(guest);
    let (ours, theirs) = UnixStream::pair().expect("descriptors");
    theirs.set_nonblocking(true).expect("a socket");
    traffic.stream = Some(theirs);
    traffic.add(&mut runner, Box::new(StreamPort::socket("pair", ours.into()).expect("a socket")));
    let mut inner =
        Runner::new(Hub::default(), Pool::new(PoolConfig::default())).expect("descriptors");
    let Ok(Opened::Ports(ports)) = "tap:t2,mtu=9000".parse::<PortSpec>().expect("a port").open()
    else {
        unreachable!("a port")
    };
    inner.engine_mut().ports.extend([PortId(0), PortId(1)]);
    ports.into_iter().for_each(|port| inner.attach(PortId(1), port).expect("it is new"));
    let nested = traffic.ids.len();
    let inner = Nested::new("nested", None, inner, PortId(0), Idle).expect("it is new");
    traffic.add(&mut runner, Box::new(inner));
    let find = |name: &str| {
        let link = adit_device::Link::find(&name.parse().expect("a name")).expect("it is there");
        link.set_up(true).expect("our namespace");
        link
    };
    ["lo", "t1"].into_iter().for_each(|name| drop(find(name)));
    for (name, ip) in SOURCES {
        let prefix = adit_packet::IpPrefix::new(ip.into(), 24).expect("an address");
        let address = adit_device::netlink::Address::new(prefix);
        find(name).add_address(&address).expect("our namespace");
        let source = UdpSocket::bind((ip, 0)).expect("the address is there");
        source.set_broadcast(true).expect("a socket");
        let everybody = Ipv4Addr::from_bits(ip.to_bits() | 0xff);
        traffic.sources.push((source, everybody));
    }
    traffic.windows.count = Some(count);
    runner.set_alarm(Some(runner.now()));
    runner.run(&mut traffic).expect("epoll works");
    let received = traffic.ids.iter().filter_map(|&id| Some(runner.port(id)?.1.received));
    let received: u64 = received.sum();
    assert!(received > u64::from(ROUNDS), "frames came: {received}");
    let counters = traffic.ids.get(nested).and_then(|&id| runner.port(id)).expect("it is there").1;
    let (received, sent) = (counters.received, counters.sent);
    let of_nested = received.min(sent);
    assert!(of_nested > u64::from(ROUNDS), "of the port with an engine: {received}, {sent}");
    traffic.windows.counted
}

/// Frames go between two interfaces, most of them in the kernel, while addresses come and all that is in the
/// kernel is voided again and again; how much `count` grew meanwhile, as in [`count_while_forwarding`]. Needs a network namespace of the caller's
/// own, and the initial user namespace.
pub fn count_while_accelerated(count: fn() -> u64) -> u64 {
    let mut netlink = Netlink::open().expect("a socket");
    let switch = Switch::new(SwitchConfig::default()).expect("the default is valid");
    let mut runner = Runner::new(switch, Pool::new(PoolConfig::default())).expect("descriptors");
    runner.engine_and_outbox().2.pool().warm_up(PoolConfig::SMALL_LIMIT, 64);
    runner.accelerate(true);
    let mut hosts = Vec::new();
    for id in [0, 1].map(PortId) {
        let name = |letter| format!("{letter}{id}").parse::<IfName>().expect("a name");
        let (port, host) = netlink.add_veth(&name("p"), &name("h")).expect("our namespace");
        for index in [port, host] {
            netlink.set_link(index, &LinkChange::new().up(true)).expect("our namespace");
        }
        let options = PacketSocketOptions { incoming_only: true, ..PacketSocketOptions::default() };
        hosts.push(PacketSocket::open(host, &options).expect("our namespace"));
        let spec = format!("dev:p{id}").parse::<PortSpec>().expect("a port");
        let Opened::Ports(ports) = spec.open().expect("it opens") else { unreachable!("a port") };
        runner.engine_mut().add_port(id, PortConfig::default()).expect("it is new");
        ports.into_iter().for_each(|port| runner.attach(id, port).expect("it is new"));
    }
    let windows = Windows { count: Some(count), ..Windows::default() };
    let mut traffic = Accelerated { hosts, windows };
    runner.set_alarm(Some(runner.now()));
    runner.run(&mut traffic).expect("epoll works");
    runner.sync();
    let acceleration = runner.acceleration().expect("it was asked for");
    assert!(acceleration.failure.is_none(), "{acceleration:?}");
    assert!(acceleration.frames > u64::from(ROUNDS), "frames passed: {acceleration:?}");
    traffic.windows.counted
}

/// Hosts at the interfaces of a switch.
struct Accelerated {
    hosts: Vec<PacketSocket>,
    windows: Windows,
}

impl Accelerated {
    /// Addresses at each interface.
    const ADDRESSES: u8 = 32;

    fn make(&self) {
        let round = self.windows.round.to_le_bytes()[0] % Self::ADDRESSES;
        let mac = |host: u8, number: u8| [2, 0, 0, 0, host, number];
        let mut buf = [0; 65_536];
        for ((host, socket), other) in (0..).zip(&self.hosts).zip([1, 0]) {
            // Between two that are known, to one that nobody has, and from the next.
            let ends = [
                (mac(other, 0), mac(host, 0)),
                (mac(other, 0xff), mac(host, 0)),
                (mac(other, round), mac(host, round)),
            ];
            for (to, from) in ends {
                let mut frame = [0; 60];
                for (at, byte) in to.into_iter().chain(from).chain([0x88, 0xb6]).enumerate() {
                    frame[at] = byte;
                }
                // A full queue drops it, which is as well.
                let _ = socket.send_parts(&VnetHeader::default(), &frame, &[]);
            }
            while socket.recv(&mut buf).is_ok() {}
        }
    }
}

impl Handler<Switch> for Accelerated {
    fn event(&mut self, runner: &mut Runner<Switch>, event: Event) -> Next {
        if !matches!(event, Event::Alarm) {
            return Next::Continue;
        }
        if self.windows.is_over() {
            return Next::Stop;
        }
        self.make();
        if self.windows.round.is_multiple_of(16) {
            runner.engine_mut().set_link(PortId(1), false);
            runner.engine_mut().set_link(PortId(1), true);
            runner.sync();
        }
        runner.set_alarm(Some(runner.now() + Duration::from_micros(500)));
        Next::Continue
    }
}

/// The owner of a loop that needs none.
struct Idle;

impl Handler<Hub> for Idle {
    fn event(&mut self, _: &mut Runner<Hub>, _: Event) -> Next {
        Next::Continue
    }
}

/// Makes traffic from time to time, and takes away what comes of it.
#[derive(Default)]
struct Traffic {
    ids: Vec<PortId>,
    /// With the broadcast address of each.
    sources: Vec<(UdpSocket, Ipv4Addr)>,
    guest: Option<UnixDatagram>,
    stream: Option<UnixStream>,
    windows: Windows,
}

/// How much something grows in each of some windows.
#[derive(Default)]
struct Windows {
    count: Option<fn() -> u64>,
    round: u32,
    before: u64,
    counted: u64,
}

impl Windows {
    /// Begins a round, unless the last one is over.
    fn is_over(&mut self) -> bool {
        if self.round.is_multiple_of(ROUNDS) {
            let count = self.count.map_or(0, |count| count());
            // News of a link may come at any time, and allocates: packets do so in each window.
            match self.round / ROUNDS {
                0 | 1 => self.counted = u64::MAX,
                _ => self.counted = self.counted.min(count - self.before),
            }
            if self.round == WINDOWS * ROUNDS {
                return true;
            }
            self.before = count;
        }
        self.round += 1;
        false
    }
}

impl Traffic {
    fn add(&mut self, runner: &mut Runner<Hub>, port: Box<dyn Port>) {
        let id = PortId(u16::try_from(self.ids.len()).expect("a few ports"));
        runner.attach(id, port).expect("it is new");
        runner.engine_mut().ports.push(id);
        self.ids.push(id);
    }

    fn make(&mut self) {
        let payload = [7; 8000];
        for len in [10, 1000, 3000, 8000] {
            let packet = payload.get(..len).unwrap_or_default();
            for (source, everybody) in &self.sources {
                // A full queue drops it, which is as well.
                let _ = source.send_to(packet, (*everybody, 9));
            }
        }
        let mut buf = [0; 65_536];
        if let Some(guest) = &self.guest {
            while guest.recv(&mut buf).is_ok() {}
        }
        if let Some(mut stream) = self.stream.as_ref() {
            while stream.read(&mut buf).is_ok_and(|len| len > 0) {}
        }
    }
}

impl Handler<Hub> for Traffic {
    fn event(&mut self, runner: &mut Runner<Hub>, event: Event) -> Next {
        match event {
            Event::Accepted(_, port) => self.add(runner, port),
            Event::Alarm => {
                if self.windows.is_over() {
                    return Next::Stop;
                }
                self.make();
                runner.set_alarm(Some(runner.now() + Duration::from_micros(500)));
            }
            _ => {}
        }
        Next::Continue
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_text(text in "((tap|tun|dev|unix|vxlan|stdio|pcap)?:?)?[a-z0-9:.,+=%/ -]{0,40}") {
            super::port_spec(text.as_bytes());
        }
    }
}
