//! Configuration errors of a switch.

use core::fmt;

use crate::endpoint::PortId;
use crate::switch::config::{GuardConfig, SwitchConfig};

/// Why a configuration of a switch or port is invalid. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// No such port.
    NoPort(PortId),
    /// The port exists already.
    PortExists(PortId),
    /// The switch has [`SwitchConfig::PORTS_MAX`] ports already.
    TooManyPorts,
    /// The size of the address table is 0 or over [`SwitchConfig::FDB_LIMIT_MAX`].
    FdbLimit,
    /// The ageing time is under 1 s.
    Ageing,
    /// More than [`SwitchConfig::MIRRORS_MAX`] mirrors.
    TooManyMirrors,
    /// The probe interval is under 10 ms.
    ProbeInterval,
    /// `hold` is under 1 s or over `hold_max`.
    Hold,
    /// A limit of moves or flaps per second is 0.
    PerSecond,
    /// A guard list has more than [`GuardConfig::LIST_MAX`] entries.
    GuardList,
    /// A burst of a storm limit is 0.
    Burst,
    /// The address is zero or a group address.
    NotAStation,
    /// The address table is full.
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
