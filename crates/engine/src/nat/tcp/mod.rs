//! TCP: a connection of the inside, spliced to a socket of the host.

mod conn;
mod down;
mod rtt;
mod segment;
mod up;

pub(super) use conn::{Conn, Cx, Fate, Opening, refuse};
pub(super) use segment::Segment;
