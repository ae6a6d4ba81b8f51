use super::{Page, markdown, pages, table};
use crate::commands::Cli;
use clap::CommandFactory;
use clap_mangen::roff::Roff;
use std::collections::BTreeSet;

fn all() -> Vec<Page> {
    pages(Cli::command()).unwrap()
}

/// The part of a page from a heading to the next one.
fn section<'a>(roff: &'a str, heading: &str) -> Option<&'a str> {
    let marks = [format!(".SH \"{heading}\"\n"), format!(".SH {heading}\n")];
    let start = marks.iter().find_map(|mark| Some(roff.find(mark)? + mark.len()))?;
    let rest = &roff[start..];
    Some(rest.find("\n.SH ").map_or(rest, |end| &rest[..end]))
}

#[test]
fn every_page_has_its_sections() {
    let pages = all();
    assert!(pages.len() > 40);
    for page in pages {
        let roff = String::from_utf8(page.roff).unwrap();
        for heading in ["NAME", "EXIT STATUS", "FILES", "ENVIRONMENT", "EXAMPLES", "SEE ALSO"] {
            // A format has no exit status, and the rest of these two is free.
            if page.file.ends_with(".1") || ["NAME", "SEE ALSO"].contains(&heading) {
                let text = section(&roff, heading);
                let text = text.unwrap_or_else(|| panic!("{}: no {heading}", page.file));
                let lines = text.lines().filter(|line| !line.starts_with('.'));
                assert!(lines.count() > 0, "{}: {heading} is empty", page.file);
            }
        }
    }
}

#[test]
fn every_example_is_of_a_command() {
    let files: BTreeSet<String> = all().into_iter().map(|page| page.file).collect();
    for (path, lines) in table::all_examples() {
        let file = format!("{}.1", format!("adit {path}").trim().replace(' ', "-"));
        assert!(files.contains(&file), "{path} is no command");
        assert!(!lines.is_empty());
    }
}

#[test]
fn pages_refer_to_pages_that_exist() {
    let pages = all();
    let files: BTreeSet<&str> = pages.iter().map(|page| page.file.as_str()).collect();
    for page in &pages {
        let roff = String::from_utf8(page.roff.clone()).unwrap();
        let text = section(&roff, "SEE ALSO").unwrap().replace('\\', "");
        for name in text.split([',', '\n', ' ']).filter(|name| name.starts_with("adit")) {
            let file = name.trim_end_matches([')', '.']).replace('(', ".");
            assert!(files.contains(file.as_str()), "{}: {name}", page.file);
        }
    }
}

#[test]
fn markdown_becomes_roff() {
    let mut roff = Roff::new();
    let text = "# x - a thing\n\n## Keys\n\nSome\ntext.\n\nMore.\n\n- `a`, `b`: **one**\n  of two\n\n```\n.as is\n```\n";
    markdown::write(text, &mut roff);
    let wanted = ".SH NAME\nx \\- a thing\n.SH KEYS\nSome text.\n.PP\nMore.\n.TP\n\\fBa\\fR, \\fBb\\fR\n\
                  \\fBone\\fR of two\n.RS 4\n.nf\n\\&.as is\n.fi\n.RE\n";
    assert_eq!(roff.to_roff(), wanted);
}
