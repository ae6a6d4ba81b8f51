//! Which lab a command is about: a file, or a shape.

use adit_lab::live::LabFile;
use adit_service::error::{Error, Kind, Result};
use adit_topology::file::{self, FromFile, Setting};
use adit_topology::plan::Plan;
use adit_topology::scenario::Scenario;
use adit_topology::shapes::Topology;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The file of a lab that needs no name.
pub(crate) const USUAL: &str = "lab.toml";

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Wanted {
    /// The file of the lab [default: lab.toml]
    #[arg(value_name = "FILE", conflicts_with = "topo")]
    file: Option<PathBuf>,
    /// Set a parameter of the file
    #[arg(long = "set", value_name = "NAME=VALUE")]
    settings: Vec<Setting>,
    /// Take a network of a regular shape instead of a file: tree,DEPTH[,FANOUT], star,HOSTS,
    /// linear,SWITCHES[,HOSTS], mesh,ROUTERS, ring,ROUTERS, dumbbell,PAIRS
    #[arg(long, value_name = "SHAPE,N", conflicts_with = "settings")]
    topo: Option<Topology>,
}

impl Wanted {
    /// The file of the lab.
    pub(crate) fn file(&self) -> &Path {
        self.file.as_deref().unwrap_or(Path::new(USUAL))
    }

    /// The lab, which must have steps.
    pub(crate) fn with_steps(&self) -> Result<FromFile> {
        let read = self.read()?;
        if read.scenario.steps.is_empty() {
            return Err(Error::usage(format_args!("{} has no steps", self.shown()))
                .hint("Add a table such as `[[step]]` with `expect = [\"ping a b\"]`."));
        }
        Ok(read)
    }

    /// Whether the command line names a file or a shape.
    pub(crate) const fn is_given(&self) -> bool {
        self.file.is_some() || self.topo.is_some()
    }

    /// These options as a line for a shell.
    pub(crate) fn words(&self) -> String {
        let quoted = |word: &str| {
            let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./=%:,+".contains(c);
            if !word.is_empty() && word.chars().all(is_plain) {
                return word.to_owned();
            }
            format!("'{}'", word.replace('\'', "'\\''"))
        };
        let words = self.arguments();
        let words: Vec<String> = words.iter().map(|word| quoted(&word.to_string_lossy())).collect();
        words.join(" ")
    }

    /// The file as a running lab reads it again, from any directory; `None`: there is none.
    pub(crate) fn lab_file(&self) -> Result<Option<LabFile>> {
        if self.topo.is_some() {
            return Ok(None);
        }
        let path = adit_device::rights::absolute(self.file());
        let path = path.map_err(|error| Error::io("find", self.file().display(), &error))?;
        Ok(Some(LabFile { path, settings: self.settings.clone() }))
    }

    /// The words of a command line that ask for the same.
    pub(crate) fn arguments(&self) -> Vec<OsString> {
        let mut words: Vec<OsString> = Vec::new();
        if let Some(topology) = self.topo {
            words.push(format!("--topo={topology}").into());
        }
        let set = |setting: &Setting| format!("--set={}={}", setting.name, setting.value).into();
        words.extend(self.settings.iter().map(set));
        words.extend(self.file.iter().map(|file| file.clone().into_os_string()));
        words
    }

    /// How it is called in reports.
    pub(crate) fn shown(&self) -> String {
        self.topo.map_or_else(|| self.file().display().to_string(), |topology| topology.to_string())
    }

    /// The lab, with everything filled in.
    pub(crate) fn read(&self) -> Result<FromFile> {
        if let Some(topology) = self.topo {
            let plan = Plan::of(topology.lab().map_err(Error::usage)?)?;
            return Ok(FromFile { plan, scenario: Scenario::default(), files: Vec::new() });
        }
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
