//! Name servers: which program sets them on this machine, and whether they count then.

use adit_device::IfName;
use adit_nat::dns::ResolvConf;
use adit_service::host::action::{Program, Purpose};
use adit_service::host::program;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

/// Where `resolvconf` of Debian keeps the order of interfaces.
const INTERFACE_ORDER: &str = "/etc/resolvconf/interface-order";

/// Where programs look for name servers.
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// Where systemd-resolved listens.
const STUBS: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(127, 0, 0, 53)), IpAddr::V4(Ipv4Addr::new(127, 0, 0, 54))];

/// How the C library resolves names: without RESOLV_CONF if `resolve` is among its words.
const NSSWITCH_CONF: &str = "/etc/nsswitch.conf";

/// How name servers are set on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dns {
    /// systemd-resolved runs.
    Resolved,
    /// There is a `resolvconf`: openresolv, which knows exclusive servers (`-x`), or that of Debian, which
    /// ignores this and puts first what has a name like those at the top of its list.
    Resolvconf {
        /// Goes before the name of the device; empty with openresolv.
        prefix: String,
    },
}

adit_device::wire_enum! { Dns { 0 = Resolved, 1 = Resolvconf { prefix } } }

impl Dns {
    /// What this machine has; `None` if it has neither.
    #[must_use]
    pub fn find() -> Option<Self> {
        let is_resolved = Path::new("/run/systemd/resolve/io.systemd.Resolve").exists();
        if is_resolved && program::is_in_path("resolvectl") {
            Some(Self::Resolved)
        } else if program::is_in_path("resolvconf") {
            let order = std::fs::read_to_string(INTERFACE_ORDER).unwrap_or_default();
            Some(Self::Resolvconf { prefix: prefix(&order) })
        } else {
            None
        }
    }

    /// The programs that set the servers for all names, and what reverts them.
    #[must_use]
    pub fn set(&self, name: &IfName, servers: &[IpAddr], search: &[String]) -> Vec<Program> {
        let device = name.to_string();
        match self {
            Self::Resolved => {
                let undo = words(&["resolvectl", "revert", &device]);
                let mut dns = words(&["resolvectl", "dns", &device]);
                dns.extend(servers.iter().map(ToString::to_string));
                let mut domain = words(&["resolvectl", "domain", &device]);
                domain.extend(search.iter().cloned());
                // All names go there, as with the exclusive mode of resolvconf.
                domain.push("~.".to_owned());
                // One revert is enough for both.
                vec![program(dns, None, undo), program(domain, None, Vec::new())]
            }
            Self::Resolvconf { prefix } => {
                let device = format!("{prefix}{device}");
                let mut input: String =
                    servers.iter().map(|server| format!("nameserver {server}\n")).collect();
                if !search.is_empty() {
                    input.push_str(&format!("search {}\n", search.join(" ")));
                }
                let set = words(&["resolvconf", "-a", &device, "-m", "0", "-x"]);
                let undo = words(&["resolvconf", "-d", &device, "-f"]);
                vec![program(set, Some(input), undo)]
            }
        }
    }

    /// The program that removes the servers that a killed tunnel left; those of systemd-resolved go with the
    /// device.
    #[must_use]
    pub fn leftover(&self, name: &IfName) -> Option<Program> {
        let Self::Resolvconf { prefix } = self else { return None };
        let record = format!("{prefix}{name}");
        let records = program::output(&words(&["resolvconf", "-i"])).unwrap_or_default();
        let is_left = records.split_whitespace().any(|known| known == record);
        is_left.then(|| program(words(&["resolvconf", "-d", &record, "-f"]), None, Vec::new()))
    }

    /// Looks whether the servers are in use now: programs report success without that. Returns a warning.
    #[must_use]
    pub fn check(&self, name: &IfName, servers: &[IpAddr]) -> Option<String> {
        let resolv_conf = std::fs::read_to_string(RESOLV_CONF).unwrap_or_default();
        if *self == Self::Resolved {
            let shown = program::output(&words(&["resolvectl", "dns", &name.to_string()]));
            let shown = shown.unwrap_or_default();
            if !servers.iter().all(|server| shown.contains(&server.to_string())) {
                let why = "name servers: resolvectl does not list them for the device";
                return Some(why.to_owned());
            }
            let nsswitch = std::fs::read_to_string(NSSWITCH_CONF).unwrap_or_default();
            if nsswitch.split_whitespace().any(|word| word == "resolve") {
                return None;
            }
            let mut used = servers.to_vec();
            used.extend(STUBS);
            return foreign_server(&resolv_conf, &used);
        }
        foreign_server(&resolv_conf, servers)
    }
}

/// A warning if a file names other servers than these, or none.
fn foreign_server(resolv_conf: &str, servers: &[IpAddr]) -> Option<String> {
    let listed = ResolvConf::parse(resolv_conf).servers;
    let mut listed = listed.into_iter().map(|server| server.ip).peekable();
    let Some(first) = listed.peek().copied() else {
        return Some(format!(
            "{RESOLV_CONF} lists none of the name servers of the tunnel: names are resolved as before"
        ));
    };
    let foreign = listed.find(|server| !servers.contains(server))?;
    let result = if foreign == first {
        format!("{foreign} first: names are still resolved outside the tunnel")
    } else {
        format!(
            "{foreign} as well: names are resolved outside the tunnel while its own servers do not answer"
        )
    };
    Some(format!("name servers: {RESOLV_CONF} lists {result}"))
}

/// What Debian's `resolvconf` sorts first: the first pattern `WORD*` of its list, as `wg-quick` takes it.
fn prefix(order: &str) -> String {
    let is_word = |word: &str| {
        !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let mut patterns = order.lines().filter_map(|line| line.trim().strip_suffix('*'));
    patterns.find(|word| is_word(word)).map_or(String::new(), |word| format!("{word}."))
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn program(words: Vec<String>, input: Option<String>, undo: Vec<String>) -> Program {
    Program { words, input, undo, purpose: Purpose::NameServers }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_servers_are_set_by_the_program_that_keeps_them() {
        let (name, server) = ("site".parse().unwrap(), "192.0.2.53".parse().unwrap());
        let lines = |dns: &Dns| {
            let all = dns.set(&name, &[server], &["example.net".to_owned()]);
            all.iter().map(|program| program.words.join(" ")).collect::<Vec<_>>()
        };
        assert_eq!(
            lines(&Dns::Resolved),
            ["resolvectl dns site 192.0.2.53", "resolvectl domain site example.net ~."]
        );
        let openresolv = Dns::Resolvconf { prefix: prefix("") };
        assert_eq!(lines(&openresolv), ["resolvconf -a site -m 0 -x"]);
        let undo = |dns: &Dns| dns.set(&name, &[server], &[])[0].undo.join(" ");
        assert_eq!(undo(&openresolv), "resolvconf -d site -f");
        let order = "# lo\nlo.inet6\nlo.inet\nlo.@(dhclient|dhcp3)*\nlo*\ntun*\neth*\n";
        let debian = Dns::Resolvconf { prefix: prefix(order) };
        assert_eq!(lines(&debian), ["resolvconf -a lo.site -m 0 -x"]);
        assert_eq!(undo(&debian), "resolvconf -d lo.site -f");
    }

    #[test]
    fn a_server_outside_the_tunnel_is_warned_of() {
        let ours: Vec<IpAddr> = vec!["192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap()];
        let warning = |text: &str| foreign_server(text, &ours).unwrap_or_default();
        let text = "# nameserver 1.1.1.1\nsearch x\nnameserver 192.0.2.1\nnameserver 192.0.2.2\n";
        assert_eq!(warning(text), "");
        assert!(warning("options rotate\n").contains("lists none"));
        assert!(
            warning("nameserver 192.0.2.1\nnameserver 10.0.0.1\n").contains("10.0.0.1 as well")
        );
        assert!(warning("nameserver 10.0.0.1\nnameserver 192.0.2.1\n").contains("10.0.0.1 first"));
    }
}
