//! The manual: one page for each command, adit.toml(5) and adit-control(7).
//!
//! Name, synopsis, description and options of a command come from its help. The help has the notes and
//! examples too; [`table`] adds files, environment, see also, and examples for commands whose help has
//! none. The two pages without a command are written in Markdown (`adit.toml.md`, `adit-control.md`), and
//! the book in `docs/` includes the same files.

mod help;
mod markdown;
mod table;

#[cfg(test)]
mod tests;

use clap::Command;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};
use help::Help;
use std::io;

/// A page of the manual.
#[derive(Debug)]
pub(crate) struct Page {
    /// The name of its file, as `adit-dev.1`.
    pub(crate) file: String,
    /// Its text for man(1).
    pub(crate) roff: Vec<u8>,
}

/// The pages that describe no command: name, section and text.
const TEXTS: [(&str, &str, &str); 2] = [
    ("adit.toml", "5", include_str!("adit.toml.md")),
    ("adit-control", "7", include_str!("adit-control.md")),
];

/// All pages, that of the program first.
///
/// # Errors
/// None for a page in memory.
pub(crate) fn pages(program: Command) -> io::Result<Vec<Page>> {
    let mut program = program.disable_help_subcommand(true);
    program.build();
    let mut commands = Vec::new();
    collect(&program, &mut commands);
    let mut pages = Vec::new();
    for command in &commands {
        pages.push(of_command(command, &commands)?);
    }
    for (name, section, text) in TEXTS {
        let mut roff = Roff::new();
        markdown::write(text, &mut roff);
        let mut page = title(name, section).into_bytes();
        roff.to_writer(&mut page)?;
        pages.push(Page { file: format!("{name}.{section}"), roff: page });
    }
    Ok(pages)
}

/// The header and footer of a page. The date stays empty: a build must give the same bytes each time.
fn title(name: &str, section: &str) -> String {
    let (name, version) = (name.to_uppercase(), env!("CARGO_PKG_VERSION"));
    format!(".TH \"{name}\" {section} \"\" \"adit {version}\" \"adit manual\"\n")
}

fn collect(command: &Command, all: &mut Vec<Command>) {
    all.push(command.clone());
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        collect(sub, all);
    }
}

/// `dev add` of `adit dev add`; empty for the program itself.
fn path(command: &Command) -> &str {
    let words = command.get_bin_name().unwrap_or_default();
    words.split_once(' ').map_or("", |(_, path)| path)
}

fn of_command(command: &Command, all: &[Command]) -> io::Result<Page> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    let man = Man::new(command.clone());
    let help = Help::of(command);
    let mut page = title(name, "1").into_bytes();
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    let mut notes = Roff::new();
    help.write_notes(&mut notes);
    notes.to_writer(&mut page)?;
    if command.get_arguments().any(|argument| !argument.is_hide_set()) {
        man.render_options_section(&mut page)?;
    }
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    let mut rest = Roff::new();
    if let Some(program) = all.first() {
        write_exit_status(&mut rest, program);
    }
    write_entries(&mut rest, "FILES", &table::FILES, path(command));
    write_entries(&mut rest, "ENVIRONMENT", &table::ENVIRONMENT, path(command));
    let mut examples = help.examples;
    examples.extend(table::examples(path(command)).map(str::to_owned));
    rest.control("SH", ["EXAMPLES"]);
    markdown::write_verbatim(examples.iter().map(String::as_str), &mut rest);
    write_see_also(&mut rest, command, all);
    rest.to_writer(&mut page)?;
    Ok(Page { file: format!("{name}.1"), roff: page })
}

/// The table in the help of the program, so that the help and each page agree.
fn write_exit_status(roff: &mut Roff, program: &Command) {
    roff.control("SH", ["EXIT STATUS"]);
    let help = program.get_after_help().map(ToString::to_string).unwrap_or_default();
    for line in help.lines().skip_while(|line| *line != "Exit status:").skip(1) {
        match line.strip_prefix("  ").and_then(|line| line.split_once(' ')) {
            Some((status, meaning)) => {
                roff.control("TP", []);
                roff.text([bold(status)]);
                roff.text([roman(meaning.trim())]);
            }
            None if line.is_empty() => {
                roff.control("PP", []);
            }
            None => {
                roff.text([roman(line)]);
            }
        }
    }
}

fn write_entries(roff: &mut Roff, heading: &str, entries: &[table::Entry], path: &str) {
    roff.control("SH", [heading]);
    for entry in entries.iter().filter(|entry| entry.is_of(path)) {
        roff.control("TP", []);
        roff.text([bold(entry.name)]);
        roff.text([roman(entry.meaning)]);
    }
}

/// The command above, those beside and below it, and what the table adds.
fn write_see_also(roff: &mut Roff, command: &Command, all: &[Command]) {
    let own = path(command);
    let parent = own.rsplit_once(' ').map_or("", |(parent, _)| parent);
    let is_near = |other: &&Command| {
        let other = path(other);
        let above = other.rsplit_once(' ').map_or("", |(above, _)| above);
        let is_sibling = !parent.is_empty() && above == parent;
        other != own && (other == parent || above == own || is_sibling || other.is_empty())
    };
    let name = |other: &Command| {
        format!("{}(1)", other.get_display_name().unwrap_or_else(|| other.get_name()))
    };
    let mut pages: Vec<String> = all.iter().filter(is_near).map(name).collect();
    pages.extend(table::see_also(own).map(str::to_owned));
    roff.control("SH", ["SEE ALSO"]);
    roff.text([roman(pages.join(", "))]);
}
