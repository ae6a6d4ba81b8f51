//! What the callers, the subscriber and the thread share: the levels, the limit, the way out.

use crate::destination::{Destination, Format};
use crate::format::bytes;
use crate::limit::{Admission, Limiter};
use crate::record::Record;
use crate::writer::{Queue, Writes};
use adit_service::log::{Filter, Levels, LogRequest, LogStatus, TargetId};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant};
use tracing::Level;
use tracing::level_filters::LevelFilter;

/// How long the end of the program waits for a slow reader of the log.
const FINISH_WITHIN: Duration = Duration::from_secs(1);

/// How a log begins.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The target of the service's events.
    pub target: TargetId,
    /// The levels without a filter.
    pub levels: Levels,
    /// The filter of the command line or the environment, which comes before that of a file.
    pub filter: Option<Filter>,
    /// How messages are written.
    pub format: Format,
    /// Whether text has colours.
    pub colors: bool,
}

impl Settings {
    /// Information and what is more important, without colours; `target` is that of the service.
    #[must_use]
    pub const fn new(target: TargetId, format: Format) -> Self {
        let levels = Levels::all(LevelFilter::INFO);
        Self { target, levels, filter: None, format, colors: false }
    }
}

/// What is logged.
#[derive(Debug)]
struct Choice {
    now: Levels,
    /// At the start, and after [`LogRequest::Restore`].
    start: Levels,
    /// Without a filter.
    usual: Levels,
    /// Whether the command line or the environment has a filter.
    is_given: bool,
}

/// What happened to messages.
#[derive(Debug, Default)]
struct Counts {
    written: AtomicU64,
    left_out: AtomicU64,
    lost: AtomicU64,
    /// How many of the lost ones the log has not reported.
    unreported: AtomicU64,
}

/// What the callers, the subscriber and the thread share.
pub(crate) struct Shared {
    pub(crate) target: TargetId,
    colors: bool,
    choice: RwLock<Choice>,
    /// Never locked while something is written to a reader, except before the start and after the end.
    state: Mutex<State>,
    counts: Counts,
}

struct State {
    limiter: Limiter,
    /// That of the destination for which messages are queued.
    format: Format,
    out: Out,
    /// Where messages go in the background.
    next: Option<Destination>,
}

/// How messages leave.
enum Out {
    /// The caller writes them.
    Direct(Destination),
    Queued(Queue),
    /// The log has ended; messages are lost.
    Closed,
}

impl Shared {
    pub(crate) fn new(settings: Settings, destination: Destination) -> Self {
        let Settings { target, levels, filter, colors, .. } = settings;
        let start = filter.as_ref().map_or(levels, |filter| levels.changed_by(filter));
        let choice = Choice { now: start, start, usual: levels, is_given: filter.is_some() };
        let state = State {
            limiter: Limiter::default(),
            format: destination.format,
            out: Out::Direct(destination),
            next: None,
        };
        Self {
            target,
            colors,
            choice: RwLock::new(choice),
            state: Mutex::new(state),
            counts: Counts::default(),
        }
    }

    fn choice(&self) -> RwLockReadGuard<'_, Choice> {
        self.choice.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn format(&self) -> Format {
        self.state().format
    }

    /// Whether a message is logged.
    pub(crate) fn has(&self, target: TargetId, level: Level) -> bool {
        self.choice().now.has(target, level)
    }

    /// The most detailed level of all targets.
    pub(crate) fn most(&self) -> LevelFilter {
        self.choice().now.most()
    }

    /// Writes a message that [`Shared::has`] selected, unless the same message was written a moment ago.
    pub(crate) fn write(&self, record: &Record) {
        let mut state = self.state();
        match (state.limiter.admit(Instant::now(), record), &state.out) {
            (Admission::Write, _) => {}
            (admission, out) => {
                self.counts.left_out.fetch_add(1, Ordering::Relaxed);
                if let (Admission::FirstLeftOut, Out::Queued(queue)) = (admission, out) {
                    queue.wake();
                }
                return;
            }
        }
        let format = state.format;
        drop(state);
        let mut message = bytes(format, self.colors, record);
        let mut state = self.state();
        let State { limiter, out, format: now, .. } = &mut *state;
        if *now != format {
            message = bytes(*now, self.colors, record);
        }
        match out {
            Out::Queued(queue) => {
                if !queue.send(message) {
                    self.lose();
                }
            }
            Out::Closed => self.lose(),
            Out::Direct(destination) => {
                let reports = limiter.due(Instant::now());
                reports.iter().for_each(|report| self.deliver_record(destination, report));
                self.deliver(destination, &message);
            }
        }
    }

    fn lose(&self) {
        self.counts.lost.fetch_add(1, Ordering::Relaxed);
        self.counts.unreported.fetch_add(1, Ordering::Relaxed);
    }

    fn deliver_record(&self, destination: &mut Destination, record: &Record) {
        self.deliver(destination, &bytes(destination.format, self.colors, record));
    }

    /// From now on a thread writes, for which `queue_len` messages can wait.
    pub(crate) fn start(self: &Arc<Self>, queue_len: usize) {
        let mut state = self.state();
        if let Out::Direct(destination) = std::mem::replace(&mut state.out, Out::Closed) {
            // Without a thread, messages are lost and counted: no caller may wait for a reader.
            let queue = Queue::start(Arc::clone(self), destination, queue_len);
            state.out = queue.map_or(Out::Closed, Out::Queued);
        }
    }

    /// Sets where messages go after [`Shared::detach`].
    pub(crate) fn set_next(&self, next: Destination) {
        self.state().next = Some(next);
    }

    /// Runs `then` after the messages before it are written, without waiting for their reader. Messages after it go to
    /// the next destination, if there is one.
    pub(crate) fn detach(&self, then: Box<dyn FnOnce() + Send>) {
        let mut state = self.state();
        let next = state.next.take();
        let format = next.as_ref().map_or(state.format, |next| next.format);
        let (then, format) = match &mut state.out {
            Out::Queued(queue) => match queue.then(then, next) {
                // The reader has been too slow for 4,096 messages.
                Some(then) => (Some(then), state.format),
                None => (None, format),
            },
            Out::Direct(destination) => {
                next.into_iter().for_each(|next| *destination = next);
                (Some(then), format)
            }
            Out::Closed => (Some(then), format),
        };
        state.format = format;
        drop(state);
        if let Some(then) = then {
            then();
        }
    }

    pub(crate) fn finish(&self) {
        let mut state = self.state();
        match std::mem::replace(&mut state.out, Out::Closed) {
            Out::Direct(mut destination) => {
                drop(state);
                self.report(&mut destination, None);
            }
            Out::Queued(queue) => {
                drop(state);
                // The thread ends with the process if its reader is too slow.
                let _ = queue.close().recv_timeout(FINISH_WITHIN);
            }
            Out::Closed => {}
        }
    }

    pub(crate) fn change(&self, request: LogRequest) {
        let mut choice = self.choice.write().unwrap_or_else(PoisonError::into_inner);
        let Choice { now, start, usual, is_given } = &mut *choice;
        match request {
            LogRequest::Show => return,
            LogRequest::Change(filter) => *now = now.changed_by(&filter),
            LogRequest::Restore => *now = *start,
            LogRequest::Configure(_) if *is_given => return,
            LogRequest::Configure(filter) => {
                let wanted = filter.map_or(*usual, |filter| usual.changed_by(&filter));
                // A reload of a file that is the same leaves what was changed at run time.
                if *start != wanted {
                    (*start, *now) = (wanted, wanted);
                }
            }
        }
        drop(choice);
        tracing::callsite::rebuild_interest_cache();
    }

    pub(crate) fn status(&self) -> LogStatus {
        let now = self.choice().now;
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        LogStatus {
            filter: now.to_string(),
            levels: now
                .iter()
                .map(|(target, level)| (target.to_owned(), level.to_owned()))
                .collect(),
            format: self.format().to_string(),
            written: count(&self.counts.written),
            left_out: count(&self.counts.left_out),
            lost: count(&self.counts.lost),
        }
    }
}

impl Writes for Shared {
    /// Writes a message to its reader, and after it how many were lost before. Waits for the reader.
    fn deliver(&self, destination: &mut Destination, bytes: &[u8]) {
        if !destination.write(bytes) {
            return self.lose();
        }
        self.counts.written.fetch_add(1, Ordering::Relaxed);
        let lost = self.counts.unreported.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let (noun, verb) = if lost == 1 { ("message", "was") } else { ("messages", "were") };
            let message =
                format!("warning: {lost} {noun} of the log {verb} lost: the reader is too slow");
            self.deliver_record(destination, &Record::new(self.target, "log-lost", message));
        }
    }

    /// When [`Shared::report`] has something to write.
    fn next_report(&self) -> Option<Instant> {
        self.state().limiter.next_due()
    }

    /// Writes how many messages were left out until `now`; at the end, all.
    fn report(&self, destination: &mut Destination, now: Option<Instant>) {
        let mut state = self.state();
        let reports = match now {
            Some(now) => state.limiter.due(now),
            None => state.limiter.finish(),
        };
        drop(state);
        reports.iter().for_each(|report| self.deliver_record(destination, report));
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("choice", &self.choice).finish_non_exhaustive()
    }
}
