//! The log of the process: what is logged, and how it begins and ends.

use crate::destination::{Destination, Format, is_stderr_a_file};
use crate::record::Record;
pub use crate::shared::Settings;
use crate::shared::Shared;
use crate::subscriber::Receiver;
use adit_service::error::{Error, Report, Result};
use adit_service::event::{Event, Observer};
use adit_service::log::{LogRequest, LogStatus};
use std::sync::{Arc, OnceLock};

/// The most messages that wait for a slow reader: half a megabyte of usual lines.
const QUEUE_LEN: usize = 4096;

/// The log of this process.
static LOG: OnceLock<Arc<Shared>> = OnceLock::new();

/// The log, as the observer of a service.
#[derive(Clone, Debug)]
pub struct Log(Arc<Shared>);

impl Log {
    /// Begins the log of this process. Messages are written by the caller until [`Observer::start`].
    ///
    /// # Errors
    /// The journal cannot be reached.
    pub fn install(settings: Settings) -> Result<Self> {
        let destination = match settings.format {
            Format::Journal => {
                Destination::journal().map_err(|error| Error::io("reach", "the journal", &error))?
            }
            format => Destination::stderr(format),
        };
        let shared = Arc::new(Shared::new(settings, destination));
        // A second log of one process, as in tests, has its events alone.
        if LOG.set(Arc::clone(&shared)).is_ok() {
            // It fails if the program has a subscriber of its own, which stays.
            let _ = tracing::subscriber::set_global_default(Receiver(Arc::clone(&shared)));
        }
        Ok(Self(shared))
    }

    /// Logs an event; `text` replaces its message.
    pub fn event(&self, event: &Event, text: Option<String>) {
        if self.0.has(self.0.target, event.level()) {
            self.0.write(&Record::of_event(self.0.target, event, text));
        }
    }
}

impl Observer for Log {
    fn event(&mut self, event: &Event) {
        Self::event(self, event, None);
    }

    fn start(&mut self) {
        self.0.start(QUEUE_LEN);
    }

    fn log(&mut self, request: LogRequest) -> Result<LogStatus> {
        self.0.change(request);
        Ok(self.0.status())
    }
}

/// Writes what ended the program to the log, if its format is no text; returns whether it did.
#[must_use]
pub fn report(report: &Report) -> bool {
    let Some(log) = LOG.get() else { return false };
    let format = log.format();
    if format == Format::Text {
        return false;
    }
    log.write(&Record::of_report(log.target, report));
    // A journal that the user asked for is not where standard error leads.
    format == Format::Json || Format::of_environment() == Format::Journal
}

/// Opens the journal for the time after [`detach`], if it is there and standard error is no file, which stays. For the
/// start of a program, which may see no socket later.
pub fn prepare_to_detach() {
    if let Some(log) = LOG.get().filter(|log| log.format() != Format::Journal)
        && !is_stderr_a_file()
        && let Ok(journal) = Destination::journal()
    {
        log.set_next(journal);
    }
}

/// Runs `then` after the messages logged until now are written, on the thread that writes them. Later messages go to the
/// journal, if [`prepare_to_detach`] has opened it.
pub fn detach(then: impl FnOnce() + Send + 'static) {
    match LOG.get() {
        Some(log) => log.detach(Box::new(then)),
        None => then(),
    }
}

/// Ends the log of this process: waits up to a second for its reader.
pub fn finish() {
    if let Some(log) = LOG.get() {
        log.finish();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use adit_service::log::{Filter, Levels, TargetId};
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixDatagram;
    use std::time::Duration;
    use tracing::level_filters::LevelFilter;

    /// A log whose reader is this socket.
    fn log(levels: LevelFilter) -> (Log, UnixDatagram) {
        let flags = SocketFlags::CLOEXEC;
        let (ours, theirs): (OwnedFd, OwnedFd) =
            socketpair(AddressFamily::UNIX, SocketType::DGRAM, flags, None).unwrap();
        let settings = Settings::new(TargetId::SWITCH, Format::Text);
        let settings = Settings { levels: Levels::all(levels), ..settings };
        let log = Log(Arc::new(Shared::new(settings, Destination::socket(Format::Text, ours))));
        (log, UnixDatagram::from(theirs))
    }

    fn next(reader: &UnixDatagram) -> String {
        let mut bytes = [0; 9000];
        let len = reader.recv(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..len]).into_owned()
    }

    fn note(message: String) -> Event {
        Event::Note { message }
    }

    #[test]
    fn a_reader_that_sleeps_holds_nobody_up_and_losses_are_counted() {
        const COUNT: u64 = 500;
        let (mut log, reader) = log(LevelFilter::INFO);
        log.0.start(16);
        reader.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        // Each about another object, so that none is left out; longer than all that the socket holds.
        let reason = "x".repeat(2000);
        for number in 0..COUNT {
            let (port, reason) = (number.to_string(), reason.clone());
            log.event(&Event::PortGone { port, reason }, None);
        }
        let before = log.log(LogRequest::Show).unwrap();
        assert!(before.lost > 0 && before.left_out == 0, "{before:?}");
        let (mut messages, mut reported) = (0, 0);
        while reported < before.lost {
            let line = next(&reader);
            match line.strip_prefix("warning: ").and_then(|rest| rest.split(' ').next()) {
                Some(count) => reported += count.parse::<u64>().unwrap(),
                None => messages += 1,
            }
        }
        assert_eq!(reported, before.lost);
        log.0.finish();
        reader.set_nonblocking(true).unwrap();
        let mut bytes = [0; 9000];
        while reader.recv(&mut bytes).is_ok() {
            messages += 1;
        }
        assert_eq!(messages + reported, COUNT, "each was written or counted");
    }

    #[test]
    fn what_was_logged_is_written_before_the_end_of_standard_error() {
        let (mut log, reader) = log(LevelFilter::INFO);
        log.start();
        for number in 0..20 {
            log.event(&note(number.to_string()), None);
        }
        let (sender, receiver) = std::sync::mpsc::channel();
        log.0.detach(Box::new(move || {
            reader.set_nonblocking(true).unwrap();
            let lines: Vec<_> = (0..20).map(|_| next(&reader)).collect();
            sender.send(lines).unwrap();
        }));
        let lines = receiver.recv_timeout(Duration::from_secs(60)).unwrap();
        assert_eq!(lines.last().unwrap(), "19\n");
    }

    #[test]
    fn what_was_left_out_is_reported_by_the_thread() {
        let (mut log, reader) = log(LevelFilter::INFO);
        log.start();
        reader.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        for _ in 0..50 {
            log.event(&note("the same".to_owned()), None);
        }
        assert_eq!(next(&reader), "the same\n");
        assert_eq!(next(&reader), "the same: 49 more were left out\n");
        log.event(&note("the same".to_owned()), None);
        log.0.finish();
        assert_eq!(next(&reader), "the same: 1 more was left out\n");
    }

    #[test]
    fn the_filter_of_a_file_counts_until_it_is_changed_and_again_after_another_file() {
        let (mut log, _reader) = log(LevelFilter::INFO);
        let filter = |text: &str| Some(text.parse::<Filter>().unwrap());
        let mut now = |request| log.log(request).unwrap().filter;
        assert_eq!(now(LogRequest::Configure(filter("switch=debug"))), "info,switch=debug");
        assert_eq!(now(LogRequest::parse("host=trace").unwrap()), "info,switch=debug,host=trace");
        // A reload of the same file.
        let same = LogRequest::Configure(filter("switch=debug"));
        assert_eq!(now(same), "info,switch=debug,host=trace");
        assert_eq!(now(LogRequest::parse("default").unwrap()), "info,switch=debug");
        assert_eq!(now(LogRequest::Configure(None)), "info");
        let given =
            Settings { filter: filter("warn"), ..Settings::new(TargetId::SWITCH, Format::Text) };
        let mut given = Log(Arc::new(Shared::new(given, Destination::stderr(Format::Text))));
        assert_eq!(given.log(LogRequest::Configure(filter("debug"))).unwrap().filter, "warn");
    }
}
