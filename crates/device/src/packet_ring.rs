//! A packet socket that shares memory with the kernel: many packets for one system call.

use crate::packet_socket::{VNET_LEN, insert_tag, vlan_tag};
use crate::sys::packet_ring::{Ring, Shape};
use crate::{IfIndex, PacketSocket, PacketSocketOptions, PacketStatistics, ReceivedPacket};
use adit_packet::{Endian, VnetHeader, VnetLen};
use rustix::io::Errno;
use rustix::net::sockopt;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

/// The length of a block: the longest packet ([`crate::PACKET_SOCKET_LEN_MAX`]) with its headers.
const BLOCK_LEN: usize = 1 << 20;

/// The least number of blocks: the kernel fills one while we read another.
const BLOCKS_MIN: usize = 2;

/// The length of a ring in bytes, if no other is asked for.
const LEN: usize = 32 << 20;

/// The time until packets in a block that is not full can be received, in milliseconds.
const RETIRE_AFTER: u32 = 10;

/// A socket that gets a copy of every packet of one interface, in both directions, through a ring of
/// memory (`TPACKET_V3`).
///
/// It never blocks: poll it for readability. A packet can be received 10 ms after it arrived, or as soon
/// as 1 MiB of packets wait.
#[derive(Debug)]
pub struct PacketRing {
    socket: PacketSocket,
    ring: Ring,
    /// The number of the block to read next, or of the one that is read.
    block: usize,
    /// What is left of the block that is read; `None` if it is the kernel's.
    rest: Option<Rest>,
    /// Packets received in total.
    received: u64,
    /// Where the packet received last is in the block.
    last: Range<usize>,
    /// It again, with the VLAN tag that the kernel took out of it; empty if it had none.
    tagged: Vec<u8>,
}

/// The part of a block that was not read.
#[derive(Clone, Copy, Debug)]
struct Rest {
    packets: u32,
    /// Where the next packet's header is.
    at: usize,
}

impl PacketRing {
    /// Opens a socket that copies the packets of interface `index` from now on, with a ring of
    /// `options.buffer_len` bytes (32 MiB by default), or of less where the kernel has no memory.
    ///
    /// # Errors
    /// As [`PacketSocket::open`]. ENOMEM: the kernel has no memory for 2 MiB.
    pub fn open(index: IfIndex, options: &PacketSocketOptions) -> io::Result<Self> {
        let socket = PacketSocket::unbound(options)?;
        let blocks = options.buffer_len.unwrap_or(LEN) / BLOCK_LEN;
        let ring = make_ring(&socket, blocks.max(BLOCKS_MIN))?;
        socket.bind(index, options)?;
        Ok(Self { socket, ring, block: 0, rest: None, received: 0, last: 0..0, tagged: Vec::new() })
    }

    /// Receives one packet: [`Self::bytes`] are those of `len`.
    ///
    /// # Errors
    /// EAGAIN: no packet. ENETDOWN, once: the interface went down or was deleted; packets arrive
    /// again when it comes up.
    pub fn recv(&mut self) -> io::Result<ReceivedPacket> {
        let Rest { packets, at } = match self.rest {
            Some(rest) if rest.packets > 0 => rest,
            _ => self.next_block()?,
        };
        let block = self.ring.block(self.block).unwrap_or_default();
        let Some(record) = Record::parse(block, at, self.socket.has_vnet_header()) else {
            // Only a fault of the kernel leads here. What the block has more cannot be found.
            self.received += u64::from(packets);
            self.rest = Some(Rest { packets: 0, at });
            return Err(Errno::AGAIN.into());
        };
        let Record { next, mut packet, bytes, vlan } = record;
        self.received += 1;
        self.rest = Some(Rest { packets: packets - 1, at: next });
        self.tagged.clear();
        if let Some(tag) = vlan {
            self.tagged.extend_from_slice(&block[bytes.clone()]);
            self.tagged.extend_from_slice(&tag);
            packet.len = insert_tag(&mut self.tagged, packet.len, tag);
            packet.original_len += tag.len();
            self.tagged.truncate(packet.len);
        }
        self.last = bytes;
        Ok(packet)
    }

    /// The packet that was received last, with its VLAN tag where the sender put it.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        if self.tagged.is_empty() {
            let block = self.ring.block(self.block).unwrap_or_default();
            block.get(self.last.clone()).unwrap_or_default()
        } else {
            &self.tagged
        }
    }

    /// Gives back the block that was read, and begins the next one that has packets.
    fn next_block(&mut self) -> io::Result<Rest> {
        loop {
            if self.rest.take().is_some() {
                self.ring.release(self.block);
                self.block = (self.block + 1) % self.ring.blocks();
            }
            let Some(block) = self.ring.block(self.block) else {
                // As recv(2) does it: an error of the socket, or nothing.
                sockopt::socket_error(&self.socket)??;
                return Err(Errno::AGAIN.into());
            };
            // `struct tpacket_block_desc { u32 version, private; u32 status, packets, first; ... }`.
            let (packets, first) = (word(block, 12), word(block, 16));
            let rest = Rest {
                packets: packets.unwrap_or_default(),
                at: first.and_then(|at| usize::try_from(at).ok()).unwrap_or_default(),
            };
            self.rest = Some(rest);
            if rest.packets > 0 {
                return Ok(rest);
            }
        }
    }

    /// Whether packets have arrived that [`Self::recv`] did not return: it will within 10 ms.
    ///
    /// # Errors
    /// Those of getsockopt(2).
    pub fn is_behind(&mut self) -> io::Result<bool> {
        let PacketStatistics { passed, dropped } = self.statistics()?;
        Ok(passed.saturating_sub(dropped) > self.received)
    }

    /// The counts since the socket was opened.
    ///
    /// # Errors
    /// Those of getsockopt(2).
    pub fn statistics(&mut self) -> io::Result<PacketStatistics> {
        self.socket.statistics()
    }
}

impl AsFd for PacketRing {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Makes a ring of at most `blocks` blocks.
fn make_ring(socket: &PacketSocket, mut blocks: usize) -> io::Result<Ring> {
    loop {
        let shape = Shape { block_len: BLOCK_LEN, blocks, retire_after: RETIRE_AFTER };
        match Ring::new(socket.as_fd(), shape) {
            Err(error) if error.kind() == io::ErrorKind::OutOfMemory && blocks > BLOCKS_MIN => {
                blocks = (blocks / 2).max(BLOCKS_MIN);
            }
            result => return result,
        }
    }
}

/// A packet in a block: a header, an address of the link layer, and the packet after a virtio-net header.
///
/// ```text
/// struct tpacket3_hdr { u32 next, seconds, nanoseconds, kept, len, status; u16 mac, net;
///                       u32 hash, vlan_tci; u16 vlan_tpid; ... }                        48 bytes
/// struct sockaddr_ll { u16 family, protocol; i32 index; u16 hardware; u8 packet_type; ... }
/// ... virtio-net header, and at `mac` from the start: the packet
/// ```
struct Record {
    /// Where the next one is in the block.
    next: usize,
    packet: ReceivedPacket,
    /// Where the packet is in the block, without `vlan`.
    bytes: Range<usize>,
    vlan: Option<[u8; 4]>,
}

impl Record {
    fn parse(block: &[u8], at: usize, has_vnet_header: bool) -> Option<Self> {
        const HEADERS_LEN: usize = 48 + 20;
        let header: &[u8; HEADERS_LEN] = block.get(at..)?.first_chunk()?;
        let size = |offset| usize::try_from(word(header, offset)?).ok();
        let half = |offset| Some(u16::from_ne_bytes(*header.get(offset..)?.first_chunk()?));
        let len = size(12)?;
        let start = at.checked_add(usize::from(half(24)?))?;
        let bytes = start..start.checked_add(len)?;
        let _ = block.get(bytes.clone())?;
        let vnet = if has_vnet_header {
            let vnet = block.get(start.checked_sub(VNET_LEN)?..start)?;
            VnetHeader::decode(vnet, VnetLen::Legacy, Endian::Native).unwrap_or_default()
        } else {
            VnetHeader::default()
        };
        let packet = ReceivedPacket {
            len,
            original_len: size(16)?,
            is_outgoing: header[58] == libc::PACKET_OUTGOING,
            time: Some(Duration::new(word(header, 4)?.into(), word(header, 8)?)),
            vnet,
        };
        let vlan = vlan_tag(word(header, 20)?, u16::try_from(word(header, 32)?).ok()?, half(36)?);
        Some(Self { next: at.checked_add(size(0)?)?, packet, bytes, vlan })
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Link, Netns};
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use std::net::UdpSocket;

    /// A ring on the loopback interface of a new namespace.
    fn ring(options: &PacketSocketOptions) -> (PacketRing, UdpSocket) {
        Netns::enter_new().unwrap();
        let link = Link::find(&"lo".parse().unwrap()).unwrap();
        link.set_up(true).unwrap();
        let ring = PacketRing::open(link.index().unwrap(), options).unwrap();
        (ring, UdpSocket::bind("127.0.0.1:0").unwrap())
    }

    /// Waits for a packet.
    fn recv(ring: &mut PacketRing) -> io::Result<ReceivedPacket> {
        loop {
            match ring.recv() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return result,
            }
            let mut fds = [PollFd::new(&*ring, PollFlags::IN)];
            let timeout = Timespec { tv_sec: 20, tv_nsec: 0 };
            let ready = poll(&mut fds, Some(&timeout)).unwrap();
            assert!(ready > 0 || !ring.is_behind().unwrap(), "packets within 10 ms");
        }
    }

    #[test]
    fn every_packet_comes_once_in_order_past_the_end_of_the_ring() {
        std::thread::spawn(|| {
            let options = PacketSocketOptions {
                buffer_len: Some(0),
                incoming_only: true,
                ..PacketSocketOptions::default()
            };
            let (mut ring, udp) = ring(&options);
            let to = udp.local_addr().unwrap();
            assert_eq!(ring.ring.blocks(), BLOCKS_MIN);
            let mut data = [0; 9000];
            for round in 0..500_u16 {
                data[..2].copy_from_slice(&round.to_be_bytes());
                let len = 2 + usize::from(round) * 17;
                udp.send_to(&data[..len], to).unwrap();
                if round % 100 < 50 {
                    continue;
                }
                // A block is given back half read, full, and after its time.
                while ring.is_behind().unwrap() {
                    let expected = u16::try_from(ring.received).unwrap();
                    let packet = recv(&mut ring).unwrap();
                    assert_eq!(packet.len, 42 + 2 + usize::from(expected) * 17);
                    assert_eq!(packet.original_len, packet.len);
                    assert!(!packet.is_outgoing);
                    assert!(packet.time.unwrap() > Duration::from_secs(1_600_000_000));
                    assert_eq!(ring.bytes()[42..44], expected.to_be_bytes());
                }
            }
            assert_eq!(ring.received, 500);
            let counts = PacketStatistics { passed: 500, dropped: 0 };
            assert_eq!(ring.statistics().unwrap(), counts);
            assert!(!ring.is_behind().unwrap());
        })
        .join()
        .unwrap();
    }

    #[test]
    fn a_full_ring_and_an_interface_that_goes_down_are_reported() {
        std::thread::spawn(|| {
            let filter = "6\n40 0 0 12\n21 0 3 2048\n40 0 0 36\n21 0 1 7\n6 0 0 30000\n6 0 0 0\n";
            let options = PacketSocketOptions {
                buffer_len: Some(0),
                filter: Some(filter.parse().unwrap()),
                ..PacketSocketOptions::default()
            };
            let (mut ring, udp) = ring(&options);
            for _ in 0..200 {
                udp.send_to(&[1; 20_000], ("127.0.0.1", 7)).ok();
                udp.send_to(&[1; 20_000], ("127.0.0.1", 8)).ok();
            }
            let counts = ring.statistics().unwrap();
            assert!(counts.dropped > 0);
            assert!(counts.passed <= 400, "{counts:?}");
            while ring.is_behind().unwrap() {
                assert_eq!(recv(&mut ring).unwrap().len, 20_042);
            }
            assert_eq!(ring.received, counts.passed - counts.dropped);
            Link::find(&"lo".parse().unwrap()).unwrap().set_up(false).unwrap();
            assert_eq!(ring.recv().unwrap_err().raw_os_error(), Some(libc::ENETDOWN));
            assert_eq!(ring.recv().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        })
        .join()
        .unwrap();
    }

    #[test]
    fn records_of_any_bytes_end() {
        let mut block = [0_u8; 200];
        for value in [0, 1, 0x7f, 0xff] {
            block.fill(value);
            for at in [0, 1, 100, 199, usize::MAX] {
                let _ = Record::parse(&block, at, true);
            }
        }
    }
}
