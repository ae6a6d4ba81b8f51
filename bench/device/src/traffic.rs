//! One device: packets written to it and read from it.

use crate::case::{LONGEST, Sample};
use crate::mover::{Moved, Mover};
use crate::{cpu, rig};
use adit_device::{Gso, Layout, Queue, VnetHeader};
use adit_packet::{PacketBuf, checksum};
use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

/// Packets between two looks at the clock, so that the looks do not count.
const BURST: u32 = 64;
/// A fill of a queue: less than its length, and 16 MiB of the longest packets.
const FILL: u32 = 256;
/// Where nobody is and no route leads: the namespace does not forward.
const NOBODY: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);

/// Writes packets of `len` bytes for `time`.
pub(crate) fn write(mover: &mut Mover, len: usize, time: Duration) -> io::Result<Sample> {
    let device = rig::tun(len > 1500).map_err(io::Error::other)?;
    let queue = first(device.queues())?;
    let mut packet = if len == LONGEST { super_packet(len) } else { datagram(len) };
    // Faults of a first touch are not what is measured.
    mover.write(queue, &mut packet, BURST)?;
    let mut packets = 0;
    let (busy, start) = (cpu::busy()?, Instant::now());
    while start.elapsed() < time {
        mover.write(queue, &mut packet, BURST)?;
        packets += u64::from(BURST);
    }
    let time = start.elapsed();
    let bytes = packets.saturating_mul(u64::try_from(len).unwrap_or_default());
    Ok(Sample { packets, bytes, time, cpu: cpu::busy()?.saturating_sub(busy) })
}

/// Reads packets of `len` bytes: a queue is filled by a socket and emptied again, and only the
/// emptying is timed, until it took `time` or all together took thrice as long.
pub(crate) fn read(mover: &mut Mover, len: usize, time: Duration) -> io::Result<Sample> {
    let device = rig::tun(len > 1500).map_err(io::Error::other)?;
    let queue = first(device.queues())?;
    let socket = UdpSocket::bind((rig::NEAR, 0))?;
    let to = (rig::FAR, 9);
    // 28 bytes of headers.
    let payload = vec![0x5a; len - 28];
    socket.send_to(&payload, to)?;
    mover.drain(queue, &mut Moved::default())?;

    let (mut moved, mut emptying) = (Moved::default(), Duration::ZERO);
    let (busy, start) = (cpu::busy()?, Instant::now());
    while emptying < time && start.elapsed() < time * 3 {
        for _ in 0..FILL {
            socket.send_to(&payload, to)?;
        }
        let begun = Instant::now();
        mover.drain(queue, &mut moved)?;
        emptying += begun.elapsed();
    }
    let cpu = cpu::busy()?.saturating_sub(busy);
    Ok(Sample { packets: moved.packets, bytes: moved.bytes, time: emptying, cpu })
}

fn first(queues: &[Queue]) -> io::Result<&Queue> {
    queues.first().ok_or_else(|| io::Error::other("the device has no queue"))
}

/// An IPv4 header for `len` bytes in all, and zeros.
fn packet(len: usize, protocol: u8) -> PacketBuf {
    let mut bytes = vec![0; len];
    bytes[0] = 0x45;
    bytes[2..4].copy_from_slice(&u16::try_from(len).unwrap_or(u16::MAX).to_be_bytes());
    bytes[8] = 64;
    bytes[9] = protocol;
    bytes[12..16].copy_from_slice(&rig::FAR.octets());
    bytes[16..20].copy_from_slice(&NOBODY.octets());
    let sum = checksum::of(&bytes[..20]);
    bytes[10..12].copy_from_slice(&sum.to_be_bytes());
    let mut packet = PacketBuf::new(Layout::LEN_MAX, len);
    packet.extend(&bytes).expect("it was made that long");
    packet
}

/// A UDP packet without a checksum.
fn datagram(len: usize) -> PacketBuf {
    let mut packet = packet(len, 17);
    let udp_len = u16::try_from(len - 20).unwrap_or(u16::MAX);
    packet.bytes_mut()[20..26].copy_from_slice(&[
        0,
        9,
        0,
        9,
        udp_len.to_be_bytes()[0],
        udp_len.to_be_bytes()[1],
    ]);
    packet
}

/// A TCP super-packet in segments of 1460 bytes, its checksum left to be finished.
fn super_packet(len: usize) -> PacketBuf {
    let mut packet = packet(len, 6);
    // Ports 9 and 9, five words of header, ACK.
    packet.bytes_mut()[20..24].copy_from_slice(&[0, 9, 0, 9]);
    packet.bytes_mut()[32..34].copy_from_slice(&[0x50, 0x10]);
    packet.meta.vnet = VnetHeader {
        flags: VnetHeader::NEEDS_CSUM,
        gso: Gso::Tcp4,
        hdr_len: 40,
        gso_size: 1460,
        csum_start: 20,
        csum_offset: 16,
        ..VnetHeader::default()
    };
    packet
}
