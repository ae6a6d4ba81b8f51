//! A network's way out as other programs offer it: slirp4netns, pasta, passt, gvproxy.
//!
//! ```text
//! caller's network namespace                  the namespace
//! adit: Gateway -- sockets of the host          TUN device, addresses, routes
//!        '---- queue ------------------------>
//! ```
//!
//! The program reports that it is ready as its callers expect it, and ends with the namespace, by a signal, or
//! by a descriptor. It runs as root of a user namespace as well as without any privilege.
//!
//! What the other program reaches is reached: also the host's addresses and link-local ones. The host's loopback
//! is reached only at the gateway, and not at all if the command line says so.

mod addressing;
mod api;
mod background;
mod guests;
mod gvproxy;
mod host;
mod inside;
mod passt;
mod pasta;
mod ports;
mod server;
mod slirp4netns;

pub use addressing::Addressing;
pub use guests::GuestOptions;
pub use gvproxy::Gvproxy;
pub use host::Outbound;
pub use passt::{GuestSocket, Passt};
pub use pasta::{Pasta, Place};
pub use ports::Forward;
pub use slirp4netns::{Network, Slirp4netns};
