//! Neighbors: which hardware address an IP address has.

use super::message::{Message, Request, attributes, split};
use super::uapi::{
    AF_UNSPEC, NDA_DST, NUD_NOARP, NUD_PERMANENT, RTM_DELNEIGH, RTM_GETNEIGH, RTM_NEWNEIGH,
};
use super::{Netlink, raw_errno};
use netlink_packet_core::NLM_F_DUMP;
use std::io;

/// `struct ndmsg` of `linux/neighbour.h`.
///
/// ```text
/// | family u8 | padding u24 | index i32 | state u16 | flags u8 | type u8 |
/// ```
const HEADER_LEN: usize = 12;

impl Netlink {
    /// Forgets all neighbors that were learned, as `ip neigh flush all`; returns how many. Neighbors are counted
    /// for all network namespaces of the machine together, and a kernel takes 1,024 of them
    /// (`net.ipv4.neigh.default.gc_thresh3`).
    ///
    /// # Errors
    /// ETIMEDOUT if the kernel does not answer; EPERM.
    pub fn flush_neighbors(&mut self) -> io::Result<usize> {
        let mut header = [0; HEADER_LEN];
        header[0] = AF_UNSPEC;
        let learned = self.list(&mut Request::new(RTM_GETNEIGH, NLM_F_DUMP, &header), learned)?;
        let mut count = 0;
        for (header, address) in learned {
            let mut request = Request::new(RTM_DELNEIGH, 0, &header);
            match self.change(request.attribute(NDA_DST, &address)) {
                Ok(()) => count += 1,
                // It has expired meanwhile.
                Err(error) if raw_errno(&error) == Some(libc::ENOENT) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(count)
    }
}

/// The header and the address of an entry that was learned.
fn learned(message: &Message<'_>) -> Option<([u8; HEADER_LEN], Vec<u8>)> {
    if message.kind != RTM_NEWNEIGH {
        return None;
    }
    let (header, rest) = split::<HEADER_LEN>(message.body)?;
    let state = u16::from_ne_bytes([header[8], header[9]]);
    if state & (NUD_NOARP | NUD_PERMANENT) != 0 {
        return None;
    }
    let (_, address) = attributes(rest).find(|(kind, _)| *kind == NDA_DST)?;
    Some((*header, address.to_vec()))
}
