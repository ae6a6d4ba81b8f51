//! The end of a namespace: its file is deleted, or its process has ended.
//!
//! The queue of our device keeps the namespace alive, so the kernel reports nothing by it.

use adit_service::namespace::attach::Target;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::ffi::OsString;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// What ends with a namespace, as a descriptor to wait for. It works also when the file is out of sight, as
/// it is in the sandbox.
#[derive(Debug)]
pub(super) enum End {
    /// The process whose namespace it is.
    Process(OwnedFd),
    /// The folder of the file that holds it, and the name of the file.
    File(OwnedFd, OsString),
}

impl End {
    /// Watches the file or process of a namespace.
    ///
    /// # Errors
    /// ESRCH, ENOENT: it has ended. EMFILE, ENOSPC: no more watches.
    pub(super) fn of(target: &Target) -> io::Result<Self> {
        let path = match target {
            Target::Process(pid) => return Self::process(*pid),
            Target::Text(text) => Path::new(text),
        };
        let of_proc = path
            .strip_prefix("/proc")
            .ok()
            .and_then(|rest| rest.iter().next()?.to_str()?.parse().ok());
        if let Some(pid) = of_proc {
            return Self::process(pid);
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
        std::fs::metadata(path)?;
        Ok(Self::File(watch, name.to_owned()))
    }

    fn process(pid: u32) -> io::Result<Self> {
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(Errno::SRCH)?;
        Ok(Self::Process(pidfd_open(pid, PidfdFlags::empty())?))
    }

    /// Whether the namespace has ended, when the descriptor is ready.
    pub(super) fn is_here(&self) -> bool {
        match self {
            Self::Process(_) => true,
            Self::File(watch, name) => {
                let mut buffer = [MaybeUninit::uninit(); 4096];
                let mut reader = Reader::new(watch, &mut buffer);
                loop {
                    match reader.next() {
                        Ok(event) => {
                            // Without a name it is about the folder.
                            let file =
                                event.file_name().map(|file| file.to_bytes() == name.as_bytes());
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
    }
}

impl AsFd for End {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Process(fd) | Self::File(fd, _) => fd.as_fd(),
        }
    }
}

/// Whether the other end of a descriptor is closed. What it sends is of no meaning.
pub(super) fn is_hung_up(fd: impl AsFd) -> bool {
    let mut fds = [PollFd::new(&fd, PollFlags::IN)];
    let no_wait = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
    if poll(&mut fds, Some(&no_wait)).is_err() {
        return false;
    }
    let events = fds[0].revents();
    if events.contains(PollFlags::IN) {
        // A socket whose other end is closed is readable as well, at its end.
        return !matches!(rustix::io::read(&fd, &mut [0; 256]), Ok(1..) | Err(_));
    }
    !events.is_empty()
}
