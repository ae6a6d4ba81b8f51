//! `pcap:FILE`: a recording as a port, its frames at the times at which they were recorded.

use crate::error::{Error, Result};
use crate::format::recording::Recording;
use crate::port::kind::{Key, Kind, Opened, PortOptions};
use crate::port::{Cx, Gone, Port, Recv};
use crate::text::words::{SpecError, Words};
use adit_packet::{Batch, Instant};
use rustix::fs::{Mode, OFlags};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// `pcap:FILE`: a recording, played back.
pub static PCAP: Kind = Kind {
    prefix: "pcap",
    argument: "FILE",
    help: "a recording, played back",
    keys: &[
        Key::new("speed", "FACTOR", "how many times as fast as it was recorded"),
        Key::new("loop", "", "begin again at its end"),
    ],
    parse: |argument, words| {
        let path = argument.text.into();
        Ok(Box::new(PcapSpec { path, speed: speed(words)?, repeat: words.flag("loop")? }))
    },
};

/// What `pcap:` asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct PcapSpec {
    /// A pcap or pcapng file.
    pub path: PathBuf,
    /// How many times as fast as it was recorded.
    pub speed: f64,
    /// Whether it begins again at its end.
    pub repeat: bool,
}

/// A speed is compared only to tell two specifications apart; none is NaN.
impl Eq for PcapSpec {}

fn speed(words: &mut Words) -> Result<f64, SpecError> {
    let Some((at, text)) = words.take("speed")? else { return Ok(1.0) };
    let speed = text.parse::<f64>().ok().filter(|speed| (1e-3..=1e6).contains(speed));
    speed.ok_or_else(|| {
        SpecError::new(at, format!("invalid speed '{text}'"))
            .hint("a factor from 0.001 to 1000000, 2 for twice as fast")
    })
}

impl PortOptions for PcapSpec {
    fn open(&self) -> Result<Opened> {
        let failed = |error: io::Error| {
            let is_unsupported = error.kind() == io::ErrorKind::Unsupported;
            let new = Error::io("play", self.path.display(), &error);
            if is_unsupported {
                new.hint("Record on a TAP device or Ethernet interface.")
            } else {
                new
            }
        };
        Ok(Opened::port(ReplayPort::open(self).map_err(failed)?))
    }

    fn needs_owner(&self) -> bool {
        true
    }

    fn with_path(&self, change: &dyn Fn(&Path) -> PathBuf) -> Option<Box<dyn PortOptions>> {
        Some(Box::new(Self { path: change(&self.path), ..self.clone() }))
    }
}

/// How long after the last frame a recording that repeats begins again, at least: one of a single
/// frame would otherwise take all the time there is.
const GAP_MIN: Duration = Duration::from_millis(1);

/// A recording with the frame that is next.
pub struct ReplayPort {
    name: String,
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
    /// Opens a recording and reads up to its first frame.
    ///
    /// # Errors
    /// Those of open(2); it is no regular file, or no recording.
    pub fn open(spec: &PcapSpec) -> io::Result<Self> {
        let (mut recording, mut frame) = (read(&spec.path)?, Vec::new());
        let recorded = recording.next(&mut frame)?;
        Ok(Self {
            name: format!("pcap:{}", spec.path.display()),
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

debug_as_port!(ReplayPort);

impl Port for ReplayPort {
    fn name(&self) -> &str {
        &self.name
    }

    fn recv(&mut self, cx: &mut Cx<'_>) -> Recv {
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
            // The loop detaches the port.
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

    /// A recording takes no packets.
    fn send(&mut self, cx: &mut Cx<'_>, batch: &mut Batch) -> Result<(), Gone> {
        cx.counters.refused += u64::try_from(batch.len()).unwrap_or(0);
        batch.give_all(cx.pool);
        Ok(())
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.due
    }
}

/// Opens a regular file; anything else could make the loop wait for its writer.
fn read(path: &Path) -> io::Result<Recording> {
    // To open a FIFO would wait for its writer without O_NONBLOCK, which regular files ignore.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    Recording::new(file)
}
