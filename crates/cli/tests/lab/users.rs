//! Programs of a lab that need several users, without root.

use crate::support::{adit_of_all, command, enter, run, text};
use std::fs;
use std::path::Path;

/// The fabric of the tests of routing daemons.
const FABRIC: &str = include_str!("../../../lab/tests/fabric.toml");

/// Links of it fail.
const STEPS: &str = r#"
[[step]]
expect = ["ping h1 h2 by 60s"]
[[step]]
fail = "leaf1-spine1"
expect = ["route h1 to h2 via spine2 by 60s", "ping h1 h2 by 60s"]
[[step]]
heal = "all"
fail = "leaf1-spine2"
expect = ["route h1 to h2 via spine1 by 60s", "ping6 h1 h2 by 60s"]
"#;

/// `adit` as a user other than root, with these arguments.
fn adit_of_nobody(words: &[&str]) -> std::process::Output {
    let user = [
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        "env",
        "XDG_RUNTIME_DIR=/run/nobody",
    ];
    // Not below /run, which each node has for itself.
    let start = ["--chdir=/tmp", adit_of_all(), "-j", "lab"];
    command(user.iter().chain(&start).chain(words)).output().unwrap()
}

/// The initial user namespace alone has ranges that newuidmap gives away.
#[test]
#[ignore = "needs root"]
fn root_frr_runs_without_root_by_newuidmap_and_routes_around_a_failed_link() {
    if !Path::new("/usr/lib/frr/zebra").exists() || !Path::new("/usr/bin/newuidmap").exists() {
        let is_required = std::env::var("ADIT_REQUIRE")
            .is_ok_and(|what| what.split(',').any(|word| word == "interop"));
        assert!(!is_required, "install frr and uidmap");
        println!("skipped: needs frr and uidmap");
        return;
    }
    enter();
    run("mkdir -m 755 /run/nobody");
    run("chown 65534:65534 /run/nobody");
    let fabric = FABRIC.replace("\"bird\"", "\"frr\"").replace("PROTOCOL", "bgp");
    fs::write("/run/fabric.toml", fabric + STEPS).unwrap();
    let ranges = |text: &str| {
        fs::write("/run/ranges", text).unwrap();
        for file in ["/etc/subuid", "/etc/subgid"] {
            run(&format!("touch {file}"));
            run(&format!("mount --bind /run/ranges {file}"));
        }
    };
    // Without a range: an error that names it, before anything is made.
    ranges("");
    let refused = adit_of_nobody(&["up", "-d", "/run/fabric.toml"]);
    let error = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(3), "{error}");
    for part in ["FRR needs more users", "newuidmap", "/etc/subuid", "usermod --add-subuids"] {
        assert!(error.contains(part), "{part}: {error}");
    }
    ranges("nobody:100000:65536\n");
    let tested = adit_of_nobody(&["test", "/run/fabric.toml", "--capture", "/run/nobody/failed"]);
    let report = text(&tested.stdout);
    assert!(tested.status.success(), "{report}\n{}", text(&tested.stderr));
    assert!(report.contains(r#""passed":true"#), "{report}");
}
