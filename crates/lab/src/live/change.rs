//! Carries a difference between two plans out: orders to the keeper, and changes of the loop.

use crate::keeper::{InterfaceSpec, NodeKey, NodeSpec, Order, Private};
use crate::live::complete;
use crate::live::diff::{self, Diff, HostDiff};
use crate::live::prepared::Prepared;
use crate::live::service::LabService;
use crate::live::tasks::{Purpose, TaskId};
use crate::live::wiring::{Loop, NewLink, Stop};
use adit_engine::switch::SwitchConfig;
use adit_service::error::Result;
use adit_service::supervisor::seed;
use adit_topology::model::{Host, Kind, NodeName};
use adit_topology::plan::{Medium, Plan, Station};
use std::collections::BTreeSet;

/// What programs of a host see that is not as in the host of the lab.
fn private(station: &Station, host: Option<&Host>) -> Private {
    Private {
        hosts: station.hosts.to_string(),
        resolv_conf: station.resolv_conf().unwrap_or_default(),
        files: host.map_or_else(Vec::new, |host| host.files.clone()),
    }
}

fn sysctls(host: &Host) -> Vec<(String, String)> {
    host.sysctls.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
}

impl LabService {
    /// Gives all orders that lead to the new plan, and changes the loop.
    ///
    /// # Errors
    /// The engine refuses a part; orders that were given are carried out.
    pub(super) fn change(
        &mut self,
        runner: &mut Loop,
        task: TaskId,
        old: Option<&Plan>,
        plan: &Plan,
        diff: &Diff,
        mut prepared: Prepared,
    ) -> Result<()> {
        let mut done = Vec::new();
        self.guests = prepared.guests.clone();
        if let Some(old) = old {
            self.forget_routes(task, old, plan, diff);
        }
        for name in &diff.gone_links {
            self.captures.remove(runner, name);
            let removed = self.wiring.remove(runner, name);
            if diff.remade_links.contains(name) {
                self.keep(task, &removed);
                done.push(format!("link {name} made again"));
            } else {
                done.push(format!("link {name} removed"));
            }
            for order in removed {
                self.order(task, order, Purpose::Plain);
            }
        }
        for name in &diff.gone_nodes {
            self.remove_node(runner, task, name);
            done.push(format!("node {name} removed"));
        }
        for &node in &diff.new_nodes {
            self.add_node(runner, task, plan, node)?;
            done.push(format!("node {} added", plan.lab.nodes[node].name));
        }
        for &node in &diff.switches {
            let node = &plan.lab.nodes[node];
            if let Kind::Switch(config) = &node.kind {
                self.wiring.set_switch(runner, &node.name, (**config).clone())?;
                done.push(format!("switch {} changed", node.name));
            }
        }
        for &link in &diff.new_links {
            self.add_link(runner, task, plan, link, &mut prepared)?;
            let name = &plan.lab.links[link].name;
            if !diff.remade_links.contains(name) {
                done.push(format!("link {name} added"));
            }
        }
        for &link in &diff.links {
            let link = &plan.lab.links[link];
            self.wiring.set_ports(runner, link)?;
            self.wiring.set_netem(runner, &link.name, link.netem.clone().unwrap_or_default())?;
            done.push(format!("link {} changed", link.name));
        }
        for host in &diff.hosts {
            self.change_host(task, plan, host);
            done.push(format!(
                "host {} changed",
                plan.lab.nodes[plan.stations[host.station].node].name
            ));
        }
        // Once all interfaces are up.
        for station in &plan.stations {
            if diff.new_nodes.contains(&station.node) {
                self.finish_host(task, plan, station);
            }
        }
        if let Some(task) = self.tasks.get_mut(task).filter(|_| old.is_some()) {
            task.done = done;
        }
        Ok(())
    }

    /// Routes by interfaces that go: the kernel removes them, and the keeper must know.
    fn forget_routes(&mut self, task: TaskId, old: &Plan, plan: &Plan, diff: &Diff) {
        let gone: BTreeSet<_> = diff.gone_links.iter().collect();
        for host in &diff.hosts {
            let name = &plan.lab.nodes[plan.stations[host.station].node].name;
            let (Some(key), Some(before)) = (self.nodes.key(name), old.station(name)) else {
                continue;
            };
            let is_gone = |at: usize| {
                let link = before.interfaces.get(at).map(|interface| interface.link.0);
                link.is_none_or(|link| gone.contains(&old.lab.links[link].name))
            };
            if before.routes.iter().any(|route| is_gone(route.interface)) {
                let all = diff::routes(before).into_iter().zip(before.routes.iter());
                let kept = all.filter(|(_, route)| !is_gone(route.interface));
                let kept = kept.map(|(route, _)| route).collect();
                self.order(task, Order::Routes(key, kept), Purpose::Plain);
            }
        }
    }

    /// What programs have added to interfaces that are made again is there again.
    fn keep(&mut self, task: TaskId, removed: &[Order]) {
        for order in removed {
            if let Order::RemoveInterface(node, interface) = order {
                self.order(task, Order::Keep(*node, *interface), Purpose::Plain);
            }
        }
    }

    fn remove_node(&mut self, runner: &mut Loop, task: TaskId, name: &NodeName) {
        self.wiring.remove_switch(runner, name);
        self.stop_programs(runner, task, name, &[]);
        if let Some(key) = self.nodes.remove(name) {
            self.order(task, Order::RemoveNode(key), Purpose::Plain);
        }
    }

    fn stop_programs(
        &mut self,
        runner: &Loop,
        task: TaskId,
        name: &NodeName,
        keep: &[adit_topology::model::Program],
    ) {
        let (orders, logs) = self.programs.remove(name, keep);
        logs.iter().filter_map(|log| log.pipe()).for_each(|pipe| runner.unwatch(pipe));
        for order in orders {
            self.order(task, order, Purpose::Plain);
        }
    }

    fn add_node(
        &mut self,
        runner: &mut Loop,
        task: TaskId,
        plan: &Plan,
        node: usize,
    ) -> Result<()> {
        let node = &plan.lab.nodes[node];
        let name = &node.name;
        match &node.kind {
            Kind::Switch(config) => {
                self.nodes.add(name.clone(), false);
                // It names the switch in probes, and keys the hash of its table.
                let config = SwitchConfig { seed: seed()?, ..(**config).clone() };
                self.wiring.add_switch(runner, name.clone(), config)?;
            }
            Kind::Host(_) | Kind::Guest(_) => {
                let (Some(key), Some(station)) =
                    (self.nodes.add(name.clone(), true), plan.station(name))
                else {
                    return Ok(());
                };
                let host = node.as_host();
                let spec = NodeSpec {
                    key,
                    name: name.to_string(),
                    forward: host.is_some_and(|host| host.forward),
                    sysctls: host.map_or_else(Vec::new, sysctls),
                    // QEMU has the files of the host.
                    private: (!node.is_guest()).then(|| private(station, host)),
                    names: if self.keeper.is_rootless() || node.is_guest() {
                        Vec::new()
                    } else {
                        vec![format!("{}-{name}", self.name), name.to_string()]
                    },
                };
                self.order(task, Order::Node(Box::new(spec)), Purpose::Node(name.clone()));
                for program in host.map_or(&[][..], |host| &host.programs) {
                    self.programs.add((key, name.clone()), program.clone());
                }
                if let Some((program, ready)) = self.guests.program(plan, name, key) {
                    self.programs.add_guest((key, name.clone()), program, ready);
                }
            }
            Kind::Nat(_) | Kind::Outside(_) => {
                self.nodes.add(name.clone(), false);
            }
        }
        Ok(())
    }

    fn add_link(
        &mut self,
        runner: &mut Loop,
        task: TaskId,
        plan: &Plan,
        at: usize,
        prepared: &mut Prepared,
    ) -> Result<()> {
        let (link, cable) = (&plan.lab.links[at], &plan.cables[at]);
        let is_veth = cable.medium == Medium::Veth;
        let mut interfaces: Vec<(NodeKey, InterfaceSpec)> = Vec::new();
        let mut stop = |end: usize| {
            let wanted = &link.ends[end];
            if let Some(opened) = prepared.take((at, end)) {
                return Some(Stop::Opened(opened));
            }
            let Some(key) = self.nodes.key(&wanted.node) else {
                return Some(Stop::Switch(Box::new(wanted.port.clone())));
            };
            let station = plan.station(&wanted.node)?;
            let place = station.interfaces.iter().position(|one| one.link == (at, end))?;
            let spec = diff::interfaces(station).nth(place)?;
            let name = spec.name;
            interfaces.push((key, spec));
            Some(Stop::Interface(key, name))
        };
        let (Some(a), Some(b)) = (stop(0), stop(1)) else { return Ok(()) };
        let is_interface = [&a, &b].map(|stop| matches!(stop, Stop::Interface(..)));
        let new = NewLink {
            name: link.name.clone(),
            nodes: link.ends.each_ref().map(|end| end.node.clone()),
            ends: [a, b],
            is_veth,
            netem: link.netem.clone(),
            seed: cable.seed,
        };
        if is_veth && let Ok(ends) = <[_; 2]>::try_from(interfaces.clone()) {
            self.order(task, Order::Veth(Box::new(ends)), Purpose::Plain);
        } else {
            let ends = (0..2).filter(|end| is_interface[*end]);
            for (end, (key, spec)) in ends.zip(interfaces) {
                self.order(task, Order::Tap(key, spec), Purpose::Tap(link.name.clone(), end));
            }
        }
        self.wiring.add(runner, new)
    }

    fn change_host(&mut self, task: TaskId, plan: &Plan, diff: &HostDiff) {
        let station = &plan.stations[diff.station];
        let node = &plan.lab.nodes[station.node];
        let (Some(key), Some(host)) = (self.nodes.key(&node.name), node.as_host()) else { return };
        if diff.private {
            self.order(task, Order::Private(key, private(station, Some(host))), Purpose::Plain);
        }
        if diff.sysctls {
            let forward = if host.forward { "1" } else { "0" };
            let mut all: Vec<(String, String)> =
                ["net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"]
                    .map(|setting| (setting.to_owned(), forward.to_owned()))
                    .into();
            all.extend(sysctls(host));
            self.order(task, Order::Sysctls(key, all), Purpose::Plain);
        }
        for (place, spec) in diff::interfaces(station).enumerate() {
            if diff.interfaces.contains(&place) {
                self.order(task, Order::Interface(key, spec), Purpose::Plain);
            }
        }
        if diff.loopback {
            self.order(task, Order::Interface(key, diff::loopback(station)), Purpose::Plain);
        }
        if diff.routes {
            self.set_routes(task, plan, station);
        }
        if diff.masquerade {
            self.masquerade(task, plan, station);
        }
        if diff.programs {
            let before = self.programs.of(&node.name);
            let (orders, _) = self.programs.remove(&node.name, &host.programs);
            for order in orders {
                self.order(task, order, Purpose::Plain);
            }
            for program in host.programs.iter().filter(|program| !before.contains(program)) {
                self.programs.add((key, node.name.clone()), program.clone());
            }
        }
    }

    /// What needs the interfaces of a new host.
    fn finish_host(&mut self, task: TaskId, plan: &Plan, station: &Station) {
        let Some(key) = self.nodes.key(&plan.lab.nodes[station.node].name) else { return };
        if !station.loopback.is_empty() {
            self.order(task, Order::Interface(key, diff::loopback(station)), Purpose::Plain);
        }
        if !station.routes.is_empty() {
            self.set_routes(task, plan, station);
        }
        if station.masquerade.is_some() {
            self.masquerade(task, plan, station);
        }
    }

    fn masquerade(&mut self, task: TaskId, plan: &Plan, station: &Station) {
        if let Some(key) = self.nodes.key(&plan.lab.nodes[station.node].name) {
            let command = complete::masquerade(key, station);
            self.order(task, Order::Command(Box::new(command)), Purpose::Command);
        }
    }

    fn set_routes(&mut self, task: TaskId, plan: &Plan, station: &Station) {
        if let Some(key) = self.nodes.key(&plan.lab.nodes[station.node].name) {
            self.order(task, Order::Routes(key, diff::routes(station)), Purpose::Plain);
        }
    }
}
