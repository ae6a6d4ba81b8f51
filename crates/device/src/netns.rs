//! Network namespaces: open one, create one, run code in one.

use crate::broker::{self, Request};
use crate::rights::stat_of;
use crate::sys;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::thread::{LinkNameSpaceType, UnshareFlags};
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// Where `ip netns` keeps named namespaces.
const NAMED: &str = "/run/netns";

/// A handle to a network namespace, which keeps the namespace alive.
///
/// No method changes the namespace of the calling thread, except those that say so.
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
    /// Those of opening `/proc/thread-self/ns/net`: ENOENT if `/proc` is not mounted.
    pub fn current() -> io::Result<Self> {
        Self::open("/proc/thread-self/ns/net")
    }

    /// Opens the namespace behind a file: a bind mount such as `/run/netns/NAME`, or
    /// `/proc/PID/ns/net`.
    ///
    /// # Errors
    /// ENOENT, EACCES as for any file; EINVAL if the file is not a network namespace.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        // By openat(2), as the standard library opens files: a sandbox need not allow open(2).
        let opened = rustix::fs::openat(CWD, path.as_ref(), flags, Mode::empty());
        let opened = opened.map_err(io::Error::from);
        let wanted = || Request::Namespace(path.as_ref().to_owned());
        Self::try_from(broker::open_refused(opened, wanted)?)
    }

    /// Opens the namespace with this name, as `ip netns add` creates them.
    ///
    /// # Errors
    /// ENOENT if there is none; EINVAL if the name contains `/`, is empty, `.` or `..`.
    pub fn named(name: &str) -> io::Result<Self> {
        if name.is_empty() || name.contains('/') || name == "." || name == ".." {
            return Err(io::Error::from(rustix::io::Errno::INVAL));
        }
        Self::open(Path::new(NAMED).join(name))
    }

    /// Opens the namespace of a process.
    ///
    /// # Errors
    /// ENOENT if the process does not exist; EACCES if it belongs to another user.
    pub fn of_pid(pid: u32) -> io::Result<Self> {
        Self::open(format!("/proc/{pid}/ns/net"))
    }

    /// Opens the namespace that a device is in, by one of its queues.
    ///
    /// # Errors
    /// ENOTTY: it is no queue; EPERM without `CAP_NET_ADMIN`.
    pub fn of_device(queue: BorrowedFd<'_>) -> io::Result<Self> {
        let opened = broker::open(&Request::DeviceNamespace, &[queue]);
        Self::try_from(opened.unwrap_or_else(|| sys::tun::dev_netns(queue))?)
    }

    /// Creates a namespace without a name. It ends when this handle and all users of it are gone.
    ///
    /// # Errors
    /// EPERM without `CAP_SYS_ADMIN`; ENOSPC at the limit `user.max_net_namespaces`.
    pub fn new_anonymous() -> io::Result<Self> {
        on_a_thread(|| {
            sys::netns::unshare_net()?;
            Self::current()
        })?
    }

    /// Moves the calling **thread** permanently into a new network namespace.
    ///
    /// # Errors
    /// As [`Netns::new_anonymous`].
    pub fn enter_new() -> io::Result<()> {
        sys::netns::unshare_net()
    }

    /// Moves the calling **process** permanently into a new user namespace and a new network
    /// namespace of it, in which it has all capabilities over the network. The current user and
    /// group become root there. Call it before the first thread starts.
    ///
    /// # Errors
    /// EINVAL if the process has more than one thread; EPERM or ENOSPC if the machine does not
    /// allow user namespaces (`user.max_user_namespaces`, AppArmor).
    pub fn enter_new_rootless() -> io::Result<()> {
        let (user, group) = (rustix::process::geteuid(), rustix::process::getegid());
        sys::netns::unshare(UnshareFlags::NEWUSER | UnshareFlags::NEWNET)?;
        fs::write("/proc/self/uid_map", format!("0 {} 1", user.as_raw()))?;
        // An unprivileged user may map a group only after giving up setgroups(2).
        fs::write("/proc/self/setgroups", "deny")?;
        fs::write("/proc/self/gid_map", format!("0 {} 1", group.as_raw()))
    }

    /// Moves the calling **thread** permanently into this namespace.
    ///
    /// # Errors
    /// EPERM without `CAP_SYS_ADMIN`, in the current user namespace and over this namespace.
    pub fn enter(&self) -> io::Result<()> {
        Ok(rustix::thread::move_into_link_name_space(
            self.0.as_fd(),
            Some(LinkNameSpaceType::Network),
        )?)
    }

    /// Moves the calling **process** permanently into this namespace, and before that into the user
    /// namespace that owns it, in which it has all capabilities then. Needs no privilege over a namespace
    /// that this user made. The process must have a single thread.
    ///
    /// # Errors
    /// EPERM: the owner of the namespace is another user, or its user namespace is not below this one.
    /// EINVAL: the process has other threads.
    pub fn enter_as_owner(&self) -> io::Result<()> {
        let owner = sys::netns::owner(self.0.as_fd())?;
        let own = fs::File::open("/proc/self/ns/user")?;
        // To enter the own one again is EINVAL.
        if identity(&owner)? != identity(&own)? {
            let kind = Some(LinkNameSpaceType::User);
            rustix::thread::move_into_link_name_space(owner.as_fd(), kind)?;
        }
        self.enter()
    }

    /// Runs `work` in this namespace: at once if the calling thread is in it, which needs no privilege, and otherwise on a
    /// new thread that ends with it.
    ///
    /// # Errors
    /// As [`Netns::enter`]; EAGAIN if no thread can be created.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> io::Result<T> {
        if Self::current().and_then(|current| self.is_same(&current)).unwrap_or(false) {
            return Ok(work());
        }
        if broker::is_installed() {
            // Without the capability, and a sandbox would end the process for trying.
            return Err(rustix::io::Errno::PERM.into());
        }
        on_a_thread(|| self.enter().map(|()| work()))?
    }

    /// A second handle to the same namespace.
    ///
    /// # Errors
    /// EMFILE at the process's limit of descriptors.
    pub fn try_clone(&self) -> io::Result<Self> {
        self.0.try_clone().map(Self)
    }

    /// Whether both handles refer to the same namespace.
    ///
    /// # Errors
    /// Those of statx(2).
    pub fn is_same(&self, other: &Self) -> io::Result<bool> {
        Ok(identity(&self.0)? == identity(&other.0)?)
    }

    /// The inode number, which identifies the namespace in `lsns` and `/proc`.
    ///
    /// # Errors
    /// Those of statx(2).
    pub fn inode(&self) -> io::Result<u64> {
        Ok(stat_of(&self.0)?.stx_ino)
    }
}

/// What tells one namespace from another: device and inode.
fn identity(file: impl AsFd) -> io::Result<(u32, u32, u64)> {
    let stat = stat_of(file)?;
    Ok((stat.stx_dev_major, stat.stx_dev_minor, stat.stx_ino))
}

/// Runs `work` on a new thread, so that changes to "the calling thread" end with it.
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

    /// Takes over a descriptor.
    ///
    /// # Errors
    /// EINVAL if it is not a network namespace.
    fn try_from(fd: OwnedFd) -> io::Result<Self> {
        let kind = sys::netns::namespace_type(fd.as_fd())?;
        if kind == sys::netns::NET { Ok(Self(fd)) } else { Err(rustix::io::Errno::INVAL.into()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};

    /// As for a switch with CAP_NET_RAW alone whose port is an interface of its own namespace.
    #[test]
    fn work_in_the_own_namespace_needs_no_capability() {
        let thread = std::thread::spawn(|| {
            let (here, other) = (Netns::current().unwrap(), Netns::new_anonymous().ok());
            let none = CapabilitySet::empty();
            let sets = CapabilitySets { effective: none, permitted: none, inheritable: none };
            set_capabilities(None, sets).unwrap();
            assert_eq!(here.run(|| 7).unwrap(), 7);
            if let Some(other) = other {
                assert_eq!(other.run(|| 7).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
            }
        });
        thread.join().unwrap();
    }
}
