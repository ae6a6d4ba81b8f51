//! From files to a checked configuration.

use crate::file::conf;
use crate::file::conf::HookPolicy;
use crate::file::config::Config;
use crate::file::hide::hide_secrets;
use crate::file::keys::Key;
use crate::file::secret::{check_private, remedy};
use crate::file::toml;
use crate::file::validate;
use adit_device::IfName;
use adit_service::config::problems::Problems;
use adit_service::config::source::Source;
use adit_service::error::{Error, Kind, Result, SYSTEM};
use adit_service::helper::open_regular;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// Where a tunnel that is given by its name alone is looked for, in this order.
const FOLDERS: [(&str, &str); 3] =
    [("/etc/adit", "toml"), ("/etc/adit", "conf"), ("/etc/wireguard", "conf")];

/// A tunnel as its files have it.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The name of its device: that of the first file without its ending.
    pub name: IfName,
    /// The files, for reading them again.
    pub files: Vec<PathBuf>,
    /// What they say together.
    pub config: Config,
}

/// Reads the files of one tunnel: the first names it, further ones add peers.
///
/// # Errors
/// All mistakes of all files at once; `PermissionDenied` for a file with keys in it that others may
/// read; the file's name if no device can be called so.
pub fn load(files: &[PathBuf], hooks: HookPolicy) -> Result<Loaded> {
    let files: Vec<PathBuf> = files.iter().map(|file| find(file)).collect::<Result<_>>()?;
    let first = files.first().ok_or_else(|| Error::usage("a file is missing"))?;
    let name = name_of(first)?;
    let problems = Problems::default();
    let mut config: Option<Config> = None;
    let mut open_to_others = None;
    for path in &files {
        let failed = |error| Error::io("read", path.display(), &error);
        let file = open_regular(path).map_err(failed)?;
        let source = Source::read_from(path, &file)?;
        let (read, has_secret) = if path.extension() == Some(OsStr::new("toml")) {
            toml::read(&source, &problems, hooks)
        } else {
            let read = conf::read(&source, &problems, hooks);
            let peers = read.peers.iter().any(|peer| peer.preshared_key.is_some());
            let has_secret = peers || read.interface.private_key.is_some();
            (read, has_secret)
        };
        if has_secret && let Err(error) = check_private(&file) {
            open_to_others.get_or_insert_with(|| {
                let message = format!("cannot use {}: {error}", path.display());
                let error = Error::new(Kind::Permission, &SYSTEM, message).object(path.display());
                error.hint(remedy(&file, path))
            });
        }
        match &mut config {
            None => config = Some(read),
            Some(config) => join(config, read, path)?,
        }
    }
    problems.edit(hide_secrets);
    problems.check(first.display())?;
    if let Some(error) = open_to_others {
        return Err(error);
    }
    Ok(Loaded { name, files, config: config.unwrap_or_default() })
}

/// What comes from elsewhere than the files.
#[derive(Clone, Copy, Debug, Default)]
pub struct Given {
    /// The private key.
    pub private_key: bool,
    /// A network namespace for the device.
    pub device_netns: bool,
}

/// As [`load`], and complete: what this accepts can be started, as far as the files alone say.
///
/// # Errors
/// As [`load`]; there is no private key; settings that contradict each other.
pub fn load_complete(files: &[PathBuf], hooks: HookPolicy, given: Given) -> Result<Loaded> {
    let loaded = load(files, hooks)?;
    let path = loaded.files.first().map(|path| path.display().to_string()).unwrap_or_default();
    if !given.private_key && loaded.config.interface.private_key.is_none() {
        let message = format!("{path} has no private key");
        return Err(Error::usage(message).object(path).hint(
            "Add PrivateKey to the file ('adit tunnel genkey' creates a key), or use --private-key-file.",
        ));
    }
    let problems = validate::problems(&loaded.config, !given.device_netns);
    if !problems.is_empty() {
        let message = format!("{path}: {}", problems.join("; "));
        return Err(Error::usage(message).object(path));
    }
    Ok(loaded)
}

/// Adds the peers of a further file.
fn join(to: &mut Config, further: Config, path: &Path) -> Result<()> {
    let (path, interface) = (path.display(), &further.interface);
    if *interface != crate::file::config::Interface::default() {
        let message =
            format!("{path}: only the first file may have [Interface]; further files add peers");
        return Err(Error::usage(message).object(path));
    }
    for peer in further.peers {
        if to.peers.first().is_some_and(|first| first.mode != peer.mode) {
            let message = format!(
                "{path}: all peers of a tunnel must have the same mode, and those of the first file are {}: \
                 use two tunnels",
                to.mode()
            );
            return Err(Error::usage(message).object(path));
        }
        if to.peers.iter().any(|known| known.public_key == peer.public_key) {
            let message = format!(
                "{path}: the peer {} is in an earlier file",
                peer.public_key.to_base64().as_str()
            );
            return Err(Error::usage(message).object(path));
        }
        to.peers.push(peer);
    }
    Ok(())
}

/// A path as it is; a name alone is looked for in `/etc/adit` and `/etc/wireguard`.
pub fn find(file: &Path) -> Result<PathBuf> {
    let is_name = file.components().count() == 1 && file.extension().is_none();
    if !is_name || file.exists() {
        return Ok(file.to_owned());
    }
    let at = |&(folder, ending): &(&str, &str)| Path::new(folder).join(file).with_extension(ending);
    FOLDERS.iter().map(at).find(|path| path.exists()).ok_or_else(|| {
        let places: Vec<String> = FOLDERS.iter().map(|p| at(p).display().to_string()).collect();
        let message = format!("no file of a tunnel '{}'", file.display());
        Error::new(Kind::NotFound, &SYSTEM, message)
            .object(file.display())
            .hint(format!("Create one of these files: {}", places.join(", ")))
    })
}

/// The names of tunnels that [`find`] finds.
#[must_use]
pub fn known() -> Vec<String> {
    let names = |(folder, ending): (&str, &str)| {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let paths = entries.map(|entry| entry.path());
        let files = paths.filter(|path| path.extension() == Some(OsStr::new(ending)));
        files.filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned())).collect::<Vec<_>>()
    };
    FOLDERS.into_iter().flat_map(names).collect()
}

/// The name of the device: that of the file without its ending, as with `wg-quick`.
pub fn name_of(path: &Path) -> Result<IfName> {
    let stem = path.file_stem().unwrap_or_default();
    if ["all", "default"].iter().any(|name| stem == *name) {
        let message = format!(
            "the file {} names the device '{}', which the kernel uses for the settings of all devices",
            path.display(),
            stem.display()
        );
        return Err(Error::usage(message).object(path.display()));
    }
    IfName::new(stem).map_err(|error| {
        let message =
            format!("the name of the file {} is not a valid device name: {error}", path.display());
        Error::usage(message).object(path.display())
    })
}
