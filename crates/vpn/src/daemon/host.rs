//! The changes to the host while the tunnel runs: on a thread of their own, and restored when others remove
//! them.
//!
//! ```text
//! netlink events -> wait 200 ms -> restore -> report, wait 1 s, 2 s, ... 60 s before the next
//! recreate, timestamps -> the same thread, one job after another
//! reload -> the supervisor's background thread, which takes turns with this one by a lock
//! ```

use crate::host::changes::{HostChanges, Restored};
use crate::host::timestamps::Save;
use adit_device::Device;
use adit_device::IfName;
use adit_device::netlink::{Event, FilterMonitor, Monitor, ROUTE_PROTOCOL};
use adit_packet::Instant;
use adit_service::error::Result;
use adit_service::event::Events;
use adit_service::host::worker::Worker;
use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How many netlink events are read in one turn; the others stay for the next.
const EVENTS_MAX: usize = 64;

/// How long to wait after an event: what is removed at once is restored at once.
const SETTLE_TIME: Duration = Duration::from_millis(200);

/// How soon after a repair the next may follow. The pause doubles up to the most while something keeps
/// removing our state, and starts again after a quiet minute.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// What a job on the host's thread returns.
#[derive(Debug)]
pub enum HostResult {
    /// The device was created again.
    Recreated(Result<Device>, Vec<String>),
    /// What others removed was restored, as far as possible.
    Restored(Restored),
    /// The timestamps were written.
    Saved(Save, io::Result<()>),
}

/// The changes to the host: of the host's thread, and of the background job of a reload.
pub type SharedChanges = Arc<Mutex<HostChanges>>;

/// Locks the changes. The loop never does it while a job may run.
pub fn lock(changes: &SharedChanges) -> MutexGuard<'_, HostChanges> {
    // After a panic they are needed for undoing what they list.
    changes.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The host, seen from the loop.
#[derive(Debug)]
pub struct Host {
    name: IfName,
    changes: SharedChanges,
    worker: Worker<SharedChanges, HostResult>,
    /// Jobs whose results are not there yet.
    pending: Cell<usize>,
    /// A sandbox may forbid either.
    monitor: Option<Monitor>,
    filters: Option<FilterMonitor>,
    restore_at: Option<Instant>,
    is_restoring: bool,
    /// No repair before this.
    quiet_until: Instant,
    pause: Duration,
    /// What is missing and cannot be restored.
    missing: Vec<String>,
}

impl Host {
    /// Hands the changes over to a thread, and listens to what others change.
    ///
    /// # Errors
    /// EMFILE, EAGAIN.
    pub fn start(name: IfName, changes: &SharedChanges) -> io::Result<Self> {
        let host = lock(changes);
        let monitor = host.netns().map_or_else(Monitor::open, Monitor::open_in).ok();
        let filters = host.netns().map_or_else(FilterMonitor::open, FilterMonitor::open_in).ok();
        drop(host);
        Ok(Self {
            name,
            changes: Arc::clone(changes),
            worker: Worker::start("host", Arc::clone(changes))?,
            pending: Cell::new(0),
            monitor,
            filters,
            restore_at: None,
            is_restoring: false,
            quiet_until: Instant::ZERO,
            pause: PAUSE_FIRST,
            missing: Vec::new(),
        })
    }

    /// The descriptor of results.
    pub fn results_fd(&self) -> BorrowedFd<'_> {
        self.worker.as_fd()
    }

    /// The descriptors of netlink events.
    pub fn monitors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.monitor.iter().map(AsFd::as_fd).chain(self.filters.iter().map(AsFd::as_fd))
    }

    /// Does a job on the thread.
    pub fn submit(&self, job: impl FnOnce(&mut HostChanges) -> HostResult + Send + 'static) {
        self.pending.update(|pending| pending + 1);
        self.worker.submit(|changes| job(&mut lock(changes)));
    }

    /// Whether a job runs or waits.
    pub fn is_busy(&self) -> bool {
        self.pending.get() > 0
    }

    /// The changes, for a job on another thread.
    pub fn changes(&self) -> SharedChanges {
        Arc::clone(&self.changes)
    }

    /// The results that are there.
    pub fn results(&self) -> Vec<HostResult> {
        let results = self.worker.results();
        self.pending.update(|pending| pending.saturating_sub(results.len()));
        results
    }

    /// What is missing on the host, with the reason.
    pub fn missing(&self) -> &[String] {
        &self.missing
    }

    /// Reads netlink events; returns the device's MTU if it changed. `Err` if a monitor failed: its
    /// descriptor must not be watched any more.
    pub fn hear(&mut self, now: Instant) -> io::Result<Option<u32>> {
        let (mut mtu, mut must_look) = (None, false);
        if let Some(filters) = &mut self.filters {
            must_look |= filters.has_deleted()?;
        }
        for _ in 0..EVENTS_MAX {
            let Some(monitor) = &mut self.monitor else { break };
            match monitor.recv(Some(Duration::ZERO)) {
                Ok(Some(Event::LinkChanged(link))) if link.name == self.name => {
                    mtu = Some(link.mtu);
                    must_look = true;
                }
                Ok(Some(Event::RouteRemoved(route))) => {
                    must_look |= route.protocol == ROUTE_PROTOCOL;
                }
                Ok(Some(Event::RuleRemoved(rule))) => must_look |= rule.protocol == ROUTE_PROTOCOL,
                Ok(Some(Event::AddressRemoved(..) | Event::Lost)) => must_look = true,
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(error) => return Err(error),
            }
        }
        if must_look {
            let at = now.checked_add(SETTLE_TIME).unwrap_or(Instant::MAX);
            self.restore_at.get_or_insert(at.max(self.quiet_until));
        }
        Ok(mtu)
    }

    /// When [`Self::run_due`] must be called.
    pub fn next_due(&self) -> Option<Instant> {
        self.restore_at.filter(|_| !self.is_restoring)
    }

    /// Starts a repair if it is time to.
    pub fn run_due(&mut self, now: Instant) {
        if self.next_due().is_some_and(|at| at <= now) {
            (self.restore_at, self.is_restoring) = (None, true);
            self.submit(|host| HostResult::Restored(host.restore()));
        }
    }

    /// Takes the result of a repair and reports it.
    pub fn restored(&mut self, now: Instant, result: Restored, events: &Events) {
        self.is_restoring = false;
        if !result.restored.is_empty() {
            let list = result.restored.join(", ");
            events.note(format!("warning: restored what was removed from the host: {list}"));
            // A program that removes our state again and again must not make us as busy.
            if now.since(self.quiet_until) > PAUSE_MAX {
                self.pause = PAUSE_FIRST;
            }
            self.quiet_until = now.checked_add(self.pause).unwrap_or(Instant::MAX);
            self.pause = (self.pause * 2).min(PAUSE_MAX);
        }
        let news: Vec<&String> =
            result.missing.iter().filter(|what| !self.missing.contains(what)).collect();
        for what in news {
            events.note(format!("warning: cannot restore what was removed from the host: {what}"));
        }
        self.missing = result.missing;
    }

    /// The host is as wanted: it was opened, changed or recreated.
    pub fn is_complete(&mut self) {
        self.missing.clear();
    }

    /// Waits for the jobs; returns the changes, to be undone.
    pub fn finish(self) -> SharedChanges {
        self.worker.finish();
        self.changes
    }
}
