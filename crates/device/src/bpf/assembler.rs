//! A minimal assembler for eBPF: labels, and the instructions that this crate uses.
//!
//! The numbers are those of RFC 9669, "BPF Instruction Set Architecture".

use super::Instruction;
use crate::sys::bpf::ArrayMap;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// A register: R0 holds results, R1 to R5 arguments (lost in a call), R6 to R9 survive calls, R10
/// points to the end of the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of RFC 9669")]
pub enum Register {
    R0,
    R1,
    R2,
    R3,
    R4,
    R6,
    R7,
    R8,
    R9,
    R10,
}

/// The width of a memory access.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "the names are those of RFC 9669")]
pub enum Width {
    U8,
    U16,
    U32,
    U64,
}

/// The condition of a jump that compares a register with a constant or with another one.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "the names are those of RFC 9669")]
pub enum Condition {
    Equal,
    NotEqual,
    /// Unsigned.
    Less,
    /// Unsigned.
    Greater,
    /// Signed.
    GreaterSigned,
    /// Signed: helpers return negative errors.
    Negative,
}

/// An operation of the 64-bit arithmetic unit with a constant.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "the names are those of RFC 9669")]
pub enum Operation {
    Add,
    And,
    ShiftLeft,
    ShiftRight,
}

/// A position in the program; it may be named before it is known.
#[derive(Clone, Copy, Debug)]
pub struct Label(usize);

/// A program under construction.
#[derive(Debug, Default)]
pub struct Assembler {
    instructions: Vec<Instruction>,
    /// The position of each label, once bound.
    labels: Vec<Option<usize>>,
    /// Jumps (index of the instruction, label) whose distance `finish` fills in.
    jumps: Vec<(usize, Label)>,
}

impl Assembler {
    /// A new label; bind it exactly once.
    pub fn label(&mut self) -> Label {
        self.labels.push(None);
        Label(self.labels.len() - 1)
    }

    /// Binds `label` to the next instruction.
    pub fn bind(&mut self, label: Label) {
        self.labels[label.0] = Some(self.instructions.len());
    }

    /// `register = value`, sign-extended.
    pub fn set(&mut self, register: Register, value: i32) {
        self.push(ALU64 | MOV, register, Register::R0, 0, value);
    }

    /// `to = from`.
    pub fn copy(&mut self, to: Register, from: Register) {
        self.push(ALU64 | MOV | BY_REGISTER, to, from, 0, 0);
    }

    /// `register = register OPERATION value`.
    pub fn apply(&mut self, operation: Operation, register: Register, value: i32) {
        let code = match operation {
            Operation::Add => 0x00,
            Operation::And => 0x50,
            Operation::ShiftLeft => 0x60,
            Operation::ShiftRight => 0x70,
        };
        self.push(ALU64 | code, register, Register::R0, 0, value);
    }

    /// `to += from`.
    pub fn add(&mut self, to: Register, from: Register) {
        self.push(ALU64 | BY_REGISTER, to, from, 0, 0);
    }

    /// `to -= from`.
    pub fn subtract(&mut self, to: Register, from: Register) {
        self.push(ALU64 | SUB | BY_REGISTER, to, from, 0, 0);
    }

    /// `to |= from`.
    pub fn or(&mut self, to: Register, from: Register) {
        self.push(ALU64 | OR | BY_REGISTER, to, from, 0, 0);
    }

    /// `to ^= from`.
    pub fn xor(&mut self, to: Register, from: Register) {
        self.push(ALU64 | XOR | BY_REGISTER, to, from, 0, 0);
    }

    /// `to = *(from + offset)`, zero-extended, in the machine's byte order.
    pub fn load(&mut self, width: Width, to: Register, from: Register, offset: i16) {
        self.push(LDX_MEM | width.code(), to, from, offset, 0);
    }

    /// `*(to + offset) = from`.
    pub fn store(&mut self, width: Width, to: Register, offset: i16, from: Register) {
        self.push(STX_MEM | width.code(), to, from, offset, 0);
    }

    /// `*(to + offset) += from`, of 64 bits, as one step for all processors.
    pub fn add_atomically(&mut self, to: Register, offset: i16, from: Register) {
        self.push(STX_ATOMIC | Width::U64.code(), to, from, offset, 0);
    }

    /// `to =` the map, as helpers take it; two instructions.
    pub fn load_map(&mut self, to: Register, map: BorrowedFd<'_>) {
        let registers = Self::registers(to, Register::R0, PSEUDO_MAP_FD);
        let immediate = map.as_raw_fd();
        self.instructions.push(Instruction { code: LD_IMM64, registers, offset: 0, immediate });
        self.instructions.push(Instruction::default());
    }

    /// `to =` the address of byte `offset` of the map's value; two instructions.
    pub fn load_value_address(&mut self, to: Register, map: &ArrayMap, offset: i32) {
        let destination = Self::registers(to, Register::R0, PSEUDO_MAP_VALUE);
        self.instructions.push(Instruction {
            code: LD_IMM64,
            registers: destination,
            offset: 0,
            immediate: map.as_fd().as_raw_fd(),
        });
        self.instructions.push(Instruction { immediate: offset, ..Instruction::default() });
    }

    /// Jumps to `to` if `register CONDITION value`.
    pub fn jump_if(&mut self, register: Register, condition: Condition, value: i32, to: Label) {
        self.jumps.push((self.instructions.len(), to));
        self.push(JMP | condition.code(), register, Register::R0, 0, value);
    }

    /// Jumps to `to` if `register CONDITION other`.
    pub fn jump_if_register(
        &mut self,
        register: Register,
        condition: Condition,
        other: Register,
        to: Label,
    ) {
        self.jumps.push((self.instructions.len(), to));
        self.push(JMP | BY_REGISTER | condition.code(), register, other, 0, 0);
    }

    /// Jumps to `to`.
    pub fn jump(&mut self, to: Label) {
        self.jumps.push((self.instructions.len(), to));
        self.push(JMP, Register::R0, Register::R0, 0, 0);
    }

    /// Calls the kernel's helper with this number; R0 to R5 are lost.
    pub fn call(&mut self, helper: i32) {
        self.push(JMP | 0x80, Register::R0, Register::R0, 0, helper);
    }

    /// Exits the program with the result in R0.
    pub fn exit(&mut self) {
        self.push(JMP | 0x90, Register::R0, Register::R0, 0, 0);
    }

    /// The instructions, with all jump distances filled in.
    pub fn finish(mut self) -> Vec<Instruction> {
        for (at, label) in self.jumps {
            let target = self.labels[label.0].expect("every label in use is bound");
            self.instructions[at].offset = index(target) - index(at) - 1;
        }
        self.instructions
    }

    fn push(&mut self, code: u8, to: Register, from: Register, offset: i16, immediate: i32) {
        let registers = Self::registers(to, from, 0);
        self.instructions.push(Instruction { code, registers, offset, immediate });
    }

    /// Both registers in one byte; `pseudo` replaces the source where that is not a register.
    fn registers(to: Register, from: Register, pseudo: u8) -> u8 {
        let (to, from) = (to.number(), from.number() | pseudo);
        if cfg!(target_endian = "little") { from << 4 | to } else { to << 4 | from }
    }
}

impl Width {
    const fn code(self) -> u8 {
        match self {
            Self::U32 => 0x00,
            Self::U16 => 0x08,
            Self::U8 => 0x10,
            Self::U64 => 0x18,
        }
    }
}

impl Condition {
    const fn code(self) -> u8 {
        match self {
            Self::Equal => 0x10,
            Self::Greater => 0x20,
            Self::NotEqual => 0x50,
            Self::GreaterSigned => 0x60,
            Self::Less => 0xa0,
            Self::Negative => 0xc0,
        }
    }
}

impl Register {
    const fn number(self) -> u8 {
        match self {
            Self::R0 => 0,
            Self::R1 => 1,
            Self::R2 => 2,
            Self::R3 => 3,
            Self::R4 => 4,
            Self::R6 => 6,
            Self::R7 => 7,
            Self::R8 => 8,
            Self::R9 => 9,
            Self::R10 => 10,
        }
    }
}

/// The index of an instruction, as jumps count.
fn index(at: usize) -> i16 {
    i16::try_from(at).expect("programs assembled here are shorter than 32,768 instructions")
}

/// Whether an instruction loads a map, and its constant is a descriptor.
pub(super) fn loads_map(instruction: &Instruction) -> bool {
    let source = if cfg!(target_endian = "little") {
        instruction.registers >> 4
    } else {
        instruction.registers & 0xf
    };
    instruction.code == LD_IMM64 && matches!(source, PSEUDO_MAP_FD | PSEUDO_MAP_VALUE)
}

const LD_IMM64: u8 = 0x18;
const LDX_MEM: u8 = 0x61;
const STX_MEM: u8 = 0x63;
const STX_ATOMIC: u8 = 0xc3;
const JMP: u8 = 0x05;
const ALU64: u8 = 0x07;
const MOV: u8 = 0xb0;
const SUB: u8 = 0x10;
const OR: u8 = 0x40;
const XOR: u8 = 0xa0;
/// The operand is a register, not the constant.
const BY_REGISTER: u8 = 0x08;
/// `BPF_PSEUDO_MAP_FD`: the constant is a map's descriptor.
const PSEUDO_MAP_FD: u8 = 1;
/// `BPF_PSEUDO_MAP_VALUE`: the constant is a map's descriptor, the address is that of its value.
const PSEUDO_MAP_VALUE: u8 = 2;
