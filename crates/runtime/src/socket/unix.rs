//! Unix sockets at paths, removed with their files.

use adit_device::broker::UnixSocket;
use adit_device::rights::{open_unix, remove_socket};
use std::fs::{metadata, symlink_metadata};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Opens a socket that is bound to a path. The file of a socket whose process has ended is replaced.
///
/// # Errors
/// EADDRINUSE: a process has it; EEXIST: it is there and no socket.
pub(crate) fn bind_unix(
    path: &Path,
    kind: impl FnOnce(PathBuf) -> UnixSocket,
) -> io::Result<(OwnedFd, SocketPath)> {
    let socket = open_unix(&kind(path.to_owned()))?;
    Ok((socket, SocketPath::new(path)?))
}

/// Removes the file of a socket whose process has ended, if there is one.
pub fn remove_dead_socket(path: &Path) {
    if symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket()) {
        // Ours replaces it, and is removed.
        drop(bind_unix(path, UnixSocket::Stream));
    }
}

/// The file of a bound socket, which goes with this value.
#[derive(Debug)]
pub(crate) struct SocketPath {
    path: PathBuf,
    identity: (u64, u64),
}

impl SocketPath {
    fn new(path: &Path) -> io::Result<Self> {
        let found = metadata(path)?;
        // A later change of the working directory must not make it another file.
        let path = std::path::absolute(path)?;
        Ok(Self { path, identity: (found.dev(), found.ino()) })
    }

    /// The device and inode numbers of the file.
    pub(crate) const fn identity(&self) -> (u64, u64) {
        self.identity
    }

    /// Its absolute path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SocketPath {
    fn drop(&mut self) {
        // Somebody may have put another one there.
        if metadata(&self.path).is_ok_and(|found| (found.dev(), found.ino()) == self.identity) {
            let _ = remove_socket(&self.path);
        }
    }
}
