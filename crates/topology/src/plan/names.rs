//! The text of /etc/hosts.

use crate::model::Host;
use std::fmt::Write;
use std::net::IpAddr;
use std::sync::Arc;

/// The lines that every host has.
pub(super) const OWN: &str = "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n";

/// A line for each address of each name.
pub(super) fn lines<'a>(names: impl IntoIterator<Item = (&'a str, IpAddr)>) -> String {
    let mut text = String::new();
    for (name, ip) in names {
        let _ = writeln!(text, "{ip} {name}");
    }
    text
}

/// The text of /etc/hosts: what all have in common, and what is given for this one.
pub(super) fn hosts(common: &Arc<str>, host: Option<&Host>) -> Arc<str> {
    let own = host.map_or(&[][..], |host| &host.names);
    if own.is_empty() {
        return Arc::clone(common);
    }
    let own = lines(own.iter().map(|(name, ip)| (name.as_str(), *ip)));
    format!("{common}{own}").into()
}
