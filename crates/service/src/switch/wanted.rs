//! A switch with its ports as it is wanted: from a file, from options, or from both.

use crate::config::problems::Problems;
use crate::config::read;
use crate::config::source::Source;
use crate::config::suggest::nearest;
use crate::config::table::Table;
use crate::config::value::{Value, Wrong};
use crate::config::value::{boolean, duration, integer, mac, one_of, parsed, path, text};
use crate::control::name::Name;
use crate::filter::Filter;
use crate::log::Filter as LogFilter;
use crate::metrics::{ListenAddress, of_table};
use crate::switch::mirror::{DIRECTIONS, MirrorTo, WantedFilter, WantedMirror};
use crate::switch::port::{WantedPort, vlan};
use adit_device::MacAddr;
use adit_engine::switch::{Accelerate, FrameMatch, LoopGuardConfig, SwitchConfig, VlanId};
use adit_runtime::format::pcapng::LinkType;
use std::path::PathBuf;

/// A switch with its ports as it is wanted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WantedSwitch {
    /// How it is called.
    pub name: Option<Name>,
    /// What the links of its ports draw their decisions from; `None`: any.
    pub seed: Option<u64>,
    /// What it logs.
    pub log: Option<LogFilter>,
    /// Where metrics are read by TCP, from the start on.
    pub metrics: Option<ListenAddress>,
    /// The switch itself; its mirrors are those of [`Self::mirrors`].
    pub switch: SwitchConfig,
    /// Its ports, each with a name of its own.
    pub ports: Vec<WantedPort>,
    /// Addresses that do not move.
    pub statics: Vec<StaticAddress>,
    /// Copies for somebody who watches.
    pub mirrors: Vec<WantedMirror>,
}

/// An address that is on a port for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaticAddress {
    /// The address.
    pub mac: MacAddr,
    /// Its VLAN; `None` in the untagged network of transparent ports.
    pub vlan: Option<VlanId>,
    /// The name of the port.
    pub port: String,
}

/// The values of `accelerate`.
pub(super) const ACCELERATE: [(&str, Accelerate); 3] =
    [("auto", Accelerate::Auto), ("off", Accelerate::Off), ("require", Accelerate::Require)];

/// The least that is kept of a frame: its addresses and its type.
const TRUNCATE_MIN: usize = 14;

impl WantedSwitch {
    /// Reads a file that is open; its mistakes go to `problems`.
    pub fn of_source(source: &Source, problems: &Problems) -> Self {
        let mut table = read::toml(source, problems);
        let name = table.get("name", parsed("a name"));
        let seed = table.get("seed", integer(0..=u64::MAX));
        let log = table.get("log", parsed("a filter such as \"switch=debug\""));
        let metrics = of_table(&mut table);
        let switch = table.table("switch").map(|mut table| {
            let switch = read_switch(&mut table, SwitchConfig::default());
            table.finish();
            switch
        });
        let mut lab = Self {
            name,
            seed,
            metrics,
            log,
            switch: switch.unwrap_or_default(),
            ..Self::default()
        };
        for mut table in table.tables("port") {
            let port = WantedPort::from_table(&mut table);
            if let Some(mut port) = port {
                if !lab.settles_name(&mut port) {
                    let help = "give one of them another `name`".to_owned();
                    let message = format!("two ports are called '{}'", port.name);
                    let key = if table.has("name") { "name" } else { "port" };
                    table.wrong(key, message, Some(help));
                }
                lab.ports.push(port);
            }
            table.finish();
        }
        for mut table in table.tables("static") {
            let port = table.required("port", |value| port_name(value, &lab.ports));
            let mac = table.required("mac", mac);
            let vlan = table.get("vlan", vlan);
            if let (Some(mac), Some(port)) = (mac, port) {
                lab.statics.push(StaticAddress { mac, vlan, port });
            }
            table.finish();
        }
        for mut table in table.tables("mirror") {
            lab.mirrors.extend(read_mirror(&mut table, &lab.ports));
            table.finish();
        }
        table.finish();
        lab
    }

    /// Whether no other port has its name. Devices of one name in several namespaces get it with their
    /// namespace, unless they were given names.
    fn settles_name(&self, port: &mut WantedPort) -> bool {
        let is_free = |name: &str| self.ports.iter().all(|known| known.name != name);
        if is_free(&port.name) {
            return true;
        }
        let Some(longer) = port.longer_name().filter(|name| is_free(name)) else { return false };
        port.name = longer;
        true
    }

    /// Adds a port that an option asks for.
    pub fn add_port(&mut self, source: &Source, problems: &Problems) {
        let Some(mut port) = WantedPort::from_words(source, problems) else { return };
        if !self.settles_name(&mut port) {
            let message = format!("two ports are called '{}'", port.name);
            let help = "give one of them another name by `name=`".to_owned();
            problems.push(source, 0..source.text().len(), message, Some(help));
        }
        self.ports.push(port);
    }

    /// Adds a mirror that an option asks for: `FILE,ports=a+b,direction=ingress`.
    pub fn add_mirror(&mut self, source: &Source, problems: &Problems) {
        let end = source.text().find(',').unwrap_or(source.text().len());
        let mut table = read::words(source, end + 1, problems);
        let to = source.text().get(..end).unwrap_or_default();
        let to = match to.strip_prefix("port:") {
            Some(port) => match resolve(port, &self.ports) {
                Some(name) => MirrorTo::Port(name.to_owned()),
                None => {
                    let help = suggest(port, &self.ports);
                    let message = format!("no port is called '{port}'");
                    return problems.push(source, 5..end, message, Some(help));
                }
            },
            None if to.is_empty() => {
                return problems.push(source, 0..0, "a mirror needs a file or port:NAME", None);
            }
            None => MirrorTo::File(to.into()),
        };
        let mirror = mirror_parts(&mut table, &self.ports);
        table.finish();
        self.mirrors.push(WantedMirror { to, ..mirror });
    }

    /// Reads the keys of the switch itself from an object or from options.
    pub fn set_switch(&mut self, table: &mut Table<'_>) {
        self.switch = read_switch(table, self.switch.clone());
    }
}

fn read_switch(table: &mut Table<'_>, base: SwitchConfig) -> SwitchConfig {
    let guard = base.loop_guard;
    let config = SwitchConfig {
        ageing: table.get("ageing", duration).unwrap_or(base.ageing),
        fdb_limit: table
            .get("fdb-limit", integer(1..=SwitchConfig::FDB_LIMIT_MAX))
            .unwrap_or(base.fdb_limit),
        moves_per_second: table
            .get("moves-per-second", integer(1..=u8::MAX))
            .unwrap_or(base.moves_per_second),
        loop_guard: LoopGuardConfig {
            enabled: table.get("loop-guard", boolean).unwrap_or(guard.enabled),
            probe_interval: table.get("loop-probe", duration).unwrap_or(guard.probe_interval),
            flaps_per_second: table
                .get("loop-flaps", integer(1..=u8::MAX))
                .unwrap_or(guard.flaps_per_second),
            hold: table.get("loop-hold", duration).unwrap_or(guard.hold),
            hold_max: table.get("loop-hold-max", duration).unwrap_or(guard.hold_max),
        },
        accelerate: table.get("accelerate", one_of(&ACCELERATE)).unwrap_or(base.accelerate),
        mirrors: Vec::new(),
        seed: base.seed,
    };
    // The engine has the last word on what can be.
    if let Err(error) = adit_engine::switch::Switch::new(config.clone()) {
        use adit_engine::switch::ConfigError;
        let key = match error {
            ConfigError::Ageing => "ageing",
            ConfigError::FdbLimit => "fdb-limit",
            ConfigError::ProbeInterval => "loop-probe",
            ConfigError::Hold if table.has("loop-hold") => "loop-hold",
            ConfigError::Hold => "loop-hold-max",
            _ => "moves-per-second",
        };
        table.wrong(key, error, None);
        return SwitchConfig { seed: base.seed, ..SwitchConfig::default() };
    }
    config
}

fn read_mirror(table: &mut Table<'_>, ports: &[WantedPort]) -> Option<WantedMirror> {
    let file = table.get("file", path);
    let to = table.get("to", |value| port_name(value, ports));
    let both = table.has("file") && table.has("to");
    if both {
        table.wrong("to", "`file` and `to` exclude each other", None);
    } else if !table.has("file") && !table.has("to") {
        let help = "add `file` for a recording, or `to` for a port".to_owned();
        table.wrong("file", "the mirror has no target", Some(help));
    }
    let parts = mirror_parts(table, ports);
    let to = file.map(MirrorTo::File).or(to.map(MirrorTo::Port))?;
    Some(WantedMirror { to, ..parts })
}

/// All of a mirror but where it goes.
fn mirror_parts(table: &mut Table<'_>, ports: &[WantedPort]) -> WantedMirror {
    let watched = table.list("ports", |value| port_name(value, ports));
    let parts = FrameMatch {
        vlan: table.get("vlan", vlan),
        mac: table.get("mac", mac),
        ether_type: table.get("ether-type", hex),
        protocol: table.get("protocol", integer(0..=u8::MAX)),
        port: table.get("l4-port", integer(1..=u16::MAX)),
    };
    let expression = table.get("filter", |value| {
        let words = [text(value)?];
        // The longest frame: what is cut off is `truncate`'s business.
        match Filter::compile(&words, LinkType::Ethernet, 1 << 18) {
            Ok(Some(filter)) => Ok(filter),
            Ok(None) => Err(Wrong::new("is empty")),
            Err(error) => {
                let hint = error.hint();
                Err(Wrong::new(format_args!("is wrong: {error}")).help(hint))
            }
        }
    });
    if expression.is_some() && parts != FrameMatch::default() {
        let help = "put all conditions into the expression".to_owned();
        table.wrong("filter", "`filter` and other parts exclude each other", Some(help));
    }
    WantedMirror {
        to: MirrorTo::File(PathBuf::new()),
        ports: watched,
        direction: table.get("direction", one_of(&DIRECTIONS)).unwrap_or_default(),
        filter: expression.map_or(WantedFilter::Match(parts), WantedFilter::Expression),
        truncate: table.get("truncate", integer(TRUNCATE_MIN..=65_535)),
    }
}

/// A number as `0x0800` or `2048`.
fn hex(value: &Value<'_>) -> Result<u16, Wrong> {
    let number = |text: &str| u16::from_str_radix(text.strip_prefix("0x")?, 16).ok();
    match value.as_text().and_then(number) {
        Some(number) => Ok(number),
        None => integer(0..=u16::MAX)(value).map_err(|wrong| wrong.help("for example 0x0806")),
    }
}

/// The name of a port that there is.
fn port_name(value: &Value<'_>, ports: &[WantedPort]) -> Result<String, Wrong> {
    let name = text(value)?;
    match resolve(&name, ports) {
        Some(name) => Ok(name.to_owned()),
        None => {
            Err(Wrong::new(format_args!("names an unknown port: `{name}`"))
                .help(suggest(&name, ports)))
        }
    }
}

/// The full name of a port: as it is, or what follows the colon if only one ends so.
pub fn resolve<'a>(name: &str, ports: &'a [WantedPort]) -> Option<&'a str> {
    resolve_among(name, ports.iter().map(|port| port.name.as_str()))
}

/// The same among names.
pub fn resolve_among<'a>(
    name: &str,
    names: impl Iterator<Item = &'a str> + Clone,
) -> Option<&'a str> {
    let whole = names.clone().find(|known| *known == name);
    whole.or_else(|| {
        let mut ends =
            names.filter(|known| known.split_once(':').is_some_and(|(_, end)| end == name));
        ends.next().filter(|_| ends.next().is_none())
    })
}

fn suggest(name: &str, ports: &[WantedPort]) -> String {
    let names = || ports.iter().map(|port| port.name.as_str());
    match nearest(name, names()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if ports.is_empty() => "the switch has no ports".to_owned(),
        None => format!("the ports are {}", names().collect::<Vec<_>>().join(", ")),
    }
}
