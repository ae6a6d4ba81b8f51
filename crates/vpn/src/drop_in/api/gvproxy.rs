//! The requests of gvproxy, by HTTP:
//!
//! ```text
//! POST /services/forwarder/expose    {"local":"127.0.0.1:8080","remote":"192.168.127.2:80","protocol":"tcp"}
//! POST /services/forwarder/unexpose  {"local":"127.0.0.1:8080","protocol":"tcp"}
//! GET  /services/forwarder/all       [{"local":...,"remote":...,"protocol":...}]
//! ```

use super::Protocol;
use crate::drop_in::ports::open;
use adit_engine::{FlowId, PortId, Transport};
use adit_nat::{Gateway, Publish};
use adit_runtime::Runner;
use adit_service::control::http::{Method, Parsed, Request, parse};
use adit_service::nat::publish::close;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// The ports that were asked for.
#[derive(Debug)]
pub(crate) struct Exposed {
    port: PortId,
    ports: Vec<(FlowId, Expose)>,
}

/// A port of the host, as requests and replies have it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Expose {
    local: String,
    #[serde(default)]
    remote: String,
    #[serde(default)]
    protocol: String,
}

/// A status, and the body.
type Reply = (u16, String);

impl Exposed {
    pub(crate) const fn new(port: PortId) -> Self {
        Self { port, ports: Vec::new() }
    }

    fn serve(&mut self, request: &Request, runner: &mut Runner<Gateway>) -> Result<String, Reply> {
        let body = || {
            serde_json::from_value::<Expose>(request.body.clone())
                .map_err(|error| (400, error.to_string()))
        };
        match (request.method, request.path.as_str()) {
            (Method::Get, "/services/forwarder/all") => {
                let all: Vec<&Expose> = self.ports.iter().map(|(_, expose)| expose).collect();
                serde_json::to_string(&all).map_err(|error| (500, error.to_string()))
            }
            (Method::Post, "/services/forwarder/expose") => {
                let mut expose = body()?;
                let publish = self.publish(&mut expose).map_err(|why| (500, why))?;
                if self.find(&expose).is_some() {
                    return Err((500, "proxy already running".to_owned()));
                }
                let flow = open(runner, publish).map_err(|why| (500, why))?;
                self.ports.push((flow, expose));
                Ok(String::new())
            }
            (Method::Post, "/services/forwarder/unexpose") => {
                let mut expose = body()?;
                transport(&mut expose).map_err(|why| (500, why))?;
                let found = self.find(&expose).ok_or((500, "proxy not found".to_owned()))?;
                let (flow, _) = self.ports.remove(found);
                close(runner, flow);
                Ok(String::new())
            }
            _ => Err((404, "404 page not found".to_owned())),
        }
    }

    /// The place of the one with the same address of the host.
    fn find(&self, wanted: &Expose) -> Option<usize> {
        let is_it = |(_, one): &(FlowId, Expose)| {
            one.protocol == wanted.protocol && one.local == wanted.local
        };
        self.ports.iter().position(is_it)
    }

    fn publish(&self, expose: &mut Expose) -> Result<Publish, String> {
        let transport = transport(expose)?;
        let local = expose.local.strip_prefix(':').map_or_else(
            || expose.local.parse().ok(),
            |port| Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port.parse().ok()?)),
        );
        let local = local.ok_or_else(|| format!("invalid local address '{}'", expose.local))?;
        // As a URL too: tcp://192.168.127.2:80.
        let remote = expose.remote.rsplit('/').next().unwrap_or_default();
        let inside = remote.parse();
        let inside = inside.map_err(|_| format!("invalid remote address '{}'", expose.remote))?;
        Ok(Publish { transport, local, inside, port: self.port })
    }
}

/// The protocol of a request, which is TCP if it names none.
fn transport(expose: &mut Expose) -> Result<Transport, String> {
    match expose.protocol.as_str() {
        "" | "tcp" => {
            "tcp".clone_into(&mut expose.protocol);
            Ok(Transport::Tcp)
        }
        "udp" => Ok(Transport::Udp),
        other => Err(format!("unknown protocol '{other}'")),
    }
}

impl Protocol for Exposed {
    fn is_whole(&self, request: &[u8]) -> bool {
        !matches!(parse(request), Parsed::Partial)
    }

    fn answer(&mut self, request: &[u8], runner: &mut Runner<Gateway>) -> Vec<u8> {
        let answer = match parse(request) {
            Parsed::Request(request) => self.serve(&request, runner),
            Parsed::Refused(status, why) => Err((status, why)),
            Parsed::Partial => Err((400, "the request is too long, or ends too early".to_owned())),
        };
        match answer {
            Ok(body) => reply(200, &body),
            Err((status, why)) => reply(status, &format!("{why}\n")),
        }
    }
}

fn reply(status: u16, body: &str) -> Vec<u8> {
    let reason = match status {
        200 => "OK",
        400 => "Bad Request",
        404 => "Not Found",
        500 => "Internal Server Error",
        _ => "Refused",
    };
    let (kind, len) =
        (if body.starts_with('[') { "application/json" } else { "text/plain" }, body.len());
    format!(
        "HTTP/1.1 {status} {reason}\r\nContent-Type: {kind}\r\nContent-Length: {len}\r\n\
         Connection: close\r\n\r\n{body}"
    )
    .into_bytes()
}
