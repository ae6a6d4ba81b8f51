//! Programs of a host: `run`.

use crate::model::{NodeName, Program, Restart};
use adit_service::config::entry::{Kind as Type, Value, Wrong};
use adit_service::config::table::Table;
use adit_service::config::value::{duration, one_of, parsed, text};
use std::time::Duration;

/// How long a program has until it is ready, unless the file says otherwise.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// When a program is started again.
pub(super) const RESTART: [(&str, Restart); 3] =
    [("never", Restart::Never), ("on-failure", Restart::OnFailure), ("always", Restart::Always)];

/// `run = ["httpd", { command = "iperf3 -s", name = "iperf", restart = "always" }]`.
pub(super) fn programs(table: &mut Table<'_>) -> Vec<Program> {
    let problems = table.problems();
    let Some(value) = table.value("run").cloned() else { return Vec::new() };
    let values = match value.kind {
        Type::List(list) => list,
        _ => vec![value],
    };
    let mut programs: Vec<Program> = Vec::new();
    for value in values {
        let program =
            match Table::of_value("run", &value, problems).filter(|_| value.as_text().is_none()) {
                Some(mut table) => {
                    let words = table.required("command", words);
                    let program = Program {
                        name: table.get("name", label).unwrap_or_default(),
                        words: words.unwrap_or_default(),
                        restart: table.get("restart", one_of(&RESTART)).unwrap_or_default(),
                        ready: table.get("ready", words_or_none).unwrap_or_default(),
                        ready_within: table.get("ready-within", duration).unwrap_or(READY_WITHIN),
                    };
                    table.finish();
                    program
                }
                None => match words(&value) {
                    Ok(words) => Program {
                        name: String::new(),
                        words,
                        restart: Restart::Never,
                        ready: Vec::new(),
                        ready_within: READY_WITHIN,
                    },
                    Err(wrong) => {
                        value.wrong("run", wrong, problems);
                        continue;
                    }
                },
            };
        let is_taken = |name: &str| programs.iter().any(|other| other.name == name);
        if is_taken(&program.name) {
            let message = format!("two programs are called '{}'", program.name);
            problems.push(value.source, value.span.clone(), message, None);
        }
        let name =
            if program.name.is_empty() { free_name(&program, is_taken) } else { program.name };
        programs.push(Program { name, ..program });
    }
    programs
}

/// The last part of the path of its command, with a number if another one has that name.
fn free_name(program: &Program, is_taken: impl Fn(&str) -> bool) -> String {
    let command = program.words.first().map_or("", String::as_str);
    let stem = command.rsplit('/').next().unwrap_or(command);
    let is_plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let stem: String = stem.chars().filter(is_plain).take(32).collect();
    let stem = if stem.starts_with('.') || stem.is_empty() { "program".to_owned() } else { stem };
    let numbered = (2..).map(|number| format!("{stem}-{number}"));
    std::iter::once(stem.clone()).chain(numbered).find(|name| !is_taken(name)).unwrap_or(stem)
}

/// The name of a program, which is also that of its log.
fn label(value: &Value<'_>) -> Result<String, Wrong> {
    parsed::<NodeName>("a name")(value).map(|name| name.to_string())
}

fn words_or_none(value: &Value<'_>) -> Result<Vec<String>, Wrong> {
    if value.as_text() == Some("") { Ok(Vec::new()) } else { words(value) }
}

/// A command as a text, split at spaces as a shell does, or as a list of words.
fn words(value: &Value<'_>) -> Result<Vec<String>, Wrong> {
    if let Type::List(list) = &value.kind {
        let word = |value: &Value<'_>| {
            value.plain().ok_or_else(|| Wrong::expected("a list of words", value))
        };
        let words: Vec<String> = list.iter().map(word).collect::<Result<_, _>>()?;
        let is_empty = words.first().is_none_or(String::is_empty);
        return if is_empty { Err(Wrong::new("has no command")) } else { Ok(words) };
    }
    let text = text(value)?;
    split(&text).map_err(Wrong::new)
}

/// The words of a command, with the quotes and backslashes of a shell; a shell's other signs need a shell.
fn split(text: &str) -> Result<Vec<String>, &'static str> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = text.chars();
    let mut needs_shell = false;
    while let Some(c) = chars.next() {
        match c {
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        Some('\'') => break,
                        Some(c) => word.push(c),
                        None => return Err("has a quote that is not closed"),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        Some('"') => break,
                        Some('\\') => match chars.next() {
                            Some(c @ ('"' | '\\' | '$' | '`')) => word.push(c),
                            Some(c) => word.extend(['\\', c]),
                            None => return Err("has a quote that is not closed"),
                        },
                        Some('$' | '`') => {
                            needs_shell = true;
                            word.push('$');
                        }
                        Some(c) => word.push(c),
                        None => return Err("has a quote that is not closed"),
                    }
                }
            }
            '\\' => match chars.next() {
                Some(c) => word.get_or_insert_default().push(c),
                None => return Err("ends in a backslash"),
            },
            '|' | '&' | ';' | '<' | '>' | '$' | '`' | '*' | '(' | ')' => {
                needs_shell = true;
                word.get_or_insert_default().push(c);
            }
            c if c.is_whitespace() => words.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    let sets_variable = words.first().is_some_and(|word| word.contains('='));
    if needs_shell || sets_variable {
        return Ok(["sh", "-c", text].map(str::to_owned).to_vec());
    }
    if words.is_empty() { Err("has no command") } else { Ok(words) }
}
