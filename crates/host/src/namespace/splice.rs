//! Leads TCP connections of a namespace past its device, to a listening socket of ours.
//!
//! ```text
//! output      a SYN for the device gets a tag, by which the NAT knows that these rules are there
//! prerouting  a SYN with the tag that the NAT sends back goes to the listening socket (TPROXY)
//! output      once that socket has answered, the connection has a mark, and a rule routes what has it to lo;
//!             what the listening socket sends goes there by itself, and is not routed twice
//! ```
//!
//! So a connection that the NAT answers itself passes the device as before, also after its SYN was sent back to no
//! avail: for example because rules of the inside dropped it. The sockets have the addresses of the connection,
//! nothing is translated.
//!
//! What is set up ends with the namespace; the routes with the device. Rules that a NAT left in a namespace do
//! nothing without its device, and the next one replaces them.

use crate::changes::action::Action;
use crate::changes::executor::{Executor, HostExecutor};
use crate::changes::program;
use crate::error::{Error, Kind, Result, SYSTEM};
use crate::namespace::channel::failure;
use adit_device::netlink::{FwMark, IpFamily, Route, RouteKind, Rule, RuleAction};
use adit_device::{IfName, Link};
use adit_packet::IpPrefix;
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, configure_capability_in_ambient_set,
    set_capabilities,
};
use socket2::{Domain, Socket, Type};
use std::net::{Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;

/// The marks of connections: one that was sent back, and one that the listening socket has answered, which is
/// that of its packets, and the number of the routing table.
const SENT_BACK: u32 = 0xAD17_0001;
const ANSWERED: u32 = 0xAD17_0002;

/// The table of the packet filter.
const TABLE: &str = "inet adit-splice";

/// Connections that wait in the kernel: as many as Linux allows by default.
const BACKLOG: i32 = 4096;

/// Sets it up in the namespace of this thread, which is for this trial alone.
///
/// # Errors
/// What is missing here.
pub fn try_splice(device: IfName) -> Result<()> {
    open(device, 0).map(drop)
}

/// Sets it up in the namespace of this thread, for SYNs with this urgent pointer; returns the listening socket.
///
/// # Errors
/// What the namespace does not allow, or has of its own.
pub(super) fn open(device: IfName, tag: u16) -> Result<OwnedFd> {
    let (listener, port) =
        transparent().map_err(|error| failure("open", "a transparent socket", &error))?;
    // The SYN that comes back has a source address of this very host.
    let accept_local = format!("/proc/sys/net/ipv4/conf/{device}/accept_local");
    std::fs::write(&accept_local, "1")
        .map_err(|error| failure("write 1 to", &accept_local, &error))?;
    keep_over_exec().map_err(|errno| failure("pass on", "a capability", &errno.into()))?;
    let tables = nft("list tables")?;
    if let Some(other) = tables.lines().find(|line| *line != format!("table {TABLE}")) {
        let message = format!("the namespace has packet filter rules of its own ({other})");
        return Err(Error::new(Kind::Refused, &SYSTEM, message));
    }
    nft(&rules(device, tag, port))?;
    let mut host = HostExecutor::new(None);
    for action in routes(&Link::find(&device)?)? {
        host.perform(&action)?;
    }
    Ok(listener)
}

/// A listening socket for connections to any address, and its port.
fn transparent() -> std::io::Result<(OwnedFd, u16)> {
    let socket = Socket::new(Domain::IPV6, Type::STREAM.nonblocking().cloexec(), None)?;
    socket.set_only_v6(false)?;
    // Of both families.
    socket.set_ip_transparent_v4(true)?;
    socket.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)).into())?;
    socket.listen(BACKLOG)?;
    let port = socket.local_addr()?.as_socket().map_or(0, |local| local.port());
    Ok((socket.into(), port))
}

/// Lets programs that this thread executes set up its network as it may itself.
fn keep_over_exec() -> rustix::io::Result<()> {
    let admin = CapabilitySet::NET_ADMIN;
    set_capabilities(None, CapabilitySets { inheritable: admin, ..capabilities(None)? })?;
    configure_capability_in_ambient_set(admin, true)
}

/// The rules in the words of nft(8), in place of those that are there.
fn rules(device: IfName, tag: u16, port: u16) -> String {
    let syn = "tcp flags & (fin | syn | rst | ack) == syn";
    format!(
        "add table {TABLE}; delete table {TABLE}; table {TABLE} {{ \
         chain out {{ type route hook output priority mangle; \
         oifname \"{device}\" {syn} tcp urgptr set {tag} ct mark set 0 accept; \
         oifname != \"lo\" ct mark {ANSWERED} meta mark set {ANSWERED} accept; \
         oifname \"lo\" ct mark {SENT_BACK} tcp flags & (syn | ack) == (syn | ack) \
         ct mark set {ANSWERED}; }}; \
         chain back {{ type filter hook prerouting priority mangle; \
         iifname \"{device}\" {syn} tcp urgptr {tag} ct mark set {SENT_BACK} \
         meta mark set {ANSWERED} tproxy to :{port} accept; }}; }}"
    )
}

/// What routes marked packets to this very host. The routes are the device's, and end with it.
fn routes(device: &Link) -> Result<Vec<Action>> {
    let mut actions = Vec::new();
    for (family, all) in [(IpFamily::V4, IpPrefix::ALL_V4), (IpFamily::V6, IpPrefix::ALL_V6)] {
        let (kind, oif) = (RouteKind::Local, Some(device.index()?));
        actions.push(Action::AddRoute(Route { kind, oif, table: ANSWERED, ..Route::new(all) }));
        let fwmark = Some(FwMark::from(ANSWERED));
        let action = RuleAction::Table(ANSWERED);
        actions.push(Action::AddRule(Rule { fwmark, ..Rule::new(family, action) }));
    }
    Ok(actions)
}

fn nft(script: &str) -> Result<String> {
    program::output(&["nft", script].map(str::to_owned)).map_err(|error| {
        let message = format!("the packet filter of the namespace refuses ({error})");
        let new = Error::new(Kind::Refused, &SYSTEM, message).object("nft");
        new.hint("The splice datapath needs the program nft (package nftables) and the kernel's nft_tproxy.")
    })
}
