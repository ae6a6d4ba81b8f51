//! Markdown to roff, as far as the pages of this folder need it.
//!
//! ```text
//! # name - description     NAME           ## Heading     SH        ### Heading     SS
//! - `key`: meaning         TP             ``` ... ```    lines as they are
//! `word` **word**          bold           anything else  a paragraph
//! ```
//!
//! There are no tables and no links: a page of the manual shows neither well.

use clap_mangen::roff::{Inline, Roff, bold, roman};

/// Writes a whole text.
pub(super) fn write(text: &str, roff: &mut Roff) {
    let mut lines = text.lines().peekable();
    let mut is_after_heading = false;
    while let Some(line) = lines.next() {
        if line.is_empty() {
            continue;
        }
        let mut heading = true;
        if line.starts_with("```") {
            let verbatim: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            write_verbatim(verbatim, roff);
            heading = false;
        } else if let Some(name) = line.strip_prefix("# ") {
            roff.control("SH", ["NAME"]);
            roff.text([roman(name)]);
        } else if let Some(name) = line.strip_prefix("## ") {
            roff.control("SH", [name.to_uppercase().as_str()]);
        } else if let Some(name) = line.strip_prefix("### ") {
            roff.control("SS", [name]);
        } else {
            // A paragraph or an item: with the lines that go on.
            let mut whole = line.to_owned();
            let goes_on = |line: &&str| {
                !line.is_empty() && !line.starts_with(['-', '#']) && !line.starts_with("```")
            };
            while let Some(more) = lines.next_if(goes_on) {
                whole.push(' ');
                whole.push_str(more.trim());
            }
            write_paragraph(&whole, is_after_heading, roff);
            heading = false;
        }
        is_after_heading = heading;
    }
}

fn write_paragraph(text: &str, is_after_heading: bool, roff: &mut Roff) {
    let Some(item) = text.strip_prefix("- ") else {
        if !is_after_heading {
            roff.control("PP", []);
        }
        roff.text(inlines(text));
        return;
    };
    match item.split_once("`: ") {
        Some((key, meaning)) => {
            roff.control("TP", []);
            roff.text(inlines(&format!("{key}`")));
            roff.text(inlines(meaning));
        }
        None => {
            roff.control("IP", ["\\(bu", "2"]);
            roff.text(inlines(item));
        }
    }
}

/// Writes lines as they are, indented.
pub(super) fn write_verbatim<'a>(lines: impl IntoIterator<Item = &'a str>, roff: &mut Roff) {
    roff.control("RS", ["4"]);
    roff.control("nf", []);
    for line in lines {
        roff.text([roman(line)]);
    }
    roff.control("fi", []);
    roff.control("RE", []);
}

/// Code and strong text become bold.
fn inlines(text: &str) -> Vec<Inline> {
    let marks = text.replace("**", "`");
    let parts = marks.split('`').enumerate();
    let one = |(at, part): (usize, &str)| if at % 2 == 1 { bold(part) } else { roman(part) };
    parts.filter(|(_, part)| !part.is_empty()).map(one).collect()
}
