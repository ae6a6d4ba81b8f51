//! Files that are written as a whole, and locks for programs that read, change and write a file.
//!
//! ```text
//! LockFile::wait_for(site.conf)     .site.conf.lock   one writer at a time, readers need no lock
//!   read site.conf, change the text
//!   replace(site.conf, text, 0600)  .site.conf.x.new  written, fsync, renamed, fsync of the folder
//! drop                              .site.conf.lock   removed, then unlocked
//! ```
//!
//! A reader sees the old text or the new one, also after a crash. Modes are set explicitly: the umask
//! has no effect. A temporary file that a killed program left is removed by the next writer.

use crate::error::{Entry, Error, Kind, Result};
use rustix::fs::{CWD, FlockOperation, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::fs::{DirBuilder, File};
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a writer waits for the lock: a change takes milliseconds, so a longer holder hangs.
const LOCK_WAIT_MAX: Duration = Duration::from_secs(10);

/// How often a waiting writer tries again.
const LOCK_RETRY: Duration = Duration::from_millis(10);

/// How many names are tried for a temporary file: the names are random, so the second is free.
const NAMES_MAX: usize = 16;

/// Another program is changing the file.
pub const LOCKED: Entry = Entry {
    code: "ADIT-E0829",
    title: "another program is changing the file",
    explanation: "Programs that read, change and write a file take turns by a lock file beside it, \
                  named .FILE.lock. The kernel releases the lock when its holder exits, however it \
                  exits.",
    remedy: "Wait until the other program has finished, or end it, then run the command again.",
};

/// The codes of files.
pub const CATALOG: [Entry; 1] = [LOCKED];

/// Replaces `path` by a file with this content and mode, or creates it; creates missing folders with
/// mode 0755. A symbolic link stays: the file that it points to is replaced. What is no regular file, such
/// as `/dev/stdout`, is written to instead.
///
/// # Errors
/// That of the file system: EACCES, ENOSPC, EROFS. The old file is unchanged then.
pub fn replace(path: &Path, content: impl AsRef<[u8]>, mode: u32) -> io::Result<()> {
    if std::fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir()) {
        return std::fs::write(path, content);
    }
    let target = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let temporary = Temporary::write(&target, content.as_ref(), mode)?;
    std::fs::rename(&temporary.path, &target)?;
    temporary.finish()
}

/// Creates `path` with this content and mode; creates missing folders with mode 0755.
///
/// # Errors
/// EEXIST if it exists, else as [`replace`].
pub fn create(path: &Path, content: impl AsRef<[u8]>, mode: u32) -> io::Result<()> {
    let temporary = Temporary::write(path, content.as_ref(), mode)?;
    let flags = RenameFlags::NOREPLACE;
    match rustix::fs::renameat_with(CWD, &temporary.path, CWD, path, flags) {
        // Some network file systems cannot do that; a second name fails as well if the file exists.
        Err(Errno::INVAL | Errno::NOSYS) => std::fs::hard_link(&temporary.path, path)?,
        renamed => renamed?,
    }
    temporary.finish()
}

/// Whether the folder of `path` exists: for files whose path a user typed, where a new folder would be a typo.
///
/// # Errors
/// ENOENT, EACCES.
pub fn check_folder(path: &Path) -> io::Result<()> {
    std::fs::metadata(folder_of(path)).map(drop)
}

/// Replaces `path` by a symbolic link to `to`, or creates it.
///
/// # Errors
/// As [`replace`].
pub fn link(to: &Path, path: &Path) -> io::Result<()> {
    std::fs::create_dir_all(folder_of(path))?;
    for _ in 0..NAMES_MAX {
        let new = beside(path, &random_end()?);
        match std::os::unix::fs::symlink(to, &new) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
            Ok(()) => {
                return std::fs::rename(&new, path).inspect_err(|_| {
                    // The first failure is reported.
                    let _ = std::fs::remove_file(&new);
                });
            }
        }
    }
    Err(Errno::EXIST.into())
}

/// A new file beside the one that it will replace; removed on drop.
struct Temporary {
    path: PathBuf,
    /// Locked, so that others know that its writer lives.
    file: File,
}

impl Temporary {
    fn write(target: &Path, content: &[u8], mode: u32) -> io::Result<Self> {
        let folder = folder_of(target);
        DirBuilder::new().recursive(true).mode(0o755).create(folder)?;
        remove_abandoned(folder, target);
        let mut temporary = Self::create(target)?;
        temporary.file.write_all(content)?;
        rustix::fs::fchmod(&temporary.file, Mode::from_raw_mode(mode))?;
        temporary.file.sync_all()?;
        Ok(temporary)
    }

    fn create(target: &Path) -> io::Result<Self> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        for _ in 0..NAMES_MAX {
            let path = beside(target, &random_end()?);
            let file = match rustix::fs::open(&path, flags, Mode::from_raw_mode(0o600)) {
                Err(Errno::EXIST) => continue,
                opened => File::from(opened?),
            };
            let locked = rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive);
            // Another writer may have taken it for abandoned before it was locked.
            if locked.is_ok() && is_same(&file, &path) {
                return Ok(Self { path, file });
            }
        }
        Err(Errno::EXIST.into())
    }

    /// Makes the new name durable.
    fn finish(self) -> io::Result<()> {
        File::open(folder_of(&self.path))?.sync_all()
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // After a rename there is nothing of that name.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// The hexadecimal digits in the name of a temporary file.
const NUMBER_LEN: usize = 16;

/// The end of the name of a temporary file.
const TEMPORARY_END: &str = ".new";

/// The end of the name of a new temporary file.
fn random_end() -> io::Result<String> {
    let mut random = [0; 8];
    rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())?;
    let number = u64::from_ne_bytes(random);
    Ok(format!(".{number:0NUMBER_LEN$x}{TEMPORARY_END}"))
}

/// Removes the temporary files for `target` whose writers were killed: nobody holds their locks.
fn remove_abandoned(folder: &Path, target: &Path) {
    let begin = beside(target, ".");
    let begin = begin.file_name().unwrap_or_default().as_encoded_bytes();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let middle = name.as_encoded_bytes().strip_prefix(begin);
        let middle = middle.and_then(|rest| rest.strip_suffix(TEMPORARY_END.as_bytes()));
        if middle.is_none_or(|number| number.len() != NUMBER_LEN) {
            continue;
        }
        let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let Ok(file) = rustix::fs::open(entry.path(), flags, Mode::empty()) else { continue };
        if rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
            // If that fails, the next writer removes it.
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// A locked file that only its owner can open, so that no other user can hold the lock. Removed on
/// drop; the kernel releases the lock of a killed program.
#[derive(Debug)]
pub struct LockFile {
    path: PathBuf,
    // Held for its lock.
    file: File,
    /// `false` while another process removes it.
    is_ours: bool,
    /// The files of a process that was killed; see [`MadeFiles`].
    left: Vec<PathBuf>,
}

/// The longest list of files that is read.
const MADE_LEN_MAX: u64 = 1 << 20;

/// The files that a process makes, listed in its lock below its number. The next process that has the lock finds them
/// there if this one was killed, whatever its configuration is by then.
#[derive(Debug)]
pub struct MadeFiles(File);

impl MadeFiles {
    /// Lists these files, in the place of those before. Call it before they are made.
    ///
    /// # Errors
    /// ENOSPC.
    pub fn list(&self, paths: &[PathBuf]) -> io::Result<()> {
        let mut text = format!("{}\n", std::process::id()).into_bytes();
        let paths = paths.iter().map(|path| path.as_os_str().as_bytes());
        for path in paths.filter(|path| !path.contains(&b'\n')) {
            text.extend([path, b"\n"].concat());
        }
        let mut file = &self.0;
        file.rewind().and_then(|()| file.write_all(&text))?;
        file.set_len(text.len().try_into().unwrap_or(u64::MAX))
    }

    fn read(file: &File) -> io::Result<Vec<PathBuf>> {
        let mut text = Vec::new();
        file.take(MADE_LEN_MAX).read_to_end(&mut text)?;
        let paths = text.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"/"));
        Ok(paths.map(|path| OsStr::from_bytes(path).into()).collect())
    }
}

/// What [`LockFile::try_lock`] found.
#[derive(Debug)]
pub enum Locked {
    /// The lock is ours.
    Ours(LockFile),
    /// A process has it: its number, unless it has not written it yet.
    Taken(Option<u32>),
}

impl LockFile {
    /// Locks `path`, which is created with mode 0600 and gets our process number.
    ///
    /// # Errors
    /// EACCES: another user created the file; ELOOP: it is a symbolic link; ENOENT, EROFS.
    pub fn try_lock(path: PathBuf) -> io::Result<Locked> {
        loop {
            let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let file = rustix::fs::open(&path, flags, Mode::from_raw_mode(0o600))?;
            let file = File::from(file);
            // The umask may have taken bits, and older versions created it with mode 0644.
            rustix::fs::fchmod(&file, Mode::from_raw_mode(0o600))?;
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(Errno::WOULDBLOCK) => {
                    let mut text = String::new();
                    let _ = file.take(32).read_to_string(&mut text);
                    return Ok(Locked::Taken(text.lines().next().unwrap_or("").parse().ok()));
                }
                Err(errno) => return Err(errno.into()),
            }
            // The previous holder may have removed the file between our open and our lock.
            if !is_same(&file, &path) {
                continue;
            }
            let left = MadeFiles::read(&file)?;
            let mut lock = Self { path, file, is_ours: false, left };
            lock.own()?;
            return Ok(Locked::Ours(lock));
        }
    }

    /// The lock of another process, by its descriptor. It stays that process's until [`Self::own`].
    ///
    /// # Errors
    /// ENOENT: the descriptor is not that of the file.
    pub fn adopt(path: PathBuf, file: OwnedFd) -> io::Result<Self> {
        let file = File::from(file);
        if !is_same(&file, &path) {
            return Err(Errno::NOENT.into());
        }
        Ok(Self { path, file, is_ours: false, left: Vec::new() })
    }

    /// Writes our process number into the file, which is removed on drop from now on.
    ///
    /// # Errors
    /// ENOSPC.
    pub fn own(&mut self) -> io::Result<()> {
        self.is_ours = true;
        self.file.set_len(0).and_then(|()| self.file.rewind())?;
        writeln!(self.file, "{}", std::process::id())
    }

    /// The files that a killed process had made, once.
    pub fn take_left(&mut self) -> Vec<PathBuf> {
        std::mem::take(&mut self.left)
    }

    /// The list of files that this process makes.
    ///
    /// # Errors
    /// EMFILE.
    pub fn made_files(&self) -> io::Result<MadeFiles> {
        self.file.try_clone().map(MadeFiles)
    }

    /// Leaves the lock to a process that has [adopted](Self::adopt) it.
    pub fn disown(&mut self) {
        self.is_ours = false;
    }

    /// Whether a process holds the lock, as far as this user can see.
    #[must_use]
    pub fn is_held(path: &Path) -> bool {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let Ok(file) = rustix::fs::open(path, flags, Mode::empty()) else { return false };
        let locked = rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared);
        locked == Err(Errno::WOULDBLOCK)
    }

    /// Waits up to 10 seconds until no other program changes `target`, and creates missing folders.
    ///
    /// # Errors
    /// [`Kind::Timeout`] with the process that holds the lock; those of [`LockFile::try_lock`].
    pub fn wait_for(target: &Path) -> Result<Self> {
        let path = beside(target, ".lock");
        let failed = |error: io::Error| Error::io("lock", path.display(), &error);
        DirBuilder::new().recursive(true).mode(0o755).create(folder_of(target)).map_err(failed)?;
        let end = Instant::now() + LOCK_WAIT_MAX;
        loop {
            match Self::try_lock(path.clone()).map_err(failed)? {
                Locked::Ours(lock) => return Ok(lock),
                Locked::Taken(pid) if Instant::now() > end => {
                    let by =
                        pid.map_or("another program".to_owned(), |pid| format!("process {pid}"));
                    let message = format!("{by} is changing {}", target.display());
                    return Err(
                        Error::new(Kind::Timeout, &LOCKED, message).object(target.display())
                    );
                }
                Locked::Taken(_) => std::thread::sleep(LOCK_RETRY),
            }
        }
    }
}

impl AsFd for LockFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Drop for LockFile {
    fn drop(&mut self) {
        if !self.is_ours {
            return;
        }
        // Before the lock is released. If it cannot be removed, the next holder does.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// `.NAME` with `end` behind it, in the folder of `target`.
fn beside(target: &Path, end: &str) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(target.file_name().unwrap_or_default());
    name.push(end);
    target.with_file_name(name)
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Whether `path` still is the name of the open file.
fn is_same(file: &File, path: &Path) -> bool {
    let (of_path, of_file) = (std::fs::symlink_metadata(path), file.metadata());
    of_path.is_ok_and(|a| of_file.is_ok_and(|b| (a.dev(), a.ino()) == (b.dev(), b.ino())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = format!("adit-file-{name}-{}", std::process::id());
            let path = std::env::temp_dir().join(path);
            std::fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn names(&self) -> Vec<String> {
            let entries = std::fs::read_dir(&self.0).unwrap();
            let mut names: Vec<String> =
                entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            std::fs::remove_dir_all(&self.0).unwrap();
        }
    }

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn a_file_is_replaced_with_its_mode_and_nothing_else_stays() {
        let folder = Folder::new("replace");
        let path = folder.0.join("new").join("a.conf");
        replace(&path, "one", 0o640).unwrap();
        replace(&path, "two", 0o664).unwrap();
        assert_eq!((std::fs::read_to_string(&path).unwrap().as_str(), mode(&path)), ("two", 0o664));
        assert_eq!(create(&path, "three", 0o600).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        let link = folder.0.join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        replace(&link, "four", 0o600).unwrap();
        assert_eq!(
            (std::fs::read_to_string(&path).unwrap().as_str(), mode(&path)),
            ("four", 0o600)
        );
        assert!(link.is_symlink());
        let null = folder.0.join("null");
        std::os::unix::fs::symlink("/dev/null", &null).unwrap();
        replace(&null, "five", 0o600).unwrap();
        assert!(!std::fs::metadata("/dev/null").unwrap().is_file());
        std::fs::remove_file(null).unwrap();
        assert_eq!(folder.names(), ["link", "new"]);
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn files_of_killed_writers_are_removed_and_those_of_live_ones_stay() {
        let folder = Folder::new("abandoned");
        let path = folder.0.join("a");
        let live = Temporary::write(&path, b"live", 0o600).unwrap();
        std::fs::write(folder.0.join(".a.0123456789abcdef.new"), "dead").unwrap();
        std::fs::write(folder.0.join(".ab.0123456789abcdef.new"), "of another").unwrap();
        create(&path, "text", 0o600).unwrap();
        let name = live.path.file_name().unwrap().to_str().unwrap().to_owned();
        let mut expected = vec![".ab.0123456789abcdef.new".to_owned(), "a".to_owned(), name];
        expected.sort();
        assert_eq!(folder.names(), expected);
    }

    #[test]
    fn writers_take_turns() {
        let folder = Folder::new("turns");
        let path = folder.0.join("count");
        std::fs::write(&path, "0").unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..10 {
                        let lock = LockFile::wait_for(&path).unwrap();
                        assert_eq!(mode(&lock.path), 0o600);
                        let count: u32 = std::fs::read_to_string(&path).unwrap().parse().unwrap();
                        replace(&path, (count + 1).to_string(), 0o600).unwrap();
                    }
                });
            }
        });
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "40");
        assert_eq!(folder.names(), ["count"]);
    }

    #[test]
    fn the_holder_of_a_lock_is_known_and_an_old_file_does_not_matter() {
        let folder = Folder::new("holder");
        let path = folder.0.join("x.lock");
        std::fs::write(&path, "4711\n").unwrap();
        let Locked::Ours(lock) = LockFile::try_lock(path.clone()).unwrap() else { panic!() };
        assert_eq!(mode(&path), 0o600);
        let taken = LockFile::try_lock(path.clone()).unwrap();
        assert!(matches!(taken, Locked::Taken(Some(pid)) if pid == std::process::id()));
        drop(lock);
        assert_eq!(folder.names(), [""; 0]);
    }
}
