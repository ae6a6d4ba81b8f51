//! Failures of ports, namespaces and recordings, each with its cause and a remedy.

use adit_device::ErrorKind;
use std::fmt;
use std::io;

/// What kind of failure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// The text or the options are wrong.
    Usage,
    /// A privilege is missing.
    Permission,
    /// There is no such device, user, namespace.
    NotFound,
    /// Another program has it, or it is of another kind.
    Conflict,
    /// It took too long.
    Timeout,
    /// The kernel refused it for another reason.
    Refused,
    /// The reader of the output has gone.
    BrokenPipe,
}

/// A failure.
#[derive(Debug)]
pub struct Error(Box<Details>);

/// The parts of an [`Error`].
#[derive(Debug)]
pub struct Details {
    /// What kind of failure it is.
    pub kind: Kind,
    /// The stable code, for `adit explain`.
    pub code: String,
    /// What failed, on what, and why.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
    /// The kernel's error number, where there is one.
    pub errno: Option<i32>,
    /// The device, namespace or file.
    pub object: Option<String>,
}

/// The result of opening something.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// A failure described by `entry`.
    pub fn new(kind: Kind, entry: &Entry, message: impl fmt::Display) -> Self {
        Self(Box::new(Details {
            kind,
            code: entry.code.to_owned(),
            message: message.to_string(),
            hint: Some(entry.remedy.to_owned()).filter(|hint| !hint.is_empty()),
            errno: None,
            object: None,
        }))
    }

    /// Text or options that cannot be used.
    pub fn usage(message: impl fmt::Display) -> Self {
        Self::new(Kind::Usage, &USAGE, message)
    }

    /// A failure of the operating system on `object` while doing `what`.
    pub fn io(what: &str, object: impl fmt::Display, error: &io::Error) -> Self {
        let errno = adit_device::netlink::raw_errno(error);
        let kind = match errno {
            _ if error.kind() == io::ErrorKind::BrokenPipe => Kind::BrokenPipe,
            Some(errno) => kind_of_errno(errno),
            None => Kind::Refused,
        };
        let mut new = Self::new(kind, &SYSTEM, format_args!("cannot {what} {object}: {error}"));
        new.0.hint = errno.map(|errno| remedy_of_errno(errno).to_owned());
        new.0.errno = errno;
        new.0.object = Some(object.to_string());
        new
    }

    /// The same failure with the code of another entry.
    #[must_use]
    pub fn code(mut self, entry: &Entry) -> Self {
        entry.code.clone_into(&mut self.0.code);
        self
    }

    /// The same failure with the kernel's error number.
    #[must_use]
    pub fn errno(mut self, errno: i32) -> Self {
        self.0.errno = Some(errno);
        self
    }

    /// The same failure on `object`.
    #[must_use]
    pub fn object(mut self, object: impl fmt::Display) -> Self {
        self.0.object = Some(object.to_string());
        self
    }

    /// The same failure with another remedy.
    #[must_use]
    pub fn hint(mut self, hint: impl fmt::Display) -> Self {
        self.0.hint = Some(hint.to_string());
        self
    }

    /// The parts.
    #[must_use]
    pub fn details(&self) -> &Details {
        &self.0
    }

    /// The parts, to be kept.
    #[must_use]
    pub fn into_details(self) -> Details {
        *self.0
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for Error {}

impl From<adit_device::Error> for Error {
    fn from(error: adit_device::Error) -> Self {
        Self(Box::new(Details {
            kind: kind_of(error.kind(), error.errno()),
            code: error.code().to_owned(),
            message: error.to_string(),
            hint: Some(error.remedy()).filter(|hint| !hint.is_empty()),
            errno: error.errno(),
            object: Some(error.object().to_owned()),
        }))
    }
}

fn kind_of(kind: ErrorKind, errno: Option<i32>) -> Kind {
    match kind {
        ErrorKind::NotPermitted => Kind::Permission,
        ErrorKind::NotFound | ErrorKind::DeviceGone => Kind::NotFound,
        ErrorKind::Busy | ErrorKind::Exists | ErrorKind::Mismatch => Kind::Conflict,
        ErrorKind::InvalidName | ErrorKind::InvalidValue => Kind::Usage,
        ErrorKind::WouldBlock => Kind::Timeout,
        ErrorKind::Other => errno.map_or(Kind::Refused, kind_of_errno),
        _ => Kind::Refused,
    }
}

fn kind_of_errno(errno: i32) -> Kind {
    use rustix::io::Errno;
    match Errno::from_raw_os_error(errno) {
        Errno::PERM | Errno::ACCESS => Kind::Permission,
        Errno::NOENT | Errno::NOTDIR | Errno::NODEV | Errno::SRCH | Errno::ADDRNOTAVAIL => {
            Kind::NotFound
        }
        Errno::BUSY | Errno::EXIST => Kind::Conflict,
        Errno::TIMEDOUT => Kind::Timeout,
        _ => Kind::Refused,
    }
}

/// What helps in most cases of an error number.
fn remedy_of_errno(errno: i32) -> &'static str {
    use rustix::io::Errno;
    match Errno::from_raw_os_error(errno) {
        Errno::PERM | Errno::ACCESS => "Run it as root, or as a user with that permission.",
        Errno::NOENT | Errno::NOTDIR => "Check the path. Directories are not created.",
        Errno::EXIST => "Choose another name, or remove the existing one first.",
        Errno::ISDIR => "Give a file: this is a directory.",
        Errno::NODEV => "List the interfaces: 'ip link'.",
        Errno::ADDRINUSE => {
            "Another program uses that address: stop it, or choose another address."
        }
        Errno::ADDRNOTAVAIL => "List the addresses of this host: 'ip address'.",
        Errno::NETUNREACH | Errno::HOSTUNREACH => "List the routes: 'ip route'.",
        Errno::MFILE | Errno::NFILE => "Raise the limit of open files: 'ulimit -n'.",
        Errno::NOSPC | Errno::DQUOT => "Free space on the disk.",
        Errno::ROFS => "Choose a writable file system.",
        _ => "Check what this system allows: 'adit doctor'.",
    }
}

/// What `adit explain` knows of a code.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// The stable code: `ADIT-E0801`.
    pub code: &'static str,
    /// What happened, in a few words.
    pub title: &'static str,
    /// What it means, for `adit explain`.
    pub explanation: &'static str,
    /// What to do; empty if it depends on the case.
    pub remedy: &'static str,
}

/// The text or the options are wrong.
pub const USAGE: Entry = Entry {
    code: "ADIT-E0801",
    title: "the command line is wrong",
    explanation: "An option or argument is unknown or missing, or conflicts with another one. \
                  Nothing was changed.",
    remedy: "See 'adit --help' and the help of the subcommand.",
};

/// A network namespace cannot be entered.
pub const NETNS: Entry = Entry {
    code: "ADIT-E0803",
    title: "the network namespace cannot be entered",
    explanation: "-n takes the name of a namespace in /run/netns, the path of a namespace file, or \
                  the id of a process. To enter one needs CAP_SYS_ADMIN in the user namespace that \
                  owns it and in one's own.",
    remedy: "List the names: 'ip netns list'. List the processes in namespaces: 'lsns -t net'.",
};

/// The operating system refused.
pub const SYSTEM: Entry = Entry {
    code: "ADIT-E0804",
    title: "the operating system refused",
    explanation: "A file, a folder or a system call failed for the reason at the end of the \
                  message.",
    remedy: "",
};

/// The recording ended.
pub const RECORD: Entry = Entry {
    code: "ADIT-E0812",
    title: "the recording cannot be written",
    explanation: "The disk is full, the file cannot be opened or the reader of a pipe took nothing \
                  for two seconds. A file is whole up to its last packet.",
    remedy: "Free space, or limit the recording with --rotate-size and --files.",
};

/// The codes of this crate.
pub const CATALOG: [Entry; 4] = [USAGE, NETNS, SYSTEM, RECORD];
