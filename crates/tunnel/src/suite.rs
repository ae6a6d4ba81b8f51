//! Suites: which cipher protects the packets between two of adit.

use core::fmt;
use core::str::FromStr;

use ring::aead::{AES_128_GCM, AES_256_GCM, Algorithm, CHACHA20_POLY1305};

use crate::codec::codec_of_variants;
use crate::frames::control::Features;
use crate::noise::{CipherKey, Key, TAG_LEN, kdf};

/// The cipher of data messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Suite {
    /// ChaCha20-Poly1305: the cipher of every WireGuard, and of each session at its start.
    #[default]
    ChaCha20Poly1305,
    /// AES-128-GCM.
    Aes128Gcm,
    /// AES-256-GCM.
    Aes256Gcm,
}

codec_of_variants! { Suite { ChaCha20Poly1305 = 0, Aes128Gcm = 1, Aes256Gcm = 2 } }

/// What two of adit can agree on, the one that is preferred first: a longer key costs little.
const AGREEABLE: [(Suite, Features); 2] =
    [(Suite::Aes256Gcm, Features(2)), (Suite::Aes128Gcm, Features(1))];

impl Suite {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ChaCha20Poly1305 => "chacha20-poly1305",
            Self::Aes128Gcm => "aes-128-gcm",
            Self::Aes256Gcm => "aes-256-gcm",
        }
    }

    pub(crate) fn algorithm(self) -> &'static Algorithm {
        match self {
            Self::ChaCha20Poly1305 => &CHACHA20_POLY1305,
            Self::Aes128Gcm => &AES_128_GCM,
            Self::Aes256Gcm => &AES_256_GCM,
        }
    }

    /// The suite that two ends use: the preferred one of those that both accept; `None` for WireGuard's.
    pub(crate) fn agreed(ours: Features, theirs: Features) -> Option<Self> {
        let both = ours.common(theirs);
        AGREEABLE.iter().find(|(_, feature)| both.contains(*feature)).map(|(suite, _)| *suite)
    }

    /// The keys of a session under this suite, from the exporter of its handshake: first the one that the initiator
    /// sends with.
    ///
    /// Each has a secret mask for its nonces: all sessions use the same counters, and without a mask, one table of
    /// keystreams would serve against all of them (RFC 8446, 5.3).
    pub(crate) fn keys(self, exporter: &Key) -> [CipherKey; 2] {
        let [initiator, mask, responder, other] = kdf::<4>(exporter, self.name().as_bytes());
        [(initiator, mask), (responder, other)].map(|(key, mask)| {
            let key = key.get(..self.algorithm().key_len()).unwrap_or_default();
            let mask = mask.first_chunk().copied().unwrap_or_default();
            CipherKey::masked(self.algorithm(), key, mask)
        })
    }

    /// Seals the longest packet of a path with an MTU of 1500 bytes as many times as asked: for an owner with a clock,
    /// which measures the cipher of this machine. The result is meaningless.
    #[must_use]
    pub fn seal_sample(self, packets: u16) -> u8 {
        let [key, _] = self.keys(&Key::default());
        let mut packet = [0; 1420 + TAG_LEN];
        for counter in 0..u64::from(packets) {
            key.seal(counter, &mut packet);
        }
        packet.first().copied().unwrap_or_default()
    }
}

impl fmt::Display for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Which suites an end accepts with a peer. Both ends must accept one, else it is ChaCha20-Poly1305.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SuitePolicy {
    /// AES-GCM if this machine is faster with it ([`TunnelConfig::aes_is_faster`](crate::TunnelConfig)).
    #[default]
    Auto,
    /// Only the cipher of WireGuard.
    WireGuard,
    /// AES-128-GCM.
    Aes128Gcm,
    /// AES-256-GCM.
    Aes256Gcm,
}

codec_of_variants! { SuitePolicy { Auto = 0, WireGuard = 1, Aes128Gcm = 2, Aes256Gcm = 3 } }

impl SuitePolicy {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Auto, Self::WireGuard, Self::Aes128Gcm, Self::Aes256Gcm];

    /// As it is written in a configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::WireGuard => "wireguard",
            Self::Aes128Gcm => "aes-128-gcm",
            Self::Aes256Gcm => "aes-256-gcm",
        }
    }

    /// The suites that it accepts, as features of a hello.
    pub(crate) fn features(self, aes_is_faster: bool) -> Features {
        let accepted = AGREEABLE.iter().filter(|(suite, _)| match self {
            Self::Auto => aes_is_faster,
            Self::WireGuard => false,
            Self::Aes128Gcm => *suite == Suite::Aes128Gcm,
            Self::Aes256Gcm => *suite == Suite::Aes256Gcm,
        });
        accepted.fold(Features::default(), |all, (_, feature)| all.with(*feature))
    }
}

impl fmt::Display for SuitePolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A text that is not the name of a [`SuitePolicy`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownSuite;

impl fmt::Display for UnknownSuite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("unknown suite; use `auto`, `wireguard`, `aes-128-gcm` or `aes-256-gcm`")
    }
}

impl core::error::Error for UnknownSuite {}

impl FromStr for SuitePolicy {
    type Err = UnknownSuite;

    fn from_str(text: &str) -> Result<Self, UnknownSuite> {
        Self::ALL.into_iter().find(|policy| policy.name() == text).ok_or(UnknownSuite)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> std::string::String {
        bytes.iter().map(|byte| std::format!("{byte:02x}")).collect()
    }

    /// The vectors of docs/src/protocol.md, which Python's hashlib and cryptography made.
    #[test]
    fn a_hello_sealed_by_the_initiator() {
        let exporter = Key::new([
            0x99, 0x25, 0x3c, 0x3e, 0x5f, 0xa6, 0x6d, 0x23, 0x3c, 0x9b, 0x3b, 0x4d, 0xd5, 0x61,
            0xfa, 0x87, 0x46, 0x35, 0xb0, 0x92, 0x97, 0x68, 0x6b, 0x6f, 0x59, 0xe3, 0xc4, 0xc8,
            0x8a, 0x92, 0x9f, 0x83,
        ]);
        for (suite, expected) in [
            (Suite::Aes128Gcm, "aeda1febc54367bb4f31e1dbfcaf6df19bad14616f13b257caa5c7b78951ff37"),
            (Suite::Aes256Gcm, "874ce46f52c32a769e1841b124e29a5b53373cddd2a25900804b16b4cd2dbe0c"),
        ] {
            let [initiator, responder] = suite.keys(&exporter);
            let mut text = [0; 32];
            text[..3].copy_from_slice(&[0x30, 2, 3]);
            initiator.seal(5, &mut text);
            assert_eq!(hex(&text), expected, "{suite}");
            assert_eq!(responder.open(5, &mut text.clone(), 0), None, "each has a key of its own");
            assert_eq!(initiator.open(5, &mut text, 0), Some(16));
            assert_eq!(text[..4], [0x30, 2, 3, 0]);
        }
    }

    #[test]
    fn both_ends_must_accept_a_suite() {
        use SuitePolicy::{Aes128Gcm, Aes256Gcm, Auto, WireGuard};
        let agreed = |ours: SuitePolicy, fast: bool, theirs: SuitePolicy| {
            let (ours, theirs) = (ours.features(fast), theirs.features(true));
            assert_eq!(Suite::agreed(ours, theirs), Suite::agreed(theirs, ours));
            Suite::agreed(ours, theirs)
        };
        assert_eq!(agreed(Auto, true, Auto), Some(Suite::Aes256Gcm));
        assert_eq!(agreed(Auto, false, Auto), None);
        assert_eq!(agreed(Auto, false, Aes256Gcm), None, "slower for one of the two");
        assert_eq!(agreed(Auto, true, Aes128Gcm), Some(Suite::Aes128Gcm));
        assert_eq!(agreed(Aes256Gcm, false, Auto), Some(Suite::Aes256Gcm));
        assert_eq!(agreed(Aes256Gcm, true, Aes128Gcm), None);
        assert_eq!(agreed(WireGuard, true, Aes256Gcm), None);
        for policy in SuitePolicy::ALL {
            assert_eq!(policy.name().parse(), Ok(policy));
        }
        assert_eq!("aes".parse::<SuitePolicy>(), Err(UnknownSuite));
    }
}
