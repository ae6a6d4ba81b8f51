//! What happened, as text.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::string::String;
use core::fmt::{self, Write};

use adit_engine::Counts;
use adit_packet::{Headers, IpVersion, Layer, Meta, TcpFlags, ether_type, ip_protocol};

/// The events of a simulation, a line each, and a hash of all of them.
pub(crate) struct Trace {
    lines: VecDeque<String>,
    limit: usize,
    hash: u64,
    is_on: bool,
    sink: Option<Sink>,
}

/// Takes each line of a trace.
pub(crate) type Sink = Box<dyn FnMut(&str)>;

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trace").field("lines", &self.lines.len()).finish_non_exhaustive()
    }
}

impl Trace {
    /// Lines that are kept: of a longer simulation the last ones, for they say why it failed.
    pub(crate) const LIMIT: usize = 10_000;

    pub(crate) fn new() -> Self {
        let (lines, limit) = (VecDeque::new(), Self::LIMIT);
        Self { lines, limit, hash: HASH_START, is_on: true, sink: None }
    }

    /// Stops to record: a line costs as much as the packet that it is about.
    pub(crate) fn turn_off(&mut self) {
        self.is_on = false;
    }

    pub(crate) const fn is_on(&self) -> bool {
        self.is_on
    }

    pub(crate) fn pass_to(&mut self, sink: Sink) {
        self.sink = Some(sink);
    }

    pub(crate) fn add(&mut self, line: fmt::Arguments<'_>) {
        if !self.is_on {
            return;
        }
        let mut text = if self.lines.len() < self.limit { None } else { self.lines.pop_front() }
            .unwrap_or_default();
        text.clear();
        // A string takes everything.
        let _ = text.write_fmt(line);
        self.hash = hash(self.hash, text.as_bytes());
        if let Some(sink) = &mut self.sink {
            sink(&text);
        }
        self.lines.push_back(text);
    }

    pub(crate) const fn hash(&self) -> u64 {
        self.hash
    }

    pub(crate) fn lines(&self) -> impl DoubleEndedIterator<Item = &str> + ExactSizeIterator {
        self.lines.iter().map(String::as_str)
    }
}

const HASH_START: u64 = 0xcbf2_9ce4_8422_2325;

/// A hash of the trace: FNV-1a over words of eight bytes, so that a super-packet costs little.
fn hash(start: u64, bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let len = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    let words = words.iter().copied().chain([last, len.to_le_bytes()]);
    words.fold(start, |sum, word| {
        let mixed = (sum ^ u64::from_le_bytes(word)).wrapping_mul(0x0000_0100_0000_01b3);
        // The multiplication alone moves nothing down.
        mixed ^ (mixed >> 32)
    })
}

/// What was discarded between two moments: ` 2 queue full, 1 loss`.
pub(crate) struct Losses<'a> {
    pub(crate) before: &'a Counts,
    pub(crate) after: &'a Counts,
}

impl Losses<'_> {
    pub(crate) fn count(&self) -> u64 {
        self.after.discarded() - self.before.discarded()
    }
}

impl fmt::Display for Losses<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (why, count) in self.after.by_reason() {
            let before = self.before.by_reason().find(|&(reason, _)| reason == why);
            let lost = count - before.map_or(0, |(_, count)| count);
            if lost > 0 {
                write!(f, "{separator} {lost} {why}")?;
                separator = ",";
            }
        }
        Ok(())
    }
}

/// How a packet is shown: its length, what its headers say and a hash of all its bytes.
pub(crate) struct Summary<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) meta: Meta,
    /// `None` for what is neither a frame nor a packet: a tunnel's datagram.
    pub(crate) layer: Option<Layer>,
}

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} #{:08x}", self.bytes.len(), hash(HASH_START, self.bytes) >> 32)?;
        match self.layer.map(|layer| layer.parse(self.bytes)) {
            None => f.write_str(" datagram")?,
            Some(Err(fault)) => write!(f, " ({fault})")?,
            Some(Ok(headers)) => write_headers(f, &headers, self.bytes)?,
        }
        if self.meta.vnet.is_super_packet() {
            write!(f, " {:?} {}", self.meta.vnet.gso, self.meta.vnet.gso_size)?;
        }
        Ok(())
    }
}

fn write_headers(f: &mut fmt::Formatter<'_>, headers: &Headers, bytes: &[u8]) -> fmt::Result {
    if headers.tag_count() > 0 {
        f.write_str(" tagged")?;
    }
    let Some((source, destination)) = headers.addresses(bytes) else {
        return match headers.ether_type() {
            ether_type::ARP => f.write_str(" arp"),
            other => write!(f, " type {other:#06x}"),
        };
    };
    write!(f, " {source} > {destination}")?;
    let ports = headers.ports(bytes);
    match (headers.protocol(), ports) {
        (Some(ip_protocol::TCP), Some((from, to))) => {
            write!(f, " tcp {from} > {to}")?;
            let at = headers.transport().unwrap_or_default();
            let flags = bytes.get(at + 13).copied().unwrap_or_default();
            write!(f, " {:?}", TcpFlags(flags))
        }
        (Some(ip_protocol::UDP), Some((from, to))) => write!(f, " udp {from} > {to}"),
        (Some(ip_protocol::ICMP), _) if headers.version() == Some(IpVersion::V4) => {
            f.write_str(" icmp")
        }
        (Some(protocol), _) => write!(f, " protocol {protocol}"),
        (None, _) => Ok(()),
    }
}
