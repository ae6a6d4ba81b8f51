//! What a tunnel has changed on its host, and how it changes further.

use crate::host::plan::{Plan, Seen, SeenDevice};
use crate::host::questions::check_name_servers;
use adit_device::netlink::LinkFlags;
use adit_device::{Device, IfName, Link, Netns};
use adit_service::error::{Error, Kind, Result, SYSTEM};
use adit_service::helper::filter_tables;
use adit_service::host::action::{Action, Program, Purpose};
use adit_service::host::executor::Executor;
use adit_service::host::filter::TableId;
use adit_service::host::ledger::Ledger;
use std::fmt;
use std::net::IpAddr;

/// The owner of the ledger and its executor. It lives on a thread of its own while the tunnel runs.
pub struct HostChanges {
    name: IfName,
    netns: Option<Netns>,
    executor: Box<dyn Executor>,
    ledger: Ledger,
    warnings: Vec<String>,
}

impl fmt::Debug for HostChanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostChanges").field("ledger", &self.ledger).finish_non_exhaustive()
    }
}

/// What was found to be missing on the host.
#[derive(Debug, Default)]
pub struct Restored {
    /// What others had removed and is there again.
    pub restored: Vec<String>,
    /// What is missing and cannot be restored, with the reason.
    pub missing: Vec<String>,
    /// The IP MTU of the device now.
    pub mtu: Option<u32>,
}

impl HostChanges {
    /// Nothing was changed yet; `executor` is for `netns`.
    #[must_use]
    pub fn new(name: IfName, netns: Option<Netns>, executor: Box<dyn Executor>) -> Self {
        Self { name, netns, executor, ledger: Ledger::new(), warnings: Vec::new() }
    }

    /// Continues with a device and the [`Self::ledger`] of another process.
    ///
    /// # Errors
    /// The ledger has another format; the device is gone.
    pub fn resume(
        name: IfName,
        netns: Option<Netns>,
        executor: Box<dyn Executor>,
        ledger: &[u8],
    ) -> Result<Self> {
        let ledger = Ledger::decode(ledger).ok_or_else(|| {
            Error::new(Kind::Refused, &SYSTEM, "the list of changes to the host has another format")
        })?;
        Ok(Self { name, netns, executor, ledger, warnings: Vec::new() })
    }

    /// What was changed, for [`Self::resume`].
    #[must_use]
    pub fn ledger(&self) -> Vec<u8> {
        self.ledger.encode()
    }

    /// The network namespace of the device, if it is not that of the program.
    #[must_use]
    pub fn netns(&self) -> Option<&Netns> {
        self.netns.as_ref()
    }

    /// Performs actions that are not undone: hooks, and the removal of stale state.
    ///
    /// # Errors
    /// The first that failed.
    pub fn perform(&mut self, actions: &[Action]) -> Result<()> {
        actions.iter().try_for_each(|action| self.executor.perform(action).map(drop))
    }

    /// Performs the actions of a plan for the first time; returns the device.
    ///
    /// # Errors
    /// The first action that failed; what was done is undone.
    pub fn open(&mut self, plan: &Plan) -> Result<Device> {
        self.apply(&plan.actions)?;
        self.executor.take_device()
    }

    /// The state of the host without what this tunnel has changed.
    ///
    /// # Errors
    /// Those of netlink.
    pub fn seen(&self) -> Result<Seen> {
        let ours: Vec<&Action> = self.ledger.actions().collect();
        let seen = Seen::read(self.netns.as_ref(), &self.name, &ours)?;
        let open = ours.iter().find_map(|action| match action {
            Action::OpenDevice(open) => Some(open.clone()),
            _ => None,
        });
        let device = open.map_or(SeenDevice::Missing, SeenDevice::Open);
        Ok(Seen { device, ..seen })
    }

    /// Makes the host as the actions of another plan say.
    ///
    /// # Errors
    /// The first action that failed; then the host is as it was.
    pub fn apply(&mut self, actions: &[Action]) -> Result<()> {
        if !actions.iter().any(|action| is_kill_switch(self.name, action)) {
            self.release_kill_switch();
        }
        let changed = self.ledger.apply(&mut *self.executor, actions)?;
        self.warnings.extend(self.ledger.take_warnings());
        self.warnings.extend(self.check_name_servers(&changed));
        Ok(())
    }

    /// Creates the device again, with everything that was on it, after somebody deleted it.
    ///
    /// # Errors
    /// The first action that failed.
    pub fn recreate(&mut self, mtu: u32) -> Result<Device> {
        let mut wanted = self.ledger.device_is_gone();
        for action in &mut wanted {
            if let Action::SetMtu(old) = action {
                *old = mtu;
            }
        }
        self.apply(&wanted)?;
        self.executor.take_device()
    }

    /// Restores addresses, routes, rules and tables of the packet filter that others have removed. While
    /// the device is down, only the packet filter is: the administrator has set it down.
    pub fn restore(&mut self) -> Restored {
        let link = match &self.netns {
            Some(netns) => Link::find_in(netns, &self.name),
            None => Link::find(&self.name),
        };
        let info = link.and_then(|link| link.info()).ok();
        let mtu = info.as_ref().map(|info| info.mtu);
        let is_up = info.as_ref().is_some_and(|info| info.flags.contains(LinkFlags::UP));
        let has_filter = self.ledger.actions().any(|action| matches!(action, Action::SetFilter(_)));
        let tables = if has_filter { filter_tables(self.netns.as_ref()) } else { Vec::new() };
        let may_miss = |action: &Action| match action {
            Action::SetFilter(table) => !tables.contains(&table.id),
            Action::AddAddress(_) | Action::AddRoute(_) | Action::AddRule(_) => is_up,
            _ => false,
        };
        let (restored, mut missing) = self.ledger.restore(&mut *self.executor, may_miss);
        if info.is_some() && !is_up {
            missing.push(format!("the device {} is down", self.name));
        }
        let restored = restored.iter().map(ToString::to_string).collect();
        Restored { restored, missing, mtu }
    }

    /// What failed and was no reason to end, since the last call.
    pub fn take_warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
    }

    /// Leaves the kill switch when everything else is undone; `false` if there is none.
    pub fn keep_kill_switch(&mut self) -> bool {
        let name = self.name;
        self.ledger.set_undo(|action| is_kill_switch(name, action), None);
        self.ledger.actions().any(|action| is_kill_switch(name, action))
    }

    /// Removes the kill switch when everything is undone, also one that stood before the start.
    pub fn release_kill_switch(&mut self) {
        let (name, undo) = (self.name, Action::DeleteFilter(TableId::kill_switch(self.name)));
        self.ledger.set_undo(|action| is_kill_switch(name, action), Some(&undo));
    }

    /// Undoes everything in reverse; returns what could not be undone.
    pub fn undo(&mut self) -> Vec<String> {
        self.ledger.undo(&mut *self.executor)
    }

    fn check_name_servers(&self, changed: &[Action]) -> Option<String> {
        let is_dns = |action: &&Action| {
            matches!(action, Action::Run(Program { purpose: Purpose::NameServers, .. }))
        };
        let Some(Action::Run(program)) = changed.iter().find(is_dns) else { return None };
        let words = program.words.iter().map(String::as_str);
        let input = program.input.as_deref().unwrap_or_default();
        let servers: Vec<IpAddr> =
            words.chain(input.split_whitespace()).filter_map(|word| word.parse().ok()).collect();
        check_name_servers(self.name, &servers)
    }
}

fn is_kill_switch(name: IfName, action: &Action) -> bool {
    matches!(action, Action::SetFilter(table) if table.id == TableId::kill_switch(name))
}
