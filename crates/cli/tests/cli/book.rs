//! The book in `docs/`, the README and the manual: links lead somewhere, commands and files are valid.

use crate::support::{adit, root, run, text, try_adit};
use adit_cli::exercise;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// A Markdown file with its includes in place.
struct Page {
    path: PathBuf,
    text: String,
}

impl Page {
    fn read(path: PathBuf) -> Self {
        let raw = fs::read_to_string(&path).unwrap();
        let folder = path.parent().unwrap();
        let line = |line: &str| match line.strip_prefix("{{#include ") {
            Some(name) => fs::read_to_string(folder.join(name.trim_end_matches("}}"))).unwrap(),
            None => line.to_owned(),
        };
        let lines: Vec<String> = raw.lines().map(line).collect();
        Self { path, text: lines.join("\n") }
    }

    /// The lines outside of fenced blocks, and the blocks with their language.
    fn parts(&self) -> (Vec<&str>, Vec<(&str, Vec<&str>)>) {
        let (mut prose, mut blocks) = (Vec::new(), Vec::new());
        let mut lines = self.text.lines();
        while let Some(line) = lines.next() {
            match line.strip_prefix("```") {
                Some(language) => {
                    let block = lines.by_ref().take_while(|line| *line != "```").collect();
                    blocks.push((language, block));
                }
                None => prose.push(line),
            }
        }
        (prose, blocks)
    }

    /// What a link may have after its `#`.
    fn anchors(&self) -> BTreeSet<String> {
        let headings = self.parts().0.into_iter().filter(|line| line.starts_with('#'));
        headings.map(|line| anchor(line.trim_start_matches('#').trim())).collect()
    }

    /// The targets of its links.
    fn links(&self) -> Vec<String> {
        let prose = self.parts().0.join("\n");
        // Code may look like a link.
        let outside: String = prose.split('`').step_by(2).collect();
        let parts = outside.split("](").skip(1);
        parts.filter_map(|part| Some(part.split_once(')')?.0.to_owned())).collect()
    }
}

/// As mdBook and GitHub make it of a heading.
fn anchor(heading: &str) -> String {
    if let Some((_, id)) = heading.split_once("{#") {
        return id.trim_end_matches('}').to_owned();
    }
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

fn markdown_in(folder: PathBuf) -> Vec<Page> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|end| end == "md")).collect();
    paths.sort();
    paths.into_iter().map(Page::read).collect()
}

fn book() -> Vec<Page> {
    markdown_in(root().join("docs/src"))
}

fn book_and_root() -> Vec<Page> {
    let mut pages = book();
    pages.extend(markdown_in(root()));
    let crates = fs::read_dir(root().join("crates")).unwrap().map(|entry| entry.unwrap().path());
    let readmes = crates.map(|folder| folder.join("README.md")).filter(|readme| readme.exists());
    pages.extend(readmes.map(Page::read));
    pages
}

#[test]
fn every_page_is_in_the_summary() {
    let pages = book();
    let name = |page: &Page| page.path.file_name().unwrap().to_str().unwrap().to_owned();
    let summary = pages.iter().find(|page| name(page) == "SUMMARY.md").unwrap();
    let listed: BTreeSet<String> = summary.links().into_iter().collect();
    let there: BTreeSet<String> =
        pages.iter().map(name).filter(|name| name != "SUMMARY.md").collect();
    assert_eq!(listed, there);
}

#[test]
fn every_link_leads_somewhere() {
    let mut count = 0;
    for page in book_and_root() {
        for link in page.links() {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (file, part) = link.split_once('#').unwrap_or((&link, ""));
            let place = format!("{}: {link}", page.path.display());
            let target = match file {
                "" => page.path.clone(),
                file => page.path.parent().unwrap().join(file),
            };
            assert!(target.exists(), "{place}: there is no such file");
            if !part.is_empty() {
                assert!(Page::read(target).anchors().contains(part), "{place}: no such heading");
            }
            count += 1;
        }
    }
    assert!(count > 50, "{count} links");
}

/// The commands of a line of shell: their words, without redirections and comments.
fn commands(line: &str) -> Vec<Vec<String>> {
    let mut commands = vec![Vec::new()];
    let (mut word, mut quote) = (None::<String>, None);
    let mut is_redirected = false;
    for c in line.chars().chain([' ']) {
        match (c, quote) {
            (c, Some(end)) if c == end => quote = None,
            (c, Some(_)) => word.get_or_insert_default().push(c),
            ('\'' | '"', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            ('#', None) if word.is_none() => break,
            (' ' | '|' | '&' | ';' | '<' | '>', None) => {
                if let Some(word) = word.take()
                    && !std::mem::take(&mut is_redirected)
                {
                    commands.last_mut().unwrap().push(word);
                }
                match c {
                    '<' | '>' => is_redirected = true,
                    '|' | '&' | ';' => commands.push(Vec::new()),
                    _ => {}
                }
            }
            (c, None) => word.get_or_insert_default().push(c),
        }
    }
    commands
}

/// Those of them that run adit, without what stands before it.
fn adit_commands(line: &str) -> Vec<Vec<String>> {
    const BEFORE: [&str; 3] = ["sudo", "chrt", "timeout"];
    let of_adit = |mut words: Vec<String>| {
        let first = words.iter().position(|word| !word.contains('=')).unwrap_or(0);
        words.drain(..first);
        if words.first().is_some_and(|word| BEFORE.contains(&word.as_str())) {
            let at = words.iter().position(|word| word == "adit").unwrap_or(words.len());
            words.drain(..at);
        }
        let is_adit = |word: &String| word == "adit" || word.ends_with("/adit");
        // The user of the examples exists nowhere.
        words.iter_mut().filter(|word| *word == "alice").for_each(|word| "root".clone_into(word));
        words.first().is_some_and(is_adit).then_some(words)
    };
    commands(line).into_iter().filter_map(of_adit).collect()
}

/// The lines that a reader types: of a session those after a prompt.
fn typed(language: &str, block: &[&str]) -> Vec<String> {
    let joined = block.join("\n").replace("\\\n", " ");
    let line = |line: &str| match language {
        "sh" => Some(line.to_owned()),
        "console" => {
            let (prompt, rest) = line.split_once(' ')?;
            let host = prompt.strip_suffix(['$', '#'])?;
            host.chars().all(|c| c.is_ascii_lowercase()).then(|| rest.to_owned())
        }
        _ => None,
    };
    joined.lines().filter_map(line).collect()
}

/// The command line must be valid; that of a switch or a link without files even makes sense.
fn check_command(place: &str, words: &[String]) {
    if let Err(error) = exercise::command_line(words) {
        panic!("{place}: {words:?}: {error}");
    }
    let has = |option: &str| words.iter().any(|word| word == option);
    let mut pairs = words.windows(2);
    let starts =
        pairs.any(|pair| ["switch", "netem"].contains(&&*pair[0]) && pair[1].starts_with('-'));
    if starts && has("--port") && !has("--config") && !has("--profile") {
        let mut rehearsed = vec!["--dry-run"];
        rehearsed.extend(words[1..].iter().map(String::as_str));
        let output = try_adit(&rehearsed);
        assert!(output.status.success(), "{place}: {words:?}: {}", text(&output.stderr));
    }
}

#[test]
fn every_command_of_the_book_and_the_manual_is_valid() {
    let mut count = 0;
    for page in book_and_root() {
        for (language, block) in page.parts().1 {
            for line in typed(language, &block) {
                for words in adit_commands(&line) {
                    check_command(&page.path.display().to_string(), &words);
                    count += 1;
                }
            }
        }
    }
    assert!(count > 50, "{count} commands in the book");
    let folder = std::env::temp_dir().join(format!("adit-book-{}", std::process::id()));
    adit(&format!("man {}", folder.display()));
    count = 0;
    for page in fs::read_dir(&folder).unwrap() {
        let page = page.unwrap().path();
        let roff = fs::read_to_string(&page).unwrap();
        let Some((_, examples)) = roff.split_once(".SH EXAMPLES\n") else { continue };
        let lines = examples.lines().take_while(|line| !line.starts_with(".SH"));
        for line in lines.map(|line| line.replace("\\-", "-").replace("\\*(Aq", "'")) {
            for words in adit_commands(&line) {
                check_command(&page.display().to_string(), &words);
                count += 1;
            }
        }
    }
    assert!(count > 60, "{count} commands in the manual");
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn every_example_program_of_the_book_exists() {
    let mut count = 0;
    for page in book_and_root() {
        for command in page.text.split("cargo run -p adit-").skip(1) {
            let Some((package, rest)) = command.split_once(' ') else { continue };
            let Some((_, example)) = rest.split_once("--example ") else { continue };
            let name = example.split([' ', '`', '\n']).next().unwrap();
            let path = root().join(format!("crates/{package}/examples/{name}.rs"));
            assert!(path.exists(), "{}: {}", page.path.display(), path.display());
            count += 1;
        }
    }
    assert!(count >= 4, "{count} programs");
}

/// A block of TOML that begins with the name of a file is a whole one.
#[test]
fn every_file_of_the_book_is_valid() {
    let folder = std::env::temp_dir().join(format!("adit-files-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let key = folder.join("site.key");
    fs::write(&key, adit("tunnel genkey")).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let mut count = 0;
    for page in book_and_root() {
        for (_, block) in page.parts().1.iter().filter(|(language, _)| *language == "toml") {
            let name = block.first().and_then(|line| line.strip_prefix("# ")).unwrap_or_default();
            if !name.ends_with(".toml") || name.contains(' ') {
                continue;
            }
            let path = folder.join(name);
            fs::write(&path, block.join("\n")).unwrap();
            run(&format!("{} check {}", crate::support::ADIT, path.display()));
            count += 1;
        }
    }
    assert!(count >= 3, "{count} files");
    fs::remove_dir_all(folder).unwrap();
}

/// The headings `### ADIT-E0101: TITLE {#e0101}` have the titles that `adit explain` prints;
/// `ADIT_BLESS=1` writes them again.
#[test]
fn troubleshooting_has_the_titles_of_the_errors() {
    let path = root().join("docs/src/troubleshooting.md");
    let kept = fs::read_to_string(&path).unwrap();
    let listed = adit("explain");
    let titles: BTreeMap<&str, &str> =
        listed.lines().filter_map(|line| line.split_once(' ')).collect();
    let heading = |line: &str| {
        let Some(code) = line.strip_prefix("### ").and_then(|rest| rest.get(..10)) else {
            return line.to_owned();
        };
        match titles.get(code) {
            Some(title) => {
                let id = code.trim_start_matches("ADIT-").to_lowercase();
                format!("### {code}: {} {{#{id}}}", title.trim())
            }
            None => line.to_owned(),
        }
    };
    let mut now = kept.lines().map(heading).collect::<Vec<_>>().join("\n");
    now.push('\n');
    crate::reference::compare(Path::new(&path), &now);
    let count = now.lines().filter(|line| line.starts_with("### ADIT-E")).count();
    assert!(count > 20, "{count} codes");
}
