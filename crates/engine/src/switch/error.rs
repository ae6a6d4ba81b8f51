//! Why a switch refuses what its owner wants.

use core::fmt;

use crate::endpoint::PortId;
use crate::switch::config::{GuardConfig, SwitchConfig};

/// Why a switch or a port cannot be as it is wanted; nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// There is no such port.
    NoPort(PortId),
    /// There is such a port already.
    PortExists(PortId),
    /// There are [`SwitchConfig::PORTS_MAX`] ports already.
    TooManyPorts,
    /// The limit of the table is 0 or more than [`SwitchConfig::FDB_LIMIT_MAX`].
    FdbLimit,
    /// Addresses would age in less than a second.
    Ageing,
    /// There are more mirrors than [`SwitchConfig::MIRRORS_MAX`].
    TooManyMirrors,
    /// Probes for loops would leave more often than every 10 ms.
    ProbeInterval,
    /// A blocked port would be tried again sooner than after a second, or later than after
    /// `hold_max`.
    Hold,
    /// No limit per second, of moves or of flaps, can be 0.
    PerSecond,
    /// A list of a guard has more than [`GuardConfig::LIST_MAX`] entries.
    GuardList,
    /// A burst of a storm limit is 0.
    Burst,
    /// A host cannot have this address: it is zero or a group's.
    NotAStation,
    /// The table is full.
    FdbFull,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPort(port) => write!(f, "there is no port {port}"),
            Self::PortExists(port) => write!(f, "there is a port {port} already"),
            Self::TooManyPorts => {
                write!(f, "a switch has at most {} ports", SwitchConfig::PORTS_MAX)
            }
            Self::FdbLimit => {
                write!(f, "the table of addresses has 1 to {} entries", SwitchConfig::FDB_LIMIT_MAX)
            }
            Self::Ageing => f.write_str("addresses are kept for at least a second"),
            Self::TooManyMirrors => {
                write!(f, "a switch has at most {} mirrors", SwitchConfig::MIRRORS_MAX)
            }
            Self::ProbeInterval => f.write_str("probes for loops leave at most every 10 ms"),
            Self::Hold => {
                f.write_str("a blocked port is held for at least a second and at most `hold_max`")
            }
            Self::PerSecond => f.write_str("a limit of moves or flaps per second is at least 1"),
            Self::GuardList => {
                write!(f, "a list of a guard has at most {} entries", GuardConfig::LIST_MAX)
            }
            Self::Burst => f.write_str("a burst is at least one frame"),
            Self::NotAStation => f.write_str("no host can have a group's address or none"),
            Self::FdbFull => f.write_str("the table of addresses is full"),
        }
    }
}

impl core::error::Error for ConfigError {}
