//! The ports of a switch while it runs: opened, changed, taken away, gone.

use crate::error::{Error, Kind, Result};
use crate::event::Event;
use crate::netem::profile::Profiles;
use crate::supervisor::times;
use crate::switch::codes;
use crate::switch::port::WantedPort;
use crate::switch::state::{Running, SwitchService};
use crate::switch::wanted::StaticAddress;
use adit_engine::PortId;
use adit_engine::netem::{Link, Seed};
use adit_engine::switch::{GroupId, PortConfig, Switch};
use adit_runtime::Gone;
use adit_runtime::Hub;
use adit_runtime::Opened;
use adit_runtime::Port;
use adit_runtime::PortNetem;
use adit_runtime::{ListenerId, Runner};

/// The most guests at one listener: far more than one machine runs, and far fewer than a switch has
/// ports.
const GUESTS_MAX: usize = 512;

/// Groups that come from a port with several ends begin here; those of users are below.
const OWN_GROUPS: u16 = 0x8000;

impl SwitchService {
    /// Whether a port can be added: its name is free, and it can be opened now.
    ///
    /// # Errors
    /// [`Kind::Conflict`] or [`Kind::Usage`].
    pub(super) fn check_new(&self, wanted: &WantedPort) -> Result<()> {
        let is_it = |port: &Running| port.gone.is_none() && port.wanted.name == wanted.name;
        if self.ports.iter().any(is_it) {
            let message = format!("a port '{}' already exists", wanted.name);
            return Err(Error::new(Kind::Conflict, &codes::PORT, message));
        }
        if self.is_running && wanted.spec.kind().prefix == "stdio" {
            let message = "a running switch cannot use its standard streams as a port";
            return Err(Error::new(Kind::Usage, &codes::PORT, message).hint(
                "Start it with '--port stdio', or add unix:PATH and join it to a stream of the same \
                 format: 'socat - UNIX-CONNECT:PATH'.",
            ));
        }
        Ok(())
    }

    /// Adds a port that is open; gives its name.
    pub(super) fn add_port(
        &mut self,
        runner: &mut Runner<Switch>,
        mut wanted: WantedPort,
        opened: Opened,
    ) -> Result<String> {
        let opened = match opened {
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
                    self.detach(runner, &running, Runner::detach);
                    return Err(error);
                }
            }
        }
        tracing::debug!(port = running.wanted.name, ends = running.ends.len(), "opened");
        self.ports.retain(|port| port.wanted.name != running.wanted.name);
        let name = running.wanted.name.clone();
        self.ports.push(running);
        self.restore_statics(runner, &name);
        self.set_mirrors(runner).map(|()| name)
    }

    fn add_listener(
        &mut self,
        runner: &mut Runner<Switch>,
        wanted: WantedPort,
        listener: Box<dyn Hub>,
    ) -> Result<String> {
        let listener = runner
            .listen(listener)
            .map_err(|error| Error::io("listen at", &wanted.name, &error))?;
        let name = wanted.name.clone();
        self.ports.retain(|port| port.wanted.name != name);
        self.ports.push(Running { listener: Some(listener), ..Running::new(wanted) });
        self.set_mirrors(runner).map(|()| name)
    }

    /// Somebody came to a listener: a port of its own.
    pub(super) fn accepted(
        &mut self,
        runner: &mut Runner<Switch>,
        listener: ListenerId,
        port: Box<dyn Port>,
    ) {
        let Some(at) = self.ports.iter().position(|port| port.listener == Some(listener)) else {
            return;
        };
        let mut running = self.ports.remove(at);
        if running.ends.len() >= GUESTS_MAX {
            if let Some(count) = running.refused.count(runner.now()) {
                let name = &running.wanted.name;
                let count = times(count);
                let message =
                    format!("{name} has {GUESTS_MAX} guests; another was refused {count}");
                self.events.send(&Event::Failed { message });
            }
        } else {
            running.guests += 1;
            let name = format!("{}#{}", running.wanted.name, running.guests);
            match self.attach(runner, &running, port, false) {
                Ok(id) => {
                    running.ends.push((id, name.clone()));
                    self.events.send(&Event::PortAdded { port: name });
                }
                Err(error) => self.events.failed(&name, &error),
            }
        }
        self.ports.insert(at, running);
        if let Err(error) = self.set_mirrors(runner) {
            self.events.failed("a mirror cannot be restored", &error);
        }
    }

    pub(super) fn listener_gone(&mut self, listener: ListenerId, why: String) {
        let Some(port) = self.ports.iter_mut().find(|port| port.listener == Some(listener)) else {
            return;
        };
        port.listener = None;
        if port.ends.is_empty() {
            port.gone = Some(why.clone());
        }
        let port = port.wanted.name.clone();
        self.events.send(&Event::PortGone { port, reason: why });
    }

    fn attach(
        &mut self,
        runner: &mut Runner<Switch>,
        running: &Running,
        port: Box<dyn Port>,
        is_group: bool,
    ) -> Result<PortId> {
        let taken = |id| runner.engine().port_config(id).is_some() || runner.port(id).is_some();
        let Some(id) = self.numbers.next(taken) else {
            return Err(Error::usage("too many ports"));
        };
        let first = running.ends.first().map_or(id, |(first, _)| *first);
        let config = end_config(&running.wanted.config, is_group.then_some(first));
        let mtu_name = port.name().to_owned();
        runner
            .engine_mut()
            .add_port(id, config)
            .map_err(|error| Error::new(Kind::Refused, &codes::PORT, error).object(&mtu_name))?;
        if let Err(error) = runner.attach(id, port) {
            runner.engine_mut().remove_port(id);
            // The rest of what the loop minds was looked at before.
            if error.kind() == std::io::ErrorKind::AlreadyExists {
                let message = format!("a port to '{mtu_name}' already exists");
                return Err(Error::new(Kind::Conflict, &codes::PORT, message).object(mtu_name));
            }
            return Err(Error::io("use", mtu_name, &error));
        }
        let set = self.set_netem(runner, (id, &mtu_name), running.wanted.netem.as_ref());
        if set.is_err() {
            runner.engine_mut().remove_port(id);
            runner.detach(id);
        }
        set.map(|()| id)
    }

    /// Sets the wanted link of a port; packets in it stay in it where they can.
    fn set_netem(
        &self,
        runner: &mut Runner<Switch>,
        (id, name): (PortId, &str),
        wanted: Option<&Profiles>,
    ) -> Result<()> {
        let wrong = |error| Error::new(Kind::Usage, &codes::PORT, error);
        let now = runner.now();
        let Some(links) = runner.netem_mut(id) else { return Ok(()) };
        let Some(wanted) = wanted else {
            let old = runner.set_netem(id, PortNetem::default());
            self.link_ended(name, &old.unwrap_or_default());
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

    /// Takes all that a port has out of the loop, by `detach`, and the engine.
    pub(super) fn detach(
        &self,
        runner: &mut Runner<Switch>,
        running: &Running,
        detach: impl Fn(&mut Runner<Switch>, PortId) -> Option<PortNetem>,
    ) {
        if let Some(listener) = running.listener {
            runner.close_listener(listener);
        }
        for (id, name) in &running.ends {
            runner.engine_mut().remove_port(*id);
            if let Some(links) = detach(runner, *id) {
                self.link_ended(name, &links);
            }
        }
    }

    /// Takes a port away.
    pub(super) fn remove_port(&mut self, runner: &mut Runner<Switch>, at: usize) -> Result<String> {
        let running = self.ports.remove(at);
        self.detach(runner, &running, Runner::detach);
        self.set_mirrors(runner)?;
        self.remove_own_mirror(runner, &running.wanted)?;
        Ok(running.wanted.name)
    }

    /// Sends a guest of a listener away; it may come again.
    pub(super) fn remove_guest(
        &mut self,
        runner: &mut Runner<Switch>,
        at: usize,
        id: PortId,
    ) -> Result<String> {
        let name = self.name_of(id);
        let Some(running) = self.ports.get_mut(at).filter(|port| port.listener.is_some()) else {
            let message = format!("'{name}' goes only with the port that it is an end of");
            return Err(Error::new(Kind::Conflict, &codes::PORT, message).object(name));
        };
        running.ends.retain(|(end, _)| *end != id);
        runner.engine_mut().remove_port(id);
        if let Some(links) = runner.detach(id) {
            self.link_ended(&name, &links);
        }
        self.set_mirrors(runner).map(|()| name)
    }

    /// Changes a port to what `wanted` says without removing it. Its own mirror is removed if it changes,
    /// and must be added.
    pub(super) fn set_port(
        &mut self,
        runner: &mut Runner<Switch>,
        at: usize,
        wanted: WantedPort,
    ) -> Result<()> {
        let Some(running) = self.ports.get(at) else { return Ok(()) };
        let is_group = running.ends.len() > 1 && running.listener.is_none();
        let first = running.ends.first().map(|(first, _)| *first).filter(|_| is_group);
        for (id, name) in &running.ends {
            let config = end_config(&wanted.config, first);
            if runner.engine().port_config(*id) != Some(&config) {
                runner
                    .engine_mut()
                    .set_port(*id, config)
                    .map_err(|error| Error::new(Kind::Usage, &codes::PORT, error))?;
            }
            if running.wanted.netem != wanted.netem {
                self.set_netem(runner, (*id, name), wanted.netem.as_ref())?;
            }
        }
        let Some(running) = self.ports.get_mut(at) else { return Ok(()) };
        let own = wanted.own_mirror();
        let before = std::mem::replace(&mut running.wanted, wanted);
        if own != before.own_mirror() {
            self.remove_own_mirror(runner, &before)?;
        }
        self.set_mirrors(runner)
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
            return Err(Error::new(Kind::Conflict, &codes::PORT, message));
        };
        let added = runner.engine_mut().fdb_add(entry.vlan, entry.mac, *id);
        added.map_err(|error| Error::new(Kind::Refused, &codes::PORT, error))
    }

    /// Addresses of the file on a port that has come back.
    fn restore_statics(&mut self, runner: &mut Runner<Switch>, name: &str) {
        for entry in self.wanted.statics.clone().iter().filter(|entry| entry.port == name) {
            // One that cannot be was told of at the start.
            let _ = self.add_static(runner, entry);
        }
    }

    pub(super) fn port_gone(
        &mut self,
        runner: &mut Runner<Switch>,
        id: PortId,
        why: &Gone,
        links: &PortNetem,
        counters: &adit_runtime::PortCounters,
    ) {
        if let Some(at) = self.mirrors.iter().position(|mirror| mirror.file == Some(id)) {
            let mirror = self.mirrors.remove(at);
            let (mirror, reason) = (mirror.wanted.to.to_string(), why.to_string());
            self.events.send(&Event::MirrorEnded { mirror, reason });
        } else {
            let name = self.name_of(id);
            let of_engine = runner.engine().counters(id).cloned().unwrap_or_default();
            runner.engine_mut().remove_port(id);
            for port in &mut self.ports {
                if port.ends.iter().any(|(end, _)| *end == id) {
                    port.last = Some((of_engine.clone(), *counters));
                }
                port.ends.retain(|(end, _)| *end != id);
                if port.ends.is_empty() && port.listener.is_none() && port.gone.is_none() {
                    port.gone = Some(why.to_string());
                }
            }
            self.link_ended(&name, links);
            self.events.send(&Event::PortGone { port: name, reason: why.to_string() });
            // Who runs it at the other end of ssh(1) has gone.
            let is_ours = |port: &&Running| port.wanted.spec.kind().prefix == "stdio";
            self.is_stopping |= self.ports.iter().find(is_ours).is_some_and(|p| p.gone.is_some());
        }
        if let Err(error) = self.set_mirrors(runner) {
            self.events.failed("a mirror cannot be restored", &error);
        }
    }

    pub(super) fn set_link(&mut self, runner: &mut Runner<Switch>, id: PortId, up: bool) {
        runner.engine_mut().set_link(id, up);
        runner.flush();
        let port = self.name_of(id);
        self.events.send(&if up { Event::PortUp { port } } else { Event::PortDown { port } });
    }
}

/// The configuration of one end of a port: several ends are one group, unless they have another.
fn end_config(wanted: &PortConfig, first: Option<PortId>) -> PortConfig {
    let own = first.map(|first| GroupId(first.0 | OWN_GROUPS));
    PortConfig { group: wanted.group.or(own), ..wanted.clone() }
}
