//! The configuration of one direction of a link: plain data, checked as a whole.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use adit_packet::units::Bitrate;

use super::opportunities::Opportunities;
use super::pattern::LossPattern;
use super::steps::Steps;
use super::table::DelayTable;
pub use crate::codel::CoDel;

/// The configuration of one direction of a link. The default is a perfect link.
///
/// Effects always apply in this order: outages, corruption, loss, duplication, rate and queue, delay and
/// jitter, reordering. Later versions may add fields: build it with `..Profile::default()`.
///
/// ```
/// use adit_engine::netem::{Bitrate, Delay, Loss, Profile, Rate};
/// use core::time::Duration;
///
/// let profile = Profile {
///     delay: Delay::constant(Duration::from_millis(20)),
///     loss: Loss::Random { share: 0.01 },
///     rate: Rate::Fixed(Bitrate::from_bits_per_second(100_000_000)),
///     ..Profile::default()
/// };
/// assert_eq!(profile.check(), Ok(()));
///
/// let wrong = Profile { duplicate: 1.5, ..profile };
/// assert_eq!(wrong.check().unwrap_err().to_string(), "duplicate: a share must be from 0 to 1, not 1.5");
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Profile {
    /// Times at which all arriving packets are lost. At most [`Self::OUTAGES_MAX`].
    pub outages: Vec<Outage>,
    /// Bit errors. Checksums are not corrected.
    pub corrupt: Corrupt,
    /// The loss of packets.
    pub loss: Loss,
    /// Whether to mark ECN-capable packets (RFC 3168) where [`Self::loss`] would drop them.
    pub mark_loss: bool,
    /// The share of duplicated packets. The copy follows the original directly.
    pub duplicate: f64,
    /// The rate of the line.
    pub rate: Rate,
    /// The overhead of each packet on the line.
    pub overhead: Overhead,
    /// The queue before the line. It has no effect without a rate.
    pub queue: Queue,
    /// The delay of packets after the line.
    pub delay: Delay,
    /// The reordering of packets.
    pub reorder: Option<Reorder>,
    /// Rate, delay and loss that change with time. They replace the values above.
    pub steps: Option<Arc<Steps>>,
    /// The limits of packets in the queue and in flight.
    pub limits: Limits,
}

/// A time without any traffic, counted from the start of the link or of this profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Outage {
    /// Its start.
    pub at: Duration,
    /// Its duration.
    pub lasts: Duration,
    /// The interval at which it repeats; `None` for a single outage.
    pub every: Option<Duration>,
}

/// Bit errors, anywhere in the packet or frame.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Corrupt {
    /// None.
    #[default]
    None,
    /// One random bit in this share of packets.
    Packets {
        /// The share of packets, 0 to 1.
        share: f64,
    },
    /// Each bit with this probability: a bit error rate.
    Bits {
        /// The bit error rate, 0 to 0.1.
        rate: f64,
    },
}

/// The loss of packets.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Loss {
    /// None.
    #[default]
    None,
    /// Independent losses with one probability.
    Random {
        /// The share of packets, 0 to 1.
        share: f64,
    },
    /// In bursts: a share of packets, bursts of a mean length, geometrically distributed.
    Bursts {
        /// The share of packets, 0 to 1.
        share: f64,
        /// The mean number of packets lost in a row, at least 1.
        length: f64,
    },
    /// Two states, each with its own loss (Gilbert and Elliott; `loss gemodel p r 1-h 1-k` of tc).
    GilbertElliott(GilbertElliott),
    /// By a pattern, which repeats.
    Pattern(Arc<LossPattern>),
}

/// The Gilbert-Elliott model: before each packet the state may change, then the state's loss applies.
///
/// Source: E. N. Gilbert, 1960; E. O. Elliott, 1963; names as in tc-netem(8).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GilbertElliott {
    /// `p`: the probability to go from good to bad.
    pub to_bad: f64,
    /// `r`: the probability to go from bad to good.
    pub to_good: f64,
    /// `1-h`: the loss in the bad state.
    pub loss_bad: f64,
    /// `1-k`: the loss in the good state.
    pub loss_good: f64,
}

/// The rate of the line.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Rate {
    /// Unlimited: no packet waits.
    #[default]
    Unlimited,
    /// A constant rate.
    Fixed(Bitrate),
    /// A recorded trace of transmission opportunities.
    Trace(Arc<Opportunities>),
}

/// The overhead of a packet on the line, added to its own bytes (on TAP the frame with its Ethernet header,
/// without the frame check sequence).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Overhead {
    /// Bytes added to each packet; negative to subtract a header that the line does not have.
    pub bytes: i16,
    /// The minimum cost of a packet in bytes.
    pub min: u16,
    /// Sent as ATM cells: 48 bytes of payload in 53, the last one padded (AAL5, ITU-T I.363.5).
    pub atm: bool,
}

impl Overhead {
    /// None.
    pub const NONE: Self = Self { bytes: 0, min: 0, atm: false };
    /// Ethernet around a frame: preamble 8, check sequence 4, gap 12; 84 at least (IEEE 802.3, 3.1.1
    /// and 4.2.3.3).
    pub const ETHERNET: Self = Self { bytes: 24, min: 84, atm: false };
    /// ADSL with bridged Ethernet over ATM, LLC/SNAP (RFC 2684): LLC 10 and AAL5 trailer 8, the frame
    /// check sequence not sent.
    pub const ADSL_BRIDGED: Self = Self { bytes: 18, min: 0, atm: true };

    /// The bytes on the line of a packet of `len` bytes; at least 1.
    #[must_use]
    pub fn wire_len(&self, len: usize) -> u64 {
        let len = i64::try_from(len).unwrap_or(i64::MAX);
        let len = u64::try_from(len.saturating_add(i64::from(self.bytes))).unwrap_or(0);
        let len = len.max(u64::from(self.min)).max(1);
        if self.atm { len.div_ceil(48) * 53 } else { len }
    }
}

/// The queue before the line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Queue {
    /// Its length. Beyond it the newest packet is dropped; with FQ-CoDel, the head of the longest flow.
    pub limit: QueueLimit,
    /// Its order, and drops before the limit.
    pub discipline: Discipline,
    /// Whether CoDel and FQ-CoDel mark ECN-capable packets (RFC 3168) instead of dropping them.
    pub ecn: bool,
}

/// The length of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueLimit {
    /// In packets.
    Packets(u32),
    /// In bytes, overhead included. One packet may always wait.
    Bytes(u64),
    /// As the time that the line needs to send it, at its present rate (a trace: its mean rate; a stopped line:
    /// its highest rate). One packet may always wait.
    Time(Duration),
}

impl Default for QueueLimit {
    /// 1000 packets: the transmit queue of a Linux device.
    fn default() -> Self {
        Self::Packets(1000)
    }
}

/// The discipline of a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Discipline {
    /// First in, first out.
    #[default]
    DropTail,
    /// `CoDel` (RFC 8289): first in, first out; drops packets to keep the queue near a target delay.
    CoDel(CoDel),
    /// FQ-CoDel (RFC 8290): a queue for each flow, served in turn, each with `CoDel`.
    FqCoDel(FqCoDel),
}

/// The parameters of FQ-CoDel (RFC 8290, 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FqCoDel {
    /// The parameters of each queue.
    pub codel: CoDel,
    /// The number of queues that flows are hashed to.
    pub flows: u32,
    /// Bytes that a queue sends per turn.
    pub quantum: u32,
}

impl Default for FqCoDel {
    /// 1024 flows, a quantum of 1514 bytes.
    fn default() -> Self {
        Self { codel: CoDel::default(), flows: 1024, quantum: 1514 }
    }
}

/// The delay of packets after the line.
#[derive(Clone, Debug, PartialEq)]
pub struct Delay {
    /// The base delay. With jitter the delay is never below 0.
    pub base: Duration,
    /// The variation from packet to packet.
    pub jitter: Jitter,
    /// The correlation of the jitter of successive packets, from 0 (independent) to less than 1. It is the
    /// coefficient of a first-order autoregression of normal variables, whose quantiles give the jitter (a
    /// Gaussian copula), so the distribution of the jitter does not change.
    pub correlation: f64,
    /// Whether packets keep their order: each waits for the earlier ones, so jitter does not reorder.
    pub keep_order: bool,
}

impl Delay {
    /// The maximum delay, jitter included: 1 hour.
    pub const MAX: Duration = DelayTable::VALUE_MAX;

    /// A constant delay.
    #[must_use]
    pub const fn constant(base: Duration) -> Self {
        Self { base, jitter: Jitter::None, correlation: 0.0, keep_order: true }
    }
}

impl Default for Delay {
    fn default() -> Self {
        Self::constant(Duration::ZERO)
    }
}

/// The variation of the delay.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Jitter {
    /// None.
    #[default]
    None,
    /// Uniform between `base - width` and `base + width`.
    Uniform {
        /// Half the range.
        width: Duration,
    },
    /// Normal, with mean `base`.
    Normal {
        /// The standard deviation.
        deviation: Duration,
    },
    /// Heavy-tailed above `base`: the excess has a Pareto (Lomax) distribution.
    Pareto {
        /// The mean excess over `base`.
        mean: Duration,
        /// The exponent of the tail, more than 1; the variance is finite above 2.
        shape: f64,
    },
    /// `base` plus a value drawn from this table, with interpolation.
    Table(Arc<DelayTable>),
}

/// The reordering of packets (RFC 4737: with an extent of `by`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reorder {
    /// The share of delayed packets, 0 to 1.
    pub share: f64,
    /// The number of later packets that overtake each of them, 1 to [`Self::BY_MAX`].
    pub by: u32,
    /// The maximum time that it waits for them.
    pub within: Duration,
}

impl Reorder {
    /// TCP gives up on a packet after far fewer (RFC 8985, 6.2 waits a quarter of a round trip).
    pub const BY_MAX: u32 = 1000;
}

/// The limits of packets in the queue and in flight. Further packets are dropped with
/// [`DropReason::QUEUE_FULL`](crate::DropReason::QUEUE_FULL).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Packets.
    pub packets: usize,
    /// Bytes of memory for packets. It is taken as it is needed and then kept.
    pub bytes: usize,
}

impl Limits {
    /// Numbers of packets are kept in 32 bits; 16 M packets take at least 4 GB.
    pub const PACKETS_MAX: usize = 1 << 24;
    /// One super-packet must fit.
    pub const BYTES_MIN: usize = 128 * 1024;
    /// 64 GiB; 1 GiB where addresses have 32 bits.
    pub const BYTES_MAX: usize = match 1_usize.checked_shl(36) {
        Some(bytes) => bytes,
        None => 1 << 30,
    };
}

impl Default for Limits {
    /// 1,048,576 packets and 512 MiB: 1 Gbit/s for 4 s.
    fn default() -> Self {
        Self { packets: 1 << 20, bytes: 512 << 20 }
    }
}

/// An invalid field of a [`Profile`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProfileError {
    /// The field, as `delay.correlation`.
    pub field: &'static str,
    /// The allowed values, and the actual one.
    pub problem: String,
}

impl fmt::Display for ProfileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.problem)
    }
}

impl core::error::Error for ProfileError {}

mod check;
