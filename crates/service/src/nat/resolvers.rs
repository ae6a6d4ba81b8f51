//! The host's name servers, and the addresses by which the inside reaches them.

use std::net::IpAddr;

/// Where programs look for name servers.
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// How many name servers a resolver uses (`MAXNS` of resolv.conf(5)).
const SERVERS_MAX: usize = 3;

/// What the host's `/etc/resolv.conf` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolvers {
    /// The servers, at most three.
    pub servers: Vec<IpAddr>,
    /// The other lines: search domains and options.
    rest: String,
}

impl Resolvers {
    /// Reads the file; none if it cannot be read.
    #[must_use]
    pub fn of_host() -> Self {
        Self::parse(&std::fs::read_to_string(RESOLV_CONF).unwrap_or_default())
    }

    fn parse(text: &str) -> Self {
        let mut resolvers = Self::default();
        for line in text.lines().map(str::trim) {
            let mut words = line.split_whitespace();
            match (words.next(), words.next()) {
                (Some("nameserver"), Some(server)) => {
                    // A zone (fe80::1%eth0) has no meaning inside.
                    if let Ok(server) = server.parse()
                        && resolvers.servers.len() < SERVERS_MAX
                    {
                        resolvers.servers.push(server);
                    }
                }
                (Some("search" | "domain" | "options" | "sortlist"), _) => {
                    resolvers.rest.push_str(line);
                    resolvers.rest.push('\n');
                }
                _ => {}
            }
        }
        resolvers
    }

    /// The text of a file with these servers in place of the host's.
    #[must_use]
    pub fn file(&self, servers: &[IpAddr]) -> String {
        let lines = servers.iter().map(|server| format!("nameserver {server}\n"));
        lines.chain([self.rest.clone()]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_are_replaced_and_the_rest_stays() {
        let text = "# nameserver 9.9.9.9\nsearch lan example.org\nnameserver 127.0.0.53\n\
                    nameserver fe80::1%eth0\nnameserver 192.0.2.1\noptions edns0\nnameserver ::1\n\
                    nameserver 192.0.2.2\n";
        let resolvers = Resolvers::parse(text);
        let servers: [IpAddr; 3] = ["127.0.0.53", "192.0.2.1", "::1"].map(|ip| ip.parse().unwrap());
        assert_eq!(resolvers.servers, servers);
        assert_eq!(
            resolvers.file(&["10.0.2.3".parse().unwrap()]),
            "nameserver 10.0.2.3\nsearch lan example.org\noptions edns0\n"
        );
    }
}
