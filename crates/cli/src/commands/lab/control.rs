//! `adit lab down`, `apply`, `set`, `fail`, `heal`: requests that change a running lab.

use crate::commands::lab::which::{Which, lab};
use crate::commands::running::{link_value, send, with_folder};
use crate::context::Context;
use crate::exit::Exit;
use adit_service::control::http::{Method, escape};
use adit_service::control::name::Name;
use adit_service::error::{Error, Result};
use adit_topology::file::Setting;
use serde_json::{Map, Value, json};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long a lab may take to end: its programs get SIGKILL then.
const DOWN_WITHIN: Duration = Duration::from_secs(30);

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Returns when all programs have ended and the name is free.

Example: adit lab down office")]
pub(crate) struct DownArgs {
    /// The name of the lab, if several are running
    #[arg(value_name = "LAB")]
    word: Option<Name>,
    #[command(flatten)]
    which: Which,
}

impl DownArgs {
    pub(crate) fn run(self, context: &Context) -> Result<Exit> {
        let client = self.which.or_named(self.word)?;
        let exit = send(context, &client, Method::Post, "/stop", &Value::Null)?;
        let end = Instant::now() + DOWN_WITHIN;
        while !context.dry_run && client.name().socket_path().exists() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(exit)
    }
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Only what differs from the running lab is touched: nodes, links, addresses, routes, programs. Without FILE the file of \
the start is read again, as after SIGHUP. If the file has an error, nothing changes.

Examples:
  adit lab apply
  adit lab apply office.toml --set delay=80ms")]
pub(crate) struct ApplyArgs {
    /// The file of the lab [default: that of the start]
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Set a parameter of the file
    #[arg(long = "set", value_name = "NAME=VALUE")]
    settings: Vec<Setting>,
    #[command(flatten)]
    which: Which,
}

impl ApplyArgs {
    pub(crate) fn run(self, context: &Context) -> Result<Exit> {
        let client = self.which.client()?;
        if self.file.is_none() && self.settings.is_empty() {
            return send(context, &client, Method::Post, "/reload", &Value::Null);
        }
        let mut body = Map::new();
        if let Some(file) = &self.file {
            let path = adit_device::rights::absolute(file);
            let path = path.map_err(|error| Error::io("find", file.display(), &error))?;
            body.insert("file".to_owned(), json!(path));
        }
        let text = |setting: &Setting| format!("{}={}", setting.name, setting.value);
        let settings: Vec<String> = self.settings.iter().map(text).collect();
        body.insert("set".to_owned(), json!(settings));
        send(context, &client, Method::Post, "/lab/apply", &Value::Object(body))
    }
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
The keys are those of 'adit netem', for both directions; a-to-b and b-to-a are for one. Other settings stay. 'none', \
0 and 'unlimited' remove an effect. The change takes place between two packets. A plain cable between two hosts is made \
again as an emulated link first, with its addresses and routes: it loses packets for about 50 ms.

Examples:
  adit lab set pc-lan delay=80ms loss=1%
  adit lab set uplink a-to-b=rate=2mbit,queue-limit=100ms
  adit lab set uplink preset=dsl")]
pub(crate) struct SetArgs {
    /// The link
    #[arg(value_name = "LINK")]
    link: String,
    /// Its new properties
    #[arg(value_name = "KEY=VALUE", required = true)]
    keys: Vec<String>,
    #[command(flatten)]
    which: Which,
}

impl SetArgs {
    pub(crate) fn run(self, context: &Context) -> Result<Exit> {
        let mut body = Map::new();
        for word in &self.keys {
            let (key, text) = word.split_once('=').ok_or_else(|| {
                Error::usage(format!("'{word}' is not KEY=VALUE")).hint("For example: delay=80ms")
            })?;
            let value = link_value(key, format!("{key}="), text.to_owned())?;
            body.insert(key.to_owned(), value);
        }
        let path = format!("/lab/links/{}", escape(&self.link));
        send(context, &self.which.client()?, Method::Patch, &path, &with_folder(body)?)
    }
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
A failed link passes no packet, and the interfaces at its ends are down, as when a cable is cut. A failed node loses \
all its links, and its programs are killed; they start again when it is healed. --partition cuts nodes off from all \
others and keeps their programs running.

Examples:
  adit lab fail uplink
  adit lab fail spine1
  adit lab fail --partition a,b,c
  adit lab heal")]
pub(crate) struct FailArgs {
    /// Links and nodes
    #[arg(value_name = "LINK|NODE", required_unless_present = "partition")]
    parts: Vec<String>,
    /// Cut these nodes off from all others
    #[arg(long, value_name = "NODE,NODE", value_delimiter = ',')]
    partition: Vec<String>,
    #[command(flatten)]
    which: Which,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Heals everything without arguments.

Examples:
  adit lab heal
  adit lab heal uplink
  adit lab heal --partition a,b,c")]
pub(crate) struct HealArgs {
    /// Links and nodes; all without it
    #[arg(value_name = "LINK|NODE")]
    parts: Vec<String>,
    /// Join nodes with all others again
    #[arg(long, value_name = "NODE,NODE", value_delimiter = ',')]
    partition: Vec<String>,
    #[command(flatten)]
    which: Which,
}

impl FailArgs {
    pub(crate) fn run(self, context: &Context) -> Result<Exit> {
        change(context, self.which, "fail", &self.parts, &self.partition)
    }
}

impl HealArgs {
    pub(crate) fn run(self, context: &Context) -> Result<Exit> {
        change(context, self.which, "heal", &self.parts, &self.partition)
    }
}

/// Lets parts fail, or heals them. A name is that of a node if there is one.
fn change(
    context: &Context,
    which: Which,
    verb: &str,
    parts: &[String],
    partition: &[String],
) -> Result<Exit> {
    let client = which.client()?;
    let lab = lab(&client)?;
    let is_node = |part: &&String| lab.nodes.iter().any(|node| node.name == **part);
    let (nodes, links): (Vec<&String>, Vec<&String>) = parts.iter().partition(is_node);
    let body = json!({ "nodes": nodes, "links": links, "partition": partition });
    send(context, &client, Method::Post, &format!("/lab/{verb}"), &body)
}
