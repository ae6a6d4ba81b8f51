//! What runs in a node, and the files that it sees.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

/// A program of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// How it is called: what logs and reports show.
    pub name: String,
    /// The program and its arguments.
    pub words: Vec<String>,
    /// When it is started again.
    pub restart: Restart,
    /// A command of the node that succeeds once the program is ready; empty: at once.
    pub ready: Vec<String>,
    /// How long it has until it is ready.
    pub ready_within: Duration,
}

/// When a program that ended is started again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Restart {
    /// Never.
    #[default]
    Never,
    /// If it failed.
    OnFailure,
    /// Always.
    Always,
}

/// A file that only one node sees.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrivateFile {
    /// Where: an absolute path below `/etc` or `/run`.
    pub path: PathBuf,
    /// What is in it.
    pub text: String,
    /// Its mode, as 0o644.
    pub mode: u32,
}
