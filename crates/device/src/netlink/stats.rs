//! The counters of a link.

/// The counters of a link since it was created, named as in the kernel: `struct rtnl_link_stats64`
/// of `linux/if_link.h`. For a TUN or TAP device `rx` counts what its program sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the kernel's own words, explained in linux/if_link.h")]
#[non_exhaustive]
pub struct LinkStats {
    pub rx_packets: u64,
    pub tx_packets: u64,
    pub rx_bytes: u64,
    pub tx_bytes: u64,
    pub rx_errors: u64,
    pub tx_errors: u64,
    pub rx_dropped: u64,
    pub tx_dropped: u64,
    pub multicast: u64,
    pub collisions: u64,
    pub rx_length_errors: u64,
    pub rx_over_errors: u64,
    pub rx_crc_errors: u64,
    pub rx_frame_errors: u64,
    pub rx_fifo_errors: u64,
    pub rx_missed_errors: u64,
    pub tx_aborted_errors: u64,
    pub tx_carrier_errors: u64,
    pub tx_fifo_errors: u64,
    pub tx_heartbeat_errors: u64,
    pub tx_window_errors: u64,
    pub rx_compressed: u64,
    pub tx_compressed: u64,
    pub rx_nohandler: u64,
    pub rx_otherhost_dropped: u64,
}

impl LinkStats {
    /// Decodes the kernel's structure; fields that an older kernel lacks are zero.
    pub(super) fn decode(value: &[u8]) -> Self {
        let mut words = value.chunks_exact(8).map(|word| {
            u64::from_ne_bytes(word.try_into().expect("chunks_exact(8) gives eight bytes"))
        });
        let mut next = || words.next().unwrap_or(0);
        // The fields are evaluated in this order, which is the kernel's.
        Self {
            rx_packets: next(),
            tx_packets: next(),
            rx_bytes: next(),
            tx_bytes: next(),
            rx_errors: next(),
            tx_errors: next(),
            rx_dropped: next(),
            tx_dropped: next(),
            multicast: next(),
            collisions: next(),
            rx_length_errors: next(),
            rx_over_errors: next(),
            rx_crc_errors: next(),
            rx_frame_errors: next(),
            rx_fifo_errors: next(),
            rx_missed_errors: next(),
            tx_aborted_errors: next(),
            tx_carrier_errors: next(),
            tx_fifo_errors: next(),
            tx_heartbeat_errors: next(),
            tx_window_errors: next(),
            rx_compressed: next(),
            tx_compressed: next(),
            rx_nohandler: next(),
            rx_otherhost_dropped: next(),
        }
    }
}
