//! A queue as a stream and a sink of packets.

use super::queue::AsyncQueue;
use crate::ErrorKind;
use adit_packet::{PacketBuf, Pair, Pool};
use futures_core::Stream;
use futures_core::stream::FusedStream;
use futures_sink::Sink;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// A stream of received packets and a sink for packets to send.
///
/// The stream yields packets in buffers of the pool, which go back there when they are sent or
/// given to [`Framed::give`]. The memory of dropped ones goes to the allocator. The sink holds one
/// packet until it is flushed or the next one comes.
///
/// # Errors
/// The stream continues after a packet that cannot be decoded (EINVAL, `InvalidData`, EMSGSIZE).
/// Any other error is its last item: a deleted device yields exactly one, of kind
/// [`DeviceGone`](ErrorKind::DeviceGone). An error of the sink concerns the packet that it held,
/// which is dropped; the sink stays usable, for example after a link that was down (EIO) is up
/// again.
#[derive(Debug)]
pub struct Framed {
    queue: AsyncQueue,
    pool: Pool,
    pair: Pair,
    outgoing: Option<PacketBuf>,
    ended: bool,
}

impl Framed {
    /// A stream and a sink of the packets of `queue`, with buffers from `pool`.
    #[must_use]
    pub fn new(queue: AsyncQueue, pool: Pool) -> Self {
        Self { queue, pool, pair: Pair::default(), outgoing: None, ended: false }
    }

    /// The queue.
    #[must_use]
    pub fn get_ref(&self) -> &AsyncQueue {
        &self.queue
    }

    /// Returns the queue. A packet that was not flushed is dropped.
    #[must_use]
    pub fn into_inner(self) -> AsyncQueue {
        self.queue
    }

    /// An empty buffer with room for `len` bytes, for a packet to send; `None` at the limit of the
    /// pool.
    #[must_use]
    pub fn take(&mut self, len: usize) -> Option<PacketBuf> {
        let mut packet = self.pool.take(len)?;
        self.pool.release(&mut packet);
        Some(packet)
    }

    /// Gives the buffer of a packet back to the pool.
    pub fn give(&mut self, packet: PacketBuf) {
        self.pool.give(packet);
    }

    /// Sends the packet that the sink holds.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(packet) = &mut self.outgoing else { return Poll::Ready(Ok(())) };
        let sent = ready!(self.queue.poll_send_with(cx, |queue| queue.send_packet_mut(packet)));
        if let Some(packet) = self.outgoing.take() {
            self.pool.give(packet);
        }
        Poll::Ready(sent.map(|_| ()))
    }
}

impl Stream for Framed {
    type Item = io::Result<PacketBuf>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if this.ended {
            return Poll::Ready(None);
        }
        let Self { queue, pool, pair, .. } = this;
        let mut item = ready!(queue.poll_recv_with(cx, |queue| queue.recv_packet(pool, pair)));
        match &mut item {
            Ok(packet) => this.pool.release(packet),
            Err(error) => this.ended = !is_of_one_packet(error),
        }
        Poll::Ready(Some(item))
    }
}

impl FusedStream for Framed {
    fn is_terminated(&self) -> bool {
        self.ended
    }
}

/// Whether the error concerns one packet only.
fn is_of_one_packet(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::InvalidData
        || error.raw_os_error() == Some(libc::EMSGSIZE)
        || ErrorKind::of_queue(error) == ErrorKind::Malformed
}

impl Sink<PacketBuf> for Framed {
    type Error = io::Error;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_send(cx)
    }

    fn start_send(self: Pin<&mut Self>, packet: PacketBuf) -> io::Result<()> {
        self.get_mut().outgoing = Some(packet);
        Ok(())
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_send(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_send(cx)
    }
}
