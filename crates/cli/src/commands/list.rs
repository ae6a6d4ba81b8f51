//! `adit list`.

use crate::context::Context;
use crate::exit::Exit;
use crate::output::{clean, table};
use adit_service::control::client::{Instance, running};
use adit_service::control::name::Name;
use adit_service::error::Result;
use schemars::JsonSchema;
use serde::Serialize;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
The name is what 'adit switch show --name', 'adit netem show --name' and 'adit tunnel show' take.

Examples:
  adit list
  adit -j list")]
pub(crate) struct Args {}

/// A running program.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(title = "adit list: an entry of the list")]
pub(crate) struct Running {
    #[serde(flatten)]
    instance: Instance,
    /// The path of its control socket.
    socket: String,
}

impl Running {
    fn new(instance: Instance) -> Self {
        let name: Option<Name> = instance.name.parse().ok();
        let socket = name.map_or(String::new(), |name| name.socket_path().display().to_string());
        Self { instance, socket }
    }
}

impl Args {
    pub(crate) fn run(self, context: &Context) -> Result<Exit> {
        let running: Vec<Running> = running().into_iter().map(Running::new).collect();
        let output = &context.output;
        if output.json {
            output.value(&running)?;
            return Ok(Exit::Ok);
        }
        let mut rows = vec![["NAME", "KIND", "PID", "SOCKET"].map(str::to_owned).to_vec()];
        rows.extend(running.iter().map(|Running { instance, socket }| {
            let [name, kind] = [&instance.name, &instance.kind].map(|text| clean(text));
            vec![name, kind, instance.pid.to_string(), clean(socket)]
        }));
        for line in table(&rows) {
            output.line(line)?;
        }
        Ok(Exit::Ok)
    }
}
