//! A pcapng file as a port: packets sent to it are written, and nothing comes from it.

use crate::error::Result;
use crate::format::pcapng::{Direction, Interface, LinkType, Meta, Statistics};
use crate::port::{Cx, Gone, Port, Recv};
use crate::record::error::{record_error, writer};
use crate::record::now::Now;
use crate::record::recorder::{RecordError, Recorder};
use crate::record::sink::FLUSH_WITHIN;
use adit_packet::{Batch, Instant, PacketBuf, Pool};
use std::io;
use std::path::Path;
use std::thread::JoinHandle;

/// The longest packet that is recorded whole: any.
pub(crate) const SNAP_LEN: u32 = 262_144;

/// A file that is being written.
pub struct MirrorPort {
    name: String,
    /// `None` once it has ended.
    recorder: Option<Recorder>,
    statistics: Statistics,
    /// When what is buffered is written at the latest.
    flush_at: Option<Instant>,
}

impl MirrorPort {
    /// Begins a file of Ethernet frames, of each at most `snap_len` bytes; the file's header states
    /// `filter`. A FIFO needs a reader: this never waits for one.
    ///
    /// # Errors
    /// Those of open(2) and write(2); ENXIO: it is a FIFO without a reader.
    pub fn open(path: &Path, snap_len: u32, filter: Option<String>) -> Result<Self> {
        let interface = Interface {
            name: "mirror".to_owned(),
            link_type: LinkType::Ethernet,
            snap_len,
            filter,
        };
        Self::begin(path, interface)
    }

    /// As [`Self::open`], for whole frames of an interface of this name.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn of_frames(path: &Path, name: &str) -> Result<Self> {
        let (name, link_type) = (name.to_owned(), LinkType::Ethernet);
        Self::begin(path, Interface { name, link_type, snap_len: SNAP_LEN, filter: None })
    }

    /// Begins a file of packets of another link type.
    pub(crate) fn begin(path: &Path, interface: Interface) -> Result<Self> {
        let now = Now::read();
        let recorder = Recorder::open_nonblocking(path.to_owned(), (writer(), interface), now)
            .map_err(|error| record_error(&error))?;
        let statistics = Statistics { start: now.wall, ..Statistics::default() };
        let name = path.display().to_string();
        Ok(Self { name, recorder: Some(recorder), statistics, flush_at: None })
    }

    /// Writes a packet; `false` if its reader is too slow, or the recording has ended.
    pub(crate) fn write(
        &mut self,
        packet: &PacketBuf,
        direction: Option<Direction>,
        now: Now,
    ) -> Result<bool, Gone> {
        let Some(recorder) = &mut self.recorder else { return Ok(false) };
        let cut = usize::try_from(packet.meta.truncated).unwrap_or(0);
        let original_len = packet.len() + cut;
        let meta = Meta { time: now.wall, original_len, direction, ..Meta::default() };
        match recorder.packet(&meta, packet.bytes(), now, &self.statistics) {
            Ok(true) => {
                self.statistics.accepted += 1;
                self.statistics.delivered += 1;
                Ok(true)
            }
            Ok(false) => {
                self.statistics.dropped += 1;
                Ok(false)
            }
            Err(error) => Err(self.end(&error)),
        }
    }

    /// What was written is flushed within [`FLUSH_WITHIN`].
    pub(crate) fn flush_soon(&mut self, now: Instant) {
        self.flush_at.get_or_insert(now + FLUSH_WITHIN);
    }

    /// The file is whole up to its last packet, and stays so.
    fn end(&mut self, error: &RecordError) -> Gone {
        self.recorder = None;
        let why = std::error::Error::source(error).map_or(String::new(), |why| format!(": {why}"));
        Gone::Failed(io::Error::other(format!("{error}{why}")))
    }
}

debug_as_port!(MirrorPort);

impl Port for MirrorPort {
    fn name(&self) -> &str {
        &self.name
    }

    fn recv(&mut self, _: &mut Cx<'_>) -> Recv {
        Recv::Nothing
    }

    fn send(&mut self, cx: &mut Cx<'_>, batch: &mut Batch) -> Result<(), Gone> {
        let now = Now::read();
        let mut result = Ok(());
        for packet in batch.drain(..) {
            if result.is_ok() && self.recorder.is_some() {
                result = self.write(&packet, None, now).map(|is_written| {
                    if is_written {
                        cx.counters.sent += 1;
                        cx.counters.sent_bytes += u64::try_from(packet.len()).unwrap_or(0);
                    } else {
                        cx.counters.queue_full += 1;
                    }
                });
            }
            cx.pool.give(packet);
        }
        self.flush_soon(cx.now);
        result
    }

    fn flush(&mut self, _: &mut Cx<'_>) -> Result<(), Gone> {
        self.flush_at = None;
        let Some(recorder) = &mut self.recorder else { return Ok(()) };
        recorder.flush().map_err(|error| self.end(&error))
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.flush_at
    }

    fn close(&mut self, _: &mut Pool) -> Option<JoinHandle<()>> {
        let now = Now::read();
        let statistics = Statistics { end: now.wall, ..self.statistics };
        // The mirror was removed: its owner no longer waits for errors.
        self.recorder.take()?.close_in_background(&statistics, now).unwrap_or(None)
    }
}
