//! Which packets a queue gets: ioctls of `linux/if_tun.h`, and filters of sockets.

use super::request::number;
use adit_packet::filter::ClassicInstruction;
use rustix::ioctl::opcode;
use std::io;
use std::mem::size_of_val;
use std::os::fd::{AsRawFd, BorrowedFd};

/// `struct tun_vnet_hash`: capabilities or configuration of the kernel's flow hash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct TunVnetHash {
    pub(crate) flags: u16,
    pub(crate) padding: [u8; 2],
    pub(crate) types: u32,
}

/// TUNSETSTEERINGEBPF: lets a program choose the queue; `None` returns the choice to the kernel.
pub(crate) fn set_steering(
    queue: BorrowedFd<'_>,
    program: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    set_program(queue, TUNSETSTEERINGEBPF, program)
}

/// TUNSETFILTEREBPF: lets a program decide how many bytes of a packet to keep; `None` removes it.
pub(crate) fn set_filter(queue: BorrowedFd<'_>, program: Option<BorrowedFd<'_>>) -> io::Result<()> {
    set_program(queue, TUNSETFILTEREBPF, program)
}

fn set_program(
    queue: BorrowedFd<'_>,
    request: libc::Ioctl,
    program: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    let program: libc::c_int = program.map_or(-1, |fd| fd.as_raw_fd());
    // SAFETY: both requests read one int at the address that they are given.
    check(unsafe { libc::ioctl(queue.as_raw_fd(), request, &raw const program) })
}

/// TUNATTACHFILTER: classic BPF on the frames for the queues of a TAP device.
pub(crate) fn attach_filter(
    queue: BorrowedFd<'_>,
    instructions: &[ClassicInstruction],
) -> io::Result<()> {
    let program = sock_fprog(instructions)?;
    // SAFETY: the request reads a `sock_fprog` and the `len` instructions that it points to.
    check(unsafe { libc::ioctl(queue.as_raw_fd(), TUNATTACHFILTER, &raw const program) })
}

/// TUNDETACHFILTER: removes the classic filter.
pub(crate) fn detach_filter(queue: BorrowedFd<'_>) -> io::Result<()> {
    let program = sock_fprog(&[])?;
    // SAFETY: at most a `sock_fprog` is read there, and no instruction.
    check(unsafe { libc::ioctl(queue.as_raw_fd(), TUNDETACHFILTER, &raw const program) })
}

/// SO_ATTACH_FILTER: classic BPF on the packets that a socket receives.
pub(crate) fn attach_socket_filter(
    socket: BorrowedFd<'_>,
    instructions: &[ClassicInstruction],
) -> io::Result<()> {
    let program = sock_fprog(instructions)?;
    let len = libc::socklen_t::try_from(size_of_val(&program)).expect("two words");
    // SAFETY: the kernel reads `len` bytes of `program` and the instructions that it points to.
    check(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const program).cast(),
            len,
        )
    })
}

/// SO_ATTACH_BPF: an eBPF program on the packets that a socket receives, in place of the filter before.
pub(crate) fn attach_socket_program(
    socket: BorrowedFd<'_>,
    program: BorrowedFd<'_>,
) -> io::Result<()> {
    let program: libc::c_int = program.as_raw_fd();
    let len = libc::socklen_t::try_from(size_of_val(&program)).expect("one int");
    // SAFETY: the kernel reads `len` bytes of `program`, a descriptor.
    check(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_BPF,
            (&raw const program).cast(),
            len,
        )
    })
}

/// SO_DETACH_FILTER: removes the filter of a socket; ENOENT if there is none.
pub(crate) fn detach_socket_filter(socket: BorrowedFd<'_>) -> io::Result<()> {
    let unused: libc::c_int = 0;
    let len = libc::socklen_t::try_from(size_of_val(&unused)).expect("one int");
    // SAFETY: the kernel reads at most `len` bytes of `unused`.
    check(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_DETACH_FILTER,
            (&raw const unused).cast(),
            len,
        )
    })
}

/// TUNGETVNETHASHCAP: the capabilities of the kernel's flow hash; EINVAL without one.
pub(crate) fn vnet_hash_capabilities(queue: BorrowedFd<'_>) -> io::Result<TunVnetHash> {
    let mut hash = TunVnetHash::default();
    // SAFETY: the request writes one `tun_vnet_hash` at the address that it is given.
    check(unsafe { libc::ioctl(queue.as_raw_fd(), TUNGETVNETHASHCAP, &raw mut hash) })?;
    Ok(hash)
}

/// TUNSETVNETHASH: `argument` is a `tun_vnet_hash` and, if its flags request RSS, a
/// `tun_vnet_hash_rss`, the table and the key; `argument_len` computes the required length.
pub(crate) fn set_vnet_hash(queue: BorrowedFd<'_>, argument: &VnetHashArgument) -> io::Result<()> {
    // SAFETY: the argument is never shorter than what the kernel reads for its flags.
    check(unsafe { libc::ioctl(queue.as_raw_fd(), TUNSETVNETHASH, argument.0.as_ptr()) })
}

/// The argument of [`set_vnet_hash`] in the kernel's layout, native byte order.
///
/// ```text
/// 0      2      4        8                       10                   12               12+2n
/// | flags | zero | types | table mask = n-1 (u16) | unclassified (u16) | n x u16 queues | 40 key |
/// '-------- always -----'------------------------ with TUN_VNET_HASH_RSS only -----------------'
/// ```
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct VnetHashArgument(Vec<u8>);

/// The RSS part of [`VnetHashArgument`].
#[derive(Debug)]
pub(crate) struct VnetRssArgument<'a> {
    pub(crate) unclassified_queue: u16,
    /// The number of entries is a power of two, so that it less one is a mask.
    pub(crate) table: &'a [u16],
    pub(crate) key: &'a [u8; 40],
}

impl VnetHashArgument {
    /// Encodes the argument; EINVAL if the table's length is not a power of two of 16 bits.
    pub(crate) fn new(
        report: bool,
        types: u32,
        rss: Option<&VnetRssArgument<'_>>,
    ) -> io::Result<Self> {
        let flags = if report { TUN_VNET_HASH_REPORT } else { 0 }
            | if rss.is_some() { TUN_VNET_HASH_RSS } else { 0 };
        let mut bytes = Vec::new();
        bytes.extend(flags.to_ne_bytes());
        bytes.extend([0; 2]);
        bytes.extend(types.to_ne_bytes());
        if let Some(rss) = rss {
            let mask = u16::try_from(rss.table.len().wrapping_sub(1))
                .ok()
                .filter(|_| rss.table.len().is_power_of_two())
                .ok_or_else(|| io::Error::from_raw_os_error(libc::EINVAL))?;
            bytes.extend(mask.to_ne_bytes());
            bytes.extend(rss.unclassified_queue.to_ne_bytes());
            bytes.extend(rss.table.iter().flat_map(|queue| queue.to_ne_bytes()));
            bytes.extend(rss.key);
        }
        Ok(Self(bytes))
    }

    #[cfg(test)]
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// `TUN_VNET_HASH_REPORT`: the virtio-net header carries hash and report type.
pub(crate) const TUN_VNET_HASH_REPORT: u16 = 1;
/// `TUN_VNET_HASH_RSS`: the hash chooses the queue.
pub(crate) const TUN_VNET_HASH_RSS: u16 = 2;

/// Points to `instructions`, which must outlive what is returned.
fn sock_fprog(instructions: &[ClassicInstruction]) -> io::Result<libc::sock_fprog> {
    let len = u16::try_from(instructions.len());
    Ok(libc::sock_fprog {
        len: len.map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?,
        // The kernel only reads; both structs are the C `struct sock_filter`, 8 bytes.
        filter: instructions.as_ptr().cast_mut().cast(),
    })
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

const TUNATTACHFILTER: libc::Ioctl = write::<libc::sock_fprog>(213);
const TUNDETACHFILTER: libc::Ioctl = write::<libc::sock_fprog>(214);
const TUNSETSTEERINGEBPF: libc::Ioctl = read::<libc::c_int>(224);
const TUNSETFILTEREBPF: libc::Ioctl = read::<libc::c_int>(225);
// Proposed for Linux (series "tun: Introduce virtio-net hashing feature"), in no release up to 6.18.
const TUNGETVNETHASHCAP: libc::Ioctl = read::<TunVnetHash>(228);
const TUNSETVNETHASH: libc::Ioctl = write::<TunVnetHash>(229);

const fn read<T>(nr: u8) -> libc::Ioctl {
    number(opcode::read::<T>(b'T', nr))
}

const fn write<T>(nr: u8) -> libc::Ioctl {
    number(opcode::write::<T>(b'T', nr))
}
