//! `adit dev show -j` and `ip -d -j link` agree, field by field.

use crate::support::{adit, adit_json, enter, json, run};
use serde_json::{Map, Value};
use std::time::Duration;

/// What newer versions of `ip` show of every link, and this program does not: of the stack, not of
/// the device.
const OF_NEWER_IP: [&str; 3] = ["gso_ipv4_max_size", "gro_ipv4_max_size", "netns-immutable"];

/// What newer versions of `ip` show of every address: which program set it.
const OF_NEWER_IP_ADDRESS: &str = "protocol";

/// What `ip` shows of a port of a bridge: of the bridge, not of the device.
const OF_THE_BRIDGE: [&str; 2] = ["info_slave_kind", "info_slave_data"];

fn objects(list: &Value) -> Vec<Map<String, Value>> {
    let objects = list.as_array().unwrap().iter();
    objects.map(|object| object.as_object().unwrap().clone()).collect()
}

/// Compares all TUN and TAP devices of the namespace; says how many there are.
fn assert_agreement() -> usize {
    let ours = objects(&adit_json("dev show -s"));
    let theirs = objects(&json("ip -d -s -j link"));
    let addresses = objects(&json("ip -d -j addr"));
    let theirs: Vec<_> =
        theirs.into_iter().filter(|link| link.get("linkinfo").is_some_and(is_tun)).collect();
    assert_eq!(ours.len(), theirs.len());
    let count = ours.len();
    for (mut ours, mut theirs) in ours.into_iter().zip(theirs) {
        let index = &ours["ifindex"];
        let addresses = addresses.iter().find(|link| link["ifindex"] == *index).unwrap();
        let mut addresses = objects(&addresses["addr_info"]);
        for address in &mut addresses {
            address.remove(OF_NEWER_IP_ADDRESS);
        }
        let addr_info = objects(&ours.remove("addr_info").unwrap());
        assert_eq!(addr_info, addresses, "{}", ours["ifname"]);
        ours.remove("holders").unwrap();
        ours.remove("holders_partial").unwrap();
        for field in OF_NEWER_IP {
            theirs.remove(field);
        }
        for field in OF_THE_BRIDGE {
            theirs["linkinfo"].as_object_mut().unwrap().remove(field);
        }
        assert_eq!(Value::Object(ours), Value::Object(theirs));
    }
    count
}

fn is_tun(linkinfo: &Value) -> bool {
    linkinfo["info_kind"] == "tun"
}

/// The words for each set of switches.
fn combinations(switches: &[&str]) -> Vec<String> {
    (0..1_u32 << switches.len())
        .map(|set| {
            let chosen = switches.iter().enumerate().filter(|(bit, _)| set >> bit & 1 == 1);
            chosen.map(|(_, switch)| format!(" {switch}")).collect()
        })
        .collect()
}

#[test]
fn ip_and_adit_agree_on_every_combination_of_flags() {
    enter();
    let switches = ["--pi", "--vnet-hdr", "--multi-queue", "--user 0", "--group root"];
    for mode in ["tun", "tap"] {
        for words in combinations(&switches) {
            let name = adit(&format!("dev add d%d --mode {mode}{words}"));
            assert!(name.starts_with('d'), "{name}");
        }
    }
    assert_eq!(assert_agreement(), 64);
}

#[test]
fn ip_and_adit_agree_on_devices_that_ip_made() {
    enter();
    for mode in ["tun", "tap"] {
        let switches = ["pi", "vnet_hdr", "multi_queue", "user 0", "group 0"];
        for (number, words) in combinations(&switches).into_iter().enumerate() {
            run(&format!("ip tuntap add dev {mode}x{number} mode {mode}{words}"));
        }
    }
    assert_eq!(assert_agreement(), 64);
}

#[test]
fn ip_and_adit_agree_on_link_settings() {
    enter();
    run("ip link add br0 type bridge");
    adit(
        "dev add tun0 --mode tun --addr 192.0.2.1 --peer 192.0.2.2 --addr 2001:db8::1/64,nodad --mtu 1400 --txqueuelen 77 --up",
    );
    adit(
        "dev add tap0 --mode tap --mac 02:00:00:00:00:07 --alias text --master br0 --addr 198.51.100.1/24",
    );
    adit("dev add tap1 --mode tap --no-carrier --napi --index 4711 --link-type 280");
    run("ip link property add dev tap1 altname another-name");
    run("ip addr add 203.0.113.1/24 brd + dev tap1 label tap1:x");
    run("ip addr add 203.0.113.2/24 dev tap1 valid_lft 1000000 preferred_lft 0");
    // The kernel settles the state of a link that came up a moment later.
    let settled = (0..3000).any(|_| {
        std::thread::sleep(Duration::from_millis(20));
        json("ip -j link show tun0")[0]["operstate"] == "DOWN"
    });
    assert!(settled, "tun0 has no carrier");
    assert_eq!(assert_agreement(), 3);
    let tap1 = adit_json("dev show another-name");
    assert_eq!(tap1[0]["ifname"], "tap1");
    let long = "a".repeat(127);
    run(&format!("ip link property add dev tap1 altname {long}"));
    assert_eq!(adit_json(&format!("dev show {long}"))[0]["ifname"], "tap1");
    assert_eq!(adit_json(&format!("dev set {long} --mtu 1399"))["mtu"], 1399);
    assert_eq!(adit_json(&format!("dev del {long}"))[0]["ifname"], "tap1");
}

#[test]
#[ignore = "needs the initial user namespace"]
fn root_ip_and_adit_agree_on_named_users() {
    enter();
    adit("dev add tun0 --mode tun --user nobody --group nogroup");
    adit("dev add tun1 --mode tun --user 4711 --group 4712");
    assert_agreement();
    let shown = adit_json("dev show");
    let user = |at: usize| &shown[at]["linkinfo"]["info_data"]["user"];
    assert_eq!((user(0), user(1)), (&Value::from("nobody"), &Value::from(4711)));
}
