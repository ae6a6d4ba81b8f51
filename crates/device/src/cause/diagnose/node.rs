//! Why `/dev/net/tun` could not be opened.

use super::{general, process};
use crate::Cause;
use rustix::fs::{Access, AtFlags, CWD, StatVfsMountFlags, accessat, statvfs};
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;

/// The directories on the path.
const DIRECTORIES: [&str; 2] = ["/dev", "/dev/net"];

/// Determines why opening `/dev/net/tun` failed.
pub(crate) fn open_node(error: &io::Error) -> Cause {
    open_node_at(Path::new(crate::sys::tun::NODE), error)
}

fn open_node_at(node: &Path, error: &io::Error) -> Cause {
    match error.raw_os_error() {
        Some(libc::ENOENT | libc::ENOTDIR) if has_driver() => Cause::NodeMissing,
        Some(libc::ENOENT | libc::ENOTDIR) => Cause::ModuleMissing,
        Some(libc::ENODEV | libc::ENXIO) => Cause::DriverMissing,
        Some(libc::EPERM) => Cause::NodeForbidden,
        Some(libc::EISDIR | libc::ENOTTY) => Cause::NodeForeign,
        Some(libc::EACCES) => denied(node),
        _ => general(error),
    }
}

/// Whether the kernel has the tun driver, which registers itself as a misc device.
fn has_driver() -> bool {
    let misc = fs::read_to_string("/proc/misc").unwrap_or_default();
    misc.lines().any(|line| line.split_whitespace().nth(1) == Some("tun"))
}

/// Distinguishes the causes of EACCES.
fn denied(node: &Path) -> Cause {
    for directory in DIRECTORIES {
        if let Ok(meta) = fs::metadata(directory)
            && accessat(CWD, directory, Access::EXEC_OK, AtFlags::EACCESS).is_err()
        {
            let mode = meta.permissions().mode() & 0o7777;
            return Cause::NodeDirectory { directory: directory.into(), mode };
        }
    }
    let Ok(meta) = fs::metadata(node) else { return Cause::NodeSecurity };
    let mode = meta.permissions().mode() & 0o7777;
    let wanted = Access::READ_OK | Access::WRITE_OK;
    if accessat(CWD, node, wanted, AtFlags::EACCESS).is_err() {
        return Cause::NodeMode { mode, owner: meta.uid(), group: meta.gid(), uid: process::uid() };
    }
    if !meta.file_type().is_char_device() {
        return Cause::NodeForeign;
    }
    let nodev = statvfs(node).is_ok_and(|fs| fs.f_flag.contains(StatVfsMountFlags::NODEV));
    if nodev { Cause::NodeNodev } else { Cause::NodeSecurity }
}
