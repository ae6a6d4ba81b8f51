use super::{Setting, of_source};
use crate::plan::Plan;
use adit_service::config::problems::Problems;
use adit_service::config::source::Source;
use proptest::collection::vec;
use proptest::prelude::{any, proptest};
use proptest::sample::select;
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

fn read_with(text: &str, settings: &[&str]) -> Result<Plan, Vec<String>> {
    let settings: Vec<Setting> = settings.iter().map(|text| text.parse().unwrap()).collect();
    let (source, problems) = (Source::new("lab.toml", text), Problems::default());
    let plan = of_source(&source, &settings, 1, &problems).map(|(plan, _)| plan);
    let list: Vec<String> = problems.into_list().iter().map(ToString::to_string).collect();
    if list.is_empty() { Ok(plan.expect("no problem, so a plan")) } else { Err(list) }
}

fn read(text: &str) -> Plan {
    read_with(text, &[]).unwrap_or_else(|problems| panic!("{}", problems.join("\n")))
}

fn problems(text: &str) -> String {
    read_with(text, &[]).expect_err("something is wrong").join("\n")
}

fn addresses(plan: &Plan, name: &str) -> Vec<String> {
    let station = plan.station(&name.parse().unwrap()).unwrap();
    let all = station.interfaces.iter().flat_map(|interface| &interface.addresses);
    all.map(ToString::to_string).collect()
}

fn ends(plan: &Plan) -> Vec<String> {
    let links = plan.lab.links.iter().enumerate();
    let text = |(place, link): (usize, &crate::model::Link)| {
        format!("{}: {} {}", link.name, plan.end_text(place, 0), plan.end_text(place, 1))
    };
    links.map(text).collect()
}

#[test]
fn a_group_is_linked_to_one_node_or_to_a_group_of_its_size() {
    let plan = read(
        r#"
        [switch.lan]
        [host.h]
        count = 3
        address = "10.5.0.1{n}/24"
        [router.r]
        count = 3
        [host.gw]
        address = "10.5.0.{n}0/24"
        count = 1
        [[link]]
        ends = ["h", "lan"]
        [[link]]
        ends = ["r[1-2]:up", "r[2-3]:down"]
        name = "chain"
        [[link]]
        ends = ["lan", "r1:eth7"]
        "#,
    );
    let expected = [
        "h1-lan: h1:eth0 lan",
        "h2-lan: h2:eth0 lan",
        "h3-lan: h3:eth0 lan",
        "chain1: r1:up r2:down",
        "chain2: r2:up r3:down",
        "lan-r1: lan r1:eth7",
    ];
    assert_eq!(ends(&plan), expected);
    assert_eq!(addresses(&plan, "h2"), ["10.5.0.12/24", "fd00:ad17::c/64"]);
    assert_eq!(addresses(&plan, "r1")[2], "10.5.0.254/24");
    assert_eq!(
        plan.station(&"gw1".parse().unwrap()).unwrap().loopback[0].to_string(),
        "10.5.0.10/24"
    );
}

#[test]
fn a_parameter_has_its_value_of_the_file_or_of_the_command_line() {
    let text = r#"
        [parameters]
        delay = "20ms"
        n = 2
        [host.h]
        count = "${n}"
        run = "echo $${HOME} ${delay}"
        [[link]]
        ends = ["h1", "h2"]
        delay = "${delay}"
        "#;
    let plan = read_with(text, &["delay=80ms"]).unwrap();
    let netem = plan.lab.links[0].netem.as_ref().unwrap();
    assert_eq!(netem.a_to_b.delay.base.as_millis(), 80);
    let run = &plan.lab.nodes[0].as_host().unwrap().programs[0];
    assert_eq!(run.words, ["sh", "-c", "echo ${HOME} 80ms"]);
    let wrong = read_with(text, &["dlay=80ms"]).unwrap_err().join("\n");
    let expected =
        "--set:1:1: no parameter is called `dlay`\n 1 | dlay\n   | ^^^^ did you mean `delay`?";
    assert_eq!(wrong, expected);
}

#[test]
fn all_mistakes_are_reported_at_once_with_their_places() {
    let found = problems(
        r#"[host.a]
adress = "192.0.2.1/24"
[host.b]
address = "10.0.0.5"
[host.c.interface.eth0]
address = "10.0.0.7/24"
[host.d]
address = "10.0.0.7/24"
[switch.lan]
agein = "3s"
[[link]]
ends = ["c", "lna"]
[[link]]
ends = ["d", "c"]
delay = "${dely}"
vlan = 3
"#,
    );
    let expected = r#"lab.toml:2:1: unknown key `adress` in [host.a]
 2 | adress = "192.0.2.1/24"
   | ^^^^^^ did you mean `address`?
lab.toml:4:11: `address` has no prefix length
 4 | address = "10.0.0.5"
   |           ^^^^^^^^^^ did you mean "10.0.0.5/24"?
lab.toml:7:7: 'c' and 'd' have the same address 10.0.0.7
 7 | [host.d]
   |       ^
lab.toml:10:1: unknown key `agein` in [switch.lan]
 10 | agein = "3s"
    | ^^^^^ did you mean `ageing`?
lab.toml:12:14: `ends` lead nowhere: no node is called 'lna'
 12 | ends = ["c", "lna"]
    |              ^^^^^ did you mean `lan`?
lab.toml:15:9: no parameter is called `dely`
 15 | delay = "${dely}"
    |         ^^^^^^^^^ the file has no [parameters]; `$${dely}` is `${dely}` itself
lab.toml:16:8: `vlan` is for a link to a switch
 16 | vlan = 3
    |        ^ neither end is a switch"#;
    assert_eq!(found, expected);
}

/// Lines of which most files make sense.
const LINES: [&str; 40] = [
    "[host.a]",
    "[host.b]",
    "[host.g]",
    "[router.r]",
    "[router.q]",
    "[switch.s]",
    "[switch.t]",
    "[nat.n]",
    "[outside.o]",
    "[guest.v]",
    "[host.a.interface.eth0]",
    "[host.b.interface.lo]",
    "[router.r.interface.eth1]",
    "[[tunnel]]",
    "[[link]]",
    "[parameters]",
    "[[step]]",
    "count = 3",
    "address = '10.0.0.{n}/24'",
    "address = ['10.0.0.9/24', 'fd00:ad17::9/64']",
    "address = '192.0.2.1/32'",
    "address = '192.0.2.4/31'",
    "address = 'fd00::{n+5}/127'",
    "address = '10.0.0.1/1'",
    "forward = true",
    "masquerade = 'eth0'",
    "route = 'default via 10.0.0.9'",
    "routing = 'none'",
    "ends = ['a', 's']",
    "ends = ['r', 's']",
    "ends = ['b', 'r']",
    "ends = ['g', 't']",
    "ends = ['r', 'n']",
    "ends = ['s', 't']",
    "ends = ['r', 'q']",
    "ends = ['a', 'b']",
    "vlan = 10",
    "trunk = [10, '20-30']",
    "cost = 65535",
    "pool = ['10.0.0.0/29', 'fd00::/126']",
];

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "(\\[\\[?(host|link|switch|nat)\\]?\\]?|[a-z=\\[\\]\"{}$:,0-9\\n. -]){0,80}", seed in any::<u64>()) {
        let (source, problems) = (Source::new("lab.toml", text), Problems::default());
        let _ = of_source(&source, &[], seed, &problems);
    }

    #[test]
    fn a_text_is_a_plan_or_has_a_problem(lines in vec(select(&LINES[..]), 0..30)) {
        // With a link in front of its ends, more of them are whole.
        let text: String = lines
            .iter()
            .map(|line| if line.starts_with("ends") { format!("[[link]]\n{line}\n") } else { format!("{line}\n") })
            .collect();
        let (source, problems) = (Source::new("lab.toml", text.clone()), Problems::default());
        let plan = of_source(&source, &[], 1, &problems);
        assert!(plan.is_some() || !problems.into_list().is_empty(), "{text}");
        let Some((plan, _)) = plan else { return Ok(()) };
        let interfaces = plan.stations.iter().flat_map(|station| &station.interfaces);
        let mut ips = BTreeSet::new();
        for address in interfaces.flat_map(|interface| &interface.addresses) {
            assert!(ips.insert(address.ip()), "{text}");
        }
    }
}

#[test]
fn steps_name_what_the_file_makes() {
    let text = r#"
        [parameters]
        most = "20ms"
        [host.h]
        count = 2
        [switch.lan]
        [[link]]
        ends = ["h", "lan"]
        [[step]]
        set = { link = "h1-lan", delay = "1ms" }
        expect = ["ping h1 h2 within ${most}"]
        [[step]]
        expect = "ping h1 h3"
    "#;
    let (source, problems) = (Source::new("lab.toml", text), Problems::default());
    let (plan, scenario) = of_source(&source, &[], 1, &problems).unwrap();
    assert_eq!(scenario.steps[0].expect[0].text, "ping h1 h2 within 20ms");
    // What a step sets is emulated from the start.
    assert_eq!(plan.cables[0].medium, crate::plan::Medium::Port(0));
    assert!(plan.lab.links[0].netem.is_some() && plan.lab.links[1].netem.is_none());
    let problems = problems.into_list();
    let [problem] = &problems[..] else { panic!("{problems:?}") };
    assert!(problem.message.contains("unknown node: `h3`"), "{problem:?}");
    assert_eq!(problem.line, 13);
}

fn routes(plan: &Plan, name: &str) -> Vec<String> {
    let station = plan.station(&name.parse().unwrap()).unwrap();
    let route = |route: crate::plan::Route| {
        let interface = &station.interfaces[route.interface].name;
        format!("{} via {} dev {interface}", route.to, route.via.unwrap())
    };
    station.routes.iter().map(route).collect()
}

#[test]
fn a_vlan_of_a_switch_is_a_segment() {
    let plan = read(
        r#"
        [switch.s]
        count = 2
        [host.x]
        count = 2
        [host.y]
        count = 2
        [router.r]
        [[link]]
        ends = ["s1", "s2"]
        trunk = [10, 20]
        [[link]]
        ends = ["x", "s"]
        vlan = 10
        [[link]]
        ends = ["y", "s"]
        vlan = 20
        [[link]]
        ends = ["r", "s1"]
        vlan = 10
        [[link]]
        ends = ["r", "s2"]
        vlan = 20
        "#,
    );
    let of = |name| addresses(&plan, name)[0].clone();
    assert_eq!([of("x1"), of("x2")], ["10.0.0.1/24", "10.0.0.2/24"]);
    assert_eq!([of("y1"), of("y2")], ["10.0.1.1/24", "10.0.1.2/24"]);
    assert_eq!(routes(&plan, "y2")[0], "0.0.0.0/0 via 10.0.1.254 dev eth0");
}

const OFFICE: &str = r#"
    pool = ["10.0.0.0/8"]
    [nat.out]
    publish = { server = "8080:80" }
    [router.gw]
    [router.inner]
    [host.h]
    count = 2
    [host.server]
    route = "10.9.0.0/16 via 10.0.1.254"
    [[link]]
    ends = ["gw", "out"]
    [[link]]
    ends = ["gw", "inner"]
    [[link]]
    ends = ["h1", "inner"]
    [[link]]
    ends = ["server", "gw"]
    [[link]]
    ends = ["h2", "out"]
    "#;

#[test]
fn hosts_have_a_way_out_by_the_nearest_nat() {
    let plan = read(&OFFICE.replace("10.0.1.254", "10.0.3.254"));
    assert_eq!(routes(&plan, "h1"), ["0.0.0.0/0 via 10.0.2.254 dev eth0"]);
    assert_eq!(routes(&plan, "inner"), ["0.0.0.0/0 via 10.0.1.254 dev eth0"]);
    let expected = ["10.0.2.0/24 via 10.0.1.253 dev eth1", "0.0.0.0/0 via 10.0.0.253 dev eth0"];
    assert_eq!(routes(&plan, "gw"), expected);
    // By the other link of the NAT, which leads to no other node.
    assert_eq!(routes(&plan, "h2"), ["0.0.0.0/0 via 10.0.4.254 dev eth0"]);
    let server = plan.station(&"server".parse().unwrap()).unwrap();
    assert_eq!(server.dns[0].to_string(), "10.0.0.252");
    assert!(routes(&plan, "server").contains(&"10.9.0.0/16 via 10.0.3.254 dev eth0".to_owned()));
    let of_nat = |(to, via): &(adit_packet::IpPrefix, std::net::IpAddr)| format!("{to} {via}");
    let [main, other] = &plan.outlets[..] else { panic!("{:?}", plan.outlets) };
    let routes: Vec<String> = main.routes.iter().map(of_nat).collect();
    assert_eq!(routes, ["10.0.1.0/24 10.0.0.254", "10.0.2.0/23 10.0.0.254"]);
    assert!(other.routes.is_empty());
    let found = problems(OFFICE);
    assert!(found.contains("'server' has no interface in a network of 10.0.1.254"), "{found}");
}

#[test]
fn what_is_added_at_the_end_changes_no_other_node() {
    let text = OFFICE.replace("route = \"10.9.0.0/16 via 10.0.1.254\"", "");
    let more = "[host.new]\ncount = 3\n[[link]]\nends = ['new[1-2]', 'gw']\n[[link]]\nends = ['new3', 'inner']\n";
    let (base, after) =
        (read(&text), read(&format!("{}\n{more}", text.replace("count = 2", "count = 3"))));
    for station in &base.stations {
        let name = &base.lab.nodes[station.node].name;
        let other = after.station(name).unwrap();
        assert_eq!(other.interfaces[..station.interfaces.len()], station.interfaces, "{name}");
    }
    assert_eq!(after.cables[..base.cables.len()], base.cables);
}

#[test]
fn a_tunnel_has_keys_addresses_and_endpoints() {
    let text = r#"
        [host.a]
        [router.r]
        [host.b.interface.tun0]
        address = "192.0.2.7/24"
        [[link]]
        ends = ["a", "r"]
        mtu = 1400
        [[link]]
        ends = ["r", "b"]
        [[tunnel]]
        ends = ["a", "b"]
        "#;
    let plan = read(text);
    let [a, b] = &plan.tunnels[0].ends;
    assert_eq!(a.interface.to_string(), "tun0");
    assert_eq!(a.endpoint.unwrap().to_string(), "10.0.0.1:51820");
    assert_eq!((a.mtu, b.mtu), (1320, 1320), "what fits on the smaller link");
    assert_ne!(a.private_key.as_bytes(), b.private_key.as_bytes());
    let texts = |end: &crate::plan::TunnelEnd| {
        end.addresses.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(texts(a), ["10.0.2.1/24", "fd00:ad17:0:2::1/64"]);
    assert_eq!(texts(b), ["192.0.2.7/24", "fd00:ad17:0:2::2/64"]);
    let found = problems(&text.replace("ends = [\"a\", \"b\"]", "ends = [\"a\", \"a\"]"));
    assert!(found.contains("both ends of 'a-a-tunnel' are 'a'"), "{found}");
}

#[test]
fn tunnels_have_the_keys_that_are_given() {
    let key = |byte: u8| adit_tunnel::PrivateKey::from_bytes([byte; 32]).to_base64();
    let folder = Folder::new("keys", &[("parts/b.key", &format!("{}\n", key(2).as_str()))]);
    let links =
        "[host.a]\n[host.b]\n[host.c]\n[[link]]\nends = ['a', 'b']\n[[link]]\nends = ['b', 'c']\n";
    let keys = format!("private-keys = ['{}', {{ from = 'parts/b.key' }}]\n", key(1).as_str());
    let text =
        format!("{links}[[tunnel]]\nends = ['a', 'b']\n{keys}[[tunnel]]\nends = ['b', 'c']\n");
    fs::write(folder.0.join("lab.toml"), text).unwrap();
    let plan = folder.read(&[]).unwrap().plan;
    let of = |tunnel: usize, end: usize| {
        plan.tunnels[tunnel].ends[end].private_key.to_base64().as_str().to_owned()
    };
    assert_eq!([of(0, 0), of(0, 1)], [key(1), key(2)].map(|key| key.as_str().to_owned()));
    assert_ne!(of(1, 0), of(0, 1), "others are drawn");
    let groups = links.replace("[host.c]", "[host.c]\n[host.h]\ncount = 2");
    let text = format!("{groups}[[tunnel]]\nends = ['a', 'h']\n{keys}");
    fs::write(folder.0.join("lab.toml"), text).unwrap();
    let found = folder.read(&[]).unwrap_err();
    assert!(found.contains("several tunnels cannot have the same keys"), "{found}");
}

#[test]
fn a_lab_without_ipv6_may_have_small_packets() {
    let links = "[host.a]\n[host.b]\n[[link]]\nends = ['a', 'b']\nmtu = 576\n";
    let plan =
        read(&format!("pool = '10.0.0.0/8'\n{links}[[tunnel]]\nends = ['a', 'b']\nmtu = 400\n"));
    assert_eq!((plan.mtu(0), plan.tunnels[0].ends[0].mtu), (576, 400));
    let tunnel = "[[tunnel]]\nends = ['a', 'b']\n";
    let plan = read(&format!("{}{tunnel}", links.replace("576", "1300")));
    assert_eq!(plan.tunnels[0].ends[0].mtu, 1280, "IPv6 needs it");
}

#[test]
fn each_end_of_a_link_between_switches_has_settings_of_its_own() {
    let text = "[host.x]\n[host.y]\n[switch.s]\n[switch.t]\n[[link]]\nends = ['x', 's']\nvlan = 10\n\
                [[link]]\nends = ['y', 't']\nvlan = 20\n[[link]]\nends = ['s', 't']\nisolated = true\n\
                a.vlan = 10\nb = { vlan = 20, isolated = false }\n";
    let plan = read(text);
    let [a, b] = &plan.lab.links[2].ends;
    assert_eq!((a.port.isolated, b.port.isolated), (true, false));
    assert_ne!(a.port.vlan, b.port.vlan);
    // They translate: VLAN 10 of one switch is 20 of the other.
    assert_eq!(plan.networks.len(), 2, "one network of each family");
}

#[test]
fn commands_are_split_as_a_shell_does() {
    let words = |text: &str| {
        let plan = read(&format!("[host.h]\nrun = [{text}]\n"));
        plan.lab.nodes[0].as_host().unwrap().programs[0].words.clone()
    };
    assert_eq!(words(r#""python3 -m http.server 80""#), ["python3", "-m", "http.server", "80"]);
    assert_eq!(words(r#"'nginx -g "daemon off;"'"#), ["nginx", "-g", "daemon off;"]);
    assert_eq!(words(r#"'''echo 'a b'  c\ d""'''"#), ["echo", "a b", "c d"]);
    assert_eq!(words(r#""ping x | tee log""#), ["sh", "-c", "ping x | tee log"]);
    assert_eq!(words(r#"["echo", "$HOME"]"#), ["echo", "$HOME"]);
    assert_eq!(words(r#""LANG=C date""#), ["sh", "-c", "LANG=C date"]);
    for (text, why) in [
        (r#""echo 'a""#, "has a quote that is not closed"),
        (r"'echo \'", "ends in a backslash"),
        (r#""  ""#, "has no command"),
        (r#"{ command = "x", name = "a b" }"#, "must be a name"),
        (r#"{ name = "a" }"#, "`command` is missing in [run]"),
    ] {
        let found = problems(&format!("[host.h]\nrun = [{text}]\n"));
        assert!(found.contains(why), "{text}: {found}");
    }
}

#[test]
fn a_node_has_its_own_names_and_files() {
    let plan = read(
        r#"
        [host.a]
        names = { db = ["192.0.2.1", "2001:db8::1"] }
        file = { "/etc/motd" = "hello", "/run/key" = { text = "x", mode = "600" } }
        dns = "192.0.2.53"
        [host.b]
        [[link]]
        ends = ["a", "b"]
        "#,
    );
    let [a, b] = ["a", "b"].map(|name| plan.station(&name.parse().unwrap()).unwrap());
    let common = "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n\
                  10.0.0.1 a\nfd00:ad17::1 a\n10.0.0.2 b\nfd00:ad17::2 b\n";
    assert_eq!(*b.hosts, *common);
    assert_eq!(*a.hosts, format!("{common}192.0.2.1 db\n2001:db8::1 db\n"));
    assert_eq!(a.resolv_conf().as_deref(), Some("nameserver 192.0.2.53\n"));
    assert_eq!(b.resolv_conf(), None);
    let files = &plan.lab.nodes[0].as_host().unwrap().files;
    assert_eq!((files[1].text.as_str(), files[1].mode), ("x", 0o600));
}

/// Each text, and the one thing that is wrong with it.
const WRONG: [(&str, &str); 44] = [
    (
        "[host.c]\naddress = '10.0.0.1/24'\n[host.d]\naddress = '10.0.0.2/25'\n[[link]]\nends = ['c', 'a']\n[[link]]\nends = ['d', 'a']\n",
        "'d' has 10.0.0.2/25, but 10.0.0.0/24 is the network of another link",
    ),
    (
        "[host.c]\naddress = '10.0.0.1/30'\n[[link]]\nends = ['c', 's']\n[[link]]\nends = ['a', 's']\n[[link]]\nends = ['b', 's']\n",
        "no address is free for 'b' on its link",
    ),
    ("[host.a]\n[router.a]\n", "two nodes are called 'a'"),
    ("[host.'a b']\n", "`a b` cannot be the name of a node"),
    ("[[link]]\nends = ['a', 'a']\n", "both ends of 'a-a' are 'a'"),
    ("[[link]]\nends = ['n', 'm']\n", "'n' and 'm' are NATs"),
    ("[[link]]\nends = ['a:x', 's']\n[[link]]\nends = ['a:x', 'b']\n", "'x' of 'a' has two links"),
    ("[[link]]\nends = ['a', 's:eth0']\n", "'s' has ports, not interfaces"),
    ("[[link]]\nends = ['a:lo', 'b']\n", "'lo' of 'a' cannot have a link"),
    ("[[link]]\nends = ['a[1-2]', 'b[1-3]']\n", "2 nodes here, 3 there"),
    ("[[link]]\nends = ['a[2-1]', 'b']\n", "did you mean [1-2]?"),
    ("[[link]]\nends = ['a[1-9999999]', 'b']\n", "has more than 2000 nodes"),
    (
        "[[link]]\nname = 'x'\nends = ['a', 's']\n[[link]]\nname = 'x'\nends = ['b', 's']\n",
        "two links are called 'x'",
    ),
    ("[[link]]\nends = ['a', 's']\nmtu = 67\n", "must be from 68 to 65521"),
    ("[[link]]\nends = ['a', 's']\nmtu = 576\n", "an MTU of 576 is too small for IPv6"),
    ("[[tunnel]]\nends = ['a', 'b']\nmtu = 576\n", "an MTU of 576 is too small for IPv6"),
    ("[[link]]\nends = ['a', 's']\na = { vlan = 3 }\n", "`a` is for an end at a switch"),
    ("[[tunnel]]\nends = ['a', 'b']\nprivate-keys = ['x']\n", "must be a list of two keys"),
    ("[[tunnel]]\nends = ['a', 'b']\nprivate-keys = ['x', 'y']\n", "has no private key"),
    ("[[link]]\nends = ['a', 'b']\nburst = 1\n", "unknown key `burst` in [link]"),
    ("[host.c.interface.eth5]\n", "'c' has no interface 'eth5'"),
    ("[host.c]\naddress = '10.0.0.0/24'\n", "'c' cannot have the address 10.0.0.0/24"),
    ("[host.c]\naddress = '10.0.0.255/24'\n", "'c' cannot have the address 10.0.0.255/24"),
    ("[host.c]\naddress = 'fe80::1/64'\n", "'c' cannot have the address fe80::1/64"),
    ("[host.c]\nfile = { '/usr/x' = '' }\n", "the file /usr/x of 'c' is not private"),
    ("[host.c]\nfile = { '/etc/../usr/x' = '' }\n", "is not private"),
    ("[host.c]\nfile = { '/etc/x' = {} }\n", "a file has one content"),
    ("[host.c]\nsysctl = { 'kernel.panic' = 1 }\n", "is of the whole machine"),
    ("[host.c]\nsysctl = { 'net/../kernel/panic' = 1 }\n", "is not the name of a sysctl"),
    ("[host.c]\nsysctl = { net.ipv4.ip_forward = 1 }\n", "put the name in quotes"),
    ("[host.c]\ncount = 0\n", "must be from 1 to 1000"),
    ("[host.c]\ncount = 999\n", "the lab has 1001 hosts, routers and guests"),
    ("[host.c]\nroute = '10.0.0.0/8 by 10.0.0.1'\n", "cannot be `10.0.0.0/8 by 10.0.0.1`"),
    ("[host.c]\nrouting = 'bird'\n", "`routing` cannot be `bird`"),
    ("[guest.c]\n", "a guest boots from a kernel or a disk"),
    ("[outside.c]\nport = 'tun:x'\n", "carries packets"),
    ("[nat.c]\npublish = { d = '80' }\n", "no node is called 'd'"),
    ("[nat.c]\npublish = { s = '80' }\n", "'s' is neither a host nor a guest"),
    ("[nat.c]\npublish = { a = '80:x' }\n", "`a` must be [ADDR:]PORT"),
    ("[[tunnel]]\nends = ['a', 's']\n", "'s' is not a host"),
    ("[[tunnel]]\nends = ['a:eth0', 'b']\n", "a tunnel ends at a host"),
    ("[router.c]\nforward = false\n", "a router forwards"),
    ("[[step]]\nexpect = 'ping a zz'\n", "unknown node: `zz`"),
    ("[host]\nc = 1\n", "must be a table, not the number 1"),
];

#[test]
fn what_no_lab_can_have_is_refused() {
    let nodes = "[host.a]\n[host.b]\n[switch.s]\n[nat.n]\n[nat.m]\n";
    for (text, why) in WRONG {
        let is_whole = text.starts_with("[host.a]") || text.starts_with("[host]");
        let found = problems(&if is_whole { text.to_owned() } else { format!("{nodes}{text}") });
        assert!(found.contains(why), "{text}: {found}");
        assert_eq!(found.matches("lab.toml").count(), 1, "{text}: {found}");
    }
    for (head, why) in [
        ("seed = 9007199254740992\n", "must be from 0 to 9007199254740991"),
        ("pool = '10.0.0.1/8'\n", "did you mean 10.0.0.0/8?"),
        ("pool = '10.0.0.0/30'\n", "2 segments do not fit in the pools 10.0.0.0/30"),
    ] {
        let links = "[[link]]\nends = ['a', 'b']\n[[link]]\nends = ['a', 's']\n";
        let found = problems(&format!("{head}{nodes}{links}"));
        assert!(found.contains(why), "{head}: {found}");
    }
}

/// A folder with files, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str, files: &[(&str, &str)]) -> Self {
        let folder = std::env::temp_dir().join(format!("adit-lab-{name}-{}", std::process::id()));
        fs::create_dir_all(folder.join("parts")).unwrap();
        for (file, text) in files {
            fs::write(folder.join(file), text).unwrap();
        }
        Self(folder)
    }

    fn read(&self, settings: &[Setting]) -> Result<super::FromFile, String> {
        let read = super::read(&self.0.join("lab.toml"), settings);
        read.map_err(|error| {
            let list = error.report.problems.iter().map(ToString::to_string);
            list.collect::<Vec<_>>().join("\n").replace(&format!("{}/", self.0.display()), "")
        })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_file_includes_others_and_overrides_their_parameters() {
    let top = "include = ['parts/hosts.toml', 'parts/common.toml']\nname = 'x'\n[parameters]\ndelay = '5ms'\n\
               [[link]]\nends = ['h', 'lan']\ndelay = '${delay}'\n";
    let hosts = "include = 'common.toml'\n[outside.o]\nport = 'unix:a,,b.sock,connect=true'\n[host.h]\ncount = '${n}'\nfile = { '/etc/x' = { from = 'x.txt' } }\n";
    let common = "name = 'other'\n[parameters]\nn = 2\ndelay = '9ms'\n[switch.lan]\n";
    let files = [
        ("lab.toml", top),
        ("parts/hosts.toml", hosts),
        ("parts/common.toml", common),
        ("parts/x.txt", "text\n"),
    ];
    let folder = Folder::new("includes", &files);
    let read = folder.read(&["n=3".parse().unwrap()]).unwrap();
    let names: Vec<_> = read.files.iter().map(|file| file.file_name().unwrap()).collect();
    assert_eq!(names, ["common.toml", "hosts.toml", "lab.toml"]);
    assert_eq!(super::parameters(&folder.0.join("lab.toml")).unwrap(), ["delay", "n"]);
    let lab = &read.plan.lab;
    assert_eq!(lab.name.as_ref().unwrap().as_str(), "x");
    assert_eq!(lab.links.len(), 3);
    assert_eq!(lab.links[0].netem.as_ref().unwrap().a_to_b.delay.base.as_millis(), 5);
    let outside = format!("unix:{}/parts/a,,b.sock,connect=true", folder.0.display());
    assert_eq!(lab.node("o").unwrap().kind, crate::model::Kind::Outside(outside));
    assert_eq!(lab.node("h3").unwrap().as_host().unwrap().files[0].text, "text\n");
}

#[test]
fn a_circle_of_files_and_a_file_that_is_not_there_are_refused() {
    let files = [
        ("lab.toml", "include = ['parts/a.toml', 'none.toml']\n[host.a]\n"),
        ("parts/a.toml", "include = '../lab.toml'\n[host.b]\nrunn = 1\n"),
    ];
    let folder = Folder::new("circle", &files);
    let found = folder.read(&[]).unwrap_err();
    for text in [
        "parts/a.toml:1:11: `include` goes in a circle",
        "lab.toml:1:28: `include` cannot read none.toml",
        "parts/a.toml:3:1: unknown key `runn`",
    ] {
        assert!(found.contains(text), "{text}: {found}");
    }
}

#[test]
fn a_lab_at_its_limits_is_planned() {
    let mut text =
        "[host.h]\ncount = 980\n[router.r]\ncount = 20\n[switch.s]\ncount = 19\n".to_owned();
    for ends in ["'r[1-19]', 'r[2-20]'", "'r[1-19]', 's'"] {
        text += &format!("[[link]]\nends = [{ends}]\n");
    }
    for host in 1..=980 {
        for more in 0..4 {
            text += &format!("[[link]]\nends = ['h{host}', 's{}']\n", (host * 7 + more) % 19 + 1);
        }
    }
    let plan = read(&text);
    assert_eq!((plan.stations.len(), plan.lab.links.len()), (1000, 3958));
    let interfaces = plan.stations.iter().flat_map(|station| &station.interfaces);
    let ips: BTreeSet<_> = interfaces.flat_map(|of| &of.addresses).map(|of| of.ip()).collect();
    assert_eq!(ips.len(), 2 * (980 * 4 + 19 * 3), "one of each family at each interface");
}

#[test]
fn nodes_that_nobody_reaches_are_warned_of() {
    let text =
        "[host.h]\ncount = 9\n[switch.s]\n[host.x]\n[host.y]\n[[link]]\nends = ['h[1-2]', 's']\n";
    let plan = read(&format!("{text}[[link]]\nends = ['x', 'y']\n"));
    let expected = [
        "no link ends at h3, h4, h5, h6, h7 and 2 more: nobody can reach them",
        "x, y are apart from the rest of the lab",
    ];
    assert_eq!(plan.warnings(), expected);
    assert_eq!(read("[host.a]\n").warnings(), Vec::<String>::new());
    let none = read("name = 'x'\n").warnings();
    assert_eq!(none, ["the lab has no nodes: add them to the file as [host.NAME]"]);
}
