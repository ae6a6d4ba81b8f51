//! What the bodies of requests say.

use crate::keeper::{CommandSpec, NodeKey};
use adit_service::config::source::Files;
use adit_service::control::http::Request;
use adit_service::error::{Error, Kind, Result};
use adit_topology::file::Setting;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;

/// The file of a lab, and the values of its parameters.
#[derive(Clone, Debug)]
pub struct LabFile {
    /// Its path.
    pub path: PathBuf,
    /// Its parameters that are not as in the file.
    pub settings: Vec<Setting>,
}

/// How long a command may take for which a request gives no time.
const COMMAND_WITHIN: Duration = Duration::from_secs(30);

/// Whether a request asks for the counters of the kernel as well.
///
/// # Errors
/// It asks for others.
pub(super) fn has_all_counters(request: &Request) -> Result<bool> {
    match request.query_of("counters") {
        None => Ok(false),
        Some("all") => Ok(true),
        Some(_) => Err(Error::usage("`counters` must be `all`")),
    }
}

/// The number of a key of a query, 0 unless it is given.
///
/// # Errors
/// It is none.
pub(super) fn number_of(request: &Request, key: &str) -> Result<u64> {
    let number = request.query_of(key).map_or(Ok(0), str::parse);
    number.map_err(|_| Error::usage(format!("`{key}` must be a number")))
}

/// The name of a key of a query.
///
/// # Errors
/// It is empty.
pub(super) fn name_of<'a>(request: &'a Request, key: &str) -> Result<Option<&'a str>> {
    match request.query_of(key) {
        Some("") => Err(Error::usage(format!("`{key}` must not be empty"))),
        name => Ok(name),
    }
}

/// The file of packets that a request asks for: `{"file": "/run/x"}`.
///
/// # Errors
/// It names none, or may not.
pub(super) fn capture_file(request: &Request) -> Result<PathBuf> {
    check_may_name_files(request)?;
    let file = request.body.get("file").and_then(Value::as_str);
    file.map(PathBuf::from).ok_or_else(|| Error::usage("`file` must be a path"))
}

fn check_may_name_files(request: &Request) -> Result<()> {
    if request.files == Files::Allowed {
        return Ok(());
    }
    let message =
        "permission denied to name a file: the lab would open it with the rights of its user";
    Err(Error::new(Kind::Permission, &crate::keeper::PART, message))
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
    check_may_name_files(request)?;
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
