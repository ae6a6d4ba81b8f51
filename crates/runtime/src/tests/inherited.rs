//! Inherited descriptors.

use crate::port::kinds::fd::SocketPort;
use crate::port::spec::PortSpec;
use crate::tests::support::{Host, Loop, PATIENCE, echo, enter, v4};
use adit_device::{DeviceOptions, Mode};
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::sync::atomic::{AtomicI32, Ordering};

/// As a descriptor is that a parent left open; its number.
pub(super) fn inherited(fd: impl Into<OwnedFd>) -> i32 {
    // A number can be taken once.
    static NEXT: AtomicI32 = AtomicI32::new(100);
    let least = NEXT.fetch_add(1, Ordering::Relaxed);
    let fd = rustix::io::fcntl_dupfd_cloexec(fd.into(), least).unwrap();
    rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::empty()).unwrap();
    let number = fd.as_raw_fd();
    // The port will own it.
    std::mem::forget(fd);
    number
}

fn frame(len: usize) -> Vec<u8> {
    let mut frame = vec![7; len];
    frame[..6].fill(0xff);
    frame[6..12].copy_from_slice(&[2, 0, 0, 0, 0, 9]);
    frame
}

#[test]
fn a_stream_and_a_datagram_socket_exchange_frames() {
    enter();
    let (ours, mut stream) = UnixStream::pair().unwrap();
    let (theirs, datagram) = UnixDatagram::pair().unwrap();
    let specs = [format!("fd:{}", inherited(ours)), format!("fd:{}", inherited(theirs))];
    let mut running = Loop::start(&[&specs[0], &specs[1]]);
    let sent = frame(100);
    stream.write_all(&[&100_u32.to_be_bytes()[..], &sent].concat()).unwrap();
    datagram.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut buf = [0; 2000];
    assert_eq!(datagram.recv(&mut buf).unwrap(), 100);
    assert_eq!(buf[..100], sent);
    datagram.send(&[1, 2, 3]).unwrap();
    datagram.send(&sent[..60]).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.read_exact(&mut buf[..64]).unwrap();
    assert_eq!(buf[..64], [&60_u32.to_be_bytes()[..], &sent[..60]].concat());
    assert_eq!(running.counters(1).malformed, 1, "three bytes are no frame");
    drop(stream);
    assert_eq!(running.wait_for("gone 0"), "gone 0: the other end closed the connection");
}

#[test]
fn a_queue_that_another_program_opened_is_a_port() {
    enter();
    let (a, b) = (Host::new(), Host::new());
    let device =
        a.run(|| DeviceOptions::new(Mode::Tap).name("t0".parse().unwrap()).open().unwrap());
    let queue = device.queues()[0].as_fd().try_clone_to_owned().unwrap();
    let number = inherited(queue);
    let tap = format!("tap:t0,netns={}", b.path());
    let _running = Loop::start(&[&format!("fd:{number}"), &tap]);
    drop(device);
    a.address("t0", 1);
    b.address("t0", 2);
    echo(&a, &b, v4(2), 1000);
}

#[test]
fn a_closed_descriptor_and_one_of_ours_are_refused() {
    enter();
    let open = |number: i32| format!("fd:{number}").parse::<PortSpec>().unwrap().open();
    let hint = |number| open(number).unwrap_err().details().hint.clone().unwrap();
    // Rust opens with FD_CLOEXEC: it is this program's.
    let (ours, _theirs) = UnixStream::pair().unwrap();
    assert!(hint(ours.as_raw_fd()).contains("Only inherited descriptors"));
    assert!(hint(999).contains("before the program starts"));
    let file = std::fs::File::open("/dev/null").unwrap();
    assert!(open(inherited(file)).is_err(), "a device that is no TAP");
    let (reader, _writer) = rustix::pipe::pipe().unwrap();
    let hint = hint(inherited(reader));
    assert!(hint.contains("TAP queue"), "{hint}");
    assert!(SocketPort::new("x", UnixDatagram::unbound().unwrap().into()).is_err(), "no peer");
    assert_eq!("fd:1".parse::<PortSpec>().unwrap_err().at, 3);
    assert!("fd:5,tun".parse::<PortSpec>().unwrap().is_layer3());
}
