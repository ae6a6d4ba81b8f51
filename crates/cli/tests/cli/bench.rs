//! `adit bench`: short, valid by its schema, and it leaves nothing.

use crate::support::{ADIT, enter, parse, root, run, try_adit};
use std::io::Write;
use std::process::{Command, Stdio};

const VALIDATE: &str = "
import json, sys, jsonschema, xml.dom.minidom
jsonschema.validate(json.load(sys.stdin), json.load(open(sys.argv[1])), jsonschema.Draft202012Validator)
picture = xml.dom.minidom.parse(sys.argv[2])
assert picture.documentElement.tagName == 'svg'
assert len(picture.getElementsByTagName('rect')) == 1 + 16
";

#[test]
fn a_bench_is_measured_printed_and_drawn() {
    enter();
    // Below the empty /run of this test.
    let svg = "/run/bench.svg";
    let text = run(&format!("{ADIT} -j bench --rounds 1 --seconds 0.5 --svg {svg}"));
    let report = parse(&text);
    let results = report["results"].as_array().unwrap();
    assert_eq!(results.len(), 16);
    for row in results {
        assert!(row["figures"]["packets_per_second"]["median"].as_f64() > Some(0.0), "{row}");
    }
    assert_eq!(parse(&run("ip -j link")).as_array().unwrap().len(), 1, "only lo is here");

    let schema = root().join("schema/bench.json");
    let mut python = Command::new("timeout")
        .args(["120", "python3", "-c", VALIDATE])
        .args([schema.as_os_str(), svg.as_ref()])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    python.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    assert!(python.wait().unwrap().success(), "the report or the picture is not valid");
}

#[test]
fn a_turn_has_a_shortest_and_a_longest_time() {
    for seconds in ["0", "-1", "61", "nan", "x"] {
        let words = ["bench", &format!("--seconds={seconds}")];
        assert_eq!(try_adit(&words).status.code(), Some(2), "{seconds}");
    }
}
