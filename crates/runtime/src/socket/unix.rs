//! Unix sockets at paths, removed with their files.

use crate::wake::namespaces::identity;
use adit_device::broker::UnixSocket;
use adit_device::rights::{absolute, open_unix, remove_socket};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt;
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
    if path.symlink_metadata().is_ok_and(|found| found.file_type().is_socket()) {
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
        // A later change of the working directory must not make it another file.
        Ok(Self { path: absolute(path)?, identity: identity(path)? })
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
        if identity(&self.path).is_ok_and(|found| found == self.identity) {
            let _ = remove_socket(&self.path);
        }
    }
}
