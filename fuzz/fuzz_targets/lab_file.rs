#![no_main]

use adit_service::config::problems::Problems;
use adit_service::config::source::Source;
use adit_topology::file;
use adit_topology::model::Lab;
use std::collections::BTreeSet;

// A file is a plan, or has a problem. A plan has each address once, and seeds that readers of JSON keep.
libfuzzer_sys::fuzz_target!(|text: &str| {
    let (source, problems) = (Source::new("lab.toml", text), Problems::default());
    let Some((plan, _)) = file::of_source(&source, &[], 1, &problems) else {
        assert!(!problems.into_list().is_empty());
        return;
    };
    assert!(plan.cables.iter().all(|cable| cable.seed < Lab::SEED_LIMIT));
    let mut seen = BTreeSet::new();
    let interfaces = plan.stations.iter().flat_map(|station| &station.interfaces);
    for address in interfaces.flat_map(|interface| &interface.addresses) {
        assert!(seen.insert(address.ip()), "{address} twice");
    }
});
