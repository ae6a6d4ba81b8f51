//! What one direction of a link is to be like: plain data, checked as a whole.

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

/// One direction of a link; the default is a perfect one.
///
/// Effects apply in this order, whatever order they are written in: outages, corruption, loss,
/// duplication, rate and queue, delay and jitter, reordering.
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
    /// When nothing passes: what arrives then is lost. At most [`Self::OUTAGES_MAX`].
    pub outages: Vec<Outage>,
    /// Bit errors. Checksums are not put right.
    pub corrupt: Corrupt,
    /// Which packets are lost.
    pub loss: Loss,
    /// Packets with ECN (RFC 3168) are marked where [`Self::loss`] would have lost them.
    pub mark_loss: bool,
    /// The share of packets that come twice, the second right behind the first.
    pub duplicate: f64,
    /// How fast the link is.
    pub rate: Rate,
    /// What each packet costs on the line beside its own bytes.
    pub overhead: Overhead,
    /// What waits for the line. Without a rate nothing waits.
    pub queue: Queue,
    /// How long packets are on their way after the line has sent them.
    pub delay: Delay,
    /// Which packets are passed by later ones.
    pub reorder: Option<Reorder>,
    /// Rate, delay and loss that change with time, in place of those above.
    pub steps: Option<Arc<Steps>>,
    /// What the link holds at most, in its queue and on its in_flight.
    pub limits: Limits,
}

/// When nothing passes, counted from the link's start (or from when it was set).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Outage {
    /// When it begins.
    pub at: Duration,
    /// How long it lasts.
    pub lasts: Duration,
    /// It comes again each time this has passed; `None`: once.
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

/// Which packets are lost.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Loss {
    /// None.
    #[default]
    None,
    /// Each with the same probability, independent of the others.
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
    /// As a pattern says, again and again.
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

/// How fast the link is.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Rate {
    /// So fast that no packet waits.
    #[default]
    Unlimited,
    /// Always the same.
    Fixed(Bitrate),
    /// As a recorded trace of opportunities to send says.
    Trace(Arc<Opportunities>),
}

/// What a packet costs on the line beside its own bytes (those that the port carries: on TAP with
/// the Ethernet header, without its frame check sequence).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Overhead {
    /// Bytes added; negative to take a header off that the line does not have.
    pub bytes: i16,
    /// The least that one packet costs, in bytes.
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

/// What waits for the line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Queue {
    /// How much may wait. More is dropped: the newcomer, with FQ-CoDel the head of the longest flow.
    pub limit: QueueLimit,
    /// In which order, and what is dropped before the limit is reached.
    pub discipline: Discipline,
    /// A managed discipline marks packets with ECN (RFC 3168) where it would have dropped them.
    pub ecn: bool,
}

/// How much may wait for the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueLimit {
    /// That many packets.
    Packets(u32),
    /// That many bytes, overhead included. One packet may always wait.
    Bytes(u64),
    /// What the line sends in that time at its present rate (a trace: at its mean rate; while it is stopped: at its
    /// highest). One packet may always wait.
    Time(Duration),
}

impl Default for QueueLimit {
    /// 1000 packets: the transmit queue of a Linux device.
    fn default() -> Self {
        Self::Packets(1000)
    }
}

/// The queue's discipline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Discipline {
    /// First in, first out.
    #[default]
    DropTail,
    /// First in, first out, with a standing queue cut down to a target delay (RFC 8289).
    CoDel(CoDel),
    /// A queue for each flow, in turn, each with `CoDel` (RFC 8290).
    FqCoDel(FqCoDel),
}

/// The parameters of `CoDel` (RFC 8289, 4.2 and 4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CoDel {
    /// The delay that a queue may stand at.
    pub target: Duration,
    /// How long it may be above the target before the first drop: a round trip time.
    pub interval: Duration,
}

impl Default for CoDel {
    /// 5 ms and 100 ms.
    fn default() -> Self {
        Self { target: Duration::from_millis(5), interval: Duration::from_millis(100) }
    }
}

/// The parameters of FQ-CoDel (RFC 8290, 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FqCoDel {
    /// Of each flow's queue.
    pub codel: CoDel,
    /// How many queues flows are hashed to.
    pub flows: u32,
    /// How many bytes a flow sends before it is the next one's turn.
    pub quantum: u32,
}

impl Default for FqCoDel {
    /// 1024 flows, a quantum of 1514 bytes.
    fn default() -> Self {
        Self { codel: CoDel::default(), flows: 1024, quantum: 1514 }
    }
}

/// How long packets are on their in_flight.
#[derive(Clone, Debug, PartialEq)]
pub struct Delay {
    /// What jitter is added to. Nothing is ever early enough to make the delay negative.
    pub base: Duration,
    /// How it varies from packet to packet.
    pub jitter: Jitter,
    /// How much a packet's jitter is like that of the one before: the coefficient of a first-order
    /// autoregression of normal variables, whose quantiles the jitter takes (a Gaussian copula), so
    /// that the distribution stays what it is. 0 (independent) to less than 1.
    pub correlation: f64,
    /// No packet passes an earlier one: it waits for it. Jitter is then no reordering.
    pub keep_order: bool,
}

impl Delay {
    /// The longest, jitter included: 1 hour, so that no packet is held for longer than anybody waits.
    pub const MAX: Duration = DelayTable::VALUE_MAX;

    /// The same for every packet.
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

/// How the delay varies from packet to packet.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Jitter {
    /// Not at all.
    #[default]
    None,
    /// Evenly between `base - width` and `base + width`.
    Uniform {
        /// Half the range.
        width: Duration,
    },
    /// Normally around `base`.
    Normal {
        /// The standard deviation.
        deviation: Duration,
    },
    /// Never below `base`, with a heavy tail above it: the excess is a Pareto (Lomax) variable.
    Pareto {
        /// The mean excess over `base`.
        mean: Duration,
        /// The exponent of the tail, more than 1; the variance is finite above 2.
        shape: f64,
    },
    /// `base` and a value of this table, values between them by interpolation.
    Table(Arc<DelayTable>),
}

/// Which packets are passed by later ones (RFC 4737: reordered with an extent of `by`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reorder {
    /// The share of packets that wait, 0 to 1.
    pub share: f64,
    /// How many later packets pass each of them, 1 to [`Self::BY_MAX`].
    pub by: u32,
    /// It waits no longer than this, however few come.
    pub within: Duration,
}

impl Reorder {
    /// TCP gives up on a packet after far fewer (RFC 8985, 6.2 waits a quarter of a round trip).
    pub const BY_MAX: u32 = 1000;
}

/// What a link holds at most, in its queue and on its way; what comes then is dropped as
/// [`QueueFull`](crate::DropReason::QUEUE_FULL).
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

/// What is wrong with a [`Profile`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProfileError {
    /// The field, as `delay.correlation`.
    pub field: &'static str,
    /// What may stand there, and what does.
    pub problem: String,
}

impl fmt::Display for ProfileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.problem)
    }
}

impl core::error::Error for ProfileError {}

mod check;
