//! The SYN of the inside, to be sent back to it.

use adit_packet::{TcpFlags, TcpHeader};

use super::emit::put;
use super::segment::{Options, SPLICE_TAG, Segment};
use crate::translate::wire::Path;
use adit_engine::{Outbox, PortId};

/// What a SYN said.
#[derive(Clone, Copy, Debug)]
pub(super) struct OwnSyn {
    seq: u32,
    window: u16,
    mss: Option<u16>,
    scale: Option<u8>,
    has_sack: bool,
    timestamp: Option<u32>,
}

impl OwnSyn {
    pub(super) fn new(syn: &Segment) -> Self {
        Self {
            seq: syn.seq,
            window: syn.window,
            mss: syn.mss,
            scale: syn.scale,
            has_sack: syn.has_sack,
            timestamp: syn.timestamps.map(|(value, _)| value),
        }
    }

    /// Sends it back as it came; `ports` are those of segments to the inside, which sends it again if there is no
    /// buffer.
    pub(super) fn send(&self, path: Path, port: PortId, ports: (u16, u16), out: &mut Outbox) {
        let Some(packet) = out.make(0) else { return };
        let mut options = Options::new();
        self.mss.into_iter().for_each(|mss| options.mss(mss));
        if self.has_sack {
            options.sack_permitted();
        }
        self.timestamp.into_iter().for_each(|value| options.timestamps(value, 0));
        self.scale.into_iter().for_each(|shift| options.scale(shift));
        let (destination_port, source_port) = ports;
        let header = TcpHeader {
            source_port,
            destination_port,
            sequence: self.seq,
            acknowledgment: 0,
            flags: TcpFlags::SYN,
            window: self.window,
            checksum: 0,
            urgent: SPLICE_TAG,
        };
        put(path, port, u16::MAX, &header, &options, packet, out);
    }
}
