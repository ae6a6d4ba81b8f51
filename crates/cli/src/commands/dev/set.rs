//! `adit dev set`.

use crate::commands::dev::find::{find, not_a_device};
use crate::commands::dev::values;
use crate::commands::dev::values::{AnyName, LinkArgs, Switch};
use crate::commands::dev::{add, holders};
use crate::context::Context;
use crate::exit::Exit;
use adit_device::netlink::{Address, LinkChange, LinkInfo, Netlink, Route, TunInfo};
use adit_device::{Cause, Create, Device, DeviceOptions, IfName, Link, MacAddr, Netns, VnetFormat};
use adit_runtime::text::netns::open_netns;
use adit_runtime::text::user::{Group, User};
use adit_service::error::{Error, HELD, Kind, NOT_HELD, Result};
use std::fmt;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Changes are made in the order of this list. The first failure stops the command: earlier changes \
stay and are listed (exit status 8).")]
pub(crate) struct Args {
    /// The device
    name: AnyName,
    #[command(flatten)]
    changes: Changes,
}

#[derive(Debug, clap::Args)]
struct Changes {
    /// The user allowed to attach to it
    #[arg(long)]
    user: Option<User>,
    /// The group allowed to attach to it; with a user, both must match
    #[arg(long)]
    group: Option<Group>,
    /// Keep it when its last queue is closed
    #[arg(long, value_name = "on|off", hide_possible_values = true)]
    persist: Option<Switch>,
    /// Bring it down
    #[arg(long, conflicts_with = "up")]
    down: bool,
    /// Move it to another network namespace
    #[arg(long, value_name = "NS")]
    move_to: Option<String>,
    /// Rename it
    #[arg(long = "name", value_name = "NEW", value_parser = values::name)]
    rename: Option<IfName>,
    #[command(flatten)]
    link: LinkArgs,
    /// Remove it from its bridge
    #[arg(long, conflicts_with = "master")]
    no_master: bool,
    /// Remove an IP address; repeatable
    #[arg(long, value_name = "CIDR", value_parser = values::address)]
    del_addr: Vec<Address>,
    /// Add an IP address; repeatable
    #[arg(long, value_name = "CIDR[,nodad]", value_parser = values::address)]
    add_addr: Vec<Address>,
    /// Bring it up
    #[arg(long)]
    up: bool,
    /// Turn its carrier on or off
    #[arg(long, value_name = "on|off", hide_possible_values = true)]
    carrier: Option<Switch>,
    /// Remove a route; repeatable
    #[arg(long, value_name = "CIDR[,via=IP][,metric=N]", value_parser = values::route)]
    del_route: Vec<Route>,
    /// Add a route through it; repeatable
    #[arg(long, value_name = "CIDR[,via=IP][,metric=N]", value_parser = values::route)]
    add_route: Vec<Route>,
}

/// One change.
#[derive(Debug)]
enum Action {
    Owner(User),
    Group(Group),
    Persist(Switch),
    MoveTo(String, Netns),
    Rename(IfName),
    Mtu(u32),
    TxQueueLen(u32),
    Mac(MacAddr),
    Alias(String),
    Master(Option<IfName>),
    DelAddress(Address),
    AddAddress(Address),
    Up(bool),
    Carrier(Switch),
    DelRoute(Route),
    AddRoute(Route),
}

impl Args {
    pub(crate) fn run(self, context: &Context) -> Result<Exit> {
        let (link, _, _) = find(&self.name)?;
        let moves = self.changes.move_to.is_some();
        let actions = self.changes.actions()?;
        if actions.is_empty() {
            return Err(Error::usage("nothing to change; 'adit dev set --help' lists the options"));
        }
        if context.is_rehearsal(&actions)? {
            return Ok(Exit::Ok);
        }
        let mut done = Vec::new();
        for action in &actions {
            action.run(&link).map_err(|error| error.after(std::mem::take(&mut done)))?;
            done.push(action.to_string());
        }
        // A device that moved to another namespace cannot be read here.
        if context.output.json
            && !moves
            && let Ok(index) = link.index()
        {
            add::print_device(context, index)?;
        }
        Ok(Exit::Ok)
    }
}

impl Changes {
    /// The changes in order: access, while the device is in its old namespace; the move; changes that need
    /// it down; up; changes that need it up.
    fn actions(self) -> Result<Vec<Action>> {
        let mut actions = Vec::new();
        actions.extend(self.user.map(Action::Owner));
        actions.extend(self.group.map(Action::Group));
        actions.extend(self.persist.map(Action::Persist));
        actions.extend(self.down.then_some(Action::Up(false)));
        if let Some(text) = self.move_to {
            let netns = open_netns(&text)?;
            actions.push(Action::MoveTo(text, netns));
        }
        actions.extend(self.rename.map(Action::Rename));
        actions.extend(self.link.mtu.map(Action::Mtu));
        actions.extend(self.link.txqueuelen.map(Action::TxQueueLen));
        actions.extend(self.link.mac.map(Action::Mac));
        actions.extend(self.link.alias.map(Action::Alias));
        actions.extend(self.link.master.map(|master| Action::Master(Some(master))));
        actions.extend(self.no_master.then_some(Action::Master(None)));
        actions.extend(self.del_addr.into_iter().map(Action::DelAddress));
        actions.extend(self.add_addr.into_iter().map(Action::AddAddress));
        actions.extend(self.up.then_some(Action::Up(true)));
        actions.extend(self.carrier.map(Action::Carrier));
        actions.extend(self.del_route.into_iter().map(Action::DelRoute));
        actions.extend(self.add_route.into_iter().map(Action::AddRoute));
        Ok(actions)
    }
}

impl Action {
    fn run(&self, link: &Link) -> Result<()> {
        match self {
            Self::Owner(user) => attach(link)?.set_owner(user.uid)?,
            Self::Group(group) => attach(link)?.set_group(group.gid)?,
            Self::Persist(switch) => attach(link)?.set_persist(bool::from(*switch))?,
            Self::MoveTo(_, netns) => link.move_to(netns)?,
            Self::Rename(name) => link.set_name(*name)?,
            Self::Mtu(mtu) => link.set_mtu(*mtu)?,
            Self::TxQueueLen(packets) => link.set_txqueuelen(*packets)?,
            Self::Mac(mac) => link.set_mac(*mac)?,
            Self::Alias(alias) => link.set_alias(alias)?,
            Self::Master(master) => link.set_master(master.as_ref())?,
            Self::DelAddress(address) => link.delete_address(address)?,
            Self::AddAddress(address) => link.add_address(address)?,
            Self::Up(up) => link.set_up(*up)?,
            Self::Carrier(switch) => set_carrier(link, bool::from(*switch))?,
            Self::DelRoute(route) => link.delete_route(&any_protocol(route))?,
            Self::AddRoute(route) => link.add_route(route)?,
        }
        Ok(())
    }
}

/// Matches the route whatever its protocol: the user identifies it by its destination.
fn any_protocol(route: &Route) -> Route {
    Route { protocol: 0, ..route.clone() }
}

/// Uses netlink: attaching a queue would turn the carrier on, and closing it turn it off again.
fn set_carrier(link: &Link, carrier: bool) -> Result<()> {
    let info = link.info()?;
    let changed = Netlink::open()
        .and_then(|mut netlink| netlink.set_link(info.index, &LinkChange::new().carrier(carrier)));
    changed.map_err(|error| {
        let name = info.name;
        if carrier && !holders::all().contains_key(&name.to_string()) {
            let message = format!("cannot set the carrier of {name}: no program holds the device");
            return Error::new(Kind::Conflict, &NOT_HELD, message).object(name);
        }
        let cause = Cause::of_carrier(&error);
        adit_device::Error::new("set the carrier of", name, cause, error).into()
    })
}

/// Attaches briefly to a device that no program holds.
pub(crate) fn attach(link: &Link) -> Result<Device> {
    let info = link.info()?;
    match &info.tun {
        Some(tun) => attach_as(&info, tun),
        None => Err(not_a_device(info.name, info.kind.as_deref())),
    }
}

fn attach_as(info: &LinkInfo, tun: &TunInfo) -> Result<Device> {
    let name = info.name;
    // The driver refuses a second holder of a single-queue device. It accepts another queue of a
    // multi-queue device, but attaching resets header length and offloads for all of them.
    if tun.queues.unwrap_or(0) + tun.queues_disabled.unwrap_or(0) > 0 {
        let holders = holders::all().remove(&name.to_string()).unwrap_or_default();
        let who = holders.iter().map(|holder| format!("{} ({})", holder.command, holder.pid));
        let who = who.collect::<Vec<_>>().join(", ");
        let who = if who.is_empty() { "another program".to_owned() } else { who };
        let message = format!("cannot attach to {name}: {who} holds a queue of it");
        return Err(Error::new(Kind::Conflict, &HELD, message).object(name));
    }
    let mut options = DeviceOptions::new(tun.mode)
        .name(name.into())
        .create(Create::Attach)
        .packet_info(tun.pi)
        .multi_queue(tun.multi_queue);
    if tun.vnet_hdr {
        options = options.vnet_hdr(VnetFormat::default());
    }
    Ok(options.open()?)
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Owner(user) => write!(f, "set the owner to {user}"),
            Self::Group(group) => write!(f, "set the group to {group}"),
            Self::Persist(switch) => write!(f, "set persistence {switch}"),
            Self::MoveTo(text, _) => write!(f, "move it to namespace {text}"),
            Self::Rename(name) => write!(f, "rename it to {name}"),
            Self::Mtu(mtu) => write!(f, "set the MTU to {mtu}"),
            Self::TxQueueLen(packets) => write!(f, "set the queue length to {packets}"),
            Self::Mac(mac) => write!(f, "set the hardware address to {mac}"),
            Self::Alias(alias) => write!(f, "set the alias to {alias}"),
            Self::Master(Some(master)) => write!(f, "make it a port of {master}"),
            Self::Master(None) => f.write_str("remove it from its bridge"),
            Self::DelAddress(address) => {
                write!(f, "delete address {}", values::address_text(address))
            }
            Self::AddAddress(address) => write!(f, "add address {}", values::address_text(address)),
            Self::Up(true) => f.write_str("bring it up"),
            Self::Up(false) => f.write_str("bring it down"),
            Self::Carrier(switch) => write!(f, "set the carrier {switch}"),
            Self::DelRoute(route) => write!(f, "delete route {}", values::route_text(route)),
            Self::AddRoute(route) => write!(f, "add route {}", values::route_text(route)),
        }
    }
}
