//! Shows, filters and records the packets of a recording, as if they were captured now.

use crate::run::{EndError, Show, needs, packets, render};
use adit_decode::{Packet, Summary};
use adit_runtime::format::pcapng::{Interface, LinkType, Meta, Statistics};
use adit_runtime::format::recording::{Found, RecordedPacket, Recording};
use adit_runtime::record::error::writer;
use adit_runtime::record::now::Now;
use adit_runtime::record::recorder::{Recorder, Target};
use adit_runtime::record::rotate::Rotation;
use adit_runtime::record::sink::Sink;
use adit_service::error::Error;
use adit_service::filter::{CompileError, Filter};
use adit_service::sandbox::{self, Level, Needs};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A recording, and what becomes of its packets.
#[derive(Debug)]
pub struct Reading {
    /// The stream of [`signals`](crate::run::signals).
    pub signals: UnixStream,
    /// The file; `-` is standard input.
    pub path: PathBuf,
    /// The words of the filter.
    pub filter: Vec<String>,
    /// How packets are shown, and where.
    pub lines: Option<(Show, Sink)>,
    /// Charts of the packets.
    pub charts: Option<Box<Summary>>,
    /// Where packets are recorded.
    pub target: Option<(Target, Rotation)>,
    /// Maximum number of bytes kept of each packet.
    pub snap_len: u32,
    /// The number of packets after which it stops.
    pub count: Option<u64>,
    /// The time after which it stops.
    pub duration: Option<Duration>,
    /// How much of the sandbox is needed.
    pub sandbox: Level,
}

/// The counters of a reading.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReadSummary {
    /// Packets shown or recorded.
    pub read: u64,
    /// Packets rejected by the filter.
    pub filtered: u64,
    /// Packets that are neither Ethernet frames nor IP packets, and the link type of the last of them.
    pub unknown: Option<(u64, i32)>,
}

/// Why a reading ended early.
#[derive(Debug)]
pub enum ReadError {
    /// The file cannot be read, or is no recording.
    File(PathBuf, io::Error),
    /// The filter is invalid.
    Filter(CompileError),
    /// A recording of one link type was begun, and the file has two.
    TwoLinkTypes,
    /// The sandbox cannot be entered.
    Sandbox(Error),
    /// The output failed.
    Output(EndError),
}

impl<T: Into<EndError>> From<T> for ReadError {
    fn from(error: T) -> Self {
        Self::Output(error.into())
    }
}

/// A source that is at its end when a signal came, or the time is over.
struct Until {
    source: Box<dyn ReadFd>,
    signals: UnixStream,
    end: Option<Instant>,
}

trait ReadFd: Read + std::os::fd::AsFd + Send {}

impl<T: Read + std::os::fd::AsFd + Send> ReadFd for T {}

impl Read for Until {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut fds =
            [PollFd::new(&self.source, PollFlags::IN), PollFd::new(&self.signals, PollFlags::IN)];
        loop {
            let left = self.end.map(|end| end.saturating_duration_since(Instant::now()));
            let timeout = left.and_then(|left| Timespec::try_from(left).ok());
            match poll(&mut fds, timeout.as_ref()) {
                Ok(0) => return Ok(0),
                Ok(_) if fds[1].revents().is_empty() => return self.source.read(buf),
                Ok(_) => return Ok(0),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// The filter for packets of each link type. A failure counts when a packet of that type comes.
struct Filters {
    most: usize,
    compiled: [Result<Option<Filter>, CompileError>; 2],
}

impl Filters {
    /// Compiles both by tcpdump: no program can be run once packets are read.
    fn compile(words: &[String], snap_len: u32) -> Self {
        let types = [LinkType::Ethernet, LinkType::Raw];
        let compiled = types.map(|link_type| Filter::compile(words, link_type, snap_len));
        Self { most: usize::try_from(snap_len).unwrap_or(usize::MAX), compiled }
    }

    /// How many bytes of a packet are kept; 0 rejects it.
    fn keep(&mut self, link_type: LinkType, data: &[u8]) -> Result<usize, CompileError> {
        let [ethernet, raw] = &mut self.compiled;
        let place = if link_type == LinkType::Ethernet { ethernet } else { raw };
        match place {
            Ok(None) => Ok(self.most),
            Ok(Some(filter)) => {
                let keep = usize::try_from(filter.program.run(data)).unwrap_or(usize::MAX);
                Ok(keep.min(self.most))
            }
            failed @ Err(_) => std::mem::replace(failed, Ok(None)).map(|_| 0),
        }
    }
}

impl Reading {
    /// Reads to the end, a limit or a signal; returns the counters even after an error.
    pub fn run(mut self) -> (ReadSummary, Option<Box<Summary>>, Result<(), ReadError>) {
        let mut summary = ReadSummary::default();
        let mut recorder = None;
        let result = self.read(&mut summary, &mut recorder);
        let charts = self.charts.take();
        let end = self.end(&summary, recorder);
        (summary, charts, result.and(end))
    }

    fn needs(&self) -> Needs {
        let mut needs = needs();
        if let Some((Target::File(path), _)) = &self.target {
            needs.writes_beside(path);
        }
        needs
    }

    fn open(&self) -> io::Result<Until> {
        let source: Box<dyn ReadFd> = match self.path.to_str() {
            Some("-") => Box::new(io::stdin()),
            _ => Box::new(File::open(&self.path)?),
        };
        let end = self.duration.and_then(|duration| Instant::now().checked_add(duration));
        Ok(Until { source, signals: self.signals.try_clone()?, end })
    }

    fn read(
        &mut self,
        summary: &mut ReadSummary,
        recorder: &mut Option<(LinkType, Recorder)>,
    ) -> Result<(), ReadError> {
        let failed = |path: &Path, error| ReadError::File(path.to_owned(), error);
        let source = self.open().map_err(|error| failed(&self.path, error))?;
        let mut filters = Filters::compile(&self.filter, self.snap_len);
        // The first byte of the file is read after it.
        sandbox::enter(self.sandbox, &self.needs()).map_err(ReadError::Sandbox)?;
        let mut recording = Recording::new(source).map_err(|error| failed(&self.path, error))?;
        let mut packet = RecordedPacket::default();
        while self.count.is_none_or(|count| summary.read < count) {
            let found = recording.next_packet(&mut packet);
            match found.map_err(|error| failed(&self.path, error))? {
                Found::Packet(_) => {}
                Found::Other => continue,
                Found::End => break,
            }
            let Some(link_type) = packet.link_type else {
                let count = summary.unknown.map_or(0, |(count, _)| count);
                summary.unknown = Some((count + 1, packet.link_number));
                continue;
            };
            let keep = filters.keep(link_type, &packet.data).map_err(ReadError::Filter)?;
            if keep == 0 {
                summary.filtered += 1;
                continue;
            }
            summary.read += 1;
            let data = packet.data.get(..keep).unwrap_or(&packet.data);
            let name = recording.interface(packet.interface).unwrap_or("-");
            self.record(name, link_type, (&packet.meta, data), recorder)?;
            self.show(name, link_type, (&packet.meta, data))?;
            if let Some(charts) = &mut self.charts {
                charts.note(&Packet::decode(name, link_type, &packet.meta, data));
            }
        }
        if let Some(charts) = &mut self.charts {
            charts.lost(recording.dropped());
        }
        Ok(())
    }

    fn show(
        &mut self,
        name: &str,
        link_type: LinkType,
        (meta, data): (&Meta, &[u8]),
    ) -> Result<(), ReadError> {
        let Some((show, sink)) = &mut self.lines else { return Ok(()) };
        let text = render(Packet::decode(name, link_type, meta, data), data, *show);
        while !sink.append(text.as_bytes(), Now::read().monotonic)? {
            wait(sink.poll_for())?;
            sink.flush()?;
        }
        Ok(())
    }

    fn record(
        &self,
        name: &str,
        link_type: LinkType,
        (meta, data): (&Meta, &[u8]),
        recorder: &mut Option<(LinkType, Recorder)>,
    ) -> Result<(), ReadError> {
        let Some((target, rotation)) = &self.target else { return Ok(()) };
        if recorder.is_none() {
            let filter = Some(self.filter.join(" ")).filter(|text| !text.is_empty());
            let name = name.to_owned();
            let interface = Interface { name, link_type, snap_len: self.snap_len, filter };
            let new = Recorder::open(target, *rotation, (writer(), interface), Now::read())?;
            *recorder = Some((link_type, new));
        }
        let Some((of_file, recorder)) = recorder else { return Ok(()) };
        if *of_file != link_type {
            return Err(ReadError::TwoLinkTypes);
        }
        while !recorder.packet(meta, data, Now::read(), &Statistics::default())? {
            wait(recorder.poll_for())?;
            recorder.flush()?;
        }
        Ok(())
    }

    /// Writes buffered output.
    fn end(
        self,
        summary: &ReadSummary,
        recorder: Option<(LinkType, Recorder)>,
    ) -> Result<(), ReadError> {
        let statistics = Statistics {
            received: Some(summary.read + summary.filtered),
            accepted: summary.read,
            ..Statistics::default()
        };
        let recorded = recorder.map(|(_, recorder)| recorder.close(&statistics, Now::read()));
        let shown = self.lines.map(|(_, sink)| sink.close());
        recorded.transpose()?;
        shown.transpose()?;
        Ok(())
    }
}

/// Waits until a slow reader takes more.
fn wait((fd, _): (std::os::fd::BorrowedFd<'_>, PollFlags)) -> Result<(), ReadError> {
    match poll(&mut [PollFd::from_borrowed_fd(fd, PollFlags::OUT)], None) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(EndError::Show(error.into()).into()),
    }
}

impl fmt::Display for ReadSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} read, {} filtered out", packets(self.read), self.filtered)?;
        match self.unknown {
            Some((count, number)) => {
                write!(f, ", {count} not shown: link type {number} is neither Ethernet nor IP")
            }
            None => Ok(()),
        }
    }
}
