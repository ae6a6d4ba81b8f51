//! The pcapng file format, written block by block.
//!
//! Each function appends one whole block to a buffer, so that a file is valid after every one:
//!
//! ```text
//! section header | interface description | packet | packet | ... | interface statistics
//!
//! block:   type u32 | total length u32 | body, padded to 4 | options | total length u32
//! option:  code u16 | length u16 | value, padded to 4        (the last one: code 0, length 0)
//! ```
//!
//! All numbers are little-endian, which the section header's byte-order magic says. Times are
//! nanoseconds since 1970 (`if_tsresol` 9). Source: draft-ietf-opsawg-pcapng, section 4.

use std::time::Duration;

/// What the first byte of each packet belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkType {
    /// `LINKTYPE_ETHERNET`: the destination MAC address, without a frame check sequence.
    Ethernet,
    /// `LINKTYPE_RAW`: the IPv4 or IPv6 header.
    Raw,
}

impl LinkType {
    /// The number in the registry of link types.
    pub const fn number(self) -> u16 {
        match self {
            Self::Ethernet => 1,
            Self::Raw => 101,
        }
    }

    /// The name that `tcpdump -y` takes.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ethernet => "EN10MB",
            Self::Raw => "RAW",
        }
    }
}

/// Which way a packet goes, seen from the host whose interface it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Into the host: what a program writes to a TUN queue, what comes from a wire.
    In,
    /// Out of the host: what a program reads from a TUN queue, what goes to a wire.
    Out,
}

/// Who writes the file.
#[derive(Clone, Debug)]
pub struct Writer {
    /// The machine, as `x86_64`.
    pub hardware: String,
    /// The operating system, as `Linux 6.18.44`.
    pub os: String,
    /// The program, as `adit 0.1.0`.
    pub application: String,
}

/// The interface that packets come from; the only one of its section, number 0.
#[derive(Clone, Debug)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// What its packets start with.
    pub link_type: LinkType,
    /// The most bytes kept of a packet.
    pub snap_len: u32,
    /// The filter in tcpdump's syntax.
    pub filter: Option<String>,
}

/// What is known of a packet beside its bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Meta {
    /// When it was seen, since 1970.
    pub time: Duration,
    /// Which way it went, where that is known.
    pub direction: Option<Direction>,
    /// Its length before it was cut to the snap length.
    pub original_len: usize,
    /// How many packets were lost between the one before and this one.
    pub lost_before: u64,
}

/// The counts of a capture, from its start until now.
#[derive(Clone, Copy, Debug, Default)]
pub struct Statistics {
    /// When the capture began, since 1970.
    pub start: Duration,
    /// When it ended, since 1970.
    pub end: Duration,
    /// Packets that came from the interface, where that is known.
    pub received: Option<u64>,
    /// Packets lost for want of space, in the kernel or here.
    pub dropped: u64,
    /// Packets that the filter let through.
    pub accepted: u64,
    /// Packets that are in the file.
    pub delivered: u64,
}

/// The longest value of an option, from its 16-bit length; longer ones are cut.
const OPTION_LEN_MAX: usize = u16::MAX as usize;

/// Appends a section header: what every file starts with.
pub fn section_header(out: &mut Vec<u8>, writer: &Writer) {
    let mut block = Block::begin(out, 0x0a0d_0d0a);
    block.u32(0x1a2b_3c4d);
    block.u16(1);
    block.u16(0);
    // The section's length is not known yet.
    block.u64(u64::MAX);
    block.option(2, writer.hardware.as_bytes());
    block.option(3, writer.os.as_bytes());
    block.option(4, writer.application.as_bytes());
    block.end();
}

/// Appends an interface description.
pub fn interface_description(out: &mut Vec<u8>, interface: &Interface) {
    let mut block = Block::begin(out, 1);
    block.u16(interface.link_type.number());
    block.u16(0);
    block.u32(interface.snap_len);
    block.option(2, interface.name.as_bytes());
    block.option(9, &[9]);
    if let Some(filter) = &interface.filter {
        // The first byte says that a string in libpcap's syntax follows.
        block.option(11, &[b"\0", filter.as_bytes()].concat());
    }
    block.end();
}

/// Appends a packet: `data` is what is kept of it, at most the interface's snap length.
pub fn enhanced_packet(out: &mut Vec<u8>, meta: &Meta, data: &[u8]) {
    let mut block = Block::begin(out, 6);
    block.u32(0);
    block.time(meta.time);
    block.len(data.len());
    block.len(meta.original_len.max(data.len()));
    block.padded(data);
    if let Some(direction) = meta.direction {
        let flags: u32 = match direction {
            Direction::In => 1,
            Direction::Out => 2,
        };
        block.option(2, &flags.to_le_bytes());
    }
    if meta.lost_before > 0 {
        block.option(4, &meta.lost_before.to_le_bytes());
    }
    block.end();
}

/// Appends the interface's statistics, with `comment` if it is not empty.
pub fn interface_statistics(out: &mut Vec<u8>, statistics: &Statistics, comment: &str) {
    let mut block = Block::begin(out, 5);
    block.u32(0);
    block.time(statistics.end);
    if !comment.is_empty() {
        block.option(1, comment.as_bytes());
    }
    block.option(2, &time_words(statistics.start));
    block.option(3, &time_words(statistics.end));
    if let Some(received) = statistics.received {
        block.option(4, &received.to_le_bytes());
    }
    block.option(5, &statistics.dropped.to_le_bytes());
    block.option(6, &statistics.accepted.to_le_bytes());
    block.option(8, &statistics.delivered.to_le_bytes());
    block.end();
}

/// How many of the first `len` bytes of `blocks` are whole blocks, and how many of those blocks
/// are packets.
pub fn whole_blocks(blocks: &[u8], len: usize) -> (usize, u64) {
    let (mut end, mut packets) = (0, 0);
    while let Some(header) = blocks.get(end..end + 8) {
        let word = |at: usize| {
            u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
        };
        let Ok(block_len) = usize::try_from(word(4)) else { break };
        if block_len < 12 || end + block_len > len {
            break;
        }
        end += block_len;
        packets += u64::from(word(0) == 6);
    }
    (end, packets)
}

/// A time as the two halves of a 64-bit count of nanoseconds, the higher one first.
fn time_words(time: Duration) -> [u8; 8] {
    // 64 bits of nanoseconds last until 2554.
    let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    let [a, b, c, d, e, f, g, h] = nanoseconds.to_le_bytes();
    [e, f, g, h, a, b, c, d]
}

/// A block that is being appended.
struct Block<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
    has_options: bool,
}

impl<'a> Block<'a> {
    fn begin(out: &'a mut Vec<u8>, kind: u32) -> Self {
        let start = out.len();
        let mut block = Self { out, start, has_options: false };
        block.u32(kind);
        // The total length, filled in at the end.
        block.u32(0);
        block
    }

    fn u16(&mut self, value: u16) {
        self.out.extend_from_slice(&value.to_le_bytes());
    }

    fn u32(&mut self, value: u32) {
        self.out.extend_from_slice(&value.to_le_bytes());
    }

    fn u64(&mut self, value: u64) {
        self.out.extend_from_slice(&value.to_le_bytes());
    }

    fn len(&mut self, value: usize) {
        self.u32(u32::try_from(value).unwrap_or(u32::MAX));
    }

    fn time(&mut self, time: Duration) {
        self.out.extend_from_slice(&time_words(time));
    }

    fn padded(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
        let padding = bytes.len().next_multiple_of(4) - bytes.len();
        self.out.extend_from_slice(&[0; 3][..padding]);
    }

    fn option(&mut self, code: u16, value: &[u8]) {
        let len = value.len().min(OPTION_LEN_MAX);
        self.u16(code);
        self.u16(u16::try_from(len).expect("at most OPTION_LEN_MAX"));
        self.padded(&value[..len]);
        self.has_options = true;
    }

    fn end(mut self) {
        if self.has_options {
            self.u32(0);
        }
        let len = self.out.len() - self.start + 4;
        self.len(len);
        let (head, tail) = self.out[self.start..].split_at_mut(len - 4);
        head[4..8].copy_from_slice(tail);
    }
}

#[cfg(test)]
mod tests;
