//! The intervals of the protocol in one table.

use core::time::Duration;

/// The intervals and limits of the protocol; a test shortens them.
///
/// Source: Donenfeld, "WireGuard", NDSS 2017, section 6.1 and table of constants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// A session's initiator makes a new one after so many messages.
    pub rekey_after_messages: u64,
    /// Nothing is sent or accepted in a session with this counter or a greater one.
    pub reject_after_messages: u64,
    /// A session's initiator makes a new one when it sends after so long.
    pub rekey_after_time: Duration,
    /// Nothing is sent or accepted in a session of this age.
    pub reject_after_time: Duration,
    /// A handshake is given up after so long.
    pub rekey_attempt_time: Duration,
    /// A handshake's initiation is sent again after so long.
    pub rekey_timeout: Duration,
    /// Who received and had nothing to send sends a keepalive after so long.
    pub keepalive_timeout: Duration,
    /// The most that is added to [`Self::rekey_timeout`], at random.
    pub jitter: Duration,
    /// The least time between two initiations of one peer that are answered.
    pub initiation_gap: Duration,
    /// A cookie is good for so long.
    pub cookie_lifetime: Duration,
    /// A peer that does not answer is reported after so long, and again.
    pub silent_after: Duration,
    /// The path's MTU is probed again after so long.
    pub mtu_probe_interval: Duration,
}

impl Timing {
    /// The protocol's.
    pub const STANDARD: Self = Self {
        rekey_after_messages: 1 << 60,
        // 2^64 - 2^13 - 1: a window's width before the counter ends.
        reject_after_messages: u64::MAX - (1 << 13),
        rekey_after_time: Duration::from_secs(120),
        reject_after_time: Duration::from_secs(180),
        rekey_attempt_time: Duration::from_secs(90),
        rekey_timeout: Duration::from_secs(5),
        keepalive_timeout: Duration::from_secs(10),
        jitter: Duration::from_millis(333),
        initiation_gap: Duration::from_millis(20),
        cookie_lifetime: Duration::from_secs(120),
        silent_after: Duration::from_secs(15),
        mtu_probe_interval: Duration::from_secs(600),
    };

    /// All intervals divided by `factor`, the counters left as they are.
    #[must_use]
    pub fn faster(self, factor: u32) -> Self {
        let factor = factor.max(1);
        Self {
            rekey_after_time: self.rekey_after_time / factor,
            reject_after_time: self.reject_after_time / factor,
            rekey_attempt_time: self.rekey_attempt_time / factor,
            rekey_timeout: self.rekey_timeout / factor,
            keepalive_timeout: self.keepalive_timeout / factor,
            jitter: self.jitter / factor,
            initiation_gap: self.initiation_gap / factor,
            cookie_lifetime: self.cookie_lifetime / factor,
            silent_after: self.silent_after / factor,
            mtu_probe_interval: self.mtu_probe_interval / factor,
            ..self
        }
    }
}

impl Default for Timing {
    fn default() -> Self {
        Self::STANDARD
    }
}
