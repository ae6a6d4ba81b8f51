//! Flows that are bound, for datagrams of many remotes, and flows that listen.

use core::net::{Ipv6Addr, SocketAddr};

use adit_engine::flow::ADDRESS_LEN;
use adit_engine::{FlowError, FlowEvent, FlowId, Transport};
use adit_packet::icmp;

use super::address::addressed;
use super::kept::count;
use super::{Delivery, Flow, Outside, RemoteId, Server, Stage};

impl Outside {
    /// A datagram of a bound flow met an error on its way to this remote.
    pub(super) fn report(&mut self, flow: RemoteId, error: FlowError) {
        let (to, owner) = (self.flow(flow).to, self.flow(flow).bound.unwrap_or(flow.0));
        let is_v4 = to.is_ipv4();
        let code = match error {
            FlowError::HostUnreachable if is_v4 => icmp::v4::CODE_HOST,
            FlowError::HostUnreachable => icmp::v6::CODE_ADDRESS,
            FlowError::NetUnreachable => 0,
            _ if is_v4 => icmp::v4::CODE_PORT,
            _ => icmp::v6::CODE_PORT,
        };
        let kind = if is_v4 { icmp::v4::UNREACHABLE } else { icmp::v6::UNREACHABLE };
        let event = FlowEvent::Icmp { to, from: Some(to.ip()), kind, code, mtu: 0 };
        self.ready.push_back((owner, Delivery::Event(event)));
    }

    pub(super) fn bind(
        &mut self,
        node: usize,
        id: FlowId,
        transport: Transport,
        local: SocketAddr,
    ) {
        self.claim(node, id);
        self.open.insert((node, id), self.flows.len());
        self.begin(node, id, transport, local, Server::ACCEPTS);
        if let Some(flow) = self.flows.last_mut() {
            (flow.is_bound, flow.stage) = (true, Stage::Open);
        }
        let connected = FlowEvent::Connected { local, path_mtu: 0 };
        self.ready.push_back((self.flows.len() - 1, Delivery::Event(connected)));
    }

    /// A client connects to a listener of an engine; `None` if nobody listens there. It uses the
    /// connection as a [`Server`] does.
    pub fn connect(
        &mut self,
        from: SocketAddr,
        to: SocketAddr,
        client: Server,
    ) -> Option<RemoteId> {
        let is_it = |flow: &Flow| {
            (flow.is_bound, flow.transport, flow.to, flow.stage)
                == (true, Transport::Tcp, to, Stage::Open)
        };
        let at = self.flows.iter().position(is_it)?;
        let (node, id) = (self.at(at).node, self.at(at).id);
        self.begin(node, id, Transport::Tcp, from, client);
        let client = self.flows.len() - 1;
        // It waits for its accept.
        self.at(client).is_bound = true;
        self.at(client).stage = Stage::Opening;
        self.at(at).clients.push_back(client);
        self.ready.push_back((at, Delivery::Event(FlowEvent::Incoming { from })));
        Some(RemoteId(client))
    }

    /// The engine takes the connection that waits longest.
    pub(super) fn accept(&mut self, node: usize, id: FlowId, listener: FlowId) {
        self.claim(node, id);
        let listener = self.open.get(&(node, listener)).copied();
        let client = listener.and_then(|at| self.at(at).clients.pop_front());
        let Some(client) = client else { panic!("flow {id} accepts, and nobody waits") };
        self.open.insert((node, id), client);
        let flow = self.at(client);
        (flow.id, flow.is_bound) = (id, false);
        self.stir(client);
    }

    /// The engine sends a datagram of a bound flow, before which is the remote's address.
    pub(super) fn take_bound(&mut self, at: usize, bytes: &[u8]) {
        let Some((head, datagram)) = bytes.split_first_chunk::<ADDRESS_LEN>() else {
            panic!("flow {}: a datagram without an address", self.at(at).id)
        };
        let (ip, port) = head.split_at(16);
        let octets: [u8; 16] = ip.try_into().expect("16 bytes of 18");
        let port = u16::from_be_bytes(port.try_into().expect("2 bytes of 18"));
        let to = SocketAddr::new(Ipv6Addr::from(octets).to_canonical(), port);
        let flow = self.at(at);
        flow.taken += count(bytes.len());
        flow.discarded += count(bytes.len());
        let (node, id, transport) = (flow.node, flow.id, flow.transport);
        let of_remote = |flow: &Flow| flow.bound == Some(at) && flow.to == to;
        let remote = self.flows.iter().position(of_remote).unwrap_or_else(|| {
            let server = self.server(transport, to);
            self.begin(node, id, transport, to, server);
            let flow = self.flows.last_mut().expect("it was just made");
            (flow.bound, flow.stage) = (Some(at), Stage::Open);
            self.flows.len() - 1
        });
        if self.at(remote).server.fails.is_some() {
            let (kind, code) = match to {
                SocketAddr::V4(_) => (icmp::v4::UNREACHABLE, icmp::v4::CODE_PORT),
                SocketAddr::V6(_) => (icmp::v6::UNREACHABLE, icmp::v6::CODE_PORT),
            };
            let event = FlowEvent::Icmp { to, from: Some(to.ip()), kind, code, mtu: 0 };
            return self.ready.push_back((at, Delivery::Event(event)));
        }
        let flow = self.at(remote);
        flow.taken += count(datagram.len());
        if flow.buffered >= flow.server.buffer {
            flow.discarded += count(datagram.len());
            return;
        }
        flow.buffered += datagram.len();
        flow.buffer.push_back(datagram.to_vec());
        self.stir(remote);
    }

    /// A remote that the engine may never have heard of sends a datagram to a bound flow.
    pub fn send_to_bound(&mut self, from: SocketAddr, local: SocketAddr, bytes: &[u8]) {
        let is_it = |flow: &Flow| flow.is_bound && flow.to == local && flow.stage == Stage::Open;
        if let Some(at) = self.flows.iter().position(is_it) {
            self.ready.push_back((at, Delivery::Bytes(addressed(from, bytes))));
        }
    }
}
