//! Which file of a crate uses which, and circles of them.

use super::tree::{Sources, Target, Tree};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Arrows from a file to one that it uses, and what shows it: `port/mod.rs:12: crate::error::Error`.
#[derive(Debug, Default)]
pub(crate) struct Graph {
    arrows: BTreeMap<String, BTreeMap<String, String>>,
}

impl Graph {
    pub(crate) fn read(sources: &Sources) -> Self {
        let tree = Tree::read(sources);
        let mut graph = Self::default();
        for (number, module) in tree.modules.iter().enumerate() {
            for (path, line) in &module.paths {
                let Some(Target::Item(owner, name)) = tree.resolve(number, path) else { continue };
                let used = tree.file_of(&Target::Item(owner, name));
                if used != module.file {
                    let why = format!("{}:{line}: {}", module.file, path.join("::"));
                    let arrows = graph.arrows.entry(module.file.clone()).or_default();
                    arrows.entry(used.to_owned()).or_insert(why);
                }
            }
        }
        graph
    }

    /// The shortest circle through each file that is in one, each circle once.
    pub(crate) fn circles(&self) -> Vec<Vec<String>> {
        let mut circles = BTreeSet::new();
        for file in self.arrows.keys() {
            if let Some(mut circle) = self.shortest_circle(file) {
                let first = (0..circle.len()).min_by_key(|&at| &circle[at]).unwrap_or(0);
                circle.rotate_left(first);
                circles.insert(circle);
            }
        }
        circles.into_iter().collect()
    }

    fn shortest_circle(&self, start: &str) -> Option<Vec<String>> {
        let mut before: BTreeMap<&str, &str> = BTreeMap::new();
        let mut queue = VecDeque::from([start]);
        while let Some(file) = queue.pop_front() {
            for used in self.arrows.get(file).into_iter().flat_map(BTreeMap::keys) {
                if used == start {
                    let mut circle = vec![file.to_owned()];
                    let mut at = file;
                    while at != start {
                        at = before[at];
                        circle.push(at.to_owned());
                    }
                    circle.reverse();
                    return Some(circle);
                }
                if !before.contains_key(used.as_str()) {
                    before.insert(used, file);
                    queue.push_back(used);
                }
            }
        }
        None
    }

    /// A circle as lines: each arrow with what shows it.
    pub(crate) fn explain(&self, circle: &[String]) -> String {
        let mut text = String::new();
        for (at, file) in circle.iter().enumerate() {
            let used = &circle[(at + 1) % circle.len()];
            let why = &self.arrows[file][used];
            text += &format!("    {why} is in {used}\n");
        }
        text
    }

    /// Arrows between the folders directly below `src`, each with what shows it. A file beside a
    /// folder of its name (`cause.rs`, `cause/`) is a part of it; other files of `src` are left out.
    pub(crate) fn folders(&self, sources: &Sources) -> BTreeMap<(String, String), String> {
        let folders: BTreeSet<&str> =
            sources.keys().filter_map(|file| file.split_once('/')).map(|(name, _)| name).collect();
        let folder = |file: &str| {
            let name = file.split('/').next().unwrap_or_default().trim_end_matches(".rs");
            folders.contains(name).then(|| name.to_owned())
        };
        let mut found = BTreeMap::new();
        for (file, arrows) in &self.arrows {
            for (used, why) in arrows {
                if let (Some(from), Some(to)) = (folder(file), folder(used))
                    && from != to
                {
                    found.entry((from, to)).or_insert_with(|| why.clone());
                }
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(files: &[(&str, &str)]) -> Sources {
        files.iter().map(|&(file, text)| (file.to_owned(), text.to_owned())).collect()
    }

    /// `port` uses `wake`, which uses `port` again through two re-exports.
    const CIRCLE: [(&str, &str); 5] = [
        ("lib.rs", "pub mod port; mod wake; mod error; pub use port::Port;"),
        ("port/mod.rs", "mod tap; pub use tap::Tap as Port; #[cfg(test)] mod tests;"),
        ("port/tap.rs", "use crate::wake::{self, Clock}; pub struct Tap(Clock);"),
        ("wake/mod.rs", "pub struct Clock; impl Clock { fn of(_: &crate::Port) {} }"),
        ("error.rs", "pub struct Error;"),
    ];

    #[test]
    fn a_circle_is_found_through_re_exports() {
        let graph = Graph::read(&sources(&CIRCLE));
        assert_eq!(graph.circles(), [["port/tap.rs", "wake/mod.rs"]]);
        let text = graph.explain(&graph.circles()[0]);
        assert!(text.contains("port/tap.rs:1: Clock is in wake/mod.rs"), "{text}");
        assert!(text.contains("wake/mod.rs:1: crate::Port is in port/tap.rs"), "{text}");
    }

    #[test]
    fn an_arrow_up_is_found() {
        let sources = sources(&CIRCLE);
        let arrows = Graph::read(&sources).folders(&sources);
        let arrows: Vec<_> = arrows.keys().map(|(from, to)| (from.as_str(), to.as_str())).collect();
        assert_eq!(arrows, [("port", "wake"), ("wake", "port")]);
    }

    #[test]
    fn no_circle_is_seen_where_there_is_none() {
        let mut files = CIRCLE;
        // A comment, a text, a test, a child and a re-export are no arrows.
        files[3].1 = "//! Beside crate::port.\nmod timer { use super::Clock; fn t(_: Clock) {} }
            pub struct Clock; const S: &str = \"crate::port::Port\"; pub use timer::t as tick;
            #[cfg(test)] mod tests { use crate::Port; }
            #[test] fn one() { let _ = crate::port::Port; }";
        let graph = Graph::read(&sources(&files));
        assert_eq!(graph.circles(), Vec::<Vec<String>>::new());
    }

    #[test]
    fn each_way_to_write_a_path_is_an_arrow() {
        for code in [
            "fn f() -> crate::error::Error { todo() }",
            "fn f() { use super::error; error::Error; }",
            "use super::error::*; struct S(Error);",
            "use super::error::Error as E;",
            "use super::{error::{Error}, super::x};",
            "fn f() { println!(\"{}\", super::error::Error); }",
            "#[arg(parser = crate::error::Error)] struct A;",
            "const A: [u8; 2] = [crate::error::Error::A, 1];",
            "impl<T: Fn() -> u8> X<T> for crate::error::Error {}",
            "use crate::error::made::Deep;",
        ] {
            let files = sources(&[
                ("lib.rs", "mod error; mod a;"),
                ("error.rs", "pub struct Error;"),
                ("a.rs", code),
            ]);
            let graph = Graph::read(&files);
            assert!(
                graph.arrows.get("a.rs").is_some_and(|used| used.contains_key("error.rs")),
                "{code}"
            );
        }
    }
}
