//! Programs that run an engine until they are told to end: who owns the loop, answers at the control
//! socket, tells what happens, and reads the configuration again.
//!
//! ```text
//! SIGHUP, SIGINT ...  ->  Runner  -- Event -->  supervisor  <--  control socket
//!                     (loop, ports, engine)     what is wanted, what is told
//! ```

pub mod background;

use crate::config::problem::Problems;
use crate::config::source::Source;
use crate::config::table::Table;
use crate::control::name::{Claim, Name};
use crate::control::notify::Status;
use crate::control::notify::notify;
use crate::control::server::Server;
use crate::error::{Error, Exit, Result};
use crate::output::{Output, clean};
use adit_engine::{Engine, PortId};
use adit_runtime::PortNetem;
use adit_runtime::Runner;
use adit_runtime::record::sink::{Sink, whole_lines};
use adit_runtime::{Interest, Token};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};
use std::cell::RefCell;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How often the engine is asked for news, and recordings and events that wait are written: they are
/// for people.
pub(crate) const TICK: Duration = Duration::from_secs(1);

/// The control socket among the descriptors of a loop.
pub(crate) const CONTROL: Token = Token(0);

/// What a supervisor tells: on standard error for people, with `--json` a line each on standard
/// output.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(tag = "event", rename_all = "kebab-case")]
#[schemars(title = "adit switch, adit netem: one line")]
pub enum Event {
    /// It runs.
    Ready {
        /// Its name.
        name: String,
        /// Where it can be asked.
        #[serde(skip_serializing_if = "Option::is_none")]
        socket: Option<PathBuf>,
        /// Its ports.
        ports: Vec<String>,
    },
    /// A port is there.
    PortAdded {
        /// Its name.
        port: String,
    },
    /// A port was taken away.
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
    /// A recording of copies ended before it was to.
    MirrorEnded {
        /// Where it went.
        mirror: String,
        /// Why.
        reason: String,
    },
    /// The engine has news: a loop, a moved address, a storm.
    News {
        /// The ports that it is about.
        ports: Vec<String>,
        /// What it is.
        message: String,
    },
    /// The configuration was read again.
    Reloaded {
        /// What was done.
        done: Vec<String>,
    },
    /// The cable of a port was taken off: what was asked of it, and what happened.
    LinkEnded {
        /// The port.
        port: String,
        /// Both ways of it.
        link: Box<crate::switch::model::Links>,
    },
    /// A link has ended: what was asked of it, and what happened.
    Report {
        /// All of it.
        link: Box<crate::link::Shown>,
    },
    /// Something did not work, and the rest goes on.
    Failed {
        /// What.
        message: String,
    },
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready { name, socket, ports } => {
                write!(f, "'{name}' runs: {}", ports.join(", "))?;
                match socket {
                    Some(path) => write!(f, " (control socket {})", path.display()),
                    None => f.write_str(" (without a control socket)"),
                }
            }
            Self::PortAdded { port } => write!(f, "{port} added"),
            Self::PortRemoved { port } => write!(f, "{port} removed"),
            Self::PortGone { port, reason } => write!(f, "{port} gone: {reason}"),
            Self::PortDown { port } => write!(f, "{port} is down"),
            Self::PortUp { port } => write!(f, "{port} is up"),
            Self::MirrorEnded { mirror, reason } => write!(f, "mirror {mirror} ended: {reason}"),
            Self::LinkEnded { port, link } => f.write_str(&link.lines(port).join("\n")),
            Self::Report { link } => write!(f, "'{}' has ended", link.name),
            Self::News { message, .. } => f.write_str(message),
            Self::Reloaded { done } if done.is_empty() => f.write_str("reloaded: nothing changed"),
            Self::Reloaded { done } => write!(f, "reloaded: {}", done.join(", ")),
            Self::Failed { message } => f.write_str(message),
        }
    }
}

/// How a program says that it runs, and how it is asked.
#[derive(Debug)]
pub(crate) struct Panel {
    pub(crate) name: Name,
    pub(crate) server: Option<Server>,
    pub(crate) output: Output,
    /// Where events go: never waited for, so that a reader who sleeps stops no packet. `None` after
    /// the reader has gone.
    pub(crate) events: RefCell<Option<Sink>>,
    pub(crate) is_ending: bool,
}

impl Panel {
    /// Claims a name and listens. Without a name that was asked for, the first of `default`,
    /// `default-2`, ... that is free; where sockets cannot be made, it runs without one.
    ///
    /// # Errors
    /// If the name that was asked for is taken, or has no place.
    pub(crate) fn open(name: Option<Name>, default: &'static str, output: Output) -> Result<Self> {
        let listen = |name: Name| -> Result<(Name, Server)> {
            let claim = Claim::new(name.clone())?;
            Ok((name, Server::bind(claim, default)?))
        };
        let (name, server) = match name {
            Some(name) => listen(name).map(|(name, server)| (name, Some(server)))?,
            None => {
                let mut numbered = (1..=NUMBER_MAX).map(|number| match number {
                    1 => default.parse::<Name>(),
                    _ => format!("{default}-{number}").parse(),
                });
                let free = numbered.find_map(|name| match listen(name.ok()?) {
                    Err(error) if error.exit == Exit::Conflict => None,
                    other => Some(other),
                });
                match free {
                    Some(Ok((name, server))) => (name, Some(server)),
                    Some(Err(error)) => {
                        output.note(format_args!("no control socket: {}", error.report.message));
                        (default.parse().map_err(Error::usage)?, None)
                    }
                    None => return Err(Error::usage("too many run; choose a --name")),
                }
            }
        };
        let events =
            if output.json { Sink::stdout(whole_lines) } else { Sink::stderr(whole_lines) };
        let events = RefCell::new(events.ok());
        Ok(Self { name, server, output, events, is_ending: false })
    }

    pub(crate) fn watch<E: Engine>(&self, runner: &Runner<E>) -> Result<()> {
        let Some(server) = &self.server else { return Ok(()) };
        let readable = Interest { readable: true, writable: false };
        runner
            .watch(server, CONTROL, readable)
            .map_err(|error| Error::io("watch", "the control socket", &error))
    }

    pub(crate) fn ready(&self, ports: Vec<String>) {
        let socket = self.server.as_ref().map(|_| self.name.socket_path());
        self.tell(&Event::Ready { name: self.name.to_string(), socket, ports });
        notify(Status::Ready);
    }

    pub(crate) fn tell(&self, event: &Event) {
        if !self.output.json {
            // Each line by itself, for an end of line is none of the characters that may stand in one.
            let lines: Vec<String> = event.to_string().lines().map(clean).collect();
            return self.write(&lines.join("\n"));
        }
        // An event is numbers and strings: it always has a JSON form.
        if let Ok(text) = serde_json::to_string(event) {
            self.write(&text);
        }
    }

    /// Writes lines; those for which a slow reader leaves no room are lost.
    pub(crate) fn write(&self, text: &str) {
        if self.output.quiet && !self.output.json {
            return;
        }
        if let Some(sink) = &mut *self.events.borrow_mut() {
            // What fails here is seen by `flush`.
            let _ = sink.append(format!("{text}\n").as_bytes(), Instant::now());
        }
        self.flush();
    }

    /// Writes what waits for its reader.
    pub(crate) fn flush(&self) {
        let mut events = self.events.borrow_mut();
        if events.as_mut().is_some_and(|sink| sink.flush().is_err()) {
            // A reader of events that went away is no reason to stop the traffic.
            *events = None;
        }
    }

    /// Tells what the links of a port did, if it had any.
    pub(crate) fn link_ended(&self, port: &str, netem: &PortNetem) {
        if let Some(link) = crate::switch::model::Links::new(netem) {
            self.tell(&Event::LinkEnded { port: port.to_owned(), link: Box::new(link) });
        }
    }

    /// Tells of what did not work.
    pub(crate) fn failed(&self, what: &str, error: &Error) {
        let mut message = format!("{what}: {}", error.report.message);
        for problem in &error.report.problems {
            message.push_str(&format!(
                "; {}:{}:{}: {}",
                problem.file, problem.line, problem.column, problem.message
            ));
        }
        self.tell(&Event::Failed { message });
    }

    pub(crate) fn finish(self) {
        notify(Status::Stopping);
        if let Some(server) = self.server {
            server.finish();
        }
    }
}

/// How long is waited until the same is told again.
pub(crate) const SELDOM: Duration = Duration::from_secs(1);

/// What may happen with each packet of a stranger, and is told of once a second at most.
#[derive(Debug, Default)]
pub(crate) struct Seldom {
    pub(crate) told: Option<adit_packet::Instant>,
    pub(crate) untold: u64,
}

impl Seldom {
    /// It happened again; how often since it was told of, if it is to be told of now.
    pub(crate) fn happens(&mut self, now: adit_packet::Instant) -> Option<u64> {
        self.untold += 1;
        if self.told.is_some_and(|told| now.since(told) < SELDOM) {
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
}

/// `once`, `7 times`.
pub(crate) fn times(count: u64) -> String {
    if count == 1 { "once".to_owned() } else { format!("{count} times") }
}

/// How many of one kind get a name by themselves.
pub(crate) const NUMBER_MAX: u32 = 64;

/// Numbers for ports: one after the other, so that none comes again soon.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    pub(crate) last: u16,
}

impl Numbers {
    /// The next number that is not `taken`; `None` if all are.
    pub(crate) fn next(&mut self, taken: impl Fn(PortId) -> bool) -> Option<PortId> {
        for _ in 0..u16::MAX {
            self.last = self.last.wrapping_add(1);
            if !taken(PortId(self.last)) {
                return Some(PortId(self.last));
            }
        }
        None
    }
}

/// 64 bits that nobody can foresee.
pub(crate) fn random() -> Result<u64> {
    use std::io::Read;
    let mut bytes = [0; 8];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .map_err(|error| Error::io("read", "/dev/urandom", &error))?;
    Ok(u64::from_ne_bytes(bytes))
}

/// A model as a value.
pub(crate) fn value(model: &impl Serialize) -> Result<Value> {
    serde_json::to_value(model).map_err(|error| Error::from(std::io::Error::from(error)))
}

/// What `read` makes of the keys of a request; files that it names are from the folder that it tells.
///
/// # Errors
/// All its mistakes.
pub(crate) fn read_request<T>(body: &Value, read: impl FnOnce(&mut Table<'_>) -> T) -> Result<T> {
    let (object, folder) = object_of(body)?;
    let source = Source::request(&folder);
    let problems = Problems::default();
    let mut table = source.json(&object, &problems);
    let result = read(&mut table);
    table.finish();
    problems.check("the request")?;
    Ok(result)
}

/// The object of a request, and the folder from which its files are.
pub(crate) fn object_of(body: &Value) -> Result<(Map<String, Value>, PathBuf)> {
    let mut object = match body {
        Value::Object(object) => object.clone(),
        Value::Null => Map::new(),
        _ => return Err(Error::usage("the body of the request is to be an object")),
    };
    let folder = match object.remove("cwd") {
        None => PathBuf::from("/"),
        Some(Value::String(folder)) if Path::new(&folder).is_absolute() => folder.into(),
        Some(_) => return Err(Error::usage("`cwd` is to be an absolute path")),
    };
    Ok((object, folder))
}
