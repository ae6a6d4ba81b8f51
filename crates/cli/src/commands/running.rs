//! What is said to programs that run, of whatever kind.

use crate::context::Context;
use adit_service::control::client::{Client, Instance, instances};
use adit_service::control::http::Method;
use adit_service::control::name::Name;
use adit_service::error::{Error, Exit, Result};
use adit_service::output::{clean, table};
use adit_service::switch::model;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// Which of the programs of a kind is meant.
#[derive(Debug, clap::Args)]
pub(super) struct Which {
    /// Which one, if several run
    #[arg(long, value_name = "NAME")]
    name: Option<Name>,
}

impl Which {
    /// The one that is meant.
    pub(super) fn client(self, kind: &str) -> Result<Client> {
        Client::find(self.name, kind)
    }

    /// Has it read its configuration again, and prints what was done.
    pub(super) fn reload(self, context: &Context, kind: &str) -> Result<Exit> {
        tell(context, &self.client(kind)?, Method::Post, "/reload", &Value::Null)
    }

    /// Ends it.
    pub(super) fn stop(self, context: &Context, kind: &str) -> Result<Exit> {
        tell(context, &self.client(kind)?, Method::Post, "/stop", &Value::Null)
    }
}

/// With the folder from which the files are that it names.
pub(super) fn with_folder(mut body: Map<String, Value>) -> Result<Value> {
    let folder =
        std::env::current_dir().map_err(|error| Error::io("find", "the folder", &error))?;
    if let Some(folder) = folder.to_str() {
        body.insert("cwd".to_owned(), folder.into());
    }
    Ok(Value::Object(body))
}

/// Asks for what is of the type `T`.
pub(super) fn ask<T: DeserializeOwned>(client: &Client, path: &str) -> Result<T> {
    let value = client.get(path)?;
    serde_json::from_value(value).map_err(|error| other_version(client, &error))
}

/// Tells it to do something and prints what was done.
pub(super) fn tell(
    context: &Context,
    client: &Client,
    method: Method,
    path: &str,
    body: &Value,
) -> Result<Exit> {
    let shown = if body.is_null() { String::new() } else { format!(" {body}") };
    if context.is_rehearsal(&[format!("{method} {path}{shown} to '{}'", client.name())])? {
        return Ok(Exit::Ok);
    }
    print_done(context, client, client.send(method, path, body)?)
}

fn print_done(context: &Context, client: &Client, reply: Value) -> Result<Exit> {
    let done: model::Done =
        serde_json::from_value(reply).map_err(|error| other_version(client, &error))?;
    if context.output.json {
        context.output.value(&done)?;
    } else {
        for what in &done.done {
            context.output.line(clean(what))?;
        }
        if done.done.is_empty() {
            context.output.line("nothing changed")?;
        }
    }
    Ok(Exit::Ok)
}

fn other_version(client: &Client, error: &serde_json::Error) -> Error {
    let message = format!("'{}' is of another version: {error}", client.name());
    Error::new(Exit::Refused, &adit_service::control::CONTROL, message).object(client.name())
}

/// Lists the programs of a kind that run.
pub(super) fn list(context: &Context, kind: &str) -> Result<Exit> {
    let running = instances(kind);
    if context.output.json {
        context.output.value(&running)?;
        return Ok(Exit::Ok);
    }
    let row =
        |one: &Instance| vec![clean(&one.name), one.pid.to_string(), format!("{} s", one.uptime_s)];
    let mut rows = vec![["NAME", "PID", "UPTIME"].map(str::to_owned).to_vec()];
    rows.extend(running.iter().map(row));
    for line in table(&rows) {
        context.output.line(line)?;
    }
    Ok(Exit::Ok)
}
