//! Recordings of packets: pcapng files with rotation, and output that never blocks.

pub mod error;
pub mod lines;
pub mod now;
pub mod recorder;
pub mod rotate;
pub mod sink;
pub mod text;
