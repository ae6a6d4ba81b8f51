//! `adit lab capture`.

use crate::capture::lab::find;
use crate::commands::capture;
use crate::commands::lab::which::Which;
use crate::context::Context;
use crate::exit::Exit;
use adit_service::error::{Error, Result};
use clap::{Args as _, FromArgMatches};
use std::ffi::OsString;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Captures in the node at an end of the link: what its interface sends and receives. The options and the filter are those \
of 'adit capture'. With 'adit capture --install-extcap', Wireshark and tshark list the links of running labs.

Examples:
  adit lab capture uplink
  adit lab capture pc icmp
  adit lab capture gw:eth1 -w - | wireshark -k -i -")]
pub(crate) struct Args {
    #[command(flatten)]
    which: Which,
    /// The link, the node, or an interface of it
    #[arg(value_name = "LINK|NODE[:IF]")]
    part: String,
    /// Options and filter of 'adit capture'
    #[arg(value_name = "OPTIONS", trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<OsString>,
}

impl Args {
    pub(crate) fn run(self, context: &Context) -> Result<Exit> {
        let place = find(&self.which.client()?, &self.part)?;
        let command = capture::Args::augment_args(clap::Command::new("adit lab capture"));
        let interface = format!("--interface={}", place.interface);
        let words = ["capture".into(), OsString::from(interface)].into_iter().chain(self.rest);
        let matches = command.try_get_matches_from(words);
        let args = matches.and_then(|matches| capture::Args::from_arg_matches(&matches));
        let args = args.map_err(|error| {
            let text = error.render().to_string();
            let first = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
            Error::usage(first).hint("See 'adit capture --help'.")
        })?;
        if !context.dry_run {
            place.enter()?;
        }
        args.run(context)
    }
}
