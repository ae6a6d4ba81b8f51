//! `adit lab import`.

use crate::context::Context;
use crate::exit::Exit;
use adit_service::config::source::Source;
use adit_service::error::{Error, Result};
use adit_service::text::clean;
use adit_topology::import::{Images, import};
use schemars::JsonSchema;
use serde::Serialize;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Reads a topology of containerlab, or a GraphML file such as those of the Internet Topology Zoo. Of containerlab, the \
kinds linux, bridge, ovs-bridge and host are taken; commands that only set addresses, routes and sysctls become \
keys. The coordinates of a graph give delays, and its link speeds give rates. Whatever is left out is reported, and \
noted in the file.

Example: adit lab import clos.clab.yml -o clos.toml --as-hosts")]
pub(crate) struct Args {
    /// The file to read
    file: PathBuf,
    /// Write to this file, which must not exist, instead of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Take nodes that need a container image as hosts and routers of this machine
    #[arg(long)]
    as_hosts: bool,
}

/// An imported network.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(title = "adit lab import")]
pub(crate) struct Imported {
    /// The text of the lab file.
    text: String,
    /// What was left out.
    left_out: Vec<String>,
    /// How many nodes it has.
    nodes: usize,
    /// How many links it has.
    links: usize,
}

impl Args {
    pub(crate) fn run(self, context: &Context) -> Result<Exit> {
        let images = if self.as_hosts { Images::Hosts } else { Images::Rejected };
        let lab = import(&Source::read(&self.file)?, images)?;
        if let Some(path) = &self.output {
            let write = adit_service::file::create(path, &lab.text, 0o644);
            write.map_err(|error| Error::io("write", path.display(), &error))?;
        }
        for note in &lab.notes {
            context.output.note(clean(&format!("not imported: {note}")));
        }
        if context.output.json {
            let (text, left_out, nodes, links) = (lab.text, lab.notes, lab.nodes, lab.links);
            context.output.value(&Imported { text, left_out, nodes, links })?;
        } else if let Some(path) = &self.output {
            let path = path.display();
            context.output.line(format!("{path}: {} nodes, {} links", lab.nodes, lab.links))?;
        } else {
            context.output.bytes(lab.text.as_bytes())?;
        }
        Ok(Exit::Ok)
    }
}
