//! The side that asks.

use crate::control::http;
use crate::control::http::Method;
use crate::control::name::Name;
use crate::control::name::names;
use crate::control::{CONTROL, NOT_RUNNING, option_of};
use crate::error::kind_of;
use crate::error::{Error, Kind, Report, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

/// How long a program may take to answer: it does so between two batches of packets.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// How long it may take to change something: files of hundreds of megabytes are read for it.
const CHANGE_WITHIN: Duration = Duration::from_secs(60);

/// The same where many are asked, of which one may be stopped.
pub(super) const LIST_WITHIN: Duration = Duration::from_secs(3);

/// The longest reply that is read: twice what a program sends.
const REPLY_LEN_MAX: u64 = 64 << 20;

/// A program that runs.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[schemars(title = "adit: a program that runs")]
pub struct Instance {
    /// Its name.
    pub name: String,
    /// What it is: switch, netem or tunnel.
    pub kind: String,
    /// Its process.
    pub pid: u32,
    /// Its version of adit.
    pub version: String,
    /// For how many seconds it has been running.
    pub uptime_s: u64,
}

/// One program that can be asked.
#[derive(Clone, Debug)]
pub struct Client {
    name: Name,
    path: PathBuf,
    within: Duration,
}

impl Client {
    fn new(name: Name, within: Duration) -> Self {
        let path = name.socket_path();
        Self { name, path, within }
    }

    /// The program that listens at `path`.
    #[must_use]
    pub fn at(name: Name, path: PathBuf) -> Self {
        Self { name, path, within: ANSWER_WITHIN }
    }

    /// As [`Client::at`], of a program that may take so long to answer.
    pub(super) const fn within(name: Name, path: PathBuf, within: Duration) -> Self {
        Self { name, path, within }
    }

    /// The program of a name, if it is of that kind.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if nobody listens, [`Kind::Conflict`] if it is of another kind.
    pub fn named(name: Name, kind: &str) -> Result<Self> {
        let client = Self::new(name, ANSWER_WITHIN);
        let about = client.about()?;
        if about.kind == kind {
            return Ok(client);
        }
        let message = format!("'{}' is a {}, no {kind}", client.name, about.kind);
        let hint = format!("Ask it by 'adit {} ...'.", about.kind);
        Err(Error::new(Kind::Conflict, &CONTROL, message).object(client.name).hint(hint))
    }

    /// The program of a name, or without one the only one of that kind.
    ///
    /// # Errors
    /// As [`Client::named`]; if there is none, or several.
    pub fn find(name: Option<Name>, kind: &str) -> Result<Self> {
        if let Some(name) = name {
            return Self::named(name, kind);
        }
        let running = instances(kind);
        match running.as_slice() {
            [one] => Ok(Self::new(parse(&one.name)?, ANSWER_WITHIN)),
            [] => {
                let message = format!("no {kind} is running");
                let hint = match kind {
                    "lab" => "Start one: 'adit lab up FILE'.",
                    _ => NOT_RUNNING.remedy,
                };
                Err(Error::new(Kind::NotFound, &NOT_RUNNING, message).hint(hint))
            }
            several => {
                let names: Vec<&str> = several.iter().map(|one| one.name.as_str()).collect();
                Err(ambiguous(kind, &names))
            }
        }
    }

    /// The program of a name, of any kind, or without one the only one that runs.
    ///
    /// # Errors
    /// As [`Client::find`].
    pub fn of_any_kind(name: Option<Name>) -> Result<Self> {
        if let Some(name) = name {
            return Ok(Self::new(name, ANSWER_WITHIN));
        }
        let running = running();
        let names: Vec<&str> = running.iter().map(|one| one.name.as_str()).collect();
        match names.as_slice() {
            [one] => Ok(Self::new(parse(one)?, ANSWER_WITHIN)),
            [] => Err(Error::new(Kind::NotFound, &NOT_RUNNING, "no program is running")),
            several => {
                let message = format!("more than one program is running: {}", several.join(", "));
                Err(Error::usage(message).hint("Add the name of one of them."))
            }
        }
    }

    /// As [`Client::find`]; without a name and with several running, the only one that has `path`.
    ///
    /// # Errors
    /// As [`Client::find`]; if several have it.
    pub fn find_with(name: Option<Name>, kind: &str, path: &str) -> Result<Self> {
        let running = if name.is_none() { instances(kind) } else { Vec::new() };
        if running.len() < 2 {
            return Self::find(name, kind);
        }
        let names = running.iter().filter_map(|one| one.name.parse().ok());
        let clients = names.map(|name| Self::new(name, ANSWER_WITHIN));
        let mut having: Vec<Self> = clients.filter(|client| client.get(path).is_ok()).collect();
        match having.len() {
            0 => Self::find(None, kind),
            1 => Ok(having.remove(0)),
            _ => {
                let names: Vec<&str> = having.iter().map(|one| one.name.as_str()).collect();
                Err(ambiguous(kind, &names))
            }
        }
    }

    /// The name of the program.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// Asks.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub fn get(&self, path: &str) -> Result<Value> {
        self.send(Method::Get, path, &Value::Null)
    }

    /// Sends a request, and returns the body of the reply.
    ///
    /// # Errors
    /// The program's own, as if it had happened here; that it does not run or does not answer.
    pub fn send(&self, method: Method, path: &str, body: &Value) -> Result<Value> {
        let bytes = self.exchange(method, path, body)?;
        let Some((status, body)) = http::parse_reply(&bytes) else {
            let message = format!("'{}' sent an invalid reply", self.name);
            return Err(Error::new(Kind::Refused, &CONTROL, message).object(&self.name));
        };
        if status == 200 {
            return Ok(body);
        }
        Err(self.refusal(status, body))
    }

    /// What the program is.
    pub(super) fn about(&self) -> Result<Instance> {
        serde_json::from_value(self.get("/")?).map_err(|error| {
            let message = format!("'{}' runs another version of adit: {error}", self.name);
            Error::new(Kind::Refused, &CONTROL, message).object(&self.name)
        })
    }

    fn exchange(&self, method: Method, path: &str, body: &Value) -> Result<Vec<u8>> {
        let mut stream = UnixStream::connect(&self.path).map_err(|error| self.unreached(&error))?;
        let within = if method == Method::Get { self.within } else { CHANGE_WITHIN };
        let mut exchange = || -> io::Result<Vec<u8>> {
            stream.set_read_timeout(Some(within))?;
            stream.set_write_timeout(Some(within))?;
            // A server that refuses before it has read all has told why.
            let sent = stream.write_all(&http::request(method, path, body));
            let mut bytes = Vec::new();
            let received = (&mut stream).take(REPLY_LEN_MAX).read_to_end(&mut bytes);
            if bytes.is_empty() {
                sent?;
                received?;
            }
            Ok(bytes)
        };
        exchange().map_err(|error| {
            let mut new = Error::io("ask", format_args!("'{}'", self.name), &error);
            new.report.code = CONTROL.code.to_owned();
            if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) {
                new.kind = Kind::Timeout;
            }
            new
        })
    }

    fn unreached(&self, error: &io::Error) -> Error {
        use io::ErrorKind::{ConnectionRefused, NotFound, PermissionDenied};
        let name = &self.name;
        let new = match error.kind() {
            NotFound => {
                let message = format!("no program named '{name}' is running");
                Error::new(Kind::NotFound, &NOT_RUNNING, message)
            }
            ConnectionRefused => {
                let message = format!("'{name}' is no longer running");
                Error::new(Kind::NotFound, &NOT_RUNNING, message)
            }
            PermissionDenied => {
                let message =
                    format!("permission denied to control '{name}': {}", self.path.display());
                Error::new(Kind::Permission, &CONTROL, message)
                    .hint("Run it as root, or as the user who runs the program.")
            }
            _ => Error::io("reach", format_args!("'{name}'"), error),
        };
        new.object(name)
    }

    /// The error that the program reports, as if it had happened here.
    fn refusal(&self, status: u16, mut body: Value) -> Error {
        let report = body.get_mut("error").map(Value::take);
        let report = report.and_then(|report| serde_json::from_value::<Report>(report).ok());
        let kind = body.get("exit").and_then(Value::as_u64).and_then(kind_of);
        if let (Some(report), Some(kind)) = (report, kind) {
            return Error { kind, report: Box::new(report) };
        }
        let why = body.get("message").and_then(Value::as_str).unwrap_or("no reason given");
        let kind = if status == 403 { Kind::Permission } else { Kind::Refused };
        let message = format!("'{}' refused it: {why}", self.name);
        let error = Error::new(kind, &CONTROL, message).object(&self.name);
        match body.get("hint").and_then(Value::as_str) {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }
}

/// All running programs, in the order of their names.
#[must_use]
pub fn running() -> Vec<Instance> {
    names().into_iter().filter_map(|name| Client::new(name, LIST_WITHIN).about().ok()).collect()
}

/// The running programs of a kind, in the order of their names.
pub fn instances(kind: &str) -> Vec<Instance> {
    running().into_iter().filter(|one| one.kind == kind).collect()
}

/// A request for one of several programs.
fn ambiguous(kind: &str, names: &[&str]) -> Error {
    let message = format!("more than one {kind} matches: {}", names.join(", "));
    let example = names.last().copied().unwrap_or_default();
    let option = option_of(kind);
    Error::usage(message).hint(format!("Add the name of one of them, as '{option} {example}'."))
}

fn parse(name: &str) -> Result<Name> {
    name.parse().map_err(|error| Error::new(Kind::Refused, &CONTROL, error))
}
