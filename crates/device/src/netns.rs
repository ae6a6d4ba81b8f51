//! Network namespaces: open one, make one, run code in one.

use crate::sys;
use rustix::fs::{Mode, OFlags};
use rustix::thread::LinkNameSpaceType;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// Where `ip netns` keeps the namespaces that have a name.
const NAMED: &str = "/run/netns";

/// A network namespace, held open: it lives at least as long as this value.
///
/// Everything here leaves the calling thread where it is, but for the functions that say so.
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// let here = adit_device::Netns::current()?;
/// let inode = here.run(|| std::fs::read_link("/proc/thread-self/ns/net"))??;
/// assert_eq!(inode, std::fs::read_link("/proc/thread-self/ns/net")?);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Netns(OwnedFd);

impl Netns {
    /// The namespace of the calling thread.
    ///
    /// # Errors
    /// Those of opening `/proc/thread-self/ns/net`: ENOENT where `/proc` is not mounted.
    pub fn current() -> io::Result<Self> {
        Self::open("/proc/thread-self/ns/net")
    }

    /// The namespace behind a file: a bind mount such as `/run/netns/NAME`, or `/proc/PID/ns/net`.
    ///
    /// # Errors
    /// ENOENT, EACCES as for any file; EINVAL if the file is not a network namespace.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        Self::try_from(rustix::fs::open(path.as_ref(), flags, Mode::empty())?)
    }

    /// The namespace with this name, as `ip netns add` made it.
    ///
    /// # Errors
    /// EINVAL if the name has a `/` or is empty, `.` or `..`; ENOENT if there is none.
    pub fn named(name: &str) -> io::Result<Self> {
        if name.is_empty() || name.contains('/') || name == "." || name == ".." {
            return Err(io::Error::from(rustix::io::Errno::INVAL));
        }
        Self::open(Path::new(NAMED).join(name))
    }

    /// The namespace of a process.
    ///
    /// # Errors
    /// ENOENT if there is no such process; EACCES if it is somebody else's.
    pub fn of_pid(pid: u32) -> io::Result<Self> {
        Self::open(format!("/proc/{pid}/ns/net"))
    }

    /// A new namespace without a name; it goes when this value and all that is in it are gone.
    ///
    /// # Errors
    /// EPERM without `CAP_SYS_ADMIN`; ENOSPC if `user.max_net_namespaces` is reached.
    pub fn new_anonymous() -> io::Result<Self> {
        on_a_thread(|| {
            sys::netns::unshare_net()?;
            Self::current()
        })?
    }

    /// Moves the calling **thread**, for good, into a new network namespace.
    ///
    /// # Errors
    /// As [`Netns::new_anonymous`].
    pub fn enter_new() -> io::Result<()> {
        sys::netns::unshare_net()
    }

    /// Moves the calling **process**, for good, into a new user namespace and a new network
    /// namespace of it, in which it has every capability over the network; the present user and
    /// group become root there. To be called before the first thread starts.
    ///
    /// # Errors
    /// EINVAL if the process has more than one thread; EPERM or ENOSPC where the machine does not
    /// allow user namespaces (`user.max_user_namespaces`, AppArmor).
    pub fn enter_new_rootless() -> io::Result<()> {
        let (user, group) = (rustix::process::geteuid(), rustix::process::getegid());
        sys::netns::unshare_user_net()?;
        fs::write("/proc/self/uid_map", format!("0 {} 1", user.as_raw()))?;
        // A user without privileges may map a group only after giving up setgroups(2).
        fs::write("/proc/self/setgroups", "deny")?;
        fs::write("/proc/self/gid_map", format!("0 {} 1", group.as_raw()))
    }

    /// Moves the calling **thread** into this namespace, for good.
    ///
    /// # Errors
    /// EPERM without `CAP_SYS_ADMIN` both here and over the namespace.
    pub fn enter(&self) -> io::Result<()> {
        Ok(rustix::thread::move_into_link_name_space(
            self.0.as_fd(),
            Some(LinkNameSpaceType::Network),
        )?)
    }

    /// Runs `work` inside this namespace, on a thread that ends with it.
    ///
    /// # Errors
    /// As [`Netns::enter`]; EAGAIN if no thread can be had.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> io::Result<T> {
        on_a_thread(|| self.enter().map(|()| work()))?
    }

    /// A second handle on the same namespace.
    ///
    /// # Errors
    /// EMFILE if the process has no descriptor left.
    pub fn try_clone(&self) -> io::Result<Self> {
        self.0.try_clone().map(Self)
    }

    /// Whether both handles mean one namespace.
    ///
    /// # Errors
    /// Those of fstat(2).
    pub fn is_same(&self, other: &Self) -> io::Result<bool> {
        let (a, b) = (rustix::fs::fstat(&self.0)?, rustix::fs::fstat(&other.0)?);
        Ok((a.st_dev, a.st_ino) == (b.st_dev, b.st_ino))
    }

    /// The inode number, by which `ip netns identify`, `lsns` and `/proc` know the namespace.
    ///
    /// # Errors
    /// Those of fstat(2).
    pub fn inode(&self) -> io::Result<u64> {
        Ok(rustix::fs::fstat(&self.0)?.st_ino)
    }
}

/// Runs `work` on a thread of its own, so that what it does to "the calling thread" ends with it.
fn on_a_thread<T: Send>(work: impl FnOnce() -> T + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("netns".into()).spawn_scoped(scope, work)?;
        thread.join().or_else(|panic| std::panic::resume_unwind(panic))
    })
}

impl AsFd for Netns {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<Netns> for OwnedFd {
    fn from(netns: Netns) -> Self {
        netns.0
    }
}

impl TryFrom<OwnedFd> for Netns {
    type Error = io::Error;

    /// Takes a descriptor over.
    ///
    /// # Errors
    /// EINVAL if it is not a network namespace.
    fn try_from(fd: OwnedFd) -> io::Result<Self> {
        let kind = sys::netns::namespace_type(fd.as_fd())?;
        if kind == sys::netns::NET { Ok(Self(fd)) } else { Err(rustix::io::Errno::INVAL.into()) }
    }
}
