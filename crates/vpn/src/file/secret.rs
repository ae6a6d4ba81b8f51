//! Where secrets are read from: files that nobody else may read, standard input, systemd.
//!
//! Never from the command line or the environment, which other users and programs can see.

use adit_service::sandbox::owner;
use rustix::fs::{Mode, OFlags};
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use zeroize::Zeroizing;

/// The longest file with a key in it: a key has 44 characters; a file with more than white space
/// around it is another file.
const SECRET_LEN_MAX: u16 = 256;

/// The folder in which systemd puts credentials (`LoadCredential=`), for the service alone.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

/// Where a secret is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// In a file with mode 0600 or stricter, which is no symbolic link.
    File(PathBuf),
    /// On standard input (`-`).
    Stdin,
    /// A credential that systemd passes on (`credential:NAME`).
    Credential(String),
}

impl FromStr for SecretSource {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix("credential:") {
            Some(name) if name.is_empty() || name.contains('/') || name.starts_with('.') => {
                Err("a credential has a name without slashes, as in credential:site.key")
            }
            Some(name) => Ok(Self::Credential(name.to_owned())),
            None if text == "-" => Ok(Self::Stdin),
            None if text.is_empty() => Err("the name of the file is missing"),
            None => Ok(Self::File(text.into())),
        }
    }
}

impl fmt::Display for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Stdin => f.write_str("standard input"),
            Self::Credential(name) => write!(f, "credential {name}"),
        }
    }
}

impl SecretSource {
    /// The secret without the white space around it.
    ///
    /// # Errors
    /// ENOENT; ELOOP for a symbolic link; `PermissionDenied` with the remedy in its text if others
    /// may read it; `InvalidData` if it is too long or no text.
    pub fn read(&self) -> io::Result<Zeroizing<String>> {
        match self {
            Self::Stdin => read_text(io::stdin().lock()),
            Self::File(path) => read_text(open_strictly(path)?),
            Self::Credential(name) => {
                let folder = std::env::var_os(CREDENTIALS).ok_or_else(|| {
                    let text =
                        format!("{CREDENTIALS} is not set: this process is not a systemd service");
                    io::Error::new(io::ErrorKind::NotFound, text)
                })?;
                let file = open_no_link(&Path::new(&folder).join(name))?;
                // The folder is closed to others; an access list may show as a group's right.
                check_mode(&file, 0o007)?;
                read_text(file)
            }
        }
    }
}

/// Whether a file with secrets in it may be used: it is the caller's or root's, and only its owner
/// may read it.
///
/// # Errors
/// `PermissionDenied`, with the remedy in its text.
pub fn check_private(file: &File) -> io::Result<()> {
    let (uid, (me, _)) = (file.metadata()?.uid(), owner());
    if uid != 0 && uid != me {
        let text = format!("it belongs to user {uid}, who could change it");
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
    }
    check_mode(file, 0o077)
}

/// What makes a file private, as a command.
#[must_use]
pub fn remedy(file: &File, path: &Path) -> String {
    let (me, _) = owner();
    let owner = file.metadata().map_or(me, |found| found.uid());
    let path = path.display();
    if owner == 0 || owner == me {
        format!("Run 'chmod 600 {path}'.")
    } else {
        format!("Run 'chown {me} {path}', then 'chmod 600 {path}'.")
    }
}

fn open_strictly(path: &Path) -> io::Result<File> {
    let file = open_no_link(path)?;
    check_private(&file)?;
    Ok(file)
}

fn open_no_link(path: &Path) -> io::Result<File> {
    // Not to wait for a writer, should it be a pipe.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    Ok(file)
}

fn check_mode(file: &File, forbidden: u32) -> io::Result<()> {
    let mode = file.metadata()?.mode() & 0o7777;
    if mode & forbidden == 0 {
        return Ok(());
    }
    let text = format!("others can read or change it (mode {mode:04o}); run chmod 600 on it");
    Err(io::Error::new(io::ErrorKind::PermissionDenied, text))
}

fn read_text(from: impl Read) -> io::Result<Zeroizing<String>> {
    // Room for all of it from the start: what a string leaves behind when it grows is not wiped.
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::from(SECRET_LEN_MAX) + 1));
    from.take(u64::from(SECRET_LEN_MAX) + 1).read_to_end(&mut bytes)?;
    let invalid = |text| io::Error::new(io::ErrorKind::InvalidData, text);
    if bytes.len() > usize::from(SECRET_LEN_MAX) {
        return Err(invalid("longer than any key"));
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| invalid("it is no text"))?;
    Ok(Zeroizing::new(text.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn folder(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("adit-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    #[test]
    fn only_private_files_are_read() {
        let folder = folder("secret");
        let path = folder.join("key");
        std::fs::write(&path, "  text\n").unwrap();
        let source = SecretSource::File(path.clone());
        let mode = |mode| std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        mode(0o600);
        assert_eq!(*source.read().unwrap(), "text");
        for open in [0o644, 0o640, 0o604, 0o660] {
            mode(open);
            let error = source.read().unwrap_err();
            assert!(error.to_string().contains("chmod 600"), "{error}");
        }
        mode(0o400);
        let link = folder.join("link");
        symlink(&path, &link).unwrap();
        let error = SecretSource::File(link).read().unwrap_err();
        assert_eq!(error.raw_os_error(), Some(rustix::io::Errno::LOOP.raw_os_error()));
        mode(0o600);
        std::fs::write(&path, "x".repeat(300)).unwrap();
        assert!(source.read().unwrap_err().to_string().contains("longer"));
        assert!(SecretSource::File(folder.clone()).read().is_err(), "a folder is no key");
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_source_is_known_by_its_text() {
        assert_eq!("-".parse(), Ok(SecretSource::Stdin));
        assert_eq!("/a/b".parse(), Ok(SecretSource::File("/a/b".into())));
        assert_eq!("credential:a".parse(), Ok(SecretSource::Credential("a".into())));
        assert!("credential:../a".parse::<SecretSource>().is_err());
        assert!("".parse::<SecretSource>().is_err());
    }
}
