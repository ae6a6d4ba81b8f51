//! `adit schema`.

use super::{Context, Rehearsal, capture, dev, doctor, explain, tuntap};
use crate::error::{Error, Exit, Report, Result, UNKNOWN};
use schemars::{Schema, schema_for};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The output, as 'dev-show'; without one all are listed
    name: Option<String>,
}

/// Every output that has a JSON form.
const SCHEMAS: [(&str, fn() -> Schema); 11] = [
    ("capture", capture::schema),
    ("dev-add", || schema_for!(dev::model::Device)),
    ("dev-del", || schema_for!(Vec<dev::model::Deleted>)),
    ("dev-set", || schema_for!(dev::model::Device)),
    ("dev-show", || schema_for!(Vec<dev::model::Device>)),
    ("dev-watch", || schema_for!(dev::watch::Event)),
    ("doctor", || schema_for!(doctor::Findings)),
    ("dry-run", || schema_for!(Rehearsal)),
    ("error", || schema_for!(Report)),
    ("explain", || schema_for!(Vec<explain::Explanation>)),
    ("tuntap-show", || schema_for!(Vec<tuntap::Entry>)),
];

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
