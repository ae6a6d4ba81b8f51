//! Messages to the service manager: `sd_notify(3)`, without its library.

use rustix::fd::OwnedFd;
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::OnceLock;
use std::time::Duration;

/// A message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// The start, or a reload, is done.
    Ready,
    /// A reload begins.
    Reloading,
    /// The end begins.
    Stopping,
    /// The loop still turns.
    Alive,
    /// The process of this number has taken over, and is ready.
    Successor(u32),
}

/// Whether a service manager waits for messages.
#[must_use]
pub fn is_managed() -> bool {
    std::env::var_os("NOTIFY_SOCKET").is_some()
}

/// Sends it to the socket in `NOTIFY_SOCKET`; without that variable it does nothing.
pub fn notify(status: Status) {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let text = match status {
        Status::Ready => "READY=1".to_owned(),
        Status::Stopping => "STOPPING=1".to_owned(),
        Status::Alive => "WATCHDOG=1".to_owned(),
        Status::Successor(pid) => format!("MAINPID={pid}\nREADY=1"),
        Status::Reloading => {
            // systemd wants to know that the READY=1 after this is not an older one.
            let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
            let usec = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1000;
            format!("RELOADING=1\nMONOTONIC_USEC={usec}")
        }
    };
    let bytes = path.as_encoded_bytes();
    let address = match bytes.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(&path),
    };
    // A manager that has gone is not worth more than this.
    let _ = address.and_then(|address| match socket() {
        Some(socket) => socket.send_to_addr(text.as_bytes(), &address),
        None => Ok(0),
    });
}

/// The socket that messages are sent from: opened once, before a sandbox forbids it.
pub fn socket() -> Option<&'static UnixDatagram> {
    static SOCKET: OnceLock<Option<UnixDatagram>> = OnceLock::new();
    let open = || {
        std::env::var_os("NOTIFY_SOCKET")?;
        let socket = UnixDatagram::unbound().ok()?;
        socket.set_nonblocking(true).ok().map(|()| socket)
    };
    SOCKET.get_or_init(open).as_ref()
}

/// The timer of a loop that a service manager watches (`WatchdogSec=`): a loop that hangs stops sending
/// [`Status::Alive`], and the manager restarts the service.
#[derive(Debug)]
pub struct Watchdog(pub OwnedFd);

impl Watchdog {
    /// A timer at half the interval in `WATCHDOG_USEC`; `None` if the manager does not watch this process
    /// (`sd_watchdog_enabled(3)`).
    ///
    /// # Errors
    /// EMFILE, ENFILE, ENOMEM of `timerfd_create(2)`.
    pub fn of_environment() -> io::Result<Option<Self>> {
        let variable = |name| std::env::var(name).ok();
        let pid = variable("WATCHDOG_PID");
        if pid.is_some_and(|pid| pid.parse() != Ok(std::process::id())) {
            return Ok(None);
        }
        let interval = variable("WATCHDOG_USEC").and_then(|text| text.parse::<u64>().ok());
        interval.filter(|usec| *usec > 1).map(|usec| Self::every(usec / 2)).transpose()
    }

    fn every(usec: u64) -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = rustix::time::timerfd_create(TimerfdClockId::Monotonic, flags)?;
        let time = Timespec::try_from(Duration::from_micros(usec))
            .map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        let times = Itimerspec { it_interval: time, it_value: time };
        rustix::time::timerfd_settime(&timer, TimerfdTimerFlags::empty(), &times)?;
        Ok(Self(timer))
    }

    /// Reports that the loop turns, and makes the timer wait for its next interval.
    pub fn report(&self) {
        // EAGAIN: nothing has expired since.
        if rustix::io::read(&self.0, &mut [0; 8]).is_ok() {
            notify(Status::Alive);
        }
    }
}
