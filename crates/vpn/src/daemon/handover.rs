//! A tunnel that is handed over to another process, and one that is taken over.

use crate::daemon::host::lock;
use crate::daemon::{Change, Daemon, HOST, MONITOR, PREDECESSOR, READABLE, UAPI};
use crate::engine::TunnelEngine;
use crate::file::config::{Hooks, Peer};
use crate::file::load::{Given, load_complete};
use crate::state::{Upgrade, Upgraded};
use crate::uapi::socket::UapiSocket;
use crate::upgrade::Passed;
use crate::upgrade::predecessor::Predecessor;
use crate::upgrade::successor::{REFUSED, Successor, Taken};
use adit_device::{IfName, Mode};
use adit_runtime::{PeerOptions, PeerSockets, Runner};
use adit_service::control::http::Request;
use adit_service::error::{Error, Kind, Result};
use adit_service::supervisor::{Done, Job, Progress, Service, value};
use adit_tunnel::PublicKey;
use rustix::io::Errno;
use std::collections::HashSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// How long packets that wait for room may hold a handover up.
const DRAIN_TIME_MAX: Duration = Duration::from_millis(5);

impl Daemon {
    /// The name of the tunnel.
    #[must_use]
    pub const fn name(&self) -> IfName {
        self.loaded.name
    }

    /// The hooks of the tunnel.
    #[must_use]
    pub const fn hooks(&self) -> &Hooks {
        &self.loaded.config.interface.hooks
    }

    /// The process that has taken over.
    pub const fn take_successor(&mut self) -> Option<Taken> {
        self.successor.take()
    }

    /// Leaves everything to the process that has taken over; returns the process from which this one did, if that waits.
    pub fn pass_on(self) -> Option<Predecessor> {
        self.uapi.into_iter().for_each(UapiSocket::pass_on);
        self.host.finish();
        self.predecessor
    }

    /// Takes the files of sockets over from the other process. If that waits, this one ends with it.
    ///
    /// # Errors
    /// ENOMEM, ENOSPC of epoll.
    pub fn own(
        &mut self,
        runner: &Runner<TunnelEngine>,
        waiting: Option<Predecessor>,
    ) -> Result<()> {
        self.uapi.iter_mut().for_each(UapiSocket::own);
        self.predecessor = waiting;
        let watched =
            self.predecessor.iter().try_for_each(|it| runner.watch(it, PREDECESSOR, READABLE));
        watched.map_err(|error| Error::io("wait for", "the process before", &error))
    }

    /// Starts the process that takes over, if the files are as they were read last: it reads them again.
    pub(super) fn upgrade(&self, request: &Request) -> Result<Job<Change>> {
        let Some(installed) = &self.installed else {
            let message = "a tunnel through a pipe, or in another program, cannot be handed over";
            return Err(Error::new(Kind::Refused, &REFUSED, message).hint("Restart it."));
        };
        let candidate = installed.candidate();
        let wanted: Option<Upgrade> = serde_json::from_value(request.body.clone())
            .map_err(|error| Error::usage(format!("the body of the request: {error}")))?;
        let only_other = wanted.unwrap_or_default().if_changed;
        let (files, hooks, name) = (self.loaded.files.clone(), self.hook_policy, self.loaded.name);
        let given = Given { private_key: true, device_netns: self.has_device_netns };
        let known = self.loaded.config.clone();
        Ok(Box::new(move || {
            if only_other && candidate.is_running() {
                return Ok(Change::Successor(None));
            }
            let mut read = load_complete(&files, hooks, given)?.config;
            let (interface, before) = (&mut read.interface, &known.interface);
            interface.private_key =
                interface.private_key.take().or_else(|| before.private_key.clone());
            interface.mtu = interface.mtu.or(before.mtu);
            if read != known {
                let message = format!("the files of {name} have changed since they were read");
                let error = Error::new(Kind::Conflict, &REFUSED, message);
                return Err(error.hint(format!("Run 'adit tunnel reload {name}' first.")));
            }
            candidate.start().map(|successor| Change::Successor(Some(successor)))
        }))
    }

    /// Hands the tunnel over once nothing on the host is being changed.
    pub(super) fn change_process(
        &mut self,
        runner: &mut Runner<TunnelEngine>,
        successor: Option<Successor>,
    ) -> Result<Progress<Change>> {
        let Some(successor) = successor else {
            let lines = vec!["the installed program runs already".to_owned()];
            let reply = value(&Upgraded { pid: std::process::id(), ..Upgraded::default() })?;
            return Ok(Progress::Done(Done { lines, reply }));
        };
        if self.host.is_busy() {
            let changes = self.host.changes();
            return Ok(Progress::Next(Box::new(move || {
                // Its thread has the lock while it works.
                drop(lock(&changes));
                std::thread::sleep(Duration::from_millis(1));
                Ok(Change::Successor(Some(successor)))
            })));
        }
        let start = Instant::now();
        let taken = self.hand_over(runner, successor)?;
        let (pid, gap_us) = (taken.child.pid(), start.elapsed().as_micros());
        self.successor = Some(taken);
        let gap_us = u64::try_from(gap_us).unwrap_or(u64::MAX);
        let lines = vec![format!("process {pid} has taken over; no packet moved for {gap_us} us")];
        Ok(Progress::Done(Done { lines, reply: value(&Upgraded { pid, is_new: true, gap_us })? }))
    }

    fn hand_over(
        &mut self,
        runner: &mut Runner<TunnelEngine>,
        successor: Successor,
    ) -> Result<Taken> {
        if !runner.drain(DRAIN_TIME_MAX) {
            self.events.note("warning: packets that wait for room in a full queue are dropped");
        }
        // What the engine has reported so far is known here only.
        self.turn(runner);
        let state = runner.engine().tunnel.state();
        let device = self.device(runner)?;
        let (passed, mut fds) = self.passed(runner);
        fds.insert(0, device.as_fd());
        successor.hand_over(&passed, &state, &fds)
    }

    /// The queue of the device.
    fn device(&self, runner: &Runner<TunnelEngine>) -> Result<OwnedFd> {
        let mut queue = Err(Errno::NODEV.into());
        if let Some((device, _)) = runner.port(TunnelEngine::device(self.plan.mode)) {
            device.descriptors(&mut |fd, _| queue = fd.try_clone_to_owned());
        }
        queue.map_err(|error| Error::io("use", self.loaded.name, &error))
    }

    /// What crosses besides the state of the engine, and the descriptors after that of the device.
    fn passed<'a>(&'a self, runner: &'a Runner<TunnelEngine>) -> (Passed, Vec<BorrowedFd<'a>>) {
        let mode = self.plan.mode;
        let mut fds = Vec::new();
        let sockets = runner.peers().map(PeerSockets::sockets).unwrap_or_default();
        fds.extend(sockets.into_iter().flatten());
        let installed = self.installed.as_ref();
        let control = installed.and_then(|installed| installed.control.as_ref());
        fds.extend(control.into_iter().flatten().map(AsFd::as_fd));
        let metrics = installed.and_then(|installed| installed.metrics.as_ref());
        fds.extend(metrics.map(|listener| listener.socket.as_fd()));
        fds.extend(self.uapi.iter().map(UapiSocket::listener));
        let listener = self.endpoints.streams().listener_fd(runner);
        fds.extend(listener);
        let (streams, of_streams) = self.endpoints.streams().state(runner);
        fds.extend(of_streams);
        let PeerOptions { port, mark, source } = *self.endpoints.options();
        let ledger = lock(&self.host.changes()).ledger();
        let passed = Passed {
            pid: std::process::id(),
            waits: installed.is_some_and(|installed| installed.waits),
            name: self.loaded.name.to_string(),
            is_tap: mode == Mode::Tap,
            mtu: self.plan.mtu,
            tunnel_mtu: self.plan.tunnel_mtu,
            udp: (port, mark, source),
            sockets: sockets.map(|socket| socket.is_some()),
            control: control.is_some(),
            metrics: metrics.map(|listener| listener.has_page),
            uapi: self.uapi.is_some(),
            tcp: listener.and(self.endpoints.streams().port()),
            streams,
            present: self.peers.presence().connected().map(|peer| peer.0).collect(),
            ledger,
        };
        (passed, fds)
    }

    /// Continues with the state of another process, as [`Self::begin`] does without.
    ///
    /// # Errors
    /// Descriptors are missing; ENOMEM, ENOSPC of epoll.
    pub fn resume(
        &mut self,
        runner: &mut Runner<TunnelEngine>,
        passed: Passed,
        mut fds: impl Iterator<Item = OwnedFd>,
    ) -> Result<()> {
        let failed = |error| Error::io("use", "the descriptors of the running tunnel", &error);
        if let Some(uapi) = &self.uapi {
            runner.watch(uapi, UAPI, READABLE).map_err(failed)?;
        }
        let watch = |fd| runner.watch(fd, MONITOR, READABLE);
        self.host.monitors().try_for_each(watch).map_err(failed)?;
        runner.watch(self.host.results_fd(), HOST, READABLE).map_err(failed)?;
        self.set_clock(runner);
        let now = runner.now();
        let present: HashSet<[u8; 32]> = passed.present.into_iter().collect();
        let mut known = HashSet::new();
        for peer in &self.loaded.config.peers {
            // `wg` may have removed it.
            let Some(config) = runner.engine().tunnel.peer_config(&peer.public_key) else {
                continue;
            };
            self.endpoints.resume(peer);
            self.peers.set(now, peer);
            known.insert(peer.public_key);
            if present.contains(&peer.public_key.0) {
                self.peers.resume(runner, &peer.public_key, config.endpoint);
            }
        }
        let others: Vec<PublicKey> = runner.engine().tunnel.peers().collect();
        for key in others {
            if !known.contains(&key) {
                // `wg` has added it.
                self.peers.set(now, &Peer::new(key));
            }
        }
        let streams = self.endpoints.streams_mut();
        if let Some(port) = passed.tcp {
            let listener = fds.next().ok_or_else(|| failed(Errno::BADF.into()))?;
            streams.resume_listener(port, listener);
        }
        streams.resume(runner, passed.streams, fds).map_err(failed)?;
        self.lock_keys();
        self.endpoints.watch(runner).map_err(failed)?;
        self.timestamps.note(now);
        self.set_alarm(runner);
        Ok(())
    }
}
