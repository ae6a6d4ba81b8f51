//! The requests of slirp4netns:
//!
//! ```text
//! {"execute":"add_hostfwd","arguments":{"proto":"tcp","host_addr":"127.0.0.1","host_port":8080,
//!                                       "guest_addr":"","guest_port":80}}    {"return":{"id":1}}
//! {"execute":"list_hostfwd"}                                                 {"return":{"entries":[...]}}
//! {"execute":"remove_hostfwd","arguments":{"id":1}}                          {"return":{}}
//! ```

use super::Protocol;
use crate::drop_in::ports::open;
use adit_engine::{FlowId, PortId, Transport};
use adit_nat::{Gateway, Publish};
use adit_runtime::Runner;
use adit_service::nat::publish::close;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// The ports that were asked for, by their ids.
#[derive(Debug)]
pub(crate) struct HostForwards {
    /// The device inside, of each family.
    devices: Vec<IpAddr>,
    port: PortId,
    forwards: BTreeMap<u32, Forward>,
    last: u32,
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

impl HostForwards {
    /// None yet, to devices with these addresses.
    pub(crate) const fn new(devices: Vec<IpAddr>, port: PortId) -> Self {
        Self { devices, port, forwards: BTreeMap::new(), last: 0 }
    }

    fn serve(&mut self, request: &[u8], runner: &mut Runner<Gateway>) -> Result<Value, String> {
        let bad = |error| format!("bad request: {error}");
        let request: Request = serde_json::from_slice(request).map_err(bad)?;
        match request.execute.as_str() {
            "add_hostfwd" => {
                let what: HostForward = serde_json::from_value(request.arguments).map_err(bad)?;
                let publish = self.publish(&what)?;
                let flow = open(runner, publish);
                let flow = flow.map_err(|why| format!("bad request: add_hostfwd: {why}"))?;
                self.last += 1;
                let what = HostForward {
                    host_addr: publish.local.ip().to_string(),
                    guest_addr: publish.inside.ip().to_string(),
                    ..what
                };
                self.forwards.insert(self.last, Forward { flow, what });
                Ok(json!({"return": {"id": self.last}}))
            }
            "list_hostfwd" => {
                let entries = self.forwards.iter().map(|(id, forward)| {
                    let HostForward { proto, host_addr, host_port, guest_addr, guest_port } =
                        &forward.what;
                    json!({"id": id, "proto": proto, "host_addr": host_addr, "host_port": host_port,
                           "guest_addr": guest_addr, "guest_port": guest_port})
                });
                let entries: Vec<Value> = entries.collect();
                Ok(json!({"return": {"entries": entries}}))
            }
            "remove_hostfwd" => {
                let id = request.arguments.get("id").and_then(Value::as_u64);
                let id = id.and_then(|id| u32::try_from(id).ok());
                let forward = id.and_then(|id| self.forwards.remove(&id));
                let forward = forward.ok_or("bad arguments.id")?;
                close(runner, forward.flow);
                Ok(json!({"return": {}}))
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
}

impl Protocol for HostForwards {
    fn is_whole(&self, request: &[u8]) -> bool {
        serde_json::from_slice::<Value>(request).is_ok()
    }

    fn answer(&mut self, request: &[u8], runner: &mut Runner<Gateway>) -> Vec<u8> {
        let reply = self.serve(request, runner);
        let reply = reply.unwrap_or_else(|why| json!({"error": {"desc": why}}));
        reply.to_string().into_bytes()
    }
}
