//! `adit explain`.

use crate::commands::capture;
use crate::context::Context;
use crate::errno;
use crate::exit::Exit;
use crate::output::Tone;
use adit_service::error;
use adit_service::error::{Entry, Error, Kind, Result};
use schemars::JsonSchema;
use serde::Serialize;
use std::borrow::Cow;
use std::io;

/// An unknown code or schema.
pub(crate) const UNKNOWN: Entry = Entry {
    code: "ADIT-E0806",
    title: "no such code or schema",
    explanation: "Without a name, the command lists all names.",
    remedy: "Run the command without a name to list all names.",
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A code such as E0802, or an errno such as 22 or EINVAL; all codes are listed without it
    code: Option<String>,
}

/// The meaning of an error code.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(title = "adit explain: an entry of the list")]
pub(crate) struct Explanation {
    /// The stable code, or the name of an errno.
    pub(crate) code: &'static str,
    /// What happened, in a few words.
    title: Cow<'static, str>,
    /// Why it happens.
    explanation: Cow<'static, str>,
    /// How to fix it.
    remedy: &'static str,
}

impl From<Entry> for Explanation {
    fn from(entry: Entry) -> Self {
        let Entry { code, title, explanation, remedy } = entry;
        Self { code, title: title.into(), explanation: explanation.into(), remedy }
    }
}

impl From<&adit_device::CauseEntry> for Explanation {
    fn from(entry: &adit_device::CauseEntry) -> Self {
        let adit_device::CauseEntry { code, title, explanation, remedy, .. } = *entry;
        Self { code, title: title.into(), explanation: explanation.into(), remedy }
    }
}

/// All codes of the library and the program, in order.
pub(crate) fn catalog() -> Vec<Explanation> {
    let library = adit_device::Cause::CATALOG.iter().map(Explanation::from);
    let program = error::CATALOG
        .into_iter()
        .chain(capture::CATALOG)
        .chain([UNKNOWN])
        .chain(adit_service::control::CATALOG)
        .chain(adit_service::file::CATALOG)
        .chain(adit_service::switch::codes::CATALOG)
        .chain(adit_service::link::CATALOG)
        .chain(adit_service::namespace::CATALOG)
        .chain(adit_service::sandbox::CATALOG)
        .chain(adit_service::nat::CATALOG)
        .chain(adit_vpn::upgrade::successor::CATALOG)
        .chain(adit_service::metrics::CATALOG)
        .chain(adit_lab::keeper::CATALOG)
        .chain(adit_topology::routing::CATALOG)
        .chain(adit_lab::limits::CATALOG)
        .chain(adit_service::health::CATALOG)
        .chain(adit_vpn::health::CATALOG)
        .chain(adit_topology::health::CATALOG)
        .chain(adit_top::CATALOG)
        .map(Explanation::from);
    let mut all: Vec<Explanation> = library.chain(program).collect();
    all.sort_by_key(|entry| entry.code);
    all
}

impl Args {
    pub(crate) fn run(self, context: &Context) -> Result<Exit> {
        let output = &context.output;
        let mut entries = catalog();
        if let Some(code) = &self.code {
            entries = match of_errno(code) {
                Some(entry) => vec![entry],
                None => {
                    let wanted = normal(code);
                    entries.into_iter().filter(|entry| entry.code == wanted).collect()
                }
            };
            if entries.is_empty() {
                let message = format!("unknown error code '{code}'");
                return Err(Error::new(Kind::NotFound, &UNKNOWN, message)
                    .object(code)
                    .hint("List the codes: 'adit explain'."));
            }
        }
        if output.json {
            output.value(&entries)?;
        } else if self.code.is_some() {
            for entry in entries {
                output.line(format_args!(
                    "{}: {}",
                    output.paint(Tone::Name, entry.code),
                    entry.title
                ))?;
                output.line(format_args!("\n{}", entry.explanation))?;
                if !entry.remedy.is_empty() {
                    output.line(format_args!("\n{}", entry.remedy))?;
                }
            }
        } else {
            for entry in entries {
                output.line(format_args!(
                    "{}  {}",
                    output.paint(Tone::Name, entry.code),
                    entry.title
                ))?;
            }
        }
        Ok(Exit::Ok)
    }
}

/// The entry of an errno, by its number or name. Codes have four digits, so `22` is an errno.
fn of_errno(text: &str) -> Option<Explanation> {
    let number = match text.parse() {
        Ok(number) if text.len() < 4 => number,
        Ok(_) => return None,
        Err(_) => errno::errno_number(&text.to_ascii_uppercase())?,
    };
    let name = errno::errno_name(number)?;
    let words = io::Error::from_raw_os_error(number).to_string();
    let words = words.split(" (os error").next().unwrap_or_default();
    Some(Explanation {
        code: name,
        title: format!("{words} (errno {number})").into(),
        explanation:
            "The kernel reports this number for many different causes. Errors of adit print it \
                      after the code of the cause that they found."
                .into(),
        remedy: "Explain the code of the error instead: 'adit explain CODE'.",
    })
}

/// `e0802` and `0802` are `ADIT-E0802`.
fn normal(code: &str) -> String {
    let code = code.to_ascii_uppercase();
    let digits = code.trim_start_matches("ADIT-").trim_start_matches('E');
    format!("ADIT-E{digits:0>4}")
}
