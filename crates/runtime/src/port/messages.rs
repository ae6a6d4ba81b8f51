//! Messages of a tunnel on a byte stream: TCP, or a descriptor for each direction.
//!
//! ```text
//!  0            2               length + 2
//!  | length, BE | message       | length, BE | message ...
//! ```
//!
//! As Mullvad's udp-over-tcp has it. What does not fit into a stream that is full is dropped, not kept:
//! the senders inside the tunnel must learn how fast it is.
//!
//! A host that connected is unauthenticated until the engine has authenticated one of its messages. Until then
//! its stream has 2.5 KiB of memory instead of 260, one message is read from it in each turn of the loop, and
//! the first message that no peer can have sent ends it.

use crate::port::byte_stream::ByteStream;
use crate::port::{Cx, Gone, Port, Recv, Wait};
use adit_packet::{Batch, Gso, PacketBuf, Pool, PoolConfig};
use rustix::io::Errno;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

/// The system calls of open streams.
pub(crate) const SYSCALLS: &[&str] =
    &["accept4", "getsockopt", "recvfrom", "sendmsg", "setsockopt", "shutdown"];

/// How many bytes stand before each message.
const LENGTH_LEN: usize = 2;

/// The longest message with its length, twice, so that a read is never short of room.
const INBOX_LEN: usize = 2 * (65_535 + LENGTH_LEN);

/// How many bytes may wait for the stream: two trains, 1 ms at 1 Gbit/s.
const OUTBOX_LEN: usize = 128 * 1024;

/// The most bytes of messages of one length that are handed on as a train.
const TRAIN_LEN_MAX: usize = 65_507;

/// The most messages of a train, as with `UDP_GRO`: a turn of the loop is counted in trains.
const TRAIN_COUNT_MAX: usize = 64;

/// The longest message of an unauthenticated sender: a handshake, or a packet of an earlier session.
const UNAUTHENTICATED_LEN_MAX: usize = 2048;

/// How many bytes may wait for an unauthenticated sender: three answers.
const UNAUTHENTICATED_OUTBOX_LEN: usize = 512;

/// A stream of messages in both directions.
pub struct MessagePort {
    name: String,
    stream: ByteStream,
    inbox: Inbox,
    outbox: Box<[u8]>,
    /// What waits in the outbox: `sent <= filled <= outbox.len()`.
    sent: usize,
    filled: usize,
    sender: Sender,
}

/// What is known of the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sender {
    /// It is a peer, or we connected to it.
    Authenticated,
    /// It has sent nothing yet, or only messages that a peer may have sent.
    Unauthenticated,
    /// The engine has its last message, and says next what that showed.
    Judged,
}

impl MessagePort {
    /// A port on a socket that is connected or about to be.
    ///
    /// # Errors
    /// EBADF.
    pub fn socket(name: impl Into<String>, socket: OwnedFd) -> io::Result<Self> {
        Ok(Self::new(name, ByteStream::socket(socket)?))
    }

    /// A port on one descriptor to read from and one to write to.
    ///
    /// # Errors
    /// EBADF.
    pub fn pair(name: impl Into<String>, reader: OwnedFd, writer: OwnedFd) -> io::Result<Self> {
        Ok(Self::new(name, ByteStream::pair(reader, writer)?))
    }

    /// A port on a byte stream.
    pub fn new(name: impl Into<String>, stream: ByteStream) -> Self {
        Self::with(name.into(), stream, INBOX_LEN, OUTBOX_LEN, Sender::Authenticated)
    }

    /// A port on the socket of a host that connected.
    ///
    /// # Errors
    /// EBADF.
    pub fn unauthenticated(name: impl Into<String>, socket: OwnedFd) -> io::Result<Self> {
        let stream = ByteStream::socket(socket)?;
        let inbox_len = LENGTH_LEN + UNAUTHENTICATED_LEN_MAX;
        let sender = Sender::Unauthenticated;
        Ok(Self::with(name.into(), stream, inbox_len, UNAUTHENTICATED_OUTBOX_LEN, sender))
    }

    /// Continues with a stream of another process, which had these bytes of [`Self::parts`].
    ///
    /// # Errors
    /// EBADF; EMSGSIZE: more bytes than a stream can have.
    pub fn resume(
        name: impl Into<String>,
        socket: OwnedFd,
        received: &[u8],
        unsent: &[u8],
    ) -> io::Result<Self> {
        let mut port = Self::socket(name, socket)?;
        let inbox = port.inbox.buf.get_mut(..received.len()).ok_or(Errno::MSGSIZE)?;
        inbox.copy_from_slice(received);
        port.inbox.end = received.len();
        let outbox = port.outbox.get_mut(..unsent.len()).ok_or(Errno::MSGSIZE)?;
        outbox.copy_from_slice(unsent);
        port.filled = unsent.len();
        Ok(port)
    }

    /// The descriptor of the stream, the bytes that were received and not taken, and those that wait to be sent, for a
    /// process that continues with it ([`Self::resume`]). `None` while the sender is unauthenticated.
    #[must_use]
    pub fn parts(&self) -> Option<(BorrowedFd<'_>, &[u8], &[u8])> {
        let received = self.inbox.buf.get(self.inbox.start..self.inbox.end)?;
        let unsent = self.outbox.get(self.sent..self.filled)?;
        (self.sender == Sender::Authenticated).then_some((self.stream.reader(), received, unsent))
    }

    fn with(
        name: String,
        stream: ByteStream,
        inbox_len: usize,
        outbox_len: usize,
        sender: Sender,
    ) -> Self {
        let (inbox, outbox) = (Inbox::new(inbox_len), vec![0; outbox_len].into());
        Self { name, stream, inbox, outbox, sent: 0, filled: 0, sender }
    }

    /// The other end is a peer: gives it room.
    fn authenticated(&mut self) {
        self.sender = Sender::Authenticated;
        // It is empty: no more than one message was read.
        self.inbox = Inbox::new(INBOX_LEN);
        let mut outbox = vec![0; OUTBOX_LEN];
        let waiting = self.outbox.get(self.sent..self.filled).unwrap_or_default();
        outbox.iter_mut().zip(waiting).for_each(|(to, from)| *to = *from);
        (self.sent, self.filled) = (0, self.filled - self.sent);
        self.outbox = outbox.into();
    }

    /// Takes one message of an unauthenticated sender, and then learns what it showed. `None` if the sender is
    /// a peer by now.
    fn recv_unauthenticated(&mut self, cx: &mut Cx<'_>) -> Option<Recv> {
        if self.sender == Sender::Judged {
            if cx.handled.authenticated {
                self.authenticated();
                return None;
            }
            self.sender = Sender::Unauthenticated;
            // The next message has to wait for the next turn.
            return Some(if cx.handled.plausible { Recv::Nothing } else { NO_PEER });
        }
        loop {
            let room = match self.inbox.missing() {
                Some([]) => break,
                Some(room) => room,
                None => return Some(NO_PEER),
            };
            match self.stream.read(room) {
                Ok(Some(count)) => self.inbox.filled(count),
                Ok(None) => return Some(Recv::Nothing),
                Err(gone) => return Some(Recv::Gone(gone)),
            }
        }
        Some(match self.inbox.next(cx.pool) {
            Next::Train(packet) => {
                self.sender = Sender::Judged;
                Recv::Packet(packet)
            }
            Next::NoBuffer => {
                cx.counters.no_buffer += 1;
                Recv::Nothing
            }
            Next::Empty | Next::More => NO_PEER,
        })
    }

    fn push(&mut self, message: &[u8]) -> bool {
        let Ok(length) = u16::try_from(message.len()) else { return false };
        let end = self.filled + LENGTH_LEN + message.len();
        let Some(room) = self.outbox.get_mut(self.filled..end) else { return false };
        let (head, body) = room.split_at_mut(LENGTH_LEN);
        head.copy_from_slice(&length.to_be_bytes());
        body.copy_from_slice(message);
        self.filled = end;
        true
    }

    fn make_room(&mut self) -> Result<(), Gone> {
        if !self.stream.is_full() {
            self.write()?;
        }
        self.outbox.copy_within(self.sent..self.filled, 0);
        (self.sent, self.filled) = (0, self.filled - self.sent);
        Ok(())
    }

    fn write(&mut self) -> Result<(), Gone> {
        self.sent += self.stream.write(&self.outbox[self.sent..self.filled])?;
        if self.sent == self.filled {
            (self.sent, self.filled) = (0, 0);
        }
        Ok(())
    }
}

/// The end of a stream whose first message is not a peer's.
const NO_PEER: Recv = Recv::Gone(Gone::Protocol("what no peer sends"));

debug_as_port!(MessagePort);

impl Port for MessagePort {
    fn name(&self) -> &str {
        &self.name
    }

    fn recv(&mut self, cx: &mut Cx<'_>) -> Recv {
        if self.sender != Sender::Authenticated
            && let Some(received) = self.recv_unauthenticated(cx)
        {
            return received;
        }
        loop {
            match self.inbox.next(cx.pool) {
                Next::Train(packet) => return Recv::Packet(packet),
                Next::Empty => {
                    cx.counters.malformed += 1;
                    return Recv::Dropped;
                }
                Next::NoBuffer => {
                    cx.counters.no_buffer += 1;
                    return Recv::Dropped;
                }
                Next::More => {}
            }
            match self.stream.read(self.inbox.spare_mut()) {
                Ok(Some(count)) => self.inbox.filled(count),
                Ok(None) => return Recv::Nothing,
                Err(gone) => return Recv::Gone(gone),
            }
        }
    }

    fn send(&mut self, cx: &mut Cx<'_>, batch: &mut Batch) -> Result<(), Gone> {
        let mut result = Ok(());
        for packet in batch.drain(..) {
            let vnet = &packet.meta.vnet;
            let stride = match vnet.gso {
                Gso::UdpL4 => usize::from(vnet.gso_size).max(1),
                _ => packet.len().max(1),
            };
            for message in packet.bytes().chunks(stride) {
                if self.outbox.len() - self.filled < message.len() + LENGTH_LEN && result.is_ok() {
                    result = self.make_room();
                }
                let went = result.is_ok() && self.push(message);
                let count = if went { &mut cx.counters.sent } else { &mut cx.counters.queue_full };
                *count += 1;
                if went {
                    cx.counters.sent_bytes += u64::try_from(message.len()).unwrap_or(0);
                }
            }
            cx.pool.give(packet);
        }
        result?;
        if self.stream.is_full() { Ok(()) } else { self.write() }
    }

    fn flush(&mut self, _: &mut Cx<'_>) -> Result<(), Gone> {
        if !self.wants_room() && self.stream.is_gone() {
            return Err(Gone::Closed);
        }
        self.write()
    }

    fn descriptors(&self, each: &mut dyn FnMut(BorrowedFd<'_>, Wait)) {
        self.stream.descriptors(each);
    }

    fn wants_room(&self) -> bool {
        self.sent < self.filled
    }

    fn has_more(&self) -> bool {
        self.inbox.has_next()
    }

    fn failed(&mut self) -> Option<Gone> {
        self.stream.is_gone().then_some(Gone::Closed)
    }
}

/// What came and was not taken out. Its memory does not grow.
struct Inbox {
    buf: Box<[u8]>,
    /// `start <= end <= buf.len()`.
    start: usize,
    end: usize,
}

/// What comes next in a stream.
enum Next {
    /// A message, or several of one length in a row as a train, the last perhaps shorter.
    Train(PacketBuf),
    /// A message of no length; it is skipped.
    Empty,
    /// There is no buffer for a message, which is skipped.
    NoBuffer,
    /// Nothing until more bytes come.
    More,
}

impl Inbox {
    /// An inbox for this many bytes; it must have room for the longest message with its length.
    fn new(len: usize) -> Self {
        Self { buf: vec![0; len].into(), start: 0, end: 0 }
    }

    /// Room for the rest of one message and for no more; empty if it is whole; `None` if it is empty itself or
    /// too long.
    fn missing(&mut self) -> Option<&mut [u8]> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
        let whole = match self.buf.get(..self.end)?.split_first_chunk() {
            None => LENGTH_LEN,
            Some((&[0, 0], _)) => return None,
            Some((length, _)) => LENGTH_LEN + usize::from(u16::from_be_bytes(*length)),
        };
        self.buf.get_mut(self.end..whole)
    }

    /// Room for what comes next, never empty after [`Self::next`] said `More`.
    fn spare_mut(&mut self) -> &mut [u8] {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.buf.len() - self.end < INBOX_LEN / 2 {
            self.buf.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        &mut self.buf[self.end..]
    }

    fn filled(&mut self, count: usize) {
        self.end = self.end.saturating_add(count).min(self.buf.len());
    }

    /// The whole message that begins at `at`, and where it ends.
    fn message(&self, at: usize) -> Option<(&[u8], usize)> {
        let (length, rest) = self.buf.get(at..self.end)?.split_first_chunk()?;
        let message = rest.get(..usize::from(u16::from_be_bytes(*length)))?;
        Some((message, at + LENGTH_LEN + message.len()))
    }

    fn has_next(&self) -> bool {
        self.message(self.start).is_some()
    }

    fn next(&mut self, pool: &mut Pool) -> Next {
        let Some((first, mut end)) = self.message(self.start) else { return Next::More };
        let stride = first.len();
        if stride == 0 {
            self.start = end;
            return Next::Empty;
        }
        let (mut total, mut count) = (stride, 1);
        while let Some((message, after)) = self.message(end)
            && (1..=stride).contains(&message.len())
            && total + message.len() <= TRAIN_LEN_MAX
            && count < TRAIN_COUNT_MAX
        {
            (total, count, end) = (total + message.len(), count + 1, after);
            if message.len() < stride {
                break;
            }
        }
        let Some(mut packet) = pool.take(total) else {
            self.start = end;
            return Next::NoBuffer;
        };
        let mut at = self.start;
        for _ in 0..count {
            let Some((message, after)) = self.message(at) else { break };
            // It was taken with room for all of them.
            let _ = packet.extend(message);
            at = after;
        }
        self.start = end;
        if count > 1 {
            packet.meta.vnet.gso = Gso::UdpL4;
            packet.meta.vnet.gso_size = u16::try_from(stride).unwrap_or(u16::MAX);
        }
        Next::Train(packet)
    }
}

/// A stream gives the same messages however it is cut: bytes in pieces, the first says of which length.
pub fn exercise(bytes: &[u8]) {
    let Some((&piece, stream)) = bytes.split_first() else { return };
    let whole = messages(stream, INBOX_LEN / 2);
    assert_eq!(messages(stream, usize::from(piece) + 1), whole);
    assert!(whole.iter().map(|message| message.len() + LENGTH_LEN).sum::<usize>() <= stream.len());
}

/// All messages of a stream that comes in pieces of this length.
fn messages(stream: &[u8], piece: usize) -> Vec<Vec<u8>> {
    let (mut inbox, mut pool) = (Inbox::new(INBOX_LEN), Pool::new(PoolConfig::default()));
    let mut messages = Vec::new();
    let mut pieces = stream.chunks(piece);
    loop {
        match inbox.next(&mut pool) {
            Next::Train(packet) => {
                let stride = match usize::from(packet.meta.vnet.gso_size) {
                    0 => packet.len(),
                    stride => stride,
                };
                messages.extend(packet.bytes().chunks(stride).map(<[u8]>::to_vec));
                pool.give(packet);
            }
            Next::Empty => messages.push(Vec::new()),
            Next::NoBuffer => unreachable!("no buffer is kept"),
            Next::More => {
                let Some(piece) = pieces.next() else { break };
                inbox.spare_mut()[..piece.len()].copy_from_slice(piece);
                inbox.filled(piece.len());
            }
        }
    }
    assert_eq!(pool.out(), (0, 0));
    messages
}

#[cfg(test)]
mod tests {
    use super::*;
    use adit_engine::Handled;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_stream_is_the_same_however_it_is_cut(
            bytes in prop::collection::vec(prop_oneof![Just(0), 0..4_u8, any::<u8>()], 0..3000)
        ) {
            exercise(&bytes);
        }
    }

    #[test]
    fn messages_come_whole_however_the_stream_is_cut() {
        let lengths = [1452, 1452, 1452, 80, 0, 148, 148, 1, 65_535, 65_535, 32, 32, 33];
        let sent: Vec<Vec<u8>> = lengths
            .iter()
            .enumerate()
            .map(|(at, &len)| vec![u8::try_from(at).unwrap(); len])
            .collect();
        let mut stream = Vec::new();
        for message in &sent {
            stream.extend_from_slice(&u16::try_from(message.len()).unwrap().to_be_bytes());
            stream.extend_from_slice(message);
        }
        for piece in [1, 2, 3, 1453, 50_000] {
            assert_eq!(messages(&stream, piece), sent, "in pieces of {piece}");
        }
    }

    fn message(len: usize, byte: u8) -> Vec<u8> {
        let length = u16::try_from(len).unwrap().to_be_bytes();
        [length.as_slice(), &vec![byte; len]].concat()
    }

    /// What a port receives from a host that has sent these bytes; the engine says this of each packet. The
    /// lengths of the packets of each turn, and why the stream ended.
    fn turns(port: &mut MessagePort, handled: &[Handled]) -> (Vec<Vec<usize>>, Option<String>) {
        let mut pool = Pool::new(PoolConfig::default());
        let (mut scratch, mut counters) = (crate::port::Scratch::new(), Default::default());
        let (mut said, mut turns) = (handled.iter().copied(), Vec::new());
        for _ in 0..4 {
            let (mut handled, mut turn) = (Handled::NOTHING, Vec::new());
            loop {
                let now = adit_packet::Instant::ZERO;
                let (pool, scratch, counters) = (&mut pool, &mut scratch, &mut counters);
                match port.recv(&mut Cx { now, handled, pool, scratch, counters }) {
                    Recv::Packet(packet) => {
                        turn.push(packet.len());
                        pool.give(packet);
                        handled = said.next().unwrap();
                    }
                    Recv::Gone(why) => {
                        turns.push(turn);
                        return (turns, Some(why.to_string()));
                    }
                    _ => break,
                }
            }
            turns.push(turn);
        }
        (turns, None)
    }

    fn connected(bytes: &[u8]) -> (MessagePort, std::os::unix::net::UnixStream) {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        io::Write::write_all(&mut &theirs, bytes).unwrap();
        (MessagePort::unauthenticated("test", ours.into()).unwrap(), theirs)
    }

    const PLAUSIBLE: Handled = {
        let mut handled = Handled::NOTHING;
        handled.plausible = true;
        handled
    };

    #[test]
    fn an_unauthenticated_sender_has_one_message_a_turn_until_it_is_a_peer() {
        let sent: Vec<u8> = (0..5).flat_map(|byte| message(148, byte)).collect();
        let (mut port, _theirs) = connected(&sent);
        assert!(port.inbox.buf.len() + port.outbox.len() < 3000);
        let (received, end) = turns(&mut port, &[PLAUSIBLE, PLAUSIBLE, Handled::BEGAN, PLAUSIBLE]);
        // As a peer it has the rest of its turn, as a train.
        assert_eq!((received, end), (vec![vec![148], vec![148], vec![148, 296], vec![]], None));
        assert_eq!((port.inbox.buf.len(), port.outbox.len()), (INBOX_LEN, OUTBOX_LEN));
    }

    #[test]
    fn the_first_message_that_no_peer_sends_ends_a_stream() {
        let junk = [message(148, 1), message(148, 2)].concat();
        let (received, end) = turns(&mut connected(&junk).0, &[Handled::NOTHING]);
        assert_eq!(
            (received, end.unwrap()),
            (vec![vec![148]], "the other end sent what no peer sends".into())
        );
        // Of these the engine gets nothing.
        for junk in
            [vec![0, 0], message(UNAUTHENTICATED_LEN_MAX + 1, 1), b"GET / HTTP/1.1".to_vec()]
        {
            let (received, end) = turns(&mut connected(&junk).0, &[]);
            assert!(received == [vec![]] && end.is_some(), "{junk:?}");
        }
        let (received, end) = turns(&mut connected(&message(148, 1)[..149]).0, &[]);
        assert!(received.concat().is_empty() && end.is_none(), "more may come");
    }

    #[test]
    fn an_answer_that_waits_is_kept_when_the_sender_is_a_peer() {
        let (mut port, theirs) = connected(&[]);
        assert!(port.push(&[7; 92]));
        port.authenticated();
        port.write().unwrap();
        let mut answer = [0; 94];
        io::Read::read_exact(&mut &theirs, &mut answer).unwrap();
        assert_eq!(answer.to_vec(), message(92, 7));
    }

    #[test]
    fn a_train_has_as_many_messages_as_one_of_the_kernel() {
        let (mut inbox, mut pool) = (Inbox::new(INBOX_LEN), Pool::new(PoolConfig::default()));
        let sent = message(1, 9).repeat(200);
        inbox.spare_mut()[..sent.len()].copy_from_slice(&sent);
        inbox.filled(sent.len());
        for len in [64, 64, 64, 8] {
            let Next::Train(packet) = inbox.next(&mut pool) else { panic!("a train") };
            assert_eq!(packet.len(), len);
            pool.give(packet);
        }
    }

    #[test]
    fn a_stream_that_is_full_takes_no_more_and_loses_whole_messages() {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let mut port = MessagePort::socket("test", ours.into()).unwrap();
        let mut pool = Pool::new(PoolConfig::default());
        let (mut scratch, mut counters) = (crate::port::Scratch::new(), Default::default());
        for _ in 0..1000 {
            let mut packet = pool.take(1000).unwrap();
            packet.extend(&[7; 1000]).unwrap();
            let mut batch = Batch::new();
            batch.push(packet).unwrap();
            let now = adit_packet::Instant::ZERO;
            let handled = Handled::NOTHING;
            let (pool, scratch, counters) = (&mut pool, &mut scratch, &mut counters);
            let mut cx = Cx { now, handled, pool, scratch, counters };
            port.send(&mut cx, &mut batch).unwrap();
        }
        assert!(port.wants_room() && counters.queue_full > 0 && counters.sent > 100);
        assert_eq!(counters.sent + counters.queue_full, 1000);
        theirs.set_nonblocking(true).unwrap();
        let mut stream = Vec::new();
        while port.wants_room() {
            let _ = io::Read::read_to_end(&mut &theirs, &mut stream);
            let now = adit_packet::Instant::ZERO;
            let handled = Handled::NOTHING;
            let (pool, scratch, counters) = (&mut pool, &mut scratch, &mut counters);
            let mut cx = Cx { now, handled, pool, scratch, counters };
            port.flush(&mut cx).unwrap();
        }
        let _ = io::Read::read_to_end(&mut &theirs, &mut stream);
        let got = messages(&stream, 4096);
        assert_eq!(u64::try_from(got.len()).unwrap(), counters.sent);
        assert!(got.iter().all(|message| message == &[7; 1000]));
    }
}
