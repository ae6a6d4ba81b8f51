//! From the inside to the socket: what was received, and the window.
//!
//! ```text
//!        next                    edge   credit
//! --------|-----[##]---[####]-----|------|        offsets in the stream
//!  socket   hole  pieces           advertised, and what the socket takes
//! ```
//!
//! The socket's credit is the window: every byte before it is taken, so nothing inside the advertised
//! window is dropped. Bytes in order go to the socket in the packet that brought them. Bytes behind a hole
//! are copied, reported as SACK blocks, and follow when the hole is filled.

use alloc::vec::Vec;

use adit_packet::{Meta, PacketBuf};

use adit_engine::Endpoint;
use adit_engine::Outbox;
use adit_engine::flow::FlowId;

/// Pieces behind holes: more are dropped, which the inside sends again. A SACK option shows four at most.
const PIECES_MAX: usize = 64;

/// The longest packet of reordered bytes that goes to the socket at once.
const PACKET_LEN: usize = 32 * 1024;

/// Bytes behind a hole.
#[derive(Debug)]
struct Piece {
    start: u64,
    bytes: Vec<u8>,
}

impl Piece {
    fn end(&self) -> u64 {
        self.start + count(self.bytes.len())
    }
}

/// The direction from the inside.
#[derive(Debug, Default)]
pub(super) struct Up {
    /// All bytes before it went to the socket.
    pub(super) next: u64,
    /// The socket takes the bytes before it.
    pub(super) credit: u64,
    /// The right edge of the window that the inside knows.
    pub(super) edge: u64,
    /// Where the inside has ended its direction.
    pub(super) fin: Option<u64>,
    /// The inside's end went to the socket.
    pub(super) has_finished: bool,
    /// In order, apart from each other.
    pieces: Vec<Piece>,
    /// Where the piece that grew last starts.
    latest: u64,
}

/// What a segment's bytes were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// The next ones.
    InOrder,
    /// Received before, behind a hole, the filling of one, or out of the window: to be acknowledged now.
    OutOfOrder,
    /// They had to be dropped for want of memory.
    Dropped,
}

impl Up {
    /// Takes the bytes of a segment at `offset`, of which `packet` has nothing else; `urgent` is the
    /// offset of an urgent byte. `budget` is what reordered bytes of all connections may still take.
    pub(super) fn take(
        &mut self,
        flow: FlowId,
        offset: i64,
        urgent: Option<u64>,
        mut packet: PacketBuf,
        budget: &mut usize,
        out: &mut Outbox,
    ) -> Taken {
        packet.meta = Meta::default();
        let end = offset.saturating_add(i64::try_from(packet.len()).unwrap_or(i64::MAX));
        let (next, credit) = (signed(self.next), signed(self.credit));
        if end <= next || offset >= credit {
            out.absorb(packet);
            return Taken::OutOfOrder;
        }
        let past = usize::try_from(next - offset).unwrap_or(0);
        packet.advance(past);
        let start = offset.max(next);
        packet.truncate(usize::try_from(credit - start).unwrap_or(0));
        let start = u64::try_from(start).unwrap_or(0);
        if start > self.next {
            return self.keep(start, packet, budget, out);
        }
        self.forward(flow, urgent, packet, out);
        if self.pieces.is_empty() {
            return if past == 0 { Taken::InOrder } else { Taken::OutOfOrder };
        }
        self.drain(flow, budget, out);
        Taken::OutOfOrder
    }

    /// Sends on what lies in order, e.g. when there was no buffer for it before.
    pub(super) fn drain(&mut self, flow: FlowId, budget: &mut usize, out: &mut Outbox) {
        while let Some(piece) = self.pieces.first().filter(|piece| piece.start <= self.next) {
            let past = usize::try_from(self.next - piece.start).unwrap_or(usize::MAX);
            let fresh = piece.bytes.get(past..).unwrap_or_default();
            for part in fresh.chunks(PACKET_LEN) {
                let Some(mut packet) = out.make(part.len()) else { return };
                // It has room for as much.
                let _ = packet.extend(part);
                self.next += count(part.len());
                out.send(Endpoint::Flow(flow), packet);
            }
            *budget += self.pieces.remove(0).bytes.capacity();
        }
    }

    /// Forgets what is behind holes.
    pub(super) fn clear(&mut self, budget: &mut usize) {
        *budget += self.pieces.iter().map(|piece| piece.bytes.capacity()).sum::<usize>();
        self.pieces.clear();
    }

    /// Whether something lies in order that found no buffer.
    pub(super) fn is_stuck(&self) -> bool {
        self.pieces.first().is_some_and(|piece| piece.start <= self.next)
    }

    /// The inside's end is at `offset`.
    pub(super) fn end_at(&mut self, offset: i64) {
        if self.fin.is_none() {
            self.fin = u64::try_from(offset).ok().filter(|&end| end >= self.next);
        }
    }

    /// Whether all bytes before the inside's end went to the socket.
    pub(super) fn is_at_end(&self) -> bool {
        self.fin == Some(self.next)
    }

    /// What is acknowledged: the offset of the next byte, past the end if that was reached.
    pub(super) fn acknowledged(&self) -> u64 {
        self.next + u64::from(self.is_at_end())
    }

    /// The blocks of a SACK option, the latest first (RFC 2018, 4).
    pub(super) fn blocks(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        let all = || self.pieces.iter().map(|piece| (piece.start, piece.end()));
        let latest = all().find(|block| block.0 == self.latest);
        latest.into_iter().chain(all().filter(move |&block| Some(block) != latest))
    }

    /// Sends bytes in order to the socket, in two packets if one of them in the middle is urgent.
    fn forward(
        &mut self,
        flow: FlowId,
        urgent: Option<u64>,
        mut packet: PacketBuf,
        out: &mut Outbox,
    ) {
        let end = self.next + count(packet.len());
        let urgent = urgent.filter(|at| (self.next..end).contains(at));
        let rest = urgent.and_then(|at| {
            let len = usize::try_from(at + 1 - self.next).ok()?;
            packet.meta.urgent = true;
            let bytes = packet.bytes().get(len..).filter(|rest| !rest.is_empty())?;
            let mut rest = out.make(bytes.len());
            if let Some(rest) = &mut rest {
                // It has room for as much.
                let _ = rest.extend(bytes);
            }
            // Without a buffer the inside sends the rest again.
            packet.truncate(len);
            rest
        });
        for packet in [Some(packet), rest].into_iter().flatten() {
            self.next += count(packet.len());
            out.send(Endpoint::Flow(flow), packet);
        }
    }

    /// Copies bytes behind a hole.
    fn keep(
        &mut self,
        start: u64,
        packet: PacketBuf,
        budget: &mut usize,
        out: &mut Outbox,
    ) -> Taken {
        let end = start + count(packet.len());
        // The piece that it continues or overlaps.
        let at = self.pieces.partition_point(|piece| piece.end() < start);
        let joins = self.pieces.get(at).is_some_and(|piece| piece.start <= start);
        if !joins {
            // Before the next piece, which may overlap its end.
            if self.pieces.len() >= PIECES_MAX || *budget < packet.len() {
                out.discard(packet, adit_engine::DropReason::QUEUE_FULL);
                return Taken::Dropped;
            }
            self.pieces.insert(at, Piece { start, bytes: Vec::new() });
        }
        let Some(piece) = self.pieces.get_mut(at) else {
            out.absorb(packet);
            return Taken::OutOfOrder;
        };
        let past = usize::try_from(piece.end() - start).unwrap_or(usize::MAX);
        let fresh = packet.bytes().get(past..).unwrap_or_default();
        let before = piece.bytes.capacity();
        // A vector doubles at most.
        if *budget < fresh.len() + before {
            if piece.bytes.is_empty() {
                self.pieces.remove(at);
            }
            out.discard(packet, adit_engine::DropReason::QUEUE_FULL);
            return Taken::Dropped;
        }
        piece.bytes.extend_from_slice(fresh);
        self.latest = piece.start;
        *budget = budget.saturating_sub(piece.bytes.capacity() - before);
        out.absorb(packet);
        // What it reached or covered becomes part of it.
        while self.pieces.get(at + 1).is_some_and(|next| next.start <= end) {
            let next = self.pieces.remove(at + 1);
            *budget += next.bytes.capacity();
            let Some(piece) = self.pieces.get_mut(at) else { break };
            let past = usize::try_from(piece.end().saturating_sub(next.start)).unwrap_or(0);
            let before = piece.bytes.capacity();
            piece.bytes.extend_from_slice(next.bytes.get(past..).unwrap_or_default());
            *budget = budget.saturating_sub(piece.bytes.capacity() - before);
        }
        Taken::OutOfOrder
    }
}

fn signed(offset: u64) -> i64 {
    i64::try_from(offset).unwrap_or(i64::MAX)
}

fn count(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use adit_packet::{Batch, Pool, PoolConfig};
    use proptest::prelude::{prop, proptest};

    fn stream(len: usize) -> Vec<u8> {
        (0..len).map(|at| u8::try_from(at % 251).unwrap()).collect()
    }

    struct Rig {
        up: Up,
        out: Outbox,
        budget: usize,
        got: Vec<u8>,
        urgent: Vec<usize>,
    }

    impl Rig {
        fn new(credit: u64) -> Self {
            let up = Up { credit, ..Up::default() };
            let out = Outbox::new(Pool::new(PoolConfig::default()));
            Self { up, out, budget: 100_000, got: Vec::new(), urgent: Vec::new() }
        }

        fn take(&mut self, offset: i64, bytes: &[u8], urgent: Option<u64>) -> Taken {
            let mut packet = self.out.make(bytes.len()).unwrap();
            packet.extend(bytes).unwrap();
            let Self { up, out, budget, .. } = self;
            let taken = up.take(FlowId(1), offset, urgent, packet, budget, out);
            let mut batch = Batch::new();
            while self.out.next_group(&mut batch).is_some() {
                for packet in batch.drain(..) {
                    self.got.extend_from_slice(packet.bytes());
                    if packet.meta.urgent {
                        self.urgent.push(self.got.len() - 1);
                    }
                    self.out.pool().give(packet);
                }
            }
            taken
        }
    }

    #[test]
    fn the_credit_is_the_window() {
        let mut rig = Rig::new(10);
        assert_eq!(rig.take(0, b"0123456789abc", None), Taken::InOrder);
        assert_eq!(rig.got, b"0123456789");
        assert_eq!(rig.take(10, b"a", None), Taken::OutOfOrder, "a probe of a closed window");
        rig.up.credit = 12;
        assert_eq!(rig.take(9, b"9abc", None), Taken::OutOfOrder);
        assert_eq!(rig.got, b"0123456789ab");
    }

    #[test]
    fn an_urgent_byte_ends_its_packet() {
        let mut rig = Rig::new(100);
        rig.take(0, b"abc!de", Some(3));
        assert_eq!((&rig.got[..], &rig.urgent[..]), (&b"abc!de"[..], &[3][..]));
        rig.take(6, b"f", Some(3));
        assert_eq!(rig.urgent, [3], "it was urgent before");
    }

    #[test]
    fn memory_for_reordered_bytes_is_bounded() {
        let mut rig = Rig::new(1 << 30);
        for number in 0..1000 {
            rig.take(1 + number * 200, &[0; 100], None);
        }
        assert!(rig.up.pieces.len() <= PIECES_MAX);
        for _ in 0..100 {
            rig.take(1 << 20, &[0; 60_000], None);
        }
        let used: usize = rig.up.pieces.iter().map(|piece| piece.bytes.capacity()).sum();
        assert_eq!(used + rig.budget, 100_000);
        rig.up.clear(&mut rig.budget);
        assert_eq!(rig.budget, 100_000);
        assert!(rig.out.counts().discarded() > 0);
    }

    proptest! {
        #[test]
        fn any_order_gives_the_stream(parts in prop::collection::vec((0..900_usize, 1..200_usize), 1..60)) {
            let whole = stream(1200);
            let mut rig = Rig::new(1000);
            for (start, len) in parts {
                rig.take(i64::try_from(start).unwrap(), &whole[start..start + len], None);
                let mut blocks: Vec<_> = rig.up.blocks().collect();
                blocks.sort_unstable();
                assert!(blocks.iter().all(|block| block.0 > rig.up.next && block.1 <= 1000));
                assert!(blocks.windows(2).all(|pair| pair[0].1 < pair[1].0), "{blocks:?}");
            }
            let next = usize::try_from(rig.up.next).unwrap();
            assert_eq!(rig.got, whole[..next]);
            // What is missing, from the start.
            rig.take(i64::try_from(next).unwrap(), &whole[next..1000], None);
            assert_eq!(rig.got, whole[..1000]);
            assert_eq!(rig.budget, 100_000);
        }
    }
}
