//! TAPs of a lab: until all are there, none is plugged in.

use crate::live::wiring::{Loop, Wiring};
use adit_device::netlink::Netlink;
use adit_device::{Device, Mode};
use adit_runtime::port::kinds::device::DevicePort;
use adit_service::error::Result;
use adit_topology::model::LinkName;
use std::os::fd::OwnedFd;

/// One that the keeper made for an end of a link.
#[derive(Debug)]
pub(super) struct Tap {
    pub(super) link: LinkName,
    pub(super) end: usize,
    pub(super) queue: OwnedFd,
    pub(super) netlink: OwnedFd,
}

impl Tap {
    fn plug_in(self, wiring: &mut Wiring, runner: &mut Loop) -> Result<()> {
        let Self { link, end, queue, netlink } = self;
        let device = Device::adopt_with(queue, Mode::Tap, Some(Netlink::adopt(netlink)))?;
        let port = DevicePort::new(device)?.unwatched();
        wiring.attach(runner, &link, end, Box::new(port))
    }

    /// Discards what waits there: it was sent before there was a cable.
    fn drain(&self) {
        // The start of each; the kernel discards the rest.
        while rustix::io::read(&self.queue, &mut [0; 128]).is_ok() {}
    }
}

/// Those of a lab that starts.
///
/// A kernel reports the multicast groups of each interface as it comes up (MLD): on a switch with a thousand hosts
/// that would be a million frames, and the first packets of programs would wait behind them for seconds.
#[derive(Debug)]
pub(super) struct Taps {
    waiting: Option<Vec<Tap>>,
}

impl Taps {
    pub(super) const fn new() -> Self {
        Self { waiting: Some(Vec::new()) }
    }

    /// Takes a TAP, and plugs it in if the lab has started.
    pub(super) fn add(&mut self, tap: Tap, wiring: &mut Wiring, runner: &mut Loop) -> Result<()> {
        match &mut self.waiting {
            Some(waiting) => waiting.push(tap),
            None => tap.plug_in(wiring, runner)?,
        }
        Ok(())
    }

    /// Plugs in all that wait, and from now on each as it comes.
    pub(super) fn plug_in(&mut self, wiring: &mut Wiring, runner: &mut Loop) -> Result<()> {
        let waiting = self.waiting.take().unwrap_or_default();
        waiting.iter().for_each(Tap::drain);
        waiting.into_iter().try_for_each(|tap| tap.plug_in(wiring, runner))
    }
}
