//! What is told of a failure, and the status with which the program ends.

use crate::config::Problem;
use adit_device::ErrorKind;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io;

/// The status with which the program ends: `adit --help` lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// Done.
    Ok = 0,
    /// What was asked about is not so.
    NotSo = 1,
    /// The command line is wrong.
    Usage = 2,
    /// A privilege is missing.
    Permission = 3,
    /// There is no such device, user, namespace.
    NotFound = 4,
    /// Another has it, or it is of another kind.
    Conflict = 5,
    /// It took too long.
    Timeout = 6,
    /// The kernel refused it for another reason.
    Refused = 7,
    /// A part was done before the failure.
    Partly = 8,
    /// A thread panicked; what the program had made was taken back.
    Bug = 101,
    /// The reader of the output went away: 128 + SIGPIPE.
    BrokenPipe = 141,
}

impl Exit {
    /// The status of a number, as another adit has told it.
    pub(crate) fn from_code(code: u64) -> Option<Self> {
        const ALL: [Exit; 8] = [
            Exit::NotSo,
            Exit::Usage,
            Exit::Permission,
            Exit::NotFound,
            Exit::Conflict,
            Exit::Timeout,
            Exit::Refused,
            Exit::Partly,
        ];
        ALL.into_iter().find(|exit| *exit as u64 == code)
    }
}

/// The table for `--help` and the man page.
pub(crate) const EXIT_CODES: &str = "\
Exit status:
  0      done
  1      what was asked about is not so (doctor)
  2      the command line or a configuration is wrong
  3      a privilege is missing
  4      there is no such device, address, namespace, program or code
  5      busy, there already, or of another kind
  6      it took too long
  7      the kernel refused it for another reason
  8      a part was done before the failure
  101    a bug of adit: it panicked, and took back what it had made
  128+n  ended by signal n

An error is told on standard error with a code; 'adit explain CODE' says more of it.";

/// A failure, ready to be told.
#[derive(Debug)]
pub(crate) struct Error {
    pub(crate) exit: Exit,
    /// Boxed: a `Result` of it is passed about, and seldom one.
    pub(crate) report: Box<Report>,
}

pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

/// The JSON object for an error, on standard error.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "adit error")]
pub(crate) struct Report {
    /// The stable code, for `adit explain`.
    pub(crate) code: String,
    /// What was tried on what, and why it failed.
    pub(crate) message: String,
    /// What helps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hint: Option<String>,
    /// The kernel's number, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) errno: Option<i32>,
    /// The device, namespace or file that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) object: Option<String>,
    /// What had been done before the failure.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) done: Vec<String>,
    /// The mistakes of a configuration, each with its place.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) problems: Vec<Problem>,
}

impl Error {
    /// A failure that the program itself found; `entry` is of [`CATALOG`].
    pub(crate) fn new(exit: Exit, entry: &Entry, message: impl fmt::Display) -> Self {
        let report = Report {
            code: entry.code.to_owned(),
            message: message.to_string(),
            hint: Some(entry.remedy.to_owned()).filter(|hint| !hint.is_empty()),
            errno: None,
            object: None,
            done: Vec::new(),
            problems: Vec::new(),
        };
        Self { exit, report: Box::new(report) }
    }

    /// A command line that clap takes and that makes no sense all the same.
    pub(crate) fn usage(message: impl fmt::Display) -> Self {
        Self::new(Exit::Usage, &USAGE, message)
    }

    /// A failure of the operating system on `object` while doing `what`.
    pub(crate) fn io(what: &str, object: impl fmt::Display, error: &io::Error) -> Self {
        let errno = adit_device::netlink::raw_errno(error);
        let exit = match errno {
            _ if error.kind() == io::ErrorKind::BrokenPipe => Exit::BrokenPipe,
            Some(errno) => exit_of_errno(errno),
            None => Exit::Refused,
        };
        let mut new = Self::new(exit, &SYSTEM, format_args!("cannot {what} {object}: {error}"));
        new.report.hint = errno.map(|errno| remedy_of_errno(errno).to_owned());
        new.report.errno = errno;
        new.report.object = Some(object.to_string());
        new
    }

    pub(crate) fn object(mut self, object: impl fmt::Display) -> Self {
        self.report.object = Some(object.to_string());
        self
    }

    pub(crate) fn hint(mut self, hint: impl fmt::Display) -> Self {
        self.report.hint = Some(hint.to_string());
        self
    }

    /// The same failure after `done` was done already.
    pub(crate) fn after(mut self, done: Vec<String>) -> Self {
        if !done.is_empty() {
            self.exit = Exit::Partly;
            self.report.done = done;
        }
        self
    }
}

impl From<adit_device::Error> for Error {
    fn from(error: adit_device::Error) -> Self {
        let report = Report {
            code: error.code().to_owned(),
            message: error.to_string(),
            hint: Some(error.remedy()).filter(|hint| !hint.is_empty()),
            errno: error.errno(),
            object: Some(error.object().to_owned()),
            done: Vec::new(),
            problems: Vec::new(),
        };
        Self { exit: exit_of(error.kind(), error.errno()), report: Box::new(report) }
    }
}

/// A failure to write the output.
impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::io("write", "the output", &error)
    }
}

fn exit_of(kind: ErrorKind, errno: Option<i32>) -> Exit {
    match kind {
        ErrorKind::NotPermitted => Exit::Permission,
        ErrorKind::NotFound | ErrorKind::DeviceGone => Exit::NotFound,
        ErrorKind::Busy | ErrorKind::Exists | ErrorKind::Mismatch => Exit::Conflict,
        ErrorKind::InvalidName | ErrorKind::InvalidValue => Exit::Usage,
        ErrorKind::WouldBlock => Exit::Timeout,
        ErrorKind::Other => errno.map_or(Exit::Refused, exit_of_errno),
        _ => Exit::Refused,
    }
}

fn exit_of_errno(errno: i32) -> Exit {
    use rustix::io::Errno;
    match Errno::from_raw_os_error(errno) {
        Errno::PERM | Errno::ACCESS => Exit::Permission,
        Errno::NOENT | Errno::NODEV | Errno::SRCH | Errno::ADDRNOTAVAIL => Exit::NotFound,
        Errno::BUSY | Errno::EXIST => Exit::Conflict,
        Errno::TIMEDOUT => Exit::Timeout,
        _ => Exit::Refused,
    }
}

/// What helps in most cases of an error number.
fn remedy_of_errno(errno: i32) -> &'static str {
    use rustix::io::Errno;
    match Errno::from_raw_os_error(errno) {
        Errno::PERM | Errno::ACCESS => "Run it as root, or as a user who may do that.",
        Errno::NOENT | Errno::NOTDIR => "See whether the path is right; folders are not made.",
        Errno::ISDIR => "Name a file: this is a folder.",
        Errno::NODEV => "See 'ip link' for the interfaces that there are.",
        Errno::ADDRINUSE => "Another program has that address: end it, or choose another one.",
        Errno::ADDRNOTAVAIL => "See 'ip address' for the addresses that this host has.",
        Errno::NETUNREACH | Errno::HOSTUNREACH => "See 'ip route' for the way there.",
        Errno::MFILE | Errno::NFILE => "Raise the limit of open files: 'ulimit -n'.",
        Errno::NOSPC | Errno::DQUOT => "Make room on the disk.",
        Errno::ROFS => "Choose a place that can be written to.",
        _ => "'adit doctor' tells what this system allows.",
    }
}

/// The kernel's name for an error number, as `EBUSY`.
pub(crate) fn errno_name(errno: i32) -> Option<&'static str> {
    // Those that the TUN driver, routing netlink and files give.
    const NAMES: [(i32, &str); 37] = [
        (1, "EPERM"),
        (2, "ENOENT"),
        (3, "ESRCH"),
        (4, "EINTR"),
        (5, "EIO"),
        (6, "ENXIO"),
        (7, "E2BIG"),
        (9, "EBADF"),
        (11, "EAGAIN"),
        (12, "ENOMEM"),
        (13, "EACCES"),
        (14, "EFAULT"),
        (16, "EBUSY"),
        (17, "EEXIST"),
        (19, "ENODEV"),
        (20, "ENOTDIR"),
        (21, "EISDIR"),
        (22, "EINVAL"),
        (23, "ENFILE"),
        (24, "EMFILE"),
        (28, "ENOSPC"),
        (30, "EROFS"),
        (32, "EPIPE"),
        (34, "ERANGE"),
        (36, "ENAMETOOLONG"),
        (40, "ELOOP"),
        (77, "EBADFD"),
        (90, "EMSGSIZE"),
        (95, "EOPNOTSUPP"),
        (97, "EAFNOSUPPORT"),
        (99, "EADDRNOTAVAIL"),
        (100, "ENETDOWN"),
        (101, "ENETUNREACH"),
        (105, "ENOBUFS"),
        (110, "ETIMEDOUT"),
        (113, "EHOSTUNREACH"),
        (115, "EINPROGRESS"),
    ];
    NAMES.iter().find(|(number, _)| *number == errno).map(|(_, name)| *name)
}

/// What `adit explain` knows of a code.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) code: &'static str,
    pub(crate) title: &'static str,
    pub(crate) explanation: &'static str,
    pub(crate) remedy: &'static str,
}

pub(crate) const USAGE: Entry = Entry {
    code: "ADIT-E0801",
    title: "the command line is wrong",
    explanation: "An option or word is not known, is missing, or does not go with another one. \
                  Nothing was done.",
    remedy: "See 'adit --help' and the help of the subcommand.",
};

pub(crate) const NOT_A_DEVICE: Entry = Entry {
    code: "ADIT-E0802",
    title: "the interface is no TUN or TAP device",
    explanation: "There is an interface of that name, but another driver made it. 'adit dev' and \
                  'adit tuntap' change and delete only TUN and TAP devices, so that a slip of the \
                  pen takes no network card away.",
    remedy: "See 'adit dev show' for the TUN and TAP devices, 'ip link' for all interfaces.",
};

pub(crate) const NETNS: Entry = Entry {
    code: "ADIT-E0803",
    title: "the network namespace cannot be entered",
    explanation: "-n takes the name of a namespace in /run/netns, the path of a namespace file, or \
                  the id of a process. To enter one needs CAP_SYS_ADMIN in the user namespace that \
                  owns it and in one's own.",
    remedy: "See 'ip netns list' for names and 'lsns -t net' for the processes in namespaces.",
};

pub(crate) const SYSTEM: Entry = Entry {
    code: "ADIT-E0804",
    title: "the operating system refused",
    explanation: "A file, a directory or a system call failed for the reason that the message \
                  ends with.",
    remedy: "",
};

pub(crate) const HELD: Entry = Entry {
    code: "ADIT-E0805",
    title: "a program holds the device",
    explanation: "Owner, group and persistence of a TUN or TAP device are set through a queue of \
                  it. While another program holds one, a second holder would reset the header \
                  length and the offloads under its feet.",
    remedy: "End the program that holds it ('adit dev show NAME' tells which), then try again.",
};

pub(crate) const UNKNOWN: Entry = Entry {
    code: "ADIT-E0806",
    title: "there is no such code or schema",
    explanation: "The names that exist are listed when the command is given without one.",
    remedy: "Give the command without a name to see all.",
};

pub(crate) const NOT_HELD: Entry = Entry {
    code: "ADIT-E0807",
    title: "a device that nobody holds has no carrier",
    explanation: "The driver gives a TUN or TAP device its carrier when a program attaches to it, \
                  takes it away when the last one leaves, and lets nobody change that in between.",
    remedy: "Start the program that is to hold the device; '--carrier off' works then, too.",
};

/// The codes of the program itself; those of the library come on top.
pub(crate) const CATALOG: [Entry; 7] =
    [USAGE, NOT_A_DEVICE, NETNS, SYSTEM, HELD, UNKNOWN, NOT_HELD];
