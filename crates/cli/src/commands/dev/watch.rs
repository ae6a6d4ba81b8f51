//! `adit dev watch`.

use crate::commands::dev::holders::{self, Found};
use crate::commands::dev::list;
use crate::commands::dev::model::{Addr, Device};
use crate::context::Context;
use crate::exit::Exit;
use crate::output::{Output, Tone, clean};
use adit_device::IfIndex;
use adit_device::netlink::{Address, Event as Change, Monitor};
use adit_service::error::{Error, Result};
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Prints the existing devices first, as 'present', so that no change is missed in between. With --json \
each line is an object. Runs until Ctrl-C.")]
pub(crate) struct Args {}

/// The most changes handled at once. Device holders are looked up once for all of them.
const CHANGES_MAX: usize = 1024;

/// What happened to a device.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(tag = "event", rename_all = "kebab-case")]
#[schemars(title = "adit dev watch: one line")]
pub(crate) enum Event {
    /// It existed when the watch began, or after events were lost.
    Present { device: Box<Device> },
    /// It was created, or moved into this namespace.
    Added { device: Box<Device> },
    /// It changed.
    Changed { device: Box<Device> },
    /// It was deleted, or moved to another namespace.
    Removed { ifindex: u32, ifname: String },
    /// An address was added, or its flags changed.
    AddressAdded { ifindex: u32, ifname: String, address: Addr },
    /// An address was removed.
    AddressRemoved { ifindex: u32, ifname: String, address: Addr },
    /// Events arrived faster than they were read; all devices follow as `present`.
    Lost,
}

impl Args {
    pub(crate) fn run(self, context: &Context) -> Result<Exit> {
        let failed = |error| Error::io("watch", "the interfaces", &error);
        // Listen first, then list: nothing falls between.
        let mut monitor = Monitor::open().map_err(failed)?;
        let mut watch = Watch { known: BTreeMap::new(), output: &context.output };
        watch.list()?;
        loop {
            let mut changes = Vec::from_iter(monitor.recv(None).map_err(failed)?);
            while changes.len() < CHANGES_MAX
                && let Some(change) = monitor.recv(Some(Duration::ZERO)).map_err(failed)?
            {
                changes.push(change);
            }
            watch.take_all(changes)?;
        }
    }
}

/// The devices as last printed.
struct Watch<'a> {
    known: BTreeMap<IfIndex, Device>,
    output: &'a Output,
}

impl Watch<'_> {
    fn list(&mut self) -> Result<()> {
        self.known.clear();
        for device in list::all(false)? {
            self.print(&Event::Present { device: Box::new(device.clone()) })?;
            if let Some(index) = IfIndex::new(device.ifindex) {
                self.known.insert(index, device);
            }
        }
        Ok(())
    }

    fn take_all(&mut self, changes: Vec<Change>) -> Result<()> {
        let of_device = |change: &Change| match change {
            Change::LinkChanged(link) => link.tun.is_some(),
            _ => false,
        };
        let mut holders = Found::default();
        if changes.iter().any(of_device) {
            holders = holders::find(None);
        }
        changes.into_iter().try_for_each(|change| self.take(change, &holders))
    }

    fn take(&mut self, change: Change, holders: &Found) -> Result<()> {
        match change {
            Change::LinkChanged(link) => {
                if link.tun.is_none() {
                    return Ok(());
                }
                // If they cannot be read, the device is gone, and the next event reports that.
                let around = list::around(&link, holders.clone()).unwrap_or_default();
                let Some(device) = Device::new(&link, &around) else { return Ok(()) };
                let boxed = Box::new(device.clone());
                let event = match self.known.insert(link.index, device) {
                    None => Event::Added { device: boxed },
                    Some(before) if before == *boxed => return Ok(()),
                    Some(_) => Event::Changed { device: boxed },
                };
                self.print(&event)
            }
            Change::LinkRemoved(link) => match self.known.remove(&link.index) {
                Some(Device { ifindex, ifname, .. }) => {
                    self.print(&Event::Removed { ifindex, ifname })
                }
                None => Ok(()),
            },
            Change::AddressAdded(index, address) => self.address(index, &address, true),
            Change::AddressRemoved(index, address) => self.address(index, &address, false),
            Change::Lost => {
                self.print(&Event::Lost)?;
                self.list()
            }
            _ => Ok(()),
        }
    }

    fn address(&mut self, index: IfIndex, address: &Address, added: bool) -> Result<()> {
        let Some(device) = self.known.get(&index) else { return Ok(()) };
        let (ifindex, ifname, address) =
            (device.ifindex, device.ifname.clone(), Addr::new(address));
        self.print(&if added {
            Event::AddressAdded { ifindex, ifname, address }
        } else {
            Event::AddressRemoved { ifindex, ifname, address }
        })
    }

    fn print(&self, event: &Event) -> Result<()> {
        if self.output.json {
            self.output.value(event)?;
        } else {
            self.output.line(text(self.output, event))?;
        }
        Ok(())
    }
}

fn text(output: &Output, event: &Event) -> String {
    let name = |name: &str| output.paint(Tone::Name, name);
    match event {
        Event::Present { device } => format!("{} present: {}", name(&device.ifname), brief(device)),
        Event::Added { device } => format!("{} added: {}", name(&device.ifname), brief(device)),
        Event::Changed { device } => format!("{} changed: {}", name(&device.ifname), brief(device)),
        Event::Removed { ifname, .. } => format!("{} removed", name(ifname)),
        Event::AddressAdded { ifname, address, .. } => {
            format!("{} address added: {}", name(ifname), address.text())
        }
        Event::AddressRemoved { ifname, address, .. } => {
            format!("{} address removed: {}", name(ifname), address.text())
        }
        Event::Lost => "events were lost".to_owned(),
    }
}

fn brief(device: &Device) -> String {
    let data = &device.linkinfo.info_data;
    let mut text = format!(
        "{} <{}> mtu {} txqueuelen {}",
        data.r#type,
        device.flags.join(","),
        device.mtu,
        device.txqlen
    );
    if let Some(master) = &device.master {
        text.push_str(&format!(" master {master}"));
    }
    if let Some(user) = &data.user {
        text.push_str(&format!(" user {}", clean(&user.to_string())));
    }
    for holder in &device.holders {
        text.push_str(&format!(" held by {}({})", clean(&holder.command), holder.pid));
    }
    text
}
