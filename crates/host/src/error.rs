//! Failures: their kind, their text, and the codes that `adit explain` knows.

use crate::problem::Problem;
use adit_runtime::error::Details;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io;
use std::path::Path;

/// A failure with its cause and its remedy. It prints as its message.
#[derive(Debug)]
pub struct Error {
    /// What kind of failure it is: programs branch on it.
    pub kind: Kind,
    /// The rest. Boxed: a `Result` with it is passed about, and is rarely an error.
    pub report: Box<Report>,
}

/// The result of what can fail with an [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The JSON object for an error, on standard error.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "adit error")]
pub struct Report {
    /// The stable code, for `adit explain`.
    pub code: String,
    /// What was tried on what, and why it failed.
    pub message: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The kernel's number, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errno: Option<i32>,
    /// The device, namespace or file that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// What had been done before the failure.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub done: Vec<String>,
    /// The problems of a configuration, each with its place.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<Problem>,
}

impl Error {
    /// A failure described by `entry`.
    pub fn new(kind: Kind, entry: &Entry, message: impl fmt::Display) -> Self {
        let report = Report {
            code: entry.code.to_owned(),
            message: message.to_string(),
            hint: Some(entry.remedy.to_owned()).filter(|hint| !hint.is_empty()),
            errno: None,
            object: None,
            done: Vec::new(),
            problems: Vec::new(),
        };
        Self { kind, report: Box::new(report) }
    }

    /// Options or a request that cannot be used.
    pub fn usage(message: impl fmt::Display) -> Self {
        Self::new(Kind::Usage, &USAGE, message)
    }

    /// All problems of the configuration `what`.
    pub fn of_problems(what: impl fmt::Display, problems: Vec<Problem>, has_more: bool) -> Self {
        let more = if has_more { "more than " } else { "" };
        let count = problems.len();
        let noun = if count == 1 { "error" } else { "errors" };
        let message = format!("{what} has {more}{count} {noun}");
        let mut error = Self::new(Kind::Usage, &CONFIG, message).object(what);
        let mut files = problems.iter().map(|problem| &problem.file);
        let file = files.next().filter(|first| files.all(|file| file == *first));
        if problems.iter().all(|problem| !Path::new(&problem.file).exists()) {
            error = error.hint("Fix what is listed above, then try again.");
        } else if let Some(file) = file {
            error = error.hint(CONFIG.remedy.replace("FILE", file));
        }
        error.report.problems = problems;
        error
    }

    /// A failure of the operating system on `object` while doing `what`.
    pub fn io(what: &str, object: impl fmt::Display, error: &io::Error) -> Self {
        adit_runtime::error::Error::io(what, object, error).into()
    }

    /// The same failure on `object`.
    pub fn object(mut self, object: impl fmt::Display) -> Self {
        self.report.object = Some(object.to_string());
        self
    }

    /// The same failure with another remedy.
    pub fn hint(mut self, hint: impl fmt::Display) -> Self {
        self.report.hint = Some(hint.to_string());
        self
    }

    /// The same failure after `done` was done.
    pub fn after(mut self, done: Vec<String>) -> Self {
        self.report.done = done;
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.report.message)
    }
}

impl std::error::Error for Error {}

impl From<adit_device::Error> for Error {
    fn from(error: adit_device::Error) -> Self {
        adit_runtime::error::Error::from(error).into()
    }
}

impl From<adit_runtime::error::Error> for Error {
    fn from(error: adit_runtime::error::Error) -> Self {
        let Details { kind, code, message, hint, errno, object } = error.into_details();
        let (done, problems) = (Vec::new(), Vec::new());
        let report = Report { code, message, hint, errno, object, done, problems };
        Self { kind, report: Box::new(report) }
    }
}

/// A failure to write the output.
impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::io("write", "the output", &error)
    }
}

/// The interface is not a TUN or TAP device.
pub const NOT_A_DEVICE: Entry = Entry {
    code: "ADIT-E0802",
    title: "the interface is not a TUN or TAP device",
    explanation: "There is an interface of that name, but another driver made it. 'adit dev' and \
                  'adit tuntap' change and delete only TUN and TAP devices, so that a typo \
                  does not delete a network card.",
    remedy: "List TUN and TAP devices: 'adit dev show'. List all interfaces: 'ip link'.",
};

/// A program has the device open.
pub const HELD: Entry = Entry {
    code: "ADIT-E0805",
    title: "a program holds the device",
    explanation: "Owner, group and persistence of a TUN or TAP device are set through a queue of \
                  it. While another program holds one, a second holder would reset the header \
                  length and the offloads under its feet.",
    remedy: "End the program that holds it ('adit dev show NAME' shows it), then try again.",
};

/// No program has the device open.
pub const NOT_HELD: Entry = Entry {
    code: "ADIT-E0807",
    title: "a device that no program holds has no carrier",
    explanation: "The driver gives a TUN or TAP device its carrier when a program attaches to it, \
                  takes it away when the last one leaves, and lets nobody change that in between.",
    remedy: "Start the program that uses the device, then set the carrier.",
};

/// A configuration has errors.
const CONFIG: Entry = Entry {
    code: "ADIT-E0821",
    title: "the configuration has errors",
    explanation: "A file, or the options of a port on the command line, has unknown keys or invalid \
                  values, or is not TOML. All errors are listed with their places. Nothing was changed; \
                  a running program continues with its old configuration.",
    remedy: "Fix the lines listed above, then run 'adit check FILE' again.",
};

/// The codes of the program itself; those of the libraries come on top.
pub const CATALOG: [Entry; 4] = [NOT_A_DEVICE, HELD, NOT_HELD, CONFIG];

pub use adit_runtime::error::{Entry, Kind, NETNS, SYSTEM, USAGE};

/// The kinds of failure by their numbers in the protocol, which are the exit statuses of the client.
const NUMBERS: [(Kind, u8); 7] = [
    (Kind::Usage, 2),
    (Kind::Permission, 3),
    (Kind::NotFound, 4),
    (Kind::Conflict, 5),
    (Kind::Timeout, 6),
    (Kind::Refused, 7),
    // Partly done: the error lists what was.
    (Kind::Refused, PARTLY),
];

/// The number of any failure after something was done.
const PARTLY: u8 = 8;

/// The number of a failure in the protocol.
#[must_use]
pub fn number_of(error: &Error) -> u8 {
    if !error.report.done.is_empty() {
        return PARTLY;
    }
    let number = NUMBERS.iter().find(|(kind, _)| *kind == error.kind).map(|(_, number)| *number);
    number.unwrap_or(7)
}

/// The kind of failure with this number.
#[must_use]
pub fn kind_of(number: u64) -> Option<Kind> {
    NUMBERS.iter().find(|(_, known)| u64::from(*known) == number).map(|(kind, _)| *kind)
}
