//! What a switch that runs can be asked and told.

use super::switch::Supervisor;
use super::{Event as Told, model, object_of};
use crate::config::lab::{MirrorTo, StaticAddress};
use crate::config::port::{WantedPort, vlan};
use crate::config::value::mac;
use crate::config::{Problems, Source};
use crate::control::{Method, Reply, Request};
use crate::error::{Entry, Error, Exit, Result};
use crate::output::{Output, Tone, clean, table};
use crate::run::Runner;
use adit_engine::PortId;
use adit_engine::switch::{FdbFlush, Switch, VlanId};
use serde_json::Value;
use std::collections::BTreeMap;

/// There is no such port.
pub(super) const NO_PORT: Entry = Entry {
    code: "ADIT-E0826",
    title: "the switch has no such port",
    explanation: "A port is called as it was given, as 'tap:a', or by its 'name'. What follows the colon \
                  is enough if only one port ends so.",
    remedy: "See 'adit switch show' for the ports.",
};

/// A port or the switch cannot be as it is wanted.
pub(super) const PORT: Entry = Entry {
    code: "ADIT-E0827",
    title: "the switch cannot do that",
    explanation: "There is a port of that name already, there are too many, or an address is in \
                  the table already or cannot be. Nothing was changed.",
    remedy: "See 'adit switch show' and 'adit switch fdb'.",
};

/// The codes of switches that run.
pub(crate) const CATALOG: [Entry; 2] = [NO_PORT, PORT];

impl Supervisor {
    /// Answers a request.
    pub(super) fn answer(&mut self, runner: &mut Runner<Switch>, request: &Request) -> Reply {
        let segments = request.segments();
        let path: Vec<&str> = segments.iter().map(String::as_str).collect();
        let result = match (request.method, path.as_slice()) {
            (Method::Get, ["switch"]) => value(&self.show(runner)),
            (Method::Patch, ["switch"]) => self.patch_switch(runner, &request.body),
            (Method::Get, ["ports", name]) => {
                let addresses = addresses_by_port(runner.engine());
                self.find(name).and_then(|at| value(&self.show_port(runner, at, &addresses)))
            }
            (Method::Post, ["ports"]) => self.post_port(runner, &request.body),
            (Method::Patch, ["ports", name]) => self.patch_port(runner, name, &request.body),
            (Method::Delete, ["ports", name]) => self.delete_port(runner, name),
            (Method::Get, ["fdb"]) => value(&self.addresses(runner)),
            (Method::Post, ["fdb"]) => self.post_address(runner, &request.body),
            (Method::Delete, ["fdb"]) => self.delete_addresses(runner, &request.body),
            (Method::Post, ["reload"]) => {
                self.reload(runner).and_then(|number| value(&model::Reload { reload: number }))
            }
            (Method::Get, ["reload", number]) => return self.reloads.reply(number),
            (Method::Post, ["stop"]) => {
                self.panel.is_ending = true;
                value(&model::Done { done: vec![format!("'{}' stopped", self.panel.name)] })
            }
            _ => return Reply::unknown_path(request),
        };
        result.into()
    }

    /// The switch and all its ports.
    pub(super) fn show(&self, runner: &Runner<Switch>) -> model::Switch {
        let engine = runner.engine();
        let name = self.panel.name.to_string();
        let mut show = model::switch(name, engine.config(), engine.fdb_len());
        let addresses = addresses_by_port(engine);
        let ports = (0..self.ports.len()).flat_map(|at| self.show_port(runner, at, &addresses));
        show.ports = ports.collect();
        (show.strangers, show.astray) = (runner.strangers(), runner.astray());
        show.mirrors = self
            .mirrors
            .iter()
            .map(|mirror| {
                let wanted = &mirror.wanted;
                let frames = mirror.file.and_then(|id| runner.port(id)).map(|(_, c)| c.sent);
                let of_port = || match &wanted.to {
                    MirrorTo::Port(name) => {
                        let port = self.ports.iter().find(|port| port.wanted.name == *name);
                        let id = port.and_then(|port| port.ends.first()).map(|(id, _)| *id);
                        id.and_then(|id| runner.port(id)).map_or(0, |(_, counters)| counters.sent)
                    }
                    MirrorTo::File(_) => 0,
                };
                model::Mirror {
                    to: wanted.to.to_string(),
                    ports: wanted.ports.clone(),
                    direction: model::direction(wanted.direction).to_owned(),
                    filter: wanted.filter.text(),
                    truncate: wanted.truncate,
                    frames: frames.unwrap_or_else(of_port),
                }
            })
            .collect();
        show
    }

    /// A port; of one with several ends, each.
    fn show_port(
        &self,
        runner: &Runner<Switch>,
        at: usize,
        addresses: &BTreeMap<PortId, usize>,
    ) -> Vec<model::Port> {
        let Some(running) = self.ports.get(at) else { return Vec::new() };
        let (engine, wanted) = (runner.engine(), &running.wanted);
        if let Some(why) = &running.gone {
            let mut port =
                model::port((&wanted.name, &wanted.text), &wanted.config, None, None, None);
            port.reason = Some(why.clone());
            return vec![port];
        }
        let end = |(id, name): &(_, String)| {
            let config = engine.port_config(*id).unwrap_or(&wanted.config);
            let (state, counters) = (engine.port_state(*id), engine.counters(*id));
            let names = (name.as_str(), wanted.text.as_str());
            let mut port = model::port(names, config, state, counters, runner.port(*id));
            port.netem = wanted.netem.as_ref().map(model::Netem::new);
            port.fdb_entries = addresses.get(id).copied().unwrap_or(0);
            port
        };
        let mut list = Vec::new();
        if running.listener.is_some() {
            let names = (wanted.name.as_str(), wanted.text.as_str());
            let port = model::port(names, &wanted.config, None, None, None);
            list.push(model::Port { state: model::State::Listening, ..port });
        }
        list.extend(running.ends.iter().map(end));
        list
    }

    fn addresses(&self, runner: &Runner<Switch>) -> Vec<model::Address> {
        let now = runner.now();
        let one = |entry| model::Address::new(&entry, self.name_of(entry.port), now);
        let mut list: Vec<model::Address> = runner.engine().fdb().map(one).collect();
        list.sort_by(|a, b| (a.vlan, &a.mac).cmp(&(b.vlan, &b.mac)));
        list
    }

    fn post_port(&mut self, runner: &mut Runner<Switch>, body: &Value) -> Result<Value> {
        let (object, folder) = object_of(body)?;
        let source = Source::request(&folder);
        let problems = Problems::default();
        let mut table = source.json(&object, &problems);
        let wanted = WantedPort::from_table(&mut table);
        table.finish();
        problems.check("the request")?;
        let Some(wanted) = wanted else { return Err(Error::usage("which port?")) };
        self.add_port(runner, wanted)?;
        let name = self.ports.last().map_or(String::new(), |port| port.wanted.name.clone());
        self.panel.tell(&Told::PortAdded { port: name.clone() });
        value(&model::Done { done: vec![format!("{name} added")] })
    }

    fn patch_port(
        &mut self,
        runner: &mut Runner<Switch>,
        name: &str,
        body: &Value,
    ) -> Result<Value> {
        let at = self.find(name)?;
        let (object, folder) = object_of(body)?;
        let source = Source::request(&folder);
        let problems = Problems::default();
        let mut table = source.json(&object, &problems);
        let mut wanted = self.ports.get(at).map(|port| port.wanted.clone());
        if let Some(wanted) = &mut wanted {
            wanted.change(&mut table);
        }
        table.finish();
        problems.check("the request")?;
        let Some(wanted) = wanted else { return Err(Error::usage("which port?")) };
        let name = wanted.name.clone();
        self.set_port(runner, at, wanted)?;
        value(&model::Done { done: vec![format!("{name} changed")] })
    }

    fn delete_port(&mut self, runner: &mut Runner<Switch>, name: &str) -> Result<Value> {
        let at = self.find(name)?;
        let name = self.remove_port(runner, at)?;
        self.panel.tell(&Told::PortRemoved { port: name.clone() });
        value(&model::Done { done: vec![format!("{name} removed")] })
    }

    fn patch_switch(&mut self, runner: &mut Runner<Switch>, body: &Value) -> Result<Value> {
        let (object, folder) = object_of(body)?;
        let source = Source::request(&folder);
        let problems = Problems::default();
        let mut table = source.json(&object, &problems);
        let mut lab = crate::config::lab::Lab {
            switch: runner.engine().config().clone(),
            ..crate::config::lab::Lab::default()
        };
        lab.set_switch(&mut table);
        table.finish();
        problems.check("the request")?;
        self.set_switch(runner, lab.switch)?;
        value(&model::Done { done: vec!["the switch changed".to_owned()] })
    }

    fn post_address(&mut self, runner: &mut Runner<Switch>, body: &Value) -> Result<Value> {
        let entry = address_of(body, true)?;
        let (Some(mac), Some(port)) = (entry.mac, entry.port) else {
            return Err(Error::usage("which address, on which port?"));
        };
        let entry = StaticAddress { mac, vlan: entry.vlan, port };
        self.add_static(runner, &entry)?;
        value(&model::Done { done: vec![format!("{} put on {}", entry.mac, entry.port)] })
    }

    fn delete_addresses(&mut self, runner: &mut Runner<Switch>, body: &Value) -> Result<Value> {
        let entry = address_of(body, false)?;
        if let Some(mac) = entry.mac {
            if !runner.engine_mut().fdb_del(entry.vlan, mac) {
                let message = format!("{mac} is not in the table");
                return Err(Error::new(Exit::NotFound, &PORT, message).object(mac));
            }
            return value(&model::Done { done: vec![format!("{mac} removed")] });
        }
        let mut count = 0;
        let ends = match &entry.port {
            None => vec![None],
            Some(name) => {
                let at = self.find(name)?;
                let ends = self.ports.get(at).into_iter().flat_map(|port| &port.ends);
                ends.map(|(id, _)| Some(*id)).collect()
            }
        };
        for port in ends {
            let which = FdbFlush { port, vlan: entry.vlan, with_static: false };
            count += runner.engine_mut().fdb_flush(which);
        }
        value(&model::Done { done: vec![format!("{count} addresses removed")] })
    }
}

/// How many addresses are on each port.
fn addresses_by_port(engine: &Switch) -> BTreeMap<PortId, usize> {
    let mut counts = BTreeMap::new();
    for entry in engine.fdb() {
        *counts.entry(entry.port).or_default() += 1;
    }
    counts
}

/// What a request about addresses names.
struct Asked {
    mac: Option<adit::MacAddr>,
    port: Option<String>,
    vlan: Option<VlanId>,
}

fn address_of(body: &Value, is_new: bool) -> Result<Asked> {
    let (object, folder) = object_of(body)?;
    let source = Source::request(&folder);
    let problems = Problems::default();
    let mut table = source.json(&object, &problems);
    let text = crate::config::value::text;
    let asked = Asked {
        mac: if is_new { table.required("mac", mac) } else { table.get("mac", mac) },
        port: if is_new { table.required("port", text) } else { table.get("port", text) },
        vlan: table.get("vlan", vlan),
    };
    table.finish();
    problems.check("the request")?;
    Ok(asked)
}

/// A model as a value.
pub(super) fn value(model: &impl serde::Serialize) -> Result<Value> {
    serde_json::to_value(model).map_err(|error| Error::from(std::io::Error::from(error)))
}

/// A switch for people.
pub(crate) fn text(output: &Output, show: &model::Switch) -> String {
    let mut lines = vec![format!(
        "{} (pid {}): {} of {} addresses, kept for {} s",
        output.paint(Tone::Name, clean(&show.name)),
        show.pid,
        show.fdb_entries,
        show.fdb_limit,
        show.ageing_s
    )];
    let head = ["PORT", "STATE", "VLAN", "MACS", "IN", "DROPPED", "OUT", "DROPPED"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for port in &show.ports {
        rows.push(vec![
            clean(&port.name),
            port.state.as_str().to_owned(),
            port.vlan.text(),
            port.fdb_entries.to_string(),
            port.ingress.frames.to_string(),
            port.ingress.dropped().to_string(),
            port.egress.frames.to_string(),
            port.egress.dropped().to_string(),
        ]);
    }
    lines.extend(table(&rows));
    for mirror in &show.mirrors {
        let of =
            if mirror.ports.is_empty() { "all ports".to_owned() } else { mirror.ports.join(", ") };
        lines.push(format!(
            "mirror of {} ({}) to {}: {} frames",
            clean(&of),
            mirror.direction,
            clean(&mirror.to),
            mirror.frames
        ));
    }
    lines.join("\n")
}

/// A port for people.
pub(crate) fn port_text(output: &Output, port: &model::Port) -> String {
    let mut lines =
        vec![format!("{}: {}", output.paint(Tone::Name, clean(&port.name)), port.state.as_str())];
    if let Some(reason) = &port.reason {
        lines.push(format!("  reason     {}", clean(reason)));
    }
    lines.push(format!("  port       {}", clean(&port.port)));
    if let Some(mtu) = port.mtu {
        lines.push(format!("  mtu        {mtu}"));
    }
    lines.push(format!("  vlan       {}", port.vlan.text()));
    let mut words = Vec::new();
    words.extend(port.isolated.then(|| "isolated".to_owned()));
    words.extend(port.sticky.then(|| "sticky".to_owned()));
    words.extend(port.group.map(|group| format!("group {group}")));
    if !words.is_empty() {
        lines.push(format!("  flags      {}", words.join(", ")));
    }
    lines.push(format!("  addresses  {} of {}", port.fdb_entries, port.fdb_limit));
    let guard = &port.guard;
    let mut words: Vec<String> = Vec::new();
    words.extend((!guard.mac.is_empty()).then(|| format!("mac {}", guard.mac.join(" "))));
    words.extend((!guard.ip.is_empty()).then(|| format!("ip {}", guard.ip.join(" "))));
    let flags = [(guard.arp, "arp"), (guard.nd, "nd"), (guard.dhcp, "dhcp"), (guard.ra, "ra")];
    words.extend(flags.into_iter().filter(|(on, _)| *on).map(|(_, word)| word.to_owned()));
    if !words.is_empty() {
        lines.push(format!("  guards     {}", words.join(", ")));
    }
    if let Some(netem) = &port.netem {
        for (way, keys) in [("link in", &netem.a_to_b), ("link out", &netem.b_to_a)] {
            lines.push(format!("  {way:<10} {}", clean(&model::keys_text(keys))));
        }
    }
    for (name, counters) in [("in", &port.ingress), ("out", &port.egress)] {
        let drops = counters.drops.iter().map(|(why, count)| format!("; {count} dropped: {why}"));
        lines.push(format!(
            "  {name:<10} {} frames, {} bytes{}",
            counters.frames,
            counters.bytes,
            drops.collect::<String>()
        ));
    }
    lines.join("\n")
}

/// Addresses for people.
pub(crate) fn fdb_text(list: &[model::Address]) -> String {
    let mut rows = vec![["ADDRESS", "VLAN", "PORT", "KIND", "AGE"].map(str::to_owned).to_vec()];
    for entry in list {
        rows.push(vec![
            entry.mac.clone(),
            entry.vlan.map_or("-".to_owned(), |vlan| vlan.to_string()),
            clean(&entry.port),
            entry.kind.clone(),
            entry.age_s.map_or("-".to_owned(), |age| format!("{age} s")),
        ]);
    }
    table(&rows).join("\n")
}
