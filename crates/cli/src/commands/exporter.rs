//! `adit exporter`.

use crate::commands::sandbox::SandboxArgs;
use crate::context::Context;
use crate::exit::Exit;
use adit_service::error::Result;
use adit_service::metrics::{ListenAddress, exporter};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
The metrics are at /metrics: those of each switch, link, NAT, tunnel and lab that this user may control, with the \
label name. adit_up is 0 for a program that does not answer. Each of them also has its own at /metrics of its control \
socket, and by TCP with its option --metrics.

Runs until Ctrl-C or SIGTERM.

Examples:
  adit exporter
  adit exporter --listen 192.0.2.1:9586
  curl http://127.0.0.1:9586/metrics")]
pub(crate) struct Args {
    /// Listen at this port of 127.0.0.1, or at another address
    #[arg(long, value_name = "[ADDR:]PORT", default_value_t = ListenAddress::USUAL)]
    listen: ListenAddress,

    #[command(flatten)]
    sandbox: SandboxArgs,
}

impl Args {
    pub(crate) fn run(self, context: &Context) -> Result<Exit> {
        if context
            .is_rehearsal(&[format!("serve the metrics of all programs at {}", self.listen)])?
        {
            return Ok(Exit::Ok);
        }
        let listener = self.listen.listen()?;
        context.output.note(format!("the metrics are at http://{}/metrics", self.listen));
        let note = |lacking| context.output.note(format_args!("warning: {lacking}"));
        exporter::run(listener, self.sandbox.level, note)?;
        Ok(Exit::Ok)
    }
}
