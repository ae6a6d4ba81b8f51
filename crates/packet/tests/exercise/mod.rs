//! Every parser on any bytes: what must hold whatever they are. The property tests and the fuzz
//! targets call the same functions.

use adit_packet::{
    Arp, Coalescer, Endian, Ethernet, HashTypes, Headers, Icmp, Ipv4, Ipv4Mut, Ipv6, Ipv6Mut,
    Layer, Neighbour, PacketBuf, PacketInfo, SuperPacket, Tcp, TcpMut, Toeplitz, ToeplitzKey, Udp,
    UdpMut, VnetHeader, VnetLen, checksum, icmp, rss_hash,
};

/// Ethernet and ARP.
pub(crate) fn link(bytes: &[u8]) {
    if let Ok(frame) = Ethernet::parse(bytes) {
        assert_eq!(frame.header_len() + frame.payload().len(), bytes.len());
        assert_eq!(frame.source().0, bytes[6..12]);
        assert_eq!(frame.destination().0, bytes[..6]);
    }
    if let Ok(arp) = Arp::parse(bytes) {
        assert_eq!(arp.to_bytes(), bytes[..Arp::LEN]);
        assert_eq!(Arp::parse(&arp.reply_from(arp.sender_mac).to_bytes()).map(drop), Ok(()));
    }
}

/// IPv4 and IPv6, read and edited.
pub(crate) fn network(bytes: &[u8]) {
    if let Ok(ipv4) = Ipv4::parse(bytes) {
        assert_eq!(ipv4.header_len() + ipv4.payload().len(), usize::from(ipv4.total_len()));
        let again = ipv4.header().to_bytes();
        assert_eq!(checksum::of(&again), 0);
        assert_eq!((again[1..6].as_ref(), again[8]), (&bytes[1..6], bytes[8]));
        assert_eq!(again[12..], bytes[12..20]);
        let (valid, ttl) = (ipv4.has_valid_checksum(), ipv4.ttl());
        let mut edited = bytes.to_vec();
        Ipv4Mut::parse(&mut edited).expect("it was parsed before").set_ttl(ttl.wrapping_sub(1));
        let edited = Ipv4::parse(&edited).expect("only the TTL changed");
        assert!(edited.has_valid_checksum() || !valid);
    }
    if let Ok(ipv6) = Ipv6::parse(bytes) {
        assert_eq!(ipv6.header().to_bytes(), bytes[..40]);
        if let Ok(upper) = ipv6.upper_layer() {
            assert_eq!(upper.extensions_len + upper.payload.len(), ipv6.payload().len());
            for at in [upper.home_address, upper.routing_address].into_iter().flatten() {
                assert!(at + 16 <= upper.extensions_len);
            }
        }
        let mut edited = bytes.to_vec();
        let mut edit = Ipv6Mut::parse(&mut edited).expect("it was parsed before");
        edit.set_class(!ipv6.class());
        let edited = Ipv6::parse(&edited).expect("only the class changed").header();
        assert_eq!((edited.class, edited.flow_label), (!ipv6.class(), ipv6.flow_label()));
    }
}

/// TCP and UDP, read and edited.
pub(crate) fn transport(bytes: &[u8]) {
    if let Ok(tcp) = Tcp::parse(bytes) {
        assert_eq!(tcp.header_len() + tcp.payload().len(), bytes.len());
        assert!(tcp.options().count() <= tcp.options_bytes().len() / 2);
        let options_len = u8::try_from(tcp.options_bytes().len()).expect("at most 40");
        let again = tcp.header().to_bytes(options_len);
        assert_eq!((&again[..12], &again[13..]), (&bytes[..12], &bytes[13..20]));
        let mut edited = bytes.to_vec();
        TcpMut::parse(&mut edited).expect("it was parsed before").set_source_port(7);
        assert_eq!(checksum::of(&edited), same_sum(bytes, &edited));
    }
    if let Ok(udp) = Udp::parse(bytes) {
        assert_eq!(udp.payload().len() + 8, usize::from(udp.len()));
        assert_eq!(udp.header().to_bytes(), bytes[..8]);
        let mut edited = bytes.to_vec();
        UdpMut::parse(&mut edited).expect("it was parsed before").set_source_port(7);
        let check = Udp::parse(&edited).expect("only the port changed").checksum();
        assert_eq!(check == 0, udp.checksum() == 0);
    }
}

/// The checksum that `edited` must have: that of `original`, if it is defined.
///
/// All-zero words have two sums (0 and 0xffff), so a checksum that was wrong may move between them.
fn same_sum(original: &[u8], edited: &[u8]) -> u16 {
    match (checksum::of(original), checksum::of(edited)) {
        (0 | 0xffff, now @ (0 | 0xffff)) => now,
        (before, _) => before,
    }
}

/// ICMP and neighbour discovery.
pub(crate) fn control(bytes: &[u8]) {
    if let Ok(message) = Icmp::parse(bytes) {
        let again = message.header().to_bytes();
        assert_eq!((&again[..2], &again[4..]), (&bytes[..2], &bytes[4..8]));
        let mut filled = bytes.to_vec();
        icmp::fill_checksum_v4(&mut filled);
        assert!(icmp::has_valid_checksum_v4(&filled));
    }
    if let Ok(neighbour) = Neighbour::parse(bytes) {
        let (again, len) = neighbour.to_bytes();
        assert_eq!(Neighbour::parse(&again[..len]), Ok(neighbour));
    }
}

/// Whole packets and frames: offsets, flow and hash.
pub(crate) fn flow(bytes: &[u8], toeplitz: &Toeplitz) {
    for headers in [Headers::parse_packet(bytes), Headers::parse_frame(bytes)] {
        let Ok(headers) = headers else { continue };
        assert!(headers.network() <= headers.payload());
        assert!(headers.payload() <= headers.end());
        assert!(headers.end() <= bytes.len());
        let flow = headers.flow(bytes);
        assert_eq!(flow.is_some(), headers.version().is_some());
        if let Some(flow) = flow {
            assert_eq!(flow.symmetric(), flow.reversed().symmetric());
        }
        let hash = rss_hash(&headers, bytes, HashTypes::ALL, toeplitz);
        assert_eq!(hash.is_some(), headers.version().is_some());
    }
}

/// What stands before a packet: virtio-net header and packet information.
pub(crate) fn before(bytes: &[u8]) {
    for len in [VnetLen::Legacy, VnetLen::Mergeable, VnetLen::Hash, VnetLen::Tunnel] {
        for endian in [Endian::Native, Endian::Little, Endian::Big] {
            let Ok(header) = VnetHeader::decode(bytes, len, endian) else { continue };
            let mut again = [0; VnetHeader::LEN_MAX];
            if let Ok(written) = header.encode(&mut again, len, endian) {
                assert_eq!(VnetHeader::decode(&again[..written], len, endian), Ok(header));
            } else {
                assert!(header.tunnel.is_some() && len != VnetLen::Tunnel);
            }
        }
    }
    if let Ok(info) = PacketInfo::decode(bytes) {
        assert_eq!(info.encode(), bytes[..PacketInfo::LEN]);
    }
}

/// A virtio-net header of 24 bytes and what it stands before, cut up.
pub(crate) fn segment(bytes: &[u8]) {
    let Some((header, bytes)) = bytes.split_first_chunk::<{ VnetHeader::LEN_MAX }>() else {
        return;
    };
    let Ok(vnet) = VnetHeader::decode(header, VnetLen::Tunnel, Endian::Little) else { return };
    for layer in [Layer::Frame, Layer::Packet] {
        let Ok(whole) = SuperPacket::parse(bytes, &vnet, layer) else { continue };
        let mut payload = 0;
        let mut packet = PacketBuf::new(0, bytes.len());
        for segment in whole.segments() {
            packet.reset(0);
            segment.append_to(&mut packet).expect("no longer than the whole");
            assert_eq!(packet.len(), segment.len());
            assert_eq!(layer.parse(packet.bytes()).map(|headers| headers.end()), Ok(packet.len()));
            payload += segment.payload().len();
        }
        assert_eq!(payload, whole.payload().len());
        assert_eq!(whole.segments().len(), whole.count());
    }
}

/// Packets, each after a byte with its length and one with its flags, joined.
pub(crate) fn coalesce(bytes: &[u8]) {
    let mut packets = Vec::new();
    let mut rest = bytes;
    while let [len, flags, after @ ..] = rest {
        let (packet, after) = after.split_at(usize::from(*len).min(after.len()));
        let mut buffer = PacketBuf::new(0, packet.len());
        buffer.extend(packet).expect("made to measure");
        buffer.meta.vnet.flags = flags & VnetHeader::DATA_VALID;
        packets.push(buffer);
        rest = after;
    }
    for layer in [Layer::Frame, Layer::Packet] {
        let mut coalescer = Coalescer::new(layer);
        let trains = coalescer.join(&packets);
        let mut seen = vec![false; packets.len()];
        for train in trains.iter() {
            let members: Vec<usize> = train.members().collect();
            assert_eq!(members.len(), train.count());
            assert!(members.is_sorted());
            members.iter().for_each(|&at| assert!(!core::mem::replace(&mut seen[at], true)));
            if train.count() > 1 {
                assert_cuts_up_again(
                    &train.pieces().collect::<Vec<_>>().concat(),
                    &train.vnet(),
                    layer,
                );
            }
        }
        assert!(seen.into_iter().all(|seen| seen), "no packet is lost");
    }
}

fn assert_cuts_up_again(bytes: &[u8], vnet: &VnetHeader, layer: Layer) {
    let whole = SuperPacket::parse(bytes, vnet, layer).expect("what was joined is a super-packet");
    assert!(whole.count() > 1);
}

/// The tables that [`flow`] needs, made once.
pub(crate) fn toeplitz() -> Toeplitz {
    Toeplitz::new(&ToeplitzKey::MICROSOFT)
}
