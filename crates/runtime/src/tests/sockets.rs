//! Unix sockets and byte streams.

use crate::port::byte_stream::ByteStream;
use crate::port::spec::PortSpec;
use crate::port::stream::StreamPort;
use crate::tests::support::{Folder, Host, Loop, PATIENCE, echo, enter, transfer, v4};
use adit_engine::PortId;
use std::io::{Read, Write};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};

/// A guest on a stream, as QEMU is one.
struct Guest(UnixStream);

impl Guest {
    fn new(path: &Path) -> Self {
        let stream = UnixStream::connect(path).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self(stream)
    }

    fn send(&mut self, frame: &[u8]) {
        let length = u32::try_from(frame.len()).unwrap().to_be_bytes();
        self.0.write_all(&[&length[..], frame].concat()).unwrap();
    }

    fn recv(&mut self) -> Vec<u8> {
        let mut length = [0; 4];
        self.0.read_exact(&mut length).unwrap();
        let mut frame = vec![0; usize::try_from(u32::from_be_bytes(length)).unwrap()];
        self.0.read_exact(&mut frame).unwrap();
        frame
    }
}

/// A broadcast frame that can be told from others.
fn frame(number: u8, len: usize) -> Vec<u8> {
    let mut frame = vec![number; len];
    frame[..6].fill(0xff);
    frame[6..14].copy_from_slice(&[2, 0, 0, 0, 0, number, 0x88, 0xb5]);
    frame
}

#[test]
fn many_guests_on_one_stream_socket() {
    enter();
    let folder = Folder::new();
    let path = folder.path("s");
    let mut running = Loop::start(&[&format!("unix:{}", path.display())]);
    let mut guests: Vec<Guest> = (0..5).map(|_| Guest::new(&path)).collect();
    for id in 0..5 {
        running.wait_for(&format!("new {id}: unix:"));
    }
    for (number, len) in [(1, 14), (2, 60), (3, 1514), (4, 65_557)] {
        let sent = frame(number, len);
        guests[0].send(&sent);
        for guest in &mut guests[1..] {
            assert!(guest.recv() == sent, "a frame of {len} bytes");
        }
    }
    // Byte by byte it is the same frame.
    let sent = frame(9, 30);
    for byte in [&[0, 0, 0, 30], &sent[..]].concat() {
        guests[4].0.write_all(&[byte]).unwrap();
    }
    assert_eq!(guests[0].recv(), sent);
    drop(guests.pop());
    let gone = running.wait_for("gone");
    assert_eq!(gone, "gone 4: the other end closed the connection");
    guests[0].send(&sent);
    // The frame sent byte by byte is still there before it.
    assert_eq!(guests[1].recv(), sent);
    assert_eq!(guests[1].recv(), sent);
    // Too short is dropped, too long ends the guest.
    guests[0].0.write_all(&[0, 0, 0, 0, 0, 0, 0, 2, 1, 2]).unwrap();
    guests[0].send(&frame(7, 20));
    assert_eq!(guests[1].recv(), frame(7, 20));
    assert_eq!(running.counters(0).malformed, 2);
    guests[0].0.write_all(&65_558_u32.to_be_bytes()).unwrap();
    assert_eq!(
        running.wait_for("gone 0"),
        "gone 0: the other end sent a frame of more than 64 KiB"
    );
    drop(running);
    assert!(!path.exists(), "the socket's file goes with it");
}

#[test]
fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
    enter();
    let folder = Folder::new();
    let path = folder.path("s");
    let open = |text: &str| text.parse::<PortSpec>().unwrap().open();
    for kind in ["", ",type=dgram"] {
        let spec = format!("unix:{}{kind}", path.display());
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "a socket without a process");
        let first = open(&spec).unwrap();
        let error = open(&spec).unwrap_err();
        assert!(error.details().hint.as_ref().unwrap().contains("a process has that socket"));
        let other = format!("unix:{}", path.display());
        assert!(open(&other).is_err(), "of another type as well");
        drop(first);
        assert!(!path.exists());
    }
    std::fs::write(&path, "not a socket").unwrap();
    let error = open(&format!("unix:{}", path.display())).unwrap_err();
    assert!(error.details().hint.as_ref().unwrap().contains("not a socket"), "{error:?}");
    assert_eq!(std::fs::read(&path).unwrap(), b"not a socket", "it is left alone");
    let long = "x".repeat(200);
    let error = open(&format!("unix:/{long}")).unwrap_err();
    assert!(error.details().hint.as_ref().unwrap().contains("107 bytes"), "{error:?}");
    assert!(open(&format!("unix:{},connect", folder.path("none").display())).is_err());
}

/// A host with a TAP on a loop of its own, whose other port is `spec`.
fn island(number: u8, spec: &str) -> (Loop, Host) {
    let host = Host::new();
    let running = Loop::start(&[spec, &format!("tap:t0,netns={}", host.path())]);
    host.address("t0", number);
    (running, host)
}

#[test]
fn two_loops_join_by_a_stream_socket() {
    enter();
    let folder = Folder::new();
    let path = folder.path("s");
    let (mut left, a) = island(1, &format!("unix:{}", path.display()));
    let (_right, b) = island(2, &format!("unix:{},connect", path.display()));
    left.wait_for("new");
    echo(&a, &b, v4(2), 100);
    echo(&b, &a, v4(1), 20_000);
    transfer(&a, &b, v4(2), 4 << 20);
    transfer(&b, &a, "2001:db8::1".parse().unwrap(), 4 << 20);
}

#[test]
fn two_loops_join_by_pipes_as_standard_streams_are() {
    enter();
    let (left, a) = island(1, "tap:x0");
    let (mut right, b) = island(2, "tap:x1");
    let (there, there_end) = std::io::pipe().unwrap();
    let (back, back_end) = std::io::pipe().unwrap();
    let add = |running: &Loop, reader: std::io::PipeReader, writer: std::io::PipeWriter| {
        running.with(move |runner, owner| {
            let stream = ByteStream::pair(reader.into(), writer.into()).unwrap();
            owner.add(runner, Box::new(StreamPort::new("stdio", stream)))
        })
    };
    let id = add(&left, there, back_end);
    add(&right, back, there_end);
    echo(&a, &b, v4(2), 20_000);
    transfer(&a, &b, v4(2), 4 << 20);
    transfer(&b, &a, v4(1), 4 << 20);
    left.with(move |runner, _| runner.detach(id).unwrap());
    right.wait_for("gone 2: the other end closed the connection");
}

#[test]
fn a_pipe_that_nobody_reads_ends_the_port() {
    enter();
    let mut running = Loop::start(&[]);
    let (reader, _writer) = std::io::pipe().unwrap();
    let (reader_end, writer) = std::io::pipe().unwrap();
    running.with(move |runner, owner| {
        let stream = ByteStream::pair(reader.into(), writer.into()).unwrap();
        owner.add(runner, Box::new(StreamPort::new("stdio", stream)))
    });
    // Nothing is ever sent, and the other pipe stays open.
    drop(reader_end);
    running.wait_for("gone 0: the other end closed the connection");
}

#[test]
fn guests_with_datagrams() {
    enter();
    let folder = Folder::new();
    let path = folder.path("s");
    let mut running = Loop::start(&[&format!("unix:{},type=dgram", path.display())]);
    let guests: Vec<UnixDatagram> = (0..3)
        .map(|number| {
            let guest = UnixDatagram::bind(folder.path(&number.to_string())).unwrap();
            guest.set_read_timeout(Some(PATIENCE)).unwrap();
            guest.connect(&path).unwrap();
            guest.send(&frame(number, 60)).unwrap();
            running.wait_for(&format!("new {number}: unix:"));
            guest
        })
        .collect();
    let recv = |guest: &UnixDatagram| {
        let mut buf = [0; 70_000];
        let count = guest.recv(&mut buf).unwrap();
        buf[..count].to_vec()
    };
    // What made the second and third known reached those who were there.
    assert_eq!(recv(&guests[0]), frame(1, 60));
    assert_eq!(recv(&guests[0]), frame(2, 60));
    assert_eq!(recv(&guests[1]), frame(2, 60));
    guests[1].send(&frame(7, 9000)).unwrap();
    assert_eq!(recv(&guests[0]), frame(7, 9000));
    assert_eq!(recv(&guests[2]), frame(7, 9000));
    // Nobody can answer one without an address, and no frame is short.
    UnixDatagram::unbound().unwrap().send_to(&frame(8, 60), &path).unwrap();
    guests[1].send(&[1; 13]).unwrap();
    guests[1].send(&[]).unwrap();
    // More than the kernel queues for a receiver arrives when it reads.
    for number in 0..100 {
        guests[1].send(&frame(number, 100)).unwrap();
    }
    for number in 0..100 {
        assert_eq!(recv(&guests[0]), frame(number, 100), "in order");
    }
    let mut guests = guests;
    drop(guests.pop());
    // It is the one who sends that learns of it.
    guests[0].send(&frame(9, 60)).unwrap();
    running.wait_for("gone 2: the other end closed");
    guests[0].send(&frame(9, 60)).unwrap();
    assert_eq!(running.count("new"), 0);
}

#[test]
fn two_loops_join_by_datagrams() {
    enter();
    let folder = Folder::new();
    let (left, right) = (folder.path("l"), folder.path("r"));
    let spec = |local: &Path, remote: &Path| {
        format!("unix:{},type=dgram,remote={}", local.display(), remote.display())
    };
    // The second is not there yet when the first begins to send.
    let (_left, a) = island(1, &spec(&left, &right));
    let (_right, b) = island(2, &spec(&right, &left));
    echo(&a, &b, v4(2), 1400);
    transfer(&a, &b, v4(2), 2 << 20);
    transfer(&b, &a, v4(1), 2 << 20);
}

#[test]
fn a_guest_that_does_not_read_holds_nobody_up() {
    enter();
    let folder = Folder::new();
    let (stream, datagram) = (folder.path("s"), folder.path("d"));
    let mut running = Loop::start(&[
        &format!("unix:{}", stream.display()),
        &format!("unix:{},type=dgram", datagram.display()),
    ]);
    let mut guests: Vec<Guest> = (0..3).map(|_| Guest::new(&stream)).collect();
    let silent = UnixDatagram::bind(folder.path("x")).unwrap();
    silent.send_to(&frame(0, 60), &datagram).unwrap();
    for _ in 0..4 {
        running.wait_for("new");
    }
    for guest in &mut guests {
        assert_eq!(guest.recv(), frame(0, 60));
    }
    // Far more than queues and sockets hold; the third never reads.
    let big = frame(1, 60_000);
    for _ in 0..100 {
        guests[0].send(&big);
        assert!(guests[1].recv() == big, "the second has each at once");
    }
    let dropped = running.with(|runner, _| {
        let full = |id| runner.port(PortId(id)).unwrap().1.queue_full;
        (0..4).map(full).collect::<Vec<_>>()
    });
    assert_eq!(dropped.iter().filter(|&&full| full > 0).count(), 2, "{dropped:?}");
    // What waited for the third is in order when it reads at last, and it goes on.
    assert!(guests[2].recv() == big);
}

#[test]
fn a_thousand_streams_of_garbage() {
    enter();
    let folder = Folder::new();
    let path = folder.path("s");
    let mut running = Loop::start(&[&format!("unix:{}", path.display())]);
    let (mut first, mut second) = (Guest::new(&path), Guest::new(&path));
    running.wait_for("new 0");
    running.wait_for("new 1");
    let mut random = 88_172_645_463_325_252_u64;
    let mut next = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    for _ in 0..1000 {
        let mut stream = UnixStream::connect(&path).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        let len = usize::try_from(next() % 3000).unwrap();
        let mut bytes: Vec<u8> = (0..len).map(|_| next().to_be_bytes()[3]).collect();
        // Half of them begin as a stream does.
        if next() % 2 == 0 && len >= 4 {
            bytes[..2].fill(0);
        }
        // The loop may have had enough of it.
        let _ = stream.write_all(&bytes);
    }
    let start = Instant::now();
    while running.with(|runner, _| (2..1002).any(|id| runner.port(PortId(id)).is_some())) {
        assert!(start.elapsed() < PATIENCE, "all of them end");
        std::thread::sleep(Duration::from_millis(5));
    }
    first.send(&frame(3, 100));
    // Some garbage was a frame.
    while second.recv() != frame(3, 100) {}
    let out = running.with(|runner, _| runner.engine_and_outbox().2.pool().out());
    assert!(out.0 + out.1 <= 2, "no buffer is lost: {out:?}");
}
