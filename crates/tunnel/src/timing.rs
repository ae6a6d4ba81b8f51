//! The intervals of the protocol in one table.

use core::time::Duration;

/// The intervals and limits of the protocol. Tests shorten them.
///
/// Later versions may add fields: build it from [`Timing::STANDARD`].
///
/// Source: Donenfeld, "WireGuard", NDSS 2017, section 6.1 and table of constants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Messages after which the initiator of a session starts a new one.
    pub rekey_after_messages: u64,
    /// The counter from which a session sends and accepts nothing.
    pub reject_after_messages: u64,
    /// The bytes that one side sends under one key of AES-GCM before it starts a new session.
    pub rekey_after_bytes: u64,
    /// The bytes after which a session with AES-GCM sends nothing.
    pub reject_after_bytes: u64,
    /// The age at which the initiator of a session starts a new one when it sends.
    pub rekey_after_time: Duration,
    /// The age at which a session sends and accepts nothing.
    pub reject_after_time: Duration,
    /// The time after which a handshake is given up.
    pub rekey_attempt_time: Duration,
    /// The time after which an unanswered initiation is sent again.
    pub rekey_timeout: Duration,
    /// The time after which a side that received data and sent nothing sends a keepalive.
    pub keepalive_timeout: Duration,
    /// The maximum of the random time that is added to [`Self::rekey_timeout`].
    pub jitter: Duration,
    /// The minimum time between two answered initiations of one peer.
    pub initiation_gap: Duration,
    /// The lifetime of a cookie.
    pub cookie_lifetime: Duration,
    /// The silence after which a peer is reported, repeatedly.
    pub silent_after: Duration,
    /// The time after which the path MTU is probed again while the path is used.
    pub mtu_probe_interval: Duration,
}

impl Timing {
    /// The values of the protocol.
    pub const STANDARD: Self = Self {
        rekey_after_messages: 1 << 60,
        // 2^64 - 2^13 - 1: a window's width before the counter ends.
        reject_after_messages: u64::MAX - (1 << 13),
        // 2^34 blocks under one key, below the 2^34.5 of RFC 8446, 5.5, and the 2^35 of RFC 9001, B.1.1: an attacker
        // tells the ciphertext from random bytes with a probability below 2^-57. The new session has as many bytes of
        // time to begin.
        rekey_after_bytes: 1 << 37,
        reject_after_bytes: 1 << 38,
        rekey_after_time: Duration::from_secs(120),
        reject_after_time: Duration::from_secs(180),
        rekey_attempt_time: Duration::from_secs(90),
        rekey_timeout: Duration::from_secs(5),
        keepalive_timeout: Duration::from_secs(10),
        jitter: Duration::from_millis(333),
        initiation_gap: Duration::from_millis(20),
        cookie_lifetime: Duration::from_secs(120),
        silent_after: Duration::from_secs(15),
        mtu_probe_interval: Duration::from_secs(30),
    };

    /// Returns a copy with all intervals divided by `factor`; the counters stay.
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
