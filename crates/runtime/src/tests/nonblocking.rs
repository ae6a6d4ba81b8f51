//! No port blocks the loop, whatever is behind it.

use crate::error::Result;
use crate::format::pcapng::whole_blocks;
use crate::port::mirror::MirrorPort;
use crate::port::spec::PortSpec;
use crate::port::{Cx, Gone, Port, Recv, Wait};
use crate::tests::support::{Folder, Loop, PATIENCE};
use adit_packet::Batch;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

fn fifo(folder: &Folder) -> PathBuf {
    let path = folder.path("fifo");
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    path
}

/// The error of `open`, which must not wait for the other end of a FIFO.
fn refusal<T>(open: impl FnOnce() -> Result<T> + Send + 'static) -> String {
    let (result, done) = channel();
    std::thread::spawn(move || result.send(open().map(drop)));
    let opened = done.recv_timeout(PATIENCE).expect("opening does not block");
    opened.unwrap_err().to_string()
}

#[test]
fn a_fifo_is_refused_as_a_recording() {
    let folder = Folder::new();
    let spec: PortSpec = format!("pcap:{}", fifo(&folder).display()).parse().unwrap();
    let message = refusal(move || spec.open());
    assert!(message.ends_with("it is not a regular file"), "{message}");
}

#[test]
fn a_fifo_without_a_reader_is_refused_as_a_mirror() {
    let folder = Folder::new();
    let path = fifo(&folder);
    let message = refusal(move || MirrorPort::open(&path, 0x4_0000, None));
    assert!(message.contains("No such device or address"), "{message}");
}

/// A port that brings `left` frames as fast as it can.
struct Source {
    left: u64,
}

impl Port for Source {
    fn name(&self) -> &str {
        "source"
    }

    fn recv(&mut self, cx: &mut Cx<'_>) -> Recv {
        if self.left == 0 {
            return Recv::Nothing;
        }
        let Some(mut packet) = cx.pool.take(1000) else { return Recv::Dropped };
        packet.extend(&[0xff; 1000]).expect("it has room");
        self.left -= 1;
        Recv::Packet(packet)
    }

    fn send(&mut self, cx: &mut Cx<'_>, batch: &mut Batch) -> std::result::Result<(), Gone> {
        batch.give_all(cx.pool);
        Ok(())
    }

    fn has_more(&self) -> bool {
        self.left > 0
    }
}

/// A FIFO with a reader that has read nothing yet, and a mirror that writes into it.
fn sleeping_reader(path: &Path) -> (File, MirrorPort) {
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let reader = OpenOptions::new().read(true).custom_flags(flags).open(path).unwrap();
    (reader, MirrorPort::open(path, 0x4_0000, None).unwrap())
}

fn read_to_end(mut reader: File) -> Vec<u8> {
    let (mut all, mut buf) = (Vec::new(), vec![0; 65_536]);
    loop {
        match reader.read(&mut buf) {
            Ok(0) => return all,
            Ok(len) => all.extend_from_slice(&buf[..len]),
            Err(_) => std::thread::sleep(Duration::from_millis(1)),
        }
    }
}

#[test]
fn a_mirror_whose_reader_sleeps_is_closed_beside_the_loop() {
    const FRAMES: u64 = 10_000;
    let folder = Folder::new();
    let (reader, mirror) = sleeping_reader(&fifo(&folder));
    let running = Loop::start(&[]);
    let id = running.with(|runner, owner| {
        let id = owner.add(runner, Box::new(mirror));
        owner.add(runner, Box::new(Source { left: FRAMES }));
        id
    });
    let started = Instant::now();
    let counters = loop {
        let counters = running.counters(id.0);
        if counters.sent + counters.queue_full == FRAMES {
            break counters;
        }
        assert!(started.elapsed() < PATIENCE, "{counters:?}");
    };
    assert!(counters.queue_full > 0, "the reader sleeps: {counters:?}");
    let elapsed = running.with(move |runner, _| {
        runner.engine_mut().ports.retain(|&port| port != id);
        let started = Instant::now();
        runner.detach(id);
        started.elapsed()
    });
    assert!(elapsed < Duration::from_secs(1), "the loop waited {elapsed:?}");
    let all = read_to_end(reader);
    assert_eq!(whole_blocks(&all, all.len()), (all.len(), counters.sent));
}

#[test]
fn a_loop_ends_although_a_mirror_is_not_read() {
    let folder = Folder::new();
    let (_reader, mirror) = sleeping_reader(&fifo(&folder));
    let running = Loop::start(&[]);
    let id = running.with(|runner, owner| {
        let id = owner.add(runner, Box::new(mirror));
        owner.add(runner, Box::new(Source { left: 1000 }));
        id
    });
    while running.counters(id.0).sent < 1000 {}
    let started = Instant::now();
    drop(running);
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
}

/// A port that is always readable, and whose reads always fail.
struct Failing {
    calls: Arc<AtomicU32>,
    readable: UnixStream,
    _writer: UnixStream,
}

impl Port for Failing {
    fn name(&self) -> &str {
        "failing"
    }

    fn recv(&mut self, _: &mut Cx<'_>) -> Recv {
        self.calls.fetch_add(1, Ordering::Relaxed);
        Recv::Failed(io::ErrorKind::Other.into())
    }

    fn send(&mut self, cx: &mut Cx<'_>, batch: &mut Batch) -> std::result::Result<(), Gone> {
        batch.give_all(cx.pool);
        Ok(())
    }

    fn descriptors(&self, each: &mut dyn FnMut(BorrowedFd<'_>, Wait)) {
        each(self.readable.as_fd(), Wait::Read);
    }
}

#[test]
fn a_read_that_always_fails_is_repeated_with_pauses() {
    let running = Loop::start(&[]);
    let calls = Arc::new(AtomicU32::new(0));
    let (readable, mut writer) = UnixStream::pair().unwrap();
    writer.write_all(&[0]).unwrap();
    let port = Failing { calls: Arc::clone(&calls), readable, _writer: writer };
    running.with(|runner, owner| owner.add(runner, Box::new(port)));
    std::thread::sleep(Duration::from_secs(1));
    let count = calls.load(Ordering::Relaxed);
    assert!((17..100).contains(&count), "{count} reads in a second");
}
