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
            Self::NoPort(port) => write!(f, "no port {port}"),
            Self::PortExists(port) => write!(f, "port {port} already exists"),
            Self::TooManyPorts => {
                write!(f, "a switch can have at most {} ports", SwitchConfig::PORTS_MAX)
            }
            Self::FdbLimit => {
                write!(
                    f,
                    "the address table must have 1 to {} entries",
                    SwitchConfig::FDB_LIMIT_MAX
                )
            }
            Self::Ageing => f.write_str("the ageing time must be at least 1 s"),
            Self::TooManyMirrors => {
                write!(f, "a switch can have at most {} mirrors", SwitchConfig::MIRRORS_MAX)
            }
            Self::ProbeInterval => f.write_str("the probe interval must be at least 10 ms"),
            Self::Hold => f.write_str("`hold` must be at least 1 s and at most `hold_max`"),
            Self::PerSecond => {
                f.write_str("the limits of moves and flaps per second must be at least 1")
            }
            Self::GuardList => {
                write!(f, "a guard list can have at most {} entries", GuardConfig::LIST_MAX)
            }
            Self::Burst => f.write_str("a burst must be at least 1 frame"),
            Self::NotAStation => f.write_str("not a host address: it is a group address or zero"),
            Self::FdbFull => f.write_str("the address table is full"),
        }
    }
}

impl core::error::Error for ConfigError {}
