//! `adit switch save`.

use crate::commands::running::{SWITCH, Which, ask};
use crate::context::Context;
use crate::exit::Exit;
use adit_service::config::source::Source;
use adit_service::control::http::Method;
use adit_service::error::{Error, Result};
use adit_service::file;
use adit_service::switch::changes::Changes;
use adit_service::switch::save::{Edited, edit};
use adit_service::text::clean;
use serde_json::json;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The mode of a new file: it holds no secrets.
const MODE: u32 = 0o644;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Writes what was added, changed and removed while the switch runs; 'adit switch show' lists it. Comments and \
all other lines stay. With FILE, the result is a new file: a copy with the changes, or for a switch that was \
started without a file, all of its ports and settings.

Examples:
  adit switch save
  adit switch save lab
  adit switch save lab2.toml")]
pub(super) struct Args {
    /// The switch (the only running one without it), then a new file
    #[arg(value_name = "NAME | FILE", num_args = 0..=2)]
    words: Vec<String>,
    #[command(flatten)]
    which: Which,
}

impl Args {
    pub(super) fn run(self, context: &Context) -> Result<Exit> {
        let (which, file) = self.which.and_word(self.words, SWITCH);
        let client = which.client(SWITCH)?;
        let new = file.map(PathBuf::from);
        let Changes { file: own, changes } = ask(&client, "/changes")?;
        let own = own.map(PathBuf::from);
        let Some(path) = new.clone().or(own.clone()) else {
            let message = format!("'{}' was started without a file", client.name());
            return Err(Error::usage(message)
                .hint("Name a new file, for example: adit switch save lab.toml"));
        };
        let mut actions: Vec<String> = changes.iter().map(ToString::to_string).collect();
        if !changes.is_empty() || new.is_some() {
            actions.push(format!("write {}", path.display()));
        }
        if context.is_rehearsal(&actions)? {
            return Ok(Exit::Ok);
        }
        let from = |path: &Option<PathBuf>| match path {
            Some(path) => Source::read(path),
            None => Ok(Source::new("the new file", "")),
        };
        let edited = if new.is_some() {
            file::check_folder(&path)
                .map_err(|error| Error::io("create", path.display(), &error))?;
            let edited = edit(&from(&own)?, &changes)?;
            file::create(&path, &edited.text, MODE).map_err(|error| {
                let hint = "Choose another name: only its own file is changed.";
                Error::io("create", path.display(), &error).hint(hint)
            })?;
            edited
        } else if changes.is_empty() {
            edit(&Source::new("", ""), &[])?
        } else {
            let _lock = file::LockFile::wait_for(&path)?;
            let edited = edit(&from(&own)?, &changes)?;
            file::replace(&path, &edited.text, mode_of(&path))
                .map_err(|error| Error::io("write", path.display(), &error))?;
            client.send(Method::Post, "/saved", &json!({ "changes": edited.saved }))?;
            edited
        };
        report(context, &path, edited)
    }
}

/// The mode of a file, which it keeps.
fn mode_of(path: &Path) -> u32 {
    std::fs::metadata(path).map_or(MODE, |found| found.permissions().mode() & 0o7777)
}

fn report(context: &Context, path: &Path, edited: Edited) -> Result<Exit> {
    let output = &context.output;
    for change in edited.skipped {
        output.note(clean(&format!(
            "warning: not saved: {change}: the port is not in the file, but an option of the switch"
        )));
    }
    let done: Vec<String> = edited.saved.iter().map(ToString::to_string).collect();
    if output.json {
        output.value(&adit_service::supervisor::DoneReply { done })?;
    } else if done.is_empty() {
        output.line("nothing changed")?;
    } else {
        for line in done {
            output.line(clean(&line))?;
        }
        output.line(clean(&format!("saved to {}", path.display())))?;
    }
    Ok(Exit::Ok)
}
