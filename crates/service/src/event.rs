//! What a service reports by itself: on standard error for people, with `--json` one line each.
//!
//! ```text
//! service, its threads  -- Events (cheap to clone) -->  Observer: prints, counts, forwards
//! ```
//!
//! The service's loop waits for its observer, so an observer must not block: `adit` writes through a
//! [`Sink`](adit_runtime::record::sink::Sink), which drops lines when its reader is too slow.

use crate::control::CONTROL;
use crate::error::{Error, Kind, Result};
use crate::journal::Journal;
use crate::log::{Filter, LogRequest, LogStatus};
use crate::netem::report::LinkStatus;
use crate::netem::report::Links;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tracing::Level;

/// Something that happened.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(tag = "event", rename_all = "kebab-case")]
#[schemars(title = "adit switch, adit netem, adit tunnel up: one line")]
#[non_exhaustive]
pub enum Event {
    /// The service is running.
    Ready {
        /// Its name.
        name: String,
        /// Its control socket.
        #[serde(skip_serializing_if = "Option::is_none")]
        socket: Option<PathBuf>,
        /// Its ports.
        ports: Vec<String>,
    },
    /// A port was added.
    PortAdded {
        /// Its name.
        port: String,
    },
    /// A port was removed on request.
    PortRemoved {
        /// Its name.
        port: String,
    },
    /// A port ended by itself.
    PortGone {
        /// Its name.
        port: String,
        /// Why.
        reason: String,
    },
    /// The link of a port went down.
    PortDown {
        /// Its name.
        port: String,
    },
    /// The link of a port came up.
    PortUp {
        /// Its name.
        port: String,
    },
    /// A mirror ended by itself.
    MirrorEnded {
        /// Its file or port.
        mirror: String,
        /// Why.
        reason: String,
    },
    /// The engine reports a loop, a moved address or a storm.
    News {
        /// The ports concerned.
        ports: Vec<String>,
        /// What happened.
        message: String,
    },
    /// The configuration was reloaded.
    Reloaded {
        /// What was done.
        done: Vec<String>,
    },
    /// The emulated link of a port was removed: its settings and its counters.
    LinkEnded {
        /// The port.
        port: String,
        /// Both directions.
        link: Box<Links>,
    },
    /// An emulated link has ended: its settings and its counters.
    Report {
        /// Both directions.
        link: Box<LinkStatus>,
    },
    /// A peer of a tunnel connected.
    PeerConnected {
        /// Its public key.
        peer: String,
        /// Where it is.
        #[serde(skip_serializing_if = "Option::is_none")]
        endpoint: Option<String>,
    },
    /// A peer of a tunnel was silent for its timeout.
    PeerDisconnected {
        /// Its public key.
        peer: String,
        /// For how many seconds it was silent.
        silent_s: u64,
    },
    /// A part of a lab has changed.
    Part {
        /// A node, a link, or a program: `pc`, `pc-lan`, `pc/web`.
        part: String,
        /// What it is now: `ready`, `exited`, `failed`, `healed`.
        state: String,
        /// What happened.
        message: String,
    },
    /// Something failed, and the service continues.
    Failed {
        /// What failed, and why.
        message: String,
    },
    /// The state of the service, after SIGUSR1: the output of `show --json`.
    Status {
        /// The state.
        status: Value,
    },
    /// Something that a user should know.
    Note {
        /// What.
        message: String,
    },
    /// Something that a user may want to know: printed with `-v`.
    Detail {
        /// What.
        message: String,
    },
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready { name, socket, ports } => {
                write!(f, "'{name}' is running")?;
                if !ports.is_empty() {
                    write!(f, ": {}", ports.join(", "))?;
                }
                match socket {
                    Some(path) => write!(f, " (control socket {})", path.display()),
                    None => f.write_str(" (no control socket)"),
                }
            }
            Self::PortAdded { port } => write!(f, "{port} added"),
            Self::PortRemoved { port } => write!(f, "{port} removed"),
            Self::PortGone { port, reason } => write!(f, "{port} gone: {reason}"),
            Self::PortDown { port } => write!(f, "{port} is down"),
            Self::PortUp { port } => write!(f, "{port} is up"),
            Self::MirrorEnded { mirror, reason } => write!(f, "mirror {mirror} ended: {reason}"),
            Self::LinkEnded { port, .. } => write!(f, "the link of {port} has ended"),
            Self::Report { link } => write!(f, "'{}' has ended", link.name),
            Self::PeerConnected { peer, .. } => write!(f, "{peer} is connected"),
            Self::PeerDisconnected { peer, silent_s } => {
                write!(f, "{peer} is disconnected: silent for {silent_s} s")
            }
            Self::Status { status } => status.fmt(f),
            Self::Reloaded { done } if done.is_empty() => f.write_str("reloaded: nothing changed"),
            Self::Reloaded { done } => write!(f, "reloaded: {}", done.join(", ")),
            Self::News { message, .. }
            | Self::Part { message, .. }
            | Self::Failed { message }
            | Self::Note { message }
            | Self::Detail { message } => f.write_str(message),
        }
    }
}

/// How a note begins that is a warning.
const WARNING: &str = "warning: ";

impl Event {
    /// How important it is.
    #[must_use]
    pub fn level(&self) -> Level {
        match self {
            Self::Failed { .. } => Level::ERROR,
            Self::PortGone { .. }
            | Self::PortDown { .. }
            | Self::MirrorEnded { .. }
            | Self::News { .. } => Level::WARN,
            Self::Note { message } if message.starts_with(WARNING) => Level::WARN,
            Self::PeerConnected { .. } | Self::PeerDisconnected { .. } | Self::Detail { .. } => {
                Level::DEBUG
            }
            _ => Level::INFO,
        }
    }
}

/// Receives events. After [`Observer::start`] it must not block: the loop of the service waits for it.
pub trait Observer: Send {
    /// Something happened.
    fn event(&mut self, event: &Event);

    /// Writes what waits for a slow reader; called about once a second.
    fn flush(&mut self) {}

    /// Packets move from now on. The process enters no namespace any more, so an observer may start a thread.
    fn start(&mut self) {}

    /// Reports or changes what is logged.
    ///
    /// # Errors
    /// This observer has no log.
    fn log(&mut self, request: LogRequest) -> Result<LogStatus> {
        let _ = request;
        Err(Error::new(Kind::Refused, &CONTROL, "this program has no log"))
    }
}

/// Sends events to an observer and to a journal, from any thread.
#[derive(Clone)]
pub struct Events {
    observer: Arc<Mutex<dyn Observer>>,
    journal: Arc<Journal>,
}

impl Events {
    /// Events for this observer.
    pub fn new(observer: impl Observer + 'static) -> Self {
        Self { observer: Arc::new(Mutex::new(observer)), journal: Arc::default() }
    }

    /// Events that nobody observes.
    #[must_use]
    pub fn ignored() -> Self {
        struct Nobody;
        impl Observer for Nobody {
            fn event(&mut self, _: &Event) {}
        }
        Self::new(Nobody)
    }

    fn observer(&self) -> MutexGuard<'_, dyn Observer + 'static> {
        self.observer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends an event.
    pub fn send(&self, event: &Event) {
        // A state is asked for by GET, and can be long.
        if !matches!(event, Event::Status { .. })
            && let Ok(text) = serde_json::to_string(event)
        {
            self.journal.push(&text);
        }
        self.observer().event(event);
    }

    /// Sends [`Event::Note`].
    pub fn note(&self, message: impl fmt::Display) {
        self.send(&Event::Note { message: message.to_string() });
    }

    /// Sends [`Event::Detail`].
    pub fn detail(&self, message: impl fmt::Display) {
        self.send(&Event::Detail { message: message.to_string() });
    }

    /// Sends [`Event::Failed`] with all problems of the error.
    pub fn failed(&self, what: impl fmt::Display, error: &Error) {
        let mut message = format!("{what}: {}", error.report.message);
        for problem in &error.report.problems {
            let crate::config::problem::Problem { file, line, column, message: why, help, .. } =
                problem;
            message.push_str(&format!("; {file}:{line}:{column}: {why}"));
            if let Some(help) = help {
                message.push_str(&format!(" ({help})"));
            }
        }
        self.send(&Event::Failed { message });
    }

    /// The last events.
    #[must_use]
    pub const fn journal(&self) -> &Arc<Journal> {
        &self.journal
    }

    /// Writes what waits for a slow reader.
    pub fn flush(&self) {
        self.observer().flush();
    }

    /// As [`Observer::start`].
    pub fn start(&self) {
        self.observer().start();
    }

    /// As [`Observer::log`].
    ///
    /// # Errors
    /// The observer has no log.
    pub fn log(&self, request: LogRequest) -> Result<LogStatus> {
        self.observer().log(request)
    }

    /// Sets the filter of a configuration file.
    pub fn configure_log(&self, filter: Option<&Filter>) {
        // An observer without a log ignores it.
        let _ = self.log(LogRequest::Configure(filter.cloned()));
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}
