//! TCP: a connection of the inside, spliced to a socket of the host.

mod conn;
mod down;
mod emit;
mod rtt;
mod segment;
mod up;

pub(super) use conn::{Calling, Conn, Cx, Fate, Opening};
pub(super) use emit::refuse;
pub(super) use segment::Segment;
