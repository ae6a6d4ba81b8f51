//! What a NAT reports.

use crate::control::http::Request;
use crate::control::page;
use crate::control::route::{PAGE, Route, schema};
use crate::error::Result;
use crate::sandbox::SandboxState;
use adit_engine::{FlowId, Transport};
use adit_nat::{FlowChange, FlowNews, FlowRow, Gateway, Publish};
use adit_runtime::{Runner, SpliceCounts};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// A running NAT.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "adit nat show")]
pub struct Nat {
    /// Its name.
    pub name: String,
    /// Its process.
    pub pid: u32,
    /// The sandbox that its process is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<SandboxState>,
    /// The device inside, or the ports of guests.
    pub device: String,
    /// Its IP MTU.
    pub mtu: u16,
    /// The addresses of the device inside; the networks of guests.
    pub addresses: Vec<String>,
    /// The addresses of the NAT inside.
    pub gateways: Vec<IpAddr>,
    /// The addresses of the name server inside.
    pub name_servers: Vec<IpAddr>,
    /// The name servers that it asks, in order.
    pub resolvers: Vec<SocketAddr>,
    /// Ports of the host's loopback that the inside reaches at the NAT's address.
    pub allow_host: Vec<u16>,
    /// How bytes of TCP connections pass: `packet` or `splice`.
    pub datapath: String,
    /// Destinations that are reached, whatever else denies them.
    pub allow: Vec<String>,
    /// Destinations that are denied.
    pub deny: Vec<String>,
    /// The most flows of one address inside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flow_limit: Option<u32>,
    /// The most flows that one address inside begins in a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flow_rate: Option<u32>,
    /// The most bits a second of one address inside, in each direction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_rate: Option<u64>,
    /// Lines of the flow log that were lost, if there is a log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flow_log_lost: Option<u64>,
    /// Ports of the host that lead inside.
    pub published: Vec<Published>,
    /// The addresses that guests behind frames use.
    pub guests: Vec<Guest>,
    /// How many flows there are.
    pub flows: usize,
    /// TCP connections whose bytes the kernel moves.
    pub spliced: Spliced,
    /// Packets from the inside.
    pub received: u64,
    /// Packets to the inside.
    pub sent: u64,
    /// Bytes of packets from the inside.
    #[serde(default)]
    pub received_bytes: u64,
    /// Bytes of packets to the inside.
    #[serde(default)]
    pub sent_bytes: u64,
    /// Packets that were dropped, by reason.
    pub dropped: BTreeMap<String, u64>,
}

/// What connections that are spliced have moved.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Spliced {
    /// How many connections there were.
    pub connections: u64,
    /// Bytes from the inside.
    pub sent_bytes: u64,
    /// Bytes to the inside.
    pub received_bytes: u64,
}

impl Spliced {
    pub(super) const fn of(counts: SpliceCounts) -> Self {
        let SpliceCounts { connections, sent: sent_bytes, received: received_bytes } = counts;
        Self { connections, sent_bytes, received_bytes }
    }
}

/// A port of the host that leads inside.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Published {
    /// `tcp` or `udp`.
    pub transport: String,
    /// The host's address and port.
    pub local: SocketAddr,
    /// The address and port inside.
    pub inside: SocketAddr,
}

impl Published {
    pub(super) fn new(publish: &Publish) -> Self {
        let &Publish { transport, local, inside, .. } = publish;
        Self { transport: word_of(transport).to_owned(), local, inside }
    }
}

/// The word for a transport.
pub(super) const fn word_of(transport: Transport) -> &'static str {
    match transport {
        Transport::Tcp => "tcp",
        Transport::Udp => "udp",
        _ => "icmp",
    }
}

/// An address of a guest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Guest {
    /// The address.
    pub address: IpAddr,
    /// Its MAC address.
    pub mac: String,
}

/// A flow of a NAT.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "adit nat flows: an entry of the list")]
pub struct Flow {
    /// `tcp`, `udp` or `icmp`.
    pub transport: String,
    /// The address and port inside; of ICMP the identifier.
    pub inside: SocketAddr,
    /// The remote one as the inside knows it; of UDP the latest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote: Option<SocketAddr>,
    /// What it does.
    pub state: String,
    /// Bytes from the inside.
    pub sent_bytes: u64,
    /// Bytes to the inside.
    pub received_bytes: u64,
    /// How long ago a packet of it passed, in seconds.
    pub idle_s: f64,
}

/// `GET /nat/flows`.
pub(crate) const FLOWS: Route =
    Route::get("/nat/flows", "a page of the flows of the NAT", schema::<FlowPage>)
        .query(&[PAGE])
        .for_members();

/// Some of the flows of a NAT.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct FlowPage {
    /// The flows, in the order of their addresses inside.
    pub flows: Vec<Flow>,
    /// The `page` of the next request; not there at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl FlowPage {
    /// The list in its tokens.
    pub(crate) const LIST: &'static str = "flows";

    /// The page that a request asks for.
    pub(super) fn of(runner: &Runner<Gateway>, request: &Request) -> Result<Self> {
        let place = page::place(Self::LIST, request)?;
        let found = Self::after(runner, &place.unwrap_or_default())?;
        let next = found.next.map(|place| page::token(Self::LIST, &place));
        Ok(Self { next, ..found })
    }

    /// The flows after a place, which is empty for the first page; `next` is the place after them.
    pub(crate) fn after(runner: &Runner<Gateway>, place: &str) -> Result<Self> {
        let key = |row: &FlowRow| (row.inside, row.flow);
        let read = |place: &str| {
            let (inside, flow) = place.split_once(' ')?;
            Some((inside.parse().ok()?, FlowId(flow.parse().ok()?)))
        };
        let after = match place {
            "" => None,
            place => Some(read(place).ok_or_else(|| page::wrong(Self::LIST))?),
        };
        let (rows, has_more) = page::cut(runner.engine().nat().flows(), after.as_ref(), key);
        let last = rows.last().filter(|_| has_more).map(key);
        let next = last.map(|(inside, flow)| format!("{inside} {}", flow.0));
        let now = runner.now();
        let flow = |row: FlowRow| {
            let moved = (row.sent_bytes, row.received_bytes, row.used);
            let (sent_bytes, received_bytes, used) = runner.spliced(row.flow).unwrap_or(moved);
            Flow {
                transport: word_of(row.transport).to_owned(),
                inside: row.inside,
                remote: row.remote,
                state: row.state.to_owned(),
                sent_bytes,
                received_bytes,
                idle_s: now.since(used).as_secs_f64(),
            }
        };
        Ok(Self { flows: rows.into_iter().map(flow).collect(), next })
    }
}

/// A line of the flow log.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(title = "adit run --flow-log: a line")]
pub struct FlowLine {
    /// When, in seconds since 1970.
    pub time_s: f64,
    /// `opened`, `closed` or `denied`.
    pub event: &'static str,
    /// `tcp`, `udp` or `icmp`.
    pub transport: &'static str,
    /// The address and port inside; of ICMP the identifier.
    pub inside: SocketAddr,
    /// The remote one as the inside knows it; of UDP the latest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote: Option<SocketAddr>,
    /// Bytes from the inside, when it closed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sent_bytes: Option<u64>,
    /// Bytes to the inside, when it closed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub received_bytes: Option<u64>,
}

impl FlowLine {
    pub(super) fn new(news: &FlowNews, wall: Duration) -> Option<Self> {
        let event = match news.change {
            FlowChange::Opened => "opened",
            FlowChange::Closed => "closed",
            FlowChange::Denied => "denied",
            _ => return None,
        };
        let is_closed = news.change == FlowChange::Closed;
        Some(Self {
            time_s: wall.as_secs_f64(),
            event,
            transport: word_of(news.transport),
            inside: news.inside,
            remote: news.remote,
            sent_bytes: is_closed.then_some(news.sent_bytes),
            received_bytes: is_closed.then_some(news.received_bytes),
        })
    }
}
