//! `pcap:FILE`: a recording as a port, its frames at the times at which they were recorded.

use crate::error::{Error, Result};
use crate::format::recording::{Found, Recording};
use crate::port::kind::{Key, Kind, Opened, PortOptions};
use crate::port::{Cx, Gone, Port, Recv};
use crate::text::words::{SpecError, Words};
use adit_device::rights::open_recording;
use adit_packet::{Batch, Instant};
use std::fs::File;
use std::io::{self, Seek};
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

/// How many blocks without a frame are read when a recording is opened.
const BLOCKS_MAX: usize = 1024;

/// A recording with the frame that is next.
pub struct ReplayPort {
    name: String,
    speed: f64,
    repeat: bool,
    file: File,
    recording: Recording,
    frame: Vec<u8>,
    /// The time of the next frame as it was recorded; `None` before the next frame was found.
    recorded: Option<u64>,
    /// When the first frame came, and when it had been recorded.
    start: Option<(Instant, u64)>,
    /// When the last frame was due that was found.
    due: Option<Instant>,
}

impl ReplayPort {
    /// Opens a recording and reads its first blocks.
    ///
    /// # Errors
    /// Those of open(2); it is no regular file, or no recording.
    pub fn open(spec: &PcapSpec) -> io::Result<Self> {
        let file = File::from(open_recording(&spec.path)?);
        let (mut recording, mut frame) = (Recording::new(file.try_clone()?)?, Vec::new());
        let mut recorded = None;
        for _ in 0..BLOCKS_MAX {
            match recording.next(&mut frame)? {
                Found::Packet(time) => recorded = Some(time),
                Found::Other => continue,
                Found::End => {}
            }
            break;
        }
        Ok(Self {
            name: format!("pcap:{}", spec.path.display()),
            speed: spec.speed,
            repeat: spec.repeat,
            file,
            recording,
            frame,
            recorded,
            start: None,
            due: None,
        })
    }

    /// Reads one block, or goes back to the first one. One block only: a file may have any number of
    /// them without a frame, and the loop's other ports wait meanwhile.
    fn advance(&mut self) -> Result<(), Gone> {
        match self.recording.next(&mut self.frame).map_err(Gone::Failed)? {
            Found::Packet(time) => self.recorded = Some(time),
            Found::Other => {}
            Found::End if self.repeat && self.start.is_some() => {
                self.start = None;
                self.recording = self.rewound().map_err(Gone::Failed)?;
            }
            Found::End => return Err(Gone::Played),
        }
        Ok(())
    }

    fn rewound(&mut self) -> io::Result<Recording> {
        self.file.rewind()?;
        Recording::new(self.file.try_clone()?)
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
            return self.advance().map_or_else(Recv::Gone, |()| Recv::Dropped);
        };
        // Of times that go back, the latest counts.
        let begin = self.due.map_or(cx.now, |last| last + GAP_MIN);
        let (start, first) = *self.start.get_or_insert((begin, recorded));
        let due =
            (start + self.scaled(recorded.saturating_sub(first))).max(self.due.unwrap_or(start));
        self.due = Some(due);
        if due > cx.now {
            return Recv::Nothing;
        }
        self.recorded = None;
        cx.copy(&self.frame)
    }

    /// A recording takes no packets.
    fn send(&mut self, cx: &mut Cx<'_>, batch: &mut Batch) -> Result<(), Gone> {
        cx.counters.refused += u64::try_from(batch.len()).unwrap_or(0);
        batch.give_all(cx.pool);
        Ok(())
    }

    fn has_more(&self) -> bool {
        self.recorded.is_none()
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.recorded.and(self.due)
    }
}
