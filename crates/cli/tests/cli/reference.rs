//! The whole help reference, compared with `tests/reference.snap`.
//!
//! `ADIT_BLESS=1 cargo test` writes it again.

use crate::support::adit;
use std::fs;
use std::path::Path;

/// The help of `path` and of all subcommands below it.
fn reference(path: &str, out: &mut String) {
    let help = adit(&format!("{path} --help"));
    out.push_str(&format!("$ adit{path} --help\n{help}\n"));
    let Some((_, commands)) = help.split_once("\nCommands:\n") else { return };
    for line in commands.lines().take_while(|line| line.starts_with("  ")) {
        // A further line of a description is indented deeper.
        let name = line[2..].split(' ').next().unwrap();
        if !name.is_empty() && name != "help" {
            reference(&format!("{path} {name}"), out);
        }
    }
}

/// Compares with a file of the repository, or writes it.
pub(crate) fn compare(path: &Path, now: &str) {
    if std::env::var_os("ADIT_BLESS").is_some() {
        fs::write(path, now).unwrap();
        return;
    }
    let kept = fs::read_to_string(path).unwrap_or_default();
    if kept == now {
        return;
    }
    let differs = kept.lines().zip(now.lines()).enumerate().find(|(_, (kept, now))| kept != now);
    let place = match differs {
        Some((number, (kept, now))) => format!("line {}:\n- {kept}\n+ {now}", number + 1),
        None => "one is longer".to_owned(),
    };
    panic!("{} has changed at {place}\nADIT_BLESS=1 writes it again", path.display());
}

#[test]
fn the_help_is_as_it_was() {
    let mut text = String::new();
    reference("", &mut text);
    compare(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference.snap"), &text);
}
