//! The text of a filter, as `tcpdump -ddd` prints it.

use super::check::{FilterError, FilterProblem};
use super::instruction::{ClassicInstruction, FILTER_LEN_MAX};
use alloc::vec::Vec;

/// Reads the number of instructions, then one line of four decimal numbers for each.
///
/// # Errors
/// [`FilterProblem::Text`], [`FilterProblem::Count`], [`FilterProblem::TooLong`].
pub fn parse(text: &str) -> Result<Vec<ClassicInstruction>, FilterError> {
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
    Ok(instructions)
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
