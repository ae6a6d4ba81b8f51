//! What a program in a sandbox still needs.

use std::path::PathBuf;

/// What a program still needs.
#[derive(Clone, Debug, Default)]
pub struct Needs {
    /// Folders that it reads, if they exist.
    pub readable: Vec<PathBuf>,
    /// Folders in which it creates and removes files, if they exist.
    pub writable: Vec<PathBuf>,
    /// Its system calls, by their names: lists that stand beside the code that makes them.
    pub syscalls: Vec<&'static [&'static str]>,
}
