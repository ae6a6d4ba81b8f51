//! Classic BPF, the filters that tcpdump compiles: in the kernel for TAP devices and sockets,
//! interpreted here for everything else (TUN devices, files).

mod check;
mod interpreter;

use crate::sys;
use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::str::FromStr;

pub use crate::sys::filter::ClassicInstruction;
pub use check::{FilterError, FilterProblem};

/// The maximum number of instructions of a filter: the kernel's `BPF_MAXINSNS`.
pub const FILTER_LEN_MAX: usize = 4096;

/// A checked program of classic BPF: it ends on every input, and reads only the packet and the
/// scratch words that it has written.
///
/// Its text form is that of `tcpdump -ddd`, iptables and tc: the number of instructions, then one
/// line of four decimal numbers for each.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // `tcpdump -y RAW -ddd 'ip proto 1'`, for a TUN device.
/// let icmp = "7\n48 0 0 0\n84 0 0 240\n21 0 3 64\n48 0 0 9\n21 0 1 1\n6 0 0 262144\n6 0 0 0\n";
/// let icmp: adit_device::ClassicFilter = icmp.parse()?;
/// let mut packet = [0; 20];
/// (packet[0], packet[9]) = (0x45, 1);
/// assert_eq!(icmp.run(&packet), 262_144);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClassicFilter(Vec<ClassicInstruction>);

impl ClassicFilter {
    /// Checks a program by the kernel's rules (`bpf_check_classic` in Linux `net/core/filter.c`),
    /// and by one of ours: of kernel metadata it may load the VLAN tag only.
    ///
    /// # Errors
    /// [`FilterError`]: the violated rule and the instruction.
    pub fn new(instructions: impl Into<Vec<ClassicInstruction>>) -> Result<Self, FilterError> {
        let instructions = instructions.into();
        check::check(&instructions)?;
        Ok(Self(instructions))
    }

    /// The instructions.
    #[must_use]
    pub fn instructions(&self) -> &[ClassicInstruction] {
        &self.0
    }

    /// How many bytes of `packet` to keep, from its first byte on: 0 drops it; more than its length
    /// keeps all. Runs at most 4096 steps, because jumps only go forward.
    #[must_use]
    pub fn run(&self, packet: &[u8]) -> u32 {
        interpreter::run(&self.0, packet)
    }

    /// Attaches the filter to a TAP device: the kernel runs it on frames for its queues, and
    /// truncates them.
    ///
    /// # Errors
    /// EINVAL on a TUN device; EBADFD if the descriptor has no device.
    pub fn attach(&self, queue: impl AsFd) -> io::Result<()> {
        sys::filter::attach_filter(queue.as_fd(), &self.0)
    }

    /// Removes the filter of a TAP device; not an error if there is none.
    ///
    /// # Errors
    /// As [`ClassicFilter::attach`].
    pub fn detach(queue: impl AsFd) -> io::Result<()> {
        sys::filter::detach_filter(queue.as_fd())
    }

    /// Attaches the filter to a socket, such as a packet socket: the kernel runs it on received
    /// packets.
    ///
    /// # Errors
    /// ENOTSOCK; EPERM if the socket's filter is locked; ENOMEM above `net.core.optmem_max`.
    pub fn attach_to_socket(&self, socket: impl AsFd) -> io::Result<()> {
        sys::filter::attach_socket_filter(socket.as_fd(), &self.0)
    }

    /// Removes the filter of a socket.
    ///
    /// # Errors
    /// ENOENT if there is none; ENOTSOCK.
    pub fn detach_from_socket(socket: impl AsFd) -> io::Result<()> {
        sys::filter::detach_socket_filter(socket.as_fd())
    }
}

impl fmt::Display for ClassicFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.0.len())?;
        for ClassicInstruction { code, jt, jf, k } in &self.0 {
            writeln!(f, "{code} {jt} {jf} {k}")?;
        }
        Ok(())
    }
}

impl FromStr for ClassicFilter {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut lines = text.lines().filter(|line| !line.trim().is_empty());
        let count = lines.next().and_then(|line| line.trim().parse::<usize>().ok());
        let count = count.ok_or(FilterError { at: 0, problem: FilterProblem::Text })?;
        let mut instructions = Vec::new();
        for (at, line) in lines.enumerate() {
            if at >= FILTER_LEN_MAX {
                return Err(FilterError { at, problem: FilterProblem::TooLong });
            }
            let instruction = parse_line(line);
            instructions.push(instruction.ok_or(FilterError { at, problem: FilterProblem::Text })?);
        }
        if instructions.len() != count {
            return Err(FilterError { at: instructions.len(), problem: FilterProblem::Count });
        }
        Self::new(instructions)
    }
}

/// `code jt jf k`.
fn parse_line(line: &str) -> Option<ClassicInstruction> {
    let mut fields = line.split_whitespace();
    let instruction = ClassicInstruction {
        code: fields.next()?.parse().ok()?,
        jt: fields.next()?.parse().ok()?,
        jf: fields.next()?.parse().ok()?,
        k: fields.next()?.parse().ok()?,
    };
    fields.next().is_none().then_some(instruction)
}

/// The operation of an instruction, decoded: `linux/bpf_common.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// `A = packet[k..]`, or `packet[X + k..]`, of 1, 2 or 4 bytes in network order.
    LoadPacket { width: usize, indexed: bool },
    /// `X = 4 * (packet[k] & 15)`: the length of an IPv4 header.
    LoadHeaderLen,
    /// Loads a value into `A` or `X`.
    Load { to: Register, from: Source },
    /// Stores the register into `scratch[k]`.
    Store(Register),
    /// `A = A operation operand`.
    Compute { operation: Operation, operand: Operand },
    /// `A = -A`.
    Negate,
    /// Skips k instructions.
    Jump,
    /// Skips jt instructions if `A test operand`, else jf.
    JumpIf { test: Test, operand: Operand },
    /// `X = A`, or `A = X`.
    Copy { to: Register },
    /// Returns `A` or k.
    Return { accumulator: bool },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Register {
    A,
    X,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Constant,
    Scratch,
    PacketLen,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operand {
    Constant,
    X,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
    And,
    Or,
    Xor,
    ShiftLeft,
    ShiftRight,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Test {
    Equal,
    Greater,
    GreaterOrEqual,
    AnyBit,
}

impl Step {
    /// The operation of this number, if the kernel knows it.
    fn decode(code: u16) -> Option<Self> {
        let operand = if code & 0x08 == 0 { Operand::Constant } else { Operand::X };
        Some(match code {
            0x20 | 0x28 | 0x30 => Self::LoadPacket { width: width(code), indexed: false },
            0x40 | 0x48 | 0x50 => Self::LoadPacket { width: width(code), indexed: true },
            0x00 => Self::Load { to: Register::A, from: Source::Constant },
            0x60 => Self::Load { to: Register::A, from: Source::Scratch },
            0x80 => Self::Load { to: Register::A, from: Source::PacketLen },
            0x01 => Self::Load { to: Register::X, from: Source::Constant },
            0x61 => Self::Load { to: Register::X, from: Source::Scratch },
            0x81 => Self::Load { to: Register::X, from: Source::PacketLen },
            0xb1 => Self::LoadHeaderLen,
            0x02 => Self::Store(Register::A),
            0x03 => Self::Store(Register::X),
            0x84 => Self::Negate,
            0x04 | 0x0c => Self::Compute { operation: Operation::Add, operand },
            0x14 | 0x1c => Self::Compute { operation: Operation::Subtract, operand },
            0x24 | 0x2c => Self::Compute { operation: Operation::Multiply, operand },
            0x34 | 0x3c => Self::Compute { operation: Operation::Divide, operand },
            0x44 | 0x4c => Self::Compute { operation: Operation::Or, operand },
            0x54 | 0x5c => Self::Compute { operation: Operation::And, operand },
            0x64 | 0x6c => Self::Compute { operation: Operation::ShiftLeft, operand },
            0x74 | 0x7c => Self::Compute { operation: Operation::ShiftRight, operand },
            0x94 | 0x9c => Self::Compute { operation: Operation::Remainder, operand },
            0xa4 | 0xac => Self::Compute { operation: Operation::Xor, operand },
            0x05 => Self::Jump,
            0x15 | 0x1d => Self::JumpIf { test: Test::Equal, operand },
            0x25 | 0x2d => Self::JumpIf { test: Test::Greater, operand },
            0x35 | 0x3d => Self::JumpIf { test: Test::GreaterOrEqual, operand },
            0x45 | 0x4d => Self::JumpIf { test: Test::AnyBit, operand },
            0x06 => Self::Return { accumulator: false },
            0x16 => Self::Return { accumulator: true },
            0x07 => Self::Copy { to: Register::X },
            0x87 => Self::Copy { to: Register::A },
            _ => return None,
        })
    }
}

/// Bytes of a load from the packet: the size bits of its code.
const fn width(code: u16) -> usize {
    match code & 0x18 {
        0x00 => 4,
        0x08 => 2,
        _ => 1,
    }
}

/// The number of scratch words.
const SCRATCH_LEN: usize = 16;

/// Load offsets from here on refer to kernel metadata, not the packet: `SKF_AD_OFF` and two other
/// bases.
const BESIDE_PACKET: u32 = 0x8000_0000;

/// Loads of the VLAN tag in the metadata: `SKF_AD_OFF` plus `SKF_AD_VLAN_TAG`,
/// `SKF_AD_VLAN_TAG_PRESENT` and `SKF_AD_VLAN_TPID`. tcpdump's programs look there first, then in
/// the packet.
const BESIDE_VLAN: [u32; 3] = [0xffff_f000 + 44, 0xffff_f000 + 48, 0xffff_f000 + 60];

#[cfg(test)]
mod tests;
