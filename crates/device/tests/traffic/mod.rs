//! Packets for the tests against the real kernel, and Python programs for what only a bare
//! descriptor shows.
#![allow(dead_code, reason = "each test binary uses a part of this")]

use crate::support;
use adit_device::{DeviceOptions, IfName, Mode, Queue};
use std::io::{BufRead, BufReader, Lines};
use std::net::Ipv4Addr;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// The address of the device, and one behind it.
pub(crate) const HERE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
pub(crate) const THERE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

/// How long anything may take before a test fails.
pub(crate) const SOON: Duration = Duration::from_secs(60);

/// A namespace of its own in which IPv6 says nothing by itself.
pub(crate) fn enter_quiet() {
    support::enter();
    quiet();
}

/// In the namespace of the calling thread, IPv6 says nothing by itself from now on.
pub(crate) fn quiet() {
    for which in ["all", "default"] {
        let path = format!("/proc/sys/net/ipv6/conf/{which}/disable_ipv6");
        std::fs::write(path, "1").expect("switch IPv6 off");
    }
}

pub(crate) fn name(text: &str) -> IfName {
    text.parse().expect("a name for an interface")
}

/// A TUN device of that name, which does not wait.
pub(crate) fn tun(text: &str) -> DeviceOptions {
    DeviceOptions::new(Mode::Tun).name(name(text).into()).nonblocking(true)
}

/// A TAP device of that name, which does not wait.
pub(crate) fn tap(text: &str) -> DeviceOptions {
    DeviceOptions::new(Mode::Tap).name(name(text).into()).nonblocking(true)
}

/// With the address [`HERE`], up.
pub(crate) fn up(options: DeviceOptions) -> DeviceOptions {
    let prefix = format!("{HERE}/24").parse().expect("a prefix");
    options.address(adit_device::netlink::Address::new(prefix)).up(true)
}

/// The errno of a call that is to fail.
pub(crate) fn errno<T: std::fmt::Debug>(result: std::io::Result<T>) -> i32 {
    result.expect_err("it is to fail").raw_os_error().expect("the kernel's own error")
}

/// Receives one packet, or fails the test.
pub(crate) fn recv(queue: &Queue) -> Vec<u8> {
    let mut buf = vec![0; adit_device::RECORD_LEN_MAX];
    let ready = queue.wait(false, Some(SOON)).expect("poll");
    assert!(ready.readable, "no packet came: {ready:?}");
    let len = queue.recv(&mut buf).expect("a packet");
    buf.truncate(len);
    buf
}

/// Reads all that is there and says how many packets it was.
pub(crate) fn drain(queue: &Queue) -> usize {
    let mut buf = vec![0; adit_device::RECORD_LEN_MAX];
    let mut count = 0;
    while queue.recv(&mut buf).is_ok() {
        count += 1;
    }
    count
}

/// Tries until it holds; fails the test if it never does.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < SOON, "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The sum of RFC 1071 over `bytes`, not yet inverted, on top of `sum`.
pub(crate) fn sum(sum: u16, bytes: &[u8]) -> u16 {
    let mut total = u32::from(sum);
    for pair in bytes.chunks(2) {
        total += u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
        total = (total & 0xffff) + (total >> 16);
    }
    u16::try_from(total).expect("folded")
}

fn short(len: usize) -> [u8; 2] {
    u16::try_from(len).expect("at most 64 KiB").to_be_bytes()
}

/// An IPv4 packet of protocol `protocol`.
pub(crate) fn ipv4(from: Ipv4Addr, to: Ipv4Addr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, protocol, 0, 0];
    packet[2..4].copy_from_slice(&short(20 + payload.len()));
    packet.extend(from.octets());
    packet.extend(to.octets());
    let check = !sum(0, &packet);
    packet[10..12].copy_from_slice(&check.to_be_bytes());
    packet.extend(payload);
    packet
}

/// The sum over the pseudo header of `packet`, an IPv4 packet.
pub(crate) fn pseudo(packet: &[u8]) -> u16 {
    let start = sum(u16::from(packet[9]), &packet[12..20]);
    sum(start, &short(packet.len() - 20))
}

/// An IPv4 packet with a UDP datagram in it; `whole` if its checksum is finished, otherwise it
/// holds the pseudo header only.
pub(crate) fn udp(from: (Ipv4Addr, u16), to: (Ipv4Addr, u16), data: &[u8], whole: bool) -> Vec<u8> {
    let mut datagram = Vec::with_capacity(8 + data.len());
    datagram.extend(from.1.to_be_bytes());
    datagram.extend(to.1.to_be_bytes());
    datagram.extend(short(8 + data.len()));
    datagram.extend([0, 0]);
    datagram.extend(data);
    let mut packet = ipv4(from.0, to.0, 17, &datagram);
    let mut check = pseudo(&packet);
    if whole {
        check = !sum(check, &packet[20..]);
    }
    packet[26..28].copy_from_slice(&check.to_be_bytes());
    packet
}

/// Runs a Python program that uses a bare descriptor; any exception in it fails the test.
///
/// It has `tun()`, `setiff(fd, name, flags)` and `getiff(fd)`, both giving name and flags,
/// `value(fd, number, value)` for an ioctl by value, `fails(errno, function, ...)`, `udp(data)` and
/// `exists(name)`.
pub(crate) fn python(program: &str) -> String {
    const PRELUDE: &str = r"
import errno as E, fcntl, os, select, socket, struct, subprocess, sys, threading, time

def tun():
    return os.open('/dev/net/tun', os.O_RDWR | os.O_NONBLOCK)

def unpack(raw):
    name, flags = struct.unpack('16sH22x', raw)
    return name.rstrip(b'\0').decode(), flags

def setiff(fd, name, flags):
    raw = name if isinstance(name, bytes) else name.encode()
    return unpack(fcntl.ioctl(fd, 0x400454ca, struct.pack('16sH22x', raw, flags)))

def made(name, flags):
    fd = tun()
    setiff(fd, name, flags)
    return fd

def getiff(fd):
    return unpack(fcntl.ioctl(fd, 0x800454d2, bytes(40)))

def value(fd, number, value):
    return fcntl.ioctl(fd, 0x40045400 | number, value)

def pointer(fd, number, value):
    return fcntl.ioctl(fd, 0x40045400 | number, struct.pack('i', value))

def fails(code, function, *args):
    try:
        result = function(*args)
    except OSError as error:
        assert error.errno == code, (error, args)
    else:
        raise AssertionError(('it worked', args, result))

def udp(data, to=('192.0.2.2', 9)):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.sendto(data, to)

def exists(name):
    return name in (n for _, n in socket.if_nameindex())

TUN, TAP, NAPI, FRAGS, NO_CARRIER, MQ = 1, 2, 0x10, 0x20, 0x40, 0x100
PERSIST, NO_PI, ONE_QUEUE, VNET, EXCL = 0x800, 0x1000, 0x2000, 0x4000, 0x8000
";
    support::run_words(["python3", "-c", &format!("{PRELUDE}\n{program}")])
}

/// A Python program that runs beside the test; it ends with its input, at the latest.
#[derive(Debug)]
pub(crate) struct Beside {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Beside {
    /// Starts it and waits for its line "ready".
    pub(crate) fn start(program: &str) -> Self {
        let mut child = Command::new("timeout")
            .args(["120", "python3", "-c", program])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("run python3");
        let lines = BufReader::new(child.stdout.take().expect("its output is a pipe")).lines();
        let mut beside = Self { child, lines };
        assert_eq!(beside.line(), "ready");
        beside
    }

    /// The next line that it prints.
    pub(crate) fn line(&mut self) -> String {
        self.lines.next().expect("it still runs").expect("a line")
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        // It is our own child, and it has not been waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
