//! Arrows between folders and files inside a crate, and where a type's methods are.

use super::graph::Graph;
use super::root;
use super::tree::{Sources, Target, Tree};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;

const CRATES: [&str; 9] =
    ["packet", "device", "engine", "tunnel", "sim", "runtime", "service", "vpn", "cli"];

/// Which folder of a crate may use which, one crate a line. A folder that is not listed uses none.
const FOLDERS: &[(&str, Arrows)] = &[];

/// A folder, and the folders that it uses.
type Arrows = &'static [(&'static str, &'static [&'static str])];

/// The most lines of a crate, its tests not counted.
const CRATE_LINES_MAX: usize = 15_000;

/// The sources of a crate of this workspace.
fn sources(name: &str) -> Sources {
    let src = root().join("crates").join(name).join("src");
    let sources: Sources = super::files(&src, "rs")
        .into_iter()
        .map(|path| {
            let inside = path.strip_prefix(&src).unwrap().to_str().unwrap().to_owned();
            (inside, fs::read_to_string(path).unwrap())
        })
        .collect();
    assert!(!sources.is_empty(), "{name}: the walk found the sources");
    sources
}

#[test]
#[ignore = "fails until the moves of issue 9 are complete"]
fn no_circle_of_files() {
    let mut problems = String::new();
    for name in CRATES {
        let graph = Graph::read(&sources(name));
        for circle in graph.circles() {
            problems += &format!("{name}: {}\n{}", circle.join(" -> "), graph.explain(&circle));
        }
    }
    assert!(problems.is_empty(), "circles of files:\n{problems}");
}

#[test]
#[ignore = "fails until the moves of issue 9 are complete"]
fn folders_use_each_other_as_listed() {
    let mut problems = String::new();
    for name in CRATES {
        let sources = sources(name);
        let listed = FOLDERS.iter().find(|(of, _)| *of == name).map_or(&[][..], |&(_, list)| list);
        let allowed: BTreeSet<(&str, &str)> = listed
            .iter()
            .flat_map(|&(from, used)| used.iter().map(move |&to| (from, to)))
            .collect();
        let arrows = Graph::read(&sources).folders(&sources);
        for ((from, to), why) in &arrows {
            if !allowed.contains(&(from.as_str(), to.as_str())) {
                problems += &format!("{name}: {from} -> {to} is not listed: {why}\n");
            }
        }
        for &(from, to) in &allowed {
            if !arrows.contains_key(&(from.to_owned(), to.to_owned())) {
                problems += &format!("{name}: {from} -> {to} is listed and not used\n");
            }
            if reaches(&allowed, to, from) {
                problems += &format!("{name}: {from} -> {to} is in a circle\n");
            }
        }
    }
    assert!(problems.is_empty(), "arrows between folders:\n{problems}");
}

/// Whether arrows lead from one folder to another.
fn reaches(arrows: &BTreeSet<(&str, &str)>, from: &str, to: &str) -> bool {
    let mut seen = BTreeSet::from([from]);
    let mut open = vec![from];
    while let Some(at) = open.pop() {
        for &(_, next) in arrows.iter().filter(|(from, _)| *from == at) {
            if seen.insert(next) {
                open.push(next);
            }
        }
    }
    seen.contains(to)
}

/// The files with inherent `impl` blocks of each type, by the file that defines it and its name.
fn impls(sources: &Sources) -> BTreeMap<(String, String), BTreeSet<String>> {
    let tree = Tree::read(sources);
    let mut found: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for (number, module) in tree.modules.iter().enumerate() {
        for (path, _) in &module.impls {
            if let Some(target @ Target::Item(..)) = tree.resolve(number, path) {
                let file = tree.file_of(&target).to_owned();
                let Target::Item(_, name) = target else { continue };
                found.entry((file, name)).or_default().insert(module.file.clone());
            }
        }
    }
    found
}

/// The folder of a module's children: of `a/mod.rs` and `a.rs` it is `a`.
fn folder_of(file: &str) -> &str {
    file.strip_suffix("/mod.rs").or_else(|| file.strip_suffix(".rs")).unwrap_or(file)
}

/// What is wrong with the places of `impl` blocks: they are in one file, or the type has a folder of
/// its own and all of them are in it.
fn scattered(sources: &Sources) -> Vec<String> {
    let mut problems = Vec::new();
    let mut owners: BTreeMap<String, String> = BTreeMap::new();
    for ((file, name), places) in impls(sources) {
        if places.len() == 1 {
            continue;
        }
        let list: Vec<_> = places.iter().map(String::as_str).collect();
        let list = list.join(", ");
        let folder = folder_of(&file);
        let inside = |place: &String| {
            *place == file || place.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
        };
        if !places.iter().all(inside) {
            problems.push(format!("{name} of {file} has methods in {list}"));
        } else if let Some(other) = owners.insert(folder.to_owned(), name.clone()) {
            problems.push(format!("{name} and {other} share the folder {folder}: {list}"));
        }
    }
    problems
}

#[test]
#[ignore = "fails until the moves of issue 9 are complete"]
fn methods_of_a_type_are_in_one_place() {
    let mut problems = String::new();
    for name in CRATES {
        for problem in scattered(&sources(name)) {
            problems += &format!("{name}: {problem}\n");
        }
    }
    assert!(problems.is_empty(), "impl blocks of one type in several places:\n{problems}");
}

#[test]
fn scattered_methods_are_found() {
    let sources = |files: &[(&str, &str)]| -> Sources {
        files.iter().map(|&(file, text)| (file.to_owned(), text.to_owned())).collect()
    };
    let lib = ("lib.rs", "mod a; mod b;");
    let a = ("a/mod.rs", "mod c; pub struct A<T>(T); impl<T> A<T> {} impl Drop for A<u8> {}");
    let c = ("a/c.rs", "use super::A; impl A<u8> {} struct C; impl C {}");
    let display = ("b.rs", "use crate::a::A; impl std::fmt::Display for A<u8> {}");
    let methods = ("b.rs", "use crate::a::A; impl A<u8> {}");
    let one = ("a/c.rs", "impl super::A<u8> {} impl super::B {}");
    let two = ("a/mod.rs", "mod c; pub struct A; impl A {} pub struct B; impl B {}");
    assert!(scattered(&sources(&[lib, a, c, display])).is_empty());
    assert_eq!(scattered(&sources(&[lib, a, c, methods])).len(), 1);
    assert_eq!(scattered(&sources(&[lib, two, one])).len(), 1);
}

#[test]
fn no_crate_is_too_large() {
    for name in CRATES {
        let lines: usize = sources(name)
            .iter()
            .filter(|(file, _)| !super::is_test(file))
            .map(|(_, text)| super::without_tests(text).lines().count())
            .sum();
        assert!(lines < CRATE_LINES_MAX, "{name}: {lines} lines");
    }
}
