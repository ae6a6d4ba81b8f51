//! Sockets that need the rights of a process: with a mark, or at a path. Each is opened here, or by the broker of a process that
//! gave its rights up.

use crate::request::{InetSocket, Request, UnixSocket, open, open_all};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, Protocol, SocketAddrUnix, SocketFlags, SocketType, bind, connect, ipproto,
    socket_with, sockopt,
};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

/// Sets the mark of a socket (`SO_MARK`).
pub type SetMark = fn(BorrowedFd<'_>, u32) -> io::Result<()>;

/// Opens a UDP or TCP socket.
///
/// # Errors
/// EADDRINUSE, EADDRNOTAVAIL, EACCES for a port below 1024; EPERM: a mark needs `CAP_NET_ADMIN`; ENETUNREACH.
pub fn open_inet(wanted: &InetSocket, set_mark: SetMark) -> io::Result<OwnedFd> {
    open(&Request::Inet(*wanted), &[]).unwrap_or_else(|| inet_here(wanted, set_mark))
}

fn inet_here(wanted: &InetSocket, set_mark: SetMark) -> io::Result<OwnedFd> {
    let family = if wanted.at.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let (kind, protocol): (_, Option<Protocol>) = if wanted.is_stream {
        (SocketType::STREAM, Some(ipproto::TCP))
    } else {
        (SocketType::DGRAM, Some(ipproto::UDP))
    };
    let fd = socket_with(family, kind, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, protocol)?;
    if wanted.at.is_ipv6() {
        sockopt::set_ipv6_v6only(&fd, wanted.only_v6)?;
    }
    if wanted.reuse {
        sockopt::set_socket_reuseaddr(&fd, true)?;
    }
    if wanted.mark != 0 {
        set_mark(fd.as_fd(), wanted.mark)?;
    }
    if let Some((send, receive)) = wanted.buffers {
        // No more than `net.core.[rw]mem_max` without privilege.
        if sockopt::set_socket_send_buffer_size_force(&fd, send).is_err() {
            sockopt::set_socket_send_buffer_size(&fd, send)?;
        }
        if sockopt::set_socket_recv_buffer_size_force(&fd, receive).is_err() {
            sockopt::set_socket_recv_buffer_size(&fd, receive)?;
        }
    }
    bind(&fd, &wanted.at)?;
    match wanted.to.map(|to| connect(&fd, &to)) {
        None | Some(Ok(()) | Err(Errno::INPROGRESS)) => Ok(fd),
        Some(Err(errno)) => Err(errno.into()),
    }
}

/// Sets the mark of what a socket sends from now on.
///
/// # Errors
/// EPERM without `CAP_NET_ADMIN`.
pub fn set_mark(socket: BorrowedFd<'_>, mark: u32, set_mark: SetMark) -> io::Result<()> {
    match open_all(&Request::Mark(mark), &[socket]) {
        Some(result) => result.map(drop).map_err(io::Error::from),
        None => set_mark(socket, mark),
    }
}

/// Opens a Unix socket. The file of a socket whose process has ended is replaced.
///
/// # Errors
/// EADDRINUSE: a process has it; EEXIST: it is there and no socket; ECONNREFUSED, ENOENT.
pub fn open_unix(wanted: &UnixSocket) -> io::Result<OwnedFd> {
    open(&Request::Unix(wanted.clone()), &[]).unwrap_or_else(|| unix_here(wanted))
}

fn unix_here(wanted: &UnixSocket) -> io::Result<OwnedFd> {
    let (path, kind) = match wanted {
        UnixSocket::Connected(path) => {
            let socket = new_unix(SocketType::STREAM)?;
            connect(&socket, &SocketAddrUnix::new(path)?)?;
            return Ok(socket);
        }
        UnixSocket::Name(name) => {
            let socket = new_unix(SocketType::DGRAM)?;
            bind(&socket, &SocketAddrUnix::new_abstract_name(name.as_bytes())?)?;
            return Ok(socket);
        }
        UnixSocket::Stream(path) => (path, SocketType::STREAM),
        UnixSocket::Datagram(path) => (path, SocketType::DGRAM),
    };
    let socket = new_unix(kind)?;
    let address = SocketAddrUnix::new(path)?;
    match bind(&socket, &address) {
        Err(Errno::ADDRINUSE) => {
            if !is_socket(path)? {
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
    Ok(socket)
}

fn is_socket(path: &Path) -> io::Result<bool> {
    Ok(std::fs::metadata(path)?.file_type().is_socket())
}

/// Whether a process has the socket, of whichever type it is.
fn is_alive(address: &SocketAddrUnix) -> io::Result<bool> {
    for kind in [SocketType::STREAM, SocketType::DGRAM, SocketType::SEQPACKET] {
        match connect(&new_unix(kind)?, address) {
            Err(Errno::PROTOTYPE) => {}
            Err(Errno::CONNREFUSED | Errno::NOENT) => return Ok(false),
            // Its backlog is full (EAGAIN), it has another peer (EPERM), or it took us.
            _ => return Ok(true),
        }
    }
    Ok(true)
}

fn new_unix(kind: SocketType) -> rustix::io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    socket_with(AddressFamily::UNIX, kind, flags, None)
}

/// Removes the file of a socket.
///
/// # Errors
/// Those of unlink(2); EEXIST: it is no socket.
pub fn remove_socket(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            match open_all(&Request::RemoveSocket(path.to_owned()), &[]) {
                Some(result) => result.map(drop).map_err(io::Error::from),
                None => Err(error),
            }
        }
        removed => removed,
    }
}

/// Removes it for another process.
///
/// # Errors
/// As [`remove_socket`].
pub fn remove_for_another(path: &Path) -> io::Result<()> {
    if is_socket(path)? { std::fs::remove_file(path) } else { Err(Errno::EXIST.into()) }
}
