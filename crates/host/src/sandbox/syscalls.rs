//! System calls by name, and those that every process makes.

/// What the language, its memory and its threads need, whatever a program does; and to print, and to end.
pub(super) const PROCESS: &[&str] = &[
    // Memory.
    "brk",
    "madvise",
    "mmap",
    "mprotect",
    "mremap",
    "munmap",
    // Threads: the background jobs of a service.
    #[cfg(target_env = "gnu")]
    "clone3",
    #[cfg(not(target_env = "gnu"))]
    "clone",
    "set_robust_list",
    "rseq",
    "futex",
    "sched_yield",
    "sched_getaffinity",
    "exit",
    "gettid",
    "prctl",
    // Signals, and a panic's abort.
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "sigaltstack",
    "restart_syscall",
    "getpid",
    "tgkill",
    "exit_group",
    // Messages and descriptors.
    "read",
    "write",
    "writev",
    "close",
    "fcntl",
    "ppoll",
    // Clock and random numbers, where the vDSO does not have them.
    "clock_gettime",
    "clock_nanosleep",
    "getrandom",
    // std asks for the type of a descriptor, and for the size of a terminal.
    #[cfg(not(target_env = "gnu"))]
    "fstat",
    "statx",
    "ioctl",
];

/// What the C library calls on processors that lack the first one.
const SUCCESSORS: &[(&str, &str)] =
    &[("open", "openat"), ("poll", "ppoll"), ("readlink", "readlinkat"), ("unlink", "unlinkat")];

/// The call of this processor that a name of a list means; `None` if it has none.
pub(super) fn of_this_processor(name: &'static str) -> Option<&'static str> {
    found(name, |name| number(name).is_some())
}

fn found(name: &'static str, is_there: impl Fn(&str) -> bool) -> Option<&'static str> {
    let successor = || SUCCESSORS.iter().find(|(old, _)| *old == name).map(|(_, new)| *new);
    if is_there(name) { Some(name) } else { successor().filter(|new| is_there(new)) }
}

/// Calls that are on no list, for messages about them.
pub(super) const FORBIDDEN: &[(&str, libc::c_long)] = &[
    ("chroot", libc::SYS_chroot),
    ("execve", libc::SYS_execve),
    ("execveat", libc::SYS_execveat),
    ("io_uring_setup", libc::SYS_io_uring_setup),
    ("kill", libc::SYS_kill),
    ("mount", libc::SYS_mount),
    ("process_vm_readv", libc::SYS_process_vm_readv),
    ("ptrace", libc::SYS_ptrace),
    ("setuid", libc::SYS_setuid),
    ("unshare", libc::SYS_unshare),
];

macro_rules! table {
    ($($(#[$meta:meta])* $name:ident $number:ident,)*) => {
        /// The calls of this processor by name.
        pub(super) const NAMES: &[(&str, libc::c_long)] =
            &[$($(#[$meta])* (stringify!($name), libc::$number),)*];

        /// The number of a system call on this processor; `None` if it has none of that name.
        pub(super) fn number(name: &str) -> Option<i64> {
            match name {
                $($(#[$meta])* stringify!($name) => Some(libc::$number.into()),)*
                _ => None,
            }
        }

        /// Whether a list may have this name: any processor has such a call.
        #[must_use]
        pub fn is_known(name: &str) -> bool {
            [$(stringify!($name),)*].contains(&name)
        }
    };
}

table! {
    accept4 SYS_accept4,
    #[cfg(target_arch = "x86_64")]
    access SYS_access,
    bind SYS_bind,
    bpf SYS_bpf,
    brk SYS_brk,
    clock_gettime SYS_clock_gettime,
    clock_nanosleep SYS_clock_nanosleep,
    clone SYS_clone,
    clone3 SYS_clone3,
    close SYS_close,
    connect SYS_connect,
    dup SYS_dup,
    #[cfg(target_arch = "x86_64")]
    dup2 SYS_dup2,
    dup3 SYS_dup3,
    epoll_create1 SYS_epoll_create1,
    epoll_ctl SYS_epoll_ctl,
    epoll_pwait SYS_epoll_pwait,
    epoll_pwait2 SYS_epoll_pwait2,
    #[cfg(target_arch = "x86_64")]
    epoll_wait SYS_epoll_wait,
    eventfd2 SYS_eventfd2,
    exit SYS_exit,
    exit_group SYS_exit_group,
    faccessat SYS_faccessat,
    fchmod SYS_fchmod,
    fcntl SYS_fcntl,
    fdatasync SYS_fdatasync,
    flock SYS_flock,
    fstat SYS_fstat,
    fsync SYS_fsync,
    ftruncate SYS_ftruncate,
    futex SYS_futex,
    getdents64 SYS_getdents64,
    getpeername SYS_getpeername,
    getpid SYS_getpid,
    getpriority SYS_getpriority,
    getrandom SYS_getrandom,
    getsockname SYS_getsockname,
    getsockopt SYS_getsockopt,
    gettid SYS_gettid,
    getuid SYS_getuid,
    geteuid SYS_geteuid,
    inotify_add_watch SYS_inotify_add_watch,
    inotify_init1 SYS_inotify_init1,
    ioctl SYS_ioctl,
    listen SYS_listen,
    lseek SYS_lseek,
    madvise SYS_madvise,
    membarrier SYS_membarrier,
    #[cfg(target_arch = "x86_64")]
    mkdir SYS_mkdir,
    mkdirat SYS_mkdirat,
    mlock SYS_mlock,
    mlock2 SYS_mlock2,
    #[cfg(target_pointer_width = "64")]
    mmap SYS_mmap,
    mprotect SYS_mprotect,
    mremap SYS_mremap,
    munmap SYS_munmap,
    nanosleep SYS_nanosleep,
    #[cfg(target_pointer_width = "64")]
    newfstatat SYS_newfstatat,
    #[cfg(target_arch = "x86_64")]
    open SYS_open,
    openat SYS_openat,
    pidfd_send_signal SYS_pidfd_send_signal,
    pipe2 SYS_pipe2,
    #[cfg(target_arch = "x86_64")]
    poll SYS_poll,
    ppoll SYS_ppoll,
    prctl SYS_prctl,
    prlimit64 SYS_prlimit64,
    pread64 SYS_pread64,
    pwrite64 SYS_pwrite64,
    read SYS_read,
    #[cfg(target_arch = "x86_64")]
    readlink SYS_readlink,
    readlinkat SYS_readlinkat,
    readv SYS_readv,
    recvfrom SYS_recvfrom,
    recvmmsg SYS_recvmmsg,
    recvmsg SYS_recvmsg,
    #[cfg(target_arch = "x86_64")]
    rename SYS_rename,
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    renameat SYS_renameat,
    renameat2 SYS_renameat2,
    restart_syscall SYS_restart_syscall,
    rseq SYS_rseq,
    rt_sigaction SYS_rt_sigaction,
    rt_sigprocmask SYS_rt_sigprocmask,
    rt_sigreturn SYS_rt_sigreturn,
    sched_getaffinity SYS_sched_getaffinity,
    sched_yield SYS_sched_yield,
    sendmmsg SYS_sendmmsg,
    sendmsg SYS_sendmsg,
    sendto SYS_sendto,
    set_robust_list SYS_set_robust_list,
    setns SYS_setns,
    setpriority SYS_setpriority,
    setsockopt SYS_setsockopt,
    shutdown SYS_shutdown,
    sigaltstack SYS_sigaltstack,
    socket SYS_socket,
    socketpair SYS_socketpair,
    splice SYS_splice,
    statx SYS_statx,
    tgkill SYS_tgkill,
    timerfd_create SYS_timerfd_create,
    timerfd_settime SYS_timerfd_settime,
    uname SYS_uname,
    #[cfg(target_arch = "x86_64")]
    unlink SYS_unlink,
    unlinkat SYS_unlinkat,
    wait4 SYS_wait4,
    waitid SYS_waitid,
    write SYS_write,
    writev SYS_writev,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_of_old_processors_has_its_successor_on_others() {
        for (old, new) in SUCCESSORS {
            assert_eq!(found(old, |name| name == *new), Some(*new));
            assert_eq!(found(old, |name| [*old, *new].contains(&name)), Some(*old));
            assert!(is_known(old) && number(new).is_some(), "{old}");
        }
        assert_eq!(found("read", |_| false), None);
    }

    #[test]
    fn every_call_of_a_list_is_in_the_table() {
        let lists = adit_runtime::syscalls().chain([PROCESS, crate::namespace::SYSCALLS]);
        for name in lists.flatten() {
            assert!(is_known(name), "{name}");
        }
        assert_eq!(number("read"), Some(libc::SYS_read));
        assert_eq!(number("chroot"), None);
    }
}
