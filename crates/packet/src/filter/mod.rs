//! Classic BPF, the filters that tcpdump compiles: checked as the kernel does, and interpreted.

mod check;
mod instruction;
mod interpreter;
mod text;

pub use check::{FilterError, FilterProblem, check};
pub use instruction::{ClassicInstruction, FILTER_LEN_MAX};
pub use interpreter::run;
pub use text::parse;
