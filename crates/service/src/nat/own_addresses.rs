//! The host's own addresses, now and when they change.

use crate::error::{Error, Result};
use crate::nat::wanted::WantedNat;
use adit_device::IfIndex;
use adit_device::netlink::{Event, Monitor, Netlink};
use adit_nat::Gateway;
use adit_runtime::Runner;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

/// How many events are read in one turn; the others stay for the next.
const EVENTS_MAX: usize = 64;

/// The addresses of the network namespace of this process. Readable when some have changed.
#[derive(Debug)]
pub struct OwnAddresses {
    monitor: Monitor,
    /// By interface: two may have the same.
    all: Vec<(IfIndex, IpAddr)>,
}

impl OwnAddresses {
    /// Lists them, and follows their changes.
    ///
    /// # Errors
    /// Those of netlink.
    pub fn new() -> Result<Self> {
        // Before the addresses are listed: none is missed.
        let listed = Monitor::open().and_then(|monitor| Ok(Self { monitor, all: all()? }));
        listed.map_err(|error| Error::io("list", "the host's addresses", &error))
    }

    /// The addresses.
    pub fn list(&self) -> Vec<IpAddr> {
        self.all.iter().map(|&(_, ip)| ip).collect()
    }

    /// Keeps those that have changed out of reach for the inside of a NAT.
    ///
    /// # Errors
    /// No further change will be seen; the loop does not watch them any more.
    pub(super) fn update(
        &mut self,
        runner: &mut Runner<Gateway>,
        wanted: &WantedNat,
    ) -> io::Result<()> {
        let read = self.read();
        match &read {
            Ok(true) => runner.engine_mut().set_policy(wanted.policy(self.list())),
            Ok(false) => {}
            // It would be ready forever.
            Err(_) => runner.unwatch(self),
        }
        read.map(drop)
    }

    /// Reads what has changed. `false`: nothing of the addresses.
    ///
    /// # Errors
    /// No further change will be seen.
    pub fn read(&mut self) -> io::Result<bool> {
        let mut has_changed = false;
        for _ in 0..EVENTS_MAX {
            match self.monitor.recv(Some(Duration::ZERO))? {
                Some(Event::AddressAdded(link, address)) => {
                    let new = (link, address.local.ip());
                    if !self.all.contains(&new) {
                        self.all.push(new);
                        has_changed = true;
                    }
                }
                Some(Event::AddressRemoved(link, address)) => {
                    let gone = (link, address.local.ip());
                    self.all.retain(|one| *one != gone);
                    has_changed = true;
                }
                Some(Event::Lost) => {
                    self.all = all()?;
                    has_changed = true;
                }
                Some(_) => {}
                None => break,
            }
        }
        Ok(has_changed)
    }
}

impl AsFd for OwnAddresses {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.monitor.as_fd()
    }
}

fn all() -> io::Result<Vec<(IfIndex, IpAddr)>> {
    let listed = Netlink::open()?.addresses(None)?;
    Ok(listed.into_iter().map(|(link, address)| (link, address.local.ip())).collect())
}
