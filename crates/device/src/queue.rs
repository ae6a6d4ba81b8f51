//! One queue of a device: a descriptor that packets are received from and sent to.

use crate::PacketHasher;
use crate::layout::{Layout, Mode};
use crate::order::Place;
use crate::sys;
use adit_packet::{Batch, Malformed, Meta, PacketBuf, Pair, Pool};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, ReadWriteFlags};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The maximum length of an IP packet. On TAP, the Ethernet header and two VLAN tags come on top.
const PACKET_LEN_MAX: usize = 65_535;
const FRAME_LEN_MAX: usize = PACKET_LEN_MAX + 14 + 8;

/// The buffer length in bytes that [`Queue::recv`] needs for any record: headers, and super-packets
/// inside UDP tunnels, included. A shorter buffer may truncate a packet, and only a queue with
/// packet information reports that (`PacketInfo::STRIP`).
pub const RECORD_LEN_MAX: usize = 69_632;

/// One queue of a TUN or TAP device.
///
/// One call moves one whole packet, with the headers of its [`Layout`] before it. A queue may be
/// shared between threads, but every packet wakes all threads that block in [`Queue::recv`]: use
/// one reader per queue.
///
/// To stop a blocked reader from another thread, do not close the queue: that neither wakes the
/// reader nor frees the device. Use [`Queue::wait`] with a timeout, or poll the queue together with
/// an eventfd.
///
/// # Errors
/// All calls that move packets share these; [`ErrorKind::of_queue`](crate::ErrorKind::of_queue)
/// classifies them, and [`Cause::of_send`](crate::Cause::of_send) and
/// [`Cause::of_recv`](crate::Cause::of_recv) explain them.
///
/// - EBADFD, or EFAULT from a blocked read: the device was deleted. The queue is of no further use.
/// - EIO on sending: the link is down. The packet is lost; the device still exists.
/// - EINVAL on sending: the packet is invalid.
/// - EMSGSIZE: the packet exceeds [`Queue::len_max`].
/// - EAGAIN: the queue is nonblocking, and there is no packet or no room.
#[derive(Debug)]
pub struct Queue {
    fd: OwnedFd,
    mode: Mode,
    layout: Layout,
    /// The maximum length of a packet with its headers. Cached: every send compares with it.
    record_len_max: usize,
    nonblocking: AtomicBool,
    place: Option<Arc<Place>>,
    hasher: Option<Arc<PacketHasher>>,
}

/// What [`Queue::wait`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ready {
    /// A packet can be received.
    pub readable: bool,
    /// A packet can be sent. Never set while the link is down.
    pub writable: bool,
    /// The device was deleted. Remove the queue from every poll set: it stays ready forever.
    pub gone: bool,
}

/// The outcome of one [`Queue::send_batch`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BatchSent {
    /// Packets that the kernel accepted.
    pub sent: usize,
    /// Packets that the kernel or our own checks rejected as invalid; they are dropped.
    pub refused: usize,
}

impl Queue {
    /// A batch ends after this many bytes, 256 KiB: its packets are then sent, and its buffers
    /// reused, while they are still in the core's L2 cache. With 64 super-packets per batch a read
    /// costs 1.7 times as much as with these four, which are within 5 % of one packet at a time.
    pub const BATCH_BYTES: usize = 256 * 1024;

    pub(crate) fn new(
        fd: OwnedFd,
        mode: Mode,
        layout: Layout,
        nonblocking: bool,
        place: Option<Arc<Place>>,
    ) -> Self {
        let record_len_max = len_max(mode) + layout.len();
        let nonblocking = AtomicBool::new(nonblocking);
        Self { fd, mode, layout, record_len_max, nonblocking, place, hasher: None }
    }

    /// Fills in the flow hash of each packet that [`Queue::recv_batch`] returns.
    pub(crate) fn set_hasher(&mut self, hasher: Arc<PacketHasher>) {
        self.hasher = Some(hasher);
    }

    /// Whether the queue carries packets (TUN) or frames (TAP).
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The headers before each packet.
    #[must_use]
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// The maximum length in bytes of a packet or frame for [`Queue::send`], without headers:
    /// 65,535, or 65,557 on TAP.
    #[must_use]
    pub fn len_max(&self) -> usize {
        len_max(self.mode)
    }

    /// Receives one packet into `buf`, its headers first, and returns their total length.
    ///
    /// # Errors
    /// See [`Queue`]. EINVAL: `buf` is shorter than the headers; the packet is lost.
    #[inline]
    pub fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::io::read(&self.fd, buf)?)
    }

    /// Receives one packet into several buffers, filled in order.
    ///
    /// # Errors
    /// As [`Queue::recv`].
    #[inline]
    pub fn recv_vectored(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        Ok(rustix::io::readv(&self.fd, bufs)?)
    }

    /// Sends one packet, its headers first, and returns the number of bytes.
    ///
    /// # Errors
    /// See [`Queue`]. The MTU is not checked, by the kernel neither.
    #[inline]
    pub fn send(&self, packet: &[u8]) -> io::Result<usize> {
        if packet.len() > self.record_len_max {
            return Err(Errno::MSGSIZE.into());
        }
        Ok(rustix::io::write(&self.fd, packet)?)
    }

    /// Sends one packet, gathered from several buffers in order.
    ///
    /// # Errors
    /// As [`Queue::send`].
    #[inline]
    pub fn send_vectored(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let len = bufs.iter().fold(0_usize, |len, buf| len.saturating_add(buf.len()));
        if len > self.record_len_max {
            return Err(Errno::MSGSIZE.into());
        }
        Ok(rustix::io::writev(&self.fd, bufs)?)
    }

    /// Appends received packets to `batch`, and returns their number.
    ///
    /// Stops when the queue is empty, `batch` is full, [`Queue::BATCH_BYTES`] have arrived, or
    /// `pool` is empty. A blocking queue blocks for the first packet only. Super-packets arrive
    /// whole; a [`Receiver`](crate::Receiver) segments them. `pair` keeps buffers ready between
    /// calls: pass the same one each time. Does not allocate once `pool` is warm.
    ///
    /// # Errors
    /// See [`Queue`]. An error is returned only if no packet came before it; otherwise the next
    /// call meets it. EAGAIN: no packet. ENOBUFS: `pool` is empty.
    pub fn recv_batch(
        &self,
        pool: &mut Pool,
        pair: &mut Pair,
        batch: &mut Batch,
    ) -> io::Result<usize> {
        let (mut count, mut bytes) = (0, 0);
        // The kernel has no call that reads several packets, so a batch is one read a packet: it saves
        // the wake-ups between them, not the system calls.
        while !batch.is_full() && bytes < Self::BATCH_BYTES {
            match self.recv_next(pool, pair, count > 0) {
                Ok(packet) => {
                    bytes += packet.len();
                    if let Err(packet) = batch.push(packet) {
                        pool.give(packet);
                        break;
                    }
                    count += 1;
                }
                Err(error) if count == 0 => return Err(error),
                Err(_) => break,
            }
        }
        Ok(count)
    }

    /// Receives one packet into a buffer of `pool`, and decodes its headers into the packet's meta.
    /// Like [`Queue::recv_batch`], for callers that process packets one at a time.
    ///
    /// # Errors
    /// As [`Queue::recv_batch`]. InvalidData: the virtio-net header is invalid.
    #[inline]
    pub fn recv_packet(&self, pool: &mut Pool, pair: &mut Pair) -> io::Result<PacketBuf> {
        self.recv_next(pool, pair, false)
    }

    /// Receives one packet. With `more`, it does not block: the batch already has packets to
    /// deliver.
    #[inline(always)]
    pub(crate) fn recv_next(
        &self,
        pool: &mut Pool,
        pair: &mut Pair,
        more: bool,
    ) -> io::Result<PacketBuf> {
        let header_len = self.layout.len();
        let room = pool.ready(pair, header_len).ok_or(Errno::NOBUFS)?;
        let len = if more && !self.nonblocking.load(Ordering::Relaxed) {
            // A blocking queue would block here although packets wait in the batch: NOWAIT makes this
            // one read nonblocking. Plain reads are cheaper, so all others are.
            // The offset -1 selects the file position, as read(2) does; a queue has none anyway.
            let bufs = &mut [IoSliceMut::new(room)];
            rustix::io::preadv2(&self.fd, bufs, u64::MAX, ReadWriteFlags::NOWAIT)?
        } else {
            rustix::io::read(&self.fd, &mut *room)?
        };
        // The headers are before `room`'s packet and are decoded from there; `settle` then takes the
        // packet alone.
        let mut meta = Meta::default();
        if header_len > 0 {
            let record = self.layout.decode(&room[..len]).map_err(invalid)?;
            meta.info = record.info.unwrap_or_default();
            meta.vnet = record.vnet.unwrap_or_default();
        }
        let mut packet = pair.settle(len.saturating_sub(header_len)).ok_or(Errno::MSGSIZE)?;
        packet.meta = meta;
        if let Some(hasher) = &self.hasher {
            let mut vnet = packet.meta.vnet;
            hasher.fill(&mut vnet, packet.bytes());
            packet.meta.vnet = vnet;
        }
        Ok(packet)
    }

    /// Sends packets from the front of `batch` with the headers of their meta, and gives their
    /// buffers back to `pool`. Packets that could not be sent yet stay in `batch`.
    ///
    /// Each packet is sent as it is: a [`Sender`](crate::Sender) segments super-packets that the
    /// queue or kernel does not accept, and joins packets of a flow.
    ///
    /// # Errors
    /// See [`Queue`]. An error is returned only if no packet was sent before it; the packet that
    /// met it stays at the front of `batch`. Packets that the kernel rejects as invalid, or whose
    /// meta does not fit the header of this queue, are dropped and counted, and sending continues.
    pub fn send_batch(&self, pool: &mut Pool, batch: &mut Batch) -> io::Result<BatchSent> {
        let mut done = BatchSent::default();
        let mut failed = None;
        // Buffers go back to the pool in one step after the loop: draining while sending would move the
        // rest of the batch for every packet.
        for packet in batch.iter_mut() {
            match self.send_packet_mut(packet) {
                Ok(_) => done.sent += 1,
                Err(error) if is_refusal(&error) => done.refused += 1,
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        let count = done.sent + done.refused;
        for packet in batch.drain(..count) {
            pool.give(packet);
        }
        match failed {
            Some(error) if count == 0 => Err(error),
            _ => Ok(done),
        }
    }

    /// Sends one packet with the headers of its meta.
    ///
    /// # Errors
    /// As [`Queue::send`].
    #[inline]
    pub fn send_packet(&self, packet: &PacketBuf) -> io::Result<usize> {
        if self.layout.is_empty() {
            return self.send(packet.bytes());
        }
        let mut header = [0; Layout::LEN_MAX];
        let meta = &packet.meta;
        let len = self.layout.encode(meta.info, &meta.vnet, &mut header).map_err(invalid)?;
        self.send_vectored(&[IoSlice::new(&header[..len]), IoSlice::new(packet.bytes())])
    }

    /// Sends one packet like [`Queue::send_packet`], but writes the headers into the packet's
    /// headroom if they fit: one contiguous write instead of a gathered one. Overwrites that part
    /// of the headroom.
    ///
    /// # Errors
    /// As [`Queue::send`].
    #[inline]
    pub fn send_packet_mut(&self, packet: &mut PacketBuf) -> io::Result<usize> {
        let count = self.layout.len();
        if count == 0 || packet.headroom() < count {
            return self.send_packet(packet);
        }
        let Meta { info, vnet, .. } = packet.meta;
        let headers = packet.prepend(count).expect("compared above");
        let encoded = self.layout.encode(info, &vnet, headers);
        let sent = encoded.map_err(invalid).and_then(|_| self.send(packet.bytes()));
        packet.advance(count);
        sent
    }

    /// Waits until a packet can be received (or, with `to_send`, sent), for at most `timeout`.
    ///
    /// # Errors
    /// EINTR if a signal arrives.
    pub fn wait(&self, to_send: bool, timeout: Option<Duration>) -> io::Result<Ready> {
        let wanted = if to_send { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
        let mut fds = [PollFd::new(&self.fd, wanted)];
        let timeout = timeout.map(|time| {
            Timespec::try_from(time).unwrap_or(Timespec { tv_sec: i64::MAX, tv_nsec: 0 })
        });
        poll(&mut fds, timeout.as_ref())?;
        let seen = fds[0].revents();
        Ok(Ready {
            readable: seen.contains(PollFlags::IN),
            writable: seen.contains(PollFlags::OUT),
            gone: seen.intersects(PollFlags::ERR | PollFlags::NVAL),
        })
    }

    /// Sets whether calls return EAGAIN instead of blocking. Duplicates of the descriptor share the
    /// setting, which belongs to the open file.
    ///
    /// # Errors
    /// Those of ioctl(2). The kernel handles FIONBIO before the driver, so a deleted device is no
    /// error.
    pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        rustix::io::ioctl_fionbio(&self.fd, nonblocking)?;
        self.nonblocking.store(nonblocking, Ordering::Relaxed);
        Ok(())
    }

    /// Attaches a detached queue of a multi-queue device again; it becomes the last one.
    ///
    /// # Errors
    /// EINVAL if it is attached, or if the device has a single queue; EPERM without the right to
    /// attach. [`Cause::of_attach`](crate::Cause::of_attach) explains it.
    pub fn attach(&self) -> io::Result<()> {
        sys::tun::set_queue(self.fd.as_fd(), true)?;
        if let Some(place) = &self.place {
            place.attach();
        }
        Ok(())
    }

    /// Detaches the queue: it receives no more packets, and the last queue takes over its index.
    /// Sending still works, except with NAPI (EBUSY).
    ///
    /// # Errors
    /// EINVAL if it is detached, or if the device has a single queue.
    pub fn detach(&self) -> io::Result<()> {
        sys::tun::set_queue(self.fd.as_fd(), false)?;
        if let Some(place) = &self.place {
            place.detach();
        }
        Ok(())
    }

    /// Whether the queue is detached.
    ///
    /// # Errors
    /// EBADFD if the device was deleted.
    pub fn is_detached(&self) -> io::Result<bool> {
        Ok(sys::tun::get_iff(self.fd.as_fd())?.flags & sys::tun::IFF_DETACH_QUEUE != 0)
    }

    /// The queue's index for steering. `None` while it is detached, and if other programs have
    /// queues of the device too: the kernel does not report the index.
    #[must_use]
    pub fn index(&self) -> Option<u16> {
        self.place.as_ref()?.index()
    }

    /// Sends a duplicate of this queue's descriptor to the peer of a Unix socket. The queue stays
    /// usable.
    ///
    /// # Errors
    /// Those of sendmsg(2): EPIPE if the peer closed the socket.
    pub fn pass_to(&self, socket: impl AsFd) -> io::Result<()> {
        let fds = [self.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let fits = control.push(SendAncillaryMessage::ScmRights(&fds));
        debug_assert!(fits, "the space was made for one descriptor");
        // A stream socket carries descriptors only together with data.
        sendmsg(socket, &[IoSlice::new(b"q")], &mut control, SendFlags::NOSIGNAL)?;
        Ok(())
    }
}

const fn len_max(mode: Mode) -> usize {
    match mode {
        Mode::Tun => PACKET_LEN_MAX,
        Mode::Tap => FRAME_LEN_MAX,
    }
}

/// Whether a send error concerns only this packet, so that the next one may succeed.
pub(crate) fn is_refusal(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EMSGSIZE))
        || error.kind() == io::ErrorKind::InvalidData
}

fn invalid(malformed: Malformed) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, malformed)
}

impl io::Read for &Queue {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.recv(buf)
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.recv_vectored(bufs)
    }
}

impl io::Write for &Queue {
    fn write(&mut self, packet: &[u8]) -> io::Result<usize> {
        self.send(packet)
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.send_vectored(bufs)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for Queue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Queue {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

/// Returns the bare descriptor; the queue stays attached.
impl From<Queue> for OwnedFd {
    fn from(queue: Queue) -> Self {
        if let Some(place) = queue.place {
            place.keep();
        }
        queue.fd
    }
}
