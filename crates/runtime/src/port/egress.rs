//! Frames on their way out of a port that cannot take everything: cut up where it takes no
//! super-packets, and queued, within bounds, while it takes nothing.

use crate::port::{Cx, Gone, PortCounters};
use adit_packet::{Batch, Layer, PacketBuf, Pool, SuperPacket, finish_checksum};
use std::collections::VecDeque;

/// How many frames may wait at a port: four batches, or 6 ms of full frames at 500 Mbit/s.
const FRAMES_MAX: usize = 256;

/// How many bytes may wait at a port: 16 super-packets. The pool of a loop has 256 large buffers, so
/// a few stuck ports cannot use them up, nor starve those that move.
const BYTES_MAX: usize = 1 << 20;

/// Where the frames of a port go.
pub trait Sink {
    /// Whether [`Self::send_packet`] takes super-packets and open checksums.
    const TAKES_OFFLOADS: bool = false;

    /// Sends a frame in two parts, with nothing left to be done for it.
    fn send_parts(&mut self, head: &[u8], tail: &[u8]) -> Result<(), Refusal>;

    /// Sends a packet as it is.
    fn send_packet(&mut self, packet: &PacketBuf) -> Result<(), Refusal> {
        self.send_parts(packet.bytes(), &[])
    }
}

/// Why a frame did not go.
#[derive(Debug)]
pub enum Refusal {
    /// There is no room now.
    Room,
    /// The receiver has no room; the frame is lost.
    Full,
    /// The link is down.
    Down,
    /// It is too long.
    TooBig,
    /// It is not taken as it is: a super-packet must be cut up, another frame is lost.
    Refused,
    /// Nothing goes any more.
    Gone(Gone),
}

/// The frames of one port that wait, in order.
#[derive(Debug)]
pub struct Egress {
    frames: VecDeque<PacketBuf>,
    bytes: usize,
    /// How many segments of the first frame went already.
    begun: usize,
}

impl Default for Egress {
    fn default() -> Self {
        Self::new()
    }
}

impl Egress {
    /// An empty queue.
    #[must_use]
    pub fn new() -> Self {
        Self { frames: VecDeque::with_capacity(FRAMES_MAX), bytes: 0, begun: 0 }
    }

    /// Whether frames wait.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        !self.frames.is_empty()
    }

    /// How many frames wait.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.frames.len()
    }

    /// Sends what goes, queues what does not, and leaves `batch` empty.
    pub fn send(
        &mut self,
        sink: &mut impl Sink,
        cx: &mut Cx<'_>,
        batch: &mut Batch,
    ) -> Result<(), Gone> {
        let mut result = Ok(());
        for mut packet in batch.drain(..) {
            if result.is_err() || self.is_waiting() {
                self.queue(packet, cx.pool, cx.counters);
                continue;
            }
            let mut begun = 0;
            match send_one(sink, cx, &mut packet, &mut begun) {
                Sent::Done => cx.pool.give(packet),
                Sent::Room => {
                    self.queue(packet, cx.pool, cx.counters);
                    self.begun = begun;
                }
                Sent::Gone(gone) => {
                    cx.pool.give(packet);
                    result = Err(gone);
                }
            }
        }
        result
    }

    /// Sends what waits until there is no room.
    pub fn flush(&mut self, sink: &mut impl Sink, cx: &mut Cx<'_>) -> Result<(), Gone> {
        while let Some(packet) = self.frames.front_mut() {
            let sent = send_one(sink, cx, packet, &mut self.begun);
            if matches!(sent, Sent::Room) {
                return Ok(());
            }
            self.begun = 0;
            if let Some(packet) = self.frames.pop_front() {
                self.bytes = self.bytes.saturating_sub(packet.len());
                cx.pool.give(packet);
            }
            if let Sent::Gone(gone) = sent {
                return Err(gone);
            }
        }
        Ok(())
    }

    /// Takes all of `batch` in; those without room are dropped, the newest first.
    pub fn queue_all(&mut self, batch: &mut Batch, pool: &mut Pool, counters: &mut PortCounters) {
        batch.drain(..).for_each(|packet| self.queue(packet, pool, counters));
    }

    /// Moves the first of them into `batch`, as many as it takes.
    pub fn move_to(&mut self, batch: &mut Batch) {
        while !batch.is_full()
            && let Some(packet) = self.frames.pop_front()
        {
            self.bytes = self.bytes.saturating_sub(packet.len());
            if let Err(packet) = batch.push(packet) {
                self.put_back(packet);
                return;
            }
        }
    }

    /// Puts what was moved out and did not go back to the front, in order.
    pub fn return_from(&mut self, batch: &mut Batch) {
        batch.drain(..).rev().for_each(|packet| self.put_back(packet));
    }

    /// Gives all buffers back.
    pub fn clear(&mut self, pool: &mut Pool) {
        self.frames.drain(..).for_each(|packet| pool.give(packet));
        (self.bytes, self.begun) = (0, 0);
    }

    fn queue(&mut self, packet: PacketBuf, pool: &mut Pool, counters: &mut PortCounters) {
        if self.frames.len() >= FRAMES_MAX || self.bytes + packet.len() > BYTES_MAX {
            counters.queue_full += 1;
            pool.give(packet);
            return;
        }
        self.bytes += packet.len();
        self.frames.push_back(packet);
    }

    fn put_back(&mut self, packet: PacketBuf) {
        self.bytes += packet.len();
        self.frames.push_front(packet);
    }
}

/// What became of a frame.
enum Sent {
    /// It went or was dropped; it is counted.
    Done,
    Room,
    Gone(Gone),
}

/// Sends one frame, from segment `begun` on if it is a super-packet that is cut up.
fn send_one<S: Sink>(
    sink: &mut S,
    cx: &mut Cx<'_>,
    packet: &mut PacketBuf,
    begun: &mut usize,
) -> Sent {
    let is_super = packet.meta.vnet.is_super_packet();
    if !is_super && !S::TAKES_OFFLOADS && finish_checksum(packet).is_err() {
        cx.counters.refused += 1;
        return Sent::Done;
    }
    if !is_super || S::TAKES_OFFLOADS && *begun == 0 {
        match sink.send_packet(packet) {
            Err(Refusal::Refused | Refusal::TooBig) if is_super => {}
            result => return settle(result, cx, packet.len()),
        }
    }
    let len = packet.len();
    let Ok(whole) = SuperPacket::parse(packet.bytes(), &packet.meta.vnet, Layer::Frame) else {
        cx.counters.refused += 1;
        return Sent::Done;
    };
    let Some(headers) = cx.scratch.headers.get_mut(..whole.header_len()) else {
        cx.counters.refused += 1;
        return Sent::Done;
    };
    while let Some(segment) = whole.segment(*begun) {
        if segment.write_headers(headers).is_err() {
            cx.counters.refused += 1;
            return Sent::Done;
        }
        match sink.send_parts(headers, segment.payload()) {
            Ok(()) => *begun += 1,
            Err(Refusal::Room) => return Sent::Room,
            // The rest of it would meet the same.
            result => return settle(result, cx, len),
        }
    }
    settle(Ok(()), cx, len)
}

/// Counts what became of a frame of `len` bytes.
fn settle(result: Result<(), Refusal>, cx: &mut Cx<'_>, len: usize) -> Sent {
    match result {
        Ok(()) => {
            cx.counters.sent += 1;
            cx.counters.sent_bytes += u64::try_from(len).unwrap_or(0);
        }
        Err(Refusal::Room) => return Sent::Room,
        Err(Refusal::Full) => cx.counters.queue_full += 1,
        Err(Refusal::Down) => cx.counters.link_down += 1,
        Err(Refusal::TooBig) => cx.counters.too_big += 1,
        Err(Refusal::Refused) => cx.counters.refused += 1,
        Err(Refusal::Gone(gone)) => return Sent::Gone(gone),
    }
    Sent::Done
}
