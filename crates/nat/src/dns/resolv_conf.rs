//! The text of resolv.conf.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;

/// What a resolv.conf says, as glibc reads it (resolv.conf(5)): a keyword at the start of a line, comments only
/// there, the last `search` or `domain` counts.
///
/// ```
/// use adit_nat::dns::ResolvConf;
///
/// let text = "# by hand\nnameserver 127.0.0.53\nnameserver fe80::1%eth0\nsearch example.net lan\noptions edns0";
/// let conf = ResolvConf::parse(text);
/// assert_eq!(conf.servers[0].ip, "127.0.0.53".parse::<core::net::IpAddr>().unwrap());
/// assert_eq!(conf.servers[1].zone.as_deref(), Some("eth0"));
/// assert_eq!(conf.search, ["example.net", "lan"]);
/// assert_eq!(conf.options, ["edns0"]);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResolvConf {
    /// The name servers, in order, at most [`Self::SERVERS_MAX`].
    pub servers: Vec<Nameserver>,
    /// The domains for short names, at most [`Self::WORDS_MAX`].
    pub search: Vec<String>,
    /// The words of all `options` lines, at most [`Self::WORDS_MAX`].
    pub options: Vec<String>,
}

/// One name server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nameserver {
    /// Its address.
    pub ip: IpAddr,
    /// The zone of a link-local address: the name or number of an interface.
    pub zone: Option<String>,
}

impl ResolvConf {
    /// Name servers that are kept. glibc asks three; a forwarder may ask more.
    pub const SERVERS_MAX: usize = 8;
    /// Search domains and options that are kept. glibc has no limit since 2.26.
    pub const WORDS_MAX: usize = 32;

    /// Reads the text. Lines that are not understood are ignored, as every resolver does.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut conf = Self::default();
        for line in text.lines() {
            let mut words = line.split_ascii_whitespace();
            let keyword = if line.starts_with([' ', '\t']) { None } else { words.next() };
            match keyword {
                Some("nameserver") => {
                    let server = words.next().and_then(Nameserver::parse);
                    conf.servers.extend(server.filter(|_| conf.servers.len() < Self::SERVERS_MAX));
                }
                Some("search") => {
                    conf.search = words.take(Self::WORDS_MAX).map(ToOwned::to_owned).collect();
                }
                Some("domain") => conf.search = words.take(1).map(ToOwned::to_owned).collect(),
                Some("options") => {
                    let room = Self::WORDS_MAX - conf.options.len();
                    conf.options.extend(words.take(room).map(ToOwned::to_owned));
                }
                _ => {}
            }
        }
        conf
    }

    /// The text of a file with this name server in place of the others.
    #[must_use]
    pub fn with_server(&self, server: IpAddr) -> String {
        let mut text = format!("nameserver {server}\n");
        for (keyword, words) in [("search", &self.search), ("options", &self.options)] {
            if !words.is_empty() {
                text += &format!("{keyword} {}\n", words.join(" "));
            }
        }
        text
    }
}

impl Nameserver {
    fn parse(word: &str) -> Option<Self> {
        match word.split_once('%') {
            None => Some(Self { ip: word.parse().ok()?, zone: None }),
            Some((ip, zone)) => {
                let ip = IpAddr::V6(ip.parse().ok()?);
                (!zone.is_empty()).then(|| Self { ip, zone: Some(zone.to_owned()) })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_as_glibc_reads_it() {
        let text = "; nameserver 192.0.2.9\n#nameserver 192.0.2.8\n nameserver 192.0.2.7\n\
                    nameserver\t192.0.2.1 # the first word counts\nnameserver nonsense\n\
                    nameserver 192.0.2.2%eth0\nnameserver fe80::1%\nnameserver 2001:db8::1\n\
                    domain old.example\nsearch a.example  b.example\nsortlist 10.0.0.0\n\
                    options ndots:2 rotate\noptions trust-ad\n";
        let conf = ResolvConf::parse(text);
        let ips: Vec<_> = conf.servers.iter().map(|server| server.ip).collect();
        let wanted: [IpAddr; 2] = ["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()];
        assert_eq!(ips, wanted);
        assert_eq!(conf.search, ["a.example", "b.example"]);
        assert_eq!(conf.options, ["ndots:2", "rotate", "trust-ad"]);
        let file =
            "nameserver 10.0.2.3\nsearch a.example b.example\noptions ndots:2 rotate trust-ad\n";
        assert_eq!(conf.with_server("10.0.2.3".parse().unwrap()), file);
        assert_eq!(ResolvConf::parse("search a\ndomain b c\n").search, ["b"]);
        assert_eq!(ResolvConf::parse(""), ResolvConf::default());
    }

    #[test]
    fn a_long_file_is_kept_in_part() {
        let conf = ResolvConf::parse(&"nameserver ::1\nsearch x\noptions a b c\n".repeat(1000));
        assert_eq!(conf.servers.len(), ResolvConf::SERVERS_MAX);
        assert_eq!((conf.search.len(), conf.options.len()), (1, ResolvConf::WORDS_MAX));
    }
}
