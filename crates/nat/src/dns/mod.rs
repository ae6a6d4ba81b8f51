//! The name server of the inside.
//!
//! # Theory of operation
//!
//! [`Forwarder`] takes a query for the address of the NAT's name server, in a datagram or on a TCP connection.
//!
//! ```text
//! query -> header and question, strict      else FORMERR, NOTIMP, or no answer
//!       -> a name of our own?               A, AAAA, PTR; NODATA, NXDOMAIN with a SOA record
//!       -> the same query waits? too many?  dropped and counted
//!       -> the first name server that answers, on a flow of its own and with a random id
//!             no answer in 0.75 s, an error of the flow, SERVFAIL, REFUSED   -> the next one as well
//!             none within 4.5 s                                              -> SERVFAIL to the client
//! answer -> its flow, id and question are those of a query that waits -> to the client, its id put back
//! ```
//!
//! **Forged answers.** Each query has a flow of its own, so the kernel chooses a random port for it and
//! takes answers from that name server only; the id is random as well, and the question is compared.
//!
//! **Nothing behind the question is read or changed**, in either direction: EDNS, DNSSEC, unknown types and
//! truncated answers pass as they are. A client that sees a truncated one asks again by TCP; then the name
//! server is asked by TCP as well, with each message behind its length ([`Framing`]).
//!
//! **A name server that did not answer** is asked last for ten seconds, so the next queries do not wait for
//! it. The list is replaced at any time ([`Forwarder::set_servers`]); [`ResolvConf`] reads one.
//!
//! **Own names** are answered with TTL 10. Everything below `adit.internal` is ours. Nobody outside is asked
//! about it.
//!
//! **Bounds**: 512 queries wait, 128 of one source; each has two sockets at most and ends after 4.5 s. Queries
//! are at most 1232 bytes long. 64 TCP connections of clients are open, each with at most 256 KiB of answers.

/// The port of name servers.
pub const PORT: u16 = 53;

mod forwarder;
mod framing;
mod message;
mod name;
mod names;
mod resolv_conf;
mod streams;
mod waiting;

#[cfg(test)]
mod tests;

pub use forwarder::Forwarder;
pub use framing::{Framing, TooLong};
pub(crate) use message::truncate;
pub use name::{Name, NameError};
pub use names::{OwnNames, parse_host, parse_server};
pub use resolv_conf::{Nameserver, ResolvConf};
pub(crate) use streams::{Step, Streams};
pub use waiting::Client;
