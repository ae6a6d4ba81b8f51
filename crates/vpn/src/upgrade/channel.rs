//! The socket between a tunnel and the process that takes over from it.
//!
//! ```text
//! message    | length 4 | descriptors 2 | kind 1 | bytes ... |    in datagrams of up to 32 KiB
//! ```

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::sockopt::{self, Timeout};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg,
    sendmsg, socketpair,
};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// The longest message: the state of 50,000 peers.
const MESSAGE_LEN_MAX: usize = 256 << 20;

/// The longest datagram: some fit into the buffer of a socket.
const DATAGRAM_LEN_MAX: usize = 32 << 10;

/// The most descriptors of a datagram, and of a message: a device, sockets, 8192 streams.
const FDS_MAX: usize = 64;
const MESSAGE_FDS_MAX: usize = 8192 + FDS_MAX;

/// How long a datagram may wait for room. The other end reads all the time.
const SEND_TIME_MAX: Duration = Duration::from_secs(1);

const HEADER_LEN: usize = 7;

/// What a message says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// New to old: which program this is, and which format it reads.
    Hello = 1,
    /// Old to new: the state and its descriptors.
    State = 2,
    /// New to old: everything is restored.
    Ready = 3,
    /// Old to new: the tunnel is yours.
    Go = 4,
    /// New to old: no packet was handled before this message.
    Running = 5,
    /// New to old: why it ends.
    Failed = 6,
    /// New to old: its number is in the lock.
    Named = 7,
}

impl Kind {
    const ALL: [Self; 7] =
        [Self::Hello, Self::State, Self::Ready, Self::Go, Self::Running, Self::Failed, Self::Named];
}

/// A message with its descriptors. Its bytes are cleared when it is dropped.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) kind: Kind,
    pub(super) bytes: Zeroizing<Vec<u8>>,
    pub(super) fds: Vec<OwnedFd>,
}

/// One end. It reads EOF when the process at the other end has ended.
#[derive(Debug)]
pub(super) struct Channel(OwnedFd);

impl Channel {
    /// Both ends; the second one is for the standard input of the new process.
    pub(super) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
        let flags = SocketFlags::CLOEXEC;
        Ok(socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?)
    }

    /// The end that the old process passed as standard input, which is empty from now on.
    ///
    /// # Errors
    /// ENOTSOCK: it passed none.
    pub(super) fn from_stdin() -> io::Result<Self> {
        let stdin = io::stdin().as_fd().try_clone_to_owned()?;
        let channel = Self::new(stdin)?;
        let null = rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        rustix::stdio::dup2_stdin(&null)?;
        Ok(channel)
    }

    /// One of them.
    pub(super) fn new(socket: OwnedFd) -> io::Result<Self> {
        sockopt::set_socket_timeout(&socket, Timeout::Send, Some(SEND_TIME_MAX))?;
        Ok(Self(socket))
    }

    /// Sends a message.
    ///
    /// # Errors
    /// EPIPE: the other process has ended; EAGAIN: it does not read; EMSGSIZE.
    pub(super) fn send(&self, kind: Kind, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let too_long = |_| io::Error::from(Errno::MSGSIZE);
        let len = u32::try_from(bytes.len()).map_err(too_long)?;
        let count = u16::try_from(fds.len()).map_err(too_long)?;
        let mut header = [0; HEADER_LEN];
        header[..4].copy_from_slice(&len.to_le_bytes());
        header[4..6].copy_from_slice(&count.to_le_bytes());
        header[6] = kind as u8;
        let mut fds = fds.chunks(FDS_MAX);
        let mut send = |datagram: &[u8]| {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS_MAX))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            if let Some(fds) = fds.next() {
                // There is room for so many.
                let _ = control.push(SendAncillaryMessage::ScmRights(fds));
            }
            let data = [IoSlice::new(datagram)];
            rustix::io::retry_on_intr(|| {
                sendmsg(&self.0, &data, &mut control, SendFlags::NOSIGNAL)
            })?;
            io::Result::Ok(fds.len())
        };
        let mut left = send(&header)?;
        for datagram in bytes.chunks(DATAGRAM_LEN_MAX) {
            left = send(datagram)?;
        }
        // More descriptors than datagrams: empty ones end a connection, so each has a byte.
        while left > 0 {
            left = send(&[0])?;
        }
        Ok(())
    }

    /// Waits for a message.
    ///
    /// # Errors
    /// `UnexpectedEof`: the other process has ended. EAGAIN: not within this time. `InvalidData`: it is no message.
    pub(super) fn recv(&self, within: Duration) -> io::Result<Message> {
        let end = Instant::now() + within;
        let invalid = || io::Error::from(io::ErrorKind::InvalidData);
        let mut buffer = Zeroizing::new([0; DATAGRAM_LEN_MAX]);
        let mut fds = Vec::new();
        let read = self.datagram(buffer.as_mut_slice(), &mut fds, end)?;
        let header: [u8; HEADER_LEN] =
            buffer.get(..read).and_then(|read| read.try_into().ok()).ok_or_else(invalid)?;
        let [l0, l1, l2, l3, c0, c1, kind] = header;
        let len = usize::try_from(u32::from_le_bytes([l0, l1, l2, l3])).unwrap_or(usize::MAX);
        let count = usize::from(u16::from_le_bytes([c0, c1]));
        let kind = Kind::ALL.into_iter().find(|known| *known as u8 == kind).ok_or_else(invalid)?;
        if len > MESSAGE_LEN_MAX || count > MESSAGE_FDS_MAX {
            return Err(invalid());
        }
        // It does not grow, so no copy of its bytes is left behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(len));
        while bytes.len() < len || fds.len() < count {
            let read = self.datagram(buffer.as_mut_slice(), &mut fds, end)?;
            let wanted = read.min(len - bytes.len());
            bytes.extend_from_slice(buffer.get(..wanted).unwrap_or_default());
        }
        if fds.len() != count {
            return Err(invalid());
        }
        Ok(Message { kind, bytes, fds })
    }

    fn datagram(
        &self,
        buffer: &mut [u8],
        fds: &mut Vec<OwnedFd>,
        end: Instant,
    ) -> io::Result<usize> {
        let left = end.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        sockopt::set_socket_timeout(&self.0, Timeout::Recv, Some(left))?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS_MAX))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let message = rustix::io::retry_on_intr(|| {
            let mut data = [IoSliceMut::new(buffer)];
            recvmsg(&self.0, &mut data, &mut control, RecvFlags::CMSG_CLOEXEC)
        })?;
        for part in control.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = part {
                fds.extend(rights);
            }
        }
        if message.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        match message.bytes {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            len => Ok(len),
        }
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_message_arrives_with_its_bytes_and_descriptors() {
        let (one, other) = Channel::pair().unwrap();
        let [one, other] = [one, other].map(|fd| Channel::new(fd).unwrap());
        let bytes: Vec<u8> = (0..=255).cycle().take(300_000).collect();
        let file = std::fs::File::open("/dev/null").unwrap();
        for (len, count) in [(0, 0), (5, 1), (300_000, 3), (3, 200)] {
            let sender = std::thread::scope(|scope| {
                let sent = scope
                    .spawn(|| one.send(Kind::State, &bytes[..len], &vec![file.as_fd(); count]));
                let message = other.recv(SECOND * 30).unwrap();
                assert_eq!(message.kind, Kind::State);
                assert!(*message.bytes == bytes[..len]);
                assert_eq!(message.fds.len(), count);
                sent.join().unwrap()
            });
            sender.unwrap();
        }
        assert_eq!(
            other.recv(Duration::from_millis(10)).unwrap_err().kind(),
            io::ErrorKind::WouldBlock
        );
        drop(one);
        assert_eq!(other.recv(SECOND).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn what_is_no_message_is_refused() {
        let no_messages: [&[u8]; 5] = [
            b"x",
            &[0, 0, 0, 0, 0, 0, 9],
            &[0, 0, 0, 255, 0, 0, 1],
            &[0, 0, 0, 0, 255, 255, 1],
            &[0; 8],
        ];
        for bytes in no_messages {
            let (one, other) = Channel::pair().unwrap();
            let [one, other] = [one, other].map(|fd| Channel::new(fd).unwrap());
            rustix::net::send(&one.0, bytes, SendFlags::empty()).unwrap();
            let error = other.recv(SECOND).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{bytes:?}");
        }
    }
}
