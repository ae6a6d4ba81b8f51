//! eBPF: programs that look at a packet and return a number (a queue, or a number of bytes), programs on
//! what arrives at an interface, maps, and an assembler for programs.

pub mod assembler;
mod ingress;

use crate::broker::{self, Request};
use crate::{sys, wire};
use assembler::{Assembler, Register};
use std::error::Error;
use std::ffi::CStr;
use std::fmt;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

pub use crate::sys::bpf::{ArrayMap, HashMap, Instruction};
pub use ingress::{IngressLink, IngressProgram, attach_for_another};

/// The maximum length in bytes of the verifier's log that a [`LoadError`] keeps. The log of a
/// rejected program is the path that the verifier took; only its end, with the reason, matters.
const LOG_LEN_MAX: usize = 1 << 20;

/// The kernel adds an Ethernet header to the data of a test run, and removes it again.
const TEST_RUN_HEADER_LEN: usize = 14;

/// The license of the programs that this crate assembles. They call no helper that the kernel
/// reserves for the GPL.
pub const LICENCE: &CStr = c"MIT";

/// A loaded program of type `BPF_PROG_TYPE_SOCKET_FILTER`, the only type that the tun driver
/// accepts.
///
/// Its context is `struct __sk_buff`. The data begins with the IP header on a TUN device, and with
/// the Ethernet header on a TAP device. A device keeps an attached program alive.
#[derive(Debug)]
pub struct EbpfProgram(OwnedFd);

impl EbpfProgram {
    /// Loads instructions. `licence` determines which helpers they may call (`GPL` and compatible
    /// names: all).
    ///
    /// # Errors
    /// EPERM without `CAP_BPF` in the initial user namespace; EINVAL or EACCES with the verifier's
    /// log if it rejects the program (Linux `kernel/bpf/verifier.c`).
    pub fn from_instructions(
        instructions: &[Instruction],
        licence: &CStr,
    ) -> Result<Self, LoadError> {
        load(sys::bpf::PROG_TYPE_SOCKET_FILTER, instructions, licence).map(Self)
    }

    /// Takes over a program that another tool loaded, such as clang or bpftool, or a pinned one.
    ///
    /// # Errors
    /// EINVAL if it is not a program of type socket filter; those of reading `/proc/self/fdinfo`.
    pub fn from_fd(fd: OwnedFd) -> io::Result<Self> {
        let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd()))?;
        let program_type = info.lines().find_map(|line| line.strip_prefix("prog_type:"));
        let program_type = program_type.and_then(|number| number.trim().parse::<u32>().ok());
        if program_type == Some(sys::bpf::PROG_TYPE_SOCKET_FILTER) {
            Ok(Self(fd))
        } else {
            Err(io::Error::from_raw_os_error(libc::EINVAL))
        }
    }

    /// Loads a filter that keeps the first `len` bytes of each packet; 0 drops all.
    ///
    /// # Errors
    /// As [`EbpfProgram::from_instructions`].
    pub fn snaplen(len: u32) -> Result<Self, LoadError> {
        let mut asm = Assembler::default();
        asm.set(Register::R0, len.cast_signed());
        asm.exit();
        Self::from_instructions(&asm.finish(), LICENCE)
    }

    /// Runs the program on `packet` in the kernel, without a device (`BPF_PROG_TEST_RUN`), and
    /// returns its result. `packet` begins as on the device: with the IP header, or with the
    /// Ethernet header.
    ///
    /// # Errors
    /// EINVAL if `packet` is longer than about a page.
    pub fn run(&self, packet: &[u8]) -> io::Result<u32> {
        let mut data = Vec::with_capacity(TEST_RUN_HEADER_LEN + packet.len());
        data.extend([0; 12]);
        data.extend(match packet.first().map(|byte| byte >> 4) {
            // The kernel rejects a test run on less data than the header of that type has.
            Some(4) if packet.len() >= 20 => [0x08, 0x00],
            Some(6) if packet.len() >= 40 => [0x86, 0xdd],
            _ => [0, 0],
        });
        data.extend(packet);
        sys::bpf::prog_test_run(self.0.as_fd(), &data)
    }

    /// Lets the program choose the queue of each packet: its result modulo the number of attached
    /// queues. `queue` is any attached queue; the program stays with the device after queues close.
    ///
    /// # Errors
    /// EBADFD if the descriptor has no device; EINVAL on macvtap.
    pub fn attach_steering(&self, queue: impl AsFd) -> io::Result<()> {
        sys::filter::set_steering(queue.as_fd(), Some(self.as_fd()))
    }

    /// Lets the program decide how many bytes of each packet the queues get; 0 drops the packet. It
    /// applies to the whole device, TUN or TAP, in the receive direction only.
    ///
    /// # Errors
    /// As [`EbpfProgram::attach_steering`].
    pub fn attach_filter(&self, queue: impl AsFd) -> io::Result<()> {
        sys::filter::set_filter(queue.as_fd(), Some(self.as_fd()))
    }

    /// Lets the program decide how many bytes of each packet a socket gets, in place of the filter before; 0
    /// keeps the packet from it. What the program writes into the control block of the buffer, an
    /// [`IngressProgram`] reads there if this socket is the last one that gets the packet.
    ///
    /// # Errors
    /// EPERM if the filter of the socket is locked.
    pub fn attach_to_socket(&self, socket: impl AsFd) -> io::Result<()> {
        sys::filter::attach_socket_program(socket.as_fd(), self.as_fd())
    }

    /// Returns the choice of the queue to the kernel; not an error if no program is attached.
    ///
    /// # Errors
    /// As [`EbpfProgram::attach_steering`].
    pub fn detach_steering(queue: impl AsFd) -> io::Result<()> {
        sys::filter::set_steering(queue.as_fd(), None)
    }

    /// Removes the eBPF filter of the device; not an error if there is none.
    ///
    /// # Errors
    /// As [`EbpfProgram::attach_steering`].
    pub fn detach_filter(queue: impl AsFd) -> io::Result<()> {
        sys::filter::set_filter(queue.as_fd(), None)
    }
}

impl AsFd for EbpfProgram {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<EbpfProgram> for OwnedFd {
    fn from(program: EbpfProgram) -> Self {
        program.0
    }
}

/// Loads a program; if the verifier rejects it, with its log.
fn load(
    prog_type: u32,
    instructions: &[Instruction],
    licence: &CStr,
) -> Result<OwnedFd, LoadError> {
    if let Some(loaded) = load_elsewhere(prog_type, instructions) {
        return loaded.map_err(LoadError::from);
    }
    let load = |log: &mut [u8]| sys::bpf::prog_load(prog_type, instructions, licence, log);
    let source = match load(&mut []) {
        Ok(fd) => return Ok(fd),
        Err(source) => source,
    };
    if !matches!(source.raw_os_error(), Some(libc::EINVAL | libc::EACCES)) {
        return Err(source.into());
    }
    // Load it again with a log: the first attempt avoids the cost of writing one.
    let mut log = vec![0; LOG_LEN_MAX];
    match load(&mut log) {
        Ok(fd) => Ok(fd),
        Err(_) => Err(LoadError { source, log: text_of(&log) }),
    }
}

/// The types of programs that this crate loads.
const TYPES: [u32; 2] = [sys::bpf::PROG_TYPE_SOCKET_FILTER, sys::bpf::PROG_TYPE_SCHED_CLS];

/// The longest BPF program that is loaded for another process: the kernel's limit for users without privileges.
const INSTRUCTIONS_MAX: usize = 4096;

/// The most entries of a map that is made for another process.
const ENTRIES_MAX: u32 = 1 << 20;

/// Makes a map for another process.
///
/// # Errors
/// EINVAL: it is none of those that this crate makes; EPERM without `CAP_BPF`.
pub fn make_map(map: broker::BpfMap) -> io::Result<OwnedFd> {
    if map.entries_max > ENTRIES_MAX {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    sys::bpf::map_create(map)
}

/// Loads a program for another process; `maps` are those that its instructions have the places of.
///
/// # Errors
/// EINVAL: it is none of those that this crate loads; EBADF: a map is missing; what the verifier refuses.
pub fn load_for_another(kind: u32, instructions: &[u8], maps: &[OwnedFd]) -> io::Result<OwnedFd> {
    let instructions: Option<Vec<Instruction>> = wire::decode(instructions);
    let is_valid =
        |list: &Vec<Instruction>| list.len() <= INSTRUCTIONS_MAX && TYPES.contains(&kind);
    let instructions =
        instructions.filter(is_valid).ok_or_else(|| io::Error::from_raw_os_error(libc::EINVAL))?;
    let fd = |at: i32| maps.get(usize::try_from(at).ok()?).map(AsRawFd::as_raw_fd);
    sys::bpf::prog_load(kind, &with_maps(instructions, fd)?, LICENCE, &mut [])
}

/// The instructions with the constants of those replaced that load a map.
fn with_maps(
    mut instructions: Vec<Instruction>,
    mut replace: impl FnMut(i32) -> Option<i32>,
) -> io::Result<Vec<Instruction>> {
    for instruction in instructions.iter_mut().filter(|one| assembler::loads_map(one)) {
        let other = replace(instruction.immediate);
        instruction.immediate = other.ok_or_else(|| io::Error::from_raw_os_error(libc::EBADF))?;
    }
    Ok(instructions)
}

/// Has another process load a program, if there is one: its maps are passed on, each once.
fn load_elsewhere(prog_type: u32, instructions: &[Instruction]) -> Option<io::Result<OwnedFd>> {
    let mut maps: Vec<RawFd> = Vec::new();
    let instructions = with_maps(instructions.to_vec(), |fd| {
        let known = maps.iter().position(|map| *map == fd);
        let at = known.unwrap_or_else(|| {
            maps.push(fd);
            maps.len() - 1
        });
        i32::try_from(at).ok()
    });
    let request = Request::Program(prog_type, wire::encode(&instructions.ok()?));
    let maps: Vec<BorrowedFd<'_>> = maps.iter().map(|map| sys::bpf::borrow(*map)).collect();
    broker::open(&request, &maps)
}

/// Why the kernel did not load a program.
#[derive(Debug)]
pub struct LoadError {
    source: io::Error,
    log: String,
}

impl LoadError {
    /// The verifier's log; empty if it was not reached (EPERM, ENOMEM).
    #[must_use]
    pub fn log(&self) -> &str {
        &self.log
    }

    /// The error of bpf(2).
    #[must_use]
    pub fn io_error(&self) -> &io::Error {
        &self.source
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The reason precedes the verifier's statistics, which begin with "processed".
        let reason =
            self.log.lines().rfind(|line| !line.is_empty() && !line.starts_with("processed"));
        match reason {
            Some(reason) => write!(f, "the kernel rejected the eBPF program: {reason}"),
            None => f.write_str("cannot load an eBPF program"),
        }
    }
}

impl Error for LoadError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}

impl From<io::Error> for LoadError {
    fn from(source: io::Error) -> Self {
        Self { source, log: String::new() }
    }
}

impl From<LoadError> for io::Error {
    fn from(error: LoadError) -> Self {
        error.source
    }
}

/// The text before the first NUL.
fn text_of(log: &[u8]) -> String {
    let text = log.split(|&byte| byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(text).into_owned()
}

#[cfg(test)]
mod tests;
