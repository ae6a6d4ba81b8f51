//! A recording: writes packets as pcapng blocks to a pipe or to a sequence of files.

use crate::format::pcapng;
use crate::format::pcapng::{Interface, Meta, Statistics, Writer};
use crate::record::now::Now;
use crate::record::rotate::{FileError, Files, Rotation};
use crate::record::sink::{Sink, WriteFailure};
use crate::record::text::printable;
use rustix::event::PollFlags;
use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How long a recording that is closed may wait for the reader of a pipe.
const BACKGROUND_CLOSE_MAX: Duration = Duration::from_secs(2);

/// The destination of a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// `-`: the standard output.
    Stdout,
    /// A file, or a FIFO. Opening a FIFO waits for its reader.
    File(PathBuf),
}

/// A recording in progress.
#[derive(Debug)]
pub struct Recorder {
    writer: Writer,
    interface: Interface,
    /// `None` for the standard output.
    files: Option<Files>,
    sink: Sink,
    block: Vec<u8>,
    /// Packets accepted in total, and refused since the last accepted one.
    recorded: u64,
    refused_since: u64,
}

impl Recorder {
    /// Opens the first file and writes its header.
    ///
    /// # Errors
    /// [`RecordError::File`] if it cannot be opened; [`RecordError::Write`] from the first write.
    pub fn open(
        target: &Target,
        rotation: Rotation,
        header: (Writer, Interface),
        now: Now,
    ) -> Result<Self, RecordError> {
        Self::begin_at(target, rotation, header, now, false)
    }

    /// Opens a single file, or a FIFO that has a reader. Neither opening nor writing blocks.
    ///
    /// # Errors
    /// As [`Self::open`]; ENXIO: it is a FIFO without a reader.
    pub fn open_nonblocking(
        path: PathBuf,
        header: (Writer, Interface),
        now: Now,
    ) -> Result<Self, RecordError> {
        Self::begin_at(&Target::File(path), Rotation::default(), header, now, true)
    }

    fn begin_at(
        target: &Target,
        rotation: Rotation,
        (writer, interface): (Writer, Interface),
        now: Now,
        is_nonblocking: bool,
    ) -> Result<Self, RecordError> {
        let (files, sink) = match target {
            Target::Stdout => (None, Sink::stdout(pcapng::whole_blocks)),
            Target::File(path) => {
                let mut files = Files::new(path.clone(), rotation, is_nonblocking);
                let sink = Sink::new(files.open_next(now)?, pcapng::whole_blocks);
                (Some(files), sink)
            }
        };
        let sink = sink.map_err(|source| RecordError::new(files.as_ref(), source, 0))?;
        let (block, recorded, refused_since) = (Vec::new(), 0, 0);
        let mut recorder = Self { writer, interface, files, sink, block, recorded, refused_since };
        recorder.begin(now)?;
        Ok(recorder)
    }

    /// Records a packet, in the next file if the current one is full; `so_far` is written at the end of
    /// the full one. Returns `false` if the packet was dropped because the reader is too slow.
    ///
    /// # Errors
    /// [`RecordError::Write`] if the disk is full or the reader has gone, [`RecordError::File`] if
    /// the next file cannot be opened. The recording ends there, whole up to its last packet.
    pub fn packet(
        &mut self,
        meta: &Meta,
        data: &[u8],
        now: Now,
        so_far: &Statistics,
    ) -> Result<bool, RecordError> {
        let meta = Meta { lost_before: meta.lost_before + self.refused_since, ..*meta };
        self.block.clear();
        pcapng::enhanced_packet(&mut self.block, &meta, data);
        let due = |files: &Files| files.is_due(self.sink.len(), self.block.len(), now);
        if self.files.as_ref().is_some_and(due) {
            self.rotate(now, so_far)?;
            self.block.clear();
            pcapng::enhanced_packet(&mut self.block, &meta, data);
        }
        let accepted = self.append(now)?;
        if accepted {
            self.recorded += 1;
            self.refused_since = 0;
        } else {
            self.refused_since += 1;
        }
        Ok(accepted)
    }

    /// Returns the latest time for the next [`Recorder::flush`].
    pub fn deadline(&self) -> Option<Instant> {
        self.sink.deadline()
    }

    /// As [`Sink::poll_for`].
    pub fn poll_for(&self) -> (BorrowedFd<'_>, PollFlags) {
        self.sink.poll_for()
    }

    /// Writes the buffered packets, as far as the reader takes them.
    ///
    /// # Errors
    /// [`RecordError::Write`].
    pub fn flush(&mut self) -> Result<(), RecordError> {
        let result = self.sink.flush();
        self.check(result)
    }

    /// Ends the recording with its statistics.
    ///
    /// # Errors
    /// [`RecordError::Write`].
    pub fn close(mut self, statistics: &Statistics, now: Now) -> Result<(), RecordError> {
        self.end(statistics, now)?;
        let files = self.files;
        self.sink
            .close()
            .map_err(|failure| RecordError::new(files.as_ref(), failure.source, failure.lost))
    }

    /// Ends the recording as [`Self::close`] does, without waiting: a thread writes what the reader of a
    /// pipe does not take now, for 2 s at most. Returns the thread, if there is one.
    ///
    /// # Errors
    /// [`RecordError::Write`]; EAGAIN: there can be no more threads.
    pub fn close_in_background(
        mut self,
        statistics: &Statistics,
        now: Now,
    ) -> Result<Option<JoinHandle<()>>, RecordError> {
        self.end(statistics, now)?;
        self.flush()?;
        if !self.sink.is_pending() {
            return Ok(None);
        }
        let (sink, end) = (self.sink, now.monotonic + BACKGROUND_CLOSE_MAX);
        let thread = thread::Builder::new().name("recording".to_owned()).spawn(move || {
            // The recording was closed: nobody waits for the error.
            let _ = sink.close_by(end);
        });
        thread.map(Some).map_err(|source| RecordError::new(self.files.as_ref(), source, 0))
    }

    fn rotate(&mut self, now: Now, statistics: &Statistics) -> Result<(), RecordError> {
        let Some(files) = &mut self.files else { return Ok(()) };
        self.block.clear();
        let statistics = Statistics { delivered: self.recorded, ..*statistics };
        pcapng::interface_statistics(&mut self.block, &statistics, "");
        let mut result = self.sink.append(&self.block, now.monotonic).map(|_| ());
        result = result.and_then(|()| self.sink.flush());
        if let Err(failure) = result {
            return Err(RecordError::new(Some(files), failure.source, failure.lost));
        }
        let file = files.open_next(now)?;
        self.sink = Sink::new(file, pcapng::whole_blocks)
            .map_err(|source| RecordError::new(Some(files), source, 0))?;
        self.begin(now)
    }

    /// Writes the headers of a file without buffering: readers of a pipe wait for them.
    fn begin(&mut self, now: Now) -> Result<(), RecordError> {
        self.block.clear();
        pcapng::section_header(&mut self.block, &self.writer);
        pcapng::interface_description(&mut self.block, &self.interface);
        self.append(now)?;
        self.flush()
    }

    fn end(&mut self, statistics: &Statistics, now: Now) -> Result<(), RecordError> {
        self.block.clear();
        let statistics = Statistics { delivered: self.recorded, ..*statistics };
        pcapng::interface_statistics(&mut self.block, &statistics, "");
        self.append(now).map(|_| ())
    }

    fn append(&mut self, now: Now) -> Result<bool, RecordError> {
        let result = self.sink.append(&self.block, now.monotonic);
        self.check(result)
    }

    fn check<T>(&mut self, result: Result<T, WriteFailure>) -> Result<T, RecordError> {
        result.map_err(|failure| {
            self.recorded = self.recorded.saturating_sub(failure.lost);
            RecordError::new(self.files.as_ref(), failure.source, failure.lost)
        })
    }
}

/// Why a recording ended early.
#[derive(Debug)]
pub enum RecordError {
    /// A file could not be opened or an old one not removed.
    File(FileError),
    /// A write failed.
    Write {
        /// Where to.
        path: Option<PathBuf>,
        /// Why.
        source: io::Error,
        /// How many packets had been accepted and are not in the file.
        lost: u64,
    },
}

impl RecordError {
    fn new(files: Option<&Files>, source: io::Error, lost: u64) -> Self {
        Self::Write { path: files.map(|files| files.current().to_owned()), source, lost }
    }

    /// Returns whether the reader of a pipe has closed it, which is not a failure of this program.
    pub fn is_reader_gone(&self) -> bool {
        matches!(self, Self::Write { source, .. } if source.kind() == io::ErrorKind::BrokenPipe)
    }
}

impl From<FileError> for RecordError {
    fn from(error: FileError) -> Self {
        Self::File(error)
    }
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(error) => error.fmt(f),
            Self::Write { path, lost, .. } => {
                match path {
                    Some(path) => {
                        write!(f, "cannot write to '{}'", printable(&path.display().to_string()))?;
                    }
                    None => f.write_str("cannot write to standard output")?,
                }
                write!(f, ", which ends with its last whole packet ({lost} more are lost)")
            }
        }
    }
}

impl std::error::Error for RecordError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::File(error) => error.source(),
            Self::Write { source, .. } => Some(source),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::pcapng::LinkType;
    use std::num::NonZeroU32;
    use std::process::Command;

    fn header() -> (Writer, Interface) {
        let text = String::from("test");
        let writer = Writer { hardware: text.clone(), os: text.clone(), application: text.clone() };
        let (link_type, snap_len, filter) = (LinkType::Raw, 0x4_0000, None);
        (writer, Interface { name: text, link_type, snap_len, filter })
    }

    /// The smallest IPv4 packet with a right checksum: protocol 59, no payload.
    const PACKET: [u8; 20] =
        [0x45, 0, 0, 20, 0, 0, 0, 0, 64, 59, 0xf6, 0x5e, 192, 0, 2, 1, 192, 0, 2, 2];

    #[test]
    fn a_ring_of_files_that_capinfos_reads() {
        let dir = std::env::temp_dir().join(format!("adit-record-{}", std::process::id()));
        std::fs::create_dir(&dir).unwrap();
        let rotation = Rotation { size: Some(2_000), time: None, files: NonZeroU32::new(3) };
        let target = Target::File(dir.join("x.pcapng"));
        let now = Now::read();
        let mut recorder = Recorder::open(&target, rotation, header(), now).unwrap();
        let meta = Meta { time: now.wall, original_len: PACKET.len(), ..Meta::default() };
        for _ in 0..200 {
            assert!(recorder.packet(&meta, &PACKET, now, &Statistics::default()).unwrap());
        }
        assert_eq!(recorder.recorded, 200);
        recorder.close(&Statistics { end: now.wall, ..Statistics::default() }, now).unwrap();

        let mut paths: Vec<_> =
            std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        assert_eq!(paths.len(), 3);
        for path in &paths {
            assert!(std::fs::metadata(path).unwrap().len() <= 2_000 + 100);
            let output = Command::new("capinfos").arg("-c").arg(path).output().unwrap();
            assert!(output.status.success(), "{output:?}");
        }
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_full_disk_is_said() {
        let target = Target::File("/dev/full".into());
        let error =
            Recorder::open(&target, Rotation::default(), header(), Now::read()).unwrap_err();
        assert!(error.to_string().starts_with("cannot write to '/dev/full'"), "{error}");
        assert!(!error.is_reader_gone());
    }

    #[test]
    fn a_slow_reader_is_counted_in_the_next_packet() {
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&writer));
        let target = Target::File(path.into());
        let now = Now::read();
        let mut recorder = Recorder::open(&target, Rotation::default(), header(), now).unwrap();
        drop(writer);
        let big = vec![0x45; 60_000];
        let meta = Meta { time: now.wall, original_len: big.len(), ..Meta::default() };
        let none = Statistics::default();
        while recorder.packet(&meta, &big, now, &none).unwrap() {}
        assert!(!recorder.packet(&meta, &big, now, &none).unwrap());
        assert_eq!(recorder.refused_since, 2);
        let thread = thread::spawn(move || io::read_to_string(Lossy(reader.into())));
        recorder.flush().unwrap();
        while recorder.poll_for().1 == PollFlags::OUT {
            recorder.flush().unwrap();
            thread::sleep(Duration::from_millis(1));
        }
        assert!(recorder.packet(&meta, &PACKET, now, &none).unwrap());
        recorder.close(&none, now).unwrap();
        thread.join().unwrap().unwrap();
    }

    /// Reads bytes as something that is always text.
    struct Lossy(std::fs::File);

    impl io::Read for Lossy {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let len = self.0.read(buffer)?;
            buffer[..len].fill(b' ');
            Ok(len)
        }
    }
}
