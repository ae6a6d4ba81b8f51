//! A mount namespace with the listed folders alone.

use crate::sandbox::needs::Needs;
use crate::sandbox::state;
use adit_device::process::Namespaces;
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind_recursive, mount_change,
    mount_remount, unmount,
};
use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;

/// A folder that exists everywhere: the new root is made on it.
const PLACE: &str = "/usr";

/// Runs when everything is open, in a process with one thread. Without the right to mount, the process
/// enters a user namespace of its own, in which it stays the same user.
pub(super) fn isolate(needs: &Needs) -> io::Result<()> {
    if !needs.mounts {
        return Ok(());
    }
    match Namespaces::MOUNT.enter_new() {
        Err(error) if error.raw_os_error() == Some(Errno::PERM.raw_os_error()) => {
            let uid = rustix::process::geteuid().as_raw();
            let gid = rustix::process::getegid().as_raw();
            (Namespaces::USER | Namespaces::MOUNT).enter_new()?;
            fs::write("/proc/self/uid_map", format!("{uid} {uid} 1"))?;
            fs::write("/proc/self/setgroups", "deny")?;
            fs::write("/proc/self/gid_map", format!("{gid} {gid} 1"))?;
        }
        entered => entered?,
    }
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    // Opened before the new root covers anything.
    let kept = needs.readable.iter().chain(&needs.writable).filter_map(|path| {
        let path = fs::canonicalize(path).ok()?;
        let fd = open(&path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
        Some((path, fd.ok()?))
    });
    let kept: Vec<_> = kept.collect();
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("tmpfs", PLACE, "tmpfs", flags, None)?;
    for (path, fd) in &kept {
        let inside = Path::new(PLACE).join(path.strip_prefix("/").unwrap_or(path));
        fs::create_dir_all(&inside)?;
        mount_bind_recursive(format!("/proc/self/fd/{}", fd.as_raw_fd()), &inside)?;
    }
    mount_remount(PLACE, flags | MountFlags::RDONLY, "")?;
    rustix::process::chdir(PLACE)?;
    // The old root lies over the new one then, and leaves.
    rustix::process::pivot_root(".", ".")?;
    unmount(".", UnmountFlags::DETACH)?;
    rustix::process::chdir("/")?;
    state::note(|state| state.own_mounts = true);
    Ok(())
}
