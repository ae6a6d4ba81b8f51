//! A million random byte strings written to devices: nothing panics, memory stays flat, and the
//! device goes on. One test alone in its process, for it measures the memory of the process.

#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of #[test]")]

mod support;
mod traffic;

use adit_device::{Device, DeviceOptions, Offload, OffloadChoice, VnetFormat, VnetLen};
use std::net::UdpSocket;
use traffic::{HERE, SOON, THERE, drain, enter_quiet, tap, tun, udp, up};

/// The byte strings written in all; each of the four devices gets as many.
const STRINGS: usize = 1_000_000;

/// By how much the memory of the process may grow meanwhile, in KiB.
const GROWTH_MAX: usize = 2048;

/// A small generator (xorshift64): the same strings on every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() >> 32).unwrap() % limit
    }
}

/// Without the pages of files: what the process itself has allocated.
fn resident_kib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Writes `count` strings, most of them short, a few as long as anything can be.
fn write_noise(device: &Device, random: &mut Random, noise: &mut [u8], count: usize) -> usize {
    let queue = &device.queues()[0];
    let header = device.layout().len();
    let mut taken = 0;
    for turn in 0..count {
        let len = match random.below(100) {
            0 => random.below(queue.len_max() + header + 100),
            1..10 => random.below(2000),
            _ => random.below(120),
        };
        let at = random.below(noise.len() - len.max(header + 16));
        let string = &mut noise[at..];
        // Half of them get past the first checks: a version, a header that asks for little.
        if turn % 2 == 0 {
            string[..header].fill(0);
            string[header] = if turn % 4 == 0 { 0x45 } else { 0x60 };
        }
        match queue.send(&string[..len]) {
            Ok(sent) => {
                assert_eq!(sent, len);
                taken += 1;
            }
            Err(error) => {
                let errno = error.raw_os_error().unwrap();
                assert!([libc::EINVAL, libc::EMSGSIZE].contains(&errno), "{error}");
            }
        }
        if turn % 256 == 0 {
            drain(queue);
        }
        // What was overwritten is random again.
        for byte in &mut noise[at..at + header + 1] {
            *byte = random.next().to_le_bytes()[0];
        }
    }
    taken
}

fn still_works(device: &Device) {
    let socket = UdpSocket::bind((HERE, 0)).unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    let port = socket.local_addr().unwrap().port();
    let mut record = vec![0; device.layout().len()];
    if device.mode() == adit_device::Mode::Tap {
        record.extend(device.mac().unwrap().0);
        record.extend([2, 0, 0, 0, 0, 9, 8, 0]);
    }
    record.extend(udp((THERE, 9), (HERE, port), b"still", true));
    device.queues()[0].send(&record).unwrap();
    assert_eq!(socket.recv(&mut [0; 64]).unwrap(), 5);
}

#[test]
fn a_million_random_strings_change_nothing() {
    enter_quiet();
    let with = |options: DeviceOptions, len| {
        let format = VnetFormat { len, ..VnetFormat::default() };
        options.vnet_hdr(format).offload(OffloadChoice::Auto)
    };
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut noise: Vec<u8> = (0..200_000).map(|_| random.next().to_le_bytes()[3]).collect();
    let devices =
        [tun("t0"), tap("t0"), with(tun("t0"), VnetLen::Legacy), with(tap("t0"), VnetLen::Tunnel)];
    for options in devices {
        let device = up(options).open().unwrap();
        assert!(device.offload() != Offload::empty() || device.layout().vnet_hdr.is_none());
        write_noise(&device, &mut random, &mut noise, 1000);
        let before = resident_kib();
        let taken = write_noise(&device, &mut random, &mut noise, STRINGS / 4);
        let grown = resident_kib().saturating_sub(before);
        assert!(grown <= GROWTH_MAX, "{grown} KiB more");
        assert!(taken > STRINGS / 16 && taken < STRINGS / 4, "{taken} were taken");
        still_works(&device);
    }
}
