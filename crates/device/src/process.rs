//! Processes: a copy of this one for work in other namespaces, and signals that are passed on.

use crate::sys;
use bitflags::bitflags;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{AtFlags, StatxFlags};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, WaitOptions, WaitStatus, getppid,
    set_parent_process_death_signal, waitid,
};
use rustix::thread::UnshareFlags;
use std::fmt;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus};
use std::time::Duration;

bitflags! {
    /// Kinds of namespaces.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Namespaces: u32 {
        /// Users, groups and capabilities.
        const USER = 1;
        /// Interfaces, addresses, routes, sockets.
        const NET = 2;
        /// Mounts.
        const MOUNT = 4;
        /// Processes: the next child is the first process of the new namespace, and the kernel kills all
        /// others in it when that one ends.
        const PID = 8;
        /// The host name.
        const UTS = 16;
    }
}

impl Namespaces {
    /// Moves the calling **process**, which must have a single thread, permanently into new namespaces.
    ///
    /// # Errors
    /// EINVAL: the process has other threads. EPERM, ENOSPC: the machine does not allow user namespaces,
    /// or a capability is missing.
    pub fn enter_new(self) -> io::Result<()> {
        require_one_thread()?;
        let mut flags = UnshareFlags::empty();
        for (kind, flag) in [
            (Self::USER, UnshareFlags::NEWUSER),
            (Self::NET, UnshareFlags::NEWNET),
            (Self::MOUNT, UnshareFlags::NEWNS),
            (Self::PID, UnshareFlags::NEWPID),
            (Self::UTS, UnshareFlags::NEWUTS),
        ] {
            flags.set(flag, self.contains(kind));
        }
        sys::netns::unshare(flags)
    }
}

/// The most groups that a user is in (`NGROUPS_MAX`).
const GROUPS_MAX: usize = 65536;

/// The supplementary groups of the process that connected to a unix socket (`SO_PEERGROUPS`).
///
/// # Errors
/// Those of getsockopt(2): the kernel is older than 4.13, or the socket is of another family.
pub fn groups_of_peer(socket: BorrowedFd<'_>) -> io::Result<Vec<u32>> {
    let mut groups = vec![0; 64];
    let mut count = sys::process::peer_groups(socket, &mut groups);
    if matches!(&count, Err(error) if error.raw_os_error() == Some(libc::ERANGE)) {
        groups.resize(GROUPS_MAX, 0);
        count = sys::process::peer_groups(socket, &mut groups);
    }
    groups.truncate(count?);
    Ok(groups)
}

/// Checks that a socket is connected (`SO_PEERNAME`).
///
/// # Errors
/// ENOTCONN.
pub fn require_peer(socket: BorrowedFd<'_>) -> io::Result<()> {
    sys::process::require_peer(socket)
}

/// A child process. Dropping the handle neither ends nor reaps it.
#[derive(Debug)]
pub struct Child {
    pid: Pid,
    pidfd: OwnedFd,
}

impl Child {
    /// Starts a copy of this process, which must have a single thread. The copy does `work` and exits with
    /// its result. Nothing that the caller holds is dropped in the copy, and its descriptors stay open
    /// there.
    ///
    /// # Errors
    /// EINVAL: the process has other threads, which a copy lacks. EAGAIN, ENOMEM: too many processes.
    pub fn fork(work: impl FnOnce() -> u8) -> io::Result<Self> {
        require_one_thread()?;
        Self::fork_here(work)
    }

    fn fork_here(work: impl FnOnce() -> u8) -> io::Result<Self> {
        Self::of(sys::process::fork(work)?)
    }

    /// A process that nobody has waited for: the number is its own until then.
    fn of(pid: Pid) -> io::Result<Self> {
        Ok(Self { pid, pidfd: rustix::process::pidfd_open(pid, PidfdFlags::empty())? })
    }

    /// As [`Self::fork`], for a process that outlives what the caller does now: it has no descriptor but `kept`, also
    /// no standard stream, and ends when this process does.
    ///
    /// # Errors
    /// As [`Self::fork`].
    pub fn fork_apart(kept: OwnedFd, work: impl FnOnce(OwnedFd) -> u8) -> io::Result<Self> {
        require_one_thread()?;
        Self::fork_apart_of_threads(kept, work)
    }

    /// As [`Self::fork_apart`], where this process has other threads, which the copy lacks: a lock that one of them holds
    /// stays locked there, but those of the allocator. The copy ends when the calling **thread** does. For tests, which
    /// have threads of their own.
    ///
    /// # Errors
    /// EAGAIN, ENOMEM: too many processes.
    pub fn fork_apart_of_threads(
        kept: OwnedFd,
        work: impl FnOnce(OwnedFd) -> u8,
    ) -> io::Result<Self> {
        let parent = rustix::process::getpid();
        Self::fork_here(|| {
            let is_alone = set_parent_process_death_signal(Some(Signal::KILL)).is_ok()
                && getppid() == Some(parent)
                && block_all_signals().is_ok()
                && sys::process::close_all_but(&[kept.as_raw_fd()]).is_ok();
            if is_alone { work(kept) } else { u8::MAX }
        })
    }

    /// As [`Self::fork_apart`], with several descriptors. It writes to standard error as this process does.
    ///
    /// # Errors
    /// As [`Self::fork`].
    pub fn fork_beside(
        kept: Vec<OwnedFd>,
        work: impl FnOnce(Vec<OwnedFd>) -> u8,
    ) -> io::Result<Self> {
        require_one_thread()?;
        let parent = rustix::process::getpid();
        Self::fork_here(|| {
            let numbers: Vec<_> = kept.iter().map(AsRawFd::as_raw_fd).chain([2]).collect();
            let is_alone = set_parent_process_death_signal(Some(Signal::KILL)).is_ok()
                && getppid() == Some(parent)
                && block_all_signals().is_ok()
                && sys::process::close_all_but(&numbers).is_ok();
            if is_alone { work(kept) } else { u8::MAX }
        })
    }

    /// Starts a program after `prepare`, which the copy of this process does, with no signal blocked. Unlike
    /// `Command::spawn` it leaves those blocked here that this process reads, so that none is lost. This process must
    /// have a single thread.
    ///
    /// # Errors
    /// As [`Self::fork`], those of `prepare`, and those of execve(2).
    pub fn exec(
        command: &mut Command,
        prepare: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<Self> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
        let child = Self::fork(|| {
            let error = match prepare().and_then(|()| sys::process::unblock_signals()) {
                Ok(()) => command.exec(),
                Err(error) => error,
            };
            let errno = error.raw_os_error().unwrap_or(libc::EINVAL);
            // Without a parent nobody reads it.
            let _ = rustix::io::write(&write, &errno.to_ne_bytes());
            u8::MAX
        })?;
        drop(write);
        let mut errno = [0; 4];
        // The program closes the pipe as it starts.
        let len = rustix::io::retry_on_intr(|| rustix::io::read(&read, &mut errno))?;
        if len == 0 {
            return Ok(child);
        }
        child.wait()?;
        Err(io::Error::from_raw_os_error(i32::from_ne_bytes(errno)))
    }

    /// Starts a program.
    ///
    /// # Errors
    /// Those of fork(2) and execve(2).
    pub fn spawn(command: &mut Command) -> io::Result<Self> {
        Self::of(Pid::from_child(&command.spawn()?))
    }

    /// As [`Self::spawn`], as an orphan: its parent is a service manager, or process 1. This process may have threads.
    ///
    /// # Errors
    /// As [`Self::spawn`].
    pub fn spawn_orphan(command: &mut Command) -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC;
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        let mut ours = Some(ours);
        let starter = Self::fork_here(|| {
            drop(ours.take());
            let spawned = command.spawn().map(|child| Pid::from_child(&child).as_raw_pid());
            let errno = |error: io::Error| -error.raw_os_error().unwrap_or(libc::EINVAL);
            let _ = rustix::io::write(&theirs, &spawned.unwrap_or_else(errno).to_ne_bytes());
            // Until the other end is closed, the program has its parent, and the number is its own.
            let _ = rustix::io::read(&theirs, &mut [0]);
            0
        })?;
        drop(theirs);
        let mut number = (-libc::EIO).to_ne_bytes();
        let reader = ours.as_ref().ok_or(rustix::io::Errno::BADF)?;
        rustix::io::retry_on_intr(|| rustix::io::read(reader, &mut number))?;
        let number = i32::from_ne_bytes(number);
        let spawned = Pid::from_raw(number.max(0)).map(Self::of);
        drop(ours);
        starter.wait()?;
        spawned.unwrap_or_else(|| Err(io::Error::from_raw_os_error(-number)))
    }

    /// A process that another one has started and passed on: its number and its pidfd. EINVAL: it is no number.
    ///
    /// # Errors
    /// See above.
    pub fn adopt(pid: u32, pidfd: OwnedFd) -> io::Result<Self> {
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
        Ok(Self { pid: pid.ok_or(io::ErrorKind::InvalidInput)?, pidfd })
    }

    /// Its number.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// ESRCH: it has ended.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        Ok(rustix::process::pidfd_send_signal(&self.pidfd, signal)?)
    }

    /// Waits for its end, and returns its status as shells do: 128 + n after signal n.
    ///
    /// # Errors
    /// ECHILD: it was waited for before.
    pub fn wait(&self) -> io::Result<u8> {
        let wait = || rustix::process::waitpid(Some(self.pid), WaitOptions::empty());
        let ended = rustix::io::retry_on_intr(wait)?.ok_or(rustix::io::Errno::CHILD)?;
        Ok(shell_status(ended.1))
    }

    /// Waits for its end, and returns how it exited; `None` if another process is its parent.
    ///
    /// # Errors
    /// ENOMEM.
    pub fn exit_status(&self) -> io::Result<Option<ExitStatus>> {
        let mut fds = [PollFd::new(&self.pidfd, PollFlags::IN)];
        rustix::io::retry_on_intr(|| poll(&mut fds, None))?;
        let status = waitid(WaitId::PidFd(self.pidfd.as_fd()), WaitIdOptions::EXITED);
        Ok(status.ok().flatten().map(|status| {
            let code = status.exit_status().map(|code| code << 8);
            ExitStatus::from_raw(code.or(status.terminating_signal()).unwrap_or_default())
        }))
    }
}

impl From<Child> for OwnedFd {
    /// The pidfd.
    fn from(child: Child) -> Self {
        child.pidfd
    }
}

impl AsFd for Child {
    /// Readable when the process has ended.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

/// The status of a process as shells print it.
#[must_use]
pub fn shell_status(status: WaitStatus) -> u8 {
    let number = match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => code,
        (None, Some(signal)) => 128 + signal,
        (None, None) => 255,
    };
    u8::try_from(number).unwrap_or(255)
}

/// Has a program start with no signal blocked, whichever this process blocks.
pub fn unblock_signals_of(command: &mut Command) {
    sys::process::unblock_signals_of(command);
}

/// The shortest time slice that the kernel grants (`kernel/sched/syscalls.c`).
const SHORT_SLICE: Duration = Duration::from_micros(100);

/// Gives the calling thread the shortest time slice, 0.1 ms: it runs sooner after it woke up than threads with longer ones,
/// and not more in all. Threads and programs that it starts have the default slice, and no negative nice value. Without
/// effect on threads in real time, and before Linux 6.12.
///
/// # Errors
/// EPERM or ENOSYS: a filter of system calls forbids it.
pub fn shorten_time_slice() -> io::Result<()> {
    let mut attr = sys::process::scheduling()?;
    if i32::try_from(attr.sched_policy) != Ok(libc::SCHED_OTHER) {
        return Ok(());
    }
    attr.sched_runtime = u64::try_from(SHORT_SLICE.as_nanos()).unwrap_or(0);
    attr.sched_flags |= RESET_ON_FORK;
    sys::process::set_scheduling(&attr)
}

/// `SCHED_FLAG_RESET_ON_FORK`.
const RESET_ON_FORK: u64 = 1;

/// The time slice of the calling thread; zero before Linux 6.12.
///
/// # Errors
/// As [`shorten_time_slice`].
pub fn time_slice() -> io::Result<Duration> {
    Ok(Duration::from_nanos(sys::process::scheduling()?.sched_runtime))
}

/// Keeps lookups of users, groups and hosts to files and DNS in a program that is linked statically with glibc: the modules
/// of nsswitch.conf(5) belong to the C library of the machine and would crash it. Does nothing in other programs. Call it
/// before the first lookup.
pub fn keep_lookups_static() {
    sys::name_service::use_what_is_built_in();
}

/// The signals that a thread blocks, as they were before [`block_all_signals`].
#[derive(Clone, Copy)]
pub struct SignalMask(sys::process::Mask);

impl SignalMask {
    /// Blocks exactly these signals in the calling thread, and in threads and processes that it starts.
    ///
    /// # Errors
    /// None in practice.
    pub fn restore(&self) -> io::Result<()> {
        sys::process::restore_signals(&self.0)
    }
}

impl fmt::Debug for SignalMask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignalMask").finish_non_exhaustive()
    }
}

/// Blocks all signals in the calling thread, and in threads and processes that it starts.
///
/// # Errors
/// None in practice.
pub fn block_all_signals() -> io::Result<SignalMask> {
    sys::process::block_signals(None).map(SignalMask)
}

/// A signal that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Which.
    pub signal: Signal,
    /// The kernel sent it, such as the terminal on Ctrl-C: other processes of the terminal's job got it too.
    pub is_from_kernel: bool,
}

/// Signals as a descriptor to read, with their origin. They stay blocked when it is dropped.
#[derive(Debug)]
pub struct SignalReader(OwnedFd);

impl SignalReader {
    /// Blocks these signals in the calling thread and those that it starts, and reads them from now on.
    ///
    /// # Errors
    /// EMFILE.
    pub fn new(signals: &[Signal]) -> io::Result<Self> {
        let numbers: Vec<i32> = signals.iter().map(|signal| signal.as_raw()).collect();
        sys::process::block_signals(Some(&numbers))?;
        sys::process::signal_descriptor(&numbers).map(Self)
    }

    /// The next signal, if there is one.
    pub fn read(&self) -> Option<Received> {
        let mut record = [0; sys::process::SIGNAL_LEN];
        let len = rustix::io::retry_on_intr(|| rustix::io::read(&self.0, &mut record)).ok()?;
        if len < record.len() {
            return None;
        }
        let (number, is_from_kernel) = sys::process::decode_signal(&record);
        Some(Received { signal: Signal::from_named_raw(number)?, is_from_kernel })
    }
}

impl AsFd for SignalReader {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The version of Landlock of this kernel; 0 without it.
#[must_use]
pub fn landlock_version() -> u32 {
    sys::sandbox::landlock_version()
}

/// Whether this kernel filters system calls (seccomp).
#[must_use]
pub fn has_seccomp_filters() -> bool {
    sys::sandbox::has_seccomp_filters()
}

/// Whether threads are started by clone3(2); by clone(2) after it otherwise.
#[must_use]
pub fn has_clone3() -> bool {
    sys::sandbox::has_clone3()
}

/// Whether statx(2) is there: filters of old containers take it away.
#[must_use]
pub fn has_statx() -> bool {
    let found = rustix::fs::statx(rustix::fs::CWD, c"/", AtFlags::empty(), StatxFlags::TYPE);
    !matches!(found, Err(rustix::io::Errno::NOSYS))
}

/// Has a system call that seccomp forbids (`SECCOMP_RET_TRAP`) end this process by SIGSYS, after a message with the name that
/// `name_of` knows for its number.
///
/// # Errors
/// None in practice.
pub fn report_forbidden_calls(name_of: fn(std::ffi::c_long) -> &'static str) -> io::Result<()> {
    sys::sandbox::report_forbidden_calls(name_of)
}

/// Asks the kernel to let the parent trace this process: for tests, of a sandbox that forbids it.
///
/// # Errors
/// EPERM.
pub fn trace_me() -> io::Result<()> {
    sys::sandbox::trace_me()
}

fn require_one_thread() -> io::Result<()> {
    if fs::read_dir("/proc/self/task")?.take(2).count() > 1 {
        return Err(rustix::io::Errno::INVAL.into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parent_of(child: &Child) -> u32 {
        let status = fs::read_to_string(format!("/proc/{}/status", child.pid())).unwrap();
        let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"));
        parent.unwrap().trim().parse().unwrap()
    }

    #[test]
    fn an_orphan_is_the_child_of_another_process() {
        let mut sleep = Command::new("sleep");
        sleep.arg("1000");
        let child = Child::spawn(&mut sleep).unwrap();
        assert_eq!(parent_of(&child), std::process::id());
        let orphan = Child::spawn_orphan(&mut sleep).unwrap();
        assert_ne!(parent_of(&orphan), std::process::id());
        for child in [&child, &orphan] {
            child.signal(Signal::KILL).unwrap();
        }
        assert_eq!(child.exit_status().unwrap().unwrap().signal(), Some(9));
        assert!(orphan.exit_status().unwrap().is_none());
    }

    #[test]
    fn the_status_is_that_of_the_program_and_errors_are_those_of_its_start() {
        let child = Child::spawn(Command::new("sh").args(["-c", "exit 3"])).unwrap();
        assert_eq!(child.exit_status().unwrap().unwrap().code(), Some(3));
        for spawn in [Child::spawn, Child::spawn_orphan] {
            let error = spawn(&mut Command::new("/nowhere/at/all")).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::NotFound);
        }
    }
}
