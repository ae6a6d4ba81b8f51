//! Requests and replies as JSON.

use crate::config::problems::Problems;
use crate::config::read;
use crate::config::source::{Files, Source};
use crate::config::table::Table;
use crate::control::CONTROL;
use crate::error::{Error, Kind, Result};
use crate::sandbox;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// What a change did.
#[derive(Clone, Debug)]
pub struct Done {
    /// Each thing, for people.
    pub lines: Vec<String>,
    /// The reply to the client.
    pub reply: Value,
}

impl Done {
    /// The usual reply: the lines as `done`.
    #[must_use]
    pub fn new(lines: Vec<String>) -> Self {
        let reply = serde_json::json!({ "done": lines });
        Self { lines, reply }
    }
}

/// The reply to a change.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "adit switch: what a command did")]
pub struct DoneReply {
    /// Each thing, in order.
    pub done: Vec<String>,
}

/// A report as JSON.
///
/// # Errors
/// None in practice: a report consists of numbers and strings.
pub fn value(report: &impl Serialize) -> Result<Value> {
    serde_json::to_value(report).map_err(|error| Error::from(std::io::Error::from(error)))
}

/// What `read` makes of the keys of a request. Relative paths in it start at its key `cwd`.
///
/// # Errors
/// All its problems; [`Kind::Permission`] if it names a file and must not.
pub fn read_request<T>(
    body: &Value,
    files: Files,
    read: impl FnOnce(&mut Table<'_>) -> T,
) -> Result<T> {
    let (object, folder) = object_of(body)?;
    let source = Source::request(&folder, files);
    let problems = Problems::default();
    let mut table = read::json(&source, &object, &problems);
    let result = read(&mut table);
    table.finish();
    if let Some(named) = source.refused() {
        let (user, _) = sandbox::owner();
        let message = format!(
            "permission denied to name '{named}': the program would open it with the rights of user {user}"
        );
        let hint = format!(
            "Send the request as root or as user {user}, or write it to the configuration of the program and reload that."
        );
        return Err(Error::new(Kind::Permission, &CONTROL, message).object(named).hint(hint));
    }
    problems.check("the request")?;
    Ok(result)
}

/// The object of a request, and the folder for its relative paths.
fn object_of(body: &Value) -> Result<(Map<String, Value>, PathBuf)> {
    let mut object = match body {
        Value::Object(object) => object.clone(),
        Value::Null => Map::new(),
        _ => return Err(Error::usage("the body of the request must be an object")),
    };
    let folder = match object.remove("cwd") {
        None => PathBuf::from("/"),
        Some(Value::String(folder)) if Path::new(&folder).is_absolute() => folder.into(),
        Some(_) => return Err(Error::usage("`cwd` must be an absolute path")),
    };
    Ok((object, folder))
}
