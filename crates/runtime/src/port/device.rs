//! A TUN or TAP device as a port: super-packets whole both ways.

use crate::event::Gone;
use crate::port::egress::Egress;
use crate::port::{Cx, Recv};
use adit_device::{Device, ErrorKind, Queue, SendOptions, Sender};
use adit_packet::{Batch, Pool};
use rustix::io::Errno;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

/// One queue of a device. The device's handle is kept: without it a transient device would live on,
/// but nobody could be asked where it is.
pub struct DevicePort {
    pub device: Device,
    queue: Queue,
    sender: Sender,
    waiting: Egress,
    /// For moving what waits to the sender.
    batch: Batch,
}

impl DevicePort {
    /// `device` has one queue at least, which does not wait; the others are closed.
    pub fn new(mut device: Device) -> io::Result<Self> {
        let queue = device.take_queues().into_iter().next().ok_or(Errno::BADFD)?;
        queue.set_nonblocking(true)?;
        let sender = Sender::new(queue.mode(), SendOptions::ALL);
        Ok(Self { device, queue, sender, waiting: Egress::new(), batch: Batch::new() })
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        self.queue.as_fd()
    }

    #[inline]
    pub fn recv(&mut self, cx: &mut Cx<'_>) -> Recv {
        match self.queue.recv_packet(cx.pool, &mut cx.kit.pair) {
            Ok(packet) => Recv::Packet(packet),
            Err(error) => self.no_packet(cx, &error),
        }
    }

    #[cold]
    fn no_packet(&self, cx: &mut Cx<'_>, error: &io::Error) -> Recv {
        match Errno::from_io_error(error) {
            Some(Errno::AGAIN) => return Recv::Nothing,
            Some(Errno::INTR) => return Recv::Dropped,
            // The pool is empty. What stays unread would be ready for ever.
            Some(Errno::NOBUFS) => {
                return match self.queue.recv(&mut cx.kit.scratch) {
                    Ok(_) => {
                        cx.counters.no_buffer += 1;
                        Recv::Dropped
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => Recv::Nothing,
                    Err(error) => gone_or_nothing(error),
                };
            }
            _ => {}
        }
        match ErrorKind::of_queue(error) {
            ErrorKind::DeviceGone => Recv::Gone(Gone::Deleted),
            _ => {
                cx.counters.malformed += 1;
                Recv::Dropped
            }
        }
    }

    #[inline]
    pub fn send(&mut self, cx: &mut Cx<'_>, batch: &mut Batch) -> Result<(), Gone> {
        if self.is_waiting() {
            self.waiting.queue_all(batch, cx.pool, cx.counters);
            return Ok(());
        }
        if self.write(cx, batch)? == Room::None {
            self.waiting.queue_all(batch, cx.pool, cx.counters);
        }
        Ok(())
    }

    pub fn flush(&mut self, cx: &mut Cx<'_>) -> Result<(), Gone> {
        let mut batch = std::mem::replace(&mut self.batch, Batch::with_capacity(0));
        let mut result = Ok(Room::Some);
        while matches!(result, Ok(Room::Some)) && self.is_waiting() {
            self.waiting.move_to(&mut batch);
            result = self.write(cx, &mut batch);
            self.waiting.return_from(&mut batch);
        }
        self.batch = batch;
        result.map(|_| ())
    }

    pub fn is_waiting(&self) -> bool {
        self.waiting.is_waiting() || self.sender.has_pending()
    }

    pub fn close(&mut self, pool: &mut Pool) {
        self.waiting.clear(pool);
        self.sender.give_pending(pool);
    }

    /// Writes until `batch` is empty, or there is no room.
    #[inline]
    fn write(&mut self, cx: &mut Cx<'_>, batch: &mut Batch) -> Result<Room, Gone> {
        while !batch.is_empty() || self.sender.has_pending() {
            let before = bytes_of(batch);
            match self.sender.send_batch(&self.queue, cx.pool, batch) {
                Ok(done) => {
                    cx.counters.sent += u64::try_from(done.sent).unwrap_or(0);
                    cx.counters.refused += u64::try_from(done.refused).unwrap_or(0);
                    let bytes = before.saturating_sub(bytes_of(batch));
                    cx.counters.sent_bytes += u64::try_from(bytes).unwrap_or(0);
                }
                Err(error) => match self.not_written(cx, batch, error) {
                    Ok(Room::Some) => {}
                    other => return other,
                },
            }
        }
        Ok(Room::Some)
    }

    /// The first packet met an error: what becomes of it.
    #[cold]
    fn not_written(
        &mut self,
        cx: &mut Cx<'_>,
        batch: &mut Batch,
        error: io::Error,
    ) -> Result<Room, Gone> {
        let count = match ErrorKind::of_queue(&error) {
            ErrorKind::WouldBlock => return Ok(Room::None),
            ErrorKind::DeviceGone => {
                batch.give_all(cx.pool);
                return Err(Gone::Deleted);
            }
            // All the others would meet the same.
            ErrorKind::LinkDown => {
                cx.counters.link_down += u64::try_from(batch.len()).unwrap_or(0);
                batch.len()
            }
            _ if error.kind() == io::ErrorKind::Interrupted => return Ok(Room::Some),
            _ => {
                cx.counters.refused += 1;
                1
            }
        };
        self.sender.give_pending(cx.pool);
        batch.drain(..count).for_each(|packet| cx.pool.give(packet));
        Ok(Room::Some)
    }
}

/// Whether the kernel takes more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Room {
    Some,
    None,
}

fn bytes_of(batch: &Batch) -> usize {
    batch.iter().map(adit_packet::PacketBuf::len).sum()
}

fn gone_or_nothing(error: io::Error) -> Recv {
    match ErrorKind::of_queue(&error) {
        ErrorKind::DeviceGone => Recv::Gone(Gone::Deleted),
        _ => Recv::Gone(Gone::Failed(error)),
    }
}
