//! ARP for IPv4 over Ethernet.

use core::net::Ipv4Addr;

use crate::{MacAddr, Malformed};

/// Hardware Ethernet (1), protocol IPv4, address lengths 6 and 4.
const KIND: [u8; 6] = [0, 1, 8, 0, 6, 4];

/// The operation of an ARP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ArpOperation {
    /// Request (1): asks for the owner of the target address.
    Request,
    /// Reply (2): the sender has the sender address.
    Reply,
}

/// An ARP packet for IPv4 over Ethernet.
///
/// ```text
///  0      2      4   5   6    8            14          18           24          28
///  | hw 1 | 0800 | 6 | 4 | op | sender MAC | sender IP | target MAC | target IP |
/// ```
///
/// Source: RFC 826.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Arp {
    /// Request or reply.
    pub operation: ArpOperation,
    /// The sender's hardware address.
    pub sender_mac: MacAddr,
    /// The sender's IP address; 0.0.0.0 in a probe (RFC 5227).
    pub sender_ip: Ipv4Addr,
    /// The target's hardware address; unused in a request.
    pub target_mac: MacAddr,
    /// The target's IP address.
    pub target_ip: Ipv4Addr,
}

impl Arp {
    /// Its length in bytes; a frame may pad it.
    pub const LEN: usize = 28;

    /// Decodes the packet from the first [`Self::LEN`] bytes.
    ///
    /// # Errors
    ///
    /// [`Malformed::ArpShort`]; [`Malformed::ArpKind`] for another hardware type, protocol or
    /// operation.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let bytes: &[u8; Self::LEN] = bytes.first_chunk().ok_or(Malformed::ArpShort)?;
        let (kind, rest) = bytes.split_first_chunk::<6>().ok_or(Malformed::ArpShort)?;
        let (operation, rest) = rest.split_first_chunk::<2>().ok_or(Malformed::ArpShort)?;
        let (&sender_mac, rest) = rest.split_first_chunk::<6>().ok_or(Malformed::ArpShort)?;
        let (&sender_ip, rest) = rest.split_first_chunk::<4>().ok_or(Malformed::ArpShort)?;
        let (&target_mac, rest) = rest.split_first_chunk::<6>().ok_or(Malformed::ArpShort)?;
        let &target_ip = rest.first_chunk::<4>().ok_or(Malformed::ArpShort)?;
        let operation = match operation {
            [0, 1] if *kind == KIND => ArpOperation::Request,
            [0, 2] if *kind == KIND => ArpOperation::Reply,
            _ => return Err(Malformed::ArpKind),
        };
        Ok(Self {
            operation,
            sender_mac: MacAddr(sender_mac),
            sender_ip: sender_ip.into(),
            target_mac: MacAddr(target_mac),
            target_ip: target_ip.into(),
        })
    }

    /// The packet as bytes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let operation = match self.operation {
            ArpOperation::Request => [0, 1],
            ArpOperation::Reply => [0, 2],
        };
        let pieces: [&[u8]; 6] = [
            &KIND,
            &operation,
            &self.sender_mac.0,
            &self.sender_ip.octets(),
            &self.target_mac.0,
            &self.target_ip.octets(),
        ];
        let mut bytes = [0; Self::LEN];
        let from = pieces.into_iter().flatten();
        bytes.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
        bytes
    }

    /// The reply to this request: `mac` has the requested address.
    #[must_use]
    pub const fn reply_from(&self, mac: MacAddr) -> Self {
        Self {
            operation: ArpOperation::Reply,
            sender_mac: mac,
            sender_ip: self.target_ip,
            target_mac: self.sender_mac,
            target_ip: self.sender_ip,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: [u8; 28] =
        [0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1, 192, 0, 2, 1, 0, 0, 0, 0, 0, 0, 192, 0, 2, 77];
    const REQUEST: Arp = Arp {
        operation: ArpOperation::Request,
        sender_mac: MacAddr([2, 0, 0, 0, 0, 1]),
        sender_ip: Ipv4Addr::new(192, 0, 2, 1),
        target_mac: MacAddr([0; 6]),
        target_ip: Ipv4Addr::new(192, 0, 2, 77),
    };

    #[test]
    fn bytes_both_ways() {
        assert_eq!(REQUEST.to_bytes(), BYTES);
        assert_eq!(Arp::parse(&BYTES), Ok(REQUEST));
        let reply = REQUEST.reply_from(MacAddr([2, 0, 0, 0, 0, 9]));
        assert_eq!(Arp::parse(&reply.to_bytes()), Ok(reply));
        assert_eq!((reply.sender_ip, reply.target_mac), (REQUEST.target_ip, REQUEST.sender_mac));
    }

    #[test]
    fn other_arp_than_for_ipv4_is_refused() {
        assert_eq!(Arp::parse(&BYTES[..27]), Err(Malformed::ArpShort));
        for at in [1, 2, 4, 5, 7] {
            let mut bytes = BYTES;
            bytes[at] = 9;
            assert_eq!(Arp::parse(&bytes), Err(Malformed::ArpKind), "byte {at}");
        }
    }
}
