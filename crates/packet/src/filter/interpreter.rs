//! Runs a checked filter as the kernel would.

use super::instruction::ClassicInstruction;
use super::instruction::{
    BESIDE_VLAN, Operand, Operation, Register, SCRATCH_LEN, Source, Step, Test,
};

/// How many bytes of `packet` the program keeps; 0 if it reads past the end of the packet, divides
/// by zero, or (which the checks exclude) is invalid.
#[must_use]
pub fn run(program: &[ClassicInstruction], packet: &[u8]) -> u32 {
    Machine { packet, a: 0, x: 0, scratch: [0; SCRATCH_LEN] }.run(program).unwrap_or(0)
}

struct Machine<'a> {
    packet: &'a [u8],
    a: u32,
    x: u32,
    scratch: [u32; SCRATCH_LEN],
}

impl Machine<'_> {
    fn run(mut self, program: &[ClassicInstruction]) -> Option<u32> {
        let mut at = 0_usize;
        loop {
            let instruction = *program.get(at)?;
            let k = instruction.k;
            at += 1;
            match Step::decode(instruction.code)? {
                Step::LoadPacket { width, indexed: false } => {
                    // A queue or a file delivers the tag in the packet, so there is none in the
                    // metadata.
                    self.a = if BESIDE_VLAN.contains(&k) { 0 } else { self.load(k, width)? };
                }
                Step::LoadPacket { width, indexed: true } => {
                    self.a = self.load(self.x.wrapping_add(k), width)?;
                }
                Step::LoadHeaderLen => self.x = (self.load(k, 1)? & 15) * 4,
                Step::Load { to, from } => {
                    let value = match from {
                        Source::Constant => k,
                        Source::Scratch => *self.word(k)?,
                        Source::PacketLen => u32::try_from(self.packet.len()).unwrap_or(u32::MAX),
                    };
                    *self.register(to) = value;
                }
                Step::Store(from) => *self.word(k)? = *self.register(from),
                Step::Compute { operation, operand } => {
                    self.a = compute(self.a, operation, self.operand(operand, k))?;
                }
                Step::Negate => self.a = self.a.wrapping_neg(),
                Step::Jump => at = at.checked_add(usize::try_from(k).ok()?)?,
                Step::JumpIf { test, operand } => {
                    let yes = is_true(self.a, test, self.operand(operand, k));
                    at += usize::from(if yes { instruction.jt } else { instruction.jf });
                }
                Step::Copy { to: Register::X } => self.x = self.a,
                Step::Copy { to: Register::A } => self.a = self.x,
                Step::Return { accumulator } => return Some(if accumulator { self.a } else { k }),
            }
        }
    }

    /// A number of `width` bytes from the packet.
    fn load(&self, offset: u32, width: usize) -> Option<u32> {
        let start = usize::try_from(offset).ok()?;
        let bytes = self.packet.get(start..start.checked_add(width)?)?;
        Some(bytes.iter().fold(0, |number, &byte| number << 8 | u32::from(byte)))
    }

    fn word(&mut self, k: u32) -> Option<&mut u32> {
        self.scratch.get_mut(usize::try_from(k).ok()?)
    }

    fn register(&mut self, register: Register) -> &mut u32 {
        match register {
            Register::A => &mut self.a,
            Register::X => &mut self.x,
        }
    }

    fn operand(&self, operand: Operand, k: u32) -> u32 {
        match operand {
            Operand::Constant => k,
            Operand::X => self.x,
        }
    }
}

/// `None` for a division by zero, which ends the program.
fn compute(a: u32, operation: Operation, b: u32) -> Option<u32> {
    Some(match operation {
        Operation::Add => a.wrapping_add(b),
        Operation::Subtract => a.wrapping_sub(b),
        Operation::Multiply => a.wrapping_mul(b),
        Operation::Divide => a.checked_div(b)?,
        Operation::Remainder => a.checked_rem(b)?,
        Operation::And => a & b,
        Operation::Or => a | b,
        Operation::Xor => a ^ b,
        // Only the lowest five bits of the shift distance count.
        Operation::ShiftLeft => a.wrapping_shl(b),
        Operation::ShiftRight => a.wrapping_shr(b),
    })
}

fn is_true(a: u32, test: Test, b: u32) -> bool {
    match test {
        Test::Equal => a == b,
        Test::Greater => a > b,
        Test::GreaterOrEqual => a >= b,
        Test::AnyBit => a & b != 0,
    }
}
