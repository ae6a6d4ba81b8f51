//! What needs the rights of a process beside devices: sockets with a mark or at a path, recordings. Each is opened here, or
//! by the broker of a process that gave its rights up.

use crate::broker::{InetSocket, Request, UnixSocket, open, open_all, open_refused};
use crate::sys;
use rustix::fs::{CWD, FileType, Mode, OFlags, stat};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, Protocol, SocketAddrUnix, SocketFlags, SocketType, bind, connect, ipproto,
    socket_with, sockopt,
};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// How recordings begin: pcapng, and pcap in both orders, with microseconds and nanoseconds.
const RECORDINGS: [[u8; 4]; 5] = [
    [0x0a, 0x0d, 0x0d, 0x0a],
    [0xd4, 0xc3, 0xb2, 0xa1],
    [0xa1, 0xb2, 0xc3, 0xd4],
    [0x4d, 0x3c, 0xb2, 0xa1],
    [0xa1, 0xb2, 0x3c, 0x4d],
];

/// Opens a UDP or TCP socket.
///
/// # Errors
/// EADDRINUSE, EADDRNOTAVAIL, EACCES for a port below 1024; EPERM: a mark needs `CAP_NET_ADMIN`; ENETUNREACH.
pub fn open_inet(wanted: &InetSocket) -> io::Result<OwnedFd> {
    open(&Request::Inet(*wanted), &[]).unwrap_or_else(|| inet_here(wanted))
}

pub(crate) fn inet_here(wanted: &InetSocket) -> io::Result<OwnedFd> {
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
        mark_here(fd.as_fd(), wanted.mark)?;
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
pub fn set_mark(socket: impl AsFd, mark: u32) -> io::Result<()> {
    match open_all(&Request::Mark(mark), &[socket.as_fd()]) {
        Some(result) => result.map(drop).map_err(io::Error::from),
        None => mark_here(socket.as_fd(), mark),
    }
}

pub(crate) fn mark_here(socket: BorrowedFd<'_>, mark: u32) -> io::Result<()> {
    sys::udp::set_mark(socket, mark)
}

/// Opens a Unix socket. The file of a socket whose process has ended is replaced.
///
/// # Errors
/// EADDRINUSE: a process has it; EEXIST: it is there and no socket; ECONNREFUSED, ENOENT.
pub fn open_unix(wanted: &UnixSocket) -> io::Result<OwnedFd> {
    open(&Request::Unix(wanted.clone()), &[]).unwrap_or_else(|| unix_here(wanted))
}

pub(crate) fn unix_here(wanted: &UnixSocket) -> io::Result<OwnedFd> {
    let (path, kind) = match wanted {
        UnixSocket::Connected(path) => {
            let socket = new_unix(SocketType::STREAM)?;
            connect(&socket, &SocketAddrUnix::new(path)?)?;
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
    Ok(FileType::from_raw_mode(stat(path)?.st_mode) == FileType::Socket)
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

pub(crate) fn remove_here(path: &Path) -> io::Result<()> {
    if is_socket(path)? { std::fs::remove_file(path) } else { Err(Errno::EXIST.into()) }
}

/// Opens a recording to be played.
///
/// # Errors
/// Those of open(2); EINVAL: it is no regular file.
pub fn open_recording(path: &Path) -> io::Result<OwnedFd> {
    open_refused(play_here(path), || Request::Play(path.to_owned()))
}

pub(crate) fn play_here(path: &Path) -> io::Result<OwnedFd> {
    // To open a FIFO would wait for its writer without O_NONBLOCK, which regular files ignore.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let file = File::from(rustix::fs::openat(CWD, path, flags, Mode::empty())?);
    if file.metadata()?.is_file() {
        Ok(file.into())
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"))
    }
}

/// As [`play_here`], of a file that begins as recordings do: nothing else is passed on.
pub(crate) fn play_for_another(path: &Path) -> io::Result<OwnedFd> {
    let file = File::from(play_here(path)?);
    if is_recording(&file)? { Ok(file.into()) } else { Err(Errno::ACCESS.into()) }
}

/// Opens a recording to be written where this process was refused to: with mode 0600; `is_nonblocking`: a FIFO must have a
/// reader (ENXIO).
///
/// # Errors
/// `refused` if it is not for want of rights, or nobody else has them; those of open(2).
pub fn create_recording(
    refused: io::Error,
    path: &Path,
    is_nonblocking: bool,
) -> io::Result<OwnedFd> {
    open_refused(Err(refused), || Request::Record(path.to_owned(), is_nonblocking))
}

/// Opens it for another process. A file that is there is replaced only if it is a recording.
pub(crate) fn record_for_another(path: &Path, is_nonblocking: bool) -> io::Result<OwnedFd> {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
        Ok(found) if found.is_file() && is_recording(&File::open(path)?)? => {}
        Ok(found) if std::os::unix::fs::FileTypeExt::is_fifo(&found.file_type()) => {}
        Ok(_) => return Err(Errno::ACCESS.into()),
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let flags = if is_nonblocking { flags | OFlags::NONBLOCK } else { flags };
    let fd = rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR)?;
    if File::from(fd.try_clone()?).metadata()?.is_file() {
        rustix::fs::ftruncate(&fd, 0)?;
    }
    Ok(fd)
}

/// Whether a file begins as a recording does, or is empty; its position stays.
fn is_recording(file: &File) -> io::Result<bool> {
    let mut head = [0; 4];
    let len = rustix::io::pread(file, &mut head, 0)?;
    Ok(len == 0 || len == head.len() && RECORDINGS.contains(&head))
}
