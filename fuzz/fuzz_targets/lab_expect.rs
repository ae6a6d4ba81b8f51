#![no_main]

use adit_topology::model::{Lab, Link, Node};
use adit_topology::scenario::expect::Expectation;
use adit_topology::scenario::names::Names;

// An expectation that is read is read again as the same; a mistake is a part of the text.
libfuzzer_sys::fuzz_target!(|text: &str| {
    let [a, b] = ["a", "b"].map(|name| name.parse().expect("a name"));
    let lab = Lab {
        nodes: vec![Node::host(a), Node::router(b)],
        links: vec![Link::new(
            "a-b".parse().expect("a name"),
            "a".parse().expect("a name"),
            "b".parse().expect("a name"),
        )],
        ..Lab::default()
    };
    let mut names = Names::new(&lab);
    names.traffic.push("t".to_owned());
    match Expectation::parse(text, &names) {
        Ok(parsed) => assert_eq!(Expectation::parse(&parsed.text, &names), Ok(parsed)),
        Err(wrong) => assert!(wrong.part.is_none_or(|part| text.get(part).is_some()), "{text:?}"),
    }
});
