//! Cuts a TCP super-packet into segments and joins them again, without an operating system.
//!
//! ```text
//! $ cargo run -p adit-packet --example segment_and_join -- 20000 1400
//! ```
#![expect(clippy::print_stdout, reason = "an example")]

use adit_packet::checksum::Sum;
use adit_packet::{
    Coalescer, Gso, Ipv4Header, Layer, PacketBuf, SuperPacket, TcpFlags, TcpHeader, VnetHeader,
    ip_protocol,
};
use std::error::Error;
use std::net::Ipv4Addr;

const SOURCE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const DESTINATION: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let mut number = |default| args.next().map_or(Ok(default), |number| number.parse());
    let (payload_len, segment_size): (usize, u16) = (number(20_000)?.into(), number(1400)?);
    let whole = super_packet(payload_len, segment_size)?;

    // Each segment has its own sequence number, lengths and checksums.
    let cut = SuperPacket::parse(whole.bytes(), &whole.meta.vnet, Layer::Packet)?;
    let mut segments = Vec::new();
    for segment in cut.segments() {
        let mut packet = PacketBuf::new(0, segment.len());
        segment.append_to(&mut packet)?;
        segments.push(packet);
    }
    println!("{} bytes became {} packets", whole.len(), segments.len());

    // Joining copies no payload: a train is a new header and references to the payloads.
    let mut coalescer = Coalescer::new(Layer::Packet);
    let trains = coalescer.join(&segments);
    for train in trains.iter() {
        let bytes: Vec<u8> = train.pieces().flatten().copied().collect();
        println!("{} packets became one of {} bytes", train.count(), bytes.len());
        assert_eq!(bytes.len(), whole.len());
    }
    Ok(())
}

/// A TCP packet of up to 64 KiB and the virtio-net header that says how to cut it up.
fn super_packet(payload_len: usize, segment_size: u16) -> Result<PacketBuf, Box<dyn Error>> {
    let tcp_len = u16::try_from(TcpHeader::LEN + payload_len)?;
    let pseudo_header = Sum::pseudo_v4(SOURCE, DESTINATION, ip_protocol::TCP, tcp_len);
    let tcp = TcpHeader {
        source_port: 49152,
        destination_port: 80,
        sequence: 1,
        acknowledgment: 1,
        flags: TcpFlags::ACK,
        window: 512,
        // With NEEDS_CSUM the field holds the sum of the pseudo header only.
        checksum: pseudo_header.fold(),
        urgent: 0,
    };
    let len = Ipv4Header::LEN + usize::from(tcp_len);
    let ip = Ipv4Header {
        tos: 0,
        total_len: u16::try_from(len)?,
        id: 1,
        dont_fragment: true,
        fragment: None,
        ttl: 64,
        protocol: ip_protocol::TCP,
        source: SOURCE,
        destination: DESTINATION,
    };
    let mut packet = PacketBuf::new(0, len);
    packet.extend(&ip.to_bytes())?;
    packet.extend(&tcp.to_bytes(0))?;
    packet.grow(payload_len).ok_or("no room")?.fill(0xab);
    packet.meta.vnet = VnetHeader {
        flags: VnetHeader::NEEDS_CSUM,
        gso: Gso::Tcp4,
        gso_size: segment_size,
        hdr_len: u16::try_from(Ipv4Header::LEN + TcpHeader::LEN)?,
        csum_start: u16::try_from(Ipv4Header::LEN)?,
        csum_offset: 16,
        ..VnetHeader::default()
    };
    Ok(packet)
}
