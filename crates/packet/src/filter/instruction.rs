//! The instructions of classic BPF, decoded.

/// One instruction of classic BPF: `struct sock_filter`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct ClassicInstruction {
    /// The operation.
    pub code: u16,
    /// Instructions to skip if the condition of a jump is true.
    pub jt: u8,
    /// Instructions to skip if it is false.
    pub jf: u8,
    /// The constant: an operand, an offset into the packet, a scratch word, a distance.
    pub k: u32,
}

/// The maximum number of instructions of a filter: the kernel's `BPF_MAXINSNS`.
pub const FILTER_LEN_MAX: usize = 4096;

/// The operation of an instruction, decoded: `linux/bpf_common.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
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
pub(super) enum Register {
    A,
    X,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Constant,
    Scratch,
    PacketLen,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operand {
    Constant,
    X,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
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
pub(super) enum Test {
    Equal,
    Greater,
    GreaterOrEqual,
    AnyBit,
}

impl Step {
    /// The operation of this number, if the kernel knows it.
    pub(super) fn decode(code: u16) -> Option<Self> {
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
pub(super) const SCRATCH_LEN: usize = 16;

/// Load offsets from here on refer to kernel metadata, not the packet: `SKF_AD_OFF` and two other
/// bases.
pub(super) const BESIDE_PACKET: u32 = 0x8000_0000;

/// Loads of the VLAN tag in the metadata: `SKF_AD_OFF` plus `SKF_AD_VLAN_TAG`,
/// `SKF_AD_VLAN_TAG_PRESENT` and `SKF_AD_VLAN_TPID`. tcpdump's programs look there first, then in
/// the packet.
pub(super) const BESIDE_VLAN: [u32; 3] = [0xffff_f000 + 44, 0xffff_f000 + 48, 0xffff_f000 + 60];
