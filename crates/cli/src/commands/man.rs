//! `adit man`.

use crate::context::Context;
use crate::exit::Exit;
use crate::man;
use adit_service::error::{Error, Result};
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Write adit.1 and a page for each subcommand into this directory
    dir: Option<PathBuf>,
}

impl Args {
    pub(crate) fn run(self, context: &Context) -> Result<Exit> {
        let pages = man::pages((context.program)())?;
        let Some(dir) = self.dir else {
            if let Some(first) = pages.first() {
                context.output.bytes(&first.roff)?;
            }
            return Ok(Exit::Ok);
        };
        if context.is_rehearsal(&[format!("write the manual to {}", dir.display())])? {
            return Ok(Exit::Ok);
        }
        let failed = |error| Error::io("write the manual to", dir.display(), &error);
        std::fs::create_dir_all(&dir).map_err(failed)?;
        for page in pages {
            adit_service::file::replace(&dir.join(page.file), page.roff, 0o644).map_err(failed)?;
        }
        Ok(Exit::Ok)
    }
}
