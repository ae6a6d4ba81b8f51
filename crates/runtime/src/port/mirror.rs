//! A pcapng file as a port: what is sent there is written, and nothing comes from it.

use crate::event::Gone;
use crate::format::pcapng::{Interface, LinkType, Meta, Statistics, Writer};
use crate::port::Cx;
use crate::record::now::Now;
use crate::record::recorder::{RecordError, Recorder, Target};
use crate::record::rotate::Rotation;
use adit_packet::{Batch, PacketBuf, Pool};
use std::io;
use std::path::Path;

/// A file that is being written.
pub struct MirrorPort {
    /// `None` once it has ended.
    recorder: Option<Recorder>,
    statistics: Statistics,
}

impl MirrorPort {
    /// Begins a file of Ethernet frames; `filter` is told in it, and `snap_len` is the most that is
    /// kept of a frame.
    pub fn open(
        path: &Path,
        snap_len: u32,
        filter: Option<String>,
        writer: Writer,
    ) -> Result<Self, RecordError> {
        let interface = Interface {
            name: "mirror".to_owned(),
            link_type: LinkType::Ethernet,
            snap_len,
            filter,
        };
        let now = Now::read();
        let target = Target::File(path.to_owned());
        let recorder = Recorder::open(&target, Rotation::default(), (writer, interface), now)?;
        let statistics = Statistics { start: now.wall, ..Statistics::default() };
        Ok(Self { recorder: Some(recorder), statistics })
    }

    pub fn send(&mut self, cx: &mut Cx<'_>, batch: &mut Batch) -> Result<(), Gone> {
        let now = Now::read();
        let mut result = Ok(());
        for packet in batch.drain(..) {
            if result.is_ok() {
                result = self.write(&packet, now, cx);
            }
            cx.pool.give(packet);
        }
        result
    }

    fn write(&mut self, packet: &PacketBuf, now: Now, cx: &mut Cx<'_>) -> Result<(), Gone> {
        let Some(recorder) = &mut self.recorder else { return Ok(()) };
        let cut = usize::try_from(packet.meta.truncated).unwrap_or(0);
        let meta = Meta { time: now.wall, original_len: packet.len() + cut, ..Meta::default() };
        match recorder.packet(&meta, packet.bytes(), now, &self.statistics) {
            Ok(true) => {
                cx.counters.sent += 1;
                cx.counters.sent_bytes += u64::try_from(packet.len()).unwrap_or(0);
                self.statistics.accepted += 1;
                self.statistics.delivered += 1;
                Ok(())
            }
            Ok(false) => {
                cx.counters.queue_full += 1;
                self.statistics.dropped += 1;
                Ok(())
            }
            Err(error) => Err(self.end(&error)),
        }
    }

    /// Writes what has been waiting.
    pub fn flush(&mut self) -> Result<(), Gone> {
        let Some(recorder) = &mut self.recorder else { return Ok(()) };
        recorder.flush().map_err(|error| self.end(&error))
    }

    /// The file is whole up to its last packet, and stays so.
    fn end(&mut self, error: &RecordError) -> Gone {
        self.recorder = None;
        let why = std::error::Error::source(error).map_or(String::new(), |why| format!(": {why}"));
        Gone::Failed(io::Error::other(format!("{error}{why}")))
    }

    pub fn close(&mut self, _: &mut Pool) {
        let now = Now::read();
        let statistics = Statistics { end: now.wall, ..self.statistics };
        if let Some(recorder) = self.recorder.take() {
            // Who took the mirror away is not interested any more.
            let _ = recorder.close(&statistics, now);
        }
    }
}
