//! Unix sockets: bound to paths, connected, and removed with their files.

use rustix::fs::{FileType, lstat, stat};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, socket_with,
};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// Connects to a listening stream socket.
pub(crate) fn connect_unix(path: &Path) -> io::Result<OwnedFd> {
    let socket = new_socket(SocketType::STREAM)?;
    connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket)
}

/// Binds a socket to a path. The file of a socket whose process has ended is replaced.
///
/// # Errors
/// EADDRINUSE: a process has it; EEXIST: it is there and no socket.
pub(crate) fn bind_unix(path: &Path, kind: SocketType) -> io::Result<(OwnedFd, SocketPath)> {
    let socket = new_socket(kind)?;
    let address = SocketAddrUnix::new(path)?;
    match bind(&socket, &address) {
        Err(Errno::ADDRINUSE) => {
            if FileType::from_raw_mode(stat(path)?.st_mode) != FileType::Socket {
                return Err(Errno::EXIST.into());
            }
            if is_alive(&address)? {
                return Err(Errno::ADDRINUSE.into());
            }
            std::fs::remove_file(path)?;
            bind(&socket, &address)?;
        }
        bound => bound?,
    }
    let path = SocketPath::new(path)?;
    Ok((socket, path))
}

/// Removes the file of a socket whose process has ended, if there is one.
pub fn remove_dead_socket(path: &Path) {
    let is_socket =
        |stat: rustix::fs::Stat| FileType::from_raw_mode(stat.st_mode) == FileType::Socket;
    if lstat(path).is_ok_and(is_socket) {
        // Ours replaces it, and is removed.
        drop(bind_unix(path, SocketType::STREAM));
    }
}

/// Whether a process has the socket, of whichever type it is.
fn is_alive(address: &SocketAddrUnix) -> io::Result<bool> {
    for kind in [SocketType::STREAM, SocketType::DGRAM, SocketType::SEQPACKET] {
        match connect(&new_socket(kind)?, address) {
            Err(Errno::PROTOTYPE) => {}
            Err(Errno::CONNREFUSED | Errno::NOENT) => return Ok(false),
            // Its backlog is full (EAGAIN), it has another peer (EPERM), or it took us.
            _ => return Ok(true),
        }
    }
    Ok(true)
}

fn new_socket(kind: SocketType) -> rustix::io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    socket_with(AddressFamily::UNIX, kind, flags, None)
}

/// The file of a bound socket, which goes with this value.
#[derive(Debug)]
pub(crate) struct SocketPath {
    path: PathBuf,
    identity: (u64, u64),
}

impl SocketPath {
    fn new(path: &Path) -> io::Result<Self> {
        let stat = stat(path)?;
        // A later change of the working directory must not make it another file.
        let path = std::path::absolute(path)?;
        Ok(Self { path, identity: (stat.st_dev, stat.st_ino) })
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
        if stat(&self.path).is_ok_and(|stat| (stat.st_dev, stat.st_ino) == self.identity) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
