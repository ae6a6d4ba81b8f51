//! `adit dev add`.

use crate::commands::dev::list;
use crate::commands::dev::values;
use crate::commands::dev::values::{LinkArgs, ModeArg};
use crate::context::Context;
use crate::exit::Exit;
use adit_device::netlink::{Address, IpFamily, LinkInfo, Route};
use adit_device::{IfIndex, NamePattern};
use adit_runtime::text::user::{Group, User};
use adit_service::error::{Error, Result};
use adit_service::host::action::{Action, OpenDevice};
use adit_service::host::executor::{Executor, HostExecutor};
use adit_service::host::ledger::Ledger;
use std::net::IpAddr;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
The device exists until it is deleted. Without --user and --group it belongs to the user who creates \
it. If the command fails or is killed, it leaves nothing behind.

Examples:
  adit dev add tun0 --mode tun --user alice --addr 192.0.2.1 --peer 192.0.2.2 --mtu 1400 --up
  adit dev add 'tap%d' --mode tap --master br0 --up")]
#[expect(clippy::struct_excessive_bools, reason = "switches of a command line")]
pub(crate) struct Args {
    /// Its name, or a pattern such as 'tap%d' in which the kernel replaces %d by a number
    #[arg(value_parser = values::pattern)]
    name: NamePattern,
    /// IP packets (tun) or Ethernet frames (tap)
    #[arg(short, long, value_name = "tun|tap", hide_possible_values = true)]
    mode: ModeArg,
    /// The user allowed to attach to it
    #[arg(long)]
    user: Option<User>,
    /// The group allowed to attach to it; with --user, both must match
    #[arg(long)]
    group: Option<Group>,
    /// An IP address; repeatable
    #[arg(long, value_name = "CIDR[,nodad]", value_parser = values::address)]
    addr: Vec<Address>,
    /// The address of the remote end
    #[arg(long, value_name = "IP", requires = "addr")]
    peer: Option<IpAddr>,
    /// A route through it; repeatable
    #[arg(long, value_name = "CIDR[,via=IP][,metric=N]", value_parser = values::route)]
    #[arg(requires = "up")]
    route: Vec<Route>,
    #[command(flatten)]
    link: LinkArgs,
    /// Prefix each packet with 4 bytes of packet information
    #[arg(long)]
    pi: bool,
    /// Prefix each packet with a virtio-net header
    #[arg(long)]
    vnet_hdr: bool,
    /// Allow several queues
    #[arg(long)]
    multi_queue: bool,
    /// Process packets from the program with NAPI and GRO
    #[arg(long)]
    napi: bool,
    /// Create it without carrier
    #[arg(long)]
    no_carrier: bool,
    /// Its interface index
    #[arg(long, value_name = "N", value_parser = index)]
    index: Option<IfIndex>,
    /// Its hardware type (ARPHRD number)
    #[arg(long, value_name = "N")]
    link_type: Option<u16>,
    /// Bring it up
    #[arg(long)]
    up: bool,
}

fn index(text: &str) -> Result<IfIndex, String> {
    // The kernel's index is a positive int.
    let number = text.parse().ok().filter(|number| *number <= i32::MAX.unsigned_abs());
    number
        .and_then(IfIndex::new)
        .ok_or_else(|| "not an index: expected a number from 1 to 2147483647".into())
}

impl Args {
    pub(crate) fn run(mut self, context: &Context) -> Result<Exit> {
        self.pair_peer()?;
        let actions = self.actions()?;
        if context.is_rehearsal(&actions)? {
            return Ok(Exit::Ok);
        }
        let info = create(&actions)?;
        if context.output.json {
            print_device(context, info.index)?;
        } else {
            context.output.line(info.name)?;
        }
        Ok(Exit::Ok)
    }

    /// Assigns the peer to the only address of its family.
    fn pair_peer(&mut self) -> Result<()> {
        let Some(peer) = self.peer else { return Ok(()) };
        let family = IpFamily::of(peer);
        let mut same = self.addr.iter_mut().filter(|address| address.local.family() == family);
        match (same.next(), same.next()) {
            (Some(address), None) => {
                address.peer = Some(peer);
                Ok(())
            }
            _ => Err(Error::usage(format!(
                "--peer {peer} needs exactly one --addr of the same family"
            ))),
        }
    }

    /// The actions in order. A new device disappears with its last queue until it is persistent: that
    /// comes last, so that a failure or a kill leaves nothing behind.
    fn actions(self) -> Result<Vec<Action>> {
        let mut actions = vec![Action::OpenDevice(OpenDevice {
            index: self.index,
            packet_info: self.pi,
            vnet_hdr: self.vnet_hdr,
            multi_queue: self.multi_queue,
            napi: self.napi,
            carrier: !self.no_carrier,
            ..OpenDevice::new(self.mode.into(), self.name, true)
        })];
        actions.extend(self.link_type.map(Action::SetLinkType));
        actions.extend(access(self.user, self.group)?);
        actions.extend(self.link.mac.map(Action::SetMac));
        actions.extend(self.link.mtu.map(Action::SetMtu));
        actions.extend(self.link.txqueuelen.map(Action::SetTxQueueLen));
        actions.extend(self.link.alias.map(Action::SetAlias));
        actions.extend(self.link.master.map(|master| Action::SetMaster(Some(master))));
        actions.extend(self.addr.into_iter().map(Action::AddAddress));
        actions.extend(self.up.then_some(Action::SetUp(true)));
        actions.extend(self.route.into_iter().map(Action::AddRoute));
        actions.push(Action::SetPersistent(true));
        Ok(actions)
    }
}

/// Who may attach to a new device: without a user and a group, the user who creates it, since otherwise
/// everybody could.
pub(crate) fn access(user: Option<User>, group: Option<Group>) -> Result<Vec<Action>> {
    let caller = || rustix::process::geteuid().as_raw().to_string().parse().map_err(Error::usage);
    let user = match (user, &group) {
        (None, None) => Some(caller()?),
        (user, _) => user,
    };
    let owner = user.map(Action::SetOwner);
    Ok(owner.into_iter().chain(group.map(Action::SetGroup)).collect())
}

/// Creates a device by a list of actions; describes it as it is after our queue is closed.
pub(crate) fn create(actions: &[Action]) -> Result<LinkInfo> {
    let mut executor = HostExecutor::new(None).strict();
    Ledger::new().apply(&mut executor, actions)?;
    let device = executor.take_device()?;
    let info = device.info()?;
    Ok(info)
}

/// The JSON object of the device with this index.
pub(crate) fn print_device(context: &Context, index: IfIndex) -> Result<()> {
    if let Some(device) = list::with_index(index)? {
        context.output.value(&device)?;
    }
    Ok(())
}
