//! A port as a command line or a file writes it.

use crate::error::Result;
use crate::port::kind::{Argument, Kind, Opened, PortOptions};
use crate::port::kinds::KINDS;
use crate::text::words::{SpecError, Word, Words, is_near};
use std::any::Any;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

/// One port as text asks for it: `tap:a,netns=blue,mtu=9000`. Parsed and checked; [`Self::open`] makes it.
#[derive(Clone, Debug)]
pub struct PortSpec {
    kind: &'static Kind,
    options: Arc<dyn PortOptions>,
    /// The keys that are not the port's own, in order: the engine's. A flag has no value.
    pub rest: Vec<(String, Option<String>)>,
}

impl PartialEq for PortSpec {
    fn eq(&self, other: &Self) -> bool {
        self.options.is_same(&*other.options) && self.rest == other.rest
    }
}

impl PortSpec {
    /// Parses text by a list of kinds: those of a program of its own, say.
    ///
    /// # Errors
    /// The kind is not in the list, or its text is wrong.
    pub fn parse(text: &str, kinds: &[&'static Kind]) -> Result<Self, SpecError> {
        let mut words = Words::of(text);
        let first = words.list.remove(0);
        let (prefix, argument) = match first.text.split_once(':') {
            Some((prefix, argument)) => (prefix, Some(argument)),
            None => (first.text.as_str(), None),
        };
        let Some(kind) = kinds.iter().copied().find(|kind| kind.prefix == prefix) else {
            return Err(unknown_kind(prefix, kinds));
        };
        let at = prefix.len() + 1;
        let text = match (kind.argument, argument) {
            ("", None | Some("")) => "",
            ("", Some(_)) => {
                return Err(SpecError::new(at, format!("'{prefix}' takes no argument")));
            }
            (_, None | Some("")) => {
                return Err(SpecError::new(prefix.len(), format!("'{prefix}' needs an argument"))
                    .hint(format!("write {}", kind.example())));
            }
            (_, Some(argument)) => argument,
        };
        let options = (kind.parse)(Argument { at, text }, &mut words)?.into();
        let rest = words.list.into_iter().map(Word::into_pair).collect();
        Ok(Self { kind, options, rest })
    }

    /// Opens the port: makes a device, connects, binds. Nothing is left behind if it fails.
    ///
    /// # Errors
    /// What the operating system refused, with the cause and a remedy.
    pub fn open(&self) -> Result<Opened> {
        self.options.open()
    }

    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> &'static Kind {
        self.kind
    }

    /// What it asks for, as the type of its kind; `None` if it is of another kind.
    #[must_use]
    pub fn options<T: PortOptions>(&self) -> Option<&T> {
        (&*self.options as &dyn Any).downcast_ref()
    }

    /// Whether its packets are IP packets instead of Ethernet frames.
    #[must_use]
    pub fn is_layer3(&self) -> bool {
        self.options.is_layer3()
    }

    /// The network namespace that it names.
    #[must_use]
    pub fn netns(&self) -> Option<&str> {
        self.options.netns()
    }

    /// Whether only the owner of the program may ask a running program for it: it names a file, or a
    /// descriptor of the process.
    #[must_use]
    pub fn needs_owner(&self) -> bool {
        self.options.needs_owner()
    }

    /// The file of the socket that it makes, if it makes one.
    #[must_use]
    pub fn socket_file(&self) -> Option<&Path> {
        self.options.socket_file()
    }

    /// Changes its path, if it has one: relative to the folder of a file, say.
    pub fn change_path(&mut self, change: impl Fn(&Path) -> PathBuf) {
        if let Some(changed) = self.options.with_path(&change) {
            self.options = changed.into();
        }
    }
}

impl FromStr for PortSpec {
    type Err = SpecError;

    /// Parses text by the list of this crate ([`KINDS`]).
    fn from_str(text: &str) -> Result<Self, SpecError> {
        Self::parse(text, KINDS)
    }
}

fn unknown_kind(prefix: &str, kinds: &[&'static Kind]) -> SpecError {
    let error = SpecError::new(0, format!("unknown kind of port '{prefix}'"));
    match kinds.iter().find(|kind| is_near(kind.prefix, prefix)) {
        Some(near) => error.hint(format!("did you mean '{}'?", near.example())),
        None => {
            let all: Vec<String> = kinds.iter().map(|kind| kind.example()).collect();
            error.hint(format!("the kinds are {}", all.join(", ")))
        }
    }
}

#[cfg(test)]
mod tests;
