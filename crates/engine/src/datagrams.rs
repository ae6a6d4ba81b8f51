//! The datagrams of a train.

use adit_packet::{Gso, PacketBuf};

/// The datagrams of a packet for or from [`Endpoint::Udp`](crate::Endpoint::Udp), in order.
///
/// An engine may send a *train*: datagrams of equal length (the last one may be shorter) one behind
/// the other in one packet, as `UDP_SEGMENT` sends and `UDP_GRO` receives them. A transport that sends
/// `packet.bytes()` as one datagram instead loses all of them but short ones: the receiver discards it.
///
/// ```
/// use adit_engine::datagrams;
/// use adit_packet::{Gso, Pool, PoolConfig};
///
/// let mut train = Pool::new(PoolConfig::default()).take(100).expect("a fresh pool");
/// train.extend(&[7; 100])?;
/// assert_eq!(datagrams(&train).count(), 1, "a packet is one datagram ...");
///
/// train.meta.vnet.gso = Gso::UdpL4;
/// train.meta.vnet.gso_size = 40;
/// let lens = datagrams(&train).map(<[u8]>::len);
/// assert_eq!(lens.collect::<Vec<_>>(), [40, 40, 20], "... unless it is marked as a train");
/// # Ok::<(), adit_packet::NoRoom>(())
/// ```
pub fn datagrams(packet: &PacketBuf) -> impl Iterator<Item = &[u8]> + Clone {
    let vnet = &packet.meta.vnet;
    let stride = match vnet.gso {
        Gso::UdpL4 if vnet.gso_size != 0 => usize::from(vnet.gso_size),
        _ => packet.len().max(1),
    };
    // An empty packet is one empty datagram, of which `chunks` makes none.
    let empty = packet.is_empty().then_some(packet.bytes());
    packet.bytes().chunks(stride).chain(empty)
}

#[cfg(test)]
mod tests {
    use super::*;
    use adit_packet::{Pool, PoolConfig};
    use std::vec::Vec;

    #[test]
    fn a_packet_is_cut_up_only_if_it_is_a_train() {
        let mut pool = Pool::new(PoolConfig::default());
        for (len, gso, gso_size, lens) in [
            (0, Gso::None, 0, &[0][..]),
            (5, Gso::None, 2, &[5]),
            (5, Gso::UdpL4, 0, &[5]),
            (0, Gso::UdpL4, 2, &[0]),
            (5, Gso::UdpL4, 2, &[2, 2, 1]),
            (4, Gso::UdpL4, 2, &[2, 2]),
            (4, Gso::UdpL4, 9, &[4]),
        ] {
            let mut packet = pool.take(len).unwrap();
            packet.set_len(len).unwrap();
            (packet.meta.vnet.gso, packet.meta.vnet.gso_size) = (gso, gso_size);
            assert_eq!(datagrams(&packet).map(<[u8]>::len).collect::<Vec<_>>(), lens);
            pool.give(packet);
        }
    }
}
