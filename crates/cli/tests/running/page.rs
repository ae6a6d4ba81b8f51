//! The status pages of switches, links, NATs and labs in a browser.

use crate::browser;
use crate::program::{Ended, Program, address, hosts, reaches};
use crate::support::{ADIT, adit, bare, command, run};
use std::process::Stdio;

/// Two ways between two switches, of which one fails.
const LAB: &str = r#"
[host.pc]
address = "10.5.0.1/24"
[host.srv]
address = "10.5.0.2/24"
[router.core]
[router.core.interface.lan]
address = ["10.5.0.254/24"]
[router.core.interface.other]
address = ["10.5.0.253/24"]
[switch.a]
[switch.b]
[[link]]
ends = ["pc", "a"]
[[link]]
ends = ["srv", "b"]
[[link]]
ends = ["a", "b"]
[[link]]
ends = ["core:lan", "a"]
[[link]]
ends = ["core:other", "b"]
"#;

fn send(line: &str) -> Ended {
    let mut command = command(line.split_whitespace());
    Ended(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
}

#[test]
fn the_pages_of_all_kinds_draw_what_runs() {
    if browser::is_missing() {
        return;
    }
    hosts(&["na", "nb", "nc", "nd", "ne", "nf", "box"]);
    let ports = "--port tap:a,netns=na --port tap:b,netns=nb,netem=loss=30% --port tap:c,netns=nc,vlan=10 \
                 --port tap:d,netns=nd --port unix:/run/vm.sock";
    let switch = Program::start(&format!("switch --name sw --page 9601 --seed 1 {ports}"));
    let netem = Program::start(
        "netem --name slow --page 9602 --seed 1 --port tap:e,netns=ne --port tap:f,netns=nf \
         --delay 20ms --loss 5% --rate 2mbit --queue-limit 100",
    );
    let nat = Program::start("nat attach box --name gw --page 9603 --publish 8080:80");
    std::fs::write("/run/lab.toml", LAB).unwrap();
    let lab = Program::start("lab up /run/lab.toml --name net --page 9604");
    for (netns, device, host) in [("na", "a", "192.0.2.1"), ("nb", "b", "192.0.2.2")] {
        address(netns, device, &format!("{host}/24"));
    }
    address("nc", "c", "192.0.2.3/24");
    address("ne", "e", "198.51.100.1/24");
    address("nf", "f", "198.51.100.2/24");
    assert!(reaches("na", "192.0.2.2") && reaches("ne", "198.51.100.2"));
    assert!(reaches("box", "10.0.2.2"));
    address("nd", "d", "192.0.2.4/24");
    run("ip -n nd link set dev d down");
    adit("lab fail --lab net a-b");
    let pings = [
        "ip netns exec na ping -q -i 0.02 -s 1000 192.0.2.2".to_owned(),
        "ip netns exec ne ping -q -i 0.02 -s 1000 198.51.100.2".to_owned(),
        "ip netns exec box ping -q -i 0.02 -s 1000 10.0.2.2".to_owned(),
        format!("{ADIT} lab exec --lab net pc -- ping -q -i 0.02 -s 1000 10.5.0.254"),
    ];
    let pings = pings.map(|line| send(&line));
    let pages = [("switch", 9601), ("netem", 9602), ("nat", 9603), ("lab", 9604)];
    let words = pages.map(|(kind, port)| format!("{kind}=http://127.0.0.1:{port}/page"));
    let pictures: Vec<String> = pages
        .iter()
        .flat_map(|(kind, _)| ["light", "dark", "phone"].map(|how| format!("{kind}-{how}")))
        .collect();
    browser::play(
        bare("env"),
        include_str!("page.py"),
        &words.each_ref().map(String::as_str),
        &pictures.iter().map(String::as_str).collect::<Vec<_>>(),
    );
    drop((pings, switch, netem, nat, lab));
}
