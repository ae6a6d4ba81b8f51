//! Files of labs, as users check them and look at their plans.

use crate::support::{adit, adit_json, enter, refused, run, validate};
use std::fs;
use std::path::Path;

const FILE: &str = r#"
name = "office"
seed = 7
[parameters]
delay = "20ms"
[host.h]
count = 2
[router.gw]
[switch.lan]
[nat.internet]
publish = { h1 = "8080:80" }
[[link]]
ends = ["h", "lan"]
[[link]]
ends = ["gw", "lan"]
[[link]]
ends = ["gw", "internet"]
delay = "${delay}"
[[tunnel]]
ends = ["h1", "h2"]
[[step]]
expect = "ping h1 h2 within 20ms"
"#;

const PLAN: &str = "\
host h1
  eth0   10.0.0.1/24 fd00:ad17::1/64  MAC
  route  default via 10.0.0.254 dev eth0
  route  default via fd00:ad17::fe dev eth0
  dns    10.0.1.252 fd00:ad17:0:1::fc
host h2
  eth0   10.0.0.2/24 fd00:ad17::2/64  MAC
  route  default via 10.0.0.254 dev eth0
  route  default via fd00:ad17::fe dev eth0
  dns    10.0.1.252 fd00:ad17:0:1::fc
router gw
  eth0   10.0.0.254/24 fd00:ad17::fe/64      MAC
  eth1   10.0.1.254/24 fd00:ad17:0:1::fe/64  MAC
  route  default via 10.0.1.253 dev eth1
  route  default via fd00:ad17:0:1::fd dev eth1
  dns    10.0.1.252 fd00:ad17:0:1::fc
switch lan
nat internet
  gw-internet  10.0.1.253/24 fd00:ad17:0:1::fd/64  MAC
  route        10.0.0.0/24 via 10.0.1.254 dev gw-internet
  route        fd00:ad17::/64 via fd00:ad17:0:1::fe dev gw-internet
  dns          10.0.1.252 fd00:ad17:0:1::fc
links
  h1-lan       h1:eth0 - lan       port
  h2-lan       h2:eth0 - lan       port
  gw-lan       gw:eth0 - lan       port
  gw-internet  gw:eth1 - internet  port, emulated
tunnels
  h1-h2-tunnel  h1:tun0 10.0.2.1/24 fd00:ad17:0:2::1/64 - h2:tun0 10.0.2.2/24 fd00:ad17:0:2::2/64
seed 7
";

/// Words with a MAC address in them as `MAC`.
fn without_macs(text: &str) -> String {
    let line = |line: &str| match line.rfind(" 02:") {
        Some(at) => format!("{} MAC\n", &line[..at]),
        None => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

#[test]
fn a_lab_is_checked_and_its_plan_is_shown() {
    enter();
    fs::write("/run/office.toml", FILE).unwrap();
    let checked = "/run/office.toml: no errors, 5 nodes, 4 links\n";
    assert_eq!(adit("lab check /run/office.toml"), checked);
    assert_eq!(adit("check /run/office.toml"), "/run/office.toml: a lab, no errors\n");
    // The keys that it shares with a lab do not make it one.
    fs::write("/run/switch.toml", "seed = 1\n[switch]\n[[port]]\nport = \"tap:a\"\n").unwrap();
    assert_eq!(adit("check /run/switch.toml"), "/run/switch.toml: a switch, no errors\n");
    let text = adit("lab plan /run/office.toml --set delay=0.5s");
    assert_eq!(without_macs(&text), PLAN);
    assert_eq!(adit("lab plan /run/office.toml"), text, "the seed decides");
    let outputs = [
        ("lab-check", adit("-j lab check /run/office.toml")),
        ("lab-plan", adit("-j lab plan /run/office.toml")),
        ("check", adit("-j check /run/office.toml")),
    ];
    validate(&outputs);
    let plan = adit_json("lab plan /run/office.toml");
    assert!(plan["links"][3]["seed"].as_u64().unwrap() < 1 << 53);
    assert_eq!(plan["nodes"][0]["routes"][0]["via"], "10.0.0.254");
    fs::write("/run/office.toml", FILE.replace("[\"gw\", \"lan\"]", "[\"gw\", \"lna\"]")).unwrap();
    let (status, error) = refused("lab check /run/office.toml --set dela=1s");
    assert_eq!(status, 2, "{error}");
    for part in
        ["office.toml has 2 errors", "did you mean `delay`?", ":15:15:", "did you mean `lan`?"]
    {
        assert!(error.contains(part), "{part}: {error}");
    }
}

#[test]
fn a_lab_without_a_name_is_that_of_the_folder_and_one_without_a_file_has_a_shape() {
    enter();
    let (status, error) = refused("lab check --topo star,1001");
    assert!(status == 2 && error.contains("at most 1000 hosts"), "{error}");
    assert_eq!(adit("lab check --topo tree,2"), "tree,2,2: no errors, 7 nodes, 6 links\n");
    assert!(Path::new("lab.toml").exists() || refused("lab check").0 == 4);
    fs::create_dir("/run/x").unwrap();
    fs::write("/run/x/lab.toml", FILE).unwrap();
    fs::write("/run/x/go", format!("cd /run/x && {} lab check", crate::support::ADIT)).unwrap();
    assert_eq!(run("sh /run/x/go"), "lab.toml: no errors, 5 nodes, 4 links\n");
    assert!(adit("complete -- lab check --topo du").contains("dumbbell,"));
}
