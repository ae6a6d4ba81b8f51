//! The counters of the sockets to peers.

/// The counters of one socket: of trains, and of the datagrams in them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerCounters {
    /// Trains received.
    pub received: u64,
    /// Datagrams received.
    pub received_datagrams: u64,
    /// Trains sent.
    pub sent: u64,
    /// Datagrams sent.
    pub sent_datagrams: u64,
    /// Trains that were sent one datagram at a time.
    pub cut: u64,
    /// Datagrams or trains that the kernel dropped because the receive buffer was full (`SO_MEMINFO`).
    pub overflow: u64,
    /// Datagrams dropped because they had waited too long in a receive buffer that is not read fast enough.
    pub late: u64,
    /// Datagrams dropped because there was no buffer.
    pub no_buffer: u64,
    /// Trains dropped because the queue was full.
    pub queue_full: u64,
    /// Trains dropped because their datagrams exceed the path MTU.
    pub too_big: u64,
    /// Trains that the network or its filter refused.
    pub refused: u64,
}

impl PeerCounters {
    /// Adds the counters of another socket.
    pub(super) const fn add(&mut self, other: &Self) {
        self.received += other.received;
        self.received_datagrams += other.received_datagrams;
        self.sent += other.sent;
        self.sent_datagrams += other.sent_datagrams;
        self.cut += other.cut;
        self.overflow += other.overflow;
        self.late += other.late;
        self.no_buffer += other.no_buffer;
        self.queue_full += other.queue_full;
        self.too_big += other.too_big;
        self.refused += other.refused;
    }
}
