//! The hop limit (TTL) of what a socket sends.

use rustix::net::sockopt;
use socket2::Socket;
use std::io;

/// The hop limit that a socket has; 0 for the host's.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct HopLimit(u8);

impl HopLimit {
    /// Sets it for what is sent from now on, unless `wanted` is 0 or what it is.
    pub(crate) fn set(&mut self, socket: &Socket, is_v4: bool, wanted: u8) -> io::Result<()> {
        if wanted == 0 || wanted == self.0 {
            return Ok(());
        }
        if is_v4 {
            sockopt::set_ip_ttl(socket, u32::from(wanted))?;
        } else {
            sockopt::set_ipv6_unicast_hops(socket, Some(wanted))?;
        }
        self.0 = wanted;
        Ok(())
    }
}
