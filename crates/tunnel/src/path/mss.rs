//! MSS clamping: limits TCP segments to the path MTU.

use adit_packet::{IpVersion, Layer, PacketBuf, TcpFlags, checksum, ip_protocol};

/// The option's kind and length (RFC 9293, 3.7.1).
const MSS: [u8; 2] = [2, 4];
const END: u8 = 0;
const NOTHING: u8 = 1;

/// Lowers the MSS option of a SYN to what fits an IP packet (or a frame) of `mtu` bytes.
pub(crate) fn clamp(packet: &mut PacketBuf, layer: Layer, mtu: usize) {
    if !may_be_syn(packet.bytes(), layer) {
        return;
    }
    let Ok(headers) = layer.parse(packet.bytes()) else { return };
    let (Some(at), Some(ip_protocol::TCP), None) =
        (headers.transport(), headers.protocol(), headers.fragment())
    else {
        return;
    };
    let ip = match headers.version() {
        Some(IpVersion::V4) => 20,
        _ => 40,
    };
    let most = mtu.saturating_sub(headers.network() + ip + 20);
    let (Ok(most), true) = (u16::try_from(most), most > 0) else { return };
    let finished = !packet.meta.vnet.needs_csum();
    let end = headers.payload();
    if let Some(header) = packet.bytes_mut().get_mut(at..end) {
        clamp_header(header, most, finished);
    }
}

/// A cheap test first: most packets are not a SYN.
fn may_be_syn(bytes: &[u8], layer: Layer) -> bool {
    let Layer::Packet = layer else { return bytes.len() < 200 };
    let flags = match bytes.first().map(|first| (first >> 4, usize::from(first & 15) * 4)) {
        Some((4, len)) if bytes.get(9) == Some(&ip_protocol::TCP) => bytes.get(len + 13),
        Some((6, _)) if bytes.get(6) == Some(&ip_protocol::TCP) => bytes.get(53),
        _ => None,
    };
    flags.is_some_and(|&flags| TcpFlags(flags).contains(TcpFlags::SYN))
}

/// Lowers the option in a TCP header, and corrects its checksum if it is complete.
fn clamp_header(header: &mut [u8], most: u16, finished: bool) {
    let is_syn = header.get(13).is_some_and(|&flags| TcpFlags(flags).contains(TcpFlags::SYN));
    let mut at = 20;
    while let Some(&kind) = header.get(at).filter(|_| is_syn) {
        let len = match (kind, header.get(at + 1)) {
            (END, _) | (_, None) => return,
            (NOTHING, _) => 1,
            (_, Some(&len)) if len >= 2 => usize::from(len),
            _ => return,
        };
        let option = header.get_mut(at..at + 4).and_then(|option| option.first_chunk_mut::<4>());
        if let Some([kind, len, m0, m1]) = option
            && [*kind, *len] == MSS
        {
            let old = u16::from_be_bytes([*m0, *m1]);
            if old > most {
                [*m0, *m1] = most.to_be_bytes();
                if finished {
                    // An option at an odd place has its value in two words: swapped sums are the same.
                    let (old, new) = if at % 2 == 0 {
                        (old, most)
                    } else {
                        (old.swap_bytes(), most.swap_bytes())
                    };
                    if let Some([c0, c1]) = header.get_mut(16..18).and_then(<[u8]>::first_chunk_mut)
                    {
                        let check = u16::from_be_bytes([*c0, *c1]);
                        [*c0, *c1] = checksum::update16(check, old, new).to_be_bytes();
                    }
                }
            }
            return;
        }
        at += len;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use adit_packet::{Ipv4Header, TcpHeader, checksum::Sum};
    use std::vec::Vec;

    fn syn(options: &[u8], flags: TcpFlags) -> Vec<u8> {
        let (source, destination) = ([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
        let tcp = TcpHeader {
            source_port: 1,
            destination_port: 2,
            sequence: 3,
            acknowledgment: 0,
            flags,
            window: 1000,
            checksum: 0,
            urgent: 0,
        };
        let ip = Ipv4Header {
            tos: 0,
            total_len: u16::try_from(40 + options.len()).unwrap(),
            id: 0,
            dont_fragment: true,
            fragment: None,
            ttl: 64,
            protocol: 6,
            source,
            destination,
        };
        let options_len = u8::try_from(options.len()).unwrap();
        let mut bytes = [&ip.to_bytes()[..], &tcp.to_bytes(options_len), options].concat();
        let len = u16::try_from(bytes.len() - 20).unwrap();
        let check = Sum::pseudo_v4(source, destination, 6, len).add_bytes(&bytes[20..]).finish();
        bytes[36..38].copy_from_slice(&check.to_be_bytes());
        bytes
    }

    fn clamped(bytes: &[u8], mtu: usize) -> Vec<u8> {
        let mut packet = PacketBuf::new(0, 2000);
        packet.extend(bytes).unwrap();
        clamp(&mut packet, Layer::Packet, mtu);
        packet.bytes().to_vec()
    }

    #[test]
    fn a_syn_asks_for_what_fits_and_stays_right() {
        let wanted = syn(&[2, 4, 0x05, 0x64, 1, 1, 1, 1], TcpFlags::SYN);
        assert_eq!(clamped(&syn(&[2, 4, 0x05, 0xb4, 1, 1, 1, 1], TcpFlags::SYN), 1420), wanted);
        assert_eq!(clamped(&wanted, 1420), wanted, "it is never raised");
        let odd = syn(&[1, 2, 4, 0x05, 0xb4, 1, 1, 1], TcpFlags::SYN.with(TcpFlags::ACK));
        let wanted = syn(&[1, 2, 4, 0x05, 0x64, 1, 1, 1], TcpFlags::SYN.with(TcpFlags::ACK));
        assert_eq!(clamped(&odd, 1420), wanted);
    }

    #[test]
    fn segments_without_syn_or_option_stay() {
        let large: &[u8] = &[2, 4, 0x05, 0xb4];
        for bytes in [
            syn(large, TcpFlags::ACK),
            syn(&[1, 1, 1, 1], TcpFlags::SYN),
            syn(&[0, 2, 4, 5], TcpFlags::SYN),
            syn(&[9, 0, 2, 4], TcpFlags::SYN),
            syn(&[9, 200, 2, 4], TcpFlags::SYN),
        ] {
            assert_eq!(clamped(&bytes, 1420), bytes);
        }
        assert_eq!(clamped(&syn(large, TcpFlags::SYN), 40), syn(large, TcpFlags::SYN));
    }
}
