//! `adit lab events`.

use crate::commands::lab::which::{Which, has_ended};
use crate::commands::running::ask;
use crate::context::Context;
use crate::exit::Exit;
use crate::output::clean;
use adit_service::error::Result;
use adit_topology::report::Happened;
use std::time::Duration;

/// How often new events are asked for.
const FOLLOW: Duration = Duration::from_millis(200);

#[derive(Debug, clap::Args)]
#[command(after_help = "\
The last 1,024 events of the lab with their times in seconds after its start, and each new one until the lab ends: \
programs that start, fail and exit, links and nodes that fail, are healed and change.

Examples:
  adit lab events
  adit lab events --past
  adit -j lab events | jq .event.part")]
pub(crate) struct Args {
    /// Print what has happened so far, and end
    #[arg(long)]
    past: bool,
    #[command(flatten)]
    which: Which,
}

impl Args {
    pub(crate) fn run(self, context: &Context) -> Result<Exit> {
        let client = self.which.client()?;
        let mut after = 0;
        loop {
            let events: Vec<Happened> = match ask(&client, &format!("/lab/events?after={after}")) {
                // It has ended.
                Err(error) if after > 0 && has_ended(&client, &error) => return Ok(Exit::Ok),
                result => result?,
            };
            for one in events {
                after = one.number;
                if context.output.json {
                    context.output.value(&one)?;
                } else {
                    let at = format!("{:9.3}", one.at_s);
                    context.output.line(format_args!("{at}  {}", clean(&one.text)))?;
                }
            }
            if self.past {
                return Ok(Exit::Ok);
            }
            std::thread::sleep(FOLLOW);
        }
    }
}
