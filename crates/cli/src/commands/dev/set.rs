//! `adit dev set`.

use crate::commands::dev::add;
use crate::commands::dev::find::find;
use crate::commands::dev::values;
use crate::commands::dev::values::{AnyName, LinkArgs, Switch};
use crate::context::Context;
use crate::exit::Exit;
use adit_device::netlink::{Address, Route};
use adit_device::{IfName, Link};
use adit_runtime::text::netns::open_netns;
use adit_runtime::text::user::{Group, User};
use adit_service::error::{Error, Result};
use adit_service::host::action::Action;
use adit_service::host::executor::{Executor, HostExecutor};

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
        let mut executor = HostExecutor::on(link).strict();
        for action in &actions {
            let performed = executor.perform(action);
            performed.map_err(|error| error.after(std::mem::take(&mut done)))?;
            done.push(action.to_string());
        }
        // A device that moved to another namespace cannot be read here.
        if context.output.json
            && !moves
            && let Some(Ok(index)) = executor.link().map(Link::index)
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
        actions.extend(self.user.map(Action::SetOwner));
        actions.extend(self.group.map(Action::SetGroup));
        actions.extend(self.persist.map(|on| Action::SetPersistent(on.into())));
        actions.extend(self.down.then_some(Action::SetUp(false)));
        if let Some(netns) = self.move_to {
            // A wrong name must fail before anything is changed.
            open_netns(&netns)?;
            actions.push(Action::MoveTo(netns));
        }
        actions.extend(self.rename.map(Action::Rename));
        actions.extend(self.link.mtu.map(Action::SetMtu));
        actions.extend(self.link.txqueuelen.map(Action::SetTxQueueLen));
        actions.extend(self.link.mac.map(Action::SetMac));
        actions.extend(self.link.alias.map(Action::SetAlias));
        actions.extend(self.link.master.map(|master| Action::SetMaster(Some(master))));
        actions.extend(self.no_master.then_some(Action::SetMaster(None)));
        actions.extend(self.del_addr.into_iter().map(Action::DeleteAddress));
        actions.extend(self.add_addr.into_iter().map(Action::AddAddress));
        actions.extend(self.up.then_some(Action::SetUp(true)));
        actions.extend(self.carrier.map(|on| Action::SetCarrier(on.into())));
        actions.extend(self.del_route.into_iter().map(any_protocol).map(Action::DeleteRoute));
        actions.extend(self.add_route.into_iter().map(Action::AddRoute));
        Ok(actions)
    }
}

/// Matches the route whatever its protocol: the user identifies it by its destination.
fn any_protocol(route: Route) -> Route {
    Route { protocol: 0, ..route }
}
