//! The processes that have a TUN or TAP device open.

use crate::netlink::Netlink;
use crate::{IfName, Netns, sys};
use rustix::fs::{CWD, Mode, OFlags, RawDir, openat, readlinkat_raw};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::io::{self, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

/// The maximum number of descriptors inspected, of all processes; beyond it, the result is partial.
const DESCRIPTORS_MAX: usize = 500_000;

/// The time limit of the search: it serves an error message.
const TIME_MAX: Duration = Duration::from_secs(1);

/// The maximum number of holders listed: a device has at most 256 queues, a host some dozens of
/// devices.
const HOLDERS_MAX: usize = 4096;

/// The maximum length of a process name in bytes; the kernel's own limit is 15.
const COMMAND_LEN_MAX: usize = 64;

/// A process that has a device open.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Holder {
    /// The process id.
    pub pid: u32,
    /// The process name (`/proc/PID/comm`), up to 15 bytes; unprintable characters are escaped.
    pub command: String,
    /// Its descriptors of the device, one per queue.
    pub fds: Vec<RawFd>,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} ({})", self.pid, self.command)
    }
}

/// The result of [`holders`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Holders {
    /// The processes, by id.
    pub list: Vec<Holder>,
    /// Whether some processes could not be inspected (those of other users, or too many), so that
    /// there may be further holders.
    pub partial: bool,
}

/// The processes that have the device `name` of `netns` open (`None`: of the calling thread's
/// namespace). `name` must not be an alternative name. See [`all_holders`].
///
/// # Errors
/// As [`all_holders`].
pub fn holders(name: &IfName, netns: Option<&Netns>) -> io::Result<Holders> {
    // A device with one queue says whether that is attached: nobody must be searched, or somebody has it unseen.
    let netlink = netns.map_or_else(Netlink::open, Netlink::open_in).ok();
    let queues = netlink.map(|it| sys::ethtool::single_queue(it.as_fd(), name.as_bytes()));
    let queues = queues.and_then(|queues| queues.ok()?);
    if queues == Some(0) {
        return Ok(Holders::default());
    }
    let mut found = search(Some(name), netns)?;
    let list = found.devices.remove(name).unwrap_or_default();
    let partial = found.partial || (list.is_empty() && queues.is_some());
    Ok(Holders { list, partial })
}

/// The result of [`all_holders`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AllHolders {
    /// The holders of each open device, by process id.
    pub devices: BTreeMap<IfName, Vec<Holder>>,
    /// As in [`Holders`].
    pub partial: bool,
}

/// The processes that have devices of `netns` open (`None`: of the calling thread's namespace),
/// from `/proc/PID/fdinfo`.
///
/// It inspects the descriptors of every process that it may read. Processes of other users require
/// `CAP_SYS_PTRACE`; without it the result is marked partial. A device of the same name in another
/// namespace is recognized by the descriptor itself if it can be duplicated (`pidfd_getfd(2)`),
/// otherwise by the namespace of the process, which is wrong for a program that opened the device
/// elsewhere. Processes outside of the caller's pid namespace are invisible.
///
/// # Errors
/// Those of opening `/proc` and `/proc/thread-self/ns/net`.
pub fn all_holders(netns: Option<&Netns>) -> io::Result<AllHolders> {
    search(None, netns)
}

fn search(name: Option<&IfName>, netns: Option<&Netns>) -> io::Result<AllHolders> {
    let inode = match netns {
        Some(netns) => netns.inode()?,
        None => Netns::current()?.inode()?,
    };
    let mut search = Search {
        name,
        inode,
        found: AllHolders::default(),
        count: 0,
        left: DESCRIPTORS_MAX,
        until: Instant::now() + TIME_MAX,
    };
    let entries =
        fs::read_dir("/proc")?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut pids: Vec<u32> = entries.filter_map(|name| name.parse().ok()).collect();
    pids.sort_unstable();
    for pid in pids {
        if search.is_over() {
            search.found.partial = true;
            break;
        }
        search.process(pid);
    }
    Ok(search.found)
}

struct Search<'a> {
    /// The only device of interest, if any.
    name: Option<&'a IfName>,
    /// The inode of the namespace of the devices.
    inode: u64,
    found: AllHolders,
    count: usize,
    left: usize,
    until: Instant,
}

impl Search<'_> {
    fn is_over(&self) -> bool {
        self.left == 0 || self.count >= HOLDERS_MAX || Instant::now() >= self.until
    }

    fn process(&mut self, pid: u32) {
        let mut process = Process { pid, handle: None };
        let fds = match process.descriptors(&mut self.left) {
            Ok(fds) => fds,
            Err(error) => return self.missed(&error.into()),
        };
        let mut held: BTreeMap<IfName, Vec<RawFd>> = BTreeMap::new();
        for (fd, kind) in fds {
            match self.device(&mut process, fd, kind) {
                Ok(Some(device)) => held.entry(device).or_default().push(fd),
                Ok(None) => {}
                Err(error) => self.missed(&error),
            }
        }
        for (device, mut fds) in held {
            fds.sort_unstable();
            self.count += 1;
            let holder = Holder { pid, command: command(pid), fds };
            self.found.devices.entry(device).or_default().push(holder);
        }
    }

    /// The device of interest behind a descriptor, if there is one.
    fn device(
        &mut self,
        process: &mut Process,
        fd: RawFd,
        kind: Kind,
    ) -> io::Result<Option<IfName>> {
        // With the descriptor itself, it takes a fifth of the time.
        let queue = if kind == Kind::Tun { process.duplicate(fd) } else { None };
        let device = match &queue {
            Some(queue) => sys::tun::get_iff(queue.as_fd())
                .ok()
                .and_then(|iff| IfName::new(OsStr::from_bytes(iff.name())).ok()),
            None => process.info(fd)?,
        };
        let device = device.filter(|at| self.name.is_none_or(|name| name == at));
        if device.is_none() {
            return Ok(None);
        }
        let queue = queue.or_else(|| process.duplicate(fd));
        let inode = match queue.and_then(|queue| device_netns(&queue)) {
            Some(inode) => inode,
            None => fs::metadata(format!("/proc/{}/ns/net", process.pid))?.ino(),
        };
        Ok(device.filter(|_| inode == self.inode))
    }

    /// A process that ended meanwhile holds nothing; one that we may not read might.
    fn missed(&mut self, error: &io::Error) {
        let ended = matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH));
        self.found.partial |= !ended;
    }
}

/// What most descriptors are, which need no further look: they have no path, or are well-known devices.
const OTHERS: [&[u8]; 6] =
    [b"socket:", b"pipe:", b"anon_inode:", b"/dev/null", b"/dev/pts/", b"/dev/urandom"];

/// What a descriptor may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// `/dev/net/tun`: a queue, or one to be.
    Tun,
    /// Another file, which may be the same device under another path.
    File,
}

/// A process whose descriptors are inspected.
struct Process {
    pid: u32,
    handle: Option<OwnedFd>,
}

impl Process {
    /// Its descriptors that are files, at most `left` of all.
    fn descriptors(&self, left: &mut usize) -> rustix::io::Result<Vec<(RawFd, Kind)>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = openat(CWD, format!("/proc/{}/fd", self.pid), flags, Mode::empty())?;
        let mut buf = [MaybeUninit::uninit(); 8192];
        let mut entries = RawDir::new(&folder, &mut buf);
        let (mut found, mut target) = (Vec::new(), [0; 64]);
        while let Some(entry) = entries.next()
            && *left > 0
        {
            *left -= 1;
            let entry = entry?;
            let Some(fd) = entry.file_name().to_str().ok().and_then(|name| name.parse().ok())
            else {
                continue;
            };
            let target = match readlinkat_raw(&folder, entry.file_name(), &mut target) {
                Ok(len) => target.get(..len).unwrap_or_default(),
                // Closed meanwhile.
                Err(Errno::NOENT) => continue,
                Err(error) => return Err(error),
            };
            if target == sys::tun::NODE.as_bytes() {
                found.push((fd, Kind::Tun));
            } else if !OTHERS.iter().any(|other| target.starts_with(other)) {
                found.push((fd, Kind::File));
            }
        }
        Ok(found)
    }

    /// A duplicate of a descriptor; `None` if we may not have it.
    fn duplicate(&mut self, fd: RawFd) -> Option<OwnedFd> {
        if self.handle.is_none() {
            let pid = Pid::from_raw(i32::try_from(self.pid).ok()?)?;
            self.handle = pidfd_open(pid, PidfdFlags::empty()).ok();
        }
        pidfd_getfd(self.handle.as_ref()?, fd, PidfdGetfdFlags::empty()).ok()
    }

    /// The device of a descriptor, as the system describes it.
    fn info(&self, fd: RawFd) -> io::Result<Option<IfName>> {
        // A queue has five lines.
        let mut info = [0; 1024];
        let len = fs::File::open(format!("/proc/{}/fdinfo/{fd}", self.pid))?.read(&mut info)?;
        Ok(device_of(&info[..len]))
    }
}

/// The namespace of the device behind a descriptor; `None` if we may not know.
fn device_netns(queue: &OwnedFd) -> Option<u64> {
    let netns = sys::tun::dev_netns(queue.as_fd()).ok()?;
    Netns::try_from(netns).ok()?.inode().ok()
}

/// The device of a descriptor, from the line `iff: NAME` of the tun driver.
fn device_of(info: &[u8]) -> Option<IfName> {
    let mut lines = info.split(|&byte| byte == b'\n');
    let device = lines.find_map(|line| line.strip_prefix(b"iff:"))?;
    IfName::new(OsStr::from_bytes(device.strip_prefix(b"\t").unwrap_or(device))).ok()
}

fn command(pid: u32) -> String {
    let comm = fs::read(format!("/proc/{pid}/comm")).unwrap_or_default();
    let comm = comm.strip_suffix(b"\n").unwrap_or(&comm);
    let text: String = String::from_utf8_lossy(comm).chars().take(COMMAND_LEN_MAX).collect();
    if text.is_empty() { "?".into() } else { text.escape_debug().to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_the_driver_names_the_device() {
        let info = b"pos:\t0\nflags:\t02\nmnt_id:\t30\nino:\t5\niff:\ttun0\n";
        assert_eq!(device_of(info), "tun0".parse().ok());
        assert_eq!(device_of(b"pos:\t0\nflags:\ttun0\n"), None);
        assert_eq!(device_of(b"iff:\t\n"), None);
    }

    #[test]
    fn a_command_is_printable() {
        assert!(!command(std::process::id()).is_empty());
        assert_eq!(command(u32::MAX), "?");
    }
}
