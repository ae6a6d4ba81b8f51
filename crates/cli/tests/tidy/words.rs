//! Words that writing for users does without.

use super::lexer::{Kind, lex};
use super::root;
use std::fs;

const BANNED: [&str; 10] = [
    "mend",
    "heed",
    "whoever",
    "anew",
    "is to be",
    "are to be",
    "so long",
    "is told",
    "are told",
    "tells",
];

/// The banned phrases in a text, as whole words, whatever their case and the spaces between them.
fn banned(text: &str) -> impl Iterator<Item = &'static str> {
    let words: Vec<String> = text
        .split(|char: char| !char.is_alphanumeric() && char != '\'')
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect();
    let text = format!(" {} ", words.join(" "));
    BANNED.into_iter().filter(move |phrase| text.contains(&format!(" {phrase} ")))
}

#[test]
fn user_visible_text_is_plain() {
    let mut problems = String::new();
    for (path, text) in super::sources() {
        let inside = path.strip_prefix(root().join("crates")).unwrap().to_str().unwrap();
        if !inside.contains("/src/") || super::is_test(inside) {
            continue;
        }
        // The help is made of the doc comments of the program's arguments.
        let is_help = inside.starts_with("cli/");
        for token in lex(super::without_tests(&text)) {
            let (Kind::Text(read) | Kind::Doc(read)) = &token.kind else { continue };
            if matches!(token.kind, Kind::Text(_)) || is_help {
                for phrase in banned(&read.replace("\\n", " ")) {
                    problems += &format!("crates/{inside}:{}: {phrase}\n", token.line);
                }
            }
        }
    }
    let mut pages = super::files(&root().join("docs"), "md");
    pages.extend(super::files(&root().join("crates"), "md"));
    let of_root = [
        "README.md",
        "ARCHITECTURE.md",
        "SPECIFICATION.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
    ];
    pages.extend(of_root.map(|name| root().join(name)));
    for page in pages {
        for (number, line) in fs::read_to_string(&page).unwrap().lines().enumerate() {
            // A name of a test is code.
            let prose: String = line.split('`').step_by(2).collect();
            for phrase in banned(&prose) {
                problems += &format!("{}:{}: {phrase}\n", page.display(), number + 1);
            }
        }
    }
    assert!(problems.is_empty(), "words that writing.md replaces:\n{problems}");
}

#[test]
fn banned_words_are_found_whole() {
    let found = |text| banned(text).collect::<Vec<_>>();
    assert_eq!(found("Mend it: who is  told?"), ["mend", "is told"]);
    assert_eq!(found("recommended, heedless, renewed, the tell"), Vec::<&str>::new());
    assert_eq!(found("what is\nto be"), ["is to be"]);
}
