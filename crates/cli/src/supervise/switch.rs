//! The program that runs a switch.

use super::reload::{LOADED, Reloads};
use super::switch_plan::{Plan, warnings};
use super::{CONTROL, Event as Told, Numbers, Panel, TICK};
use crate::config::lab::{Lab, MirrorTo, StaticAddress, WantedMirror, resolve_among};
use crate::config::port::WantedPort;
use crate::config::profile::Profiles;
use crate::control::{Status, notify};
use crate::error::{Error, Exit, Result};
use crate::output::Output;
use crate::run::{
    Event, Flow, Gone, Handler, Listener, ListenerId, Opened, Port, PortKind, PortNetem, Runner,
    Signal,
};
use adit_engine::PortId;
use adit_engine::netem::{Link, Seed};
use adit_engine::switch::{GroupId, Mirror, PortConfig, Switch, SwitchConfig, SwitchEvent};
use adit_packet::{Pool, PoolConfig};

/// The most of a frame that a recording holds: super-packets as they are.
const SNAP_LEN: u32 = 1 << 18;

/// The most guests at one listener: far more than one machine runs, and far fewer than a switch has
/// ports.
const GUESTS_MAX: usize = 512;

/// Groups that come from a port with several ends begin here; those of users are below.
const OWN_GROUPS: u16 = 0x8000;

/// Runs a switch until it is told to end.
///
/// # Errors
/// If it cannot start: nothing is left then.
pub(crate) fn run(plan: Plan, lab: Lab, output: &Output) -> Result<Exit> {
    let panel = Panel::open(lab.name.clone(), "switch", output.clone())?;
    let config = SwitchConfig { seed: random()?, ..lab.switch.clone() };
    let engine = Switch::new(config).map_err(Error::usage)?;
    let mut runner = Runner::new(engine, Pool::new(PoolConfig::default()))
        .map_err(|error| Error::io("start", "the loop", &error))?;
    let mut supervisor = Supervisor {
        panel,
        plan,
        reloads: Reloads::new(),
        lab: Lab { switch: lab.switch.clone(), ..Lab::default() },
        numbers: Numbers::default(),
        seed: match lab.seed {
            Some(seed) => seed,
            None => random()?,
        },
        ports: Vec::new(),
        mirrors: Vec::new(),
    };
    supervisor.start(&mut runner, lab)?;
    supervisor.panel.watch(&runner)?;
    supervisor.panel.ready(supervisor.ports.iter().map(|port| port.wanted.name.clone()).collect());
    runner.set_alarm(Some(runner.now() + TICK));
    let result = runner.run(&mut supervisor);
    // Recordings are whole only when they are closed.
    for id in supervisor.mirrors.iter().filter_map(|mirror| mirror.file) {
        runner.detach(id);
    }
    supervisor.panel.finish();
    result.map_err(|error| Error::io("run", "the loop", &error))?;
    Ok(Exit::Ok)
}

/// 64 bits that nobody can foresee.
pub(super) fn random() -> Result<u64> {
    use std::io::Read;
    let mut bytes = [0; 8];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .map_err(|error| Error::io("read", "/dev/urandom", &error))?;
    Ok(u64::from_ne_bytes(bytes))
}

/// Who owns the loop of a switch.
pub(super) struct Supervisor {
    pub(super) panel: Panel,
    plan: Plan,
    pub(super) reloads: Reloads<Lab>,
    /// What was read last.
    pub(super) lab: Lab,
    numbers: Numbers,
    /// What the links of ports draw their decisions from.
    seed: u64,
    pub(super) ports: Vec<Running>,
    pub(super) mirrors: Vec<RunningMirror>,
}

/// A port that is there, or was.
pub(super) struct Running {
    pub(super) wanted: WantedPort,
    /// Its ports of the engine, each with its own name.
    pub(super) ends: Vec<(PortId, String)>,
    /// Where further ends may come from.
    pub(super) listener: Option<ListenerId>,
    /// How many have come.
    guests: u64,
    /// Why it is there no more.
    pub(super) gone: Option<String>,
}

impl Running {
    fn new(wanted: WantedPort) -> Self {
        Self { wanted, ends: Vec::new(), listener: None, guests: 0, gone: None }
    }
}

/// A mirror that is there.
pub(super) struct RunningMirror {
    pub(super) wanted: WantedMirror,
    /// Where its file is, for the loop.
    pub(super) file: Option<PortId>,
}

impl Supervisor {
    /// Opens everything; the first failure ends it.
    fn start(&mut self, runner: &mut Runner<Switch>, lab: Lab) -> Result<()> {
        for port in &lab.ports {
            self.add_port(runner, port.clone())?;
        }
        for entry in &lab.statics {
            self.add_static(runner, entry)?;
        }
        for mirror in &lab.mirrors {
            self.add_mirror(runner, mirror.clone())?;
        }
        self.lab = lab;
        Ok(())
    }

    /// The port that is meant by a name.
    pub(super) fn find(&self, name: &str) -> Result<usize> {
        let names = self.ports.iter().map(|port| port.wanted.name.as_str());
        let full = resolve_among(name, names);
        let found = full.and_then(|full| self.ports.iter().position(|p| p.wanted.name == full));
        found.ok_or_else(|| {
            let names: Vec<&str> = self.ports.iter().map(|p| p.wanted.name.as_str()).collect();
            let end = |full: &&str| full.split_once(':').is_some_and(|(_, end)| end == name);
            let message = match names.iter().filter(|full| end(full)).count() {
                0 => format!("there is no port '{name}'"),
                several => format!("'{name}' may be each of {several} ports"),
            };
            Error::new(Exit::NotFound, &super::switch_api::NO_PORT, message)
                .object(name)
                .hint(format_args!("The ports are: {}", names.join(", ")))
        })
    }

    /// The name of a port of the engine.
    pub(super) fn name_of(&self, id: PortId) -> String {
        let mut ends = self.ports.iter().flat_map(|port| &port.ends);
        let found = ends.find(|(end, _)| *end == id);
        found.map_or_else(|| format!("port {id}"), |(_, name)| name.clone())
    }

    /// Opens a port and makes it one of the switch.
    pub(super) fn add_port(
        &mut self,
        runner: &mut Runner<Switch>,
        mut wanted: WantedPort,
    ) -> Result<()> {
        if let Ok(at) = self.find(&wanted.name) {
            let port = self.ports.get(at);
            if port.is_some_and(|port| port.gone.is_none() && port.wanted.name == wanted.name) {
                let message = format!("there is a port '{}' already", wanted.name);
                return Err(Error::new(Exit::Conflict, &super::switch_api::PORT, message));
            }
        }
        let opened = match wanted.spec.open()? {
            Opened::Ports(ports) => ports,
            Opened::Listener(listener) => return self.add_listener(runner, wanted, listener),
        };
        let is_one = opened.len() == 1;
        // The kernel chose the name of a device that was asked for by a pattern.
        if let [only] = opened.as_slice()
            && wanted.name.contains('%')
        {
            only.name().clone_into(&mut wanted.name);
        }
        let mut running = Running::new(wanted);
        for port in opened {
            let name = if is_one { running.wanted.name.clone() } else { port.name().to_owned() };
            let end = self.attach(runner, &running, port, !is_one);
            match end {
                Ok(id) => running.ends.push((id, name)),
                Err(error) => {
                    detach(runner, &running);
                    return Err(error);
                }
            }
        }
        self.ports.retain(|port| port.wanted.name != running.wanted.name);
        let own = running.wanted.own_mirror();
        let name = running.wanted.name.clone();
        for message in warnings(&running.wanted) {
            self.panel.tell(&Told::News { ports: vec![name.clone()], message });
        }
        self.ports.push(running);
        self.restore_statics(runner, &name);
        match own {
            Some(own) if !self.mirrors.iter().any(|mirror| mirror.wanted == own) => {
                self.add_mirror(runner, own)
            }
            _ => self.set_mirrors(runner),
        }
    }

    fn add_listener(
        &mut self,
        runner: &mut Runner<Switch>,
        wanted: WantedPort,
        listener: Listener,
    ) -> Result<()> {
        let listener = runner
            .listen(listener)
            .map_err(|error| Error::io("listen at", &wanted.name, &error))?;
        self.ports.retain(|port| port.wanted.name != wanted.name);
        self.ports.push(Running { listener: Some(listener), ..Running::new(wanted) });
        Ok(())
    }

    /// Somebody came to a listener: a port of its own.
    fn accepted(&mut self, runner: &mut Runner<Switch>, listener: ListenerId, port: Port) {
        let Some(at) = self.ports.iter().position(|port| port.listener == Some(listener)) else {
            return;
        };
        let mut running = self.ports.remove(at);
        if running.ends.len() >= GUESTS_MAX {
            let message = format!("{}: one more than {GUESTS_MAX} guests", running.wanted.name);
            self.panel.tell(&Told::Failed { message });
        } else {
            running.guests += 1;
            let name = format!("{}#{}", running.wanted.name, running.guests);
            match self.attach(runner, &running, port, false) {
                Ok(id) => {
                    running.ends.push((id, name.clone()));
                    self.panel.tell(&Told::PortAdded { port: name });
                }
                Err(error) => self.panel.failed(&name, &error),
            }
        }
        self.ports.insert(at, running);
        if let Err(error) = self.set_mirrors(runner) {
            self.panel.failed("a mirror cannot be as it was", &error);
        }
    }

    fn listener_gone(&mut self, listener: ListenerId, why: String) {
        let Some(port) = self.ports.iter_mut().find(|port| port.listener == Some(listener)) else {
            return;
        };
        port.listener = None;
        if port.ends.is_empty() {
            port.gone = Some(why.clone());
        }
        let port = port.wanted.name.clone();
        self.panel.tell(&Told::PortGone { port, reason: why });
    }

    fn attach(
        &mut self,
        runner: &mut Runner<Switch>,
        running: &Running,
        port: Port,
        is_group: bool,
    ) -> Result<PortId> {
        let taken = |id| runner.engine().port_config(id).is_some() || runner.port(id).is_some();
        let Some(id) = self.numbers.next(taken) else {
            return Err(Error::usage("there are too many ports"));
        };
        let first = running.ends.first().map_or(id, |(first, _)| *first);
        let config = end_config(&running.wanted.config, is_group.then_some(first));
        let mtu_name = port.name().to_owned();
        runner.engine_mut().add_port(id, config).map_err(|error| {
            Error::new(Exit::Refused, &super::switch_api::PORT, error).object(&mtu_name)
        })?;
        if let Err(error) = runner.attach(id, port) {
            runner.engine_mut().remove_port(id);
            return Err(Error::io("use", mtu_name, &error));
        }
        self.set_netem(runner, id, running.wanted.netem.as_ref())?;
        Ok(id)
    }

    /// Makes the cable of a port what it is to be; what is in it stays in it where it can.
    fn set_netem(
        &self,
        runner: &mut Runner<Switch>,
        id: PortId,
        wanted: Option<&Profiles>,
    ) -> Result<()> {
        let wrong = |error| Error::new(Exit::Usage, &super::switch_api::PORT, error);
        let now = runner.now();
        let Some(links) = runner.netem_mut(id) else { return Ok(()) };
        let Some(wanted) = wanted else {
            if links.ingress.is_some() || links.egress.is_some() {
                runner.set_netem(id, PortNetem::default());
            }
            return Ok(());
        };
        if let (Some(ingress), Some(egress)) = (&mut links.ingress, &mut links.egress) {
            ingress.set(now, &wanted.a_to_b).map_err(wrong)?;
            return egress.set(now, &wanted.b_to_a).map_err(wrong);
        }
        let seed = Seed::new(self.seed);
        let link = |profile, direction| {
            let number = u32::from(id.0) * 2 + direction;
            Link::new(profile, seed.direction(number)).map(Box::new).map(Some).map_err(wrong)
        };
        let links =
            PortNetem { ingress: link(&wanted.a_to_b, 0)?, egress: link(&wanted.b_to_a, 1)? };
        runner.set_netem(id, links);
        Ok(())
    }

    /// Takes a port away.
    pub(super) fn remove_port(&mut self, runner: &mut Runner<Switch>, at: usize) -> Result<String> {
        let running = self.ports.remove(at);
        detach(runner, &running);
        self.set_mirrors(runner)?;
        self.remove_own_mirror(runner, &running.wanted)?;
        Ok(running.wanted.name)
    }

    /// Makes a port what `wanted` says, without taking it away.
    pub(super) fn set_port(
        &mut self,
        runner: &mut Runner<Switch>,
        at: usize,
        wanted: WantedPort,
    ) -> Result<()> {
        let Some(running) = self.ports.get(at) else { return Ok(()) };
        let is_group = running.ends.len() > 1 && running.listener.is_none();
        let first = running.ends.first().map(|(first, _)| *first).filter(|_| is_group);
        for (id, _) in &running.ends {
            let config = end_config(&wanted.config, first);
            if runner.engine().port_config(*id) != Some(&config) {
                runner
                    .engine_mut()
                    .set_port(*id, config)
                    .map_err(|error| Error::new(Exit::Usage, &super::switch_api::PORT, error))?;
            }
            if running.wanted.netem != wanted.netem {
                self.set_netem(runner, *id, wanted.netem.as_ref())?;
            }
        }
        let Some(running) = self.ports.get_mut(at) else { return Ok(()) };
        let own = wanted.own_mirror();
        let before = std::mem::replace(&mut running.wanted, wanted);
        if own != before.own_mirror() {
            self.remove_own_mirror(runner, &before)?;
            if let Some(own) = own {
                self.add_mirror(runner, own)?;
            }
        }
        self.set_mirrors(runner)
    }

    fn remove_own_mirror(&mut self, runner: &mut Runner<Switch>, of: &WantedPort) -> Result<()> {
        let own = of.own_mirror();
        match self.mirrors.iter().position(|mirror| Some(&mirror.wanted) == own.as_ref()) {
            Some(at) => self.remove_mirror(runner, at),
            None => Ok(()),
        }
    }

    /// Puts an address on a port for good.
    pub(super) fn add_static(
        &mut self,
        runner: &mut Runner<Switch>,
        entry: &StaticAddress,
    ) -> Result<()> {
        let at = self.find(&entry.port)?;
        let port = self.ports.get(at).and_then(|port| port.ends.first());
        let Some((id, _)) = port else {
            let message = format!("the port '{}' is gone", entry.port);
            return Err(Error::new(Exit::Conflict, &super::switch_api::PORT, message));
        };
        let added = runner.engine_mut().fdb_add(entry.vlan, entry.mac, *id);
        added.map_err(|error| Error::new(Exit::Refused, &super::switch_api::PORT, error))
    }

    /// Addresses of the file on a port that has come back.
    fn restore_statics(&mut self, runner: &mut Runner<Switch>, name: &str) {
        for entry in self.lab.statics.clone().iter().filter(|entry| entry.port == name) {
            // One that cannot be was told of at the start.
            let _ = self.add_static(runner, entry);
        }
    }

    /// Opens a mirror.
    pub(super) fn add_mirror(
        &mut self,
        runner: &mut Runner<Switch>,
        wanted: WantedMirror,
    ) -> Result<()> {
        let file = match &wanted.to {
            MirrorTo::Port(_) => None,
            MirrorTo::File(path) => {
                let snap_len = wanted.truncate.and_then(|len| u32::try_from(len).ok());
                let filter = wanted.filter.text();
                let port = Port::mirror(path, snap_len.unwrap_or(SNAP_LEN), filter)?;
                let taken =
                    |id| runner.engine().port_config(id).is_some() || runner.port(id).is_some();
                let Some(id) = self.numbers.next(taken) else {
                    return Err(Error::usage("there are too many ports"));
                };
                runner
                    .attach(id, port)
                    .map_err(|error| Error::io("use", path.display(), &error))?;
                Some(id)
            }
        };
        self.mirrors.push(RunningMirror { wanted, file });
        let set = self.set_mirrors(runner);
        if set.is_err() {
            // One more than there may be.
            self.mirrors.pop();
            file.map(|id| runner.detach(id));
        }
        set
    }

    /// Closes a mirror.
    pub(super) fn remove_mirror(&mut self, runner: &mut Runner<Switch>, at: usize) -> Result<()> {
        let mirror = self.mirrors.remove(at);
        // First nothing is sent there any more.
        self.set_mirrors(runner)?;
        if let Some(id) = mirror.file {
            runner.detach(id);
        }
        Ok(())
    }

    /// Tells the engine of the mirrors, of which ports may have come and gone.
    fn set_mirrors(&mut self, runner: &mut Runner<Switch>) -> Result<()> {
        let ids = |name: &String| {
            let port = self.ports.iter().find(|port| port.wanted.name == *name);
            port.into_iter().flat_map(|port| port.ends.iter().map(|(id, _)| *id))
        };
        let mut mirrors = Vec::new();
        for mirror in &self.mirrors {
            let wanted = &mirror.wanted;
            let to = match &wanted.to {
                MirrorTo::Port(name) => ids(name).next(),
                MirrorTo::File(_) => mirror.file,
            };
            let ports: Vec<PortId> = wanted.ports.iter().flat_map(ids).collect();
            // No port named is all of them; those named and gone are none.
            if let Some(to) = to.filter(|_| wanted.ports.is_empty() || !ports.is_empty()) {
                mirrors.push(Mirror {
                    to,
                    ports,
                    direction: wanted.direction,
                    filter: wanted.filter.to_engine(),
                    truncate: wanted.truncate,
                });
            }
        }
        let config = runner.engine().config();
        if config.mirrors == mirrors {
            return Ok(());
        }
        let config = SwitchConfig { mirrors, ..config.clone() };
        let set = runner.engine_mut().set(config);
        set.map_err(|error| Error::new(Exit::Refused, &super::switch_api::PORT, error))
    }

    /// Changes the switch itself.
    pub(super) fn set_switch(
        &mut self,
        runner: &mut Runner<Switch>,
        wanted: SwitchConfig,
    ) -> Result<()> {
        let config = runner.engine().config();
        if wanted.fdb_limit != config.fdb_limit {
            return Err(Error::usage("the size of the table cannot be changed while it runs")
                .hint("End the switch and start it anew."));
        }
        let (seed, mirrors) = (config.seed, config.mirrors.clone());
        let set = runner.engine_mut().set(SwitchConfig { seed, mirrors, ..wanted });
        set.map_err(|error| Error::new(Exit::Usage, &super::switch_api::PORT, error))
    }

    /// Begins to read the configuration again.
    pub(super) fn reload(&mut self, runner: &Runner<Switch>) -> Result<u64> {
        notify(Status::Reloading);
        let plan = self.plan.clone();
        self.reloads.begin(runner, move || plan.lab())
    }

    fn reloaded(&mut self, runner: &mut Runner<Switch>) {
        let Some(loaded) = self.reloads.take(runner) else { return };
        let result = loaded.and_then(|wanted| self.apply(runner, wanted));
        let reply = self.panel.reloaded(result);
        if self.reloads.end(reply)
            && let Err(error) = self.reload(runner)
        {
            self.panel.failed("cannot reload", &error);
        }
    }

    /// Makes it all as wanted, as far as that has changed.
    fn apply(&mut self, runner: &mut Runner<Switch>, wanted: Lab) -> Result<Vec<String>> {
        let before = std::mem::replace(&mut self.lab, wanted.clone());
        let mut done = Vec::new();
        let mut failed = None;
        let mut note = |result: Result<()>, what: String| match result {
            Ok(()) => done.push(what),
            Err(error) => {
                failed.get_or_insert(error);
            }
        };
        let kept = |name: &str| wanted.ports.iter().find(|port| port.name == name);
        for old in &before.mirrors {
            if !wanted.mirrors.contains(old)
                && let Some(at) = self.mirrors.iter().position(|mirror| mirror.wanted == *old)
            {
                note(self.remove_mirror(runner, at), format!("mirror {} removed", old.to));
            }
        }
        for old in &before.ports {
            let is_kept = kept(&old.name).is_some_and(|new| new.spec == old.spec);
            if !is_kept
                && let Some(at) = self.ports.iter().position(|port| port.wanted.name == old.name)
            {
                note(self.remove_port(runner, at).map(|_| ()), format!("{} removed", old.name));
            }
        }
        for new in &wanted.ports {
            let at = self.ports.iter().position(|p| p.wanted.name == new.name && p.gone.is_none());
            let old = before.ports.iter().find(|port| port.name == new.name);
            match at {
                None => note(self.add_port(runner, new.clone()), format!("{} added", new.name)),
                Some(at) if old.is_none_or(|old| old != new) => {
                    note(self.set_port(runner, at, new.clone()), format!("{} changed", new.name));
                }
                Some(_) => {}
            }
        }
        if before.switch != wanted.switch {
            note(self.set_switch(runner, wanted.switch.clone()), "the switch changed".to_owned());
        }
        for old in before.statics.iter().filter(|old| !wanted.statics.contains(old)) {
            runner.engine_mut().fdb_del(old.vlan, old.mac);
            note(Ok(()), format!("{} removed", old.mac));
        }
        for new in wanted.statics.iter().filter(|new| !before.statics.contains(new)) {
            note(self.add_static(runner, new), format!("{} put on {}", new.mac, new.port));
        }
        for new in wanted.mirrors.iter().filter(|new| !before.mirrors.contains(new)) {
            note(self.add_mirror(runner, new.clone()), format!("mirror {} added", new.to));
        }
        match failed {
            Some(error) => Err(error.after(done)),
            None => Ok(done),
        }
    }

    fn port_gone(&mut self, runner: &mut Runner<Switch>, id: PortId, why: &Gone) {
        if let Some(at) = self.mirrors.iter().position(|mirror| mirror.file == Some(id)) {
            let mirror = self.mirrors.remove(at);
            let (mirror, reason) = (mirror.wanted.to.to_string(), why.to_string());
            self.panel.tell(&Told::MirrorEnded { mirror, reason });
        } else {
            let name = self.name_of(id);
            runner.engine_mut().remove_port(id);
            for port in &mut self.ports {
                port.ends.retain(|(end, _)| *end != id);
                if port.ends.is_empty() && port.listener.is_none() && port.gone.is_none() {
                    port.gone = Some(why.to_string());
                }
            }
            self.panel.tell(&Told::PortGone { port: name, reason: why.to_string() });
            // Who runs it at the other end of ssh(1) has gone.
            let is_ours = |port: &&Running| port.wanted.spec.kind == PortKind::Stdio;
            self.panel.is_ending |=
                self.ports.iter().find(is_ours).is_some_and(|p| p.gone.is_some());
        }
        if let Err(error) = self.set_mirrors(runner) {
            self.panel.failed("a mirror cannot be as it was", &error);
        }
    }

    fn link(&mut self, runner: &mut Runner<Switch>, id: PortId, up: bool) {
        runner.engine_mut().set_link(id, up);
        let port = self.name_of(id);
        self.panel.tell(&if up { Told::PortUp { port } } else { Told::PortDown { port } });
    }

    fn news(&self, runner: &mut Runner<Switch>) {
        while let Some(event) = runner.engine_mut().poll_event() {
            let (ids, text) = describe(&event);
            let ports: Vec<String> = ids.iter().map(|id| self.name_of(*id)).collect();
            let mut message = text;
            for name in &ports {
                message = message.replacen("{}", name, 1);
            }
            self.panel.tell(&Told::News { ports, message });
        }
    }
}

impl Handler<Switch> for Supervisor {
    fn event(&mut self, runner: &mut Runner<Switch>, event: Event) -> Flow {
        match event {
            Event::PortGone { port, why } => self.port_gone(runner, port, &why),
            Event::PortDown(port) => self.link(runner, port, false),
            Event::PortUp(port) => self.link(runner, port, true),
            Event::Accepted(listener, port) => self.accepted(runner, listener, port),
            Event::AcceptPaused(_, error) => {
                let message = format!("nobody is accepted for a while: {error}");
                self.panel.tell(&Told::Failed { message });
            }
            Event::ListenerGone(listener, error) => self.listener_gone(listener, error.to_string()),
            Event::Ready(CONTROL, _) => {
                if let Some(mut server) = self.panel.server.take() {
                    server.serve(|request| self.answer(runner, request));
                    self.panel.server = Some(server);
                }
            }
            Event::Signal(Signal::Hangup) => {
                if let Err(error) = self.reload(runner) {
                    self.panel.failed("cannot reload", &error);
                }
            }
            Event::Ready(LOADED, _) => self.reloaded(runner),
            Event::Signal(Signal::Interrupt | Signal::Terminate) => return Flow::Stop,
            // With --json there is `adit switch show --json` for that.
            Event::Signal(Signal::User1) if !self.panel.output.json => {
                let show = self.show(runner);
                self.panel.write(&super::switch_api::text(&self.panel.output, &show));
            }
            Event::Alarm => {
                self.panel.flush();
                for id in self.mirrors.iter().filter_map(|mirror| mirror.file) {
                    runner.flush_port(id);
                }
                runner.set_alarm(Some(runner.now() + TICK));
            }
            _ => {}
        }
        self.news(runner);
        if self.panel.is_ending { Flow::Stop } else { Flow::Continue }
    }
}

fn detach(runner: &mut Runner<Switch>, running: &Running) {
    if let Some(listener) = running.listener {
        runner.close_listener(listener);
    }
    for (id, _) in &running.ends {
        runner.engine_mut().remove_port(*id);
        runner.detach(*id);
    }
}

/// What one end of a port is to be: those of several are one group, unless they are of another.
fn end_config(wanted: &PortConfig, first: Option<PortId>) -> PortConfig {
    let own = first.map(|first| GroupId(first.0 | OWN_GROUPS));
    PortConfig { group: wanted.group.or(own), ..wanted.clone() }
}

/// What happened, with `{}` for the name of each port.
fn describe(event: &SwitchEvent) -> (Vec<PortId>, String) {
    let vlan = |vlan: &Option<_>| {
        vlan.map_or(String::new(), |vlan: adit_engine::switch::VlanId| format!(" in vlan {vlan}"))
    };
    match event {
        SwitchEvent::PortBlocked { port, cause } => (vec![*port], format!("{{}} blocked: {cause}")),
        SwitchEvent::PortUnblocked { port } => {
            (vec![*port], "{} unblocked: there is no loop any more".to_owned())
        }
        SwitchEvent::MacMoved { vlan: of, mac, from, to } => {
            (vec![*from, *to], format!("{mac}{} moved from {{}} to {{}}", vlan(of)))
        }
        SwitchEvent::MacRefused { vlan: of, mac, owner, port } => {
            (vec![*owner, *port], format!("{mac}{} of {{}} refused on {{}}", vlan(of)))
        }
        SwitchEvent::PortLimit { port } => (vec![*port], "{} has learned all it may".to_owned()),
        SwitchEvent::Storm { port, kind } => (vec![*port], format!("storm of {kind} on {{}}")),
        SwitchEvent::Guarded { port, mac, reason } => {
            (vec![*port], format!("frame from {mac} dropped on {{}}: {reason}"))
        }
        other => (Vec::new(), other.to_string()),
    }
}
