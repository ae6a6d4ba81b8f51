//! Theory of operation of the NAT: hosts inside reach the outside through sockets of this host.
//!
//! No privilege is needed: a TCP connection of the inside becomes a connection of the host, a UDP port a
//! bound socket. The engine translates between packets and flows ([`flow`](adit_engine::flow)).
//!
//! ```text
//!      inside                            Nat                                  outside
//!  IP packets, super-packets  parse -> checks -> flow table -> Conn, Mapping     flows
//!   Endpoint::Port  <------>  headers  source    Table<Entry>   tcp, udp  <->  Endpoint::Flow
//!                             fragments policy   aged by class
//! ```
//!
//! **A packet of the inside** is parsed once. A source that is none of the inside is dropped, fragments
//! are put together within bounds (`fragments`), a checksum is verified unless the device left it to be
//! finished. The flow is found by a keyed hash (`table`). Only a new flow is checked against the
//! [`Policy`]: what is denied is answered with "administratively prohibited", what the policy redirects
//! goes elsewhere.
//!
//! **TCP** (`tcp`) is a splice of two connections that keeps its ends honest. The inside's SYN is
//! answered when the flow has connected: a refused connect is a RST inside, an unreachable host an ICMP
//! error. The two directions are apart:
//!
//! - *From the inside* (`up`): the window that the inside sees is what the socket takes, so no byte in it
//!   is dropped. Bytes in order go to the socket in the packet that brought them, without a copy; bytes
//!   behind a hole are kept and reported by SACK. An acknowledgment goes out when the socket's credit
//!   changes, or at the end of the loop's turn: one for a super-packet.
//! - *To the inside* (`down`): bytes stay in the socket until the inside has acknowledged them
//!   ([`FlowRequest::Keep`](adit_engine::FlowRequest::Keep)), so nothing is copied for retransmission and an idle
//!   flow has no buffer. The engine asks for ranges: new ones within both windows, lost ones again.
//!
//! With [`Config::splice`] the bytes do not pass here: once the flow has connected, the inside's SYN goes back to
//! it, where rules of its namespace lead it to a listening socket of the runtime, which joins the two
//! sockets ([`FlowRequest::Splice`](adit_engine::FlowRequest::Splice)). What was refused was refused before. The SYN
//! carries [`SPLICE_TAG`], set by those rules: it shows that they are there, and that the connection began in
//! that namespace.
//!
//! FIN, half-close and RST pass as they are, in both directions.
//!
//! **UDP** (`udp`): an inside address and port has one socket for all remote ones, bound to the same port
//! if that is free: mappings are endpoint-independent (RFC 4787, REQ-1). What comes in is filtered as
//! configured. Trains of datagrams pass whole both ways.
//!
//! **ICMP** (`echo`): an inside address and identifier has a ping socket of the host. Where the host
//! refuses ping sockets, echo requests are answered with "administratively prohibited". Errors that the host's sockets met
//! become ICMP errors about the inside's own packets.
//!
//! **From the outside** nothing enters but answers, and what is published: [`Nat::publish`] opens a listening
//! socket or a bound one at run time. The inside sees the client's true address, because the packets come
//! through this engine and not from a proxy.
//!
//! **Memory** is bounded by [`Limits`]: flows in all and of one source, reordered bytes, fragments. A full
//! table gives up what opens before what talks. Lists by class and age make expiry independent of the
//! number of flows; connections with something on the way have a timer each.
//!
//! **Seams.** The engine sees IP packets alone: a layer for Ethernet (adit-nat: ARP, neighbour discovery, DHCP) stands
//! in front of it, with ports of its own. Services of the gateway's address, such as name resolution, are
//! destinations that [`Policy::redirects`] leads to a socket of this host.

mod access;
mod config;
mod destination;
mod echo;
mod engine;
mod follow;
mod fragments;
mod hash;
mod limiter;
mod news;
mod policy;
mod publish;
mod remotes;
mod report;
mod spec;
mod table;
mod tcp;
mod udp;
mod wire;

pub use access::Access;
pub use config::{Config, Limits, UdpFiltering, timeout};
pub use destination::Destination;
pub use engine::Nat;
pub use follow::FollowListeners;
pub use news::{FlowChange, FlowNews};
pub use policy::{Policy, Redirect, Rule, Verdict, is_denied_by_default};
pub use publish::{Publish, PublishError, PublishState, Published};
pub use report::FlowRow;
pub use spec::{PublishSpec, Publishing};
pub use tcp::SPLICE_TAG;
