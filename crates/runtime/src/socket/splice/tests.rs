//! Sockets of loopback that are joined.

use crate::socket::splice::joint::{Joint, Turn};
use crate::socket::splice::listener::Listener;
use crate::socket::splice::pipes::{PIPES_MAX, Pipes};
use adit_device::Netns;
use adit_packet::Instant;
use socket2::{SockRef, Socket};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::Command;

/// A client, a server, and what is between them.
struct Joined {
    client: TcpStream,
    server: TcpStream,
    joint: Joint,
}

impl Joined {
    fn new(listener: &TcpListener, room: usize) -> Self {
        let connect = || {
            let far = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let near = Socket::from(listener.accept().unwrap().0);
            for socket in [SockRef::from(&far), SockRef::from(&near)] {
                socket.set_send_buffer_size(room).unwrap();
                socket.set_recv_buffer_size(room).unwrap();
                socket.set_nonblocking(true).unwrap();
            }
            (far, near)
        };
        let ((client, inside), (server, outside)) = (connect(), connect());
        Self { client, server, joint: Joint::new(outside, inside, Instant::ZERO) }
    }

    fn run(&mut self, pipes: &mut Pipes) -> Turn {
        self.joint.run(pipes, Instant::ZERO)
    }

    /// Sends until bytes wait for the server, which reads none.
    fn block(&mut self, pipes: &mut Pipes) {
        while !self.joint.holds_pipe() {
            let _ = self.client.write(&[7; 1 << 16]);
            assert_eq!(self.run(pipes), Turn::Open);
        }
    }
}

/// A listener in a network of its own.
fn listener() -> TcpListener {
    Netns::enter_new().expect("run the tests under `unshare -Urnm --`");
    let up = Command::new("ip").args(["link", "set", "lo", "up"]).status().unwrap();
    assert!(up.success());
    TcpListener::bind("127.0.0.1:0").unwrap()
}

#[test]
fn bytes_pass_also_while_others_hold_all_pipes() {
    let listener = listener();
    let mut pipes = Pipes::default();
    let mut blocked: Vec<Joined> =
        (0..PIPES_MAX).map(|_| Joined::new(&listener, 1 << 16)).collect();
    blocked.iter_mut().for_each(|joined| joined.block(&mut pipes));
    assert!(pipes.take().is_none(), "each has bytes that wait for its server");

    let mut joined = Joined::new(&listener, 1 << 18);
    let data: Vec<u8> = (0..300_000_u32).map(|at| at.to_le_bytes()[(at % 3) as usize]).collect();
    let (mut sent, mut got, mut buffer) = (0, Vec::<u8>::new(), [0; 1 << 16]);
    while got.len() < data.len() {
        sent += joined.client.write(&data[sent..]).unwrap_or(0);
        assert_eq!(joined.run(&mut pipes), Turn::Open);
        match joined.server.read(&mut buffer) {
            Ok(len) => got.extend(&buffer[..len]),
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
    }
    assert!(got == data);
    joined.client.shutdown(Shutdown::Write).unwrap();
    joined.server.shutdown(Shutdown::Write).unwrap();
    while joined.run(&mut pipes) != Turn::Ended {}

    // One that ends gives its pipe up.
    blocked.pop().unwrap().joint.clear(&mut pipes);
    assert!(pipes.take().is_some());
}

#[test]
fn bytes_that_came_before_a_failure_are_passed_on() {
    let listener = listener();
    let (mut pipes, mut joined) = (Pipes::default(), Joined::new(&listener, 1 << 18));
    joined.server.write_all(b"last words").unwrap();
    SockRef::from(&joined.server).set_linger(Some(std::time::Duration::ZERO)).unwrap();
    let Joined { mut client, server, mut joint } = joined;
    drop(server);
    client.write_all(b"x").unwrap();
    while joint.run(&mut pipes, Instant::ZERO) == Turn::Open {}
    client.set_nonblocking(false).unwrap();
    let mut got = [0; 10];
    client.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"last words");
}

#[test]
fn an_accepted_socket_does_not_have_the_hosts_congestion_control() {
    let socket = listener();
    let address = socket.local_addr().unwrap();
    let hosts = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_congestion_control").unwrap();
    let listener = Listener::new(socket.into()).unwrap();
    let client = TcpStream::connect(address).unwrap();
    let (accepted, _) = listener.accept().unwrap().expect("a connection");
    // socket2 returns the kernel's field of fixed length.
    let name = |socket: SockRef<'_>| {
        let name = socket.tcp_congestion().unwrap();
        String::from_utf8(name).unwrap().trim_end_matches('\0').to_owned()
    };
    assert_eq!(name(SockRef::from(&client)), hosts.trim());
    assert_eq!(name(SockRef::from(&accepted)), "reno");
}
