//! Queues in tokio's reactor.
//!
//! Three facts about the kernel determine this file:
//!
//! - The queue of a deleted device polls as EPOLLERR and nothing else, which tokio does not count
//!   as readable. So every wait asks for errors too.
//! - A queue whose link is down never polls as writable, while a write fails with EIO at once. So a
//!   send is tried before it waits.
//! - Room in the send buffer wakes only waiters that poll has turned away before. So a send
//!   polls before it waits.
//!
//! Source: `tun_chr_poll`, `tun_get_user` and `tun_sock_write_space` of Linux `drivers/net/tun.c`.

use crate::sys::reactor;
use crate::{BatchSent, Queue, Receiver, Sender};
use adit_packet::{Batch, PacketBuf, Pair, Pool};
use rustix::io::Errno;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::pin::Pin;
use std::sync::OnceLock;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf, Ready};
use tokio::task::coop::{consume_budget, poll_proceed};

/// A [`Queue`] whose calls wait in tokio's reactor instead of blocking.
///
/// One call moves one whole packet, with the headers of its [`Layout`](crate::Layout) before it.
/// All methods take `&self`, so one task may receive while another sends. Every packet wakes all
/// tasks that receive: use one receiver per queue.
///
/// All futures are cancel-safe: a future dropped before it completes has moved no packet.
///
/// As [`AsyncRead`], one read is one packet, truncated if the buffer is too short. As
/// [`AsyncWrite`], one write (vectored or not) is one packet, and flushing does nothing. Both wake
/// only the last task that polled in that direction.
///
/// ```no_run
/// use adit_device::{AsyncQueue, DeviceOptions, Mode, RECORD_LEN_MAX};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let mut device = DeviceOptions::new(Mode::Tun).up(true).open()?;
/// let queue = AsyncQueue::new(device.take_queues().remove(0))?;
/// let mut packet = vec![0; RECORD_LEN_MAX];
/// let len = queue.recv(&mut packet).await?;
/// queue.send(&packet[..len]).await?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// Those of [`Queue`]. On a deleted device every call, including a pending one, fails with EBADFD
/// ([`DeviceGone`](crate::ErrorKind::DeviceGone)). While the link is down, sends fail with EIO;
/// receives wait until it is up.
#[derive(Debug)]
pub struct AsyncQueue {
    /// Registered for reading only. So the other direction is never ready while the device exists,
    /// and always ready when it is gone, which is what readers must learn.
    reader: AsyncFd<Queue>,
    /// A second descriptor of the same queue, because the reactor accepts each descriptor only
    /// once. Sends rarely wait (only with a limited send buffer), so the first one that does
    /// creates it.
    writer: OnceLock<AsyncFd<OwnedFd>>,
}

/// A packet, or EPOLLERR for a deleted device.
const TO_RECV: Interest = Interest::READABLE.add(Interest::ERROR);
const TO_SEND: Interest = Interest::WRITABLE.add(Interest::ERROR);

impl AsyncQueue {
    /// Registers a queue with the reactor of the current runtime, and makes it nonblocking.
    ///
    /// # Errors
    /// Those of fcntl(2) and epoll_ctl(2): ENOSPC at the limit of watched descriptors.
    ///
    /// # Panics
    /// Outside of a tokio runtime, or in one without I/O.
    #[track_caller]
    pub fn new(queue: Queue) -> io::Result<Self> {
        queue.set_nonblocking(true)?;
        let reader = reactor::register_queue(queue, Interest::READABLE)?;
        Ok(Self { reader, writer: OnceLock::new() })
    }

    /// The queue. It must stay nonblocking: otherwise calls block the runtime.
    #[must_use]
    pub fn get_ref(&self) -> &Queue {
        self.reader.get_ref()
    }

    /// Removes the queue from the reactor and returns it. It stays nonblocking.
    #[must_use]
    pub fn into_inner(self) -> Queue {
        self.reader.into_inner()
    }

    /// Waits until a packet may be available or the device is gone; [`Self::try_recv`] decides.
    ///
    /// # Errors
    /// If the runtime is shutting down.
    pub async fn readable(&self) -> io::Result<()> {
        self.reader.ready(TO_RECV).await?.retain_ready();
        Ok(())
    }

    /// Waits until there is room to send or the device is gone; [`Self::try_send`] decides. There
    /// is no room while the link is down.
    ///
    /// # Errors
    /// If the runtime is shutting down. The first wait also fails like [`Self::new`], or with
    /// EMFILE.
    pub async fn writable(&self) -> io::Result<()> {
        while !self.has_room()? {
            self.writer()?.ready(TO_SEND).await?.clear_ready();
        }
        Ok(())
    }

    /// Receives one packet if the reactor reports one; see [`Queue::recv`].
    ///
    /// # Errors
    /// See [`AsyncQueue`]. EAGAIN (`WouldBlock`): wait for [`Self::readable`].
    pub fn try_recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        match self.reader.try_io(Interest::READABLE, |queue| queue.recv(buf)) {
            Err(error) if would_block(&error) => {
                self.reader.try_io(Interest::ERROR, |_| Err(gone())).map_err(with_errno)
            }
            result => result,
        }
    }

    /// Sends one packet if there is room; see [`Queue::send`].
    ///
    /// # Errors
    /// See [`AsyncQueue`]. EAGAIN (`WouldBlock`): wait for [`Self::writable`].
    pub fn try_send(&self, packet: &[u8]) -> io::Result<usize> {
        self.get_ref().send(packet)
    }

    /// Receives one packet into `buf`, its headers first, and returns their total length.
    ///
    /// # Errors
    /// See [`AsyncQueue`] and [`Queue::recv`].
    pub async fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.recv_with(|queue| queue.recv(buf)).await
    }

    /// Waits for the first packet, then receives all available ones; see [`Queue::recv_batch`].
    ///
    /// # Errors
    /// See [`AsyncQueue`] and [`Queue::recv_batch`].
    pub async fn recv_batch(
        &self,
        pool: &mut Pool,
        pair: &mut Pair,
        batch: &mut Batch,
    ) -> io::Result<usize> {
        self.recv_with(|queue| queue.recv_batch(pool, pair, batch)).await
    }

    /// Sends one packet, its headers first.
    ///
    /// # Errors
    /// See [`AsyncQueue`] and [`Queue::send`].
    pub async fn send(&self, packet: &[u8]) -> io::Result<usize> {
        self.send_with(|queue| queue.send(packet)).await
    }

    /// Sends one packet with the headers of its meta.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub async fn send_packet(&self, packet: &PacketBuf) -> io::Result<usize> {
        self.send_with(|queue| queue.send_packet(packet)).await
    }

    /// Waits for room for the first packet, then sends packets from the front of `batch` while
    /// there is room; the rest stays in `batch`. See [`Queue::send_batch`].
    ///
    /// # Errors
    /// See [`AsyncQueue`] and [`Queue::send_batch`].
    pub async fn send_batch(&self, pool: &mut Pool, batch: &mut Batch) -> io::Result<BatchSent> {
        self.send_with(|queue| queue.send_batch(pool, batch)).await
    }

    /// Waits for the first packet, then receives all available ones through `receiver`; see
    /// [`Receiver::recv_batch`].
    ///
    /// # Errors
    /// See [`AsyncQueue`] and [`Queue::recv_batch`].
    pub async fn recv_through(
        &self,
        receiver: &mut Receiver,
        pool: &mut Pool,
        batch: &mut Batch,
    ) -> io::Result<usize> {
        // Undelivered segments do not make the queue readable, so deliver them without waiting.
        if receiver.has_pending() {
            match receiver.recv_batch(self.get_ref(), pool, batch) {
                Err(error) if would_block(&error) => {}
                result => return result,
            }
        }
        self.recv_with(|queue| receiver.recv_batch(queue, pool, batch)).await
    }

    /// Waits for room for the first packet, then sends packets through `sender` while there is
    /// room; see [`Sender::send_batch`].
    ///
    /// # Errors
    /// See [`AsyncQueue`] and [`Queue::send_batch`].
    pub async fn send_through(
        &self,
        sender: &mut Sender,
        pool: &mut Pool,
        batch: &mut Batch,
    ) -> io::Result<BatchSent> {
        self.send_with(|queue| sender.send_batch(queue, pool, batch)).await
    }

    async fn recv_with<R>(&self, mut recv: impl FnMut(&Queue) -> io::Result<R>) -> io::Result<R> {
        loop {
            consume_budget().await;
            let mut guard = self.reader.ready(TO_RECV).await?;
            match recv(self.get_ref()) {
                Err(error) if would_block(&error) => {}
                result => return result,
            }
            // The kernel reports the end of the device a moment before calls fail with it, and only
            // once.
            if guard.ready().is_error() {
                return Err(gone());
            }
            guard.clear_ready_matching(Ready::READABLE);
        }
    }

    async fn send_with<R>(&self, mut send: impl FnMut(&Queue) -> io::Result<R>) -> io::Result<R> {
        loop {
            consume_budget().await;
            match send(self.get_ref()) {
                Err(error) if would_block(&error) => self.writable().await?,
                result => return result,
            }
        }
    }

    pub(super) fn poll_recv_with<R>(
        &self,
        cx: &mut Context<'_>,
        mut recv: impl FnMut(&Queue) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        while let Poll::Ready(guard) = self.reader.poll_read_ready(cx) {
            if let Ok(result) = guard?.try_io(|reader| recv(reader.get_ref())) {
                return Poll::Ready(result);
            }
        }
        ready!(self.reader.poll_write_ready(cx))?.retain_ready();
        Poll::Ready(Err(gone()))
    }

    pub(super) fn poll_send_with<R>(
        &self,
        cx: &mut Context<'_>,
        mut send: impl FnMut(&Queue) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        ready!(poll_proceed(cx)).made_progress();
        loop {
            match send(self.get_ref()) {
                Err(error) if would_block(&error) => {}
                result => return Poll::Ready(result),
            }
            while !self.has_room()? {
                ready!(self.writer()?.poll_write_ready(cx))?.clear_ready();
            }
        }
    }

    /// Whether a send would not wait. If it would, the kernel knows about the waiter afterwards: it
    /// wakes only those whose poll found no room, and an edge-triggered reactor does not poll again
    /// after EAGAIN. Source: `SOCKWQ_ASYNC_NOSPACE` in Linux `drivers/net/tun.c`.
    fn has_room(&self) -> io::Result<bool> {
        let seen = self.get_ref().wait(true, Some(Duration::ZERO))?;
        Ok(seen.writable || seen.gone)
    }

    fn writer(&self) -> io::Result<&AsyncFd<OwnedFd>> {
        if self.writer.get().is_none() {
            let fd = self.as_fd().try_clone_to_owned()?;
            // Registered for reading too, because the kernel reports the end of a device to readers
            // only. Another task may have set the writer meanwhile: then ours is dropped.
            let interest = Interest::READABLE | Interest::WRITABLE;
            let _ = self.writer.set(reactor::register_fd(fd, interest)?);
        }
        Ok(self.writer.get().expect("it was set above, and is never taken out"))
    }
}

fn would_block(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}

/// The reactor's own `WouldBlock` has no errno.
fn with_errno(error: io::Error) -> io::Error {
    if would_block(&error) { Errno::AGAIN.into() } else { error }
}

/// The error of all calls on the queue of a deleted device.
fn gone() -> io::Error {
    Errno::BADFD.into()
}

impl AsyncRead for &AsyncQueue {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let len = ready!(self.poll_recv_with(cx, |queue| queue.recv(buf.initialize_unfilled())))?;
        buf.advance(len);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for &AsyncQueue {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        packet: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_send_with(cx, |queue| queue.send(packet))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_send_with(cx, |queue| queue.send_vectored(bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for AsyncQueue {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut &*self).poll_read(cx, buf)
    }
}

impl AsyncWrite for AsyncQueue {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        packet: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut &*self).poll_write(cx, packet)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut &*self).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl AsFd for AsyncQueue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.get_ref().as_fd()
    }
}

impl AsRawFd for AsyncQueue {
    fn as_raw_fd(&self) -> RawFd {
        self.get_ref().as_raw_fd()
    }
}
