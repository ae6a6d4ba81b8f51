//! `adit compat`.

use crate::compat::Tool;
use crate::context::Context;
use crate::exit::Exit;
use adit_service::error::{Error, Result};
use std::ffi::OsString;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Options, messages and exit status are those of the other program. A symbolic link of its name to adit does the \
same.

Examples:
  adit compat slirp4netns --configure --mtu=65520 --disable-host-loopback PID tap0
  adit compat pasta --config-net -t 8080:80 --netns PATH
  adit compat passt --one-off --socket PATH -t 2222:22
  ln -s \"$(command -v adit)\" ~/.local/bin/slirp4netns")]
pub(crate) struct Args {
    /// The other program (slirp4netns, pasta, passt, gvproxy), and its arguments
    #[arg(value_name = "NAME ARGS", required = true)]
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<OsString>,
}

impl Args {
    pub(crate) fn run(self, _: &Context) -> Result<Exit> {
        let mut words = self.words.into_iter();
        let name = words.next().unwrap_or_default();
        let tool = Tool::called_as(&name)
            .ok_or_else(|| Error::usage(format!("adit does not run in place of {name:?}")))?;
        Ok(match tool.run(words) {
            0 => Exit::Ok,
            code => Exit::Program(code),
        })
    }
}
