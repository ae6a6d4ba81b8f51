//! A tunnel in TOML: all that a file of `wg-quick` says, and what it cannot.
//!
//! ```toml
//! [interface]
//! private_key_file = "site.key"            # mode 0600; from the folder of this file
//! listen_port = 51820
//! addresses = ["192.0.2.1/24", "2001:db8::1/64"]
//!
//! [hooks]                                  # argument vectors, run only if allowed
//! post_up = [["ip", "route", "add", "198.51.100.0/24", "dev", "site"]]
//!
//! [[peer]]
//! public_key = "HIgo9xNzJMWLKASShiTqIybxZ0U3wGLiUeJ1PKf8ykw="
//! allowed_ips = ["192.0.2.2/32"]
//! endpoint = "host.example:51820"
//! keepalive = 25                           # seconds
//! mode = "tap"                             # Ethernet frames, between two of adit; then no allowed_ips
//! ```

use crate::file::conf::HookPolicy;
use crate::file::config::{Config, Hook, Hooks, Interface, Multi, Peer, PeerEndpoint, Transport};
use crate::file::keys::Key;
use crate::file::secret::SecretSource;
use crate::file::values;
use adit_device::Mode;
use adit_device::netlink::IpPrefix;
use adit_engine::PortId;
use adit_service::config::problems::Problems;
use adit_service::config::read;
use adit_service::config::source::Source;
use adit_service::config::table::Table;
use adit_service::config::value;
use adit_service::config::value::Kind;
use adit_service::config::value::{Value, Wrong};
use adit_tunnel::{PostQuantum, Shape, Vxlan};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// Reads a file; what is wrong goes to `problems`. Says besides whether a secret stands in it.
pub fn read(source: &Source, problems: &Problems, hooks: HookPolicy) -> (Config, bool) {
    let mut file = read::toml(source, problems);
    let mut reader = Reader { hooks, has_secret: false, mode: None };
    let mut config = Config::default();
    if let Some(mut table) = file.table("interface") {
        config.interface = reader.interface(&mut table);
        table.finish();
    }
    if let Some(mut table) = file.table("hooks") {
        config.interface.hooks = reader.hooks(&mut table);
        table.finish();
    }
    let mut keys = BTreeSet::new();
    for mut table in file.tables("peer") {
        if let Some(peer) = reader.peer(&mut table) {
            if !keys.insert(peer.public_key) {
                table.wrong("public_key", "duplicate peer", None);
            }
            config.peers.push(peer);
        }
        table.finish();
    }
    file.finish();
    (config, reader.has_secret)
}

const POST_QUANTUM: [(&str, PostQuantum); 3] =
    [("off", PostQuantum::Off), ("prefer", PostQuantum::Prefer), ("require", PostQuantum::Require)];

struct Reader {
    hooks: HookPolicy,
    has_secret: bool,
    /// That of the first peer.
    mode: Option<Mode>,
}

impl Reader {
    fn interface(&mut self, table: &mut Table<'_>) -> Interface {
        Interface {
            private_key: self.secret(table, "private_key", "private_key_file"),
            listen_port: table.get("listen_port", value::integer(0..=u16::MAX)),
            fwmark: table.get("fwmark", by(values::fwmark)),
            addresses: table.list("addresses", by(values::address)),
            dns: table.list("dns", value::parsed("an IP address")),
            dns_search: table.list("dns_search", by(values::domain)),
            mtu: table.get("mtu", by(values::mtu)),
            table: table.get("table", by(values::table)).unwrap_or_default(),
            hooks: Hooks::default(),
            save_config: false,
            source: table.get("source", value::parsed("an IP address")),
            metrics: adit_service::metrics::of_table(table),
            listen_tcp: table.get("listen_tcp", value::integer(1..=u16::MAX)),
            master: table.get("master", value::parsed("the name of a bridge")),
            is_transient: table.get("persist", value::boolean) == Some(false),
            kill_switch: table.get("kill_switch", value::boolean).unwrap_or_default(),
            block_ipv6: table.get("block_ipv6", value::boolean).unwrap_or_default(),
            log: table.get("log", value::parsed("a filter such as \"tunnel=debug\"")),
        }
    }

    fn hooks(&self, table: &mut Table<'_>) -> Hooks {
        Hooks {
            pre_up: self.hook(table, "pre_up"),
            post_up: self.hook(table, "post_up"),
            pre_down: self.hook(table, "pre_down"),
            post_down: self.hook(table, "post_down"),
        }
    }

    /// A list of argument vectors, each a list of words.
    fn hook(&self, table: &mut Table<'_>, key: &'static str) -> Vec<Hook> {
        if !table.has(key) {
            return Vec::new();
        }
        if self.hooks == HookPolicy::Refuse {
            let help = "allow it with --hooks run, or leave it out with --hooks skip".to_owned();
            table.wrong(key, format!("{key} runs a program, which is not allowed"), help);
            return Vec::new();
        }
        let hooks = table.list(key, |value| {
            let Kind::List(words) = &value.kind else {
                let help = format!("write {key} = [[\"program\", \"argument\"]]");
                return Err(Wrong::expected("a list of programs with arguments", value).help(help));
            };
            let words: Result<Vec<String>, Wrong> = words
                .iter()
                .map(|word| match word.as_text() {
                    Some(text) => Ok(text.to_owned()),
                    None => Err(Wrong::expected("texts in quotes", word)),
                })
                .collect();
            let words = words?;
            if words.first().is_none_or(String::is_empty) {
                return Err(Wrong::new("has no program"));
            }
            Ok(Hook(words))
        });
        if self.hooks == HookPolicy::Skip { Vec::new() } else { hooks }
    }

    fn peer(&mut self, table: &mut Table<'_>) -> Option<Peer> {
        let public_key = table.required("public_key", by(key));
        let name = table.get("name", by(values::peer_name));
        let preshared_key = self.secret(table, "preshared_key", "preshared_key_file");
        let mut allowed_ips = table.list("allowed_ips", by(values::network));
        let endpoint = table.get("endpoint", by(values::endpoint));
        let keepalive = table.get("keepalive", by(values::keepalive)).unwrap_or_default();
        let modes = [("tun", Mode::Tun), ("tap", Mode::Tap)];
        let mode = table.get("mode", value::one_of(&modes)).unwrap_or(Mode::Tun);
        let vxlan = self.vxlan(table);
        if let Some(vxlan) = &vxlan {
            if mode == Mode::Tun {
                table.wrong("vxlan", "a VXLAN peer needs `mode = \"tap\"`", None);
            }
            // What its frames are wrapped in comes from there.
            allowed_ips = vec![IpPrefix::host(vxlan.remote)];
        } else if mode == Mode::Tap && !allowed_ips.is_empty() {
            let help = "frames are forwarded by MAC address".to_owned();
            table.wrong("allowed_ips", "a peer in mode tap cannot have allowed IPs", help);
        }
        if *self.mode.get_or_insert(mode) != mode {
            let help = "use two tunnels".to_owned();
            table.wrong("mode", "all peers of a tunnel must have the same mode", help);
        }
        let (transport, endpoint_tcp) = transport(table, endpoint.is_some());
        Some(Peer {
            transport,
            endpoint_tcp,
            shape_out: shape(table, "rate_out"),
            shape_in: shape(table, "rate_in"),
            vxlan,
            mode,
            suite: table.get("suite", by(values::suite)).unwrap_or_default(),
            timeout: table.get("timeout", by(values::timeout)).unwrap_or(Peer::TIMEOUT),
            multi: table.get("multi", multi).unwrap_or_default(),
            post_quantum: table
                .get("post_quantum", value::one_of(&POST_QUANTUM))
                .unwrap_or_default(),
            up: self.hook(table, "up"),
            down: self.hook(table, "down"),
            name,
            preshared_key,
            allowed_ips,
            endpoint,
            keepalive,
            ..Peer::new(public_key?)
        })
    }

    /// `[peer.vxlan]`: where the frames of a peer that is not adit are.
    fn vxlan(&self, table: &mut Table<'_>) -> Option<Vxlan> {
        let mut vxlan = table.table("vxlan")?;
        let ip = || value::parsed("an IP address");
        let (local, remote) = (vxlan.required("local", ip()), vxlan.required("remote", ip()));
        let vni = vxlan.required("vni", value::integer(0..=0x00ff_ffff));
        let udp_port = vxlan.get("port", value::integer(1..=u16::MAX)).unwrap_or(Vxlan::UDP_PORT);
        if let (Some(IpAddr::V4(_)), Some(IpAddr::V6(_)))
        | (Some(IpAddr::V6(_)), Some(IpAddr::V4(_))) = (local, remote)
        {
            vxlan.wrong("remote", "both addresses must be of one family", None);
        }
        vxlan.finish();
        let port = PortId(0);
        Some(Vxlan { port, vni: vni?, local: local?, remote: remote?, udp_port })
    }

    /// A secret that stands here or in a file of its own.
    fn secret<K: Key>(
        &mut self,
        table: &mut Table<'_>,
        here: &'static str,
        file: &'static str,
    ) -> Option<K> {
        let secret = table.get(here, by(key));
        self.has_secret |= table.has(here);
        if !table.has(file) {
            return secret;
        }
        if table.has(here) {
            table.wrong(file, format!("`{file}` and `{here}` exclude each other"), None);
            return None;
        }
        table.get(file, |value| {
            let source = match value.as_text().map(str::parse) {
                Some(Ok(SecretSource::File(path))) => {
                    SecretSource::File(value.source().beside(path)?)
                }
                Some(Ok(source)) => source,
                Some(Err(error)) => return Err(Wrong::new("is not a file name").help(error)),
                None => return Err(Wrong::expected("the name of a file", value)),
            };
            let text = source.read().map_err(|error| {
                Wrong::new(format_args!("cannot be read from {source}")).help(error)
            })?;
            K::from_base64(&text)
                .map_err(|error| Wrong::new(format_args!("has no key in {source}")).help(error))
        })
    }
}

/// How a peer is reached, and where by TCP if also by UDP.
fn transport(table: &mut Table<'_>, has_endpoint: bool) -> (Transport, Option<PeerEndpoint>) {
    let known = [("udp", Transport::Udp), ("tcp", Transport::Tcp), ("auto", Transport::Auto)];
    let transport = table.get("transport", value::one_of(&known)).unwrap_or_default();
    let tcp = table.get("endpoint_tcp", by(values::endpoint));
    let is_auto = transport == Transport::Auto;
    if transport == Transport::Tcp && !has_endpoint {
        let help = "a peer that connects to us needs no transport".to_owned();
        table.wrong("transport", "transport = \"tcp\" needs an endpoint", help);
    } else if is_auto && !(has_endpoint && table.has("endpoint_tcp")) {
        let help = "as endpoint = \"host.example:51820\", endpoint_tcp = \"host.example:443\"";
        let wrong = "transport = \"auto\" needs `endpoint` for UDP and `endpoint_tcp` for TCP";
        table.wrong("transport", wrong, help.to_owned());
    } else if !is_auto && table.has("endpoint_tcp") {
        let help = "with transport = \"tcp\", `endpoint` is the one of TCP".to_owned();
        table.wrong("endpoint_tcp", "`endpoint_tcp` needs transport = \"auto\"", help);
    }
    (transport, tcp)
}

/// `"no"` or `"killold"`, in VTun's words.
fn multi(value: &Value<'_>) -> Result<Multi, Wrong> {
    if value.as_text() == Some("yes") {
        let help = "two hosts cannot share a key: give each its own key and entry";
        return Err(Wrong::new("cannot be `yes`").help(help));
    }
    value::one_of(&[("no", Multi::No), ("killold", Multi::KillOld)])(value)
}

/// A rate, as `"100mbit"`, with the burst that is given for both directions.
fn shape(table: &mut Table<'_>, key: &'static str) -> Option<Shape> {
    let burst = table.get("burst", value::size);
    let bits_per_second = table.get(key, |value| {
        let rate = value::rate(value)?.bits_per_second();
        let enough = rate >= Shape::BITS_PER_SECOND_MIN;
        if enough { Ok(rate) } else { Err(Wrong::new("must be at least 1000 bits per second")) }
    })?;
    let burst = burst.map_or(Shape::BURST, |burst| u32::try_from(burst).unwrap_or(u32::MAX));
    Some(Shape { bits_per_second, burst })
}

fn key<K: Key>(text: &str) -> values::Result<K> {
    K::from_base64(text).map_err(|error| error.to_string())
}

/// A text, or a whole number in place of its digits, read as in a file of `wg-quick`.
fn by<T>(parse: impl Fn(&str) -> values::Result<T>) -> impl Fn(&Value<'_>) -> Result<T, Wrong> {
    move |value| {
        let parsed = match (value.as_text(), &value.kind) {
            (Some(text), _) => parse(text),
            (None, Kind::Integer(number)) => parse(&number.to_string()),
            _ => return Err(Wrong::expected("a text or a number", value)),
        };
        parsed.map_err(|error| Wrong::new("is wrong").help(error))
    }
}

#[cfg(test)]
mod tests;
