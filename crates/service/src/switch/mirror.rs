//! A mirror of a switch, as a configuration asks for it.

use crate::filter::Filter;
use adit_device::ClassicFilter;
use adit_engine::switch::{FrameFilter, FrameMatch, MirrorDirection, MirrorFilter};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// The words for directions.
pub(super) const DIRECTIONS: [(&str, MirrorDirection); 3] = [
    ("ingress", MirrorDirection::Ingress),
    ("egress", MirrorDirection::Egress),
    ("both", MirrorDirection::Both),
];

/// A mirror: copies of frames.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedMirror {
    /// Where they go.
    pub to: MirrorTo,
    /// The names of the ports that are watched; empty: all.
    pub ports: Vec<String>,
    /// Which way of them.
    pub direction: MirrorDirection,
    /// Which frames.
    pub filter: WantedFilter,
    /// How many bytes of each at most.
    pub truncate: Option<usize>,
}

/// Where copies go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MirrorTo {
    /// A pcapng file.
    File(PathBuf),
    /// A port, by its name.
    Port(String),
}

/// Which frames are copied.
#[derive(Clone, Debug)]
pub enum WantedFilter {
    /// All, or those with certain parts.
    Match(FrameMatch),
    /// Those that an expression of tcpdump describes.
    Expression(Filter),
}

/// Filters are equal if their texts are: each reload compiles its own program.
impl PartialEq for WantedFilter {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Match(ours), Self::Match(theirs)) => ours == theirs,
            (Self::Expression(ours), Self::Expression(theirs)) => {
                ours.expression == theirs.expression
            }
            _ => false,
        }
    }
}

impl Eq for WantedFilter {}

impl WantedFilter {
    /// In tcpdump's words; `None` for all frames.
    pub fn text(&self) -> Option<String> {
        let parts = match self {
            Self::Expression(filter) => return Some(filter.expression.clone()),
            Self::Match(parts) => parts,
        };
        let mut words = Vec::new();
        words.extend(parts.vlan.map(|vlan| format!("vlan {vlan}")));
        words.extend(parts.mac.map(|mac| format!("ether host {mac}")));
        words.extend(parts.ether_type.map(|number| format!("ether proto {number:#06x}")));
        words.extend(parts.protocol.map(|number| format!("ip proto {number}")));
        words.extend(parts.port.map(|port| format!("port {port}")));
        (!words.is_empty()).then(|| words.join(" and "))
    }

    /// What the engine does with it.
    pub fn to_engine(&self) -> MirrorFilter {
        match self {
            Self::Match(parts) if *parts == FrameMatch::default() => MirrorFilter::All,
            Self::Match(parts) => MirrorFilter::Match(*parts),
            Self::Expression(filter) => {
                MirrorFilter::Program(Arc::new(Program(filter.program.clone())))
            }
        }
    }
}

/// A classic BPF program, as a filter of the engine.
#[derive(Debug)]
struct Program(ClassicFilter);

impl FrameFilter for Program {
    fn keep(&self, frame: &[u8]) -> usize {
        usize::try_from(self.0.run(frame)).unwrap_or(usize::MAX)
    }
}

impl fmt::Display for MirrorTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Port(name) => write!(f, "port {name}"),
        }
    }
}
