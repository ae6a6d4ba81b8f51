//! Files of a configuration: opened here, or by the helper. Which ones were opened is recorded, so that the helper allows
//! those of its own reading.

use crate::helper::ask::{Ask, Reply};
use crate::helper::client;
use rustix::fs::{Mode, OFlags};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

thread_local! {
    static RECORDED: RefCell<Option<BTreeSet<PathBuf>>> = const { RefCell::new(None) };
}

/// Does `work` and returns which files of a configuration it opened, or tried to.
pub fn recorded<T>(work: impl FnOnce() -> T) -> (T, BTreeSet<PathBuf>) {
    RECORDED.set(Some(BTreeSet::new()));
    let done = work();
    (done, RECORDED.take().unwrap_or_default())
}

/// Opens a file of the configuration to read it.
///
/// # Errors
/// Those of open(2); EACCES: it is not one that the configuration names.
pub fn open_file(path: &Path) -> io::Result<File> {
    open(path, false)
}

/// As [`open_file`], a regular file only: nobody may be made to wait for a pipe.
///
/// # Errors
/// As [`open_file`]; it is another kind of file.
pub fn open_regular(path: &Path) -> io::Result<File> {
    open(path, true)
}

fn open(path: &Path, is_regular: bool) -> io::Result<File> {
    RECORDED.with_borrow_mut(|list| list.as_mut().map(|list| list.insert(path.to_owned())));
    match client::installed() {
        None => open_here(path, is_regular),
        Some(helper) => {
            let (reply, fds) = helper.ask(&Ask::File(path.to_owned(), is_regular), &[])?;
            match (reply, fds.into_iter().next()) {
                (Reply::Done, Some(fd)) => Ok(fd.into()),
                (Reply::NotOpened(failure), _) => Err(failure.into()),
                _ => Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
    }
}

pub(super) fn open_here(path: &Path, is_regular: bool) -> io::Result<File> {
    if !is_regular {
        return File::open(path);
    }
    // To open a pipe would wait for its writer.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    if file.metadata()?.is_file() {
        return Ok(file);
    }
    Err(io::Error::other("it is not a regular file"))
}
