//! The requests, and the process that performs them.

use crate::{wire_enum, wire_structs};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::OnceLock;

/// The process with privileges, seen from the one without.
pub trait Broker: fmt::Debug + Send + Sync {
    /// Has a request performed; `with` are the descriptors that it is about.
    ///
    /// # Errors
    /// The failure, or that the other process has ended.
    fn request(&self, request: &Request, with: &[BorrowedFd<'_>]) -> Result<Vec<OwnedFd>, Failure>;
}

/// One request, and the descriptors that it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Opens a network namespace by its file.
    Namespace(PathBuf),
    /// Opens the namespace that a device is in; with one of its queues.
    DeviceNamespace,
    /// Opens a netlink socket of a protocol that joins groups; with a namespace, or in that of the program.
    Netlink(u8, u32),
    /// Opens a packet socket on an interface; with a namespace, or in that of the program.
    Packet(PacketRequest),
    /// Creates a device or attaches to it, as the bytes of its options say; with a namespace, or in that of the program.
    /// Returns its queues.
    Device(Vec<u8>),
    /// Opens a UDP or TCP socket.
    Inet(InetSocket),
    /// Sets the mark of what a socket sends; with the socket.
    Mark(u32),
    /// Opens a Unix socket.
    Unix(UnixSocket),
    /// Removes the file of a Unix socket.
    RemoveSocket(PathBuf),
    /// Opens a recording to be played.
    Play(PathBuf),
    /// Opens a recording to be written; whether a FIFO must have a reader.
    Record(PathBuf, bool),
    /// Makes a map of a BPF program.
    Map(BpfMap),
    /// Loads a BPF program of a type, as bytes; with the maps that its instructions have the places of.
    Program(u32, Vec<u8>),
    /// Runs a BPF program on what arrives at the interface with an index; with the program and the namespace.
    Ingress(u32),
}

/// A packet socket on one interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketRequest {
    /// The index of the interface.
    pub index: u32,
    /// Whether the interface receives frames for other stations.
    pub promiscuous: bool,
    /// Whether packets are left out that the host sends.
    pub incoming_only: bool,
    /// The receive buffer in bytes.
    pub buffer_len: Option<usize>,
    /// The send buffer in bytes.
    pub send_buffer_len: Option<usize>,
}

/// A UDP or TCP socket that does not block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InetSocket {
    /// TCP.
    pub is_stream: bool,
    /// The local address that it is bound to; it also chooses the family.
    pub at: SocketAddr,
    /// Whether a socket of the other family may have the same port.
    pub only_v6: bool,
    /// Whether connections that have ended do not keep the port.
    pub reuse: bool,
    /// The mark of its packets (`SO_MARK`); 0 for none.
    pub mark: u32,
    /// The buffers to send from and to receive into, in bytes, beyond the limits of the system where possible.
    pub buffers: Option<(usize, usize)>,
    /// Where it connects to, without waiting.
    pub to: Option<SocketAddr>,
}

impl InetSocket {
    /// A UDP socket.
    #[must_use]
    pub const fn udp(at: SocketAddr) -> Self {
        let (is_stream, only_v6, reuse, mark) = (false, false, false, 0);
        Self { is_stream, at, only_v6, reuse, mark, buffers: None, to: None }
    }
}

/// A Unix socket, which does not block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UnixSocket {
    /// A stream socket, bound; it does not listen yet.
    Stream(PathBuf),
    /// A datagram socket, bound.
    Datagram(PathBuf),
    /// A stream socket, connected.
    Connected(PathBuf),
    /// A datagram socket with an abstract name, of the namespace of the program: a lock that goes with its holder.
    Name(String),
}

/// A map of a BPF program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BpfMap {
    /// Its type.
    pub kind: u32,
    /// The length of a key in bytes.
    pub key_len: u32,
    /// The length of a value in bytes.
    pub value_len: u32,
    /// How many entries it takes.
    pub entries_max: u32,
    /// Its flags.
    pub flags: u32,
}

/// Why a request was not performed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failure {
    /// The number of the kernel.
    pub errno: Option<i32>,
    /// The reason in words, if there is no number.
    pub message: String,
    /// What is known of it beyond that.
    pub details: Option<Box<FailureDetails>>,
}

/// An error of a device in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailureDetails {
    /// The operation, a verb.
    pub op: String,
    /// Its object.
    pub object: String,
    /// The code of its cause.
    pub code: String,
    /// The cause.
    pub text: String,
    /// What to do.
    pub remedy: String,
}

wire_structs! {
    PacketRequest { index, promiscuous, incoming_only, buffer_len, send_buffer_len }
    InetSocket { is_stream, at, only_v6, reuse, mark, buffers, to }
    BpfMap { kind, key_len, value_len, entries_max, flags }
    Failure { errno, message, details }
    FailureDetails { op, object, code, text, remedy }
}

wire_enum! { UnixSocket { 0 = Stream(path), 1 = Datagram(path), 2 = Connected(path), 3 = Name(name) } }

wire_enum! { Request {
    0 = Namespace(path),
    1 = DeviceNamespace,
    2 = Netlink(protocol, groups),
    3 = Packet(wanted),
    4 = Device(options),
    5 = Inet(socket),
    6 = Mark(mark),
    7 = Unix(socket),
    8 = RemoveSocket(path),
    9 = Play(path),
    10 = Record(path, is_nonblocking),
    11 = Map(map),
    12 = Program(kind, instructions),
    13 = Ingress(index),
} }

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        let errno = error.raw_os_error();
        let message = errno.map_or_else(|| error.to_string(), |_| String::new());
        Self { errno, message, details: None }
    }
}

impl From<Failure> for io::Error {
    fn from(failure: Failure) -> Self {
        failure.errno.map_or_else(|| Self::other(failure.message), Self::from_raw_os_error)
    }
}

static BROKER: OnceLock<Box<dyn Broker>> = OnceLock::new();

/// Has `broker` open everything for this process from now on. A second one is ignored: privileges are given up once.
pub fn install(broker: Box<dyn Broker>) {
    let _ = BROKER.set(broker);
}

/// Whether this process has given its privileges up.
#[must_use]
pub fn is_installed() -> bool {
    BROKER.get().is_some()
}

/// Has a request performed; `None` without a broker.
///
/// # Errors
/// Those of [`Broker::request`].
pub fn open_all(
    request: &Request,
    with: &[BorrowedFd<'_>],
) -> Option<Result<Vec<OwnedFd>, Failure>> {
    BROKER.get().map(|broker| broker.request(request, with))
}

/// As [`open_all`], for one descriptor.
///
/// # Errors
/// Those of [`Broker::request`].
pub fn open(wanted: &Request, with: &[BorrowedFd<'_>]) -> Option<io::Result<OwnedFd>> {
    let first = |fds: Vec<OwnedFd>| fds.into_iter().next().ok_or_else(Failure::default);
    open_all(wanted, with).map(|result| result.and_then(first).map_err(io::Error::from))
}

/// As [`open`], if this process was not allowed to open it by itself.
///
/// # Errors
/// Those of `opened`, and of [`Broker::request`].
pub fn open_refused(
    opened: io::Result<OwnedFd>,
    wanted: impl FnOnce() -> Request,
) -> io::Result<OwnedFd> {
    match opened {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied && BROKER.get().is_some() => {
            open(&wanted(), &[]).unwrap_or(Err(error))
        }
        opened => opened,
    }
}

/// The descriptor of something that need not be there.
pub fn with<T: AsFd>(fd: &Option<T>) -> Vec<BorrowedFd<'_>> {
    fd.iter().map(AsFd::as_fd).collect()
}
