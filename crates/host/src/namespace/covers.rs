//! Files that other ones cover in a mount namespace.
//!
//! A bind mount covers the file, and for a symbolic link the file behind it, as programs open it. Its content
//! lies in a file system in memory that has no name in the namespace.

use rustix::fs::{Mode, OFlags};
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_bind, unmount};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

/// Folders of which one exists everywhere: it is covered for a moment before the command runs.
const FOLDERS: [&str; 4] = ["/tmp", "/run", "/var", "/usr"];

/// The folder that is covered for a moment while the command runs: no program looks there for anything else.
const KEPT: &str = "/proc/tty";

/// Why a file is not covered.
#[derive(Debug)]
pub(super) struct CoverError {
    /// What failed: a verb.
    pub(super) op: &'static str,
    /// On what.
    pub(super) object: String,
    /// The error of the operating system.
    pub(super) source: io::Error,
}

/// Files that are covered, or will be, in the mount namespace of the calling process.
#[derive(Debug, Default)]
pub(super) struct Covers(Vec<Cover>);

#[derive(Debug)]
struct Cover {
    path: &'static str,
    /// What it covers.
    target: OwnedFd,
    content: String,
    /// What covers it.
    file: Option<File>,
}

impl Cover {
    /// Whether programs that open the path get the file.
    fn is_there(&self) -> bool {
        let file = self.file.as_ref().and_then(|file| file.metadata().ok());
        let there = std::fs::metadata(self.path).ok();
        file.zip(there).is_none_or(|(a, b)| (a.dev(), a.ino()) == (b.dev(), b.ino()))
    }
}

impl Covers {
    /// Adds a file, and what it has then.
    ///
    /// # Errors
    /// ENOENT: it does not exist.
    pub(super) fn add(&mut self, path: &'static str, content: String) -> io::Result<()> {
        let target = open(path)?;
        self.0.push(Cover { path, target, content, file: None });
        Ok(())
    }

    /// Covers all of them.
    ///
    /// # Errors
    /// EPERM: mounts are forbidden here.
    pub(super) fn mount(&mut self) -> Result<(), CoverError> {
        let folder = FOLDERS.iter().find(|folder| Path::new(folder).is_dir()).unwrap_or(&"/");
        cover(folder, self.0.iter_mut().collect())
    }

    /// Whether there is anything to keep.
    #[must_use]
    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Covers again what is not covered any more: when the host replaces a file, the kernel takes away what covers it
    /// in other mount namespaces. What cannot be covered now may be later.
    pub(super) fn keep(&mut self) {
        let lost = self.0.iter_mut().filter(|cover| !cover.is_there());
        let lost = lost.filter_map(|cover| {
            cover.target = open(cover.path).ok()?;
            Some(cover)
        });
        let _ = cover(KEPT, lost.collect());
    }

    /// Replaces the content of a file in place: a reader sees no empty one.
    ///
    /// # Errors
    /// ENOSPC.
    pub(super) fn write(&mut self, path: &str, content: String) -> io::Result<()> {
        let Some(cover) = self.0.iter_mut().find(|cover| cover.path == path) else {
            return Ok(());
        };
        cover.content = content;
        let Some(file) = &cover.file else { return Ok(()) };
        file.write_all_at(cover.content.as_bytes(), 0)?;
        file.set_len(u64::try_from(cover.content.len()).unwrap_or(0))
    }
}

/// Covers files by ones in a file system in memory, for which a folder is covered for a moment.
fn cover(folder: &str, covers: Vec<&mut Cover>) -> Result<(), CoverError> {
    let failed = |op, object: &str, source| CoverError { op, object: object.to_owned(), source };
    if covers.is_empty() {
        return Ok(());
    }
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("tmpfs", folder, "tmpfs", flags, None)
        .map_err(|errno| failed("mount a file system on", folder, errno.into()))?;
    let mut result = Ok(());
    for cover in covers {
        let covered = cover_one(Path::new(folder), cover);
        result = result.and(covered.map_err(|error| failed("replace", cover.path, error)));
    }
    unmount(folder, UnmountFlags::DETACH)
        .map_err(|errno| failed("unmount", folder, errno.into()))?;
    result
}

fn cover_one(folder: &Path, cover: &mut Cover) -> io::Result<()> {
    let source = folder.join(Path::new(cover.path).file_name().unwrap_or_default());
    let file = File::create(&source)?;
    file.write_all_at(cover.content.as_bytes(), 0)?;
    rustix::fs::chmod(&source, Mode::from_raw_mode(0o644))?;
    if folder == Path::new(KEPT) {
        mount_bind(&source, cover.path)?;
    } else {
        // By the descriptor: the folder that is covered may be on the way to the target.
        mount_bind(&source, format!("/proc/self/fd/{}", cover.target.as_raw_fd()))?;
    }
    cover.file = Some(file);
    Ok(())
}

/// What is there, without any right over it.
fn open(path: &str) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?)
}
