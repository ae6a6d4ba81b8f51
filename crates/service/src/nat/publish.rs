//! Ports of the host that lead inside: opened, closed, and why one cannot be opened.

use crate::error::{Entry, Error, Kind, Result};
use crate::nat::model::word_of;
use adit_device::netlink::Listeners;
use adit_device::take_inherited;
use adit_engine::{FlowError, FlowId, PortId, Transport};
use adit_nat::{
    FollowListeners, Gateway, Publish, PublishError, PublishSpec, PublishState, Publishing,
};
use adit_runtime::Runner;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

/// The device.
pub const INSIDE: PortId = PortId(0);

/// A port of the host cannot be published.
const PUBLISH: Entry = Entry {
    code: "ADIT-E0835",
    title: "a port of the host cannot be published",
    explanation: "'--publish' and 'adit nat publish' open a port of the host by a socket of adit's own user. \
                  Another program may have the port, ports below net.ipv4.ip_unprivileged_port_start need \
                  CAP_NET_BIND_SERVICE, and the address must be one of the host. A running NAT has no \
                  capability. None of the ports of the request is open.",
    remedy: "Choose another port of the host: '--publish 8080:80'. 'ss -ltn' and 'ss -lun' list those in use.",
};

/// The codes of a NAT that runs.
pub const CATALOG: [Entry; 1] = [PUBLISH];

/// Opens the ports of a spec to a device with these addresses; all of them, or none.
///
/// # Errors
/// Why one is not open.
pub fn open(runner: &mut Runner<Gateway>, spec: &PublishSpec, devices: &[IpAddr]) -> Result<()> {
    let mut flows = Vec::new();
    let mut result = Ok(());
    for publish in spec.of_device(devices, INSIDE) {
        match open_one(runner, publish) {
            Ok(flow) => flows.push(flow),
            Err(why) if why.is_without_family(publish.local.ip()) => {}
            Err(why) => {
                result = Err(why.of(&publish));
                break;
            }
        }
    }
    if result.is_ok() && flows.is_empty() {
        let message = format!("'{spec}': neither the inside nor the host has an address for it");
        result = Err(Error::usage(message));
    }
    if result.is_err() {
        flows.drain(..).for_each(|flow| close(runner, flow));
    }
    result
}

/// A listening socket of another program, and the port inside to which it leads.
pub type Socket = (OwnedFd, u16);

/// Takes over the sockets that are wanted. Call it before this process is copied: no copy has them then.
///
/// # Errors
/// EBADF: no descriptor of that number was passed.
pub fn take_sockets(wanted: &[Publishing]) -> Result<Vec<Socket>> {
    let take = |one: &Publishing| match *one {
        Publishing::Listener { fd, inside } => Some(match take_inherited(fd) {
            Ok(socket) => Ok((socket, inside)),
            Err(error) => Err(Error::io("take over", format!("descriptor {fd}"), &error)),
        }),
        _ => None,
    };
    wanted.iter().filter_map(take).collect()
}

/// Lets a socket lead to a device with these addresses.
pub(super) fn adopt(
    runner: &mut Runner<Gateway>,
    (socket, inside): Socket,
    devices: &[IpAddr],
) -> Result<()> {
    let listener = format!("the socket for port {inside} inside");
    let local = runner.give_listener(socket).map_err(|error| {
        Error::io("publish", listener, &error)
            .hint("Pass a socket that listens for TCP, by IPv4 or by IPv6 alone.")
    })?;
    let ports = local.port()..=local.port();
    let (transport, address, guest) = (Transport::Tcp, Some(local.ip()), None);
    let spec = PublishSpec { transport, address, ports, guest, inside };
    open(runner, &spec, devices)
}

/// Closes a published port; its connections go on.
pub fn close(runner: &mut Runner<Gateway>, flow: FlowId) {
    let (engine, now, out) = runner.engine_and_outbox();
    engine.unpublish(now, flow, out);
    runner.flush();
}

/// Closes the ports that a spec describes.
pub(super) fn close_all(runner: &mut Runner<Gateway>, spec: &PublishSpec) -> Result<()> {
    let published = runner.engine().nat().published().filter(|one| spec.covers(&one.publish));
    let flows: Vec<FlowId> = published.map(|one| one.flow).collect();
    if flows.is_empty() {
        let message = format!("'{spec}' is not published");
        let error = Error::new(Kind::NotFound, &PUBLISH, message).object(spec);
        return Err(error.hint("List the published ports: 'adit nat show'."));
    }
    flows.iter().for_each(|flow| close(runner, *flow));
    Ok(())
}

/// Why a port was not opened.
#[derive(Debug)]
pub enum Failure {
    /// The NAT refuses it.
    Nat(PublishError),
    /// The host refuses the socket.
    Host(FlowError),
}

/// Opens one port.
///
/// # Errors
/// Why it is not open; nothing is left of it.
pub fn open_one(runner: &mut Runner<Gateway>, publish: Publish) -> Result<FlowId, Failure> {
    let (engine, now, out) = runner.engine_and_outbox();
    let flow = engine.publish(now, publish, out).map_err(Failure::Nat)?;
    runner.flush();
    match runner.engine().nat().published_at(flow).map(|one| one.state) {
        Some(PublishState::Failed(error)) => {
            close(runner, flow);
            Err(Failure::Host(error))
        }
        _ => Ok(flow),
    }
}

impl Failure {
    /// The host has no address at all of this family: all addresses are those of the other one.
    fn is_without_family(&self, local: IpAddr) -> bool {
        matches!(self, Self::Host(FlowError::NoAddress)) && local.is_unspecified()
    }

    fn of(&self, publish: &Publish) -> Error {
        let Publish { transport, local, inside, .. } = publish;
        let (word, from, to) = (word_of(*transport), local.port(), inside.port());
        let (kind, why) = match self {
            Self::Host(FlowError::InUse) => (Kind::Conflict, "another program has the port".into()),
            Self::Host(FlowError::Prohibited) => (Kind::Permission, "permission denied".into()),
            Self::Host(FlowError::NoAddress) => (Kind::NotFound, "no address of this host".into()),
            Self::Host(error) => (Kind::Refused, error.to_string()),
            Self::Nat(error @ PublishError::InUse) => (Kind::Conflict, error.to_string()),
            Self::Nat(error) => (Kind::Refused, error.to_string()),
        };
        let message = format!("cannot publish {word} {local}: {why}");
        let error = Error::new(kind, &PUBLISH, message).object(local);
        match kind {
            _ if matches!(self, Self::Nat(_)) => {
                error.hint("List the published ports and the flows: 'adit nat show', 'adit nat flows'.")
            }
            Kind::Conflict => error.hint(format!(
                "Choose another port, as '--publish 1{from:04}:{to}', or end the program that has it: \
                 'ss -lnp --{word} sport = :{from}'."
            )),
            Kind::Permission => error.hint(format!(
                "Choose a port from 1024 on, as '--publish {}:{to}', or allow it: \
                 'sysctl net.ipv4.ip_unprivileged_port_start={from}'.",
                8000 + from
            )),
            Kind::NotFound => error.hint("List the addresses of the host: 'ip address'."),
            _ => error,
        }
    }
}

/// Publishes what listens inside.
#[derive(Debug)]
pub struct Follower {
    listeners: Option<Listeners>,
    follow: FollowListeners,
}

/// How often a [`Follower`] looks: the kernel has no event for listen(2).
const LOOK: Duration = Duration::from_millis(250);

impl Follower {
    /// Of a device with these addresses; without `listeners` it is not known what listens there.
    #[must_use]
    pub fn new(listeners: Option<Listeners>, devices: &[IpAddr], transport: Transport) -> Self {
        Self { listeners, follow: FollowListeners::new(devices.to_vec(), INSIDE, transport) }
    }

    /// Follows at an address of the host from the next look on, or no more.
    ///
    /// # Errors
    /// It does, or does not, already; or it is not known what listens inside.
    pub fn set(&mut self, address: Option<IpAddr>, on: bool) -> Result<()> {
        if self.listeners.is_none() {
            let message = "'auto' is not possible: no kernel lists the sockets inside a virtual machine \
                           or behind a port (sock_diag)";
            let error = Error::new(Kind::Refused, &PUBLISH, message);
            return Err(error.hint("Publish each port, as '8080:80'."));
        }
        let is_new = if on { self.follow.add(address) } else { self.follow.remove(address) };
        let (kind, what) = match on {
            true => (Kind::Conflict, "already"),
            false => (Kind::NotFound, "not"),
        };
        let error = || {
            let message = format!("'{}' is {what} published", Publishing::Auto(address));
            Error::new(kind, &PUBLISH, message).hint("List the published ports: 'adit nat show'.")
        };
        if is_new { Ok(()) } else { Err(error()) }
    }

    /// When to look again, if at all.
    #[must_use]
    pub fn interval(&self) -> Option<Duration> {
        (!self.follow.is_idle()).then_some(LOOK)
    }

    /// Looks what listens inside, and opens and closes ports of the host. Why one cannot be opened is reported once,
    /// unless the host has no address of its family.
    ///
    /// # Errors
    /// The kernel lists no sockets.
    pub fn look(
        &mut self,
        runner: &mut Runner<Gateway>,
        mut report: impl FnMut(&Error),
    ) -> Result<()> {
        let Some(listeners) = self.listeners.as_mut().filter(|_| !self.follow.is_idle()) else {
            return Ok(());
        };
        let failed = |error| Error::io("list", "the sockets that listen inside", &error);
        let listed = listeners.list().map_err(failed)?;
        let (closed, new) = self.follow.update(&listed);
        closed.into_iter().for_each(|flow| close(runner, flow));
        for publish in new {
            // One of '--publish' is as good.
            let is_there = runner.engine().nat().published().any(|one| one.publish == publish);
            let opened = if is_there { None } else { Some(open_one(runner, publish)) };
            match &opened {
                Some(Err(why)) if !why.is_without_family(publish.local.ip()) => {
                    report(&why.of(&publish));
                }
                _ => {}
            }
            self.follow.opened(&publish, opened.and_then(Result::ok));
        }
        Ok(())
    }
}
