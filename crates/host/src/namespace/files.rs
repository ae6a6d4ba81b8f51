//! Files in `/etc` that differ in a mount namespace.

use super::covers::{CoverError, Covers};
use crate::error::Result;
use crate::namespace::channel::failure;
use std::fmt::Display;
use std::net::IpAddr;

/// Where programs look for name servers.
pub(super) const RESOLV_CONF: &str = "/etc/resolv.conf";

/// What a command sees in place of the host's files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PrivateFiles {
    /// The content of `/etc/resolv.conf`; `None`: the host's.
    pub resolv_conf: Option<String>,
    /// The content of `/etc/hosts`; `None`: the host's.
    pub hosts: Option<String>,
}

impl PrivateFiles {
    /// The host's `/etc/hosts` with more names.
    #[must_use]
    pub fn hosts_and(names: impl IntoIterator<Item = (impl Display, IpAddr)>) -> String {
        let mut hosts = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
        if !hosts.is_empty() && !hosts.ends_with('\n') {
            hosts.push('\n');
        }
        let lines = names.into_iter().map(|(name, ip)| format!("{ip}\t{name}\n"));
        hosts.extend(lines);
        hosts
    }

    /// Covers the files in the mount namespace of the calling process. Returns what could not be covered too.
    ///
    /// # Errors
    /// EPERM: mounts are forbidden here.
    pub(super) fn mount(&self) -> Result<(Covers, Vec<String>)> {
        let wanted = [(RESOLV_CONF, &self.resolv_conf), ("/etc/hosts", &self.hosts)];
        let (mut covers, mut warnings) = (Covers::default(), Vec::new());
        for (path, content) in wanted {
            let added = content.clone().map_or(Ok(()), |content| covers.add(path, content));
            if let Err(error) = added {
                warnings.push(format!("{path} is not replaced inside: {error}"));
            }
        }
        let failed = |error: CoverError| failure(error.op, &error.object, &error.source);
        covers.mount().map_err(failed)?;
        Ok((covers, warnings))
    }
}
