use super::*;
use crate::config::read;
use crate::switch::changes::between;
use crate::switch::plan::Plan;
use crate::switch::port::WantedPort;

fn of_text(text: &str) -> WantedSwitch {
    let problems = Problems::default();
    let source = Source::new("lab.toml", text);
    let wanted = WantedSwitch::of_source(&source, &problems);
    problems.check(text).expect("no mistakes");
    wanted
}

fn of_ports(ports: &[&str]) -> WantedSwitch {
    let ports = ports.iter().map(|&text| text.to_owned()).collect();
    Plan { ports, ..Plan::default() }.read().expect("no mistakes")
}

fn changed(port: &WantedPort, keys: &str) -> WantedPort {
    let (source, problems) = (Source::new("set", keys), Problems::default());
    let mut port = port.clone();
    let mut table = read::words(&source, 0, &problems);
    port.change(&mut table);
    table.finish();
    problems.check("set").expect("no mistakes");
    port
}

fn save(text: &str, now: &WantedSwitch) -> Edited {
    let changes = between(&of_text(text), now);
    edit(&Source::new("lab.toml", text), &changes).expect("it is edited")
}

/// What the words of the command line say is what the saved file says, for every key.
#[test]
fn ports_from_words_are_read_back_from_a_file() {
    let ports = [
        "tap:a",
        "tap:b,netns=blue,mtu=9000,vlan=10,isolated,sticky,fdb-limit=7",
        "tap:c,trunk=10+20-29,native=1,tag=service,forward-reserved",
        "tap:d,trunk=10+11,untagged=10+11,pvid=11,split-horizon=3",
        "tap:e,trunk=all,native=4,guard-mac=02:00:00:00:00:01+02:00:00:00:00:02,guard-arp,guard-ra",
        "tap:f,tunnel=5,guard-ip=192.0.2.0/24+2001:db8::1,storm-broadcast=10,storm-unknown=20,storm-burst=99",
        "vxlan:127.0.0.9,vni=7,port=8472,storm-multicast=0",
        "unix:/run/a,,b.sock,name=guests,netem=lte",
        "tap:g,netem=delay=20ms+loss=1%+loss-burst=3+queue-limit=1000+rate=5mbit+ecn=off+keep-order=off",
        "tap:h,netem=delay=0+bit-errors=0.001+overhead=44+rate=1mbit+limit-bytes=1MiB",
        "tap:i,mirror=/tmp/all.pcapng",
    ];
    let now = of_ports(&ports);
    let changes = between(&WantedSwitch::default(), &now);
    let edited = edit(&Source::new("new.toml", ""), &changes).unwrap();
    let again = of_text(&edited.text);
    for (now, again) in now.ports.iter().zip(&again.ports) {
        assert_eq!(now, again, "{}", edited.text);
    }
    assert_eq!(now.ports.len(), again.ports.len(), "{}", edited.text);
    assert_eq!(between(&again, &now), []);
}

const FILE: &str = "\
# A lab.
name = \"lab\"  # its name

[switch]
ageing = \"60s\"

[[port]] # the first
port = \"tap:a\"
vlan = 10          # of the office
guard_arp = true
guard-ip = [\"192.0.2.1\"]

# The second.
[[port]]
port = \"tap:b\"
trunk = [10, 20]
untagged = [1]
pvid = 1
netem = \"lte\"

[[static]]
mac = \"02:00:00:00:00:0A\"
port = \"a\"

[[mirror]]
file = \"all.pcapng\"
";

#[test]
fn changes_go_into_the_file_and_all_else_stays() {
    let mut now = of_text(FILE);
    assert_eq!(save(FILE, &now).text, FILE, "nothing changed");
    let [a, b] = &mut now.ports[..] else { panic!("two ports") };
    *a = changed(a, "vlan=20,guard-arp=off,sticky");
    *b = changed(b, "vlan=30,netem=none");
    now.ports.push(of_ports(&["tap:c,vlan=5,isolated"]).ports.remove(0));
    now.switch.ageing = std::time::Duration::from_secs(90);
    now.statics.clear();
    let edited = save(FILE, &now);
    let expected = FILE
        .replace("60s", "90s")
        .replace("vlan = 10          #", "vlan = 20          #")
        .replace("guard_arp = true\n", "")
        .replace("[\"192.0.2.1\"]\n", "[\"192.0.2.1\"]\nsticky = true\n");
    let (head, _) = expected.split_once("trunk").unwrap();
    assert!(edited.text.starts_with(head), "{}", edited.text);
    let again = of_text(&edited.text);
    assert_eq!(again.ports, now.ports, "{}", edited.text);
    assert_eq!((again.switch, again.statics), (now.switch.clone(), vec![]));
    assert!(
        edited.text.contains("# The second.\n") && edited.text.contains("file = \"all.pcapng\"")
    );
    let shown: Vec<String> = edited.saved.iter().map(ToString::to_string).collect();
    let expected = [
        "the switch: ageing=90s",
        "tap:a: sticky vlan=20",
        "tap:b: vlan=30",
        "tap:c added",
        "02:00:00:00:00:0a removed from tap:a",
    ];
    assert_eq!(shown, expected);
    // A port that is removed takes its comment along.
    now.ports.remove(1);
    let text = save(&edited.text, &now).text;
    assert!(!text.contains("tap:b") && text.contains("# of the office"), "{text}");
    assert_eq!(of_text(&text).ports, now.ports);
}

#[test]
fn a_port_of_an_option_is_not_in_the_file() {
    let text = "[[port]]\nport = 'tap:a'\n";
    let both = Plan { ports: vec!["tap:z".to_owned()], ..Plan::default() };
    let mut before = of_text(text);
    before.ports.extend(both.read().unwrap().ports);
    let mut now = before.clone();
    now.ports[1] = changed(&now.ports[1], "vlan=7");
    let changes = between(&before, &now);
    let edited = edit(&Source::new("lab.toml", text), &changes).unwrap();
    assert_eq!((edited.text.as_str(), edited.saved.len(), edited.skipped), (text, 0, changes));
}

#[test]
fn inline_tables_are_edited_too() {
    let text =
        "port = [{ port = 'tap:a' }, { port = 'tap:b', vlan = 3 }]\nswitch = { ageing = '9s' }\n";
    let mut now = of_text(text);
    now.ports[0] = changed(&now.ports[0], "vlan=7");
    now.ports.remove(1);
    now.switch.moves_per_second = 9;
    let text = save(text, &now).text;
    let again = of_text(&text);
    assert_eq!((again.ports, again.switch), (now.ports, now.switch), "{text}");
}
