//! The words of a configuration, each parsed into a valid value or refused with what would be right.

use crate::file::config::{Hook, PeerEndpoint, Table};
use adit_device::netlink::IpPrefix;
use adit_tunnel::{PostQuantum, SuitePolicy, UnknownSuite};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// The longest name of a host: RFC 1035, section 2.3.4.
const HOST_LEN_MAX: usize = 253;

/// The longest name of a peer: it is on a line with others.
const NAME_LEN_MAX: usize = 64;

/// The MTUs that the kernel takes for a TUN device.
const MTU_MIN: u32 = 68;
const MTU_MAX: u32 = 65_535;

/// What is wrong with a value, with the remedy where one is known.
pub type Result<T> = std::result::Result<T, String>;

/// An address with a prefix length: `192.0.2.1/24`; without one it is all prefix.
pub fn address(text: &str) -> Result<IpPrefix> {
    text.parse().map_err(|error: adit_device::netlink::PrefixError| error.to_string())
}

/// A network: bits beyond the prefix are cleared, as `wg` does.
pub fn network(text: &str) -> Result<IpPrefix> {
    address(text).map(IpPrefix::network)
}

/// The name of a peer for people.
pub fn peer_name(text: &str) -> Result<Arc<str>> {
    let is_name = (1..=NAME_LEN_MAX).contains(&text.chars().count());
    if is_name && !text.contains(char::is_control) {
        return Ok(text.into());
    }
    Err(format!("expected a name of 1 to {NAME_LEN_MAX} characters"))
}

/// The port of UDP, 0 for one that the kernel chooses.
pub fn port(text: &str) -> Result<u16> {
    text.parse().map_err(|_| "expected a port from 0 to 65535".to_owned())
}

/// `off`, a number, or a number in hexadecimal after `0x`.
pub fn fwmark(text: &str) -> Result<u32> {
    if text.eq_ignore_ascii_case("off") {
        return Ok(0);
    }
    number(text).ok_or_else(|| "expected off or a 32-bit number such as 0xca6c".to_owned())
}

fn number(text: &str) -> Option<u32> {
    let hex = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    let (digits, radix) = hex.map_or((text, 10), |hex| (hex, 16));
    // from_str_radix would take a sign.
    let plain = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    u32::from_str_radix(digits, radix).ok().filter(|_| plain)
}

/// The IP MTU of the device.
pub fn mtu(text: &str) -> Result<u32> {
    let mtu = text.parse().ok().filter(|mtu| (MTU_MIN..=MTU_MAX).contains(mtu));
    mtu.ok_or_else(|| format!("expected an MTU from {MTU_MIN} to {MTU_MAX}"))
}

/// `auto`, `off`, the number of a table, or `main`.
pub fn table(text: &str) -> Result<Table> {
    match text.to_ascii_lowercase().as_str() {
        "auto" | "" => Ok(Table::Auto),
        "off" => Ok(Table::Off),
        "main" => Ok(Table::Number(adit_device::netlink::TABLE_MAIN)),
        text => number(text)
            .filter(|&number| number != 0)
            .map(Table::Number)
            .ok_or_else(|| "expected auto, off, main or a table number".to_owned()),
    }
}

/// `off` or a number of seconds.
pub fn keepalive(text: &str) -> Result<u16> {
    if text.eq_ignore_ascii_case("off") {
        return Ok(0);
    }
    text.parse().map_err(|_| "expected off or 0 to 65535 seconds".to_owned())
}

/// `off` or a number of seconds; zero is off.
pub fn timeout(text: &str) -> Result<Duration> {
    let seconds = keepalive(text).map_err(|_| "expected off or 0 to 65535 seconds");
    Ok(Duration::from_secs(seconds?.into()))
}

/// `auto`, or the name of a suite.
pub fn suite(text: &str) -> Result<SuitePolicy> {
    text.to_ascii_lowercase().parse().map_err(|error: UnknownSuite| error.to_string())
}

/// `true` or `false`.
pub fn boolean(text: &str) -> Result<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("expected true or false".to_owned()),
    }
}

/// `off`, `prefer` or `require`.
pub fn post_quantum(text: &str) -> Result<PostQuantum> {
    match text.to_ascii_lowercase().as_str() {
        "off" => Ok(PostQuantum::Off),
        "prefer" => Ok(PostQuantum::Prefer),
        "require" => Ok(PostQuantum::Require),
        _ => Err("expected off, prefer or require".to_owned()),
    }
}

/// `192.0.2.1:51820`, `[2001:db8::1]:51820`, `[fe80::1%eth0]:51820` or `host.example:51820`.
pub fn endpoint(text: &str) -> Result<PeerEndpoint> {
    let form = "write an endpoint as 192.0.2.1:51820, [2001:db8::1]:51820 or host.example:51820";
    if text.parse::<IpAddr>().is_ok() {
        let ip = if text.contains(':') { format!("[{text}]") } else { text.to_owned() };
        return Err(format!("the port is missing: did you mean {ip}:51820?"));
    }
    let (host, port) =
        text.rsplit_once(':').ok_or_else(|| format!("the port is missing: {form}"))?;
    let port = port.parse().ok().filter(|&port| port != 0);
    let port = port.ok_or("expected a port from 1 to 65535")?;
    if let Some(inner) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        let (ip, zone) = inner.split_once('%').map_or((inner, None), |(ip, zone)| (ip, Some(zone)));
        let ip: Ipv6Addr = ip.parse().map_err(|_| form.to_owned())?;
        return match zone {
            // An IPv6 socket of ours does not send to ::ffff:192.0.2.1.
            None => Ok(PeerEndpoint::Address(SocketAddr::new(ip.to_canonical(), port))),
            Some(zone) if is_host(zone) => Ok(PeerEndpoint::Name { host: inner.to_owned(), port }),
            Some(_) => Err("expected an interface name after %".to_owned()),
        };
    }
    if host.parse::<Ipv6Addr>().is_ok() {
        return Err(format!("put the IPv6 address in brackets: [{host}]:{port}"));
    }
    if let Ok(ip) = host.parse() {
        return Ok(PeerEndpoint::Address(SocketAddr::new(ip, port)));
    }
    if host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') || !is_host(host) {
        return Err(form.to_owned());
    }
    Ok(PeerEndpoint::Name { host: host.to_owned(), port })
}

/// An IPv4 address that came through an IPv6 socket (`::ffff:192.0.2.1`) as an IPv4 address.
#[must_use]
pub fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        ip if ip == address.ip() => address,
        ip => SocketAddr::new(ip, address.port()),
    }
}

/// The name of a host: what getaddrinfo(3) may be asked for.
pub fn is_host(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    !text.is_empty()
        && text.len() <= HOST_LEN_MAX
        && !text.starts_with(['-', '.'])
        && text.bytes().all(allowed)
}

/// A domain in which short names are looked up.
pub fn domain(text: &str) -> Result<String> {
    let wrong = "expected the IP address of a name server, or a search domain such as example.net";
    if is_host(text) { Ok(text.to_owned()) } else { Err(wrong.to_owned()) }
}

/// A program and its arguments from one line: words between white space, quotes around what has
/// some, a backslash before a quote. What only a shell understands is refused, for there is none.
pub fn hook(text: &str) -> Result<Hook> {
    let shell = "there is no shell: put the command into a script and use that";
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, quote) {
            (c, Some(open)) if c == open => quote = None,
            ('\\', None | Some('"')) => {
                let next = chars.next().ok_or("nothing follows the backslash")?;
                word.get_or_insert_default().push(next);
            }
            (c @ ('\'' | '"'), None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (c, None) if c.is_whitespace() => words.extend(word.take()),
            ('|' | '&' | ';' | '<' | '>' | '(' | ')' | '`' | '*' | '?', None) => {
                return Err(format!("'{c}' needs a shell, and {shell}"));
            }
            ('$' | '`', None | Some('"')) => {
                return Err(format!("'{c}' needs a shell, and {shell}"));
            }
            (c, _) => word.get_or_insert_default().push(c),
        }
    }
    if let Some(quote) = quote {
        return Err(format!("unclosed quote {quote}"));
    }
    words.extend(word);
    if words.first().is_none_or(String::is_empty) {
        return Err("the program is missing".to_owned());
    }
    Ok(Hook(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints() {
        let same = ["192.0.2.1:51820", "[2001:db8::1]:1", "host.example:65535", "[fe80::1%eth0]:5"];
        for text in same {
            assert_eq!(endpoint(text).unwrap().to_string(), text);
        }
        assert_eq!(endpoint("[::ffff:192.0.2.1]:5").unwrap().to_string(), "192.0.2.1:5");
        let error = |text| endpoint(text).unwrap_err();
        assert!(error("192.0.2.1").contains("192.0.2.1:51820?"));
        assert!(error("2001:db8::1").contains("[2001:db8::1]:51820?"));
        assert!(error("2001:db8::1:zz").contains("from 1 to 65535"));
        assert!(error("2001:db8:0:0:0:0:0:1:700").contains("in brackets"));
        for wrong in
            ["", ":1", "a:0", "a:65536", "[a]:1", "a b:1", "256.1.1.1:1", "-x:1", "[::1%]:1"]
        {
            assert!(endpoint(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_ipv4_address_is_shown_as_such() {
        let text = |text: &str| canonical(text.parse().unwrap()).to_string();
        assert_eq!(text("[::ffff:192.0.2.1]:5"), "192.0.2.1:5");
        assert_eq!(text("[2001:db8::1]:5"), "[2001:db8::1]:5");
        assert_eq!(text("192.0.2.1:5"), "192.0.2.1:5");
    }

    #[test]
    fn numbers_and_words() {
        assert_eq!(fwmark("0xCA6C"), Ok(0xca6c));
        assert_eq!((fwmark("off"), fwmark("7")), (Ok(0), Ok(7)));
        assert!(fwmark("0x").is_err() && fwmark("-1").is_err() && fwmark("+1").is_err());
        assert!(fwmark("0x100000000").is_err());
        assert_eq!(table("Off"), Ok(Table::Off));
        assert_eq!((table("auto"), table("1234")), (Ok(Table::Auto), Ok(Table::Number(1234))));
        assert!(table("0").is_err() && table("x").is_err());
        assert_eq!((keepalive("OFF"), keepalive("25")), (Ok(0), Ok(25)));
        assert!(keepalive("65536").is_err() && mtu("67").is_err() && mtu("65536").is_err());
        assert_eq!(network("192.0.2.1/24").unwrap().to_string(), "192.0.2.0/24");
        assert_eq!((boolean("TRUE"), boolean("no").is_err()), (Ok(true), true));
    }

    #[test]
    fn a_hook_is_words_and_no_shell() {
        let words = |text| hook(text).map(|hook| hook.0);
        let expected = ["ip", "route add", "it's", "a\"b", ""].map(str::to_owned).to_vec();
        assert_eq!(words(r#"ip 'route add' "it's" a\"b """#), Ok(expected));
        for shell in ["a; b", "a && b", "a | b", "a > b", "$(a)", "a \"$b\"", "`a`", "a *"] {
            assert!(hook(shell).unwrap_err().contains("there is no shell"), "{shell}");
        }
        for wrong in ["", "  ", "'a", "a \\", "\"\""] {
            assert!(hook(wrong).is_err(), "{wrong}");
        }
    }
}
