//! How two machines become peers: one line there, one line back.
//!
//! ```text
//! server                                        client
//! invite   reserves addresses, makes a
//!          preshared key; one line  ----------> join     makes a private key, which stays there;
//!                                                        writes its file
//! accept   adds the peer            <---------- one line: addresses and public key
//! ```
//!
//! The line there is a secret, for a preshared key is in it; the line back is none. Who reads the line
//! there cannot connect: only the key that the server's owner accepts can, once, and within a day.

use crate::file::config::{Config, PeerEndpoint};
use crate::file::keys::Key;
use crate::file::values;
use adit_device::IfName;
use adit_device::netlink::IpPrefix;
use adit_tunnel::{PresharedKey, PrivateKey, PublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::ffi::OsStr;
use std::fmt::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use zeroize::Zeroizing;

/// What the line begins with: a format of another number is another format.
const PREFIX: &str = "adit-invitation-1:";

/// The longest line: a name of a host and a few networks take far less.
pub const LINE_LEN_MAX: usize = 4096;

/// How many addresses of a network are looked at for a free one.
const HOSTS_MAX: u32 = 65_535;

/// How many invitations may be open at a time.
const OPEN_MAX: usize = 256;

/// How long one is open, in seconds.
pub const OPEN_FOR: u64 = 24 * 3600;

/// The keepalive of the joining machine, which is often behind a NAT: below the 30 s of the strictest.
const KEEPALIVE: u16 = 25;

/// What is in the line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invitation {
    /// What the tunnel is called.
    pub name: IfName,
    /// Where the server is.
    pub endpoint: PeerEndpoint,
    /// Its key.
    pub server: PublicKey,
    /// What both know.
    pub preshared_key: PresharedKey,
    /// The addresses of the joining machine.
    pub addresses: Vec<IpPrefix>,
    /// What is behind the server.
    pub allowed_ips: Vec<IpPrefix>,
}

/// The line is none, or not whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadInvitation;

impl fmt::Display for BadInvitation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not a complete invitation: expected one line that begins with {PREFIX}")
    }
}

impl Invitation {
    /// The line; it is a secret.
    pub fn to_line(&self) -> Zeroizing<String> {
        let Self { name, endpoint, server, preshared_key, addresses, allowed_ips } = self;
        let mut text = Zeroizing::new(format!(
            "{name}\n{endpoint}\n{}\n{}\n{}\n{}\n",
            *server.to_base64(),
            *preshared_key.to_base64(),
            list(addresses),
            list(allowed_ips),
        ));
        let sum = checksum(text.as_bytes());
        // A string takes all.
        let _ = write!(text, "{sum:08x}");
        Zeroizing::new(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(text.as_bytes())))
    }

    /// Reads a line.
    ///
    /// # Errors
    /// [`BadInvitation`], which reveals nothing of the line.
    pub fn parse(line: &str) -> Result<Self, BadInvitation> {
        Self::read(line.trim()).ok_or(BadInvitation)
    }

    fn read(line: &str) -> Option<Self> {
        let code = line.strip_prefix(PREFIX).filter(|code| code.len() <= LINE_LEN_MAX)?;
        let bytes = Zeroizing::new(URL_SAFE_NO_PAD.decode(code).ok()?);
        let text = std::str::from_utf8(&bytes).ok()?;
        let (text, sum) = text.split_at_checked(text.len().checked_sub(8)?)?;
        if u32::from_str_radix(sum, 16).ok()? != checksum(text.as_bytes()) {
            return None;
        }
        Self::of_text(text)
    }

    /// Reads what is in a line.
    pub fn of_text(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let name = lines.next()?;
        let invitation = Self {
            // It is printed: no control characters.
            name: IfName::new(OsStr::new(name)).ok().filter(|ok| ok.to_string() == name)?,
            endpoint: values::endpoint(lines.next()?).ok()?,
            server: PublicKey::from_base64(lines.next()?).ok()?,
            preshared_key: PresharedKey::from_base64(lines.next()?).ok()?,
            addresses: prefixes(lines.next()?)?,
            allowed_ips: prefixes(lines.next()?)?,
        };
        lines.next().is_none().then_some(invitation)
    }

    /// The file of the joining machine.
    pub fn to_file(&self, private_key: &PrivateKey) -> Zeroizing<String> {
        Zeroizing::new(format!(
            "[Interface]\nPrivateKey = {}\nAddress = {}\n\n[Peer]\nPublicKey = {}\n\
             PresharedKey = {}\nAllowedIPs = {}\nEndpoint = {}\nPersistentKeepalive = {KEEPALIVE}\n",
            *private_key.to_base64(),
            list(&self.addresses),
            *self.server.to_base64(),
            *self.preshared_key.to_base64(),
            list(&self.allowed_ips),
            self.endpoint,
        ))
    }
}

/// The file of a server that is new, with networks at random: two that are joined later do not clash.
pub fn new_server(private_key: &PrivateKey, port: u16, random: [u8; 8]) -> Zeroizing<String> {
    let [a, b, c, d, e, f, g, _] = random;
    let v4 = Ipv4Addr::new(10, a, b, 1);
    // RFC 4193: fd and forty random bits.
    let group = |high: u8, low: u8| u16::from_be_bytes([high, low]);
    let v6 = Ipv6Addr::new(group(0xfd, c), group(d, e), group(f, g), 0, 0, 0, 0, 1);
    Zeroizing::new(format!(
        "[Interface]\nPrivateKey = {}\nListenPort = {port}\nAddress = {v4}/24, {v6}/64\n",
        *private_key.to_base64()
    ))
}

/// A peer to be appended to a file.
pub fn peer_text(
    is_toml: bool,
    key: &PublicKey,
    preshared_key: &PresharedKey,
    addresses: &[IpPrefix],
) -> Zeroizing<String> {
    let (key, shared) = (key.to_base64(), preshared_key.to_base64());
    Zeroizing::new(if is_toml {
        let addresses: Vec<String> =
            addresses.iter().map(|address| format!("\"{address}\"")).collect();
        format!(
            "\n[[peer]]\npublic_key = \"{}\"\npreshared_key = \"{}\"\nallowed_ips = [{}]\n",
            *key,
            *shared,
            addresses.join(", ")
        )
    } else {
        format!(
            "\n[Peer]\nPublicKey = {}\nPresharedKey = {}\nAllowedIPs = {}\n",
            *key,
            *shared,
            list(addresses)
        )
    })
}

/// Addresses for one more peer, one in each network of the interface that has room; `taken` are those
/// of open invitations.
pub fn free_addresses(config: &Config, taken: &[IpPrefix]) -> Option<Vec<IpPrefix>> {
    let networks: Vec<IpPrefix> = config
        .interface
        .addresses
        .iter()
        .filter(|address| address.len() + 2 <= IpPrefix::host(address.ip()).len())
        .copied()
        .collect();
    let own = config.interface.addresses.iter().map(|address| address.ip());
    // A peer's network that is wider than the interface's is what is behind it.
    let of_peers = config.peers.iter().flat_map(|peer| &peer.allowed_ips).filter(|allowed| {
        networks
            .iter()
            .any(|network| allowed.len() > network.len() && network.contains(allowed.ip()))
    });
    let used: Vec<IpPrefix> = of_peers.chain(taken).copied().collect();
    let own: Vec<IpAddr> = own.collect();
    let is_free = |ip: &IpAddr| !own.contains(ip) && !used.iter().any(|known| known.contains(*ip));
    (1..=HOSTS_MAX).find_map(|number| {
        let all: Vec<IpAddr> =
            networks.iter().map(|network| host(*network, number)).collect::<Option<_>>()?;
        let fit = !all.is_empty() && all.iter().all(is_free);
        fit.then(|| all.into_iter().map(IpPrefix::host).collect())
    })
}

/// The host of this number, unless it is the network's last, its broadcast address.
fn host(network: IpPrefix, number: u32) -> Option<IpAddr> {
    let ip = match network.network().ip() {
        IpAddr::V4(ip) => IpAddr::from(Ipv4Addr::from_bits(ip.to_bits().checked_add(number)?)),
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits().checked_add(number.into())?).into(),
    };
    let next = match ip {
        IpAddr::V4(ip) => IpAddr::from(Ipv4Addr::from_bits(ip.to_bits().checked_add(1)?)),
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits().checked_add(1)?).into(),
    };
    network.contains(next).then_some(ip)
}

/// An invitation that waits to be accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    /// The reserved addresses.
    pub addresses: Vec<IpPrefix>,
    /// The key that both sides get.
    pub preshared_key: PresharedKey,
    /// When it expires, in seconds since 1970.
    pub until: u64,
}

/// The open invitations in the text of their file, without those whose time is over.
pub fn read_open(text: &str, now: u64) -> Vec<Open> {
    let one = |line: &str| {
        let mut words = line.split(' ');
        let open = Open {
            addresses: prefixes(words.next()?)?,
            preshared_key: PresharedKey::from_base64(words.next()?).ok()?,
            until: words.next()?.parse().ok()?,
        };
        (open.until > now).then_some(open)
    };
    text.lines().take(OPEN_MAX).filter_map(one).collect()
}

/// The text of their file; `None` if there are too many.
pub fn write_open(open: &[Open]) -> Option<Zeroizing<String>> {
    if open.len() > OPEN_MAX {
        return None;
    }
    let mut text = Zeroizing::new(String::new());
    for Open { addresses, preshared_key, until } in open {
        // A string takes all.
        let _ = writeln!(text, "{} {} {until}", list(addresses), *preshared_key.to_base64());
    }
    Some(text)
}

/// `192.0.2.1/32,2001:db8::1/128`
pub fn list(prefixes: &[IpPrefix]) -> String {
    let all: Vec<String> = prefixes.iter().map(ToString::to_string).collect();
    all.join(",")
}

fn prefixes(text: &str) -> Option<Vec<IpPrefix>> {
    text.split(',').map(|prefix| prefix.parse().ok()).collect()
}

/// FNV-1a: detects a line that lost or changed a letter on its way. It is no protection against forgery.
fn checksum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |sum, &byte| (sum ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::conf;
    use crate::file::conf::HookPolicy;
    use adit_service::config::problems::Problems;
    use adit_service::config::source::Source;

    fn config(text: &str) -> Config {
        let (source, problems) = (Source::new("x.conf", text), Problems::default());
        let config = conf::read(&source, &problems, HookPolicy::Refuse);
        let list = problems.into_list();
        assert!(list.is_empty(), "{list:?}");
        config
    }

    fn invitation() -> Invitation {
        Invitation {
            name: "site".parse().unwrap(),
            endpoint: values::endpoint("host.example:51820").unwrap(),
            server: PrivateKey::from_bytes([7; 32]).public_key(),
            preshared_key: PresharedKey::from_bytes([9; 32]),
            addresses: prefixes("10.1.2.3/32,fd00::3/128").unwrap(),
            allowed_ips: prefixes("10.1.2.0/24").unwrap(),
        }
    }

    #[test]
    fn a_line_comes_back_whole_or_not_at_all() {
        let invitation = invitation();
        let line = invitation.to_line();
        assert_eq!(Invitation::parse(&format!(" {}\n", *line)).unwrap(), invitation);
        for at in 0..line.len() {
            let mut less = line.to_string();
            less.remove(at);
            assert_eq!(Invitation::parse(&less), Err(BadInvitation));
            assert_eq!(Invitation::parse(&line[..at]), Err(BadInvitation));
            let other = if line.as_bytes()[at] == b'x' { "y" } else { "x" };
            let mut bent = line.to_string();
            bent.replace_range(at..=at, other);
            assert_eq!(Invitation::parse(&bent), Err(BadInvitation), "{at}");
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let key = PrivateKey::from_bytes([5; 32]);
        let joined = config(&invitation().to_file(&key));
        assert_eq!(joined.interface.addresses.len(), 2);
        assert_eq!(joined.peers[0].endpoint.as_ref().unwrap().to_string(), "host.example:51820");
        let server = new_server(&key, 51820, [1, 2, 3, 4, 5, 6, 7, 8]);
        let addresses = config(&server).interface.addresses;
        assert_eq!(list(&addresses), "10.1.2.1/24,fd03:405:607::1/64");
        let both = format!(
            "{}{}",
            *server,
            *peer_text(false, &key.public_key(), &invitation().preshared_key, &addresses)
        );
        assert_eq!(config(&both).peers.len(), 1);
    }

    #[test]
    fn a_free_address_is_one_that_nobody_has() {
        let key = PrivateKey::from_bytes([5; 32]).public_key().to_base64();
        let config = config(&format!(
            "[Interface]\nAddress = 10.0.0.1/29, fd00::1/64, 192.0.2.1/32\n\
             [Peer]\nPublicKey = {}\nAllowedIPs = 10.0.0.2/32, fd00::4/128, 10.0.0.0/8\n",
            *key
        ));
        let free = |taken: &str| {
            let taken = if taken.is_empty() { Vec::new() } else { prefixes(taken).unwrap() };
            free_addresses(&config, &taken).map(|all| list(&all))
        };
        assert_eq!(free("").unwrap(), "10.0.0.3/32,fd00::3/128");
        assert_eq!(free("10.0.0.3/32").unwrap(), "10.0.0.5/32,fd00::5/128");
        assert_eq!(free("10.0.0.3/32,fd00::5/128").unwrap(), "10.0.0.6/32,fd00::6/128");
        assert_eq!(free("10.0.0.0/29"), None, "it is full");
        assert_eq!(free_addresses(&Config::default(), &[]), None);
    }

    #[test]
    fn an_open_invitation_ends() {
        let one = |until| Open {
            addresses: prefixes("10.0.0.2/32").unwrap(),
            preshared_key: PresharedKey::from_bytes([1; 32]),
            until,
        };
        let text = write_open(&[one(100), one(200)]).unwrap();
        assert_eq!(read_open(&text, 50), [one(100), one(200)]);
        assert_eq!(read_open(&text, 100), [one(200)]);
        assert_eq!(read_open("nonsense\n\n1 2 3", 0), []);
        assert_eq!(write_open(&vec![one(1); OPEN_MAX + 1]), None);
    }
}
