//! What is wanted: namespaces, and a command.

use crate::namespace::files::PrivateFiles;
use std::ffi::OsString;

/// The namespaces that are wanted.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// The user is root inside; otherwise user and group are those of the caller.
    pub as_root: bool,
    /// Files that differ inside.
    pub files: PrivateFiles,
}

/// A program and its arguments.
#[derive(Clone, Debug)]
pub struct Command {
    /// The program, and its arguments. It is looked up in `PATH`.
    pub words: Vec<OsString>,
    /// Variables that are added to its environment.
    pub environment: Vec<(OsString, OsString)>,
}

/// The shell of the user: the command where none is given.
#[must_use]
pub fn shell() -> OsString {
    let shell = std::env::var_os("SHELL").filter(|shell| !shell.is_empty());
    shell.unwrap_or_else(|| "/bin/sh".into())
}
