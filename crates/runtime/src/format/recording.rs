//! Packets of a pcap or pcapng file with their times: no more of it in memory than a block.

use crate::format::framing::{FRAME_LEN_MAX, FRAME_LEN_MIN};
use crate::format::pcapng::{Direction, LinkType, Meta};
use pcap_parser::pcapng::{
    Block, EnhancedPacketBlock, InterfaceDescriptionBlock, InterfaceStatisticsBlock, OptionCode,
};
use pcap_parser::traits::{PcapNGPacketBlock, PcapReaderIterator};
use pcap_parser::{Linktype, PcapBlockOwned, PcapError, create_reader};
use std::io::{self, Read};
use std::time::Duration;

/// The longest block: a packet of 256 KiB, the most that capture programs keep, and its options.
const BLOCK_LEN_MAX: usize = 512 << 10;

/// The shortest block: that of a pcapng file without a body.
const BLOCK_LEN_MIN: usize = 12;

/// How many interfaces a pcapng section may have.
const INTERFACES_MAX: usize = 4096;

/// The longest name of an interface that is kept: those of Linux have up to 127 bytes.
const NAME_LEN_MAX: usize = 255;

const NANOS: u64 = 1_000_000_000;

/// A recording that is being read.
pub struct Recording {
    reader: Box<dyn PcapReaderIterator + Send>,
    interfaces: Vec<Interface>,
    /// The order of bytes of this section.
    is_big_endian: bool,
    packet: RecordedPacket,
    /// Packets that were skipped: too short or too long for a frame, or of an interface with another
    /// link type beside one with Ethernet.
    pub skipped: u64,
}

/// A packet of a recording.
#[derive(Clone, Debug, Default)]
pub struct RecordedPacket {
    /// What is known of it. The time has an origin of the file's own, usually 1970.
    pub meta: Meta,
    /// What it begins with; `None` for anything but Ethernet and IP.
    pub link_type: Option<LinkType>,
    /// The same as a number of the registry of link types.
    pub link_number: i32,
    /// The number of its interface.
    pub interface: usize,
    /// Its bytes, as far as they were recorded.
    pub data: Vec<u8>,
}

/// What the next block of a recording has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// A packet, and its time in nanoseconds since an origin of the file's own.
    Packet(u64),
    /// No packet.
    Other,
    /// There is no more block.
    End,
}

/// The link type, time unit and name of the packets of one interface.
#[derive(Clone, Debug)]
struct Interface {
    link_type: Linktype,
    /// How many units a second has.
    resolution: u64,
    /// Seconds to add to each time.
    offset: i64,
    name: Option<String>,
    /// Packets that were lost there, by its last statistics.
    dropped: u64,
}

impl Interface {
    fn nanos(&self, units: u64) -> u64 {
        let nanos = u128::from(units) * u128::from(NANOS) / u128::from(self.resolution.max(1));
        let offset = i128::from(self.offset) * i128::from(NANOS);
        let nanos = i128::try_from(nanos).unwrap_or(i128::MAX).saturating_add(offset);
        u64::try_from(nanos.max(0)).unwrap_or(u64::MAX)
    }
}

impl Recording {
    /// Reads the beginning.
    ///
    /// # Errors
    /// InvalidData: it is neither pcap nor pcapng.
    pub fn new(source: impl Read + Send + 'static) -> io::Result<Self> {
        let reader = create_reader(BLOCK_LEN_MAX, source).map_err(|_| {
            let message = "it is neither a pcap nor a pcapng file";
            io::Error::new(io::ErrorKind::InvalidData, message)
        })?;
        let packet = RecordedPacket::default();
        Ok(Self { reader, interfaces: Vec::new(), packet, skipped: 0, is_big_endian: false })
    }

    /// The name of an interface, if it has one.
    #[must_use]
    pub fn interface(&self, number: usize) -> Option<&str> {
        self.interfaces.get(number)?.name.as_deref()
    }

    /// Packets that the program that made the recording lost, as far as it says: the last statistics of each interface.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.interfaces.iter().fold(0, |sum, interface| sum.saturating_add(interface.dropped))
    }

    /// Reads one block, and puts its packet into `packet`, if it has one. The end may cut a packet off:
    /// that is the end too.
    ///
    /// # Errors
    /// InvalidData: what comes next is no block; UnexpectedEof: reading failed.
    pub fn next_packet(&mut self, packet: &mut RecordedPacket) -> io::Result<Found> {
        loop {
            let (consumed, time) = match self.reader.next() {
                Ok((consumed, block)) => {
                    match &block {
                        PcapBlockOwned::NG(Block::SectionHeader(section)) => {
                            self.is_big_endian = section.big_endian();
                        }
                        PcapBlockOwned::NG(Block::InterfaceStatistics(statistics)) => {
                            note_drops(statistics, self.is_big_endian, &mut self.interfaces);
                        }
                        _ => {}
                    }
                    (consumed, take(&block, &mut self.interfaces, packet, &mut self.skipped)?)
                }
                Err(PcapError::Eof | PcapError::UnexpectedEof) => return Ok(Found::End),
                Err(PcapError::Incomplete(_)) => {
                    let before = self.reader.data().len();
                    self.reader.refill().map_err(|_| io::ErrorKind::UnexpectedEof)?;
                    // A refill that brings nothing new is the end, whatever the parser asks for.
                    if self.reader.data().len() == before {
                        return Ok(Found::End);
                    }
                    continue;
                }
                Err(PcapError::BufferTooSmall) => {
                    return Err(not_one("a block longer than 512 KiB"));
                }
                Err(_) => return Err(not_one("data that is not a block")),
            };
            self.reader.consume(consumed);
            return Ok(time.map_or(Found::Other, Found::Packet));
        }
    }

    /// As [`Self::next_packet`] for recordings of Ethernet: puts the frame into `frame`. Counts as skipped
    /// what is no frame.
    ///
    /// # Errors
    /// As [`Self::next_packet`]; Unsupported: a packet, and no interface with Ethernet.
    pub(crate) fn next(&mut self, frame: &mut Vec<u8>) -> io::Result<Found> {
        let mut packet = std::mem::take(&mut self.packet);
        let found = self.next_packet(&mut packet);
        let is_frame = found.and_then(|found| {
            if !matches!(found, Found::Packet(_)) {
                return Ok(found);
            }
            let is_ethernet = packet.link_type == Some(LinkType::Ethernet);
            let ethernet = |interface: &Interface| interface.link_type == Linktype::ETHERNET;
            if !is_ethernet && !self.interfaces.iter().any(ethernet) {
                return Err(no_ethernet(&packet));
            }
            if !is_ethernet || !(FRAME_LEN_MIN..=FRAME_LEN_MAX).contains(&packet.data.len()) {
                self.skipped += 1;
                return Ok(Found::Other);
            }
            std::mem::swap(frame, &mut packet.data);
            Ok(found)
        });
        self.packet = packet;
        is_frame
    }
}

impl std::fmt::Debug for Recording {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recording").field("interfaces", &self.interfaces).finish_non_exhaustive()
    }
}

/// Takes a packet out of a block, if it has one; its time.
fn take(
    block: &PcapBlockOwned<'_>,
    interfaces: &mut Vec<Interface>,
    packet: &mut RecordedPacket,
    skipped: &mut u64,
) -> io::Result<Option<u64>> {
    let (number, time, data, lens, options) = match block {
        PcapBlockOwned::LegacyHeader(header) => {
            let resolution = if header.is_nanosecond_precision() { NANOS } else { 1_000_000 };
            let link_type = header.network;
            interfaces.push(Interface { link_type, resolution, offset: 0, name: None, dropped: 0 });
            return Ok(None);
        }
        PcapBlockOwned::Legacy(packet) => {
            let Some(interface) = interfaces.first() else { return Ok(None) };
            let (seconds, fraction) = (u64::from(packet.ts_sec), u64::from(packet.ts_usec));
            let time = seconds * NANOS + fraction * (NANOS / interface.resolution);
            (0, time, packet.data, (packet.caplen, packet.origlen), None)
        }
        PcapBlockOwned::NG(Block::SectionHeader(_)) => {
            interfaces.clear();
            return Ok(None);
        }
        PcapBlockOwned::NG(Block::InterfaceDescription(description)) => {
            describe(description, interfaces)?;
            return Ok(None);
        }
        PcapBlockOwned::NG(Block::EnhancedPacket(packet)) => {
            let index = usize::try_from(packet.if_id).unwrap_or(usize::MAX);
            let Some(interface) = interfaces.get(index) else {
                *skipped += 1;
                return Ok(None);
            };
            let units = u64::from(packet.ts_high) << 32 | u64::from(packet.ts_low);
            let lens = (packet.caplen, packet.origlen);
            (index, interface.nanos(units), packet.data, lens, Some(packet))
        }
        // It has no time: when it is met is as good as any.
        PcapBlockOwned::NG(Block::SimplePacket(packet)) => {
            if interfaces.is_empty() {
                *skipped += 1;
                return Ok(None);
            }
            (0, 0, packet.data, (packet.origlen, packet.origlen), None)
        }
        PcapBlockOwned::NG(_) => return Ok(None),
    };
    let Some(interface) = interfaces.get(number) else { return Ok(None) };
    let len = |len| usize::try_from(len).unwrap_or(usize::MAX);
    let data = data.get(..len(lens.0).min(data.len())).unwrap_or_default();
    packet.meta = Meta {
        time: Duration::from_nanos(time),
        direction: options.and_then(direction),
        original_len: len(lens.1),
        lost_before: options.map_or(0, lost_before),
    };
    packet.link_type = match interface.link_type {
        Linktype::ETHERNET => Some(LinkType::Ethernet),
        Linktype::RAW | Linktype::IPV4 | Linktype::IPV6 => Some(LinkType::Raw),
        _ => None,
    };
    (packet.link_number, packet.interface) = (interface.link_type.0, number);
    packet.data.clear();
    packet.data.extend_from_slice(data);
    Ok(Some(time))
}

/// Takes an interface.
fn describe(
    description: &InterfaceDescriptionBlock<'_>,
    interfaces: &mut Vec<Interface>,
) -> io::Result<()> {
    if interfaces.len() >= INTERFACES_MAX {
        return Err(not_one("over 4096 interfaces"));
    }
    let name = description.if_name().and_then(Result::ok);
    interfaces.push(Interface {
        link_type: description.linktype,
        resolution: resolution(description.if_tsresol).unwrap_or(1_000_000),
        offset: description.if_tsoffset,
        name: name.filter(|name| name.len() <= NAME_LEN_MAX).map(str::to_owned),
        dropped: 0,
    });
    Ok(())
}

/// Takes what an interface has dropped (`isb_ifdrop`).
fn note_drops(
    statistics: &InterfaceStatisticsBlock<'_>,
    is_big_endian: bool,
    interfaces: &mut [Interface],
) {
    let index = usize::try_from(statistics.if_id).unwrap_or(usize::MAX);
    let option = statistics.options.iter().find(|option| option.code == OptionCode::IsbIfDrop);
    let bytes = option.and_then(|option| option.as_bytes().ok()?.first_chunk().copied());
    if let (Some(interface), Some(bytes)) = (interfaces.get_mut(index), bytes) {
        interface.dropped =
            if is_big_endian { u64::from_be_bytes(bytes) } else { u64::from_le_bytes(bytes) };
    }
}

/// The option `code` of a packet, of which the first `N` bytes are a number in the order of the section.
fn option<const N: usize>(packet: &EnhancedPacketBlock<'_>, code: u16) -> Option<[u8; N]> {
    let option = packet.options.iter().find(|option| option.code == OptionCode(code))?;
    let mut bytes: [u8; N] = *option.as_bytes().ok()?.first_chunk()?;
    if packet.big_endian() {
        bytes.reverse();
    }
    Some(bytes)
}

/// `epb_flags`: the two lowest bits.
fn direction(packet: &EnhancedPacketBlock<'_>) -> Option<Direction> {
    match u32::from_le_bytes(option(packet, 2)?) & 3 {
        1 => Some(Direction::In),
        2 => Some(Direction::Out),
        _ => None,
    }
}

/// `epb_dropcount`.
fn lost_before(packet: &EnhancedPacketBlock<'_>) -> u64 {
    option(packet, 4).map_or(0, u64::from_le_bytes)
}

/// Units a second, by `if_tsresol`: a power of ten, or with the highest bit of two.
fn resolution(option: u8) -> Option<u64> {
    let power = u32::from(option & 0x7f);
    let base: u64 = if option & 0x80 == 0 { 10 } else { 2 };
    base.checked_pow(power)
}

fn no_ethernet(packet: &RecordedPacket) -> io::Error {
    let packets = match packet.link_type {
        Some(LinkType::Raw) => "IP packets without Ethernet headers",
        _ => "no Ethernet frames",
    };
    io::Error::new(
        io::ErrorKind::Unsupported,
        format!("it has {packets} (link type {})", packet.link_number),
    )
}

fn not_one(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("it has {what}"))
}

/// What must hold whatever a file has in it: it ends, and gives frames only.
///
/// # Panics
/// If it does not hold.
pub(crate) fn exercise(bytes: &[u8]) {
    let source = || io::Cursor::new(bytes.to_vec());
    let Ok(mut recording) = Recording::new(source()) else { return };
    let mut packet = RecordedPacket::default();
    while let Ok(Found::Packet(_) | Found::Other) = recording.next_packet(&mut packet) {
        assert!(packet.data.len() <= bytes.len(), "no byte comes from nowhere");
        let name = recording.interface(packet.interface);
        assert!(name.is_none_or(|name| name.len() <= NAME_LEN_MAX));
    }
    let Ok(mut recording) = Recording::new(source()) else { return };
    let mut frame = Vec::new();
    let (mut count, mut blocks) = (0, 0);
    while let Ok(found @ (Found::Packet(_) | Found::Other)) = recording.next(&mut frame) {
        blocks += 1;
        if let Found::Packet(_) = found {
            assert!((FRAME_LEN_MIN..=FRAME_LEN_MAX).contains(&frame.len()));
            count += 1;
        }
    }
    assert!(blocks <= bytes.len() / BLOCK_LEN_MIN, "each block consumes bytes");
    assert!(count <= bytes.len() / FRAME_LEN_MIN, "no frame comes from nowhere");
    assert!(recording.interfaces.len() <= INTERFACES_MAX);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A pcap file of frames of that many bytes, each with its time.
    fn pcap(nanos: bool, frames: &[(u32, u32, usize)]) -> Vec<u8> {
        let magic: u32 = if nanos { 0xa1b2_3c4d } else { 0xa1b2_c3d4 };
        let mut file = magic.to_le_bytes().to_vec();
        file.extend([2, 0, 4, 0]);
        file.extend([0; 8]);
        file.extend(65_535_u32.to_le_bytes());
        file.extend(1_u32.to_le_bytes());
        for &(seconds, fraction, len) in frames {
            let len32 = u32::try_from(len).unwrap();
            for word in [seconds, fraction, len32, len32] {
                file.extend(word.to_le_bytes());
            }
            file.extend(vec![7; len]);
        }
        file
    }

    fn read(file: &[u8]) -> (Vec<(u64, usize)>, u64) {
        exercise(file);
        let mut recording = Recording::new(io::Cursor::new(file.to_vec())).unwrap();
        let (mut frame, mut frames) = (Vec::new(), Vec::new());
        loop {
            match recording.next(&mut frame).unwrap() {
                Found::Packet(time) => frames.push((time, frame.len())),
                Found::Other => {}
                Found::End => break,
            }
        }
        (frames, recording.skipped)
    }

    fn block(kind: u32, body: &[u8]) -> Vec<u8> {
        let body_len = body.len().next_multiple_of(4);
        let len = u32::try_from(body_len + 12).unwrap();
        let mut block = [kind.to_le_bytes(), len.to_le_bytes()].concat();
        block.extend(body);
        block.resize(8 + body_len, 0);
        block.extend(len.to_le_bytes());
        block
    }

    #[test]
    fn times_of_both_resolutions() {
        let frames = [(1, 5, 60), (1, 6, 1514), (2, 0, 13), (3, 0, 14)];
        let (seen, skipped) = read(&pcap(false, &frames));
        let second = NANOS;
        assert_eq!(seen, [(second + 5000, 60), (second + 6000, 1514), (3 * second, 14)]);
        assert_eq!(skipped, 1, "13 bytes are no frame");
        assert_eq!(read(&pcap(true, &frames)).0[0], (second + 5, 60));
        let cut = pcap(false, &frames);
        assert_eq!(read(&cut[..cut.len() - 1]).0.len(), 2, "what is cut off is none");
        assert!(Recording::new(io::Cursor::new(b"hello, world, this is text".to_vec())).is_err());
    }

    #[test]
    fn blocks_of_pcapng() {
        let mut file = block(
            0x0a0d_0d0a,
            &[0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255],
        );
        // Ethernet in nanoseconds (if_tsresol 9), then bare IP, then Ethernet in units of 2^-10 s.
        file.extend(block(1, &[1, 0, 0, 0, 0, 0, 0, 0, 9, 0, 1, 0, 9, 0, 0, 0, 0, 0, 0, 0]));
        file.extend(block(1, &[101, 0, 0, 0, 0, 0, 0, 0]));
        file.extend(block(1, &[1, 0, 0, 0, 0, 0, 0, 0, 9, 0, 1, 0, 0x8a, 0, 0, 0, 0, 0, 0, 0]));
        let packet = |interface: u32, units: u32| {
            let mut body = Vec::new();
            for word in [interface, 0, units, 60, 60] {
                body.extend(word.to_le_bytes());
            }
            body.extend([7; 60]);
            block(6, &body)
        };
        for (interface, units) in [(0, 1234), (1, 5), (2, 1024), (3, 0)] {
            file.extend(packet(interface, units));
        }
        let (seen, skipped) = read(&file);
        assert_eq!(seen, [(1234, 60), (NANOS, 60)]);
        assert_eq!(skipped, 2, "bare IP, and an interface that is not there");
    }

    #[test]
    fn each_call_reads_one_block() {
        let section = [0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255];
        let mut file = block(0x0a0d_0d0a, &section);
        for _ in 0..1000 {
            file.extend(block(0x7777, &[0; 4]));
        }
        exercise(&file);
        let mut recording = Recording::new(io::Cursor::new(file)).unwrap();
        let mut frame = Vec::new();
        for _ in 0..1001 {
            assert_eq!(recording.next(&mut frame).unwrap(), Found::Other);
        }
        assert_eq!(recording.next(&mut frame).unwrap(), Found::End);
    }

    #[test]
    fn packets_without_ethernet_are_refused() {
        let mut file = pcap(false, &[(1, 0, 60)]);
        file[20..24].copy_from_slice(&101_u32.to_le_bytes());
        exercise(&file);
        let mut recording = Recording::new(io::Cursor::new(file)).unwrap();
        assert_eq!(recording.next(&mut Vec::new()).unwrap(), Found::Other, "the file's header");
        let error = recording.next(&mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Unsupported);
        assert_eq!(error.to_string(), "it has IP packets without Ethernet headers (link type 101)");
    }

    proptest! {
        #[test]
        fn any_bytes_end(mut bytes in prop::collection::vec(any::<u8>(), 0..600), at in 0..3_usize) {
            exercise(&bytes);
            // The same after a true beginning.
            let mut file = pcap(at == 1, &[(1, 1, 60)]);
            file.append(&mut bytes);
            exercise(&file);
        }
    }
}
