//! A recording as a port: its frames come when they came then.

use crate::event::Gone;
use crate::format::recording::Recording;
use crate::port::{Cx, Recv};
use crate::text::spec::PcapSpec;
use adit_packet::{Batch, Instant};
use rustix::fs::{Mode, OFlags};
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// How long after the last frame a recording that repeats begins again, at least: one of a single
/// frame would otherwise take all the time there is.
const GAP_MIN: Duration = Duration::from_millis(1);

/// A recording with the frame that is next.
pub struct ReplayPort {
    path: PathBuf,
    speed: f64,
    repeat: bool,
    recording: Recording,
    frame: Vec<u8>,
    /// The time of the next frame as it was recorded.
    recorded: Option<u64>,
    /// When the first frame came, and when it had been recorded.
    start: Option<(Instant, u64)>,
    /// When the next frame is due; `None` before the first was asked for.
    due: Option<Instant>,
}

impl ReplayPort {
    /// Opens a file and reads up to its first frame.
    pub fn open(spec: &PcapSpec) -> io::Result<Self> {
        let (mut recording, mut frame) = (read(&spec.path)?, Vec::new());
        let recorded = recording.next(&mut frame)?;
        Ok(Self {
            path: spec.path.clone(),
            speed: spec.speed,
            repeat: spec.repeat,
            recording,
            frame,
            recorded,
            start: None,
            due: None,
        })
    }

    pub fn recv(&mut self, cx: &mut Cx<'_>) -> Recv {
        cx.counters.malformed += std::mem::take(&mut self.recording.skipped);
        let Some(recorded) = self.recorded else {
            return Recv::Gone(Gone::Played);
        };
        let (start, first) = *self.start.get_or_insert((cx.now, recorded));
        // Of times that go back, the latest counts.
        let due =
            (start + self.scaled(recorded.saturating_sub(first))).max(self.due.unwrap_or(start));
        self.due = Some(due);
        if due > cx.now {
            return Recv::Nothing;
        }
        let packet = cx.pool.take(self.frame.len()).and_then(|mut packet| {
            packet.extend(&self.frame).ok()?;
            Some(packet)
        });
        if let Err(error) = self.advance(due) {
            // It is told at the next turn.
            self.recorded = None;
            self.repeat = false;
            if let Some(packet) = packet {
                cx.pool.give(packet);
            }
            return Recv::Gone(Gone::Failed(error));
        }
        let Some(packet) = packet else {
            cx.counters.no_buffer += 1;
            return Recv::Dropped;
        };
        Recv::Packet(packet)
    }

    /// A recording takes nothing in.
    pub fn send(cx: &mut Cx<'_>, batch: &mut Batch) {
        cx.counters.refused += u64::try_from(batch.len()).unwrap_or(0);
        batch.give_all(cx.pool);
    }

    pub fn next_timeout(&self) -> Option<Instant> {
        self.due
    }

    /// Reads the next frame, from the beginning again after the last if it is to.
    fn advance(&mut self, due: Instant) -> io::Result<()> {
        self.recorded = self.recording.next(&mut self.frame)?;
        if self.recorded.is_none() && self.repeat {
            self.recording = read(&self.path)?;
            self.recorded = self.recording.next(&mut self.frame)?;
            let again = due + GAP_MIN;
            self.start = self.recorded.map(|first| (again, first));
            self.due = Some(again);
        }
        Ok(())
    }

    fn scaled(&self, nanos: u64) -> Duration {
        let recorded = Duration::from_nanos(nanos);
        Duration::try_from_secs_f64(recorded.as_secs_f64() / self.speed).unwrap_or(Duration::MAX)
    }
}

/// Only a regular file: to open or read a pipe may wait for its writer.
fn read(path: &PathBuf) -> io::Result<Recording> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    Recording::new(file)
}
