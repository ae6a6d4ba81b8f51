//! The end of a network namespace: its process has ended, or the file that names it is deleted.
//!
//! The queue of our device keeps the namespace alive, so the kernel reports nothing by it.

use crate::error::Result;
use crate::namespace::attach::Target;
use crate::namespace::channel::failure;
use adit_device::Netns;
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::ffi::OsString;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Where `ip netns` keeps its names.
const NAMED: &str = "/run/netns";

/// What ends with a namespace, as a descriptor to wait for. It works also when the file is out of sight, as
/// it is in the sandbox.
#[derive(Debug)]
pub enum Life {
    /// The process whose namespace it is, as a pidfd.
    Process(OwnedFd),
    /// The folder of the file that names it, and the name of the file.
    File(OwnedFd, OsString),
}

impl Life {
    /// Watches the file or process of a namespace.
    ///
    /// # Errors
    /// ESRCH, ENOENT: it has ended. EMFILE, ENOSPC: no more watches.
    pub fn of(target: &Target) -> Result<Self> {
        let watched = match target {
            Target::Process(pid) => process(*pid),
            Target::Text(text) => named(text),
        };
        watched.map_err(|error| failure("watch", &format!("namespace '{target}'"), &error))
    }

    /// Whether the namespace has ended, when the descriptor is ready.
    #[must_use]
    pub fn is_over(&self) -> bool {
        let Self::File(watch, name) = self else { return true };
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = Reader::new(watch, &mut buffer);
        loop {
            match reader.next() {
                Ok(event) => {
                    // Without a name it is about the folder.
                    let file = event.file_name().map(|file| file.to_bytes() == name.as_bytes());
                    if file.unwrap_or(true) && event.events() != ReadFlags::QUEUE_OVERFLOW {
                        return true;
                    }
                }
                Err(Errno::INTR) => {}
                Err(_) => return false,
            }
        }
    }
}

impl AsFd for Life {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Process(fd) | Self::File(fd, _) => fd.as_fd(),
        }
    }
}

fn process(pid: u32) -> io::Result<Life> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(Errno::SRCH)?;
    Ok(Life::Process(pidfd_open(pid, PidfdFlags::empty())?))
}

/// As people write it: a path has a slash, and a name goes before the number of a process.
fn named(text: &str) -> io::Result<Life> {
    let path = match text.parse() {
        _ if text.contains('/') => PathBuf::from(text),
        Ok(pid) if Netns::named(text).is_err() => return process(pid),
        _ => Path::new(NAMED).join(text),
    };
    let of_proc = path.strip_prefix("/proc").ok().and_then(|rest| rest.iter().next()?.to_str());
    if let Some(pid) = of_proc.and_then(|first| first.parse().ok()) {
        return process(pid);
    }
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Errno::INVAL.into());
    };
    let watch = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
    let flags = WatchFlags::DELETE
        | WatchFlags::MOVED_FROM
        | WatchFlags::DELETE_SELF
        | WatchFlags::MOVE_SELF;
    inotify::add_watch(&watch, folder, flags)?;
    // It may have gone before the watch began.
    std::fs::metadata(&path)?;
    Ok(Life::File(watch, name.to_owned()))
}
