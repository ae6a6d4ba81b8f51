//! The processes of the lab as the host knows them.

use rustix::fs::{Mode, OFlags, openat};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;

/// A descriptor of a process as a file.
pub(super) fn descriptor(pid: u32, fd: i32) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/fd/{fd}"))
}

/// The `/proc` of the process namespace around that of the lab.
#[derive(Debug)]
pub(super) struct Outside(OwnedFd);

impl Outside {
    /// That of the calling process, before it mounts one of its own.
    pub(super) fn current() -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self(rustix::fs::open("/proc", flags, Mode::empty())?))
    }

    /// The number of the calling process.
    pub(super) fn own(&self) -> io::Result<u32> {
        let link = rustix::fs::readlinkat(&self.0, "self", Vec::new())?;
        let number = link.to_str().ok().and_then(|number| number.parse().ok());
        number.ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// The number of a process; 0: it has ended.
    pub(super) fn number_of(&self, pidfd: &OwnedFd) -> u32 {
        let path = format!("self/fdinfo/{}", pidfd.as_raw_fd());
        let opened = openat(&self.0, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
        let mut info = String::new();
        let read = opened.map_err(io::Error::from);
        // What cannot be read has no number.
        let _ = read.and_then(|file| File::from(file).read_to_string(&mut info));
        let line = info.lines().find_map(|line| line.strip_prefix("Pid:"));
        line.and_then(|number| number.trim().parse().ok()).unwrap_or(0)
    }
}
