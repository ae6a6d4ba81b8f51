//! Carries out one action at a time.

use crate::changes::action::{
    Action, OpenDevice, Program, SRC_VALID_MARK, needs_device, route_text, rule_text,
};
use crate::changes::attach::{attach, set_carrier};
use crate::changes::filter::{FilterTable, TableId};
use crate::changes::program;
use crate::changes::stale::kill_switch;
use crate::error::{Error, Kind, Result, SYSTEM};
use adit_device::netlink::{Address, LinkFlags, LinkInfo, Netlink, Route, Rule, raw_errno};
use adit_device::{
    Create, Device, DeviceOptions, Endian, ErrorKind, Link, Netns, OffloadChoice, VnetFormat,
    VnetLen,
};
use adit_runtime::text::netns::open_netns;
use rustix::io::Errno;
use std::io;

/// Changes a host: one request and one reply for each action.
///
/// An executor belongs to one network namespace and to at most one device: the one that
/// [`Action::OpenDevice`] opened. Nothing that crosses this trait is a handle of the caller, except the
/// device, which crosses as a descriptor.
pub trait Executor: Send {
    /// Makes sure that the result of an action is there.
    ///
    /// # Errors
    /// The failure, with the action and the object it was about; then nothing of it was done.
    fn perform(&mut self, action: &Action) -> Result<Outcome>;

    /// The device that was opened. From then on it belongs to the caller, and closes with his last queue.
    ///
    /// # Errors
    /// If no device was opened, or it was taken.
    fn take_device(&mut self) -> Result<Device>;
}

/// What an action did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing: its result was there.
    Unchanged,
    /// A change, and what reverts it; some changes go by themselves.
    Changed {
        /// The action that reverts it.
        undo: Option<Action>,
    },
}

adit_device::wire_enum! { Outcome { 0 = Unchanged, 1 = Changed { undo } } }

impl Outcome {
    /// A change that goes by itself, or stays.
    const DONE: Self = Self::Changed { undo: None };

    const fn undone_by(undo: Action) -> Self {
        Self::Changed { undo: Some(undo) }
    }
}

/// The executor that runs in this process, with its privileges.
#[derive(Debug, Default)]
pub struct HostExecutor {
    netns: Option<Netns>,
    target: Target,
    /// Whether an address, route or rule that is there already is a failure.
    is_strict: bool,
}

/// The device.
#[derive(Debug, Default)]
enum Target {
    #[default]
    None,
    /// Opened and not yet taken.
    Held(Box<Device>),
    /// Taken, or opened by others.
    Link(Link),
}

impl HostExecutor {
    /// For a namespace, or that of the calling thread.
    #[must_use]
    pub fn new(netns: Option<Netns>) -> Self {
        Self { netns, ..Self::default() }
    }

    /// For a device that exists, in the namespace of the calling thread.
    #[must_use]
    pub fn on(link: Link) -> Self {
        Self { target: Target::Link(link), ..Self::default() }
    }

    /// The same for a device in another namespace.
    #[must_use]
    pub fn within(self, netns: Option<Netns>) -> Self {
        Self { netns, ..self }
    }

    /// An address, route or rule that is there already is a failure, as users of single commands expect.
    #[must_use]
    pub fn strict(self) -> Self {
        Self { is_strict: true, ..self }
    }

    /// The device, if there is one.
    #[must_use]
    pub fn link(&self) -> Option<&Link> {
        match &self.target {
            Target::None => None,
            Target::Held(device) => Some(device),
            Target::Link(link) => Some(link),
        }
    }

    fn device(&self) -> Result<&Link> {
        self.link().ok_or_else(no_device)
    }

    fn netlink(&self) -> Result<Netlink> {
        let netlink = self.netns.as_ref().map_or_else(Netlink::open, Netlink::open_in);
        netlink.map_err(|error| Error::io("open", "netlink", &error))
    }

    fn in_netns<T: Send>(&self, work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
        match &self.netns {
            Some(netns) => netns.run(work).and_then(|result| result),
            None => work(),
        }
    }

    fn open_device(&mut self, wanted: &OpenDevice) -> Result<Outcome> {
        let mut options = DeviceOptions::new(wanted.mode)
            .name(wanted.name)
            .create(if wanted.is_new { Create::Exclusive } else { Create::Attach })
            .packet_info(wanted.packet_info)
            .multi_queue(wanted.multi_queue)
            .napi(wanted.napi)
            .carrier(wanted.carrier)
            .nonblocking(true);
        if wanted.vnet_hdr && wanted.offload {
            let format = VnetFormat { len: VnetLen::Legacy, endian: Endian::Native };
            options = options.vnet_hdr(format).offload(OffloadChoice::Auto);
        } else if wanted.vnet_hdr {
            options = options.vnet_hdr(VnetFormat::default());
        }
        if let Some(index) = wanted.index {
            options = options.index(index);
        }
        if let Some(netns) = &self.netns {
            let copy =
                netns.try_clone().map_err(|error| Error::io("use", "the namespace", &error))?;
            options = options.netns(copy);
        }
        self.target = Target::Held(Box::new(options.open()?));
        Ok(Outcome::undone_by(Action::CloseDevice))
    }

    /// Does `work` with a queue of the device: ours, or one that is attached for a moment.
    fn with_queue(&self, work: impl FnOnce(&Device) -> adit_device::Result<()>) -> Result<Outcome> {
        match &self.target {
            Target::Held(device) => work(device)?,
            Target::Link(link) => work(&attach(link)?)?,
            Target::None => return Err(no_device()),
        }
        Ok(Outcome::DONE)
    }

    /// Sets what differs; `old` is what reverts it.
    fn set(
        &self,
        old: impl FnOnce(&LinkInfo) -> Option<Action>,
        set: impl FnOnce(&Link) -> adit_device::Result<()>,
    ) -> Result<Outcome> {
        let link = self.device()?;
        let Some(undo) = old(&link.info()?) else { return Ok(Outcome::Unchanged) };
        set(link)?;
        Ok(Outcome::undone_by(undo))
    }

    /// The settings of the link itself.
    fn set_link(&self, action: &Action) -> Result<Outcome> {
        match action {
            Action::SetLinkType(number) => self.with_queue(|device| device.set_link_type(*number)),
            Action::SetOwner(user) => self.with_queue(|device| device.set_owner(user.uid)),
            Action::SetGroup(group) => self.with_queue(|device| device.set_group(group.gid)),
            Action::SetPersistent(on) => self.with_queue(|device| device.set_persist(*on)),
            Action::MoveTo(netns) => {
                self.device()?.move_to(&open_netns(netns)?)?;
                Ok(Outcome::DONE)
            }
            Action::Rename(name) => self.set(
                |info| (info.name != *name).then_some(Action::Rename(info.name)),
                |link| link.set_name(*name),
            ),
            Action::SetMtu(mtu) => self.set(
                |info| (info.mtu != *mtu).then_some(Action::SetMtu(info.mtu)),
                |link| link.set_mtu(*mtu),
            ),
            Action::SetTxQueueLen(packets) => self.set(
                |info| {
                    let old = info.txqueuelen;
                    (old != *packets).then_some(Action::SetTxQueueLen(old))
                },
                |link| link.set_txqueuelen(*packets),
            ),
            Action::SetGsoMaxSize(bytes) => self.set(
                |info| {
                    let old = info.gso_max_size;
                    (old != *bytes).then_some(Action::SetGsoMaxSize(old))
                },
                |link| link.set_gso_max_size(*bytes),
            ),
            Action::SetMac(mac) => {
                let link = self.device()?;
                let before = link.info()?.address.and_then(|address| address.mac());
                link.set_mac(*mac)?;
                Ok(Outcome::Changed { undo: before.map(Action::SetMac) })
            }
            Action::SetAlias(alias) => {
                let link = self.device()?;
                let before = link.info()?.alias.unwrap_or_default();
                link.set_alias(alias)?;
                let undo = before.into_string().ok().map(Action::SetAlias);
                Ok(Outcome::Changed { undo })
            }
            Action::SetMaster(_) => self.set_master(action),
            Action::SetUp(up) => self.set(
                |info| {
                    let is_up = info.flags.contains(LinkFlags::UP);
                    (is_up != *up).then_some(Action::SetUp(is_up))
                },
                |link| link.set_up(*up),
            ),
            Action::SetCarrier(on) => {
                set_carrier(self.device()?, *on)?;
                Ok(Outcome::DONE)
            }
            other => Err(Error::usage(format!("cannot {other} here"))),
        }
    }

    fn set_master(&self, action: &Action) -> Result<Outcome> {
        let Action::SetMaster(wanted) = action else { return Ok(Outcome::Unchanged) };
        let link = self.device()?;
        let before = match link.info()?.master {
            Some(index) => {
                let found = self.netlink()?.link_by_index(index);
                found.ok().map(|master| master.name)
            }
            None => None,
        };
        if before == *wanted {
            return Ok(Outcome::Unchanged);
        }
        link.set_master(wanted.as_ref())?;
        Ok(Outcome::undone_by(Action::SetMaster(before)))
    }

    /// Whether a refusal is one that the kernel also gives for what is there.
    const fn accepts(&self, kind: ErrorKind) -> bool {
        !self.is_strict && matches!(kind, ErrorKind::Exists | ErrorKind::NotPermitted)
    }

    fn add_address(&self, address: &Address) -> Result<Outcome> {
        let link = self.device()?;
        match link.add_address(address) {
            Ok(()) => Ok(Outcome::undone_by(Action::DeleteAddress(address.clone()))),
            // Without privilege the kernel does not say that the address is there.
            Err(error) => {
                let have = link.addresses().unwrap_or_default();
                let is_there = have.iter().any(|known| known.local == address.local);
                if is_there && self.accepts(error.kind()) {
                    return Ok(Outcome::Unchanged);
                }
                Err(error.into())
            }
        }
    }

    fn add_route(&self, route: &Route) -> Result<Outcome> {
        let undo = || Outcome::undone_by(Action::DeleteRoute(route.clone()));
        if !needs_device(route) {
            return match self.netlink()?.add_route(route) {
                Ok(()) => Ok(undo()),
                Err(error) if is_errno(&error, Errno::EXIST) && !self.is_strict => {
                    Ok(Outcome::Unchanged)
                }
                Err(error) => Err(Error::io("add the route", route_text(route), &error)),
            };
        }
        let link = self.device()?;
        match link.add_route(route) {
            Ok(()) => Ok(undo()),
            Err(error) => {
                let (index, have) = (link.index()?, self.netlink()?.routes(Some(route.table)));
                let is_there = have.unwrap_or_default().iter().any(|known| {
                    known.oif == Some(index) && known.destination == route.destination
                });
                if is_there && self.accepts(error.kind()) {
                    return Ok(Outcome::Unchanged);
                }
                Err(error.into())
            }
        }
    }

    fn delete_route(&self, route: &Route) -> Result<Outcome> {
        if needs_device(route) {
            self.device()?.delete_route(route)?;
        } else {
            let failed = |error| Error::io("delete the route", route_text(route), &error);
            self.netlink()?.delete_route(route).map_err(failed)?;
        }
        Ok(Outcome::undone_by(Action::AddRoute(route.clone())))
    }

    fn add_rule(&self, rule: &Rule) -> Result<Outcome> {
        match self.netlink()?.add_rule(rule) {
            Ok(()) => Ok(Outcome::undone_by(Action::DeleteRule(rule.clone()))),
            Err(error) if is_errno(&error, Errno::EXIST) && !self.is_strict => {
                Ok(Outcome::Unchanged)
            }
            Err(error) => Err(Error::io("add the rule", rule_text(rule), &error)),
        }
    }

    fn delete_rule(&self, rule: &Rule) -> Result<Outcome> {
        let failed = |error| Error::io("delete the rule", rule_text(rule), &error);
        self.netlink()?.delete_rule(rule).map_err(failed)?;
        Ok(Outcome::undone_by(Action::AddRule(rule.clone())))
    }

    fn set_valid_mark(&self, on: bool) -> Result<Outcome> {
        if !on {
            // Another tunnel, or another program, relies on it.
            let rules = self.netlink()?.rules();
            if rules.map_or(true, |rules| rules.iter().any(|rule| rule.fwmark.is_some())) {
                return Ok(Outcome::Unchanged);
            }
        }
        let (old, new) = if on { ("0", "1") } else { ("1", "0") };
        let set = || -> io::Result<bool> {
            let differs = std::fs::read_to_string(SRC_VALID_MARK)?.trim() == old;
            if differs {
                std::fs::write(SRC_VALID_MARK, new)?;
            }
            Ok(differs)
        };
        let changed = self.in_netns(set);
        match changed
            .map_err(|error| Error::io(&format!("write {new} to"), SRC_VALID_MARK, &error))?
        {
            true => Ok(Outcome::undone_by(Action::SetValidMark(!on))),
            false => Ok(Outcome::Unchanged),
        }
    }

    /// Replaces a table in one transaction: there is no moment without its rules.
    fn set_filter(&self, table: &FilterTable) -> Result<Outcome> {
        let id = &table.id;
        // One that stood before us must stand when we fail.
        let stood = id.is_kill_switch() && kill_switch(self.netns.as_ref(), id.device).is_some();
        self.nft(&format!("add table {id}\ndelete table {id}\nadd {table}\n"))?;
        Ok(Outcome::Changed { undo: (!stood).then_some(Action::DeleteFilter(*id)) })
    }

    fn delete_filter(&self, id: &TableId) -> Result<Outcome> {
        // Adding it first makes the deletion succeed where it is gone.
        self.nft(&format!("add table {id}\ndelete table {id}\n"))?;
        Ok(Outcome::DONE)
    }

    /// Runs a script of nft(8) as one transaction, in the namespace.
    fn nft(&self, script: &str) -> Result<()> {
        let words = ["nft", "-f", "-"].map(str::to_owned);
        let run = || Ok(program::run(&words, Some(script)));
        let result =
            self.in_netns(run).map_err(|error| Error::io("enter", "the namespace", &error))?;
        result.map_err(|error| {
            let new = Error::new(Kind::Refused, &SYSTEM, error).object("nft");
            new.hint("The packet filter needs the program nft: install the package nftables.")
        })
    }
}

impl Executor for HostExecutor {
    fn perform(&mut self, action: &Action) -> Result<Outcome> {
        match action {
            Action::OpenDevice(device) => self.open_device(device),
            Action::CloseDevice => {
                self.target = Target::None;
                Ok(Outcome::DONE)
            }
            Action::DeleteDevice(name) => {
                Link::find(name)?.delete()?;
                Ok(Outcome::DONE)
            }
            Action::AddAddress(address) => self.add_address(address),
            Action::DeleteAddress(address) => {
                self.device()?.delete_address(address)?;
                Ok(Outcome::undone_by(Action::AddAddress(address.clone())))
            }
            Action::AddRoute(route) => self.add_route(route),
            Action::DeleteRoute(route) => self.delete_route(route),
            Action::AddRule(rule) => self.add_rule(rule),
            Action::DeleteRule(rule) => self.delete_rule(rule),
            Action::SetValidMark(on) => self.set_valid_mark(*on),
            Action::SetFilter(table) => self.set_filter(table),
            Action::DeleteFilter(id) => self.delete_filter(id),
            Action::Run(program) => run_program(program),
            setting => self.set_link(setting),
        }
    }

    fn take_device(&mut self) -> Result<Device> {
        match std::mem::take(&mut self.target) {
            Target::Held(device) => {
                let name = device.name()?;
                // Without a queue in it: the device must go with the caller's.
                let link = match &self.netns {
                    Some(netns) => Link::find_in(netns, &name)?,
                    None => Link::find(&name)?,
                };
                self.target = Target::Link(link);
                Ok(*device)
            }
            other => {
                self.target = other;
                Err(no_device())
            }
        }
    }
}

fn no_device() -> Error {
    Error::new(Kind::NotFound, &SYSTEM, "no device is open")
}

fn is_errno(error: &io::Error, errno: Errno) -> bool {
    raw_errno(error) == Some(errno.raw_os_error())
}

fn run_program(program: &Program) -> Result<Outcome> {
    program::run(&program.words, program.input.as_deref()).map_err(|error| {
        let object = program.words.first().cloned().unwrap_or_default();
        Error::new(Kind::Refused, &SYSTEM, format!("cannot run {error}")).object(object)
    })?;
    let undo = (!program.undo.is_empty()).then(|| {
        let (words, purpose) = (program.undo.clone(), program.purpose);
        Action::Run(Program { words, input: None, undo: Vec::new(), purpose })
    });
    Ok(Outcome::Changed { undo })
}
