//! TCP: a connection of the inside, spliced to a socket of the host.

mod conn;
mod down;
mod emit;
mod opening;
mod rtt;
mod segment;
mod up;

pub(super) use conn::{Conn, Cx, Fate};
pub(super) use emit::refuse;
pub(super) use opening::{Calling, Opening};
pub(super) use segment::Segment;
