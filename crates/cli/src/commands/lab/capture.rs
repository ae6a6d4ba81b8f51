//! `adit lab capture`.

use crate::commands::capture;
use crate::commands::lab::which::Which;
use crate::context::Context;
use crate::exit::Exit;
use adit_capture::lab::{Place, Source, find};
use adit_service::error::{Error, Result};
use clap::{Args as _, FromArgMatches};
use std::ffi::OsString;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Captures in the node at an end of the link: what its interface sends and receives. A link between two switches, or of a \
switch and a NAT or guest, is captured inside the lab. The options and the filter are those of 'adit capture'. With 'adit capture --install-extcap', Wireshark and tshark list the links of running labs.

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
        let client = self.which.client()?;
        let place = find(&client, &self.part)?;
        let source = match &place {
            Place::Interface(_, interface) => format!("--interface={interface}"),
            Place::Inside(link) => format!("--read={link}"),
        };
        let command = capture::Args::augment_args(clap::Command::new("adit lab capture"));
        let words = ["capture".into(), OsString::from(source)].into_iter().chain(self.rest);
        let matches = command.try_get_matches_from(words);
        let args = matches.and_then(|matches| capture::Args::from_arg_matches(&matches));
        let mut args = args.map_err(|error| {
            let text = error.render().to_string();
            let first = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
            Error::usage(first).hint("See 'adit capture --help'.")
        })?;
        if !context.dry_run
            && let Source::Pipe(path) = place.begin(&client)?
        {
            args.read_from(path);
        }
        args.run(context)
    }
}
