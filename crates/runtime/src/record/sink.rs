//! A file, pipe or terminal that takes whole records (pcapng blocks, lines), buffered for at most
//! [`FLUSH_WITHIN`].
//!
//! On errors:
//! - On a full disk, a regular file is truncated after its last whole record.
//! - A pipe or terminal with a slow reader never blocks the caller: up to `BACKLOG_MAX` bytes wait for
//!   it, then records are refused, and the caller counts them. Only [`Sink::close`] and
//!   [`Sink::close_by`] wait.

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::termios::isatty;
use std::fs::File;
use std::io::{self, Seek, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::FileTypeExt;
use std::time::{Duration, Instant};

/// The system calls of this file.
pub(crate) const SYSCALLS: &[&str] = &["ftruncate", "lseek", "ppoll", "write"];

/// The maximum time that a record stays in the buffer.
pub const FLUSH_WITHIN: Duration = Duration::from_millis(500);

/// The maximum number of bytes that wait for the reader of a pipe.
const BACKLOG_MAX: usize = 4 << 20;

/// The number of buffered bytes that trigger a write.
const FLUSH_AT: usize = 64 << 10;

/// `PIPE_BUF`: a pipe that poll(2) calls writable takes this much without blocking.
const PIPE_WRITE_LEN: usize = 4096;

/// How long [`Sink::close`] waits for a reader that reads nothing.
const CLOSE_PATIENCE: Duration = Duration::from_secs(2);

/// Returns how many of the first `len` bytes are whole records, and how many records these are.
pub type WholeRecords = fn(bytes: &[u8], len: usize) -> (usize, u64);

/// A destination of records; see the [module](self).
#[derive(Debug)]
pub struct Sink {
    file: File,
    kind: Kind,
    whole: WholeRecords,
    /// Begins at the start of a record. The first `done` bytes are written already.
    pending: Vec<u8>,
    done: usize,
    since: Option<Instant>,
    len: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Regular,
    Pipe,
    Other,
}

/// A write that failed.
#[derive(Debug)]
pub struct WriteFailure {
    /// Why.
    pub source: io::Error,
    /// How many records that had been accepted are not in the file.
    pub lost: u64,
}

impl Sink {
    /// Takes over a file that is open for writing.
    pub fn new(file: File, whole: WholeRecords) -> io::Result<Self> {
        let file_type = file.metadata()?.file_type();
        let (kind, file) = if file_type.is_file() {
            (Kind::Regular, file)
        } else if file_type.is_fifo() || file_type.is_socket() {
            (Kind::Pipe, file)
        } else if isatty(&file) {
            (Kind::Pipe, nonblocking_terminal(file))
        } else {
            (Kind::Other, file)
        };
        Ok(Self { file, kind, whole, pending: Vec::new(), done: 0, since: None, len: 0 })
    }

    /// Opens the standard output, through a duplicate of its descriptor.
    pub fn stdout(whole: WholeRecords) -> io::Result<Self> {
        let fd = io::stdout().as_fd().try_clone_to_owned()?;
        Self::new(File::from(fd), whole)
    }

    /// Opens the standard error, through a duplicate of its descriptor.
    pub fn stderr(whole: WholeRecords) -> io::Result<Self> {
        let fd = io::stderr().as_fd().try_clone_to_owned()?;
        Self::new(File::from(fd), whole)
    }

    /// Returns the number of bytes that the sink has accepted.
    #[expect(clippy::len_without_is_empty, reason = "a count of bytes, not of elements")]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Accepts one whole record, or refuses it (`false`) because the reader is too slow.
    ///
    /// # Errors
    /// Those of write(2): ENOSPC, EDQUOT, EIO, EPIPE.
    pub fn append(&mut self, record: &[u8], now: Instant) -> Result<bool, WriteFailure> {
        if self.kind != Kind::Regular && self.pending.len() + record.len() > BACKLOG_MAX {
            self.flush()?;
            if self.pending.len() + record.len() > BACKLOG_MAX {
                return Ok(false);
            }
        }
        self.pending.extend_from_slice(record);
        self.len += u64::try_from(record.len()).unwrap_or(u64::MAX);
        self.since.get_or_insert(now);
        if self.pending.len() - self.done >= FLUSH_AT {
            self.flush()?;
        }
        Ok(true)
    }

    /// Returns the latest time for the next [`Sink::flush`]; `None` if no record waits for it.
    pub fn deadline(&self) -> Option<Instant> {
        self.since.map(|since| since + FLUSH_WITHIN)
    }

    /// Returns the descriptor and the events to poll for: POLLOUT if a slow reader delays the rest, else
    /// none, so that poll(2) reports only a closed reader. Call [`Sink::flush`] on any event.
    pub fn poll_for(&self) -> (BorrowedFd<'_>, PollFlags) {
        let is_blocked = self.since.is_none() && self.done < self.pending.len();
        let flags = if is_blocked { PollFlags::OUT } else { PollFlags::empty() };
        (self.file.as_fd(), flags)
    }

    /// Writes the buffered records; to a pipe only as much as fits now.
    ///
    /// # Errors
    /// As [`Sink::append`].
    pub fn flush(&mut self) -> Result<(), WriteFailure> {
        self.since = None;
        if self.pending.is_empty() && self.kind == Kind::Pipe && self.reader_has_gone()? {
            return Err(self.fail(io::ErrorKind::BrokenPipe.into()));
        }
        while self.done < self.pending.len() {
            match self.write_some(Duration::ZERO) {
                Ok(0) => break,
                Ok(len) => self.done += len,
                Err(source) => return Err(self.fail(source)),
            }
        }
        self.forget_written();
        Ok(())
    }

    /// Returns whether records wait to be written.
    pub fn is_pending(&self) -> bool {
        self.done < self.pending.len()
    }

    /// Writes the buffered records. Blocks the calling thread while the reader of a pipe is slow.
    ///
    /// # Errors
    /// As [`Sink::append`]; ETIMEDOUT if the reader took nothing for two seconds.
    pub fn close(self) -> Result<(), WriteFailure> {
        self.close_with(|| CLOSE_PATIENCE)
    }

    /// Writes the buffered records, as [`Sink::close`] does, until `end` at the latest.
    ///
    /// # Errors
    /// As [`Sink::append`]; ETIMEDOUT if the reader has not taken everything by then.
    pub fn close_by(self, end: Instant) -> Result<(), WriteFailure> {
        self.close_with(|| end.saturating_duration_since(Instant::now()))
    }

    fn close_with(mut self, patience: impl Fn() -> Duration) -> Result<(), WriteFailure> {
        while self.is_pending() {
            match self.write_some(patience()) {
                Ok(0) => return Err(self.fail(rustix::io::Errno::TIMEDOUT.into())),
                Ok(len) => self.done += len,
                Err(source) => return Err(self.fail(source)),
            }
        }
        Ok(())
    }

    fn reader_has_gone(&mut self) -> Result<bool, WriteFailure> {
        let mut fds = [PollFd::from_borrowed_fd(self.file.as_fd(), PollFlags::empty())];
        match rustix::event::poll(&mut fds, Some(&Timespec::default())) {
            Ok(_) => Ok(fds[0].revents().intersects(PollFlags::ERR | PollFlags::HUP)),
            Err(rustix::io::Errno::INTR) => Ok(false),
            Err(error) => Err(self.fail(error.into())),
        }
    }

    /// Calls write(2) once; returns 0 if a pipe takes nothing within `patience`.
    fn write_some(&mut self, patience: Duration) -> io::Result<usize> {
        let bytes = &self.pending[self.done..];
        let bytes = match self.kind {
            Kind::Pipe if !is_writable(self.file.as_fd(), patience)? => return Ok(0),
            Kind::Pipe => &bytes[..bytes.len().min(PIPE_WRITE_LEN)],
            Kind::Regular | Kind::Other => bytes,
        };
        match self.file.write(bytes) {
            Ok(0) => Err(io::ErrorKind::WriteZero.into()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => self.write_some(patience),
            // A non-blocking descriptor without room.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            result => result,
        }
    }

    /// Frees the written records once they are more than half of the buffer.
    fn forget_written(&mut self) {
        if self.done == self.pending.len() {
            self.pending.clear();
            self.done = 0;
        } else if self.done > self.pending.len() / 2 {
            let (whole, _) = (self.whole)(&self.pending, self.done);
            self.pending.drain(..whole);
            self.done -= whole;
        }
    }

    /// Truncates a regular file after its last whole record, and discards the buffer.
    fn fail(&mut self, source: io::Error) -> WriteFailure {
        let (whole, kept) = (self.whole)(&self.pending, self.done);
        let (_, all) = (self.whole)(&self.pending, self.pending.len());
        let torn = u64::try_from(self.done - whole).unwrap_or(u64::MAX);
        if self.kind == Kind::Regular && torn > 0 {
            // If this fails as well, the file ends with a partial record, which readers report.
            let _ = self.file.stream_position().and_then(|end| {
                self.file.set_len(end.saturating_sub(torn))?;
                self.file.seek(io::SeekFrom::Start(end.saturating_sub(torn)))
            });
        }
        self.pending.clear();
        self.done = 0;
        self.since = None;
        WriteFailure { source, lost: all - kept }
    }
}

/// The same terminal with a file description of our own that does not block, or `file` itself if the
/// terminal cannot be opened again. A write to a terminal with little room blocks although poll(2)
/// reports room, and `O_NONBLOCK` on `file` would affect every process that shares it.
fn nonblocking_terminal(file: File) -> File {
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, path, flags, Mode::empty()).map_or(file, File::from)
}

/// Returns whether a write would make progress (or fail at once) within `patience`.
fn is_writable(fd: BorrowedFd<'_>, patience: Duration) -> io::Result<bool> {
    let timeout = Timespec::try_from(patience).map_err(io::Error::other)?;
    let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::OUT)];
    match rustix::event::poll(&mut fds, Some(&timeout)) {
        Ok(_) => Ok(!fds[0].revents().is_empty()),
        // The loop handles signals elsewhere.
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// [`WholeRecords`] of text: lines.
pub fn whole_lines(bytes: &[u8], len: usize) -> (usize, u64) {
    let text = &bytes[..len.min(bytes.len())];
    let end = text.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
    let lines = text[..end].iter().filter(|&&byte| byte == b'\n').count();
    (end, u64::try_from(lines).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn pipe() -> (File, Sink) {
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        (File::from(reader), Sink::new(File::from(writer), whole_lines).unwrap())
    }

    #[test]
    fn lines_are_counted_up_to_the_last_whole_one() {
        assert_eq!(whole_lines(b"ab\ncd\nef", 8), (6, 2));
        assert_eq!(whole_lines(b"ab\ncd\nef", 2), (0, 0));
        assert_eq!(whole_lines(b"", 0), (0, 0));
    }

    #[test]
    fn a_record_waits_until_the_deadline() {
        let (mut reader, mut sink) = pipe();
        let now = Instant::now();
        assert_eq!(sink.deadline(), None);
        assert!(sink.append(b"one\n", now).unwrap());
        assert!(sink.append(b"two\n", now + FLUSH_WITHIN / 2).unwrap());
        assert_eq!(sink.deadline(), Some(now + FLUSH_WITHIN));
        sink.flush().unwrap();
        assert_eq!(sink.deadline(), None);
        assert_eq!(sink.len(), 8);
        sink.close().unwrap();
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "one\ntwo\n");
    }

    #[test]
    fn a_reader_that_sleeps_costs_a_bounded_backlog_and_no_time() {
        let (mut reader, mut sink) = pipe();
        let line = [[b'x'; 999].as_slice(), b"\n"].concat();
        let accepted = (0..10_000).filter(|_| sink.append(&line, Instant::now()).unwrap()).count();
        // The pipe itself holds 64 KiB.
        let fits = (BACKLOG_MAX + 65_536) / line.len();
        assert!((fits - 100..=fits).contains(&accepted), "{accepted}");
        sink.flush().unwrap();
        assert_eq!(sink.poll_for().1, PollFlags::OUT);
        let expected = accepted * line.len();
        let thread = std::thread::spawn(move || {
            let mut all = Vec::new();
            reader.read_to_end(&mut all).unwrap();
            all
        });
        sink.close().unwrap();
        let all = thread.join().unwrap();
        assert_eq!(all.len(), expected);
        assert!(all.chunks(1000).all(|chunk| chunk == line), "no line is torn");
    }

    #[test]
    fn a_reader_that_left_ends_it() {
        let (reader, mut sink) = pipe();
        drop(reader);
        sink.append(b"one\n", Instant::now()).unwrap();
        let failure = sink.flush().unwrap_err();
        assert_eq!(failure.source.kind(), io::ErrorKind::BrokenPipe);
        assert_eq!(failure.lost, 1);
    }

    #[test]
    fn a_reader_that_never_reads_ends_the_close() {
        let (_reader, mut sink) = pipe();
        let record = [b'x'; 100_000].iter().chain(b"\n").copied().collect::<Vec<_>>();
        sink.append(&record, Instant::now()).unwrap();
        assert_eq!(sink.close().unwrap_err().source.kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn a_reader_that_reads_too_slowly_ends_the_close_in_time() {
        let (mut reader, mut sink) = pipe();
        let record = [b'x'; 1_000_000].iter().chain(b"\n").copied().collect::<Vec<_>>();
        sink.append(&record, Instant::now()).unwrap();
        let thread = std::thread::spawn(move || {
            // A page every 16 ms: no single wait is long.
            while reader.read(&mut [0; 4096]).is_ok_and(|len| len > 0) {
                std::thread::sleep(Duration::from_millis(16));
            }
        });
        let start = Instant::now();
        let failure = sink.close_by(start + Duration::from_millis(200)).unwrap_err();
        assert_eq!(failure.source.kind(), io::ErrorKind::TimedOut);
        assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
        thread.join().unwrap();
    }

    #[test]
    fn a_terminal_that_is_stopped_takes_no_time() {
        use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
        let user = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&user).unwrap();
        unlockpt(&user).unwrap();
        let path = ptsname(&user, Vec::new()).unwrap();
        let terminal =
            rustix::fs::open(path, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
        rustix::termios::tcflow(&terminal, rustix::termios::Action::OOff).unwrap();
        let mut sink = Sink::new(File::from(terminal), whole_lines).unwrap();
        let line = [[b'x'; 999].as_slice(), b"\n"].concat();
        let (done, is_done) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            while sink.append(&line, Instant::now()).unwrap() {}
            sink.flush().unwrap();
            done.send(sink.poll_for().1).unwrap();
        });
        let waits_for = is_done.recv_timeout(Duration::from_secs(20)).expect("it does not block");
        assert_eq!(waits_for, PollFlags::OUT);
    }

    #[test]
    fn a_failed_write_leaves_whole_records() {
        // RLIMIT_FSIZE would need a process of its own: the truncation alone is seen here.
        let path = std::env::temp_dir().join(format!("adit-sink-{}", std::process::id()));
        let mut sink = Sink::new(File::create(&path).unwrap(), whole_lines).unwrap();
        sink.append(b"one\ntwo\nthree\n", Instant::now()).unwrap();
        sink.file.write_all(b"one\ntw").unwrap();
        sink.done = 6;
        let failure = sink.fail(io::ErrorKind::StorageFull.into());
        assert_eq!(failure.lost, 2);
        assert_eq!(std::fs::read(&path).unwrap(), b"one\n");
        std::fs::remove_file(path).unwrap();
    }
}
