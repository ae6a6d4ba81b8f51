//! `adit completions`.

use crate::context::Context;
use crate::exit::Exit;
use adit_service::error::Result;
use clap::ValueEnum;
use clap_complete::{Shell as Known, generate};

/// The supported shells.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Example: adit completions bash > /etc/bash_completion.d/adit")]
pub(crate) struct Args {
    /// The shell to print completions for
    #[arg(value_name = "bash|zsh|fish", hide_possible_values = true)]
    shell: Shell,
}

impl Args {
    pub(crate) fn run(self, context: &Context) -> Result<Exit> {
        let shell = match self.shell {
            Shell::Bash => Known::Bash,
            Shell::Zsh => Known::Zsh,
            Shell::Fish => Known::Fish,
        };
        let mut script = Vec::new();
        generate(shell, &mut (context.program)(), "adit", &mut script);
        context.output.bytes(&script)?;
        Ok(Exit::Ok)
    }
}
