//! Ports of the host that lead to the inside: opened, used, closed.

use alloc::boxed::Box;
use core::net::SocketAddr;

use adit_packet::{Instant, ip_protocol};

use super::udp::any_address;
use super::{Entry, Nat, TcpEntry};
use crate::translate::news::FlowChange;
use crate::translate::publish::{Publish, PublishError, PublishState, Published};
use crate::translate::table::{Class, Key};
use crate::translate::tcp::{Calling, Conn, Cx};
use crate::translate::udp::Mapping;
use adit_engine::Outbox;
use adit_engine::flow::{FlowEvent, FlowId, FlowRequest, Request, Transport};

/// The protocol by which listeners are found in the table: none of IP's that are translated.
const LISTENER: u8 = 255;

impl Nat {
    /// Lets a port of the host lead to the inside. What becomes of it is seen by [`Self::published`].
    ///
    /// # Errors
    /// The addresses do not fit, or there is no room for it.
    pub fn publish(
        &mut self,
        now: Instant,
        publish: Publish,
        out: &mut Outbox,
    ) -> Result<FlowId, PublishError> {
        let Publish { transport, local, inside, port } = publish;
        if local.is_ipv4() != inside.is_ipv4() {
            return Err(PublishError::Families);
        }
        if !self.config.is_inside(inside.ip()) {
            return Err(PublishError::NotInside);
        }
        let (key, request) = match transport {
            Transport::Tcp => (Key::new(LISTENER, local, None), FlowRequest::Listen { local }),
            Transport::Udp => {
                let bind = FlowRequest::Bind { transport, local, or_any_port: false };
                (Key::new(ip_protocol::UDP, inside, None), bind)
            }
            _ => return Err(PublishError::Transport),
        };
        if self.table.find(&key).is_some() {
            return Err(PublishError::InUse);
        }
        if !self.make_room(None, now, out) {
            return Err(PublishError::OutOfFlows);
        }
        // None of the flows that the inside may have.
        let nobody = any_address(inside).ip();
        let new = self.table.insert(key, nobody, Class::Lasting, now, |flow| match transport {
            Transport::Udp => Entry::Udp(Box::new(Mapping::published(flow, port, inside))),
            _ => Entry::Listener,
        });
        let flow = new.ok_or(PublishError::OutOfFlows)?;
        self.note(flow, FlowChange::Opened);
        self.ask(Request::Flow(flow, request), out);
        self.published.insert(flow, Published { flow, publish, state: PublishState::Opening });
        Ok(flow)
    }

    /// Ends a published port; connections that came by it go on. `false`: there is none.
    pub fn unpublish(&mut self, flow: FlowId, out: &mut Outbox) -> bool {
        let is_there = self.published.remove(&flow).is_some();
        self.remove(flow, Some(FlowRequest::Close), out);
        is_there
    }

    /// The ports of the host that lead to the inside.
    pub fn published(&self) -> impl Iterator<Item = Published> + '_ {
        self.published.values().copied()
    }

    /// A port of the host that leads to the inside, by its number.
    #[must_use]
    pub fn published_at(&self, flow: FlowId) -> Option<Published> {
        self.published.get(&flow).copied()
    }

    /// Something happened to a published port.
    pub(super) fn note_published(&mut self, flow: FlowId, event: FlowEvent) {
        let Some(published) = self.published.get_mut(&flow) else { return };
        match event {
            FlowEvent::Connected { local, .. } => published.state = PublishState::Open(local),
            FlowEvent::Failed(error) => published.state = PublishState::Failed(error),
            _ => {}
        }
    }

    pub(super) fn listener_event(
        &mut self,
        now: Instant,
        flow: FlowId,
        event: FlowEvent,
        out: &mut Outbox,
    ) {
        match event {
            FlowEvent::Failed(_) => self.remove(flow, None, out),
            FlowEvent::Incoming { from } => {
                let publish = self.published.get(&flow).map(|published| published.publish);
                let called =
                    publish.is_some_and(|publish| self.call(now, flow, &publish, from, out));
                if !called {
                    self.ask(Request::Flow(flow, FlowRequest::Refuse), out);
                }
            }
            _ => {}
        }
    }

    /// The address by which the inside knows a client. One of the host with an address of the inside is known
    /// by the gateway's: a packet from its own address would be refused there.
    pub(super) fn name_of_client(&self, from: SocketAddr) -> Option<SocketAddr> {
        if from.ip().is_loopback() || self.config.is_inside(from.ip()) {
            return Some(SocketAddr::new(self.config.gateway(from.ip())?, from.port()));
        }
        Some(from)
    }

    /// Connects a client to the inside. `false`: it cannot be.
    fn call(
        &mut self,
        now: Instant,
        listener: FlowId,
        publish: &Publish,
        from: SocketAddr,
        out: &mut Outbox,
    ) -> bool {
        let (inside, port) = (publish.inside, publish.port);
        let Some(remote) = self.name_of_client(from) else { return false };
        let key = Key::new(ip_protocol::TCP, inside, Some(remote));
        let is_new = self.table.find(&key).is_none();
        if !is_new || !self.make_room(Some(inside.ip()), now, out) {
            return false;
        }
        let random = self.random(inside, remote, now);
        let mtu = self.config.mtu;
        let calling = Calling { port, inside, remote, mtu, random, now };
        let new = self.table.insert(key, inside.ip(), Class::TcpOpening, now, |flow| {
            let conn = Conn::calling(flow, &calling);
            Entry::Tcp(Box::new(TcpEntry { conn, timer: None, is_listed: false, spliced: None }))
        });
        let Some(flow) = new else { return false };
        self.note(flow, FlowChange::Opened);
        if out.request(Request::Flow(flow, FlowRequest::Accept { listener })).is_err() {
            self.remove(flow, None, out);
            return false;
        }
        self.with_conn(flow, now, out, |conn: &mut Conn, cx: &mut Cx<'_>| conn.call(cx));
        true
    }
}
