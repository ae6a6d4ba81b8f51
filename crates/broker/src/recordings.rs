//! Recordings, opened here, or by the broker of a process that gave its rights up.

use crate::request::{Request, open_refused};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

/// How recordings begin: pcapng, and pcap in both orders, with microseconds and nanoseconds.
const RECORDINGS: [[u8; 4]; 5] = [
    [0x0a, 0x0d, 0x0d, 0x0a],
    [0xd4, 0xc3, 0xb2, 0xa1],
    [0xa1, 0xb2, 0xc3, 0xd4],
    [0x4d, 0x3c, 0xb2, 0xa1],
    [0xa1, 0xb2, 0x3c, 0x4d],
];

/// Opens a recording to be played.
///
/// # Errors
/// Those of open(2); EINVAL: it is no regular file.
pub fn open_recording(path: &Path) -> io::Result<OwnedFd> {
    open_refused(play_here(path), || Request::Play(path.to_owned()))
}

fn play_here(path: &Path) -> io::Result<OwnedFd> {
    // To open a FIFO would wait for its writer without O_NONBLOCK, which regular files ignore.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let file = File::from(rustix::fs::openat(CWD, path, flags, Mode::empty())?);
    if file.metadata()?.is_file() {
        Ok(file.into())
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"))
    }
}

/// Opens a recording for another process: a file that begins as recordings do.
///
/// # Errors
/// As [`open_recording`]; EACCES: it is another file.
pub fn play_for_another(path: &Path) -> io::Result<OwnedFd> {
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

/// Opens a recording to be written by another process. A file that is there is replaced only if it is a recording.
///
/// # Errors
/// Those of open(2); EACCES: it is another file.
pub fn record_for_another(path: &Path, is_nonblocking: bool) -> io::Result<OwnedFd> {
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
