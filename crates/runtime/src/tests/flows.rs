//! An engine with flows against sockets on the loopback, the loop nested in another one by its
//! descriptor.

use crate::runner::event::{Event, Next};
use crate::runner::{Handler, Runner};
use crate::tests::support::{PATIENCE, enter, ip};
use adit_engine::{
    Endpoint, Engine, FlowError, FlowEvent, FlowId, FlowRequest, Handled, Outbox, Request,
    Transport,
};
use adit_packet::{Instant, PacketBuf, Pool, PoolConfig};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

/// The most bytes of one packet to a flow.
const PIECE_LEN: usize = 16_000;

/// Opens flows as a test wants, sends what it is given as far as it has credit, and notes what comes.
#[derive(Default)]
struct Probe {
    flows: BTreeMap<FlowId, Seen>,
}

#[derive(Default)]
struct Seen {
    events: Vec<FlowEvent>,
    received: Vec<u8>,
    /// How many packets came.
    packets: usize,
    to_send: Vec<u8>,
    sent: usize,
    credit: usize,
    /// Ends our direction behind the last byte.
    shuts_down: bool,
}

impl Probe {
    /// Sends what there is credit for.
    fn pump(&mut self, id: FlowId, out: &mut Outbox) {
        let Some(seen) = self.flows.get_mut(&id) else { return };
        while seen.sent < seen.to_send.len().min(seen.credit) {
            let end = (seen.sent + PIECE_LEN).min(seen.to_send.len()).min(seen.credit);
            let mut packet = out.make(end - seen.sent).expect("a buffer");
            packet.extend(&seen.to_send[seen.sent..end]).expect("room");
            out.send(Endpoint::Flow(id), packet);
            seen.sent = end;
        }
        if seen.shuts_down && seen.sent == seen.to_send.len() {
            seen.shuts_down = false;
            out.request(Request::Flow(id, FlowRequest::Shutdown)).expect("room");
        }
    }
}

impl Engine for Probe {
    fn handle(
        &mut self,
        _: Instant,
        from: Endpoint,
        packet: PacketBuf,
        out: &mut Outbox,
    ) -> Handled {
        if let Endpoint::Flow(id) = from {
            let seen = self.flows.get_mut(&id).expect("a flow that is open");
            seen.received.extend_from_slice(packet.bytes());
            seen.packets += 1;
        }
        out.absorb(packet);
        Handled::NOTHING
    }

    fn handle_flow(&mut self, _: Instant, flow: FlowId, event: FlowEvent, out: &mut Outbox) {
        let seen = self.flows.get_mut(&flow).expect("a flow that is open");
        if let FlowEvent::Credit { until } = event {
            let until = usize::try_from(until).unwrap();
            assert!(until >= seen.credit, "credit never decreases");
            seen.credit = until;
        } else {
            seen.events.push(event);
        }
        self.pump(flow, out);
    }
}

struct Nobody;

impl Handler<Probe> for Nobody {
    fn event(&mut self, _: &mut Runner<Probe>, event: Event) -> Next {
        panic!("{event:?}")
    }
}

struct Rig(Runner<Probe>);

impl Rig {
    fn new() -> Self {
        enter();
        Self(Runner::new(Probe::default(), Pool::new(PoolConfig::default())).unwrap())
    }

    fn ask(&mut self, id: u64, request: FlowRequest) {
        let (_, _, out) = self.0.engine_and_outbox();
        out.request(Request::Flow(FlowId(id), request)).unwrap();
    }

    /// Opens a flow that takes all that comes.
    fn open(&mut self, id: u64, transport: Transport, to: SocketAddr) {
        self.0.engine_mut().flows.insert(FlowId(id), Seen::default());
        self.ask(id, FlowRequest::Open { transport, to });
        self.ask(id, FlowRequest::Credit { until: u64::MAX });
    }

    fn send(&mut self, id: u64, bytes: &[u8]) {
        let (probe, _, out) = self.0.engine_and_outbox();
        probe.flows.get_mut(&FlowId(id)).unwrap().to_send.extend_from_slice(bytes);
        probe.pump(FlowId(id), out);
    }

    fn seen(&mut self, id: u64) -> &mut Seen {
        self.0.engine_mut().flows.get_mut(&FlowId(id)).unwrap()
    }

    /// Takes turns, each when the runner's descriptor is readable, until it is so.
    fn until(&mut self, what: &str, mut done: impl FnMut(&mut Seen) -> bool, id: u64) {
        let start = std::time::Instant::now();
        loop {
            assert_eq!(self.0.turn(&mut Nobody).unwrap(), Next::Continue);
            let seen = self.seen(id);
            if done(seen) {
                return;
            }
            assert!(start.elapsed() < PATIENCE, "{what}: {:?}", seen.events);
            let mut fds = [PollFd::new(&self.0, PollFlags::IN)];
            poll(&mut fds, Some(&Timespec { tv_sec: 5, tv_nsec: 0 })).unwrap();
        }
    }

    fn connected(&mut self, id: u64) {
        let is_connected = |event: &FlowEvent| matches!(event, FlowEvent::Connected { .. });
        self.until("connected", |seen| seen.events.iter().any(is_connected), id);
    }
}

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|at| u8::try_from(at % 251).unwrap()).collect()
}

#[test]
fn a_megabyte_goes_both_ways_and_both_directions_end() {
    let mut rig = Rig::new();
    let (listener, address) = listener();
    let peer = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut writer = stream.try_clone().unwrap();
        let writing = thread::spawn(move || writer.write_all(&bytes(1 << 20)).unwrap());
        let mut got = Vec::new();
        stream.read_to_end(&mut got).unwrap();
        writing.join().unwrap();
        got
    });
    rig.open(1, Transport::Tcp, address);
    rig.connected(1);
    let FlowEvent::Connected { local, path_mtu } = rig.seen(1).events[0] else { panic!() };
    assert!(local.ip().is_loopback() && path_mtu > 1280, "{path_mtu}");
    rig.seen(1).shuts_down = true;
    rig.send(1, &bytes(1 << 20));
    rig.until("finished", |seen| seen.events.contains(&FlowEvent::Finished), 1);
    assert!(rig.seen(1).received == bytes(1 << 20));
    assert!(peer.join().unwrap() == bytes(1 << 20), "it saw our end behind the last byte");
    assert_eq!(rig.seen(1).events.len(), 2, "{:?}", rig.seen(1).events);
}

#[test]
fn a_peer_that_does_not_read_holds_the_engine_up_and_nothing_else() {
    let mut rig = Rig::new();
    let (listener, address) = listener();
    rig.open(1, Transport::Tcp, address);
    rig.connected(1);
    let (mut stream, _) = listener.accept().unwrap();
    // More than the sockets hold.
    let all = bytes(64 << 20);
    rig.send(1, &all);
    for _ in 0..200 {
        rig.0.turn(&mut Nobody).unwrap();
    }
    let seen = rig.seen(1);
    assert!(seen.sent < all.len() && seen.sent == seen.credit, "{} {}", seen.sent, seen.credit);
    let peer = thread::spawn(move || {
        let mut got = vec![0; 64 << 20];
        stream.read_exact(&mut got).unwrap();
        got
    });
    rig.until("all sent", |seen| seen.sent == seen.to_send.len(), 1);
    while !peer.is_finished() {
        rig.0.turn(&mut Nobody).unwrap();
    }
    assert!(peer.join().unwrap() == all);
}

#[test]
fn reading_stops_at_the_credit_and_goes_on() {
    let mut rig = Rig::new();
    let (listener, address) = listener();
    rig.0.engine_mut().flows.insert(FlowId(7), Seen::default());
    rig.ask(7, FlowRequest::Open { transport: Transport::Tcp, to: address });
    rig.ask(7, FlowRequest::Credit { until: 1000 });
    rig.connected(7);
    let (mut stream, _) = listener.accept().unwrap();
    stream.write_all(&bytes(5000)).unwrap();
    rig.until("a thousand", |seen| seen.received.len() >= 1000, 7);
    drop(stream);
    for _ in 0..20 {
        rig.0.turn(&mut Nobody).unwrap();
    }
    assert_eq!(rig.seen(7).received.len(), 1000);
    rig.ask(7, FlowRequest::Credit { until: u64::MAX });
    rig.until("finished", |seen| seen.events.contains(&FlowEvent::Finished), 7);
    assert_eq!(rig.seen(7).received, bytes(5000), "its end did not overtake what was read late");
}

#[test]
fn what_cannot_be_reached_is_said_before_anything_is_answered() {
    let mut rig = Rig::new();
    let (listener, closed) = listener();
    drop(listener);
    rig.open(1, Transport::Tcp, closed);
    rig.until("refused", |seen| !seen.events.is_empty(), 1);
    assert_eq!(rig.seen(1).events, [FlowEvent::Failed(FlowError::Refused)]);
    rig.open(2, Transport::Tcp, "198.51.100.1:9".parse().unwrap());
    rig.until("no route", |seen| !seen.events.is_empty(), 2);
    assert_eq!(rig.seen(2).events, [FlowEvent::Failed(FlowError::NetUnreachable)]);
    ip("route add prohibit 203.0.113.0/24");
    rig.open(3, Transport::Tcp, "203.0.113.1:9".parse().unwrap());
    rig.until("prohibited", |seen| !seen.events.is_empty(), 3);
    assert_eq!(rig.seen(3).events, [FlowEvent::Failed(FlowError::Prohibited)]);
}

#[test]
fn a_reset_is_seen_both_ways() {
    let mut rig = Rig::new();
    let (listener, address) = listener();
    rig.open(1, Transport::Tcp, address);
    rig.connected(1);
    let (stream, _) = listener.accept().unwrap();
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(stream);
    rig.until("reset", |seen| seen.events.len() > 1, 1);
    assert_eq!(rig.seen(1).events[1], FlowEvent::Failed(FlowError::Reset));

    rig.open(2, Transport::Tcp, address);
    rig.connected(2);
    let (mut stream, _) = listener.accept().unwrap();
    rig.ask(2, FlowRequest::Reset);
    rig.0.turn(&mut Nobody).unwrap();
    let error = stream.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);

    rig.open(3, Transport::Tcp, address);
    rig.connected(3);
    let (mut stream, _) = listener.accept().unwrap();
    rig.send(3, b"the last words");
    rig.ask(3, FlowRequest::Close);
    rig.0.turn(&mut Nobody).unwrap();
    let mut got = String::new();
    stream.read_to_string(&mut got).unwrap();
    assert_eq!(got, "the last words");
    drop(TcpStream::connect(address));
}

#[test]
fn datagrams_go_and_come_and_an_icmp_error_is_an_event() {
    let mut rig = Rig::new();
    let echo = UdpSocket::bind("127.0.0.1:0").unwrap();
    echo.set_read_timeout(Some(PATIENCE)).unwrap();
    rig.open(1, Transport::Udp, echo.local_addr().unwrap());
    rig.connected(1);
    rig.seen(1).credit = usize::MAX;
    let mut buf = [0; 2000];
    for round in 1..4_u8 {
        rig.send(1, &[round; 900]);
        rig.0.turn(&mut Nobody).unwrap();
        let (count, from) = echo.recv_from(&mut buf).unwrap();
        assert_eq!(count, 900);
        echo.send_to(&buf[..count], from).unwrap();
        let rounds = usize::from(round);
        rig.until("an echo", |seen| seen.received.len() == 900 * rounds, 1);
    }
    let closed = echo.local_addr().unwrap();
    drop(echo);
    rig.send(1, b"nobody");
    rig.until("refused", |seen| seen.events.len() > 1, 1);
    assert_eq!(rig.seen(1).events[1], FlowEvent::Error(FlowError::Refused));
    // The flow goes on.
    let echo = UdpSocket::bind(closed).unwrap();
    echo.set_read_timeout(Some(PATIENCE)).unwrap();
    rig.send(1, b"again");
    rig.0.turn(&mut Nobody).unwrap();
    assert_eq!(echo.recv(&mut buf).unwrap(), 5);
}

#[test]
fn flows_in_the_thousands_and_none_is_searched_for() {
    let mut rig = Rig::new();
    let (listener, address) = listener();
    let mut streams = Vec::new();
    // No more at once than the listener's backlog has room for.
    for wave in 0..8 {
        let ids = wave * 50..(wave + 1) * 50;
        ids.clone().for_each(|id| rig.open(id, Transport::Tcp, address));
        ids.clone().for_each(|id| rig.connected(id));
        streams.extend(ids.map(|_| listener.accept().unwrap().0));
    }
    streams[7].write_all(b"one").unwrap();
    let of_seven = streams[7].peer_addr().unwrap();
    let probe = rig.0.engine();
    let is_it = |seen: &&Seen| matches!(seen.events[0], FlowEvent::Connected { local, .. } if local == of_seven);
    let id = *probe.flows.iter().find(|(_, seen)| is_it(seen)).unwrap().0;
    rig.until("one", |seen| seen.received == b"one", id.0);
    let packets: usize = rig.0.engine().flows.values().map(|seen| seen.packets).sum();
    assert_eq!(packets, 1, "nothing was read of any other");
}
