//! `adit schema`.

use crate::commands::{Context, Rehearsal, check, dev, doctor, explain, netem, tuntap};
use adit_service::control::client::Instance;
use adit_service::error::{Error, Exit, Report, Result, UNKNOWN};
use adit_service::switch::model;
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The output, as 'dev-show'; without one all are listed
    name: Option<String>,
}

/// The name of an output and what makes its schema.
type Named = (&'static str, fn() -> Schema);

/// Every output that has a JSON form.
const SCHEMAS: [Named; 23] = [
    ("bench", of::<crate::bench::report::Report>),
    ("capture", of::<crate::capture::decode::Packet>),
    ("check", of::<Vec<check::Checked>>),
    ("dev-add", of::<dev::model::Device>),
    ("dev-del", of::<Vec<dev::model::Deleted>>),
    ("dev-set", of::<dev::model::Device>),
    ("dev-show", of::<Vec<dev::model::Device>>),
    ("dev-watch", of::<dev::watch::Event>),
    ("doctor", of::<doctor::Findings>),
    ("done", of::<model::Done>),
    ("dry-run", of::<Rehearsal>),
    ("error", of::<Report>),
    ("events", of::<adit_service::supervisor::Event>),
    ("explain", of::<Vec<explain::Explanation>>),
    ("netem-preview", of::<netem::Previews>),
    ("netem-show", of::<adit_service::link::Shown>),
    ("running", of::<Vec<Instance>>),
    ("switch-fdb", of::<Vec<model::Address>>),
    ("switch-show", of::<model::Switch>),
    ("switch-show-port", of::<Vec<model::Port>>),
    ("tunnel-reload", of::<adit_vpn::daemon::Reloaded>),
    ("tunnel-show", of::<Vec<adit_vpn::state::View>>),
    ("tuntap-show", of::<Vec<tuntap::Entry>>),
];

/// The schema of what is written, in which a field that may be left out is not required.
pub(crate) fn of<T: JsonSchema>() -> Schema {
    SchemaSettings::default().for_serialize().into_generator().into_root_schema_for::<T>()
}

impl Args {
    pub(crate) fn run(self, context: &Context) -> Result<Exit> {
        let output = &context.output;
        let Some(name) = self.name else {
            let names: Vec<&str> = SCHEMAS.iter().map(|(name, _)| *name).collect();
            if output.json {
                output.value(&names)?;
            } else {
                output.line(names.join("\n"))?;
            }
            return Ok(Exit::Ok);
        };
        let Some((_, schema)) = SCHEMAS.iter().find(|(known, _)| *known == name) else {
            let message = format!("there is no schema '{name}'");
            return Err(Error::new(Exit::NotFound, &UNKNOWN, message).object(name));
        };
        // A schema is read by people too: always on many lines.
        let text = serde_json::to_string_pretty(&schema()).map_err(std::io::Error::from)?;
        output.line(text)?;
        Ok(Exit::Ok)
    }
}
