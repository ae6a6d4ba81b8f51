//! Requests to running programs of every kind.

use crate::context::Context;
use crate::exit::Exit;
use crate::output::{clean, table};
use adit_service::config::problems::Problems;
use adit_service::config::read;
use adit_service::config::source::Source;
use adit_service::control::client::{Client, Instance, instances};
use adit_service::control::http::{Method, escape};
use adit_service::control::name::Name;
use adit_service::error::{Error, Kind, Result};
use adit_service::supervisor::DoneReply;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// The kind of a switch among running programs.
pub(super) const SWITCH: &str = "switch";

/// Selects one of the running programs of a kind.
#[derive(Debug, clap::Args)]
pub(super) struct Which {
    /// Its name, if several are running
    #[arg(long, value_name = "NAME")]
    name: Option<Name>,
}

impl Which {
    /// The selected program.
    pub(super) fn client(self, kind: &str) -> Result<Client> {
        Client::find(self.name, kind)
    }

    /// The selected program; among several without a name, the only one with this port.
    pub(super) fn with_port(self, kind: &str, port: Option<&str>) -> Result<Client> {
        match port {
            Some(port) => Client::find_with(self.name, kind, &format!("/ports/{}", escape(port))),
            None => self.client(kind),
        }
    }

    /// Selects it by name, unless `--name` did.
    pub(super) fn or_named(self, name: Option<Name>) -> Self {
        Self { name: self.name.or(name) }
    }

    /// Of `[NAME] [WORD]`, the program and the other word. A single word is a name if a program of that
    /// name is running.
    pub(super) fn and_word(self, words: Vec<String>, kind: &str) -> (Self, Option<String>) {
        let mut words = words.into_iter();
        let (first, second) = (words.next(), words.next());
        let name: Option<Name> = first.as_ref().and_then(|word| word.parse().ok());
        let is_running =
            || name.as_ref().is_some_and(|name| Client::named(name.clone(), kind).is_ok());
        match (first, second) {
            (_, Some(word)) => (self.or_named(name), Some(word)),
            (Some(_), None) if self.name.is_none() && is_running() => (self.or_named(name), None),
            (word, None) => (self, word),
        }
    }
}

/// Selects one of the running programs of a kind by a word.
#[derive(Debug, clap::Args)]
pub(super) struct Named {
    /// Its name; the only running one without it
    #[arg(value_name = "NAME", conflicts_with = "name")]
    word: Option<Name>,
    #[command(flatten)]
    which: Which,
}

impl Named {
    /// The name that was given.
    pub(super) fn name(&self) -> Option<Name> {
        self.word.clone().or_else(|| self.which.name.clone())
    }

    /// The selected program.
    pub(super) fn client(self, kind: &str) -> Result<Client> {
        self.which.or_named(self.word).client(kind)
    }

    /// Makes it reload its configuration, and prints the changes.
    pub(super) fn reload(self, context: &Context, kind: &str) -> Result<Exit> {
        send(context, &self.client(kind)?, Method::Post, "/reload", &Value::Null)
    }

    /// Stops it.
    pub(super) fn stop(self, context: &Context, kind: &str) -> Result<Exit> {
        send(context, &self.client(kind)?, Method::Post, "/stop", &Value::Null)
    }
}

/// Adds our working directory, to which relative paths in `body` refer.
pub(super) fn with_folder(mut body: Map<String, Value>) -> Result<Value> {
    let folder = std::env::current_dir()
        .map_err(|error| Error::io("read", "the working directory", &error))?;
    if let Some(folder) = folder.to_str() {
        body.insert("cwd".to_owned(), folder.into());
    }
    Ok(Value::Object(body))
}

/// The value of a key of an emulated link: a direction has keys of its own. Errors name `place`.
pub(super) fn link_value(key: &str, place: String, text: String) -> Result<Value> {
    if !matches!(key, "a-to-b" | "b-to-a") {
        return Ok(text.into());
    }
    let source = Source::new(place, text);
    let problems = Problems::default();
    let object = read::words(&source, 0, &problems).to_json();
    problems.check("the command line")?;
    Ok(Value::Object(object))
}

/// Fetches `path` and parses the reply.
pub(super) fn ask<T: DeserializeOwned>(client: &Client, path: &str) -> Result<T> {
    let value = client.get(path)?;
    serde_json::from_value(value).map_err(|error| other_version(client, &error))
}

/// The most pages of a list: a table of a million addresses has fewer.
const PAGES_MAX: usize = 10_000;

/// Fetches a list page by page; `take` takes a page and returns its token for the next. `query` is further keys, each
/// after a `&`.
pub(super) fn pages<T: DeserializeOwned>(
    client: &Client,
    path: &str,
    query: &str,
    mut take: impl FnMut(T) -> Option<String>,
) -> Result<()> {
    let mut next = take(ask(client, &format!("{path}?{query}"))?);
    for _ in 0..PAGES_MAX {
        let Some(page) = next else { return Ok(()) };
        next = take(ask(client, &format!("{path}?page={page}{query}"))?);
    }
    let message = format!("'{}' sends a list without an end", client.name());
    Err(Error::new(Kind::Refused, &adit_service::control::CONTROL, message).object(client.name()))
}

/// Sends a request and prints the changes it made.
pub(super) fn send(
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
    let done: DoneReply =
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

pub(super) fn other_version(client: &Client, error: &serde_json::Error) -> Error {
    let message = format!("'{}' runs another version of adit: {error}", client.name());
    Error::new(Kind::Refused, &adit_service::control::CONTROL, message).object(client.name())
}

/// Lists the running programs of a kind.
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
