//! Which lab a command is about: a file.

use adit_lab::file::{self, FromFile, Setting};
use adit_service::error::{Error, Kind, Result};
use std::path::{Path, PathBuf};

/// The file of a lab that needs no name.
const USUAL: &str = "lab.toml";

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Wanted {
    /// The file of the lab; lab.toml without it
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Give a parameter of the file another value
    #[arg(long = "set", value_name = "NAME=VALUE")]
    settings: Vec<Setting>,
}

impl Wanted {
    /// The file of the lab.
    pub(crate) fn file(&self) -> &Path {
        self.file.as_deref().unwrap_or(Path::new(USUAL))
    }

    /// The lab, with everything filled in.
    pub(crate) fn read(&self) -> Result<FromFile> {
        if self.file.is_none() && !Path::new(USUAL).exists() {
            return Err(Error::new(
                Kind::NotFound,
                &adit_service::error::USAGE,
                format_args!("there is no file {USUAL} here"),
            )
            .hint("Name the file of the lab, as in 'adit lab check office.toml'."));
        }
        file::read(self.file(), &self.settings)
    }
}
