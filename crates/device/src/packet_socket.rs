//! Packet sockets: copies of the packets of any interface (packet(7)).

use crate::broker::{self, PacketRequest, Request};
use crate::{ClassicFilter, IfIndex, Netns, control, sys};
use adit_packet::{Endian, PacketBuf, Pair, Pool, VnetHeader, VnetLen};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// The options of a [`PacketSocket`]. Minor versions may add fields: end a literal with
/// `..PacketSocketOptions::default()`.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct PacketSocketOptions {
    /// The kernel discards packets that this filter rejects. It sees frames without their outermost
    /// VLAN tag.
    pub filter: Option<ClassicFilter>,
    /// Whether the interface receives frames for other stations (promiscuous mode).
    pub promiscuous: bool,
    /// Whether to leave out the packets that the host sends. On a loopback interface each packet
    /// still appears once, when it is received. Requires Linux 4.20.
    pub incoming_only: bool,
    /// The receive buffer in bytes. The default is the kernel's; the maximum is `net.core.rmem_max`
    /// without `CAP_NET_ADMIN` in the initial user namespace.
    pub buffer_len: Option<usize>,
    /// The send buffer in bytes. The default is the kernel's; the maximum is `net.core.wmem_max` without
    /// `CAP_NET_ADMIN` in the initial user namespace.
    pub send_buffer_len: Option<usize>,
    /// The network namespace of the interface; `None` is that of the calling thread.
    pub netns: Option<std::sync::Arc<Netns>>,
}

/// A socket that gets a copy of every packet of one interface, in both directions.
///
/// It never blocks: poll it for readability.
#[derive(Debug)]
pub struct PacketSocket {
    fd: OwnedFd,
    has_vnet_header: bool,
    seen: PacketStatistics,
}

/// How many packets arrived, and how many of them were lost because the reader was too slow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PacketStatistics {
    /// Packets that passed the filter, including the lost ones.
    pub passed: u64,
    /// Packets that were lost because the receive buffer was full.
    pub dropped: u64,
}

/// The metadata of a received packet.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ReceivedPacket {
    /// How many of its bytes are in the buffer.
    pub len: usize,
    /// Its length in bytes, which may exceed the buffer.
    pub original_len: usize,
    /// Whether the host sent it, rather than received it.
    pub is_outgoing: bool,
    /// When the kernel saw it, since 1970; `None` if the kernel did not report it.
    pub time: Option<Duration>,
    /// Its virtio-net header: partial checksum and segmentation.
    pub vnet: VnetHeader,
}

/// The maximum length of a packet in bytes: a super-packet of 64 KiB, or up to 512 KiB if
/// `gso_max_size` is raised (`GSO_MAX_SIZE` in Linux `linux/netdevice.h`), with Ethernet header and
/// VLAN tags.
pub const PACKET_SOCKET_LEN_MAX: usize = 8 * 65_536 + 64;

/// The length of `struct virtio_net_hdr`.
pub(crate) const VNET_LEN: usize = VnetLen::Legacy.bytes();

/// Turns receive time stamps of a socket off (`SO_TIMESTAMPNS`), which a library may have turned
/// on: they cost time, and room in the control messages.
///
/// # Errors
/// ENOTSOCK.
pub fn disable_timestamps(socket: impl AsFd) -> io::Result<()> {
    sys::packet_socket::set_time_stamps(socket.as_fd(), false)
}

impl PacketSocket {
    /// Opens a socket that copies the packets of interface `index` from now on. No packet arrives
    /// that is older, or that the filter rejects.
    ///
    /// # Errors
    /// EPERM without `CAP_NET_RAW`; ENODEV if the interface does not exist; ENOPROTOOPT if the
    /// kernel does not support [`PacketSocketOptions::incoming_only`].
    pub fn open(index: IfIndex, options: &PacketSocketOptions) -> io::Result<Self> {
        let request = Request::Packet(PacketRequest {
            index: index.get(),
            promiscuous: options.promiscuous,
            incoming_only: options.incoming_only,
            buffer_len: options.buffer_len,
            send_buffer_len: options.send_buffer_len,
        });
        // A filter must be there before the first packet.
        if options.filter.is_none()
            && let Some(fd) = broker::open(&request, &broker::with(&options.netns))
        {
            let fd = fd?;
            let has_vnet_header = sys::packet_socket::set_vnet_header(fd.as_fd()).is_ok();
            return Ok(Self { fd, has_vnet_header, seen: PacketStatistics::default() });
        }
        let socket = Self::unbound(options)?;
        if let Some(len) = options.buffer_len
            && sockopt::set_socket_recv_buffer_size_force(&socket, len).is_err()
        {
            sockopt::set_socket_recv_buffer_size(&socket, len)?;
        }
        if let Some(len) = options.send_buffer_len
            && sockopt::set_socket_send_buffer_size_force(&socket, len).is_err()
        {
            sockopt::set_socket_send_buffer_size(&socket, len)?;
        }
        sys::packet_socket::set_aux_data(socket.as_fd())?;
        sys::packet_socket::set_time_stamps(socket.as_fd(), true)?;
        socket.bind(index, options)?;
        Ok(socket)
    }

    /// A socket with its filter, to which nothing arrives yet.
    pub(crate) fn unbound(options: &PacketSocketOptions) -> io::Result<Self> {
        let open = || -> io::Result<OwnedFd> {
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            // Protocol 0: nothing arrives before the filter is set and the socket is bound.
            let (family, kind) = (AddressFamily::PACKET, SocketType::RAW);
            Ok(rustix::net::socket_with(family, kind, flags, None)?)
        };
        let fd = match &options.netns {
            Some(netns) => netns.run(open)??,
            None => open()?,
        };
        if let Some(filter) = &options.filter {
            filter.attach_to_socket(&fd)?;
        }
        if options.incoming_only {
            sys::packet_socket::set_incoming_only(fd.as_fd())?;
        }
        let has_vnet_header = sys::packet_socket::set_vnet_header(fd.as_fd()).is_ok();
        Ok(Self { fd, has_vnet_header, seen: PacketStatistics::default() })
    }

    /// Lets the packets of interface `index` arrive.
    pub(crate) fn bind(&self, index: IfIndex, options: &PacketSocketOptions) -> io::Result<()> {
        let index = i32::try_from(index.get()).expect("an IfIndex fits the kernel's int");
        sys::packet_socket::bind(self.as_fd(), index)?;
        if options.promiscuous {
            sys::packet_socket::set_promiscuous(self.as_fd(), index)?;
        }
        Ok(())
    }

    /// Whether a virtio-net header comes before each packet.
    pub(crate) const fn has_vnet_header(&self) -> bool {
        self.has_vnet_header
    }

    /// Receives one packet into `buf`, with its VLAN tag where the sender put it. A longer packet
    /// is truncated.
    ///
    /// # Errors
    /// EAGAIN: no packet. ENETDOWN, once: the interface went down or was deleted; packets arrive
    /// again when it comes up. EINVAL: a super-packet that the kernel cannot describe was lost.
    pub fn recv(&self, buf: &mut [u8]) -> io::Result<ReceivedPacket> {
        let mut control = [0_u64; CONTROL_WORDS];
        let received = {
            let mut bufs = [IoSliceMut::new(buf)];
            sys::packet_socket::receive(self.fd.as_fd(), &mut bufs, &mut control)?
        };
        let mut header_len = 0;
        let mut vnet = VnetHeader::default();
        if self.has_vnet_header {
            header_len = VNET_LEN.min(received.len);
            vnet = VnetHeader::decode(buf, VnetLen::Legacy, Endian::Native).unwrap_or_default();
        }
        let filled = received.len.min(buf.len());
        let mut len = filled.saturating_sub(header_len);
        buf.copy_within(header_len..filled, 0);
        let control = Control::parse(&control, received.control_len);
        let mut original_len = (received.len - header_len).max(control.packet_len);
        if let Some(tag) = control.vlan {
            (len, original_len) = (insert_tag(buf, len, tag), original_len + tag.len());
        }
        let is_outgoing = received.packet_type == libc::PACKET_OUTGOING;
        Ok(ReceivedPacket { len, original_len, is_outgoing, time: control.time, vnet })
    }

    /// Receives one packet into a buffer of `pool`, with its VLAN tag where the sender put it, and
    /// decodes its virtio-net header into the packet's meta. `pair` keeps buffers ready between
    /// calls.
    ///
    /// # Errors
    /// As [`PacketSocket::recv`]. ENOBUFS: `pool` is empty. EMSGSIZE: the packet exceeds a buffer,
    /// and is lost.
    pub fn recv_packet(&self, pool: &mut Pool, pair: &mut Pair) -> io::Result<PacketBuf> {
        let header_len = if self.has_vnet_header { VNET_LEN } else { 0 };
        let mut control = [0_u64; CONTROL_WORDS];
        let room = pool.ready(pair, header_len).ok_or(Errno::NOBUFS)?;
        let bufs = &mut [IoSliceMut::new(room)];
        let received = sys::packet_socket::receive(self.fd.as_fd(), bufs, &mut control)?;
        let vnet = if self.has_vnet_header {
            VnetHeader::decode(room, VnetLen::Legacy, Endian::Native).unwrap_or_default()
        } else {
            VnetHeader::default()
        };
        let len = received.len.saturating_sub(header_len);
        let mut packet = pair.settle(len).ok_or(Errno::MSGSIZE)?;
        packet.meta.vnet = vnet;
        let control = Control::parse(&control, received.control_len);
        let Some(tag) = control.vlan else { return Ok(packet) };
        if put_tag(&mut packet, tag).is_none() {
            pool.give(packet);
            return Err(Errno::MSGSIZE.into());
        }
        Ok(packet)
    }

    /// Sends a frame out of the interface; its meta describes partial checksum and segmentation.
    ///
    /// # Errors
    /// EAGAIN: no room. ENOBUFS: the queue of the interface is full, and the frame is lost.
    /// ENETDOWN: the interface is down. ENXIO: it was deleted. EMSGSIZE: the frame exceeds the MTU.
    /// EINVAL: not a frame, or meta that requires a kernel with `PACKET_VNET_HDR`.
    pub fn send_packet(&self, packet: &PacketBuf) -> io::Result<()> {
        self.send_parts(&packet.meta.vnet, packet.bytes(), &[])
    }

    /// Sends a frame gathered from two parts, like [`PacketSocket::send_packet`].
    ///
    /// # Errors
    /// As [`PacketSocket::send_packet`].
    pub fn send_parts(&self, vnet: &VnetHeader, head: &[u8], tail: &[u8]) -> io::Result<()> {
        let mut header = [0; VNET_LEN];
        let parts = [head, tail].map(IoSlice::new);
        if !self.has_vnet_header {
            if vnet.is_super_packet() || vnet.needs_csum() {
                return Err(Errno::INVAL.into());
            }
            rustix::io::writev(&self.fd, &parts)?;
            return Ok(());
        }
        vnet.encode(&mut header, VnetLen::Legacy, Endian::Native).map_err(|_| Errno::INVAL)?;
        let [head, tail] = parts;
        rustix::io::writev(&self.fd, &[IoSlice::new(&header), head, tail])?;
        Ok(())
    }

    /// The counts since the socket was opened.
    ///
    /// # Errors
    /// Those of getsockopt(2).
    pub fn statistics(&mut self) -> io::Result<PacketStatistics> {
        let (passed, dropped) = sys::packet_socket::statistics(self.fd.as_fd())?;
        self.seen.passed += u64::from(passed);
        self.seen.dropped += u64::from(dropped);
        Ok(self.seen)
    }
}

impl From<PacketSocket> for OwnedFd {
    fn from(socket: PacketSocket) -> Self {
        socket.fd
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Inserts a VLAN tag after the MAC addresses of the `len` bytes in `buf`, and returns the new
/// length.
pub(crate) fn insert_tag(buf: &mut [u8], len: usize, tag: [u8; 4]) -> usize {
    const ADDRESSES_LEN: usize = 12;
    let new_len = (len + tag.len()).min(buf.len());
    if len < ADDRESSES_LEN || new_len < ADDRESSES_LEN + tag.len() {
        return len;
    }
    buf.copy_within(ADDRESSES_LEN..new_len - tag.len(), ADDRESSES_LEN + tag.len());
    buf[ADDRESSES_LEN..ADDRESSES_LEN + tag.len()].copy_from_slice(&tag);
    new_len
}

/// Inserts a VLAN tag after the MAC addresses of a packet; `None` if there is no room for it.
fn put_tag(packet: &mut PacketBuf, tag: [u8; 4]) -> Option<()> {
    const ADDRESSES_LEN: usize = 12;
    if packet.len() < ADDRESSES_LEN {
        return Some(());
    }
    packet.prepend(tag.len())?;
    let bytes = packet.bytes_mut();
    bytes.copy_within(tag.len()..tag.len() + ADDRESSES_LEN, 0);
    bytes[ADDRESSES_LEN..ADDRESSES_LEN + tag.len()].copy_from_slice(&tag);
    let vnet = &mut packet.meta.vnet;
    if vnet.needs_csum() {
        vnet.csum_start = vnet.csum_start.saturating_add(4);
    }
    if vnet.is_super_packet() && vnet.hdr_len > 0 {
        vnet.hdr_len = vnet.hdr_len.saturating_add(4);
    }
    Some(())
}

/// The length of the control buffer: twice a time stamp (32 bytes) and auxiliary data (40 bytes).
const CONTROL_WORDS: usize = 18;

/// The contents of the control messages.
#[derive(Debug, Default)]
struct Control {
    time: Option<Duration>,
    packet_len: usize,
    vlan: Option<[u8; 4]>,
}

impl Control {
    fn parse(words: &[u64; CONTROL_WORDS], len: usize) -> Self {
        let mut found = Self::default();
        control::each(words, len, |level, kind, data| {
            if (level, kind) == (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) {
                found.time = control::time(data);
            } else if (level, kind) == (libc::SOL_PACKET, libc::PACKET_AUXDATA) {
                found.take_aux_data(data);
            }
        });
        found
    }

    /// `struct tpacket_auxdata { u32 status, len, snaplen; u16 mac, net, vlan_tci, vlan_tpid; }`.
    fn take_aux_data(&mut self, data: &[u8]) {
        let Some(&data) = data.first_chunk::<20>() else { return };
        let [s0, s1, s2, s3, l0, l1, l2, l3, .., c0, c1, p0, p1] = data;
        let status = u32::from_ne_bytes([s0, s1, s2, s3]);
        let len = u32::from_ne_bytes([l0, l1, l2, l3]);
        self.packet_len = usize::try_from(len).unwrap_or(usize::MAX);
        self.vlan = vlan_tag(status, u16::from_ne_bytes([c0, c1]), u16::from_ne_bytes([p0, p1]));
    }
}

/// The VLAN tag that the kernel took out of a packet, as it was in the packet.
pub(crate) fn vlan_tag(status: u32, tci: u16, tpid: u16) -> Option<[u8; 4]> {
    if status & libc::TP_STATUS_VLAN_VALID == 0 {
        return None;
    }
    let has_tpid = status & libc::TP_STATUS_VLAN_TPID_VALID != 0;
    let ([t0, t1], [c0, c1]) =
        (if has_tpid { tpid } else { 0x8100 }.to_be_bytes(), tci.to_be_bytes());
    Some([t0, t1, c0, c1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_goes_behind_the_addresses() {
        let mut buf = [0_u8; 20];
        (0..16_u8).for_each(|i| buf[usize::from(i)] = i);
        assert_eq!(insert_tag(&mut buf, 16, [0x81, 0, 0, 5]), 20);
        assert_eq!(buf[10..], [10, 11, 0x81, 0, 0, 5, 12, 13, 14, 15]);
        let mut short = [7_u8; 14];
        assert_eq!(insert_tag(&mut short, 14, [0x81, 0, 0, 5]), 14, "no room, no tag");
    }

    #[test]
    fn control_messages_of_any_bytes_end() {
        let mut words = [0; CONTROL_WORDS];
        words[..6].copy_from_slice(&[20, u64::MAX, 0, 3, 16, 16]);
        for len in 0..200 {
            let _ = Control::parse(&words, len);
        }
        let _ = Control::parse(&[0; CONTROL_WORDS], 144);
    }

    #[test]
    fn both_directions_of_a_loopback_with_times_and_counts() {
        std::thread::spawn(|| {
            Netns::enter_new().unwrap();
            let link = crate::Link::find(&"lo".parse().unwrap()).unwrap();
            link.set_up(true).unwrap();
            let mut socket =
                PacketSocket::open(link.index().unwrap(), &PacketSocketOptions::default()).unwrap();
            let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
            udp.send_to(b"hello", udp.local_addr().unwrap()).unwrap();
            let mut buf = vec![0; PACKET_SOCKET_LEN_MAX];
            let mut outgoing = Vec::new();
            while let Ok(packet) = socket.recv(&mut buf) {
                assert_eq!((packet.len, packet.original_len), (14 + 20 + 8 + 5, 47));
                assert_eq!(&buf[42..47], b"hello");
                assert!(packet.time.is_some());
                outgoing.push(packet.is_outgoing);
            }
            assert_eq!(outgoing, [true, false]);
            let counts = PacketStatistics { passed: 2, dropped: 0 };
            assert_eq!(socket.statistics().unwrap(), counts);
            assert_eq!(socket.statistics().unwrap(), counts, "counts add up");
            let cut = socket.recv(&mut buf).unwrap_err();
            assert_eq!(cut.kind(), io::ErrorKind::WouldBlock);

            let options = PacketSocketOptions { incoming_only: true, ..Default::default() };
            let mut socket = PacketSocket::open(link.index().unwrap(), &options).unwrap();
            udp.send_to(b"hello", udp.local_addr().unwrap()).unwrap();
            assert!(!socket.recv(&mut buf).unwrap().is_outgoing);
            assert_eq!(socket.statistics().unwrap().passed, 1);
        })
        .join()
        .unwrap();
    }

    #[test]
    fn a_filter_and_a_full_buffer_are_counted() {
        std::thread::spawn(|| {
            Netns::enter_new().unwrap();
            let link = crate::Link::find(&"lo".parse().unwrap()).unwrap();
            link.set_up(true).unwrap();
            // IPv4 UDP to port 7 on Ethernet, cut to 30 bytes.
            let filter = "6\n40 0 0 12\n21 0 3 2048\n40 0 0 36\n21 0 1 7\n6 0 0 30\n6 0 0 0\n";
            let options = PacketSocketOptions {
                filter: Some(filter.parse().unwrap()),
                buffer_len: Some(1),
                ..PacketSocketOptions::default()
            };
            let mut socket = PacketSocket::open(link.index().unwrap(), &options).unwrap();
            let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
            for _ in 0..200 {
                udp.send_to(&[1; 1000], ("127.0.0.1", 7)).ok();
            }
            let mut buf = vec![0; PACKET_SOCKET_LEN_MAX];
            let mut received = 0;
            while let Ok(packet) = socket.recv(&mut buf) {
                assert_eq!(packet.len, 30);
                received += 1;
                assert!(packet.original_len > 30);
            }
            let counts = socket.statistics().unwrap();
            assert!(counts.dropped > 0);
            assert_eq!(counts.passed, received + counts.dropped);
        })
        .join()
        .unwrap();
    }
}
