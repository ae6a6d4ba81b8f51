//! Engines behind ports of others: a NAT as a port of a switch, a segment as a port of a NAT.

use crate::port::Port;
use crate::port::kind::Opened;
use crate::port::spec::PortSpec;
use crate::runner::event::{Event, Next};
use crate::runner::nested::Nested;
use crate::runner::segment::{SegmentEvent, SegmentOwner};
use crate::runner::{Handler, Runner};
use crate::tests::guests::gateway;
use crate::tests::support::{Folder, Host, PATIENCE, echo, enter, ip, transfer};
use crate::wake::mailbox::Remote;
use adit_device::Netns;
use adit_engine::switch::{PortConfig, Switch, SwitchConfig};
use adit_engine::{Engine, PortId};
use adit_packet::{Pool, PoolConfig};
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;

const NAT: PortId = PortId(0);
const SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 53));

/// More than the buffers of a pool hold: they must come back.
const LEN: usize = 30_000_000;

/// Stops at the alarm.
struct Owner;

impl<E: Engine> Handler<E> for Owner {
    fn event(&mut self, _: &mut Runner<E>, event: Event) -> Next {
        if matches!(event, Event::Alarm) { Next::Stop } else { Next::Continue }
    }
}

/// A loop on a thread of its own.
struct Running<E: Engine> {
    remote: Remote<Runner<E>>,
    thread: Option<JoinHandle<()>>,
}

impl<E: Engine + Send + 'static> Running<E> {
    fn start(mut runner: Runner<E>) -> Self {
        let remote = runner.remote().unwrap();
        let thread = Some(std::thread::spawn(move || runner.run(&mut Owner).unwrap()));
        Self { remote, thread }
    }
}

impl<E: Engine> Drop for Running<E> {
    fn drop(&mut self) {
        let _ = self.remote.post(|runner| runner.set_alarm(Some(runner.now())));
        let result = self.thread.take().map(JoinHandle::join);
        if !std::thread::panicking() {
            result.unwrap().expect("the loop does not panic");
        }
    }
}

fn pool() -> Pool {
    Pool::new(PoolConfig::default())
}

fn opened(spec: &str) -> Opened {
    spec.parse::<PortSpec>().unwrap().open().unwrap_or_else(|error| panic!("{spec}: {error:?}"))
}

/// Two hosts of the NAT's network, and the server's address in this namespace.
fn hosts() -> (Host, Host, Host) {
    enter();
    ip("addr add 192.0.2.53/32 dev lo");
    (Host::new(), Host::new(), Host(Netns::current().unwrap()))
}

/// Gives the TAP of a host an address of the NAT's network.
fn address(host: &Host, number: u8) {
    host.ip("link set t0 up");
    host.ip(&format!("addr add 10.0.2.{number}/24 dev t0"));
    host.ip("route add default via 10.0.2.2");
}

/// Both hosts reach the server and each other.
fn all_is_reached(left: &Host, right: &Host, here: &Host) {
    address(left, 15);
    address(right, 16);
    transfer(left, here, SERVER, LEN);
    let listener = here.run(|| std::net::TcpListener::bind((SERVER, 0)).unwrap());
    let to = listener.local_addr().unwrap();
    let sender = std::thread::spawn(move || {
        use std::io::Write;
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(&vec![b'x'; LEN]).unwrap();
    });
    let mut stream =
        right.run(|| std::net::TcpStream::connect_timeout(&to, PATIENCE)).expect("it connects");
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let read = std::io::copy(&mut stream, &mut std::io::sink()).unwrap();
    assert_eq!(usize::try_from(read), Ok(LEN));
    sender.join().unwrap();
    echo(left, here, SERVER, 9000);
    transfer(left, right, [10, 0, 2, 16].into(), 100_000);
}

#[test]
fn a_nat_is_a_port_of_a_switch() {
    let (left, right, here) = hosts();
    let switch = Switch::new(SwitchConfig::default()).unwrap();
    let mut runner = Runner::new(switch, pool()).unwrap();
    let inner = Runner::new(gateway(), pool()).unwrap();
    let nat = Nested::new("nat", Some(1500), inner, NAT, Owner).unwrap();
    let mut ports: Vec<Box<dyn Port>> = vec![Box::new(nat)];
    for host in [&left, &right] {
        let Opened::Ports(mut tap) = opened(&format!("tap:t0,netns={}", host.path())) else {
            panic!("a listener")
        };
        ports.append(&mut tap);
    }
    for (number, port) in (1..).zip(ports) {
        runner.engine_mut().add_port(PortId(number), PortConfig::default()).unwrap();
        runner.attach(PortId(number), port).unwrap();
    }
    let _running = Running::start(runner);
    all_is_reached(&left, &right, &here);
}

/// Waits for an event of a segment.
fn wait_for(events: &Receiver<SegmentEvent>, part: &str) {
    loop {
        let event = format!("{:?}", events.recv_timeout(PATIENCE).expect(part));
        if event.contains(part) {
            return;
        }
    }
}

#[test]
fn a_segment_is_a_port_of_a_nat() {
    let (left, right, here) = hosts();
    let folder = Folder::new();
    let path = folder.path("guests");
    let mut texts: Vec<String> =
        [&left, &right].map(|host| format!("tap:t0,netns={}", host.path())).to_vec();
    texts.push(format!("unix:{}", path.display()));
    let (tell, events) = channel();
    let observer = Box::new(move |event| {
        let _ = tell.send(event);
    });
    let all = texts.iter().map(|text| opened(text));
    let segment = SegmentOwner::join("guests", all, 7, observer).unwrap();
    let mut runner = Runner::new(gateway(), pool()).unwrap();
    runner.attach(NAT, Box::new(segment)).unwrap();
    let running = Running::start(runner);
    all_is_reached(&left, &right, &here);
    let guest = UnixStream::connect(&path).unwrap();
    wait_for(&events, "Added");
    drop(guest);
    wait_for(&events, "Ended");
    for host in [&left, &right] {
        host.ip("link del t0");
        wait_for(&events, "Ended");
    }
    // The listener is left; it goes with the segment.
    drop(running);
    assert!(!path.exists());
}
