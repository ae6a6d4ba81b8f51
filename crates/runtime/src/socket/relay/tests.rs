//! Sockets of one namespace that lead to those of another.

use super::{Relay, SENDERS_MAX};
use adit_device::Netns;
use adit_packet::Instant;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

/// Enters a network of its own.
fn enter() -> Netns {
    Netns::enter_new().expect("run the tests under `unshare -Urnm --`");
    let up = Command::new("ip").args(["link", "set", "lo", "up"]).status().unwrap();
    assert!(up.success());
    Netns::current().unwrap()
}

/// A relay that turns on a thread, in the network of the caller.
struct Running {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Relay>>,
}

impl Running {
    fn start(mut relay: Relay) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let turn = move || {
            while !stopped.load(Ordering::Relaxed) {
                let mut fds = [rustix::event::PollFd::new(&relay, rustix::event::PollFlags::IN)];
                let tenth = rustix::event::Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
                rustix::event::poll(&mut fds, Some(&tenth)).unwrap();
                relay.turn(Instant::ZERO).unwrap();
            }
            relay
        };
        Self { stop, thread: Some(std::thread::spawn(turn)) }
    }

    fn stop(&mut self) -> Option<Relay> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().map(|thread| thread.join().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Two networks: servers are in the outer one, where this thread is.
struct World {
    inner: Netns,
    outer: Netns,
}

impl World {
    fn new() -> Self {
        let inner = enter();
        Self { inner, outer: enter() }
    }

    /// Does something in the inner network.
    fn inside<T>(&self, work: impl FnOnce() -> T) -> T {
        self.inner.enter().unwrap();
        let result = work();
        self.outer.enter().unwrap();
        result
    }
}

#[test]
fn connections_are_passed_on_whole_with_both_their_ends() {
    let world = World::new();
    for host in ["127.0.0.1", "::1"] {
        let at = |port: u16| SocketAddr::new(host.parse().unwrap(), port);
        let server = TcpListener::bind(at(0)).unwrap();
        let to = server.local_addr().unwrap();
        let listener = world.inside(|| TcpListener::bind(at(7001)).unwrap());
        let mut relay = Relay::new().unwrap();
        relay.add_listener(listener.into(), to).unwrap();
        let mut running = Running::start(relay);
        let serve = std::thread::spawn(move || {
            let (mut stream, _) = server.accept().unwrap();
            let mut got = Vec::new();
            stream.read_to_end(&mut got).unwrap();
            stream.write_all(&got).unwrap();
        });
        let mut client = world.inside(|| TcpStream::connect(at(7001)).unwrap());
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        let sent: Vec<u8> =
            (0..10_000_000_u32).map(|at| at.to_le_bytes()[(at % 3) as usize]).collect();
        client.write_all(&sent).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut got = Vec::new();
        client.read_to_end(&mut got).unwrap();
        assert!(got == sent, "{host}: {} bytes", got.len());
        serve.join().unwrap();
        // Nobody listens there any more: a RST.
        let mut refused = world.inside(|| TcpStream::connect(at(7001)).unwrap());
        refused.set_read_timeout(Some(PATIENCE)).unwrap();
        assert!(refused.read(&mut [0]).is_err(), "{host}");
        let relay = running.stop().unwrap();
        assert_eq!(relay.free.len(), relay.slots.len(), "nothing is left");
    }
}

#[test]
fn datagrams_are_passed_on_and_answered_each_sender_by_its_own_socket() {
    let world = World::new();
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    server.set_read_timeout(Some(PATIENCE)).unwrap();
    let to = server.local_addr().unwrap();
    let inner = world.inside(|| UdpSocket::bind("127.0.0.1:7001").unwrap());
    let mut relay = Relay::new().unwrap();
    relay.add_socket(inner.into(), to).unwrap();
    let mut running = Running::start(relay);
    let mut buffer = [0; 100];
    let mut seen = std::collections::BTreeSet::new();
    for number in 0..SENDERS_MAX + 10 {
        let client = world.inside(|| UdpSocket::bind("127.0.0.1:0").unwrap());
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        for _ in 0..2 {
            let text = format!("question {number}");
            client.send_to(text.as_bytes(), "127.0.0.1:7001").unwrap();
            let (len, from) = server.recv_from(&mut buffer).unwrap();
            assert_eq!(&buffer[..len], text.as_bytes());
            seen.insert(from);
            server.send_to(format!("answer {number}").as_bytes(), from).unwrap();
            let (len, from) = client.recv_from(&mut buffer).unwrap();
            assert_eq!(&buffer[..len], format!("answer {number}").as_bytes());
            assert_eq!(from, "127.0.0.1:7001".parse().unwrap());
        }
    }
    assert!(seen.len() > SENDERS_MAX / 2, "{}", seen.len());
    let relay = running.stop().unwrap();
    assert_eq!((relay.senders.len(), relay.lost()), (SENDERS_MAX, 0));
}
