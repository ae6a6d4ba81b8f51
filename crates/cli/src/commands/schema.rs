//! `adit schema`.

use crate::commands::explain::UNKNOWN;
use crate::context::Context;
use crate::exit::Exit;
use adit_service::error::{Error, Kind, Result};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The output, such as 'dev-show'; all are listed without it
    name: Option<String>,
}

impl Args {
    pub(crate) fn run(self, context: &Context) -> Result<Exit> {
        let output = &context.output;
        let schemas = (context.schemas)();
        let Some(name) = self.name else {
            let names: Vec<&str> = schemas.iter().map(|(name, _)| *name).collect();
            if output.json {
                output.value(&names)?;
            } else {
                output.line(names.join("\n"))?;
            }
            return Ok(Exit::Ok);
        };
        let Some((_, schema)) = schemas.iter().find(|(known, _)| *known == name) else {
            let message = format!("no schema is called '{name}'");
            return Err(Error::new(Kind::NotFound, &UNKNOWN, message)
                .object(name)
                .hint("List the schemas: 'adit schema'."));
        };
        // People read schemas too, so they are indented without --pretty.
        let text = serde_json::to_string_pretty(&schema()).map_err(std::io::Error::from)?;
        output.line(text)?;
        Ok(Exit::Ok)
    }
}
