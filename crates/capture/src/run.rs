//! The loop: one thread that sleeps in poll(2) until a packet or signal arrives, an output becomes writable or
//! loses its reader, or a deadline expires.

use crate::reply::Responder;
use crate::source::{Fate, Incoming, Source};
use adit_decode::hex_dump;
use adit_decode::{Packet, Summary as Charts};
use adit_runtime::format::pcapng::{Direction, LinkType, Meta, Statistics};
use adit_runtime::record::now::Now;
use adit_runtime::record::recorder::{RecordError, Recorder};
use adit_runtime::record::sink::{Sink, WriteFailure};
use adit_service::filter::Filter;
use adit_service::sandbox::Needs;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::fmt;
use std::io;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// Maximum number of packets handled before deadlines and signals are checked again, and the clock is read.
const BUDGET: usize = 256;

/// How long packets already in the queue are still captured after a signal.
const LAST_LOOK: Duration = Duration::from_secs(1);

/// How often to check whether an interface that went down still exists.
const DOUBT: Duration = Duration::from_millis(500);

/// How packets are shown.
#[derive(Clone, Copy, Debug, Default)]
pub struct Show {
    /// One JSON object per packet instead of a line.
    pub json: bool,
    /// The decoded fields below the line.
    pub tree: bool,
    /// The bytes.
    pub bytes: bool,
}

/// The system calls of a capture: its device or packet socket, netlink that is open, the list of time zones.
const SYSCALLS: &[&str] = &[
    "fstat",
    "getdents64",
    "getsockopt",
    "ioctl",
    "newfstatat",
    "readlink",
    "recvfrom",
    "recvmsg",
    "sendto",
];

/// What a capture needs once it runs: the time zone, to show times.
pub fn needs() -> Needs {
    let zones = ["/usr/share/zoneinfo", "/etc/localtime", "/etc/timezone"];
    let mut needs = Needs { readable: zones.map(Into::into).to_vec(), ..Needs::by_landlock() };
    needs.syscalls.extend(adit_runtime::record_syscalls());
    needs.syscalls.push(SYSCALLS);
    needs
}

/// A capture with its source and outputs.
#[derive(Debug)]
pub struct Capture {
    /// The stream of [`signals`], registered before the capture is announced.
    pub signals: UnixStream,
    /// Where packets come from.
    pub source: Source,
    /// Answers ARP, neighbor solicitations and ping.
    pub responder: Option<Responder>,
    /// The time after which it stops.
    pub duration: Option<Duration>,
    /// Where packets go.
    pub outputs: Outputs,
}

/// Where packets go, and which of them.
#[derive(Debug)]
pub struct Outputs {
    /// A filter that the kernel does not apply.
    pub filter: Option<Filter>,
    /// How packets are shown, and where.
    pub lines: Option<(Show, Sink)>,
    /// Charts of the packets.
    pub charts: Option<Box<Charts>>,
    /// Where packets are recorded.
    pub recorder: Option<Recorder>,
    /// Maximum number of bytes kept of each packet.
    pub snap_len: usize,
    /// The number of packets after which the capture stops.
    pub count: Option<u64>,
    /// The interface, and what its packets begin with.
    pub interface: (String, LinkType),
}

/// The counters of a capture.
#[derive(Clone, Copy, Debug, Default)]
pub struct Summary {
    /// Packets shown or recorded.
    pub captured: u64,
    /// Packets rejected by the filter; `None` if the kernel filters, which does not count them.
    pub filtered: Option<u64>,
    /// Packets dropped by the kernel because they were not read in time.
    pub dropped: u64,
    /// Packets not recorded because the reader of the recording was too slow.
    pub not_recorded: u64,
    /// Packets not shown because the reader of the lines was too slow.
    pub not_shown: u64,
    /// Answers sent.
    pub answered: u64,
    /// Answers that the device did not accept.
    pub unanswered: u64,
}

/// Why a capture ended early.
#[derive(Debug)]
pub enum EndError {
    /// The interface is gone.
    Gone(Fate),
    /// The recording failed.
    Record(RecordError),
    /// The lines could not be written.
    Show(io::Error),
    /// poll(2) or a signal handler failed.
    System(io::Error),
}

impl EndError {
    /// Whether the reader closed the pipe, which is how `adit capture | head` ends.
    pub fn is_reader_gone(&self) -> bool {
        match self {
            Self::Record(error) => error.is_reader_gone(),
            Self::Show(error) => error.kind() == io::ErrorKind::BrokenPipe,
            Self::Gone(_) | Self::System(_) => false,
        }
    }
}

impl From<RecordError> for EndError {
    fn from(error: RecordError) -> Self {
        Self::Record(error)
    }
}

impl From<WriteFailure> for EndError {
    fn from(failure: WriteFailure) -> Self {
        Self::Show(failure.source)
    }
}

impl Capture {
    /// Captures until a limit or a signal; returns the counters even after an error.
    pub fn run(mut self) -> (Summary, Option<Box<Charts>>, Result<(), EndError>) {
        let start = Now::read();
        let filtered = (!self.source.is_filtered()).then_some(0);
        let summary = Summary { filtered, ..Summary::default() };
        let mut state = State { summary, dropped_seen: 0, start };
        let result = self.run_until_told(&mut state);
        state.summary.dropped = self.source.dropped();
        let mut charts = self.outputs.charts.take();
        if let Some(charts) = &mut charts {
            charts.lost(state.summary.dropped);
        }
        let end = self.outputs.end(&state);
        // The first failure is the cause of the second.
        (state.summary, charts, result.and(end))
    }

    fn run_until_told(&mut self, state: &mut State) -> Result<(), EndError> {
        let end = self.duration.and_then(|duration| state.start.monotonic.checked_add(duration));
        let mut reply = Vec::new();
        loop {
            let seen = self.wait(end).map_err(EndError::System)?;
            if seen.packets && self.drain(state, &mut reply)? == Drained::Complete {
                return Ok(());
            }
            if self.source.is_in_doubt() && !self.source.exists() {
                return Err(EndError::Gone(self.source.fate()));
            }
            let now = Instant::now();
            self.outputs.flush(&seen, now)?;
            if seen.signal || end.is_some_and(|end| end <= now) {
                // What was captured before the end still belongs to it.
                let last = now + LAST_LOOK;
                loop {
                    match self.drain(state, &mut reply)? {
                        Drained::Busy => {}
                        Drained::Empty if self.source.is_behind() => {
                            self.await_packets(last).map_err(EndError::System)?;
                        }
                        _ => break,
                    }
                    if Instant::now() >= last {
                        break;
                    }
                }
                return Ok(());
            }
        }
    }

    fn wait(&self, end: Option<Instant>) -> io::Result<Seen> {
        let Outputs { lines, recorder, .. } = &self.outputs;
        let lines = lines.as_ref().map(|(_, sink)| sink);
        let deadlines = [
            end,
            self.source.is_in_doubt().then(|| Instant::now() + DOUBT),
            lines.and_then(Sink::deadline),
            recorder.as_ref().and_then(Recorder::deadline),
        ];
        let timeout = deadlines.into_iter().flatten().min().map(timeout_until);
        let mut fds = vec![
            PollFd::new(&self.source, PollFlags::IN),
            PollFd::new(&self.signals, PollFlags::IN),
        ];
        let watched = [lines.map(Sink::poll_for), recorder.as_ref().map(Recorder::poll_for)];
        fds.extend(
            watched.iter().flatten().map(|(fd, flags)| PollFd::from_borrowed_fd(*fd, *flags)),
        );
        wait_for(&mut fds, timeout.as_ref())?;
        let mut ready = fds.iter().map(|fd| !fd.revents().is_empty());
        let mut next = || ready.next().unwrap_or(false);
        let (packets, signal) = (next(), next());
        let seen_lines = watched[0].is_some() && next();
        let recorder = watched[1].is_some() && next();
        Ok(Seen { packets, signal, lines: seen_lines, recorder })
    }

    /// Waits until the source is readable, or `end`.
    fn await_packets(&self, end: Instant) -> io::Result<()> {
        wait_for(&mut [PollFd::new(&self.source, PollFlags::IN)], Some(&timeout_until(end)))
    }

    /// Handles packets until none are left or the batch limit is reached.
    fn drain(&mut self, state: &mut State, reply: &mut Vec<u8>) -> Result<Drained, EndError> {
        if self.source.counts_drops_cheaply() {
            state.summary.dropped = self.source.dropped();
        }
        let now = Now::read();
        for _ in 0..BUDGET {
            let incoming = match self.source.recv() {
                Ok(Some(incoming)) => incoming,
                Ok(None) => return Ok(Drained::Empty),
                Err(_) => return Err(EndError::Gone(self.source.fate())),
            };
            let data = self.source.bytes();
            let mut done = self.outputs.take(state, now, &incoming, data)?;
            if let Some(responder) = &self.responder
                && let Some(answer) = responder.reply(data, reply)
            {
                done |= self.answer(state, answer)?;
            }
            if done {
                return Ok(Drained::Complete);
            }
        }
        Ok(Drained::Busy)
    }

    /// Sends an answer, and shows it as well.
    fn answer(&mut self, state: &mut State, answer: &[u8]) -> Result<bool, EndError> {
        if self.source.send(answer).is_err() {
            state.summary.unanswered += 1;
            return Ok(false);
        }
        state.summary.answered += 1;
        if self.outputs.is_complete(state) {
            return Ok(true);
        }
        let now = Now::read();
        let meta = Meta {
            time: now.wall,
            direction: Some(Direction::In),
            original_len: answer.len(),
            lost_before: 0,
        };
        self.outputs.take(state, now, &Incoming { meta, gso: None }, answer)
    }
}

impl Outputs {
    /// Filters, shows and records one packet. Returns whether it was the last one wanted.
    fn take(
        &mut self,
        state: &mut State,
        now: Now,
        incoming: &Incoming,
        data: &[u8],
    ) -> Result<bool, EndError> {
        let mut keep = self.snap_len;
        if let Some(filter) = &self.filter {
            keep = usize::try_from(filter.program.run(data)).unwrap_or(usize::MAX).min(keep);
            if keep == 0 {
                state.summary.filtered = state.summary.filtered.map(|count| count + 1);
                return Ok(false);
            }
        }
        state.summary.captured += 1;
        let data = &data[..data.len().min(keep)];
        let lost_before = state.summary.dropped.saturating_sub(state.dropped_seen);
        state.dropped_seen = state.summary.dropped.max(state.dropped_seen);
        let meta = Meta { lost_before, ..incoming.meta };
        if let Some(recorder) = &mut self.recorder {
            let statistics = state.statistics(now);
            if !recorder.packet(&meta, data, now, &statistics)? {
                state.summary.not_recorded += 1;
            }
        }
        let (name, link_type) = &self.interface;
        if let Some(charts) = &mut self.charts {
            charts.note(&Packet::decode(name, *link_type, &meta, data));
        }
        if let Some((show, sink)) = &mut self.lines {
            let mut packet = Packet::decode(name, *link_type, &meta, data);
            packet.gso.clone_from(&incoming.gso);
            if !sink.append(render(packet, data, *show).as_bytes(), now.monotonic)? {
                state.summary.not_shown += 1;
            }
        }
        Ok(self.is_complete(state))
    }

    fn is_complete(&self, state: &State) -> bool {
        self.count.is_some_and(|count| state.summary.captured >= count)
    }

    /// Writes what waited long enough, and what a reader can take again.
    fn flush(&mut self, seen: &Seen, now: Instant) -> Result<(), EndError> {
        let is_due = |deadline: Option<Instant>| deadline.is_some_and(|deadline| deadline <= now);
        if let Some((_, sink)) = &mut self.lines
            && (seen.lines || is_due(sink.deadline()))
        {
            sink.flush()?;
        }
        if let Some(recorder) = &mut self.recorder
            && (seen.recorder || is_due(recorder.deadline()))
        {
            recorder.flush()?;
        }
        Ok(())
    }

    /// Writes buffered output.
    fn end(self, state: &State) -> Result<(), EndError> {
        let now = Now::read();
        let mut result = Ok(());
        if let Some(recorder) = self.recorder {
            result = recorder.close(&state.statistics(now), now).map_err(EndError::from);
        }
        let lines = self.lines.map_or(Ok(()), |(_, sink)| sink.close().map_err(EndError::from));
        result.and(lines)
    }
}

fn timeout_until(deadline: Instant) -> Timespec {
    let left = deadline.saturating_duration_since(Instant::now());
    Timespec::try_from(left).unwrap_or(Timespec { tv_sec: i64::MAX, tv_nsec: 0 })
}

fn wait_for(fds: &mut [PollFd<'_>], timeout: Option<&Timespec>) -> io::Result<()> {
    match poll(fds, timeout) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// What changes from packet to packet.
#[derive(Debug)]
struct State {
    summary: Summary,
    dropped_seen: u64,
    start: Now,
}

impl State {
    fn statistics(&self, now: Now) -> Statistics {
        let Summary { captured, filtered, dropped, not_recorded, .. } = self.summary;
        Statistics {
            start: self.start.wall,
            end: now.wall,
            received: filtered.map(|filtered| captured + filtered + dropped),
            dropped: dropped + not_recorded,
            accepted: captured,
            // The recorder has its own count.
            delivered: 0,
        }
    }
}

/// How [`Capture::drain`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Drained {
    /// There are no more packets now.
    Empty,
    /// There may be more.
    Busy,
    /// The packet limit is reached.
    Complete,
}

/// The result of poll(2).
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "one for each descriptor that is polled")]
struct Seen {
    packets: bool,
    signal: bool,
    lines: bool,
    recorder: bool,
}

/// The text of one packet, each line ended by a line feed.
pub fn render(mut packet: Packet, data: &[u8], show: Show) -> String {
    if show.json {
        if show.bytes {
            packet.bytes = Some(data.iter().map(|byte| format!("{byte:02x}")).collect());
        }
        // Serialization fails only for maps whose keys are not strings, and there are none.
        let mut text = serde_json::to_string(&packet).unwrap_or_default();
        text.push('\n');
        return text;
    }
    let mut text = if show.tree { format!("{packet:#}\n") } else { format!("{packet}\n") };
    if show.tree {
        packet.tree(&mut text);
    }
    if show.bytes {
        hex_dump(data, &mut text);
    }
    text
}

/// A stream that becomes readable at SIGINT or SIGTERM. After that, [`Sink::close`] limits how long output may
/// wait.
///
/// # Errors
/// EMFILE if the process has no descriptor left.
pub fn signals() -> io::Result<UnixStream> {
    let (ours, theirs) = UnixStream::pair()?;
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::low_level::pipe::register(signal, theirs.try_clone()?)?;
    }
    Ok(ours)
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} captured", packets(self.captured))?;
        match self.filtered {
            Some(filtered) => write!(f, ", {filtered} filtered out")?,
            None => f.write_str(", others filtered out in the kernel")?,
        }
        write!(f, ", {} dropped by the kernel", self.dropped)?;
        if self.not_recorded > 0 {
            write!(f, ", {} not recorded because the reader is too slow", self.not_recorded)?;
        }
        if self.not_shown > 0 {
            write!(f, ", {} not shown because the reader is too slow", self.not_shown)?;
        }
        if self.answered > 0 {
            write!(f, ", {} answered", self.answered)?;
        }
        if self.unanswered > 0 {
            write!(f, ", {} answers rejected by the device", self.unanswered)?;
        }
        Ok(())
    }
}

/// `1 packet`, `2 packets`.
pub fn packets(count: u64) -> String {
    if count == 1 { "1 packet".to_owned() } else { format!("{count} packets") }
}

impl fmt::Display for EndError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone(Fate::Deleted) => f.write_str("the interface was deleted"),
            Self::Gone(Fate::Moved) => {
                f.write_str("the interface was moved to another network namespace")
            }
            Self::Gone(Fate::Unknown) => {
                f.write_str("the interface was deleted or moved to another network namespace")
            }
            Self::Record(error) => error.fmt(f),
            Self::Show(_) => f.write_str("cannot write to standard output"),
            Self::System(_) => f.write_str("cannot wait for packets"),
        }
    }
}

impl std::error::Error for EndError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Gone(_) => None,
            Self::Record(error) => error.source(),
            Self::Show(source) | Self::System(source) => Some(source),
        }
    }
}
