//! The nodes of a lab: their namespaces and what is in them.

use crate::keeper::codes::PART;
use crate::keeper::home::{Home, Inside};
use crate::keeper::interface::{self, Kept};
use crate::keeper::order::{InterfaceSpec, NodeKey, NodeSpec, RouteSpec};
use crate::keeper::private::{self, Content};
use adit_device::netlink::{LinkChange, Netlink};
use adit_device::{IfName, Netns};
use adit_service::error::{Error, Kind, Result};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::rc::Rc;

/// Settings of each node: the same on every host, whatever its own are, and addresses that answer at once.
///
/// A host reports its IPv6 groups (MLD) once and not a second time for those that lost it, for a day: a thousand
/// reports on a switch of a thousand ports are a million packets.
const SYSCTLS: [(&str, &str); 7] = [
    ("net.ipv4.conf.all.rp_filter", "0"),
    ("net.ipv4.conf.default.rp_filter", "0"),
    ("net.ipv6.conf.default.accept_dad", "0"),
    ("net.ipv6.conf.default.accept_ra", "0"),
    ("net.ipv6.conf.default.router_solicitations", "0"),
    ("net.ipv6.conf.default.keep_addr_on_down", "1"),
    ("net.ipv6.conf.default.mldv2_unsolicited_report_interval", "86400000"),
];

/// The nodes by their keys.
#[derive(Debug)]
pub(super) struct Nodes {
    home: Home,
    /// The network of the host.
    host: Netns,
    nodes: BTreeMap<NodeKey, Node>,
}

#[derive(Debug)]
struct Node {
    name: String,
    net: Netns,
    /// `None`: its programs see the files of the host.
    content: Option<Content>,
    /// Made when a program starts there first.
    inside: Option<Inside>,
    interfaces: BTreeMap<IfName, Interface>,
    routes: Vec<RouteSpec>,
    /// What programs have added to interfaces that are made again.
    kept: BTreeMap<IfName, Kept>,
}

#[derive(Debug)]
struct Interface {
    spec: InterfaceSpec,
    /// Its name on the host, to which it returns.
    of_host: Option<IfName>,
    is_down: bool,
}

impl Interface {
    const fn new(spec: InterfaceSpec) -> Self {
        Self { spec, of_host: None, is_down: false }
    }
}

impl Node {
    /// A failure of the system on a part of it.
    fn failure(&self, what: &str, object: impl Display, error: &io::Error) -> Error {
        failure(&self.name, what, object, error)
    }

    fn interface(&self, name: IfName) -> Result<&Interface> {
        self.interfaces.get(&name).ok_or_else(|| self.no_interface(name))
    }

    fn interface_mut(&mut self, name: IfName) -> Result<&mut Interface> {
        let missing = self.no_interface(name);
        self.interfaces.get_mut(&name).ok_or(missing)
    }

    fn no_interface(&self, name: IfName) -> Error {
        let message = format!("node '{}' has no interface {name}", self.name);
        Error::new(Kind::NotFound, &PART, message).object(name)
    }
}

fn failure(node: &str, what: &str, object: impl Display, error: &io::Error) -> Error {
    let mut new = Error::io(what, format_args!("{object} of node '{node}'"), error);
    PART.code.clone_into(&mut new.report.code);
    new
}

impl Nodes {
    pub(super) const fn new(home: Home, host: Netns) -> Self {
        Self { home, host, nodes: BTreeMap::new() }
    }

    fn node(&self, key: NodeKey) -> Result<&Node> {
        self.nodes.get(&key).ok_or_else(|| no_node(key))
    }

    fn node_mut(&mut self, key: NodeKey) -> Result<&mut Node> {
        self.nodes.get_mut(&key).ok_or_else(|| no_node(key))
    }

    /// Makes a node; returns the descriptor of its network.
    pub(super) fn make(&mut self, spec: NodeSpec, hosts: Rc<str>) -> Result<i32> {
        let NodeSpec { key, name, forward, sysctls, private, names: _ } = spec;
        if self.nodes.contains_key(&key) {
            return Err(Error::usage(format!("there are two nodes of number {}", key.0)));
        }
        let made = self.home.in_new_net(|| {
            interface::loopback().map_err(|error| failure(&name, "take up", "lo", &error))?;
            let forward = if forward { "1" } else { "0" };
            let always =
                [("net.ipv4.ip_forward", forward), ("net.ipv6.conf.all.forwarding", forward)];
            for (setting, value) in SYSCTLS.into_iter().chain(always) {
                match write_sysctl(setting, value) {
                    // A kernel without IPv6.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    result => result.map_err(|error| {
                        failure(&name, &format!("write {value} to"), setting, &error)
                    })?,
                }
            }
            write_sysctls(&name, &sysctls)
        });
        let (net, set_up) =
            made.map_err(|error| failure(&name, "create", "the network", &error))?;
        set_up?;
        let content = private.map(|private| Content::new(hosts, private));
        // It can be changed as the others can.
        let lo = Interface::new(interface::lo());
        let (interfaces, routes) = (BTreeMap::from([(lo.spec.name, lo)]), Vec::new());
        let number = net.as_fd().as_raw_fd();
        let (inside, kept) = (None, BTreeMap::new());
        self.nodes.insert(key, Node { name, net, content, inside, interfaces, routes, kept });
        Ok(number)
    }

    /// Changes the files of a node.
    pub(super) fn set_private(&mut self, key: NodeKey, content: Content) -> Result<()> {
        let node = self.nodes.get_mut(&key).ok_or_else(|| no_node(key))?;
        if let (Some(inside), Some(before)) = (&node.inside, &node.content) {
            let update = || private::update(&node.name, &content, before);
            let done = self.home.in_node(&node.net, inside, update);
            done.map_err(|error| node.failure("enter", "the mounts", &error))??;
        }
        node.content = Some(content);
        Ok(())
    }

    pub(super) fn forget_neighbors(&self, key: NodeKey) -> Result<()> {
        let node = self.node(key)?;
        // What its programs change meanwhile is theirs.
        self.in_net(node, || Netlink::open()?.flush_neighbors()).map(drop)
    }

    pub(super) fn set_sysctls(&self, key: NodeKey, sysctls: &[(String, String)]) -> Result<()> {
        let node = self.node(key)?;
        self.in_net(node, || write_sysctls(&node.name, sysctls))?
    }

    fn in_net<T>(&self, node: &Node, work: impl FnOnce() -> T) -> Result<T> {
        let entered = self.home.in_net(&node.net, work);
        entered.map_err(|error| node.failure("enter", "the network", &error))
    }

    /// Ends a node: interfaces of the host return, all processes are killed.
    pub(super) fn remove(&mut self, key: NodeKey) -> Result<()> {
        let node = self.nodes.remove(&key).ok_or_else(|| no_node(key))?;
        let result = self.give_back_all(&node);
        kill_all_in(&node.net);
        result
    }

    /// Gives the interfaces of the host back.
    pub(super) fn end(&self) {
        for node in self.nodes.values() {
            // The kernel gives back what it can with the namespace.
            let _ = self.give_back_all(node);
        }
    }

    fn give_back_all(&self, node: &Node) -> Result<()> {
        node.interfaces
            .values()
            .filter_map(|interface| Some((interface, interface.of_host?)))
            .try_for_each(|(interface, name)| self.give_back(node, interface.spec.name, name))
    }

    fn give_back(&self, node: &Node, name: IfName, of_host: IfName) -> Result<()> {
        let moved = self.in_net(node, || {
            let mut netlink = Netlink::open()?;
            let index = netlink.link_by_name(&name)?.index;
            netlink.set_link(index, &LinkChange::new().netns(&self.host).name(of_host))
        });
        moved?.map_err(|error| node.failure("give back", of_host, &error))
    }

    /// Makes a TAP: its queue, and a netlink socket of the node.
    pub(super) fn tap(&mut self, key: NodeKey, spec: InterfaceSpec) -> Result<(OwnedFd, OwnedFd)> {
        let node = self.node(key)?;
        let made = self.in_net(node, || interface::tap(&spec))?;
        let made = made.map_err(|mut error| {
            error.report.message = format!("node '{}': {}", node.name, error.report.message);
            error
        })?;
        self.add(key, spec)?;
        Ok(made)
    }

    /// Makes a veth pair.
    pub(super) fn veth(&mut self, ends: [(NodeKey, InterfaceSpec); 2]) -> Result<()> {
        let [(a_key, a), (b_key, b)] = &ends;
        let (a_node, b_node) = (self.node(*a_key)?, self.node(*b_key)?);
        let made =
            self.in_net(a_node, || Netlink::open()?.add_veth_into(&a.name, &b.name, &b_node.net))?;
        made.map_err(|error| {
            let pair = format!("the link from {} to {} of node '{}',", a.name, b.name, b_node.name);
            a_node.failure("create", pair, &error)
        })?;
        for (node, spec) in [(a_node, a), (b_node, b)] {
            let done = self.in_net(node, || interface::set_up(spec))?;
            done.map_err(|error| {
                // With one end the other one goes.
                let _ = self.in_net(a_node, || interface::remove(&a.name));
                node.failure("set up", spec.name, &error)
            })?;
        }
        self.notice_carriers([(a_node, a.name), (b_node, b.name)])?;
        for (key, spec) in ends {
            self.add(key, spec)?;
        }
        Ok(())
    }

    /// Takes an interface that was made.
    fn add(&mut self, key: NodeKey, spec: InterfaceSpec) -> Result<()> {
        let name = spec.name;
        let node = self.node_mut(key)?;
        node.interfaces.insert(name, Interface::new(spec));
        let Some(kept) = node.kept.remove(&name) else { return Ok(()) };
        let node = self.node(key)?;
        let restored = self.in_net(node, || kept.restore(&name))?;
        restored.map_err(|error| node.failure("find", name, &error))
    }

    /// Notes what programs have added to an interface, for one of that name that is made next.
    pub(super) fn keep(&mut self, key: NodeKey, name: IfName) -> Result<()> {
        let node = self.node(key)?;
        let interface = node.interface(name)?;
        if interface.is_down {
            // It was noted as it went down.
            return Ok(());
        }
        let kept = self.in_net(node, || Kept::of(&interface.spec, &node.routes))?;
        let kept = kept.map_err(|error| node.failure("read", name, &error))?;
        self.node_mut(key)?.kept.insert(name, kept);
        Ok(())
    }

    fn notice_carriers(&self, ends: [(&Node, IfName); 2]) -> Result<()> {
        for (node, name) in ends {
            let noticed = self.in_net(node, || interface::notice_carrier(&name))?;
            noticed.map_err(|error| node.failure("find", name, &error))?;
        }
        Ok(())
    }

    /// Moves an interface of the host into a node.
    pub(super) fn adopt(&mut self, name: IfName, key: NodeKey, spec: InterfaceSpec) -> Result<()> {
        let node = self.node(key)?;
        let moved = self.home.in_net(&self.host, || {
            let mut netlink = Netlink::open()?;
            let index = netlink.link_by_name(&name)?.index;
            netlink.set_link(index, &LinkChange::new().netns(&node.net).name(spec.name))
        });
        moved.and_then(|moved| moved).map_err(|error| {
            let new = node.failure("move to a namespace", format_args!("interface {name}"), &error);
            if new.kind != Kind::Permission {
                return new;
            }
            new.hint("Only root may move an interface of the host: run the lab as root.")
        })?;
        let done = self.in_net(node, || interface::set_up(&spec))?;
        done.map_err(|error| {
            // The first failure is the one to report.
            let _ = self.give_back(node, spec.name, name);
            node.failure("set up", spec.name, &error)
        })?;
        let interface = Interface { of_host: Some(name), ..Interface::new(spec) };
        self.node_mut(key)?.interfaces.insert(interface.spec.name, interface);
        Ok(())
    }

    /// Changes an interface.
    pub(super) fn change(&mut self, key: NodeKey, spec: InterfaceSpec) -> Result<()> {
        let node = self.node(key)?;
        let interface = node.interface(spec.name)?;
        let change = || {
            interface::change(&interface.spec, &spec)?;
            if interface.is_down { Ok(()) } else { interface::restore(&spec, &node.routes) }
        };
        let done = self.in_net(node, change)?;
        done.map_err(|error| node.failure("change", spec.name, &error))?;
        let name = spec.name;
        self.node_mut(key)?.interface_mut(name)?.spec = spec;
        Ok(())
    }

    /// Removes an interface; with one end of a veth the other one goes.
    pub(super) fn remove_interface(&mut self, key: NodeKey, name: IfName) -> Result<()> {
        let node = self.node(key)?;
        match node.interface(name)?.of_host {
            Some(of_host) => self.give_back(node, name, of_host)?,
            None => match self.in_net(node, || interface::remove(&name))? {
                // The other end was removed before.
                Err(error) if is_missing(&error) => {}
                done => done.map_err(|error| node.failure("remove", name, &error))?,
            },
        }
        self.node_mut(key)?.interfaces.remove(&name);
        Ok(())
    }

    pub(super) fn set_routes(&mut self, key: NodeKey, routes: Vec<RouteSpec>) -> Result<()> {
        let node = self.node(key)?;
        let failed = |error: io::Error| node.failure("set", "the routes", &error);
        let set = || -> Result<()> {
            let mut netlink = Netlink::open().map_err(failed)?;
            interface::set_routes(&mut netlink, &node.routes, &routes)
                .map_err(|(route, error)| node.failure("set", route_text(&route), &error))
        };
        self.in_net(node, set)??;
        self.node_mut(key)?.routes = routes;
        Ok(())
    }

    /// Takes an interface up or down. What programs have added to it is back when it is up.
    pub(super) fn set_up(&mut self, key: NodeKey, name: IfName, up: bool) -> Result<()> {
        if !up {
            self.keep(key, name)?;
        }
        let node = self.node(key)?;
        let interface = node.interface(name)?;
        let done = self.in_net(node, || {
            interface::set_up_or_down(&name, up)?;
            if !up {
                return Ok(());
            }
            interface::restore(&interface.spec, &node.routes)?;
            node.kept.get(&name).map_or(Ok(()), |kept| kept.restore(&name))
        })?;
        let what = if up { "take up" } else { "take down" };
        done.map_err(|error| node.failure(what, name, &error))?;
        let node = self.node_mut(key)?;
        node.interface_mut(name)?.is_down = !up;
        if up {
            node.kept.remove(&name);
        }
        Ok(())
    }

    /// Does `work` where the programs of a node run.
    pub(super) fn inside<T>(&mut self, key: NodeKey, work: impl FnOnce() -> T) -> Result<T> {
        self.open(key)?;
        let node = self.node(key)?;
        let entered = match &node.inside {
            Some(inside) => self.home.in_node(&node.net, inside, work),
            None => self.home.in_net(&node.net, work),
        };
        entered.map_err(|error| node.failure("enter", "the namespaces", &error))
    }

    /// Descriptors of the network, the mounts and the host name of a node.
    pub(super) fn door(&mut self, key: NodeKey) -> Result<[i32; 3]> {
        self.open(key)?;
        let node = self.node(key)?;
        let inside = node.inside.as_ref().ok_or_else(|| no_node(key))?;
        Ok([node.net.as_fd(), inside.mount.as_fd(), inside.uts.as_fd()].map(|fd| fd.as_raw_fd()))
    }

    /// Makes mounts and host name, unless they are there.
    fn open(&mut self, key: NodeKey) -> Result<()> {
        let node = self.node(key)?;
        if let (None, Some(content)) = (&node.inside, &node.content) {
            let make = || private::make(&node.name, content);
            let made = self.home.returning(|| self.in_net_only(node, make))?;
            self.node_mut(key)?.inside = Some(made);
        }
        Ok(())
    }

    fn in_net_only(&self, node: &Node, work: impl FnOnce() -> Result<Inside>) -> Result<Inside> {
        node.net.enter().map_err(|error| node.failure("enter", "the network", &error))?;
        work()
    }
}

fn no_node(key: NodeKey) -> Error {
    Error::new(Kind::NotFound, &PART, format!("there is no node of number {}", key.0))
}

fn is_missing(error: &io::Error) -> bool {
    let missing = rustix::io::Errno::NODEV.raw_os_error();
    adit_device::netlink::raw_errno(error) == Some(missing)
}

fn route_text(route: &RouteSpec) -> String {
    let via = route.via.map(|via| format!(" via {via}")).unwrap_or_default();
    let by = route.interface.map(|name| format!(" by {name}")).unwrap_or_default();
    format!("the route to {}{via}{by}", route.to)
}

fn write_sysctls(node: &str, sysctls: &[(String, String)]) -> Result<()> {
    for (setting, value) in sysctls {
        write_sysctl(setting, value)
            .map_err(|error| failure(node, &format!("write {value} to"), setting, &error))?;
    }
    Ok(())
}

fn write_sysctl(setting: &str, value: &str) -> io::Result<()> {
    if setting.split(['/', '.']).any(str::is_empty) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // As sysctl(8): with slashes as it is, for interfaces with a dot in their name.
    let path = if setting.contains('/') { setting.to_owned() } else { setting.replace('.', "/") };
    std::fs::write(format!("/proc/sys/{path}"), value)
}

/// Kills all processes in a network namespace.
fn kill_all_in(net: &Netns) {
    let Ok(inode) = net.inode() else { return };
    let wanted = format!("net:[{inode}]");
    let Ok(entries) = std::fs::read_dir("/proc") else { return };
    for entry in entries.flatten() {
        let is_in = std::fs::read_link(entry.path().join("ns/net"))
            .is_ok_and(|link| link.to_str() == Some(&wanted));
        let pid = entry.file_name().to_str().and_then(|name| name.parse().ok());
        if let Some(pid) = pid.filter(|_| is_in).and_then(Pid::from_raw) {
            // It may have ended.
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}
