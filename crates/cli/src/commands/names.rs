//! Words for names: of a NAT, of hosts inside, and the name servers that are asked.

use adit_nat::dns::{self, Name as HostName};
use adit_service::control::name::Name;
use adit_service::error::{Error, Result};
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

/// A word of `--name`.
#[derive(Clone, Debug)]
pub(crate) enum NameWord {
    /// How the program is called.
    Own(Name),
    /// A name inside, and its address.
    Host(HostName, IpAddr),
}

impl FromStr for NameWord {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if !text.contains('=') {
            return text.parse().map(Self::Own);
        }
        dns::parse_host(text).map(|(name, ip)| Self::Host(name, ip))
    }
}

/// The name of the program, and names of hosts inside.
pub(crate) type Names = (Option<Name>, Vec<(HostName, IpAddr)>);

/// What the words of all `--name` mean.
pub(crate) fn names(words: Vec<NameWord>) -> Result<Names> {
    let (mut own, mut hosts) = (None, Vec::new());
    for word in words {
        match word {
            NameWord::Own(name) if own.is_none() => own = Some(name),
            NameWord::Own(name) => {
                let message = format!(
                    "two names: '{}' and '{name}'",
                    own.map_or_else(String::new, |own| own.to_string())
                );
                return Err(Error::usage(message).hint("Use --name HOST=ADDR for a name inside."));
            }
            NameWord::Host(name, ip) => hosts.push((name, ip)),
        }
    }
    Ok((own, hosts))
}

/// A word of `--dns`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DnsWord {
    /// Those of the host.
    Auto,
    /// This one.
    Server(SocketAddr),
}

impl FromStr for DnsWord {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(Self::Auto),
            _ => {
                let server = dns::parse_server(text).map(Self::Server);
                server.map_err(|_| "give 'auto' or IP addresses".to_owned())
            }
        }
    }
}

/// What the words of all `--dns` mean: `None` for those of the host.
pub(crate) fn servers(words: &[DnsWord]) -> Result<Option<Vec<SocketAddr>>> {
    let servers = words.iter().filter_map(|word| match word {
        DnsWord::Auto => None,
        DnsWord::Server(server) => Some(*server),
    });
    let servers: Vec<SocketAddr> = servers.collect();
    match servers.len() {
        0 => Ok(None),
        count if count == words.len() => Ok(Some(servers)),
        _ => Err(Error::usage("--dns auto stands alone: it asks the name servers of the host")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_hosts_have_an_address() {
        let words =
            ["web", "db.test=10.0.0.9", "db.test=fd00::9"].map(|word| word.parse().unwrap());
        let (own, hosts) = names(words.to_vec()).unwrap();
        assert_eq!(own.unwrap().as_str(), "web");
        assert_eq!(hosts[1], ("db.test".parse().unwrap(), "fd00::9".parse().unwrap()));
        for wrong in ["db=10.0.0", "=10.0.0.9", "a..b=10.0.0.9", "-x"] {
            assert!(wrong.parse::<NameWord>().is_err(), "{wrong}");
        }
        assert!(names(["a", "b"].map(|word| word.parse().unwrap()).to_vec()).is_err());
    }

    #[test]
    fn name_servers_are_the_hosts_or_given() {
        let servers = |words: &[&str]| {
            let words: Vec<DnsWord> = words.iter().map(|word| word.parse().unwrap()).collect();
            servers(&words)
        };
        assert_eq!(servers(&["auto"]).unwrap(), None);
        let given = servers(&["192.0.2.1", "fd00::1", "192.0.2.1:5353", "[fd00::1]:5353"]);
        let given: Vec<String> = given.unwrap().unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(given, ["192.0.2.1:53", "[fd00::1]:53", "192.0.2.1:5353", "[fd00::1]:5353"]);
        assert!(servers(&["auto", "192.0.2.1"]).is_err());
        assert!("example.org".parse::<DnsWord>().is_err());
    }
}
