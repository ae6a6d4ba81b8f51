//! What the lints cannot hold: the arrows between the crates, the size of files, no orphans.
#![allow(clippy::unwrap_used, reason = "in a test, that is the assertion")]

mod arrows;
mod graph;
mod lexer;
mod tree;
mod words;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The longest file, its tests not counted: more is two concepts.
const LINES_MAX: usize = 700;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// All files below `folder` with this ending, sorted.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(folder) else { return found };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") {
            found.extend(files(&path, ending));
        } else if path.extension().is_some_and(|e| e == ending) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn sources() -> Vec<(PathBuf, String)> {
    let crates = files(&root().join("crates"), "rs");
    let sources: Vec<_> =
        crates.into_iter().map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect();
    assert!(sources.len() > 20, "the walk found the sources");
    sources
}

/// Whether a file has nothing but tests.
fn is_test(path: &str) -> bool {
    path.split('/').any(|part| matches!(part, "tests" | "tests.rs"))
}

/// A source file up to its tests.
fn without_tests(text: &str) -> &str {
    &text[..text.find("\n#[cfg(test)]\nmod tests {").unwrap_or(text.len())]
}

/// Crates on the way of a packet have no `tracing`, so no call of it can be there; and each module with messages
/// is in the table of targets.
#[test]
fn what_moves_packets_logs_nothing() {
    let mut logging = BTreeSet::new();
    for entry in fs::read_dir(root().join("crates")).unwrap() {
        let manifest =
            fs::read_to_string(entry.as_ref().unwrap().path().join("Cargo.toml")).unwrap();
        if manifest.contains("\ntracing") {
            logging.insert(entry.unwrap().file_name().into_string().unwrap());
        }
    }
    let expected = ["cli", "host", "log", "service", "vpn"].map(str::to_owned);
    assert_eq!(logging, BTreeSet::from(expected));
    let table = fs::read_to_string(root().join("crates/service/src/log.rs")).unwrap();
    for (path, text) in sources() {
        let inside = path.strip_prefix(root().join("crates")).unwrap().to_str().unwrap();
        let mut lines = without_tests(&text).lines().filter(|line| !line.starts_with("//!"));
        if is_test(inside) || !lines.any(|line| line.contains("tracing::debug!")) {
            continue;
        }
        let module = inside.replacen("/src/", "/", 1).replace(['/'], "::");
        let module = format!("adit_{}", module.trim_end_matches(".rs"));
        let has = |name: &str| table.contains(&format!("\"{name}\""));
        let mut parts = module.match_indices("::").map(|(at, _)| &module[..at]);
        assert!(parts.any(has) || has(&module), "{module} has no target in service/src/log.rs");
    }
}

/// The crates point down only. Tests may use the simulator from anywhere, and those
/// of the simulator the tunnel and the NAT, those of the runtime the NAT.
#[test]
fn crates_depend_as_the_plan_says() {
    let allowed: [(&str, &[&str]); 21] = [
        ("simd", &[]),
        ("packet", &["simd"]),
        ("chart", &[]),
        ("broker", &["packet"]),
        ("device", &["broker", "packet"]),
        ("engine", &["packet"]),
        ("tunnel", &["engine", "packet"]),
        ("nat", &["engine", "packet"]),
        ("sim", &["engine", "packet"]),
        ("fastpath", &["engine", "device", "packet"]),
        ("runtime", &["fastpath", "engine", "device", "packet"]),
        ("decode", &["chart", "runtime", "packet"]),
        ("host", &["runtime", "engine", "device", "packet"]),
        ("service", &["host", "runtime", "nat", "engine", "device", "packet"]),
        ("log", &["service"]),
        ("vpn", &["service", "runtime", "tunnel", "nat", "engine", "device", "packet"]),
        ("topology", &["service", "tunnel", "nat", "engine", "device", "packet"]),
        (
            "lab",
            &[
                "topology", "vpn", "service", "runtime", "sim", "tunnel", "nat", "engine",
                "device", "packet",
            ],
        ),
        ("top", &["topology", "vpn", "service", "runtime", "device", "packet"]),
        ("capture", &["lab", "topology", "decode", "service", "runtime", "device", "packet"]),
        (
            "cli",
            &[
                "capture", "top", "lab", "topology", "vpn", "log", "decode", "chart", "service",
                "runtime", "tunnel", "nat", "engine", "device", "packet",
            ],
        ),
    ];
    let folders = fs::read_dir(root().join("crates")).unwrap().count();
    assert_eq!(folders, allowed.len(), "each crate is listed");
    for (name, allowed) in allowed {
        let manifest = root().join("crates").join(name).join("Cargo.toml");
        let text = fs::read_to_string(manifest).unwrap();
        let mut section = "";
        for line in text.lines() {
            if line.starts_with('[') {
                section = line;
            }
            let key = line.split(['.', ' ', '=']).next().unwrap_or_default();
            let Some(used) = key.strip_prefix("adit-") else { continue };
            let for_tests = section == "[dev-dependencies]"
                && (used == "sim"
                    || [("sim", "tunnel"), ("sim", "nat"), ("runtime", "nat")]
                        .contains(&(name, used)));
            assert!(allowed.contains(&used) || for_tests, "{name} must not use {used}");
        }
    }
}

#[test]
fn no_file_is_too_long() {
    for (path, text) in sources() {
        if is_test(path.to_str().unwrap()) {
            continue;
        }
        let lines = without_tests(&text).lines().count();
        assert!(lines <= LINES_MAX, "{}: {lines} lines", path.display());
    }
}

/// Every source file of a crate is named by a `mod` of its parent.
#[test]
fn no_file_is_an_orphan() {
    for (path, _) in sources() {
        let inside = path.strip_prefix(root().join("crates")).unwrap();
        let parts: Vec<_> = inside.iter().map(|part| part.to_str().unwrap()).collect();
        let stem = path.file_stem().unwrap().to_str().unwrap();
        if parts[1] != "src" || (parts.len() == 3 && matches!(stem, "lib" | "main")) {
            continue;
        }
        let folder = path.parent().unwrap();
        let (name, folder) = if stem == "mod" {
            (folder.file_name().unwrap().to_str().unwrap(), folder.parent().unwrap())
        } else {
            (stem, folder)
        };
        let beside = folder.with_extension("rs");
        let parents =
            [folder.join("mod.rs"), folder.join("lib.rs"), folder.join("main.rs"), beside];
        let named =
            parents.iter().filter_map(|parent| fs::read_to_string(parent).ok()).any(|text| {
                text.lines().any(|line| {
                    let line = line.trim().trim_end_matches(';');
                    line.ends_with(&format!("mod {name}"))
                })
            });
        assert!(named, "{} is in no module", path.display());
    }
}

#[test]
fn unsafe_stands_in_two_folders() {
    for (path, text) in sources() {
        let allowed = ["crates/device/src/sys", "crates/simd/src"];
        if allowed.iter().any(|folder| path.starts_with(root().join(folder)))
            || path.ends_with("tidy/main.rs")
        {
            continue;
        }
        // A counting allocator cannot be written without it; the file says so.
        if path.ends_with("tests/counting/mod.rs") {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or("");
            let found = code.contains("unsafe {") || code.contains("unsafe fn");
            assert!(!found, "{}:{}: unsafe", path.display(), number + 1);
        }
    }
}

#[test]
fn engines_explain_themselves() {
    for engine in fs::read_dir(root().join("crates/engine/src")).unwrap() {
        let module = engine.unwrap().path().join("mod.rs");
        if let Ok(text) = fs::read_to_string(&module) {
            let opens = text.lines().take(3).any(|line| line.contains("Theory of operation"));
            assert!(opens, "{}: opens with its theory of operation", module.display());
        }
    }
}

/// `./check --long` asks for more random cases of every test by `PROPTEST_CASES`.
#[test]
fn random_cases_follow_the_environment() {
    let fixed = [concat!("with_", "cases("), concat!("ProptestConfig { ", "cases")];
    for (path, text) in sources() {
        let is_fixed = fixed.iter().any(|words| text.contains(words));
        let is_helper = path.ends_with("packet/tests/cases/mod.rs");
        assert_eq!(is_fixed, is_helper, "{}: use `cases` of packet/tests", path.display());
    }
}

#[test]
fn nothing_is_left_over() {
    // Written in two parts, so that this file is not found.
    let words =
        [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X"), concat!("dbg", "!(")];
    for (path, text) in sources() {
        for (number, line) in text.lines().enumerate() {
            for word in words {
                assert!(!line.contains(word), "{}:{}: {word}", path.display(), number + 1);
            }
        }
    }
}

/// Ctrl-C in a terminal signals the process group: programs that we run are in others.
#[test]
fn helpers_are_in_process_groups_of_their_own() {
    // This program itself (the lab of a test ends by Ctrl-C too), the commands of the user, and one that may read a password from the terminal.
    let excused = [
        "crates/cli/src/commands/background.rs",
        "crates/cli/src/commands/lab/prompt.rs",
        "crates/lab/src/enter.rs",
        "crates/cli/src/commands/tunnel/up.rs",
        "crates/lab/src/trial/process.rs",
        "crates/host/src/namespace/holder.rs",
        "crates/vpn/src/pipe.rs",
    ];
    let mut count = 0;
    for (path, text) in sources() {
        let inside = path.strip_prefix(root()).unwrap().to_str().unwrap();
        let text = without_tests(&text);
        let is_source = inside.contains("/src/") && !is_test(inside);
        if is_source && text.contains("std::process") && text.contains("Command::new(") {
            count += 1;
            let is_apart = text.contains("process_group(0)");
            assert!(is_apart != excused.contains(&inside), "{inside}");
        }
    }
    assert!(count > excused.len(), "the programs were found");
}

/// Every promise has a number of its own, and names a test that is there.
#[test]
fn each_promise_names_its_test() {
    let text = fs::read_to_string(root().join("SPECIFICATION.md")).unwrap();
    let mut functions = BTreeSet::new();
    for (_, source) in sources() {
        for line in source.lines() {
            let line = line.trim_start().trim_start_matches("pub(crate) ");
            if let Some(rest) = line.trim_start_matches("async ").strip_prefix("fn ") {
                functions.insert(rest.split(['(', '<']).next().unwrap().to_owned());
            }
        }
    }
    let mut numbers = BTreeSet::new();
    for row in text.lines().filter(|line| line.starts_with("| S")) {
        assert!(numbers.insert(row.split(' ').nth(1)), "two promises have one number: {row}");
        let tests = row.trim_end_matches('|').rsplit('|').next().unwrap();
        let names: Vec<_> = tests.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "no test: {row}");
        for name in names {
            let script = name.contains('/');
            let known = if script {
                root().join(name.split(' ').next().unwrap()).exists()
            } else {
                functions.contains(name)
            };
            assert!(known, "{name} is no test: {row}");
        }
    }
    assert!(numbers.len() >= 6, "the promises were found");
}
