//! Sending super-packets whole, segmented or joined, as the queue and the kernel accept them.

use crate::layout::{Layout, Mode};
use crate::queue::{BatchSent, Queue, is_refusal};
use adit_packet::{
    Batch, Coalescer, Gso, Layer, Malformed, PacketBuf, PacketInfo, Pool, SuperPacket, Train,
    VnetHeader, VnetLen, finish_checksum,
};
use std::borrow::Borrow;
use std::io::{self, IoSlice};

/// A kind of super-packet that a kernel may accept or reject independently of the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GsoKind {
    /// TCP over IPv4.
    Tcp4,
    /// TCP over IPv6.
    Tcp6,
    /// UDP over IPv4 or IPv6.
    UdpL4,
    /// Any of them inside a UDP tunnel.
    Tunnel,
}

impl GsoKind {
    const COUNT: usize = 4;

    /// The kind of a super-packet. `None` for a plain packet, and for [`Gso::Udp`] (IP
    /// fragmentation), which only the kernel can segment.
    #[must_use]
    pub fn of(vnet: &VnetHeader) -> Option<Self> {
        match (vnet.gso, vnet.tunnel) {
            (Gso::None | Gso::Udp, _) => None,
            (_, Some(_)) => Some(Self::Tunnel),
            (Gso::Tcp4, None) => Some(Self::Tcp4),
            (Gso::Tcp6, None) => Some(Self::Tcp6),
            (Gso::UdpL4, None) => Some(Self::UdpL4),
        }
    }

    const fn index(self) -> usize {
        match self {
            Self::Tcp4 => 0,
            Self::Tcp6 => 1,
            Self::UdpL4 => 2,
            Self::Tunnel => 3,
        }
    }
}

/// What a [`Sender`] may do with super-packets and flows. Minor versions may add fields: end a
/// literal with `..SendOptions::default()`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SendOptions {
    /// Send TCP super-packets whole.
    pub tso: bool,
    /// Send UDP super-packets whole.
    pub uso: bool,
    /// Send super-packets inside UDP tunnels whole, if the virtio-net header has 24 bytes.
    pub tunnel: bool,
    /// Join TCP packets of one flow within a batch.
    pub coalesce_tcp: bool,
    /// Join UDP packets of one flow within a batch.
    pub coalesce_udp: bool,
}

impl SendOptions {
    /// Segment every super-packet, join nothing.
    pub const NONE: Self =
        Self { tso: false, uso: false, tunnel: false, coalesce_tcp: false, coalesce_udp: false };
    /// Send everything whole, join everything.
    pub const ALL: Self =
        Self { tso: true, uso: true, tunnel: true, coalesce_tcp: true, coalesce_udp: true };

    fn takes(self, kind: GsoKind) -> bool {
        match kind {
            GsoKind::Tcp4 | GsoKind::Tcp6 => self.tso,
            GsoKind::UdpL4 => self.uso,
            GsoKind::Tunnel => self.tunnel,
        }
    }

    fn joins(self, kind: GsoKind) -> bool {
        match kind {
            GsoKind::Tcp4 | GsoKind::Tcp6 => self.coalesce_tcp,
            GsoKind::UdpL4 => self.coalesce_udp,
            GsoKind::Tunnel => false,
        }
    }
}

/// Super-packets are sent whole, and nothing is joined.
impl Default for SendOptions {
    fn default() -> Self {
        Self { coalesce_tcp: false, coalesce_udp: false, ..Self::ALL }
    }
}

/// The counters of a [`Sender`], since it was created.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SendCounters {
    /// Super-packets that the kernel accepted whole.
    pub whole: u64,
    /// Super-packets that were segmented.
    pub segmented: u64,
    /// Segments sent of them.
    pub segments: u64,
    /// Super-packets that were joined from several packets and accepted by the kernel.
    pub trains: u64,
    /// The packets joined into them.
    pub joined: u64,
    /// Packets and segments that the kernel or our own checks rejected as invalid.
    pub refused: u64,
    refused_whole: [u64; GsoKind::COUNT],
}

impl SendCounters {
    /// Super-packets of that kind that the kernel rejected with EINVAL and that were then
    /// segmented.
    #[must_use]
    pub fn refused_whole(&self, kind: GsoKind) -> u64 {
        self.refused_whole[kind.index()]
    }
}

/// Sends batches in the form that the queue accepts. One sender serves one thread.
///
/// - A queue with a virtio-net header gets super-packets whole. (The offloads of the device,
///   [`Device::set_offload`](crate::Device::set_offload), concern the receive direction only.)
/// - A queue without the header gets segments with complete checksums.
/// - Packets of a flow are joined if [`SendOptions`] allow it, without copying their payload.
/// - A super-packet that the kernel rejects with EINVAL is segmented and sent again, so nothing is
///   lost. After [`Sender::REFUSALS_MAX`] rejections in a row, that kind is always segmented.
///
/// Does not allocate once it has seen the largest batch.
///
/// ```no_run
/// use adit_device::{Batch, Pool, PoolConfig, Queue, Receiver, SendOptions, Sender};
///
/// /// Forwards single packets with few system calls on both sides.
/// fn forward(from: &Queue, to: &Queue) -> std::io::Result<()> {
///     let mut pool = Pool::new(PoolConfig::default());
///     // Room for the segments of several super-packets: packets are joined within a batch only.
///     let mut batch = Batch::with_capacity(256);
///     let mut receiver = Receiver::segmented(from.mode());
///     let mut sender = Sender::new(to.mode(), SendOptions::ALL);
///     loop {
///         receiver.recv_batch(from, &mut pool, &mut batch)?;
///         // The program's own work: batch.iter_mut() ...
///         while !batch.is_empty() || sender.has_pending() {
///             sender.send_batch(to, &mut pool, &mut batch)?;
///         }
///     }
/// }
/// ```
#[derive(Debug)]
pub struct Sender {
    coalescer: Coalescer,
    writer: Writer,
    outcomes: Vec<Outcome>,
    /// Unsent packets on their way back into the batch.
    left: Vec<PacketBuf>,
    /// A super-packet that is partly sent, and the index of its first unsent segment.
    pending: Option<(PacketBuf, usize)>,
}

/// The outcome of one packet of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Left,
    Sent,
    Refused,
    /// Segmented; the queue was full before the segment of this index.
    Begun(usize),
}

impl Sender {
    /// After this many rejections of a kind in a row the kernel is taken not to support it. A
    /// single one may be the fault of the packet, which an attacker may have sent.
    pub const REFUSALS_MAX: u8 = 4;

    /// A sender for queues of that mode. It has allocated nothing yet.
    #[must_use]
    pub fn new(mode: Mode, options: SendOptions) -> Self {
        let layer = mode.layer();
        Self {
            coalescer: Coalescer::new(layer),
            writer: Writer {
                layer,
                options,
                refusals: [0; GsoKind::COUNT],
                counters: SendCounters::default(),
                headers: Vec::new(),
            },
            outcomes: Vec::new(),
            left: Vec::new(),
            pending: None,
        }
    }

    /// The options.
    #[must_use]
    pub fn options(&self) -> SendOptions {
        self.writer.options
    }

    /// Sets the options, and tries rejected kinds again.
    pub fn set_options(&mut self, options: SendOptions) {
        self.writer.options = options;
        self.writer.refusals = [0; GsoKind::COUNT];
    }

    /// The counters.
    #[must_use]
    pub fn counters(&self) -> &SendCounters {
        &self.writer.counters
    }

    /// Whether super-packets of that kind are always segmented because the kernel rejects them.
    #[must_use]
    pub fn is_refused(&self, kind: GsoKind) -> bool {
        self.writer.refusals[kind.index()] >= Self::REFUSALS_MAX
    }

    /// Whether part of a super-packet is still unsent because the queue was full. The next
    /// [`Sender::send_batch`] sends it first, even with an empty batch.
    #[must_use]
    pub fn has_pending(&self) -> bool {
        self.pending.is_some()
    }

    /// Gives the buffer of an unsent super-packet back to `pool`. Call it before dropping the
    /// sender.
    pub fn give_pending(&mut self, pool: &mut Pool) {
        if let Some((packet, _)) = self.pending.take() {
            pool.give(packet);
        }
    }

    /// Sends the packets of `batch` and gives their buffers back to `pool`. Packets that could not
    /// be sent yet stay in `batch`. The order of packets within a flow is kept.
    ///
    /// # Errors
    /// As [`Queue::send_batch`].
    pub fn send_batch(
        &mut self,
        queue: &Queue,
        pool: &mut Pool,
        batch: &mut Batch,
    ) -> io::Result<BatchSent> {
        self.send_rest(queue, pool)?;
        let layout = queue.layout();
        let joins = self.writer.options.coalesce_tcp || self.writer.options.coalesce_udp;
        if layout.vnet_hdr.is_none() {
            for packet in batch.iter_mut().filter(|packet| !packet.meta.vnet.is_super_packet()) {
                // A packet whose checksum cannot be completed is rejected when it is sent.
                let _ = finish_checksum(packet);
            }
        }
        // Packets stay in the batch while they are sent, because trains borrow their payload. Each gets
        // an outcome instead, and `settle` removes the completed ones afterwards.
        self.outcomes.clear();
        self.outcomes.resize(batch.len(), Outcome::Left);
        let Self { coalescer, writer, outcomes, .. } = self;
        let packets = batch.as_slice();
        let trains = if joins && layout.vnet_hdr.is_some() && packets.len() > 1 {
            Some(coalescer.join(packets)).filter(|trains| trains.len() < packets.len())
        } else {
            None
        };
        let result = if let Some(trains) = trains {
            trains.iter().try_for_each(|train| writer.send_train(queue, packets, &train, outcomes))
        } else {
            batch
                .iter_mut()
                .zip(outcomes)
                .try_for_each(|(packet, outcome)| writer.send(queue, packet, outcome))
        };
        let done = self.settle(pool, batch);
        match result {
            Err(error) if done == BatchSent::default() => Err(error),
            _ => Ok(done),
        }
    }

    fn send_rest(&mut self, queue: &Queue, pool: &mut Pool) -> io::Result<()> {
        let Some((packet, next)) = &mut self.pending else { return Ok(()) };
        if self.writer.send_segments(queue, packet, next)? == Segmented::Malformed {
            self.writer.counters.refused += 1;
        }
        self.give_pending(pool);
        Ok(())
    }

    /// Removes the completed packets from `batch` and counts them; keeps a half-sent super-packet.
    fn settle(&mut self, pool: &mut Pool, batch: &mut Batch) -> BatchSent {
        let mut done = BatchSent::default();
        for (packet, outcome) in batch.drain(..).zip(&self.outcomes) {
            match *outcome {
                Outcome::Left => {
                    self.left.push(packet);
                    continue;
                }
                Outcome::Begun(next) => {
                    self.pending = Some((packet, next));
                    done.sent += 1;
                    continue;
                }
                Outcome::Sent => done.sent += 1,
                Outcome::Refused => done.refused += 1,
            }
            pool.give(packet);
        }
        for packet in self.left.drain(..) {
            if let Err(packet) = batch.push(packet) {
                pool.give(packet);
            }
        }
        done
    }
}

/// Writes packets; holds no packet itself, so that it can be borrowed beside the batch.
#[derive(Debug)]
struct Writer {
    layer: Layer,
    options: SendOptions,
    /// Per kind, the rejections since the kernel last accepted one; at most `REFUSALS_MAX`.
    refusals: [u8; GsoKind::COUNT],
    counters: SendCounters,
    /// Scratch space for the headers of one segment.
    headers: Vec<u8>,
}

/// The outcome of segmenting a super-packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Segmented {
    /// The kernel accepted at least one segment.
    Taken,
    /// It accepted none.
    Refused,
    /// The packet is not a valid super-packet.
    Malformed,
}

impl Writer {
    /// The maximum number of segments in a UDP super-packet (Linux `UDP_MAX_SEGMENTS`).
    const UDP_SEGMENTS_MAX: usize = 128;

    /// Sends one packet, and records its outcome.
    fn send(
        &mut self,
        queue: &Queue,
        packet: &mut PacketBuf,
        outcome: &mut Outcome,
    ) -> io::Result<()> {
        self.send_by(queue, packet, outcome, |packet| queue.send_packet_mut(packet))
    }

    /// Like [`Writer::send`], with the call that sends the packet whole: `send_packet_mut` where the
    /// packet may be edited, `send_packet` where a train borrows it.
    fn send_by<P: Borrow<PacketBuf>>(
        &mut self,
        queue: &Queue,
        mut packet: P,
        outcome: &mut Outcome,
        whole: impl Fn(&mut P) -> io::Result<usize>,
    ) -> io::Result<()> {
        let vnet = &packet.borrow().meta.vnet;
        let has_header = queue.layout().vnet_hdr.is_some();
        // Plain packets, almost always: one write. Without a virtio-net header the kernel cannot be told
        // of a partial checksum, which `send_batch` has completed where it could.
        let Some(kind) = GsoKind::of(vnet) else {
            let open = vnet.needs_csum() || vnet.is_super_packet();
            *outcome = if open && !has_header || !taken(whole(&mut packet))? {
                self.refused()
            } else {
                Outcome::Sent
            };
            return Ok(());
        };
        let mut refused = false;
        if self.goes_whole(queue.layout(), kind, packet.borrow()) {
            if taken(whole(&mut packet))? {
                self.taken_whole(kind);
                self.counters.whole += 1;
                *outcome = Outcome::Sent;
                return Ok(());
            }
            refused = true;
        }
        // Not whole, or rejected whole: segment it. On EAGAIN some segments are sent already, so the
        // packet is kept with the index of the next one; sending it again would duplicate them.
        let mut next = 0;
        let segmented = self.send_segments(queue, packet.borrow(), &mut next).inspect_err(|_| {
            if next > 0 {
                *outcome = Outcome::Begun(next);
            }
        });
        if refused && (next > 0 || matches!(segmented, Ok(Segmented::Taken))) {
            self.refused_whole(kind);
        }
        *outcome = match segmented? {
            Segmented::Taken => Outcome::Sent,
            Segmented::Refused => Outcome::Refused,
            Segmented::Malformed => self.refused(),
        };
        Ok(())
    }

    /// Sends joined packets as one super-packet, or one by one if the options do not allow joining
    /// or the kernel rejects it.
    fn send_train(
        &mut self,
        queue: &Queue,
        packets: &[PacketBuf],
        train: &Train<'_>,
        outcomes: &mut [Outcome],
    ) -> io::Result<()> {
        let kind = GsoKind::of(&train.vnet()).filter(|_| train.count() > 1);
        let mut refused = None;
        if let Some(kind) = kind.filter(|&kind| self.options.joins(kind) && self.allows(kind)) {
            let first = train.members().next().and_then(|at| packets.get(at));
            let info = first.map(|packet| packet.meta.info).unwrap_or_default();
            if taken(write_train(queue, info, train))? {
                self.taken_whole(kind);
                self.counters.trains += 1;
                self.counters.joined += u64::try_from(train.count()).unwrap_or_default();
                train.members().for_each(|at| outcomes[at] = Outcome::Sent);
                return Ok(());
            }
            refused = Some(kind);
        }
        // One by one. If the first succeeds, the kernel rejected the joining and not the packets.
        for at in train.members() {
            self.send_by(queue, &packets[at], &mut outcomes[at], |packet| {
                queue.send_packet(packet)
            })?;
            if outcomes[at] == Outcome::Sent
                && let Some(kind) = refused.take()
            {
                self.refused_whole(kind);
            }
        }
        Ok(())
    }

    /// Sends the segments of a super-packet, from index `next` on; on an error, `next` is the first
    /// unsent one.
    fn send_segments(
        &mut self,
        queue: &Queue,
        packet: &PacketBuf,
        next: &mut usize,
    ) -> io::Result<Segmented> {
        let meta = &packet.meta;
        let Ok(whole) = SuperPacket::parse(packet.bytes(), &meta.vnet, self.layer) else {
            return Ok(Segmented::Malformed);
        };
        // A segment needs no further work from the kernel, so its virtio-net header is all zero.
        let mut before = [0; Layout::LEN_MAX];
        let len = encode(queue, meta.info, &VnetHeader::default(), &mut before)?;
        self.headers.resize(whole.header_len(), 0);
        let mut segmented = Segmented::Refused;
        while let Some(segment) = whole.segment(*next) {
            segment.write_headers(&mut self.headers).map_err(io::Error::other)?;
            let pieces = [&before[..len], &self.headers, segment.payload()].map(IoSlice::new);
            let pieces = if len == 0 { &pieces[1..] } else { &pieces[..] };
            if taken(queue.send_vectored(pieces))? {
                segmented = Segmented::Taken;
                self.counters.segments += 1;
            } else {
                self.counters.refused += 1;
            }
            *next += 1;
        }
        self.counters.segmented += 1;
        Ok(segmented)
    }

    fn goes_whole(&self, layout: Layout, kind: GsoKind, packet: &PacketBuf) -> bool {
        let Some(format) = layout.vnet_hdr else { return false };
        let vnet = &packet.meta.vnet;
        let fits = match kind {
            GsoKind::Tunnel => format.len == VnetLen::Tunnel,
            GsoKind::UdpL4 => packet.len() <= usize::from(vnet.gso_size) * Self::UDP_SEGMENTS_MAX,
            GsoKind::Tcp4 | GsoKind::Tcp6 => true,
        };
        fits && self.options.takes(kind) && self.allows(kind)
    }

    fn allows(&self, kind: GsoKind) -> bool {
        self.refusals[kind.index()] < Sender::REFUSALS_MAX
    }

    fn taken_whole(&mut self, kind: GsoKind) {
        self.refusals[kind.index()] = 0;
    }

    /// The kernel accepted the segments of a packet that it rejected whole, so the packet was
    /// valid.
    fn refused_whole(&mut self, kind: GsoKind) {
        let refusals = &mut self.refusals[kind.index()];
        *refusals = refusals.saturating_add(1).min(Sender::REFUSALS_MAX);
        self.counters.refused_whole[kind.index()] += 1;
    }

    fn refused(&mut self) -> Outcome {
        self.counters.refused += 1;
        Outcome::Refused
    }
}

/// Writes new headers and the original payloads, gathered into one call.
fn write_train(queue: &Queue, info: PacketInfo, train: &Train<'_>) -> io::Result<usize> {
    let mut before = [0; Layout::LEN_MAX];
    let len = encode(queue, info, &train.vnet(), &mut before)?;
    let mut pieces = [IoSlice::new(&[]); Coalescer::COUNT_MAX + 2];
    pieces[0] = IoSlice::new(&before[..len]);
    let mut count = 1;
    for (to, piece) in pieces[1..].iter_mut().zip(train.pieces()) {
        *to = IoSlice::new(piece);
        count += 1;
    }
    queue.send_vectored(&pieces[..count])
}

fn encode(queue: &Queue, info: PacketInfo, vnet: &VnetHeader, out: &mut [u8]) -> io::Result<usize> {
    let invalid = |fault: Malformed| io::Error::new(io::ErrorKind::InvalidData, fault);
    queue.layout().encode(info, vnet, out).map_err(invalid)
}

/// Whether the kernel accepted the packet; `false` if it was rejected as invalid.
fn taken(result: io::Result<usize>) -> io::Result<bool> {
    match result {
        Ok(_) => Ok(true),
        Err(error) if is_refusal(&error) => Ok(false),
        Err(error) => Err(error),
    }
}
