//! One query that waits for name servers.

use alloc::vec::Vec;
use core::net::SocketAddr;

use adit_engine::{FlowId, PortId, Transport};
use adit_packet::Instant;

use crate::dns::framing::Framing;
use crate::dns::message::{HEADER_LEN, Header, question_of};

/// Who asked, and to whom the answer goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// The port that the query came from.
    pub port: PortId,
    /// The client's address and port.
    pub from: SocketAddr,
    /// The address and port that it asked.
    pub to: SocketAddr,
    /// The number that the NAT gave to its TCP connection; `None` for UDP.
    pub stream: Option<u64>,
}

impl Client {
    /// How name servers are asked for it.
    pub(super) const fn transport(&self) -> Transport {
        match self.stream {
            Some(_) => Transport::Tcp,
            None => Transport::Udp,
        }
    }
}

/// A query, and the name servers that were asked.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) client: Client,
    /// As the client sent it, its id included.
    pub(super) message: Vec<u8>,
    pub(super) question_len: usize,
    pub(super) attempts: Vec<Attempt>,
    /// When the next name server is asked.
    pub(super) next: Instant,
    /// When the client is told that none answered.
    pub(super) end: Instant,
}

/// One name server that was asked.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) server: SocketAddr,
    pub(super) id: u16,
    pub(super) is_open: bool,
    /// For TCP: what came so far.
    pub(super) framing: Framing,
    /// For TCP: whether the query was sent.
    pub(super) is_sent: bool,
}

impl Waiting {
    pub(super) fn header(&self) -> Option<Header> {
        Header::parse(&self.message)
    }

    pub(super) fn question(&self) -> &[u8] {
        self.message.get(HEADER_LEN..HEADER_LEN + self.question_len).unwrap_or_default()
    }

    /// Whether the client has sent this query before.
    pub(super) fn is_same(&self, client: &Client, message: &[u8]) -> bool {
        self.client == *client && self.message == message
    }

    /// Whether `answer` is that of the name server to this attempt: a response with its id and the
    /// question, which a server that fails may leave out. The flow shows that it is from this server.
    pub(super) fn is_answered_by(&self, attempt: &Attempt, answer: &[u8]) -> bool {
        let (Some(header), Some(question)) = (Header::parse(answer), question_of(answer)) else {
            return false;
        };
        let is_same = match question {
            [] => header.is_error(),
            question => question.eq_ignore_ascii_case(self.question()),
        };
        header.is_response() && header.id == attempt.id && is_same
    }

    /// A name server that was not asked yet, the first of those that answer, or else the one after the last.
    pub(super) fn next_server(
        &self,
        servers: &[SocketAddr],
        is_silent: impl Fn(&SocketAddr) -> bool,
    ) -> Option<SocketAddr> {
        let asked = |server: &SocketAddr| self.attempts.iter().any(|one| one.server == *server);
        let fresh = || servers.iter().filter(|server| !asked(server));
        let next = fresh().find(|server| !is_silent(server)).or_else(|| fresh().next());
        let again = || servers.get(self.attempts.len() % servers.len().max(1));
        next.or_else(again).copied()
    }
}

/// The flow of an attempt: marked as one of DNS by its first bit, then the number of the query and that of the
/// attempt.
pub(super) fn flow_of(number: u32, attempt: usize) -> FlowId {
    let attempt = u8::try_from(attempt).unwrap_or(u8::MAX);
    FlowId(FLOWS | u64::from(number) << 8 | u64::from(attempt))
}

/// The query and the attempt of a flow; `None` for a flow of others.
pub(super) fn of_flow(flow: FlowId) -> Option<(u32, usize)> {
    let [first, _, _, n0, n1, n2, n3, attempt] = flow.0.to_be_bytes();
    let number = u32::from_be_bytes([n0, n1, n2, n3]);
    (first & 0x80 != 0).then_some((number, usize::from(attempt)))
}

const FLOWS: u64 = 1 << 63;
