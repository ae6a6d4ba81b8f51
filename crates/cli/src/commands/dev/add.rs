//! `adit dev add`.

use crate::commands::dev::list;
use crate::commands::dev::values;
use crate::commands::dev::values::{LinkArgs, ModeArg};
use crate::context::Context;
use crate::exit::Exit;
use adit_device::netlink::{Address, IpFamily, Route};
use adit_device::{DeviceOptions, IfIndex, NamePattern, VnetFormat};
use adit_runtime::text::user::{Group, User};
use adit_service::error::{Error, Result};
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
        if context.is_rehearsal(&self.actions())? {
            return Ok(Exit::Ok);
        }
        let device = self.options().open()?;
        let info = device.info()?;
        // Show the device as it is after our queue is closed.
        drop(device);
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

    fn options(&self) -> DeviceOptions {
        let mut options = DeviceOptions::new(self.mode.into())
            .name(self.name)
            .packet_info(self.pi)
            .multi_queue(self.multi_queue)
            .napi(self.napi)
            .carrier(!self.no_carrier)
            .persist(true);
        if self.vnet_hdr {
            options = options.vnet_hdr(VnetFormat::default());
        }
        if let Some(index) = self.index {
            options = options.index(index);
        }
        if let Some(arphrd) = self.link_type {
            options = options.link_type(arphrd);
        }
        if let Some(user) = &self.user {
            options = options.owner(user.uid);
        }
        if let Some(group) = &self.group {
            options = options.group(group.gid);
        }
        self.link_options(options)
    }

    fn link_options(&self, mut options: DeviceOptions) -> DeviceOptions {
        if let Some(mac) = self.link.mac {
            options = options.mac(mac);
        }
        if let Some(mtu) = self.link.mtu {
            options = options.mtu(mtu);
        }
        if let Some(packets) = self.link.txqueuelen {
            options = options.txqueuelen(packets);
        }
        if let Some(alias) = &self.link.alias {
            options = options.alias(alias);
        }
        if let Some(master) = self.link.master {
            options = options.master(master);
        }
        for address in &self.addr {
            options = options.address(address.clone());
        }
        for route in &self.route {
            options = options.route(route.clone());
        }
        if self.up { options.up(true) } else { options }
    }

    /// The actions of [`Args::run`], in order.
    fn actions(&self) -> Vec<String> {
        let mode = adit_device::Mode::from(self.mode);
        let with = [
            (self.pi, "packet information"),
            (self.vnet_hdr, "a virtio-net header"),
            (self.multi_queue, "several queues"),
            (self.napi, "NAPI"),
            (self.no_carrier, "no carrier"),
        ];
        let with: Vec<&str> = with.iter().filter(|(on, _)| *on).map(|(_, word)| *word).collect();
        let with =
            if with.is_empty() { String::new() } else { format!(" with {}", with.join(", ")) };
        let index = self.index.map_or(String::new(), |index| format!(" as index {index}"));
        let mut actions = vec![format!("create {mode} device {}{index}{with}", self.name)];
        let mut add = |what: &str, value: Option<String>| {
            actions.extend(value.map(|value| format!("{what} {value}")));
        };
        add("set the link type to", self.link_type.map(|number| number.to_string()));
        let owner = self.user.as_ref().map(ToString::to_string);
        let nobody = owner.is_none() && self.group.is_none();
        let caller = rustix::process::geteuid().as_raw().to_string();
        add("set the owner to", owner.or(nobody.then_some(caller)));
        add("set the group to", self.group.as_ref().map(ToString::to_string));
        add("set the hardware address to", self.link.mac.map(|mac| mac.to_string()));
        add("set the MTU to", self.link.mtu.map(|mtu| mtu.to_string()));
        add("set the queue length to", self.link.txqueuelen.map(|packets| packets.to_string()));
        add("set the alias to", self.link.alias.clone());
        add("make it a port of", self.link.master.map(|master| master.to_string()));
        for address in &self.addr {
            add("add address", Some(values::address_text(address)));
        }
        add("bring it", self.up.then(|| "up".to_owned()));
        for route in &self.route {
            add("add route", Some(values::route_text(route)));
        }
        actions.push("make it persistent".to_owned());
        actions
    }
}

/// The JSON object of the device with this index.
pub(crate) fn print_device(context: &Context, index: IfIndex) -> Result<()> {
    let (_, device) = list::with_index(index, false)?;
    if let Some(device) = device {
        context.output.value(&device)?;
    }
    Ok(())
}
