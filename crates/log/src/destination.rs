//! Where messages go: standard error, or the socket of the journal.

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{AtFlags, FileType, Statx, StatxFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::str::FromStr;

/// The socket of systemd-journald.
const JOURNAL: &str = "/run/systemd/journal/socket";

/// How long a write to a descriptor that does not block waits for its reader, in seconds.
const READER_WITHIN: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// How messages are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Lines for people, on standard error.
    Text,
    /// A line of JSON for each message, on standard error.
    Json,
    /// Fields, to the journal.
    Journal,
}

impl Format {
    /// The words for the formats.
    pub const WORDS: [&str; 3] = ["text", "json", "journal"];

    /// The journal if standard error leads there, as systemd reports it; otherwise text.
    #[must_use]
    pub fn of_environment() -> Self {
        let Some(named) = std::env::var_os("JOURNAL_STREAM") else { return Self::Text };
        // It is inherited by programs that have another standard error: device and inode say which one it is.
        let is_it = stderr_file().is_ok_and(|found| {
            let device = rustix::fs::makedev(found.stx_dev_major, found.stx_dev_minor);
            named.to_str() == Some(&format!("{device}:{}", found.stx_ino))
        });
        if is_it { Self::Journal } else { Self::Text }
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            "journal" => Ok(Self::Journal),
            _ => Err(format!("the formats are {}", Self::WORDS.join(", "))),
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Json => "json",
            Self::Journal => "journal",
        })
    }
}

/// Where bytes go, and how messages are written there.
#[derive(Debug)]
pub(crate) struct Destination {
    pub(crate) format: Format,
    way: Way,
}

#[derive(Debug)]
enum Way {
    /// Standard error, whatever descriptor 2 is at the moment: a program in the background replaces it.
    Stderr {
        /// Whether the last line lacks its end.
        is_torn: bool,
    },
    /// A datagram for each message. The socket is connected, so that a program that sees no files any more reaches it.
    Socket(OwnedFd),
}

/// Whether standard error is a file, which a program in the background keeps.
#[must_use]
pub fn is_stderr_a_file() -> bool {
    stderr_file().is_ok_and(|found| FileType::from_raw_mode(found.stx_mode.into()).is_file())
}

fn stderr_file() -> rustix::io::Result<Statx> {
    // Not fstat(2), which the sandbox forbids.
    let stderr = rustix::stdio::stderr();
    rustix::fs::statx(stderr, c"", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS)
}

impl Destination {
    /// Standard error.
    pub(crate) const fn stderr(format: Format) -> Self {
        Self { format, way: Way::Stderr { is_torn: false } }
    }

    /// A connected socket that takes a message as a datagram.
    pub(crate) const fn socket(format: Format, socket: OwnedFd) -> Self {
        Self { format, way: Way::Socket(socket) }
    }

    /// The journal.
    ///
    /// # Errors
    /// Nobody listens there.
    pub(crate) fn journal() -> io::Result<Self> {
        let socket = rustix::net::socket_with(
            AddressFamily::UNIX,
            SocketType::DGRAM,
            SocketFlags::CLOEXEC,
            None,
        )?;
        rustix::net::connect(&socket, &SocketAddrUnix::new(JOURNAL)?)?;
        Ok(Self::socket(Format::Journal, socket))
    }

    /// Writes one message; `false` if it was lost. Blocks while the reader is slow.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> bool {
        match &mut self.way {
            Way::Stderr { is_torn } => {
                if *is_torn && write_all(b"\n") != 1 {
                    return false;
                }
                let written = write_all(bytes);
                *is_torn = written > 0 && written < bytes.len();
                written == bytes.len()
            }
            // A datagram is taken as a whole or not at all.
            Way::Socket(socket) => loop {
                match rustix::io::write(&*socket, bytes) {
                    Ok(_) => return true,
                    Err(Errno::INTR) => {}
                    Err(_) => return false,
                }
            },
        }
    }
}

/// Writes to descriptor 2, past the lock of [`io::Stderr`]: another thread may print while this one waits for a slow
/// reader. Returns how much was written.
fn write_all(bytes: &[u8]) -> usize {
    let mut written = 0;
    while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
        match rustix::io::write(rustix::stdio::stderr(), rest) {
            Ok(len) if len > 0 => written += len,
            Err(Errno::INTR) => {}
            // Another program has made the shared descriptor non-blocking.
            Err(Errno::AGAIN) if is_writable() => {}
            _ => break,
        }
    }
    written
}

/// Waits until descriptor 2 takes bytes, for [`READER_WITHIN`] at most.
fn is_writable() -> bool {
    let mut fds = [PollFd::from_borrowed_fd(rustix::stdio::stderr(), PollFlags::OUT)];
    matches!(rustix::event::poll(&mut fds, Some(&READER_WITHIN)), Ok(1..) | Err(Errno::INTR))
}
