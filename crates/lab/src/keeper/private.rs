//! What only the programs of a node see: its host name, `/etc`, `/run` and `/sys`.
//!
//! ```text
//! /etc   an overlay: the host's, and files of the node in memory above it
//! /run   empty, in memory
//! /sys   of the node's network
//! ```
//! All programs of a node share them, so that a client finds the socket of its daemon. Where the kernel has no
//! overlays for this user, files that exist are covered one by one.

use crate::keeper::codes::PART;
use crate::keeper::home::Inside;
use crate::keeper::order::Private;
use adit_device::process::Namespaces;
use adit_service::error::{Error, Result};
use adit_topology::model::PrivateFile;
use rustix::fs::Mode;
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_bind, unmount};
use std::ffi::CString;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

/// What the files of a node contain.
#[derive(Debug)]
pub(super) struct Content {
    /// `/etc/hosts`, the same for most nodes.
    hosts: Rc<str>,
    resolv_conf: String,
    files: Vec<PrivateFile>,
}

impl Content {
    pub(super) fn new(hosts: Rc<str>, private: Private) -> Self {
        Self { hosts, resolv_conf: private.resolv_conf, files: private.files }
    }
}

/// Where files lie until they are mounted.
const STAGE: &str = "/run";

const FLAGS: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV);

/// Moves this process into new mounts with these files, and a host name of their own.
pub(super) fn make(name: &str, content: &Content) -> Result<Inside> {
    let failed = |what: &str, error: &io::Error| failure(name, what, "the mounts", error);
    (Namespaces::MOUNT | Namespaces::UTS).enter_new().map_err(|error| failed("create", &error))?;
    rustix::system::sethostname(name.as_bytes())
        .map_err(|errno| failed("set the host name of", &errno.into()))?;
    memory(STAGE).map_err(|error| failed("create", &error))?;
    let files = files(content);
    let (etc, run): (Vec<_>, Vec<_>) =
        files.into_iter().partition(|file| file.path.starts_with("/etc"));
    let is_staged = stage(&etc).and_then(|()| overlay());
    if is_staged.is_err() {
        for file in &etc {
            cover(file).map_err(|error| failure(name, "replace", file.path.display(), &error))?;
        }
    }
    unmount(STAGE, UnmountFlags::DETACH).map_err(|errno| failed("create", &errno.into()))?;
    memory("/run").map_err(|error| failed("create", &error))?;
    for file in &run {
        write(&file.path, file)
            .map_err(|error| failure(name, "write", file.path.display(), &error))?;
    }
    // In a container that hides parts of /sys the kernel refuses a new one.
    let _ = mount("sysfs", "/sys", "sysfs", FLAGS | MountFlags::NOEXEC, None);
    Inside::current().map_err(|error| failed("find", &error))
}

/// Writes files in the mounts of a node, in which this process is.
pub(super) fn update(name: &str, content: &Content, before: &Content) -> Result<()> {
    let now = files(content);
    for gone in &before.files {
        if now.iter().all(|file| file.path != gone.path) {
            // A program may have removed it.
            let _ = std::fs::remove_file(&gone.path);
        }
    }
    let then = files(before);
    for file in now.iter().filter(|file| !then.contains(file)) {
        write(&file.path, file)
            .map_err(|error| failure(name, "write", file.path.display(), &error))?;
    }
    Ok(())
}

fn failure(node: &str, what: &str, object: impl std::fmt::Display, error: &io::Error) -> Error {
    let mut new = Error::io(what, format_args!("{object} of node '{node}'"), error);
    PART.code.clone_into(&mut new.report.code);
    new
}

/// All files of a node.
fn files(content: &Content) -> Vec<PrivateFile> {
    let etc = |name: &str, text: &str| PrivateFile {
        path: Path::new("/etc").join(name),
        text: text.to_owned(),
        mode: 0o644,
    };
    let mut files = vec![etc("hosts", &content.hosts), etc("resolv.conf", &content.resolv_conf)];
    files.extend(content.files.iter().cloned());
    files
}

/// A file system in memory.
fn memory(folder: &str) -> io::Result<()> {
    Ok(mount("tmpfs", folder, "tmpfs", FLAGS, Some(c"mode=755"))?)
}

/// Writes the files of `/etc` where the overlay takes them from.
fn stage(files: &[PrivateFile]) -> io::Result<()> {
    for folder in ["upper", "work"] {
        std::fs::create_dir(Path::new(STAGE).join(folder))?;
    }
    for file in files {
        let inside: PathBuf = file.path.components().skip(2).collect();
        write(&Path::new(STAGE).join("upper").join(inside), file)?;
    }
    Ok(())
}

fn overlay() -> io::Result<()> {
    let options = format!("lowerdir=/etc,upperdir={STAGE}/upper,workdir={STAGE}/work,userxattr");
    let options = CString::new(options)?;
    Ok(mount("overlay", "/etc", "overlay", FLAGS, Some(options.as_c_str()))?)
}

/// Covers a file that exists.
fn cover(file: &PrivateFile) -> io::Result<()> {
    let staged = Path::new(STAGE).join("cover");
    write(&staged, file)?;
    mount_bind(&staged, &file.path)?;
    // The mount keeps it.
    std::fs::remove_file(&staged)
}

fn write(path: &Path, file: &PrivateFile) -> io::Result<()> {
    if path.components().any(|part| part == Component::ParentDir) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(path, &file.text)?;
    Ok(rustix::fs::chmod(path, Mode::from_raw_mode(file.mode))?)
}
