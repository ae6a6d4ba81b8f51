//! Framings and file formats: pure, bounded, fuzzed.

pub(crate) mod framing;
pub mod pcapng;
pub mod recording;
pub(crate) mod unfinished;
pub(crate) mod vxlan_header;
