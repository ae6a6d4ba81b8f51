//! The JSON schemas: up to date in `schema/`, and what is printed is valid by them.

use crate::reference::compare;
use crate::support::{adit, adit_json, enter, refused, root};
use std::io::Write;
use std::process::{Command, Stdio};

#[test]
fn the_schemas_are_up_to_date() {
    let folder = root().join("schema");
    let names = adit("schema");
    for name in names.lines() {
        compare(&folder.join(format!("{name}.json")), &adit(&format!("schema {name}")));
    }
    let files = std::fs::read_dir(folder).unwrap();
    let files = files.map(|file| file.unwrap().path()).filter(|f| f.extension().unwrap() == "json");
    assert_eq!(files.count(), names.lines().count(), "no schema is left over");
}

#[test]
fn what_is_printed_is_valid_by_its_schema() {
    enter();
    let mut outputs = vec![
        ("dev-add", adit("-j dev add tun0 --mode tun --addr 192.0.2.1/24 --up")),
        ("dev-add", adit("-j dev add tap0 --mode tap --multi-queue --alias x --group 0")),
        ("dev-set", adit("-j dev set tun0 --mtu 1300")),
        ("dev-show", adit("-j dev show -s")),
        ("dev-show", adit("-j dev show tun0")),
        ("tuntap-show", adit("-j tuntap show")),
        ("doctor", adit("-j doctor")),
        ("explain", adit("-j explain")),
        ("dry-run", adit("-j --dry-run dev set tun0 --mtu 1300")),
        ("error", refused("-j dev show nosuch").1),
        ("error", refused("-j dev set tun0 --mtu 1400 --mac 02:00:00:00:00:01").1),
        ("error", refused("-j nosuch").1),
    ];
    outputs.push(("dev-del", adit("-j dev del tun0 tap0")));
    assert_eq!(adit_json("schema").as_array().unwrap().len(), adit("schema").lines().count());

    let mut python = Command::new("timeout")
        .args(["120", "python3", "-c", include_str!("../validate.py")])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = python.stdin.take().unwrap();
    for (name, text) in outputs {
        let path = root().join("schema").join(format!("{name}.json"));
        writeln!(stdin, "{}\t{}", path.display(), text.trim()).unwrap();
    }
    drop(stdin);
    assert!(python.wait().unwrap().success(), "an output is not valid by its schema");
}
