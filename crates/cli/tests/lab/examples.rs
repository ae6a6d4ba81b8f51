//! The labs of `examples/lab`, and labs as other programs have them.

use crate::support::{ADIT, command, enter, root, text, validate};
use std::fs;
use std::process::Output;

fn adit(words: &[&str]) -> Output {
    command([ADIT].iter().chain(words)).output().unwrap()
}

/// The standard output of a command that must succeed.
fn printed(words: &[&str]) -> String {
    let output = adit(words);
    assert!(output.status.success(), "{words:?}: {}\n{}", output.status, text(&output.stderr));
    text(&output.stdout)
}

/// The files of the examples.
pub(super) fn examples() -> Vec<String> {
    let files =
        fs::read_dir(root().join("examples/lab")).unwrap().map(|entry| entry.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|of| of == "toml"));
    let mut files: Vec<String> = files.map(|path| path.to_str().unwrap().to_owned()).collect();
    files.sort();
    assert!(files.len() >= 7, "{files:?}");
    files
}

#[test]
fn the_examples_of_labs_have_no_errors() {
    let mut graphs = Vec::new();
    for file in examples() {
        assert!(printed(&["lab", "check", &file]).contains("no errors"), "{file}");
        graphs.push(("lab-graph", printed(&["--json", "lab", "graph", &file])));
        let dot = printed(&["lab", "graph", "--dot", &file]);
        assert!(dot.starts_with("graph ") && dot.contains(" -- "), "{dot}");
    }
    validate(&graphs);
}

#[test]
fn labs_are_imported_drawn_and_exported() {
    let scratch = std::env::temp_dir().join(format!("adit-import-{}", std::process::id()));
    fs::create_dir_all(&scratch).unwrap();
    let path = |name: &str| scratch.join(name).to_str().unwrap().to_owned();
    let source = root().join("crates/topology/tests/import/ring.graphml");
    let source = source.to_str().unwrap();
    let (lab, svg) = (path("ring.toml"), path("ring.svg"));
    let imported = adit(&["lab", "import", source, "-o", &lab]);
    assert_eq!(text(&imported.stdout), format!("{lab}: 4 nodes, 5 links\n"));
    assert!(text(&imported.stderr).contains("not imported: a line from Bonn to itself"));
    assert_eq!(adit(&["lab", "import", source, "-o", &lab]).status.code(), Some(5), "it exists");
    validate(&[
        ("lab-import", printed(&["--json", "lab", "import", source])),
        ("lab-export", printed(&["--json", "lab", "export", &lab])),
    ]);
    assert!(printed(&["lab", "export", &lab]).starts_with("#!/bin/sh\n"));
    let drawn = command([ADIT, "lab", "graph", &lab]).env("LC_ALL", "C").output().unwrap();
    let tree = text(&drawn.stdout);
    assert!(tree.starts_with("ring-of-towns: 4 nodes, 5 links\n"), "{tree}");
    assert!(tree.is_ascii(), "without a locale of UTF-8: {tree}");
    assert_eq!(printed(&["lab", "graph", &lab, "--svg", &svg]), "");
    assert!(fs::read_to_string(&svg).unwrap().ends_with("</svg>\n"));
    fs::remove_dir_all(&scratch).unwrap();
}

/// Two VLANs over a trunk, untagged hosts at one of the switches, and a VLAN that is another one at the other switch.
const VLANS: &str = r#"
[host.a]
count = 2
[host.b]
count = 2
[host.c]
count = 2
[host.d]
count = 2
[switch.s]
[switch.t]
[[link]]
ends = ["a1", "s"]
vlan = 10
[[link]]
ends = ["a2", "t"]
vlan = 10
[[link]]
ends = ["b1", "s"]
vlan = 20
[[link]]
ends = ["b2", "t"]
vlan = 20
[[link]]
ends = ["c[1-2]", "s"]
[[link]]
ends = ["d1", "s"]
vlan = 30
[[link]]
ends = ["d2", "t"]
vlan = 31
[[link]]
ends = ["s", "t"]
trunk = [10, 20]
[[link]]
ends = ["s", "t"]
a.vlan = 30
b.vlan = 31
"#;

#[test]
fn an_exported_script_makes_the_vlans_of_the_lab() {
    enter();
    fs::create_dir_all("/run/netns").unwrap();
    fs::write("/run/vlans.toml", VLANS).unwrap();
    fs::write("/run/vlans.sh", printed(&["lab", "export", "/run/vlans.toml"])).unwrap();
    crate::support::run("sh /run/vlans.sh up");
    let address = |node: &str| {
        let hosts = printed(&["--json", "lab", "plan", "/run/vlans.toml"]);
        let plan: serde_json::Value = serde_json::from_str(&hosts).unwrap();
        let nodes = plan["nodes"].as_array().unwrap().iter();
        let node = { nodes }.find(|one| one["name"] == node).unwrap().clone();
        let address = node["interfaces"][0]["addresses"][0].as_str().unwrap().to_owned();
        address.split('/').next().unwrap().to_owned()
    };
    let reaches = |from: &str, to: &str| {
        let to = address(to);
        // Addresses of another segment have no route: they are on the link for this.
        let route = format!("ip -n {from} route replace {to}/32 dev eth0");
        crate::support::run(&route);
        let ping = ["ip", "netns", "exec", from, "ping", "-c1", "-W1", &to];
        (0..20).any(|_| command(ping).output().unwrap().status.success())
    };
    for pair in [("a1", "a2"), ("b1", "b2"), ("c1", "c2"), ("d1", "d2")] {
        assert!(reaches(pair.0, pair.1), "{pair:?}");
    }
    for pair in [("a1", "b2"), ("b1", "c2"), ("c1", "a2")] {
        let to = address(pair.1);
        crate::support::run(&format!("ip -n {} route replace {to}/32 dev eth0", pair.0));
        let ping = ["ip", "netns", "exec", pair.0, "ping", "-c1", "-W1", &to];
        assert!(!command(ping).output().unwrap().status.success(), "{pair:?}");
    }
    crate::support::run("sh /run/vlans.sh down");
    assert_eq!(fs::read_dir("/run/netns").unwrap().count(), 0);
}

/// Whether a routing daemon can be tested; where it is demanded, it must be there.
#[expect(clippy::print_stdout, reason = "a test says that it was skipped")]
pub(super) fn has_bird() -> bool {
    let is_there = std::path::Path::new("/usr/sbin/bird").exists();
    if !is_there {
        let required = std::env::var("ADIT_REQUIRE").unwrap_or_default();
        assert!(!required.split(',').any(|word| word == "peers"), "bird2 is not installed");
        println!("skipped: not installed: bird2");
    }
    is_there
}

#[test]
fn the_examples_of_labs_do_what_they_say() {
    enter();
    let has_bird = has_bird();
    for file in examples() {
        if !has_bird && fs::read_to_string(&file).unwrap().contains("bird") {
            continue;
        }
        // Throughput and convergence on a machine that does much else at once.
        let test = || adit(&["lab", "test", &file, "--capture", "/run/failed"]);
        let first = test();
        if !first.status.success() {
            let second = test();
            let both = format!("{}\n{}", text(&first.stdout), text(&second.stdout));
            assert!(second.status.success(), "{both}\n{}", text(&second.stderr));
        }
    }
}
