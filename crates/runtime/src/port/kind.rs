//! What is known of a kind of port: its name in text, its keys, how its text becomes a port.

use crate::error::Result;
use crate::port::{Hub, Port};
use crate::text::words::{SpecError, Words};
use std::any::Any;
use std::fmt;
use std::path::{Path, PathBuf};

/// One kind of port, as [`PortSpec`](crate::PortSpec) parses and opens it.
#[derive(Debug)]
pub struct Kind {
    /// What its text begins with: `tap`.
    pub prefix: &'static str,
    /// The argument after the colon, for help: `NAME`; empty if there is none.
    pub argument: &'static str,
    /// One line of help.
    pub help: &'static str,
    /// Its keys.
    pub keys: &'static [Key],
    /// Parses an argument and takes the keys out of the words.
    pub parse: Parse,
}

/// Parses the text of one kind of port.
pub type Parse = fn(Argument<'_>, &mut Words) -> Parsed;

/// What a port asks for, or the mistake in its text.
pub type Parsed = Result<Box<dyn PortOptions>, SpecError>;

impl Kind {
    /// How to write it: `tap:NAME`.
    #[must_use]
    pub fn example(&self) -> String {
        match self.argument {
            "" => self.prefix.to_owned(),
            argument => format!("{}:{argument}", self.prefix),
        }
    }

    /// One line of help: `tap:NAME   a TAP device [netns=NAME ...]`.
    #[must_use]
    pub fn help_line(&self) -> String {
        let keys: Vec<String> = self.keys.iter().map(Key::to_string).collect();
        let keys = if keys.is_empty() { String::new() } else { format!(" [{}]", keys.join(" ")) };
        format!("{:<16} {}{keys}", self.example(), self.help)
    }
}

/// What stands after the colon.
#[derive(Clone, Copy, Debug)]
pub struct Argument<'a> {
    /// Its place in the text, in bytes.
    pub at: usize,
    /// Its text; empty only for a kind without an argument.
    pub text: &'a str,
}

/// A key of a kind of port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// Its value, for help and completion: `BYTES`, `stream|dgram`; empty for a flag.
    pub value: &'static str,
    /// What it sets, in one line.
    pub help: &'static str,
}

impl Key {
    /// A key.
    #[must_use]
    pub const fn new(name: &'static str, value: &'static str, help: &'static str) -> Self {
        Self { name, value, help }
    }
}

/// `mtu=` or, for a flag, `connect`.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.value.is_empty() { "" } else { "=" };
        write!(f, "{}{sign}", self.name)
    }
}

/// What the text of one port asks for: parsed and checked, and not yet opened.
pub trait PortOptions: Any + fmt::Debug + Compare + Send + Sync {
    /// Opens it: makes a device, connects, binds. Nothing is left behind if it fails. It may take a
    /// while: call it on another thread than the loop's.
    ///
    /// # Errors
    /// What the operating system refused, with the cause and a remedy.
    fn open(&self) -> Result<Opened>;

    /// Whether its packets are IP packets instead of Ethernet frames.
    fn is_layer3(&self) -> bool {
        false
    }

    /// The network namespace that it names.
    fn netns(&self) -> Option<&str> {
        None
    }

    /// Whether only the owner of the program may ask a running program for it: it names a file, or a
    /// descriptor of the process, and the program opens that with its own rights.
    fn needs_owner(&self) -> bool {
        self.netns().is_some_and(|netns| netns.contains('/'))
    }

    /// The file of the socket that it makes.
    fn socket_file(&self) -> Option<&Path> {
        None
    }

    /// The same with its path, if it has one, changed by `change`: a relative path in a file is relative
    /// to the folder of the file.
    fn with_path(&self, change: &dyn Fn(&Path) -> PathBuf) -> Option<Box<dyn PortOptions>> {
        let _ = change;
        None
    }
}

/// Equality of [`PortOptions`]; there for every type with `PartialEq`.
pub trait Compare {
    /// Whether both ask for the same port.
    fn is_same(&self, other: &dyn PortOptions) -> bool;
}

impl<T: PortOptions + PartialEq> Compare for T {
    fn is_same(&self, other: &dyn PortOptions) -> bool {
        (other as &dyn Any).downcast_ref::<T>() == Some(self)
    }
}

/// What a [`PortSpec`](crate::PortSpec) turns into.
#[derive(Debug)]
pub enum Opened {
    /// Ports; several are one group: none forwards to another.
    Ports(Vec<Box<dyn Port>>),
    /// A socket at which ports appear, for [`Runner::listen`](crate::Runner::listen).
    Listener(Box<dyn Hub>),
}

impl Opened {
    /// A single port.
    #[must_use]
    pub fn port(port: impl Port) -> Self {
        Self::Ports(vec![Box::new(port)])
    }
}
