//! Arrows between folders and files inside a crate, and where a type's methods are.

use super::graph::Graph;
use super::root;
use super::tree::{Sources, Target, Tree};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;

const CRATES: [&str; 21] = [
    "simd", "packet", "chart", "broker", "device", "engine", "fastpath", "tunnel", "nat", "sim",
    "runtime", "decode", "host", "service", "log", "vpn", "topology", "lab", "top", "capture",
    "cli",
];

/// Which folder of a crate may use which: a line for each folder that uses others.
const FOLDERS: [(&str, &str); 14] = [
    ("packet", "coalesce: segment"),
    (
        "device",
        "options: cause device netlink steering sys
        device: bpf cause filter netlink steering sys
        cause: netlink sys
        steering: bpf netlink sys
        bpf: sys
        filter: sys
        netlink: sys
        tokio: sys",
    ),
    (
        "engine",
        "netem: outbox
        patch: outbox
        switch: outbox",
    ),
    (
        "tunnel",
        "tunnel: frames handshake path peer post_quantum
        peer: frames handshake path post_quantum session shape
        post_quantum: frames
        session: frames handshake",
    ),
    ("nat", "guest: dns"),
    (
        "sim",
        "reno: scoreboard
        sim: outside",
    ),
    (
        "runtime",
        "runner: peer port socket wake
        peer: socket wake
        socket: wake
        port: format record socket text wake
        record: format",
    ),
    ("decode", "summary: packet"),
    (
        "host",
        "namespace: changes
        helper: changes
        sandbox: changes helper",
    ),
    (
        "service",
        "link: config control metrics netem supervisor switch
        switch: config control metrics nat netem supervisor
        supervisor: config control metrics
        nat: control metrics netem supervisor
        metrics: config control
        control: config
        netem: config",
    ),
    (
        "vpn",
        "daemon: file host streams uapi upgrade
        host: file
        streams: file host
        run: daemon file host up
        uapi: file
        up: daemon file host uapi upgrade
        upgrade: streams",
    ),
    (
        "topology",
        "export: model plan
        file: model plan scenario
        graph: model plan
        import: model
        plan: model
        routing: model plan
        scenario: model
        shapes: model",
    ),
    (
        "lab",
        "live: engine keeper
        trial: keeper live probe",
    ),
    (
        "cli",
        "commands: compat man netem show
        netem: show",
    ),
];

/// Crates of which some files are still in circles; the list only gets shorter.
const WITH_CIRCLES: [&str; 0] = [];

/// Crates whose folders still use others than listed.
const WITH_STRAY_ARROWS: [&str; 0] = [];

/// Crates with types whose methods are still in several places.
const WITH_SCATTERED_METHODS: [&str; 0] = [];

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

/// Fails with the problems of all crates, but for those that are `excused`. One that is excused and has
/// no problem must leave that list.
#[expect(clippy::print_stdout, reason = "what is still wrong is shown beside a failure")]
fn check(what: &str, excused: &[&str], problems_of: impl Fn(&str) -> String) {
    let mut problems = String::new();
    for name in CRATES {
        let found = problems_of(name);
        match (excused.contains(&name), found.is_empty()) {
            (false, _) => problems += &found,
            (true, true) => problems += &format!("{name}: take it off the list, it is clean\n"),
            (true, false) => println!("excused:\n{found}"),
        }
    }
    assert!(problems.is_empty(), "{what}:\n{problems}");
}

#[test]
fn no_circle_of_files() {
    check("circles of files", &WITH_CIRCLES, |name| {
        let graph = Graph::read(&sources(name));
        let circle = |circle: &Vec<String>| {
            format!("{name}: {}\n{}", circle.join(" -> "), graph.explain(circle))
        };
        graph.circles().iter().map(circle).collect()
    });
}

#[test]
fn folders_use_each_other_as_listed() {
    check("arrows between folders", &WITH_STRAY_ARROWS, |name| {
        let sources = sources(name);
        let listed = FOLDERS.iter().find(|(of, _)| *of == name).map_or("", |(_, list)| list);
        let allowed: BTreeSet<(&str, &str)> = listed
            .lines()
            .filter_map(|line| line.trim().split_once(": "))
            .flat_map(|(from, used)| used.split(' ').map(move |to| (from, to)))
            .collect();
        let arrows = Graph::read(&sources).folders(&sources);
        let mut problems = String::new();
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
        problems
    });
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

/// The folder that has all these files, a file beside a folder of its name included; `None` if that is
/// `src` itself.
fn common_folder<'a>(files: impl Iterator<Item = &'a str>) -> Option<String> {
    let parts = |file: &'a str| -> Vec<&'a str> {
        file.trim_end_matches("/mod.rs").trim_end_matches(".rs").split('/').collect()
    };
    let common = files.map(parts).reduce(|one, other| {
        let same = one.iter().zip(&other).take_while(|(one, other)| one == other).count();
        one[..same].to_vec()
    })?;
    (!common.is_empty()).then(|| common.join("/"))
}

/// What is wrong with the places of `impl` blocks: they are in one file, or all of them and the type are
/// in a folder that no other type has its methods spread over.
fn scattered(sources: &Sources) -> Vec<String> {
    let mut problems = Vec::new();
    let mut owners: BTreeMap<String, String> = BTreeMap::new();
    for ((file, name), places) in impls(sources) {
        if places.len() == 1 {
            continue;
        }
        let list: Vec<_> = places.iter().map(String::as_str).collect();
        let folder = common_folder(list.iter().copied().chain([file.as_str()]));
        let list = list.join(", ");
        let Some(folder) = folder else {
            problems.push(format!("{name} of {file} has methods in {list}"));
            continue;
        };
        if let Some(other) = owners.insert(folder.clone(), name.clone()) {
            problems.push(format!("{name} and {other} share the folder {folder}: {list}"));
        }
    }
    problems
}

#[test]
fn methods_of_a_type_are_in_one_place() {
    check("methods of one type in several places", &WITH_SCATTERED_METHODS, |name| {
        scattered(&sources(name)).iter().map(|problem| format!("{name}: {problem}\n")).collect()
    });
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
