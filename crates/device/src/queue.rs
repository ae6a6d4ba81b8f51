//! One queue of a device: a descriptor through which packets go in and out.

use crate::PacketHasher;
use crate::layout::{Layout, Mode};
use crate::order::Place;
use crate::sys;
use adit_packet::{Batch, Malformed, Meta, PacketBuf, Pair, Pool};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, ReadWriteFlags};
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The longest packet that IP can name; on TAP its Ethernet header and two VLAN tags come on top.
const PACKET_LEN_MAX: usize = 65_535;
const FRAME_LEN_MAX: usize = PACKET_LEN_MAX + 14 + 8;

/// A buffer of this many bytes holds whatever [`Queue::recv`] gives, headers and super-packets
/// inside UDP tunnels included. A shorter one may cut a packet off, and only a queue with packet
/// information tells so.
pub const RECORD_LEN_MAX: usize = 69_632;

/// One queue of a TUN or TAP device.
///
/// One call moves one packet, whole, with the headers of its [`Layout`] before it. Sharing a queue
/// between threads is sound; but of several threads that wait in [`Queue::recv`], every packet wakes
/// all: one reader a queue.
///
/// To end a wait from another thread, do not close the queue (that neither wakes the reader nor
/// frees the device): use [`Queue::wait`] with a time limit, or poll it beside an eventfd.
///
/// # Errors
/// Of every call that moves packets, with [`ErrorKind::of_queue`](crate::ErrorKind::of_queue) to
/// name them: EBADFD, or EFAULT of a read that was waiting: the device was deleted (`DeviceGone`),
/// and nothing more will come; EIO on sending: the link is down, the packet is lost and the device
/// is still there; EINVAL on sending: not a packet; EMSGSIZE: longer than any packet can be; EAGAIN
/// of a queue that does not wait.
#[derive(Debug)]
pub struct Queue {
    fd: OwnedFd,
    mode: Mode,
    layout: Layout,
    /// The longest packet with its headers; kept because every send compares with it.
    record_len_max: usize,
    nonblocking: AtomicBool,
    place: Option<Arc<Place>>,
    hasher: Option<Arc<PacketHasher>>,
}

/// What [`Queue::wait`] saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ready {
    /// A packet can be read.
    pub readable: bool,
    /// A packet can be sent; never while the link is down.
    pub writable: bool,
    /// The device was deleted: take the queue out of every poll set, or it will spin.
    pub gone: bool,
}

/// What became of the packets of one [`Queue::send_batch`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BatchSent {
    /// Taken by the kernel.
    pub sent: usize,
    /// Refused by the kernel or by our own checks as no packet at all, and dropped.
    pub refused: usize,
}

impl Queue {
    /// So many bytes end a batch: they are sent before they leave a core's second-level cache, and
    /// their buffers are read into again while they are in it. With 64 super-packets in a batch a read
    /// costs 1.7 times as much as with these four, which are within 5 % of one at a time.
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

    /// Fills the hash of each packet that [`Queue::recv_batch`] gives.
    pub(crate) fn set_hasher(&mut self, hasher: Arc<PacketHasher>) {
        self.hasher = Some(hasher);
    }

    /// Whether packets or frames go through it.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// What stands before each packet.
    #[must_use]
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// The longest packet or frame that [`Queue::send`] takes, without headers.
    #[must_use]
    pub fn len_max(&self) -> usize {
        len_max(self.mode)
    }

    /// Receives one packet into `buf`, its headers first, and gives their length together.
    ///
    /// # Errors
    /// See [`Queue`]. EINVAL: `buf` is shorter than the headers, and the packet is lost.
    #[inline]
    pub fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::io::read(&self.fd, buf)?)
    }

    /// Receives one packet into several buffers, one after the other.
    ///
    /// # Errors
    /// As [`Queue::recv`].
    #[inline]
    pub fn recv_vectored(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        Ok(rustix::io::readv(&self.fd, bufs)?)
    }

    /// Sends one packet, its headers first.
    ///
    /// # Errors
    /// See [`Queue`]. The MTU is not checked: neither does the kernel.
    #[inline]
    pub fn send(&self, packet: &[u8]) -> io::Result<usize> {
        if packet.len() > self.record_len_max {
            return Err(Errno::MSGSIZE.into());
        }
        Ok(rustix::io::write(&self.fd, packet)?)
    }

    /// Sends one packet out of several buffers, one after the other.
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

    /// Receives packets until there are none left, `batch` is full, [`Queue::BATCH_BYTES`] came or
    /// `pool` is empty, and says how many. A queue that waits does so for the first packet only. Nothing is allocated once `pool`
    /// is warm; `pair` is what is kept ready from call to call. Super-packets come whole: a
    /// [`Receiver`](crate::Receiver) cuts them up.
    ///
    /// # Errors
    /// See [`Queue`]; after an error, packets that came before it are in `batch` only if the call
    /// returned their number: an error is returned when it is the first thing that happens. EAGAIN:
    /// there was none. ENOBUFS: `pool` has no buffer left.
    pub fn recv_batch(
        &self,
        pool: &mut Pool,
        pair: &mut Pair,
        batch: &mut Batch,
    ) -> io::Result<usize> {
        let (mut count, mut bytes) = (0, 0);
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

    /// Receives one packet into a buffer of `pool`, headers decoded into its meta: what
    /// [`Queue::recv_batch`] does, for a caller who has a use for each packet at once.
    ///
    /// # Errors
    /// As [`Queue::recv_batch`]. InvalidData: the header before the packet is not one.
    #[inline]
    pub fn recv_packet(&self, pool: &mut Pool, pair: &mut Pair) -> io::Result<PacketBuf> {
        self.recv_next(pool, pair, false)
    }

    /// Receives one packet; if there were others before it, without waiting.
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
            // The offset of -1 means "as read(2)": the queue has no position.
            let bufs = &mut [IoSliceMut::new(room)];
            rustix::io::preadv2(&self.fd, bufs, u64::MAX, ReadWriteFlags::NOWAIT)?
        } else {
            rustix::io::read(&self.fd, &mut *room)?
        };
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

    /// Sends packets from the front of `batch`, with the headers that their meta says, and gives
    /// their buffers back to `pool`. What could not be sent yet stays in `batch`.
    ///
    /// Each goes as it is: a [`Sender`](crate::Sender) cuts up what this queue or kernel does not
    /// take whole, and joins what may be joined.
    ///
    /// # Errors
    /// See [`Queue`], with the packet that met it at the front of `batch`: returned when it is the
    /// first thing that happens. A packet that the kernel refuses as malformed, or whose meta does not
    /// go into the header of this queue, is dropped and counted, and the rest go on.
    pub fn send_batch(&self, pool: &mut Pool, batch: &mut Batch) -> io::Result<BatchSent> {
        let mut done = BatchSent::default();
        let mut failed = None;
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

    /// Sends one packet with the headers that its meta says.
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

    /// As [`Queue::send_packet`], in one piece where the packet has room for its headers before it:
    /// what was in that headroom is written over.
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

    /// Waits until a packet can be read (or, with `to_send`, sent), at most for `timeout`.
    ///
    /// # Errors
    /// EINTR if a signal came.
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

    /// Whether calls give EAGAIN instead of waiting. The setting belongs to the open file: a
    /// duplicate of the descriptor shares it.
    ///
    /// # Errors
    /// Those of ioctl(2): FIONBIO is answered for every kind of file before its driver.
    pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        rustix::io::ioctl_fionbio(&self.fd, nonblocking)?;
        self.nonblocking.store(nonblocking, Ordering::Relaxed);
        Ok(())
    }

    /// Attaches a queue of a multi-queue device that was detached; it becomes the last one.
    ///
    /// # Errors
    /// EINVAL if it is attached, or if the device has one queue only; EPERM for a user who may not.
    /// [`Cause::of_attach`](crate::Cause::of_attach) tells it.
    pub fn attach(&self) -> io::Result<()> {
        sys::tun::set_queue(self.fd.as_fd(), true)?;
        if let Some(place) = &self.place {
            place.attach();
        }
        Ok(())
    }

    /// Detaches this queue: it gets no more packets, and the last queue takes its index. Sending
    /// still works, except with NAPI (EBUSY).
    ///
    /// # Errors
    /// EINVAL if it is detached, or if the device has one queue only.
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
    /// EBADFD if the device is gone.
    pub fn is_detached(&self) -> io::Result<bool> {
        Ok(sys::tun::get_iff(self.fd.as_fd())?.flags & sys::tun::IFF_DETACH_QUEUE != 0)
    }

    /// The index by which steering names the queue; `None` while it is detached or where other
    /// programs hold queues of the device as well, for the kernel does not tell it.
    #[must_use]
    pub fn index(&self) -> Option<u16> {
        self.place.as_ref()?.index()
    }
}

const fn len_max(mode: Mode) -> usize {
    match mode {
        Mode::Tun => PACKET_LEN_MAX,
        Mode::Tap => FRAME_LEN_MAX,
    }
}

/// Whether an error of sending is about the packet: no other packet would meet it.
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

/// The queue goes on as a bare descriptor.
impl From<Queue> for OwnedFd {
    fn from(queue: Queue) -> Self {
        if let Some(place) = queue.place {
            place.keep();
        }
        queue.fd
    }
}
