//! TCP: a connection of the inside, spliced to a socket of the host.

mod conn;
mod down;
mod emit;
mod opening;
mod own_syn;
mod rtt;
mod segment;
mod stage;
mod up;

pub(super) use conn::Conn;
pub(super) use emit::refuse;
pub(super) use opening::{Calling, Cx, Fate, Opening};
pub use segment::SPLICE_TAG;
pub(super) use segment::Segment;
