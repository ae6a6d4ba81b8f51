//! `adit compat`.

use crate::compat::Tool;
use crate::context::Context;
use crate::exit::Exit;
use adit_service::error::Result;
use std::ffi::OsString;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Options, messages and exit status are those of the other program. A symbolic link of its name to adit does the \
same.

Examples:
  adit compat slirp4netns --configure --mtu=65520 --disable-host-loopback PID tap0
  ln -s \"$(command -v adit)\" ~/.local/bin/slirp4netns")]
pub(crate) struct Args {
    /// The other program
    #[arg(value_name = "NAME")]
    tool: Tool,
    /// Its arguments
    #[arg(value_name = "ARGS", trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<OsString>,
}

impl Args {
    #[expect(clippy::unnecessary_wraps, reason = "as every command")]
    pub(crate) fn run(self, _: &Context) -> Result<Exit> {
        Ok(match self.tool.run(self.args) {
            0 => Exit::Ok,
            code => Exit::Program(code),
        })
    }
}
