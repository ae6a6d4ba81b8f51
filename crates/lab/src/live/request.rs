//! What requests to a lab say.

use crate::keeper::{CommandSpec, NodeKey};
use adit_service::config::source::Files;
use adit_service::control::http::Request;
use adit_service::error::{Error, Kind, Result};
use adit_topology::file::Setting;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;

/// How long a command may take for which a request gives no time.
const COMMAND_WITHIN: Duration = Duration::from_secs(30);

/// The file of a lab, and the values of its parameters.
#[derive(Clone, Debug)]
pub struct LabFile {
    /// Its path.
    pub path: PathBuf,
    /// Its parameters that are not as in the file.
    pub settings: Vec<Setting>,
}

/// What a request lets fail or heals.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct WhatFails {
    pub(super) links: Vec<String>,
    pub(super) nodes: Vec<String>,
    /// Nodes that are cut off from all others.
    pub(super) partition: Vec<String>,
}

impl WhatFails {
    /// Whether nothing is named: everything is healed.
    pub(super) fn is_all(&self) -> bool {
        *self == Self::default()
    }
}

/// Reads `{"links": ["a-b"], "nodes": [], "partition": []}`.
///
/// # Errors
/// It is not that.
pub(super) fn what_fails(body: &Value) -> Result<WhatFails> {
    let list = |key: &str| match body.get(key) {
        None => Ok(Vec::new()),
        Some(list) => serde_json::from_value(list.clone())
            .map_err(|_| Error::usage(format!("`{key}` must be a list of names"))),
    };
    Ok(WhatFails { links: list("links")?, nodes: list("nodes")?, partition: list("partition")? })
}

/// The command of a request: `{"words": ["ip", "addr"], "within_s": 5}`.
pub(super) fn command(node: NodeKey, body: &Value) -> Result<CommandSpec> {
    let words: Option<Vec<String>> =
        body.get("words").and_then(|words| serde_json::from_value(words.clone()).ok());
    let words = words.filter(|words| !words.is_empty());
    let words = words.ok_or_else(|| Error::usage("`words` must be a list of strings"))?;
    let within = match body.get("within_s") {
        None => COMMAND_WITHIN,
        Some(seconds) => {
            let seconds = seconds.as_f64().and_then(|s| Duration::try_from_secs_f64(s).ok());
            seconds.ok_or_else(|| Error::usage("`within_s` must be a number of seconds"))?
        }
    };
    Ok(CommandSpec { node, words, environment: Vec::new(), directory: None, within })
}

/// The file that a request names, or that of the start: `{"file": "/x/lab.toml", "set": ["delay=80ms"]}`.
pub(super) fn lab_file(request: &Request, before: Option<&LabFile>) -> Result<LabFile> {
    if request.files != Files::Allowed {
        let message =
            "permission denied to name a file: the lab would open it with the rights of its user";
        return Err(Error::new(Kind::Permission, &crate::keeper::PART, message));
    }
    let path = match request.body.get("file") {
        Some(Value::String(path)) => PathBuf::from(path),
        Some(_) => return Err(Error::usage("`file` must be a path")),
        None => {
            let before =
                before.ok_or_else(|| Error::usage("the lab was not started from a file"))?;
            before.path.clone()
        }
    };
    let set = request.body.get("set").cloned().unwrap_or_else(|| json!([]));
    let set: Vec<String> =
        serde_json::from_value(set).map_err(|_| Error::usage("`set` must be a list of strings"))?;
    let settings: std::result::Result<Vec<Setting>, _> =
        set.iter().map(|text| text.parse().map_err(Error::usage)).collect();
    Ok(LabFile { path, settings: settings? })
}
