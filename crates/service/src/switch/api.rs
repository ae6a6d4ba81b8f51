//! What a switch that runs can be asked and told.

use crate::config::table::Table;
use crate::config::value::{mac, word_of};
use crate::control::http::{Method, Request};
use crate::control::page;
use crate::control::route::{PAGE, Parameter, Route, SchemaOf, schema};
use crate::control::server::Reply;
use crate::error::{Error, Kind, Result};
use crate::event::Event;
use crate::nat::model::{FLOWS, FlowPage};
use crate::nat::port::flows_of;
use crate::supervisor::routes::RELOAD;
use crate::supervisor::{Done, DoneReply, read_request, value};
use crate::switch::changes::Changes;
use crate::switch::codes::PORT;
use crate::switch::mirror::DIRECTIONS;
use crate::switch::model;
use crate::switch::news::cause_of;
use crate::switch::port::vlan;
use crate::switch::state::SwitchService;
use crate::switch::wanted::{StaticAddress, WantedSwitch};
use crate::switch::{accelerate, bodies};
use adit_engine::PortId;
use adit_engine::switch::{FdbEntry, FdbFlush, PortState, Switch, VlanId};
use adit_runtime::Runner;
use serde_json::Value;
use std::collections::BTreeMap;

/// The requests of a switch, beside those of every service.
pub const ROUTES: &[Route] = &[
    RELOAD,
    Route::get("/switch", "the switch with its ports and mirrors", schema::<model::Switch>),
    change(Method::Patch, "/switch", "changes keys of the switch", Some(bodies::of_switch)),
    Route::get(
        "/ports/{name}",
        "a port; of one with several ends, each",
        schema::<Vec<model::Port>>,
    ),
    change(Method::Post, "/ports", "adds a port", Some(bodies::of_new_port)),
    change(Method::Patch, "/ports/{name}", "changes keys of a port", Some(bodies::of_port)),
    change(Method::Delete, "/ports/{name}", "removes a port", None),
    Route::get("/fdb", "a page of the address table", schema::<model::Page>).query(&[
        PAGE,
        Parameter::new("mac", "^[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}$", "only this address"),
        Parameter::new("vlan", "^[1-9][0-9]{0,3}$", "only this VLAN"),
        Parameter::new("port", "^.+$", "only this port"),
    ]),
    change(Method::Post, "/fdb", "adds a static address", Some(bodies::of_new_address)),
    change(
        Method::Delete,
        "/fdb",
        "removes an address, or all learned ones of a port and a VLAN",
        Some(bodies::of_addresses),
    ),
    Route::get(
        "/changes",
        "the file of the switch, and the changes that are not in it",
        schema::<Changes>,
    )
    .for_members(),
    change(
        Method::Post,
        "/saved",
        "a client has written `changes` of that list into the file",
        Some(bodies::of_saved),
    ),
    FLOWS,
];

/// The list of addresses, in its tokens. A place is a slot: an entry that stays is found at or behind it.
const FDB: &str = "addresses";

const fn change(
    method: Method,
    path: &'static str,
    summary: &'static str,
    body: Option<SchemaOf>,
) -> Route {
    Route::change(method, path, summary, body, schema::<DoneReply>)
}

impl SwitchService {
    /// Answers a request for which nothing is read.
    pub(super) fn answer_now(
        &mut self,
        runner: &mut Runner<Switch>,
        request: &Request,
        path: &[&str],
    ) -> Reply {
        let result = match (request.method, path) {
            (Method::Get, ["switch"]) => value(&self.show(runner)),
            (Method::Patch, ["switch"]) => self.patch_switch(runner, request),
            (Method::Get, ["changes"]) => value(&self.changes(runner)),
            (Method::Post, ["saved"]) => self.post_saved(runner, &request.body),
            (Method::Get, ["ports", name]) => {
                self.get_port(runner, name).and_then(|ports| value(&ports))
            }
            (Method::Delete, ["ports", name]) => self.delete_port(runner, name),
            (Method::Get, ["nat", "flows"]) => Self::get_flows(runner, request),
            (Method::Get, ["fdb"]) => self.get_addresses(runner, request),
            (Method::Post, ["fdb"]) => self.post_address(runner, request),
            (Method::Delete, ["fdb"]) => self.delete_addresses(runner, request),
            _ => return Reply::unknown_path(request),
        };
        result.into()
    }

    /// The switch and all its ports.
    pub(super) fn show(&self, runner: &Runner<Switch>) -> model::Switch {
        let engine = runner.engine();
        let name = self.name.clone();
        let mut show = model::switch(name, engine.config(), engine.fdb_len());
        let addresses = addresses_by_port(engine);
        let ports = (0..self.ports.len()).flat_map(|at| self.show_port(runner, at, &addresses));
        show.ports = ports.collect();
        show.seed = self.seed;
        show.file = self.file();
        if show.file.is_some() {
            let changes = self.changes(runner).changes;
            show.unsaved = changes.iter().map(ToString::to_string).collect();
        }
        show.kernel = accelerate::report(self, runner);
        (show.strangers, show.astray) = (runner.refused_by_hubs(), runner.misrouted());
        show.mirrors = self
            .mirrors
            .iter()
            .map(|mirror| {
                let wanted = &mirror.wanted;
                let (frames, missed) = self.copies(runner, mirror);
                model::Mirror {
                    to: wanted.to.to_string(),
                    ports: wanted.ports.clone(),
                    direction: word_of(&DIRECTIONS, &wanted.direction).to_owned(),
                    filter: wanted.filter.text(),
                    truncate: wanted.truncate,
                    frames,
                    missed,
                }
            })
            .collect();
        show
    }

    /// A port with all its ends, or one end of it.
    fn get_port(&self, runner: &Runner<Switch>, name: &str) -> Result<Vec<model::Port>> {
        let addresses = addresses_by_port(runner.engine());
        if let Some((at, _)) = self.find_end(name) {
            let ends = self.show_port(runner, at, &addresses).into_iter();
            return Ok(ends.filter(|port| port.name == name).collect());
        }
        self.find(name).map(|at| self.show_port(runner, at, &addresses))
    }

    /// The port of which something by that name is one of several ends, and that end.
    fn find_end(&self, name: &str) -> Option<(usize, PortId)> {
        self.ports.iter().enumerate().find_map(|(at, port)| {
            let end = port.ends.iter().find(|(_, end)| end == name && *end != port.wanted.name);
            end.map(|(id, _)| (at, *id))
        })
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
            let last = running.last.as_ref();
            let mut port = model::port(
                (&wanted.name, &wanted.text),
                &wanted.config,
                None,
                last.map(|(of_engine, _)| of_engine),
                last.map(|(_, of_loop)| (None, of_loop)),
            );
            port.reason = Some(why.clone());
            return vec![port];
        }
        let end = |(id, name): &(_, String)| {
            let config = engine.port_config(*id).unwrap_or(&wanted.config);
            let (state, counters) = (engine.port_state(*id), engine.counters(*id));
            let names = (name.as_str(), wanted.text.as_str());
            let of_loop = runner.port(*id).map(|(_, counters)| (runner.mtu(*id), counters));
            let mut port = model::port(names, config, state, counters, of_loop);
            if let Some(PortState::Blocked { cause, .. }) = state {
                port.reason = Some(cause_of(*id, cause, |id| self.name_of(id)));
            }
            port.netem = wanted.netem.as_ref().map(crate::netem::report::Netem::new);
            port.link = runner.netem(*id).and_then(crate::netem::report::Links::new);
            port.fdb_entries = addresses.get(id).copied().unwrap_or(0);
            if let Some((inner, _)) = runner.port(*id) {
                inner.inner_drops(&mut |why, count| port.egress.note(why, count));
            }
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

    /// A page of the flows of the ports that are NATs: of one after the other.
    fn get_flows(runner: &Runner<Switch>, request: &Request) -> Result<Value> {
        let after = page::place(FlowPage::LIST, request)?;
        let after = after.as_deref().map(|place| place.split_once(' ').unwrap_or((place, "")));
        let from = after.map_or(Ok(0), |(port, _)| port.parse());
        let from: u16 = from.map_err(|_| page::wrong(FlowPage::LIST))?;
        let mut nats = runner.engine().ports().filter(|id| id.0 >= from).filter_map(|id| {
            let after = after.filter(|_| id.0 == from).map_or("", |(_, place)| place);
            Some((id, flows_of(runner.port(id)?.0, after)?))
        });
        let (id, flows) = match nats.next() {
            Some((id, flows)) => (id, flows?),
            None if after.is_some() => return value(&FlowPage::default()),
            None => {
                let message = "no port of the switch is a NAT";
                return Err(Error::new(Kind::NotFound, &PORT, message));
            }
        };
        let next = match flows.next {
            Some(place) => Some(format!("{} {place}", id.0)),
            None => nats.next().map(|(id, _)| id.0.to_string()),
        };
        let next = next.map(|place| page::token(FlowPage::LIST, &place));
        value(&FlowPage { next, ..flows })
    }

    /// A page of the table; the keys of an address choose among those on it.
    fn get_addresses(&self, runner: &Runner<Switch>, request: &Request) -> Result<Value> {
        let query = request.query.iter().filter(|(key, _)| key != "page");
        let query = query.map(|(key, text)| (key.clone(), text.clone().into()));
        let asked = read_request(&Value::Object(query.collect()), request.files, |table| {
            Asked::read(table, false)
        })?;
        let from = page::place(FDB, request)?.map_or(Ok(0), |place| place.parse());
        let from = from.map_err(|_| page::wrong(FDB))?;
        let ends = asked.port.map(|name| self.ends(&name)).transpose()?;
        let is_asked = |entry: &FdbEntry| {
            ends.as_ref().is_none_or(|ends| ends.contains(&entry.port))
                && asked.vlan.is_none_or(|vlan| entry.vlan == Some(vlan))
                && asked.mac.is_none_or(|mac| entry.mac == mac)
        };
        let (entries, next) = runner.engine().fdb_page(from);
        let next = next.map(|slot| page::token(FDB, &slot.to_string()));
        let now = runner.now();
        let one = |entry| model::Address::new(&entry, self.name_of(entry.port), now);
        value(&model::Page { addresses: entries.filter(is_asked).map(one).collect(), next })
    }

    /// The ports of the engine that are meant by a name: all ends of a port, or one of them.
    fn ends(&self, name: &str) -> Result<Vec<PortId>> {
        if let Some((_, id)) = self.find_end(name) {
            return Ok(vec![id]);
        }
        let port = self.ports.get(self.find(name)?);
        Ok(port.into_iter().flat_map(|port| &port.ends).map(|(id, _)| *id).collect())
    }

    fn delete_port(&mut self, runner: &mut Runner<Switch>, name: &str) -> Result<Value> {
        let name = match self.find_end(name) {
            Some((at, id)) => self.remove_guest(runner, at, id)?,
            None => {
                let name = self.find(name).and_then(|at| self.remove_port(runner, at))?;
                self.removed.insert(name.clone());
                name
            }
        };
        self.events.send(&Event::PortRemoved { port: name.clone() });
        Ok(Done::new(vec![format!("{name} removed")]).reply)
    }

    fn patch_switch(&mut self, runner: &mut Runner<Switch>, request: &Request) -> Result<Value> {
        let switch = runner.engine().config().clone();
        let mut wanted = WantedSwitch { switch, ..WantedSwitch::default() };
        read_request(&request.body, request.files, |table| wanted.set_switch(table))?;
        self.set_switch(runner, wanted.switch)?;
        Ok(Done::new(vec!["the switch changed".to_owned()]).reply)
    }

    fn post_address(&mut self, runner: &mut Runner<Switch>, request: &Request) -> Result<Value> {
        let entry = read_request(&request.body, request.files, |table| Asked::read(table, true))?;
        let (Some(mac), Some(port)) = (entry.mac, entry.port) else {
            return Err(Error::usage("the address or the port is missing"));
        };
        let entry = StaticAddress { mac, vlan: entry.vlan, port };
        self.add_static(runner, &entry)?;
        Ok(Done::new(vec![format!("{} added to {}", entry.mac, entry.port)]).reply)
    }

    fn delete_addresses(
        &mut self,
        runner: &mut Runner<Switch>,
        request: &Request,
    ) -> Result<Value> {
        let entry = read_request(&request.body, request.files, |table| Asked::read(table, false))?;
        if let Some(mac) = entry.mac {
            if !runner.engine_mut().fdb_del(entry.vlan, mac) {
                let message = format!("{mac} is not in the table");
                return Err(Error::new(Kind::NotFound, &PORT, message).object(mac));
            }
            return Ok(Done::new(vec![format!("{mac} removed")]).reply);
        }
        let mut count = 0;
        let ends = match &entry.port {
            None => vec![None],
            Some(name) => self.ends(name)?.into_iter().map(Some).collect(),
        };
        for port in ends {
            let which = FdbFlush { port, vlan: entry.vlan, with_static: false };
            count += runner.engine_mut().fdb_flush(which);
        }
        Ok(Done::new(vec![format!("{count} addresses removed")]).reply)
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
    mac: Option<adit_device::MacAddr>,
    port: Option<String>,
    vlan: Option<VlanId>,
}

impl Asked {
    fn read(table: &mut Table<'_>, is_new: bool) -> Self {
        let text = crate::config::value::text;
        Self {
            mac: if is_new { table.required("mac", mac) } else { table.get("mac", mac) },
            port: if is_new { table.required("port", text) } else { table.get("port", text) },
            vlan: table.get("vlan", vlan),
        }
    }
}
