//! The metrics of all programs that run on this machine, on one TCP address.

use crate::control::name::{Name, folder, make_folder, names};
use crate::control::notify::{Status, Watchdog, notify};
use crate::control::socket::Listener;
use crate::error::{Error, Result};
use crate::metrics::families::UP;
use crate::metrics::merge::Merged;
use crate::metrics::scrapes::{SYSCALLS as SCRAPE_SYSCALLS, Scrapes};
use crate::sandbox::{self, CapabilitySet, Level, Needs};
use adit_runtime::{Signal, Signals};
use rustix::event::{PollFd, PollFlags, poll};
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// How long a program may take to answer: one that hangs must not keep the page from the others.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);

/// The longest page of a program: 10,000 peers have half of it.
const PAGE_LEN_MAX: u64 = 64 << 20;

/// How many programs are asked at a time.
const THREADS_MAX: usize = 16;

/// The system calls of this file.
const SYSCALLS: &[&str] = &[
    "connect",
    "fstat",
    "getdents64",
    "geteuid",
    "newfstatat",
    "openat",
    "recvfrom",
    "sendto",
    "setsockopt",
    "socket",
];

/// What an exporter needs: the folder of control sockets; for root, which asks the programs of other users as well, the right to
/// connect to theirs.
#[must_use]
pub fn needs() -> Needs {
    let mut needs = Needs { readable: vec![folder()], ..Needs::by_landlock() };
    if rustix::process::geteuid().is_root() {
        needs.capabilities = CapabilitySet::DAC_OVERRIDE;
    }
    needs.syscalls.extend([SCRAPE_SYSCALLS, SYSCALLS]);
    needs
}

/// Serves the page at `listener` until a signal ends it. `note` is called with the stages of the sandbox that are refused.
///
/// # Errors
/// EMFILE, ENOMEM at the start; the sandbox cannot be entered, with [`Level::Require`].
pub fn run(listener: Listener, level: Level, note: impl FnMut(String)) -> Result<()> {
    let failed = |error: io::Error| Error::io("start", "the exporter", &error);
    let signals = Signals::new().map_err(failed)?;
    let watchdog = Watchdog::of_environment().map_err(failed)?;
    // What is not there now cannot be read later. Who may not make it reads what others have made.
    let _ = make_folder(&folder());
    // Before the first thread.
    sandbox::enter(level, &needs())?.into_iter().for_each(note);
    let scrapes = Scrapes::start(Some(listener)).map_err(failed)?;
    notify(Status::Ready);
    loop {
        let mut fds =
            vec![PollFd::new(&signals, PollFlags::IN), PollFd::new(&scrapes, PollFlags::IN)];
        fds.extend(watchdog.iter().map(|watchdog| PollFd::new(&watchdog.0, PollFlags::IN)));
        // EINTR alone may come of it.
        let _ = poll(&mut fds, None);
        let is_watched = fds.get(2).is_some_and(|fd| !fd.revents().is_empty());
        if is_watched {
            watchdog.iter().for_each(Watchdog::report);
        }
        let mut ends = signals.read();
        if ends.any(|signal| matches!(signal, Signal::Interrupt | Signal::Terminate)) {
            notify(Status::Stopping);
            return Ok(());
        }
        if scrapes.is_due() {
            let page = page();
            scrapes.deliver(Box::new(move || page));
        }
    }
}

/// The pages of all programs as one, and whether each of them answered.
fn page() -> String {
    let names = names();
    let mut merged = Merged::default();
    let mut up = format!("# HELP {0} {1}\n# TYPE {0} gauge\n", UP.name, UP.help);
    for some in names.chunks(THREADS_MAX) {
        let pages: Vec<(&Name, Option<String>)> = std::thread::scope(|scope| {
            let asked: Vec<_> =
                some.iter().map(|name| (name, scope.spawn(|| fetch(name).ok()))).collect();
            asked.into_iter().map(|(name, page)| (name, page.join().ok().flatten())).collect()
        });
        for (name, page) in pages {
            let is_up = page.is_some_and(|page| merged.add(&page));
            // A name has no character that must be escaped.
            up += &format!("{}{{name=\"{name}\"}} {}\n", UP.name, u8::from(is_up));
        }
    }
    if !names.is_empty() {
        merged.add(&format!("{up}# EOF\n"));
    }
    merged.text()
}

/// The page of a program.
fn fetch(name: &Name) -> io::Result<String> {
    const REQUEST: &[u8] = b"GET /metrics HTTP/1.1\r\nHost: adit\r\nConnection: close\r\n\
                             Accept: application/openmetrics-text; version=1.0.0\r\n\r\n";
    let end = Instant::now() + ANSWER_WITHIN;
    let mut stream = UnixStream::connect(name.socket_path())?;
    stream.set_write_timeout(Some(ANSWER_WITHIN))?;
    stream.write_all(REQUEST)?;
    let mut stream = stream.take(PAGE_LEN_MAX);
    let (mut reply, mut buf) = (Vec::new(), vec![0; 64 << 10]);
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.get_ref().set_read_timeout(Some(left))?;
        match stream.read(&mut buf)? {
            0 => break,
            len => reply.extend_from_slice(buf.get(..len).unwrap_or_default()),
        }
    }
    let mut fields = [httparse::EMPTY_HEADER; 16];
    let mut head = httparse::Response::new(&mut fields);
    let invalid = || io::Error::from(io::ErrorKind::InvalidData);
    match (head.parse(&reply), head.code) {
        (Ok(httparse::Status::Complete(len)), Some(200)) => {
            let body = reply.split_off(len);
            String::from_utf8(body).map_err(|_| invalid())
        }
        _ => Err(invalid()),
    }
}
