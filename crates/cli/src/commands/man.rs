//! `adit man`.

use crate::commands::{Cli, Context};
use adit_service::error::{Error, Exit, Result};
use clap::CommandFactory;
use clap_mangen::{Man, generate_to};
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Write adit.1 and a page for each subcommand into this directory
    dir: Option<PathBuf>,
}

impl Args {
    pub(crate) fn run(self, context: &Context) -> Result<Exit> {
        let Some(dir) = self.dir else {
            let mut page = Vec::new();
            Man::new(Cli::command()).render(&mut page)?;
            context.output.bytes(&page)?;
            return Ok(Exit::Ok);
        };
        if context.is_rehearsal(&[format!("write the manual to {}", dir.display())])? {
            return Ok(Exit::Ok);
        }
        let failed = |error| Error::io("write the manual to", dir.display(), &error);
        std::fs::create_dir_all(&dir).map_err(failed)?;
        generate_to(Cli::command(), &dir).map_err(failed)?;
        Ok(Exit::Ok)
    }
}
