//! The text that a configuration is read from.

use crate::config::problem::Problem;
use crate::error::{Error, Result};
use crate::helper;
use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use zeroize::Zeroizing;

/// The largest configuration: ten thousand ports with every key that there is take less.
const SOURCE_LEN_MAX: usize = 1 << 20;

/// Room for most configurations. A reload reads on a thread of its own, whose memory the allocator keeps: each megabyte
/// there would stay.
const FIRST_LEN: usize = 16 << 10;

/// A file, or an option of the command line.
#[derive(Clone, Debug)]
pub struct Source {
    name: String,
    path: PathBuf,
    /// There may be keys in it.
    text: Zeroizing<String>,
    files: Files,
    /// What it named although it must not name files.
    refused: OnceLock<String>,
}

/// Whether a configuration may name files, which the program opens with its own rights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Files {
    /// It comes from the owner of the program.
    #[default]
    Allowed,
    /// It is a request of another user of the control socket.
    Refused,
}

/// A request named a file and must not.
#[derive(Clone, Copy, Debug)]
pub struct FilesRefused;

impl fmt::Display for FilesRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("names a file, which other users than the program's own must not do")
    }
}

/// Reads a file, or about as much of it as shows that it exceeds [`SOURCE_LEN_MAX`]. What a vector leaves behind when it
/// grows is wiped.
fn read_wiped(mut file: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(FIRST_LEN));
    loop {
        let room = bytes.capacity() - bytes.len();
        let limit = u64::try_from(room).unwrap_or(u64::MAX);
        let len = file.by_ref().take(limit).read_to_end(&mut bytes)?;
        if len < room || bytes.len() > SOURCE_LEN_MAX {
            return Ok(std::mem::take(&mut bytes));
        }
        let mut larger = Zeroizing::new(Vec::with_capacity(2 * bytes.capacity()));
        larger.extend_from_slice(&bytes);
        bytes = larger;
    }
}

impl Source {
    /// Reads a file.
    ///
    /// # Errors
    /// That of open(2) or read(2); a file that is too large or not UTF-8 is a mistake at the place
    /// where that shows.
    pub fn read(path: &Path) -> Result<Self> {
        let file = helper::open_file(path)
            .map_err(|error| Error::io("read", path.display().to_string(), &error))?;
        Self::read_from(path, &file)
    }

    /// Reads a file that another one, or a request, names: a regular one only, for nobody may be made
    /// to wait for a pipe.
    ///
    /// # Errors
    /// As [`Source::read`].
    pub fn read_named(path: &Path) -> Result<Self> {
        let file = helper::open_regular(path)
            .map_err(|error| Error::io("read", path.display().to_string(), &error))?;
        Self::read_from(path, &file)
    }

    /// Reads a file that is open already, so that what was looked at is what is read.
    ///
    /// # Errors
    /// As [`Source::read`].
    pub fn read_from(path: &Path, file: impl Read) -> Result<Self> {
        let name = path.display().to_string();
        let failed = |error| Error::io("read", &name, &error);
        let bytes = read_wiped(file).map_err(failed)?;
        let is_too_large = bytes.len() > SOURCE_LEN_MAX;
        // What is shown of a file that is not UTF-8 is the part before the place.
        let (text, wrong) = match String::from_utf8(bytes) {
            Ok(text) => (text, None),
            Err(error) => {
                let end = error.utf8_error().valid_up_to();
                let mut bytes = error.into_bytes();
                bytes.truncate(end);
                (String::from_utf8_lossy(&bytes).into_owned(), Some(end))
            }
        };
        let source = Self { path: path.to_owned(), ..Self::new(name, text) };
        let failed = |at: usize, message: &str, help: String| {
            let place = (source.name(), source.text());
            let problem = Problem::new(place, at..at, message, Some(help));
            Err(Error::of_problems(&source.name, vec![problem], false))
        };
        if is_too_large {
            let help =
                format!("the maximum is {} MiB: is this the right file?", SOURCE_LEN_MAX >> 20);
            return failed(0, "the file is too large for a configuration", help);
        }
        if let Some(at) = wrong {
            return failed(at, "a byte that is not UTF-8", "save the file as UTF-8".to_owned());
        }
        Ok(source)
    }

    /// A text in memory; errors are reported for `name`.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            path: PathBuf::new(),
            text: Zeroizing::new(text.into()),
            files: Files::Allowed,
            refused: OnceLock::new(),
        }
    }

    /// How it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The path of a file that this one names: from the folder that this one is in.
    ///
    /// # Errors
    /// [`FilesRefused`]: it is a request that must not name files.
    pub fn beside(&self, path: impl AsRef<Path>) -> Result<PathBuf, FilesRefused> {
        let path = path.as_ref();
        self.check_files(path.display())?;
        Ok(self.path.parent().unwrap_or(Path::new("")).join(path))
    }

    /// Whether it may name `what`, a file or a descriptor of the program.
    ///
    /// # Errors
    /// [`FilesRefused`]; [`Source::refused`] returns `what` from now on.
    pub fn check_files(&self, what: impl fmt::Display) -> Result<(), FilesRefused> {
        match self.files {
            Files::Allowed => Ok(()),
            Files::Refused => {
                self.refused.get_or_init(|| what.to_string());
                Err(FilesRefused)
            }
        }
    }

    /// The first file that it named although it must not.
    pub fn refused(&self) -> Option<&str> {
        self.refused.get().map(String::as_str)
    }

    /// A request at a control socket by a client in the folder `folder`.
    pub fn request(folder: &Path, files: Files) -> Self {
        Self { path: folder.join("request"), files, ..Self::new("request", "") }
    }
}
