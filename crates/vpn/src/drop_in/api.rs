//! The API socket of slirp4netns: ports of the host that lead inside, added and removed while it runs.
//!
//! One JSON object a connection, which is closed behind the reply:
//!
//! ```text
//! {"execute":"add_hostfwd","arguments":{"proto":"tcp","host_addr":"127.0.0.1","host_port":8080,
//!                                       "guest_addr":"","guest_port":80}}    {"return":{"id":1}}
//! {"execute":"list_hostfwd"}                                                 {"return":{"entries":[...]}}
//! {"execute":"remove_hostfwd","arguments":{"id":1}}                          {"return":{}}
//! ```

use adit_engine::{FlowId, Outbox, PortId, Transport};
use adit_nat::{Gateway, Publish, PublishState};
use adit_packet::Instant;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

/// The longest request: that of slirp4netns.
const REQUEST_MAX: usize = 4096;

/// The most clients that have not sent their request: beyond it the first one is closed.
pub(super) const CLIENTS_MAX: usize = 16;

/// The socket, its clients, and what they have asked for.
#[derive(Debug)]
pub(super) struct Api {
    listener: UnixListener,
    clients: [Option<Client>; CLIENTS_MAX],
    next_client: usize,
    /// The device inside, of each family.
    devices: Vec<IpAddr>,
    port: PortId,
    forwards: BTreeMap<u32, Forward>,
    last: u32,
    /// Clients whose port is being opened.
    opening: Vec<(UnixStream, u32)>,
}

#[derive(Debug)]
struct Client {
    stream: UnixStream,
    request: Vec<u8>,
}

#[derive(Debug)]
struct Forward {
    flow: FlowId,
    what: HostForward,
}

/// A forwarded port, as requests and replies have it.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct HostForward {
    proto: String,
    #[serde(default)]
    host_addr: String,
    host_port: u16,
    #[serde(default)]
    guest_addr: String,
    guest_port: u16,
}

#[derive(Debug, Deserialize)]
struct Request {
    execute: String,
    #[serde(default)]
    arguments: Value,
}

/// What a ready client needs next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing: its request is not whole.
    Wait,
    /// It is served: call [`Api::settle`] in the next turn.
    Served,
}

impl Api {
    /// Listens at a path; a socket that is there is replaced, as slirp4netns does.
    ///
    /// # Errors
    /// Those of bind(2).
    pub(super) fn listen(path: &Path, devices: Vec<IpAddr>, port: PortId) -> io::Result<Self> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(path)?;
        listener.set_nonblocking(true)?;
        Ok(Self {
            listener,
            clients: Default::default(),
            next_client: 0,
            devices,
            port,
            forwards: BTreeMap::new(),
            last: 0,
            opening: Vec::new(),
        })
    }

    /// Takes a connection: its number, and the descriptor to wait for. `None`: there is none.
    pub(super) fn accept(&mut self) -> Option<(usize, BorrowedFd<'_>)> {
        let (stream, _) = self.listener.accept().ok()?;
        stream.set_nonblocking(true).ok()?;
        let number = self.next_client;
        self.next_client = (number + 1) % CLIENTS_MAX;
        let client = self.clients.get_mut(number)?.insert(Client { stream, request: Vec::new() });
        Some((number, client.stream.as_fd()))
    }

    /// Reads what a client has sent, and does what it asks for.
    pub(super) fn read(
        &mut self,
        number: usize,
        engine: &mut Gateway,
        now: Instant,
        out: &mut Outbox,
    ) -> Step {
        let Some(slot) = self.clients.get_mut(number) else { return Step::Wait };
        let Some(client) = slot else { return Step::Wait };
        let mut bytes = [0; REQUEST_MAX];
        let is_whole = match client.stream.read(&mut bytes) {
            Ok(0) => true,
            Ok(len) => {
                client.request.extend(bytes.iter().take(len));
                client.request.len() > REQUEST_MAX
                    || serde_json::from_slice::<Value>(&client.request).is_ok()
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => false,
            Err(_) => {
                *slot = None;
                return Step::Served;
            }
        };
        if !is_whole {
            return Step::Wait;
        }
        let Some(client) = slot.take() else { return Step::Wait };
        match self.answer(&client.request, engine, now, out) {
            Ok(Some(reply)) => send(client.stream, &reply),
            Ok(None) => self.opening.push((client.stream, self.last)),
            Err(why) => send(client.stream, &failure(&why)),
        }
        Step::Served
    }

    /// The reply; `None` if it follows when the port is open.
    fn answer(
        &mut self,
        request: &[u8],
        engine: &mut Gateway,
        now: Instant,
        out: &mut Outbox,
    ) -> Result<Option<Value>, String> {
        let bad = |error| format!("bad request: {error}");
        let request: Request = serde_json::from_slice(request).map_err(bad)?;
        match request.execute.as_str() {
            "add_hostfwd" => {
                let what: HostForward = serde_json::from_value(request.arguments).map_err(bad)?;
                let publish = self.publish(&what)?;
                let flow = engine
                    .publish(now, publish, out)
                    .map_err(|error| format!("add_hostfwd: {error}"))?;
                self.last += 1;
                let what = HostForward {
                    host_addr: publish.local.ip().to_string(),
                    guest_addr: publish.inside.ip().to_string(),
                    ..what
                };
                self.forwards.insert(self.last, Forward { flow, what });
                Ok(None)
            }
            "list_hostfwd" => {
                let opening = |id: &u32| self.opening.iter().any(|(_, one)| one == id);
                let entries = self.forwards.iter().filter(|(id, _)| !opening(id));
                let entries = entries.map(|(id, forward)| {
                    let HostForward { proto, host_addr, host_port, guest_addr, guest_port } =
                        &forward.what;
                    json!({"id": id, "proto": proto, "host_addr": host_addr, "host_port": host_port,
                           "guest_addr": guest_addr, "guest_port": guest_port})
                });
                let entries: Vec<Value> = entries.collect();
                Ok(Some(json!({"return": {"entries": entries}})))
            }
            "remove_hostfwd" => {
                let id = request.arguments.get("id").and_then(Value::as_u64);
                let id = id.and_then(|id| u32::try_from(id).ok());
                let forward = id.and_then(|id| self.forwards.remove(&id));
                let forward = forward.ok_or("bad arguments.id")?;
                engine.unpublish(now, forward.flow, out);
                Ok(Some(json!({"return": {}})))
            }
            other => Err(format!("bad request: unknown execute '{other}'")),
        }
    }

    fn publish(&self, what: &HostForward) -> Result<Publish, String> {
        let transport = match what.proto.as_str() {
            "tcp" | "tcp4" => Transport::Tcp,
            "udp" | "udp4" => Transport::Udp,
            _ => return Err("bad request: add_hostfwd: bad arguments.proto".to_owned()),
        };
        let address = |text: &str, name: &str, default: Option<IpAddr>| match text {
            "" => default.ok_or_else(|| format!("no address inside for arguments.{name}")),
            text => {
                text.parse().map_err(|_| format!("bad request: add_hostfwd: bad arguments.{name}"))
            }
        };
        let host = address(&what.host_addr, "host_addr", Some(Ipv4Addr::UNSPECIFIED.into()))?;
        let device = self.devices.iter().find(|ip| ip.is_ipv4() == host.is_ipv4());
        let guest = address(&what.guest_addr, "guest_addr", device.copied())?;
        if what.host_port == 0 || what.guest_port == 0 {
            return Err("bad request: add_hostfwd: bad port".to_owned());
        }
        Ok(Publish {
            transport,
            local: SocketAddr::new(host, what.host_port),
            inside: SocketAddr::new(guest, what.guest_port),
            port: self.port,
        })
    }

    /// Replies to the clients whose ports are open, or could not be opened.
    pub(super) fn settle(&mut self, engine: &mut Gateway, now: Instant, out: &mut Outbox) {
        for (stream, id) in std::mem::take(&mut self.opening) {
            let flow = self.forwards.get(&id).map(|forward| forward.flow);
            let state = engine.nat().published().find(|one| Some(one.flow) == flow);
            match state.map(|published| published.state) {
                Some(PublishState::Opening) => self.opening.push((stream, id)),
                Some(PublishState::Open(_)) => send(stream, &json!({"return": {"id": id}})),
                failed => {
                    if let Some(forward) = self.forwards.remove(&id) {
                        engine.unpublish(now, forward.flow, out);
                    }
                    let why = match failed {
                        Some(PublishState::Failed(error)) => error.to_string(),
                        _ => "it has ended".to_owned(),
                    };
                    send(stream, &failure(&format!("bad request: add_hostfwd: {why}")));
                }
            }
        }
    }

    /// Whether a port is being opened.
    pub(super) const fn is_opening(&self) -> bool {
        !self.opening.is_empty()
    }
}

impl AsFd for Api {
    /// Readable when a client connects.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

fn failure(why: &str) -> Value {
    json!({"error": {"desc": why}})
}

/// Sends the reply and closes. A client that is gone, or that reads nothing, loses it.
fn send(mut stream: UnixStream, reply: &Value) {
    let _ = stream.write_all(reply.to_string().as_bytes());
}
