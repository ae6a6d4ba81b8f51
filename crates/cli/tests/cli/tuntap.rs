//! `adit tuntap` and `ip tuntap` do the same.

use crate::support::{adit, adit_json, enter, json, refused, run};
use serde_json::Value;

/// `ip` shows packet information twice: as `pi`, and as `filter`, which is the same bit.
fn of_ip() -> String {
    run("ip tuntap show").replace(" filter", "")
}

#[test]
fn ip_tuntap_shows_what_adit_tuntap_made() {
    enter();
    adit("tuntap add dev tun0 mode tun user root");
    adit("tuntap add tap0 mode tap group 0 pi vnet_hdr multi_queue one_queue user 0");
    adit("tuntap add name tun1 pi user 0");
    assert_eq!(adit("tuntap add dev new%d mode tap user 0"), "new0\n");
    assert_eq!(adit("tuntap"), of_ip());
    for verb in ["show", "list", "lst"] {
        assert_eq!(adit(&format!("tuntap {verb}")), of_ip());
    }
    let (ours, mut theirs) = (adit_json("tuntap"), json("ip -j tuntap"));
    let mut ours = ours.as_array().unwrap().clone();
    for entry in &mut ours {
        assert_eq!(entry.as_object_mut().unwrap().remove("processes"), Some(Value::Array(vec![])));
    }
    for entry in theirs.as_array_mut().unwrap() {
        entry["flags"].as_array_mut().unwrap().retain(|flag| flag != "filter");
    }
    assert_eq!(Value::Array(ours), theirs);
    assert_eq!(adit("tuntap show dev tun0"), "tun0: tun persist user 0\n");
    assert_eq!(adit("tuntap show mode tap").lines().count(), 2);
    assert_eq!(refused("tuntap show dev nosuch").0, 4);
    run("ip tuntap del dev tun0 mode tun");
    assert_eq!(refused("dev show tun0").0, 4);
}

#[test]
fn adit_shows_and_deletes_what_ip_tuntap_made() {
    enter();
    run("ip tuntap add dev tun0 mode tun user 0 pi");
    run("ip tuntap add dev tap0 mode tap multi_queue vnet_hdr");
    run("ip tuntap add dev tap1 mode tap");
    assert_eq!(adit("tuntap"), of_ip());
    assert_eq!(adit_json("dev show").as_array().unwrap().len(), 3);
    adit("tuntap del dev tun0 mode tun");
    adit("tuntap del tap0 mode tap");
    adit("dev del tap1");
    assert_eq!(adit_json("dev show"), Value::Array(Vec::new()));
    run("ip link show lo");
}

#[test]
fn a_device_that_is_held_stays() {
    enter();
    let tun = adit_device::DeviceOptions::new(adit_device::Mode::Tun).name("tun0".parse().unwrap());
    let device = tun.persist(true).open().unwrap();
    let (status, errors) = refused("tuntap del dev tun0 mode tun");
    assert_eq!(status, 5, "{errors}");
    let verbose = adit("-v tuntap");
    assert!(verbose.contains(&format!("({})", std::process::id())), "{verbose}");
    drop(device);
    adit("tuntap del dev tun0 mode tun");
}
