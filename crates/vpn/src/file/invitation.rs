//! How two machines become peers: one line there, one line back.
//!
//! ```text
//! server                                        client
//! invite   reserves addresses, makes a
//!          preshared key; one line  ----------> join     makes a private key, which stays there;
//!                                                        writes its file
//! accept   adds the peer            <---------- one line: address and public key, authenticated
//!                                               with the preshared key (`reply`)
//! ```
//!
//! The line there must stay secret and must arrive unchanged, because nothing in it is signed:
//!
//! - A reader can reply in place of the invited machine. The invitation is then used up, so the owner of the
//!   server notices. The line back is no secret.
//! - A person who changes the line leads the joining machine to another server. `join` prints the server,
//!   its key and the networks before it writes anything.

use crate::file::conf;
use crate::file::conf::HookPolicy;
use crate::file::config::{Config, PeerEndpoint};
use crate::file::keys::Key;
use crate::file::load::name_of;
use crate::file::validate;
use crate::file::values;
use adit_device::IfName;
use adit_device::netlink::IpPrefix;
use adit_service::config::problems::Problems;
use adit_service::config::source::Source;
use adit_service::control::name::Name;
use adit_tunnel::{PresharedKey, PrivateKey, PublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::ffi::OsStr;
use std::fmt::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
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

/// The public addresses of IPv6: 2000::/3.
const GLOBAL_V6: Ipv6Addr = Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0);
const GLOBAL_V6_LEN: u8 = 3;

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

/// Why a line cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadInvitation {
    /// It is no invitation, or a part of it is missing or changed.
    Incomplete,
    /// The name cannot be that of a tunnel, its device and its file.
    Name,
    /// An address is not one host, or not one that a machine can have.
    Address,
    /// The tunnel could not start: an address twice, or the server inside its own networks.
    Unusable,
}

impl fmt::Display for BadInvitation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Incomplete => {
                write!(f, "not a complete invitation: expected one line that begins with {PREFIX}")
            }
            Self::Name => f.write_str(
                "the name in the invitation is not valid: expected up to 15 letters, digits, '-', '_' and '.', \
                 not 'all' or 'default'",
            ),
            Self::Address => f.write_str(
                "an address in the invitation is not valid: expected single unicast addresses",
            ),
            Self::Unusable => f.write_str(
                "a tunnel with the settings of the invitation cannot start: it has an address twice, or its \
                 server is inside its networks",
            ),
        }
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
        let text = Self::decode(line.trim()).ok_or(BadInvitation::Incomplete)?;
        Self::of_text(&text)
    }

    fn decode(line: &str) -> Option<Zeroizing<String>> {
        let code = line.strip_prefix(PREFIX).filter(|code| code.len() <= LINE_LEN_MAX)?;
        let bytes = Zeroizing::new(URL_SAFE_NO_PAD.decode(code).ok()?);
        let text = std::str::from_utf8(&bytes).ok()?;
        let (text, sum) = text.split_at_checked(text.len().checked_sub(8)?)?;
        let is_whole = u32::from_str_radix(sum, 16).ok()? == checksum(text.as_bytes());
        is_whole.then(|| Zeroizing::new(text.to_owned()))
    }

    /// Reads the content of a line.
    ///
    /// # Errors
    /// As [`Invitation::parse`].
    pub fn of_text(text: &str) -> Result<Self, BadInvitation> {
        let mut lines = text.lines();
        let name = lines.next().ok_or(BadInvitation::Incomplete)?;
        let name = IfName::new(OsStr::new(name)).map_err(|_| BadInvitation::Name)?;
        let invitation = Self::of_lines(name, lines).ok_or(BadInvitation::Incomplete)?;
        invitation.check()?;
        Ok(invitation)
    }

    fn of_lines<'a>(name: IfName, mut lines: impl Iterator<Item = &'a str>) -> Option<Self> {
        let invitation = Self {
            name,
            endpoint: values::endpoint(lines.next()?).ok()?,
            server: PublicKey::from_base64(lines.next()?).ok()?,
            preshared_key: PresharedKey::from_base64(lines.next()?).ok()?,
            addresses: prefixes(lines.next()?)?,
            allowed_ips: prefixes(lines.next()?)?,
        };
        lines.next().is_none().then_some(invitation)
    }

    /// Whether the other machine can use it. What it names becomes a file, a device and a socket there.
    ///
    /// # Errors
    /// [`BadInvitation`].
    pub fn check(&self) -> Result<(), BadInvitation> {
        check_name(self.name)?;
        // A shorter prefix would route its network to the device, whatever the allowed IPs are.
        let is_host = |address: &IpPrefix| *address == IpPrefix::host(address.ip());
        if !self.addresses.iter().all(|address| is_host(address) && is_unicast(address.ip())) {
            return Err(BadInvitation::Address);
        }
        // The keys have no part in it.
        let public = Self { preshared_key: PresharedKey::from_bytes([0; 32]), ..self.clone() };
        let text = public.to_file(&PrivateKey::from_bytes([1; 32]));
        let (problems, source) = (Problems::default(), Source::new("invitation", text.as_str()));
        let config = conf::read(&source, &problems, HookPolicy::Refuse);
        let works = problems.into_list().is_empty() && validate::problems(&config, true).is_empty();
        if works { Ok(()) } else { Err(BadInvitation::Unusable) }
    }

    /// Whether the networks are a default route, or as good as one: together more than 1/64 of the addresses
    /// of IPv4, or of the public ones of IPv6. `0.0.0.0/1, 128.0.0.0/1` is the usual disguise.
    #[must_use]
    pub fn takes_default_route(&self) -> bool {
        let (mut v4, mut v6) = (0_u64, 0_u128);
        for network in &self.allowed_ips {
            match network.ip() {
                IpAddr::V4(_) => v4 += 1 << (32 - network.len()),
                IpAddr::V6(ip) => {
                    let is_wider =
                        network.len() <= GLOBAL_V6_LEN && network.contains(GLOBAL_V6.into());
                    let is_inside = ip.segments()[0] >> 13 == 1;
                    if is_wider || is_inside {
                        // In units of a /64.
                        v6 += 1 << 64_u8.saturating_sub(network.len().max(GLOBAL_V6_LEN));
                    }
                }
            }
        }
        v4 > 1 << (32 - 6) || v6 > 1 << (64 - GLOBAL_V6_LEN - 6)
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

/// Whether an invitation can have this name: another machine uses it for a file, a device and a socket.
///
/// # Errors
/// [`BadInvitation::Name`].
pub fn check_name(name: IfName) -> Result<(), BadInvitation> {
    let text = name.to_string();
    let is_name =
        text.parse::<Name>().is_ok() && name_of(Path::new(&format!("{text}.conf"))).is_ok();
    if is_name { Ok(()) } else { Err(BadInvitation::Name) }
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

/// Whether a machine can have the address.
fn is_unicast(ip: IpAddr) -> bool {
    let is_broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
    !(ip.is_unspecified() || ip.is_loopback() || ip.is_multicast() || is_broadcast)
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
            assert_eq!(Invitation::parse(&less), Err(BadInvitation::Incomplete));
            assert_eq!(Invitation::parse(&line[..at]), Err(BadInvitation::Incomplete));
            let other = if line.as_bytes()[at] == b'x' { "y" } else { "x" };
            let mut bent = line.to_string();
            bent.replace_range(at..=at, other);
            assert_eq!(Invitation::parse(&bent), Err(BadInvitation::Incomplete), "{at}");
        }
    }

    #[test]
    fn an_invitation_names_what_a_tunnel_may_have() {
        use BadInvitation::{Address, Incomplete, Name, Unusable};
        let key = "A".repeat(42) + "A=";
        let read = |name: &str, endpoint: &str, addresses: &str, networks: &str| {
            let text = format!("{name}\n{endpoint}\n{key}\n{key}\n{addresses}\n{networks}\n");
            Invitation::of_text(&text).map(|_| ())
        };
        let named = |name: &str| read(name, "192.0.2.1:1", "10.0.0.2/32", "10.0.0.0/24");
        for name in ["site", "a.b", "_x-1", "s".repeat(15).as_str()] {
            assert_eq!(named(name), Ok(()), "{name}");
        }
        let bad = [
            "", ".", "..", "../x", "/etc/x", "a/b", "-x", ".x", "a b", "$(id)", "a;b", "a`b",
            "s\u{e9}",
        ];
        for name in bad.into_iter().chain(["all", "default", "a%d", "\x1b[2J", &"s".repeat(16)]) {
            assert_eq!(named(name), Err(Name), "{name:?}");
        }
        let at = |endpoint| read("s", endpoint, "10.0.0.2/32", "10.0.0.0/24");
        for endpoint in ["a b:1", "$(id):1", "-x:1", "a/b:1", "a:0", "a\x1b:1"] {
            assert_eq!(at(endpoint), Err(Incomplete), "{endpoint:?}");
        }
        assert_eq!(at("10.0.0.9:1"), Err(Unusable), "it is inside of its own network");
        let with = |addresses| read("s", "192.0.2.1:1", addresses, "10.0.0.0/24");
        for address in
            ["10.0.0.2/24", "10.0.0.2/0", "fd00::2/64", "127.0.0.2/32", "224.0.0.1/32", "::/128"]
        {
            assert_eq!(with(address), Err(Address), "{address}");
        }
        assert_eq!(with("10.0.0.2/32,10.0.0.2/32"), Err(Unusable));
    }

    #[test]
    fn a_default_route_is_seen_whatever_its_form() {
        let takes = |networks: &str| {
            let allowed_ips = prefixes(networks).unwrap();
            Invitation { allowed_ips, ..invitation() }.takes_default_route()
        };
        let eighths: Vec<String> = (1..=127).map(|n| format!("{n}.0.0.0/8")).collect();
        for networks in [
            "0.0.0.0/0",
            "::/0",
            "10.0.0.0/8,0.0.0.0/1,128.0.0.0/1",
            "::/1,8000::/1",
            "2000::/3",
            "2000::/4,3000::/4",
            "64.0.0.0/4",
            &eighths.join(","),
        ] {
            assert!(takes(networks), "{networks}");
        }
        for networks in [
            "10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,100.64.0.0/10",
            "fc00::/7,fe80::/10,2001:db8::/32,2a00::/16",
            "4000::/2",
            "2001:db8::1/128",
        ] {
            assert!(!takes(networks), "{networks}");
        }
    }

    #[test]
    fn written_text_is_read_back() {
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
