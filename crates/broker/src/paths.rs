//! Files in a process whose sandbox forbids getcwd(2), stat(2) and fstat(2).

use rustix::fs::{AtFlags, Statx, StatxFlags, statx};
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// The path from the root. The working directory is that of the first call, which a program makes before its sandbox forbids
/// getcwd(2).
///
/// # Errors
/// EINVAL: the path is empty; those of getcwd(2) at the first call.
#[expect(clippy::disallowed_methods, reason = "it does not ask for the working directory")]
pub fn absolute(path: &Path) -> io::Result<PathBuf> {
    static FOLDER: OnceLock<Option<PathBuf>> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| std::env::current_dir().ok());
    match folder {
        Some(folder) if path.is_relative() && !path.as_os_str().is_empty() => {
            std::path::absolute(folder.join(path))
        }
        None if path.is_relative() => Err(io::ErrorKind::NotFound.into()),
        _ => std::path::absolute(path),
    }
}

/// What an open file is, by statx(2), which std calls as well.
///
/// # Errors
/// Those of statx(2).
pub fn stat_of(file: impl AsFd) -> io::Result<Statx> {
    Ok(statx(file, c"", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS)?)
}
