//! The JSON schemas: each is valid, and each output is valid by its own.

use crate::support::{adit, adit_json, enter, parse, refused, validate};

#[test]
fn output_is_valid_by_its_schema() {
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

    validate(&outputs);
}

#[test]
fn a_schema_without_a_name_is_listed_and_an_unknown_name_is_not_found() {
    let names = adit("schema");
    let mut sorted: Vec<&str> = names.lines().collect();
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!(sorted, names.lines().collect::<Vec<_>>());
    for name in sorted {
        let schema = parse(&adit(&format!("schema {name}")));
        let titled = if name.starts_with("openapi-") { &schema["info"] } else { &schema };
        assert!(titled["title"].is_string(), "{name}");
    }
    assert_eq!(refused("schema nosuch").0, 4);
}
