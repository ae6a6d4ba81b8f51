//! `adit log`.

use crate::commands::running::other_version;
use crate::context::Context;
use crate::exit::Exit;
use crate::output::table;
use adit_service::control::client::Client;
use adit_service::control::http::Method;
use adit_service::control::name::Name;
use adit_service::error::{Error, Result};
use adit_service::log::{Filter, LEVELS, LogStatus, TARGETS};
use serde_json::{Value, json};

#[derive(Debug, clap::Args)]
#[command(after_help = help())]
pub(crate) struct Args {
    /// The program (the only running one without it), then the levels to set, or 'default' for those of the start
    #[arg(value_name = "NAME | FILTER", num_args = 0..=2)]
    words: Vec<String>,
}

/// The help on targets, from the list that filters use.
fn help() -> String {
    let targets = TARGETS.iter().map(|target| format!("  {:9}{}\n", target.name, target.about));
    format!(
        "\
Shows what a running switch, link, NAT, tunnel or lab logs, and changes it. A filter is a level for everything, or \
TARGET=LEVEL, or several separated by commas; other targets keep their level. Levels: {}. Targets:
{}
Examples:
  adit log
  adit log site tunnel=debug,host=debug
  adit log site default",
        LEVELS.map(|(word, _)| word).join(", "),
        targets.collect::<String>()
    )
}

impl Args {
    pub(crate) fn run(self, context: &Context) -> Result<Exit> {
        let (name, filter) = split(self.words)?;
        let client = Client::of_any_kind(name)?;
        let reply = match filter {
            None => client.get("/log")?,
            Some(filter) => {
                let what = format!("set the log of '{}' to {filter}", client.name());
                if context.is_rehearsal(&[what])? {
                    return Ok(Exit::Ok);
                }
                client.send(Method::Patch, "/log", &json!({ "filter": filter }))?
            }
        };
        print(context, &client, reply)
    }
}

/// Of `[NAME] [FILTER]`, both. A single word is a filter if it can be one.
fn split(words: Vec<String>) -> Result<(Option<Name>, Option<String>)> {
    let is_filter = |word: &str| word == "default" || word.parse::<Filter>().is_ok();
    let name = |word: String| word.parse::<Name>().map(Some).map_err(Error::usage);
    let mut words = words.into_iter();
    match (words.next(), words.next()) {
        (None, _) => Ok((None, None)),
        (Some(word), None) if is_filter(&word) || word.contains('=') => Ok((None, Some(word))),
        (Some(word), None) => Ok((name(word)?, None)),
        (Some(word), Some(filter)) => Ok((name(word)?, Some(filter))),
    }
}

fn print(context: &Context, client: &Client, reply: Value) -> Result<Exit> {
    let status: LogStatus =
        serde_json::from_value(reply).map_err(|error| other_version(client, &error))?;
    if context.output.json {
        context.output.value(&status)?;
        return Ok(Exit::Ok);
    }
    let LogStatus { filter, levels, format, written, left_out, lost } = status;
    context.output.line(format!("{}: {filter}, as {format}", client.name()))?;
    let rows = levels.into_iter().map(|(target, level)| vec![format!("  {target}"), level]);
    for line in table(&rows.collect::<Vec<_>>()) {
        context.output.line(line)?;
    }
    context.output.line(format!("{written} written, {left_out} left out, {lost} lost"))?;
    Ok(Exit::Ok)
}
