//! When to color the output.

use clap::ValueEnum;
use std::io::{self, IsTerminal};

/// The values of `--color`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    // On a terminal, unless NO_COLOR is set or TERM is dumb. Not a doc comment: clap would switch
    // to the long form of help.
    #[default]
    Auto,
    Always,
    Never,
}

impl Color {
    /// Whether to color standard output and standard error.
    pub(crate) fn streams(self) -> [bool; 2] {
        [self.on(io::stdout().is_terminal()), self.on(io::stderr().is_terminal())]
    }

    fn on(self, terminal: bool) -> bool {
        let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto => terminal && !set("NO_COLOR") && !dumb,
        }
    }
}
