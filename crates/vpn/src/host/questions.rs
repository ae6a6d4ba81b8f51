//! What the helper of a tunnel in its sandbox is asked beside actions: what a plan depends on beside routes, and to write the
//! file of timestamps. Without a helper it is done here.

use crate::host::dns::Dns;
use adit_device::wire::{decode, encode};
use adit_device::{IfName, Netns, wire_enum, wire_structs};
use adit_runtime::text::netns::open_netns;
use adit_service::{file, helper};
use rustix::io::Errno;
use std::fs::DirBuilder;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// What the helper of a tunnel is asked beside actions.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Question {
    /// The surroundings.
    Surroundings,
    /// Whether name servers are in use that were set for a device.
    NameServers(IfName, Vec<IpAddr>),
    /// A part of the text of the file of timestamps, and whether it is the last one.
    Timestamps(Vec<u8>, bool),
}

wire_enum! { Question {
    0 = Surroundings,
    1 = NameServers(device, servers),
    2 = Timestamps(part, is_last),
} }

/// The length of a part of a file in bytes.
const PART_LEN: usize = 64 << 10;

/// The longest file of timestamps.
const FILE_LEN_MAX: usize = 8 << 20;

/// Whether the host forwards, and what sets its name servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Surroundings {
    /// Whether the namespace of the device forwards packets of any family.
    pub forwards: bool,
    /// What sets name servers on this machine; not for a device in another namespace than the program.
    pub dns: Option<Dns>,
}

wire_structs! { Surroundings { forwards, dns } }

impl Surroundings {
    /// Looks them up; `netns` is the namespace of the device, if it is not that of the program.
    #[must_use]
    pub fn read(netns: Option<&Netns>) -> Self {
        match helper::service(&encode(&Question::Surroundings)) {
            // If the helper has ended, nothing can be changed any more.
            Some(reply) => decode(&reply).unwrap_or(Self { forwards: true, dns: None }),
            None => Self::read_here(netns),
        }
    }

    fn read_here(netns: Option<&Netns>) -> Self {
        let forwards = netns.map_or_else(|| Ok(forwards()), |netns| netns.run(forwards));
        // Name servers are set for the namespace that the program is in.
        let dns = Dns::find().filter(|_| netns.is_none());
        Self { forwards: forwards.unwrap_or(true), dns }
    }
}

/// Looks whether name servers are in use that were set for a device. Returns a warning.
#[must_use]
pub fn check_name_servers(device: IfName, servers: &[IpAddr]) -> Option<String> {
    match helper::service(&encode(&Question::NameServers(device, servers.to_vec()))) {
        Some(reply) => decode(&reply)?,
        None => Dns::find()?.check(&device, servers),
    }
}

/// Replaces the file of timestamps, which only this user may read.
///
/// # Errors
/// Those of the file system; the helper has ended.
pub fn write_timestamps(file: &Path, text: &str) -> io::Result<()> {
    if helper::installed().is_none() {
        return replace(file, text.as_bytes());
    }
    let mut parts = text.as_bytes().chunks(PART_LEN).peekable();
    let mut written = Ok(());
    // An empty file is written as well.
    let first = parts.next().unwrap_or_default();
    let mut part = Some(first);
    while let Some(bytes) = part {
        let is_last = parts.peek().is_none();
        let reply = helper::service(&encode(&Question::Timestamps(bytes.to_vec(), is_last)));
        let errno: Option<Option<i32>> = reply.and_then(|reply| decode(&reply));
        written = match errno {
            Some(None) => Ok(()),
            Some(Some(errno)) => Err(io::Error::from_raw_os_error(errno)),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        };
        part = parts.next();
    }
    written
}

fn replace(file: &Path, text: &[u8]) -> io::Result<()> {
    if let Some(folder) = file.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    file::replace(file, text, 0o600)
}

/// Answers the questions, in the helper.
#[derive(Debug)]
pub struct Answers {
    /// The namespace of the device as the user wrote it.
    device_netns: Option<String>,
    /// The file of timestamps, and what came of its text.
    timestamps: Option<PathBuf>,
    text: Mutex<Vec<u8>>,
}

impl Answers {
    /// For a tunnel with this file of timestamps.
    #[must_use]
    pub fn new(device_netns: Option<String>, timestamps: Option<PathBuf>) -> Self {
        Self { device_netns, timestamps, text: Mutex::default() }
    }

    /// Answers one; what is no question has an empty answer.
    #[must_use]
    pub fn to(&self, question: &[u8]) -> Vec<u8> {
        match decode(question) {
            Some(Question::Surroundings) => {
                let netns = self.device_netns.as_ref().and_then(|netns| open_netns(netns).ok());
                let mut found = Surroundings::read_here(netns.as_ref());
                found.dns = found.dns.filter(|_| self.device_netns.is_none());
                encode(&found)
            }
            Some(Question::NameServers(device, servers)) => {
                encode(&Dns::find().and_then(|dns| dns.check(&device, &servers)))
            }
            Some(Question::Timestamps(part, is_last)) => {
                let written = self.write(&part, is_last);
                let errno =
                    |error: io::Error| error.raw_os_error().unwrap_or(Errno::IO.raw_os_error());
                encode(&written.err().map(errno))
            }
            None => Vec::new(),
        }
    }

    fn write(&self, part: &[u8], is_last: bool) -> io::Result<()> {
        let mut text = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        if text.len() + part.len() > FILE_LEN_MAX {
            text.clear();
            return Err(Errno::FBIG.into());
        }
        text.extend(part);
        match &self.timestamps {
            Some(file) if is_last => replace(file, &std::mem::take(&mut *text)),
            _ => Ok(()),
        }
    }
}

/// Whether the host forwards packets of any family.
fn forwards() -> bool {
    ["ipv4/conf/all/forwarding", "ipv6/conf/all/forwarding"].iter().any(|file| {
        let text = std::fs::read_to_string(format!("/proc/sys/net/{file}"));
        text.is_ok_and(|text| text.trim() != "0")
    })
}
