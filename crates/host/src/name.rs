//! Names of running programs, where their sockets are, and that there is one of each.

use crate::error::{Entry, Error, Kind, Result};
use crate::file::{LockFile, Locked, MadeFiles};
use adit_device::rights::absolute;
use adit_runtime::{PortSpec, remove_dead_socket};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Another program has the name.
pub const TAKEN: Entry = Entry {
    code: "ADIT-E0822",
    title: "a program of that name is already running",
    explanation: "Each switch, link and tunnel has a name, by which its control socket is found. A second \
                  one of the same name would take the devices of the first.",
    remedy: "Stop the running one ('adit list' shows its kind), or choose another --name.",
};

/// The folder is no safe place.
pub const PLACE: Entry = Entry {
    code: "ADIT-E0825",
    title: "the folder for control sockets cannot be used",
    explanation: "Control sockets are in $XDG_RUNTIME_DIR/adit, and without that variable in \
                  /run/user/UID/adit, or in /run/adit if that user has no such folder. \
                  The folder must belong to this user or to root, and others must not be able to write \
                  to it.",
    remedy: "Set XDG_RUNTIME_DIR to a folder of your own, or run the program as root.",
};

/// How long the helper of a killed program may take to end: it waits for the kernel to do what it has asked for.
const HELPER_END_MAX: Duration = Duration::from_secs(10);
const LOCK_RETRY: Duration = Duration::from_millis(5);

/// The longest name: with it the path of the socket fits into `sun_path` (108 bytes) for any usual
/// folder.
const NAME_LEN_MAX: usize = 48;

/// The name of a switch, a link or a tunnel: letters, digits, `-`, `_` and `.`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name(String);

impl FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if text.is_empty() || text.len() > NAME_LEN_MAX {
            return Err(format!("a name has 1 to {NAME_LEN_MAX} characters"));
        }
        if !text.chars().all(is_known) || text.starts_with(['-', '.']) {
            return Err(
                "a name consists of letters, digits, '-', '_' and '.', and does not begin with '-' or '.'"
                    .to_owned(),
            );
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Name {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Where its control socket is.
    pub fn socket_path(&self) -> PathBuf {
        self.socket_in(&folder())
    }

    /// Where its control socket is in this folder.
    pub fn socket_in(&self, folder: &Path) -> PathBuf {
        folder.join(format!("{self}.sock"))
    }
}

/// Where the sockets are.
pub fn folder() -> PathBuf {
    let named = std::env::var_os("XDG_RUNTIME_DIR").filter(|path| !path.is_empty());
    let runtime = named.map(PathBuf::from).or_else(of_user);
    runtime.unwrap_or_else(|| PathBuf::from("/run")).join("adit")
}

/// The folder of this user's sessions, for programs outside of them: those of cron and su.
fn of_user() -> Option<PathBuf> {
    let uid = rustix::process::geteuid();
    let folder = PathBuf::from(format!("/run/user/{}", uid.as_raw()));
    (!uid.is_root() && folder.is_dir()).then_some(folder)
}

/// Where sockets of this machine may be: that of this user, that of the system, and for root those of all users.
#[must_use]
pub fn folders() -> Vec<PathBuf> {
    let mut folders = vec![folder(), PathBuf::from("/run/adit")];
    if rustix::process::geteuid().is_root() {
        let users = std::fs::read_dir("/run/user").into_iter().flatten().flatten();
        let mut of_users: Vec<PathBuf> = users.map(|user| user.path().join("adit")).collect();
        of_users.sort();
        folders.extend(of_users);
    }
    let mut seen = Vec::new();
    folders.retain(|folder| {
        !seen.contains(folder) && {
            seen.push(folder.clone());
            true
        }
    });
    folders
}

/// The names that have a socket, in order; whether somebody listens is another question.
pub fn names() -> Vec<Name> {
    names_in(&folder())
}

/// The names that have a socket in a folder, in order.
#[must_use]
pub fn names_in(folder: &Path) -> Vec<Name> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let names = entries.filter_map(|entry| {
        let name = entry.ok()?.file_name();
        name.to_str()?.strip_suffix(".sock")?.parse().ok()
    });
    let mut names: Vec<Name> = names.collect();
    names.sort();
    names
}

/// The sockets that the ports of a program make. They are listed before they are made, so that the next program of the
/// name removes those of a killed one, also if its configuration has others.
#[derive(Clone, Debug, Default)]
pub struct PortFiles(Option<Arc<MadeFiles>>);

impl PortFiles {
    /// Lists those of these ports, and of no others.
    pub fn list<'a>(&self, specs: impl Iterator<Item = &'a PortSpec>) {
        let Some(files) = &self.0 else { return };
        let paths = specs.filter_map(PortSpec::socket_file).map(absolute);
        // Without it, a socket stays after a kill.
        let _ = files.list(&paths.flatten().collect::<Vec<_>>());
    }
}

/// The right to a name: held by a lock on a file, which the kernel takes back however the program
/// ends.
#[derive(Debug)]
pub struct Claim {
    name: Name,
    folder: PathBuf,
    /// `false` while another process removes the socket.
    is_ours: bool,
    // Held until the socket has been removed.
    lock: LockFile,
}

impl Claim {
    /// Claims a name, and takes away the socket that a killed program has left. Waits up to 10 seconds for the helper of
    /// a killed program.
    ///
    /// # Errors
    /// [`Kind::Conflict`] with the process that has it; what the folder says.
    pub fn new(name: Name) -> Result<Self> {
        Self::in_folder(folder(), name)
    }

    /// As [`Claim::new`], in another folder.
    ///
    /// # Errors
    /// As [`Claim::new`].
    pub fn in_folder(folder: PathBuf, name: Name) -> Result<Self> {
        make_folder(&folder)?;
        let path = folder.join(format!("{name}.lock"));
        let end = Instant::now() + HELPER_END_MAX;
        loop {
            let locked = LockFile::try_lock(path.clone());
            match locked.map_err(|error| unusable("lock", &path, &error))? {
                Locked::Ours(mut lock) => {
                    remove(&name.socket_in(&folder))?;
                    lock.take_left().iter().for_each(|path| remove_dead_socket(path));
                    return Ok(Self { name, folder, is_ours: true, lock });
                }
                // The helper of a killed program ends a moment after it.
                Locked::Taken(Some(pid)) if has_ended(pid) && Instant::now() < end => {
                    std::thread::sleep(LOCK_RETRY);
                }
                Locked::Taken(pid) => {
                    let by =
                        pid.map_or("another program".to_owned(), |pid| format!("process {pid}"));
                    let message = format!("'{name}' is already running: {by}");
                    return Err(Error::new(Kind::Conflict, &TAKEN, message).object(name));
                }
            }
        }
    }

    /// The name of another process, by the descriptor of its lock. It stays that process's until [`Self::own`].
    ///
    /// # Errors
    /// ENOENT: the descriptor is not that of the lock.
    pub fn adopt(name: Name, lock: OwnedFd) -> io::Result<Self> {
        let folder = folder();
        let lock = LockFile::adopt(folder.join(format!("{name}.lock")), lock)?;
        Ok(Self { name, folder, is_ours: false, lock })
    }

    /// Takes the name over from the other process.
    ///
    /// # Errors
    /// ENOSPC.
    pub fn own(&mut self) -> io::Result<()> {
        self.is_ours = true;
        self.lock.own()
    }

    /// The list of the sockets of ports.
    pub fn port_files(&self) -> PortFiles {
        PortFiles(self.lock.made_files().ok().map(Arc::new))
    }

    /// The descriptor of the lock.
    pub fn lock(&self) -> BorrowedFd<'_> {
        self.lock.as_fd()
    }

    /// Leaves the name to a process that has [adopted](Self::adopt) it.
    pub fn pass_on(mut self) {
        self.is_ours = false;
        self.lock.disown();
    }

    /// The name.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// The path of its control socket.
    pub fn socket_path(&self) -> PathBuf {
        self.name.socket_in(&self.folder)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if self.is_ours {
            // Before the lock is released. If it cannot be removed, the next program of this name does.
            let _ = std::fs::remove_file(self.socket_path());
        }
    }
}

/// Whether a program has claimed a name, as far as this user can see.
#[must_use]
pub fn is_claimed(name: &Name) -> bool {
    LockFile::is_held(&folder().join(format!("{name}.lock")))
}

/// Whether a process has ended, also if its parent has not noticed.
fn has_ended(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let Some(pid) = pid else { return false };
    match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(process) => {
            let now = Timespec { tv_sec: 0, tv_nsec: 0 };
            poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&now)) == Ok(1)
        }
        Err(errno) => errno == Errno::SRCH,
    }
}

fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::io("remove the old socket", path.display(), &error))
        }
        _ => Ok(()),
    }
}

/// The folder is not this user's to write to.
fn unusable(what: &str, path: &Path, error: &io::Error) -> Error {
    let mut new = Error::io(what, path.display(), error);
    new.report.code = PLACE.code.to_owned();
    new.hint(PLACE.remedy)
}

/// Makes the folder if it is not there, and sees to it that nobody else can put anything into it.
///
/// # Errors
/// Another user may write to it, or it cannot be made.
pub fn make_folder(path: &Path) -> Result<()> {
    let unfit = |message: String| Error::new(Kind::Refused, &PLACE, message).object(path.display());
    let mut builder = std::fs::DirBuilder::new();
    match builder.mode(0o755).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(unusable("make the folder", path, &error));
        }
        _ => {}
    }
    let found = std::fs::symlink_metadata(path);
    let found = found.map_err(|error| Error::io("look at", path.display(), &error))?;
    if !found.is_dir() {
        return Err(unfit(format!("{} is not a folder", path.display())));
    }
    let uid = rustix::process::geteuid().as_raw();
    if ![0, uid].contains(&found.uid()) {
        return Err(unfit(format!("{} belongs to user {}", path.display(), found.uid())));
    }
    if found.mode() & 0o002 != 0 {
        let path = path.display();
        let hint = format!("Run: chmod o-w {path}");
        return Err(unfit(format!("every user may write to {path}")).hint(hint));
    }
    Ok(())
}
