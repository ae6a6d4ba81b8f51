//! The checks of a filter before it may run: those of the kernel's verifier of classic BPF.

use super::instruction::ClassicInstruction;
use super::instruction::{
    BESIDE_PACKET, BESIDE_VLAN, FILTER_LEN_MAX, Operand, Operation, SCRATCH_LEN, Source, Step,
};
use alloc::vec;
use core::error::Error;
use core::fmt;

/// The rule that a filter violates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FilterProblem {
    /// No instructions.
    Empty,
    /// More than 4096 instructions.
    TooLong,
    /// The operation is unknown to the kernel.
    Operation,
    /// A jump past the end of the program.
    Jump,
    /// The last instruction does not return.
    NoReturn,
    /// A division by the constant zero.
    DivisionByZero,
    /// A shift by a constant of 32 bits or more.
    Shift,
    /// A scratch word other than 0 to 15.
    Scratch,
    /// A read of a scratch word that some path to it does not write.
    ScratchUnset,
    /// A load of kernel metadata other than the VLAN tag.
    BesidePacket,
    /// The text is not in the format of `tcpdump -ddd`.
    Text,
    /// The first line of the text gives another number of instructions.
    Count,
}

/// Why a filter is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FilterError {
    /// The index of the invalid instruction, from 0.
    pub at: usize,
    /// The rule that it violates.
    pub problem: FilterProblem,
}

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.at;
        match self.problem {
            FilterProblem::Empty => f.write_str("the filter has no instructions"),
            FilterProblem::TooLong => {
                write!(f, "the filter has more than {FILTER_LEN_MAX} instructions")
            }
            FilterProblem::Operation => write!(f, "instruction {at} has an unknown operation"),
            FilterProblem::Jump => write!(f, "instruction {at} jumps past the end"),
            FilterProblem::NoReturn => f.write_str("the last instruction does not return"),
            FilterProblem::DivisionByZero => write!(f, "instruction {at} divides by zero"),
            FilterProblem::Shift => write!(f, "instruction {at} shifts by 32 bits or more"),
            FilterProblem::Scratch => {
                write!(f, "instruction {at} uses a scratch word other than 0 to 15")
            }
            FilterProblem::ScratchUnset => {
                write!(f, "instruction {at} reads a scratch word that may be unset")
            }
            FilterProblem::BesidePacket => {
                write!(f, "instruction {at} loads kernel metadata, not packet bytes")
            }
            FilterProblem::Text => {
                write!(f, "instruction {at} is not four numbers as `tcpdump -ddd` prints them")
            }
            FilterProblem::Count => {
                write!(f, "the text has {at} instructions, but its first line gives another number")
            }
        }
    }
}

impl Error for FilterError {}

/// Checks a whole program by the kernel's rules (`bpf_check_classic` in Linux `net/core/filter.c`), and by one of ours: of
/// kernel metadata it may load the VLAN tag only.
///
/// # Errors
/// The violated rule and the instruction.
pub fn check(program: &[ClassicInstruction]) -> Result<(), FilterError> {
    let error = |at, problem| Err(FilterError { at, problem });
    if program.is_empty() {
        return error(0, FilterProblem::Empty);
    }
    if program.len() > FILTER_LEN_MAX {
        return error(FILTER_LEN_MAX, FilterProblem::TooLong);
    }
    // For each instruction, a bit for every scratch word that is written on all paths to it. As in
    // the kernel, the instruction after a return counts as reached from there.
    let mut written = vec![u16::MAX; program.len()];
    if let Some(first) = written.first_mut() {
        *first = 0;
    }
    for (at, instruction) in program.iter().enumerate() {
        let last = at + 1 == program.len();
        let Some(step) = Step::decode(instruction.code) else {
            return error(at, FilterProblem::Operation);
        };
        let mut after = written.get(at).copied().unwrap_or_default();
        if let Err(problem) = check_step(step, instruction.k, after) {
            return error(at, problem);
        }
        if let Step::Store(_) = step {
            after |= 1 << instruction.k;
        }
        let skips: &[u32] = match step {
            Step::Jump => &[instruction.k],
            Step::JumpIf { .. } => &[u32::from(instruction.jt), u32::from(instruction.jf)],
            Step::Return { .. } if last => &[],
            _ if last => return error(at, FilterProblem::NoReturn),
            _ => &[0],
        };
        for skip in skips {
            let target = usize::try_from(*skip).ok().and_then(|skip| (at + 1).checked_add(skip));
            let Some(words) = target.and_then(|target| written.get_mut(target)) else {
                return error(at, FilterProblem::Jump);
            };
            *words &= after;
        }
    }
    Ok(())
}

/// Checks the constant of one instruction.
fn check_step(step: Step, k: u32, written: u16) -> Result<(), FilterProblem> {
    let scratch = usize::try_from(k).is_ok_and(|word| word < SCRATCH_LEN);
    match step {
        Step::Compute {
            operation: Operation::Divide | Operation::Remainder,
            operand: Operand::Constant,
        } if k == 0 => Err(FilterProblem::DivisionByZero),
        Step::Compute {
            operation: Operation::ShiftLeft | Operation::ShiftRight,
            operand: Operand::Constant,
        } if k >= u32::BITS => Err(FilterProblem::Shift),
        Step::Store(_) | Step::Load { from: Source::Scratch, .. } if !scratch => {
            Err(FilterProblem::Scratch)
        }
        Step::Load { from: Source::Scratch, .. } if written & 1 << k == 0 => {
            Err(FilterProblem::ScratchUnset)
        }
        Step::LoadPacket { indexed: false, .. } if BESIDE_VLAN.contains(&k) => Ok(()),
        Step::LoadPacket { indexed: false, .. } | Step::LoadHeaderLen if k >= BESIDE_PACKET => {
            Err(FilterProblem::BesidePacket)
        }
        _ => Ok(()),
    }
}
