//! Framings and file formats: pure, bounded, fuzzed.

pub mod framing;
pub mod pcapng;
pub mod recording;
pub mod unfinished;
pub mod vxlan_header;
