use super::{Images, Imported, import};
use adit_service::config::problems::Problems;
use adit_service::config::source::Source;

fn read(text: &str, images: Images) -> Imported {
    import(&Source::new("test", text), images).unwrap()
}

fn problems(text: &str) -> Vec<(usize, String)> {
    let error = import(&Source::new("test", text), Images::Rejected).unwrap_err();
    error.report.problems.iter().map(|problem| (problem.line, problem.message.clone())).collect()
}

const CAMPUS: &str = include_str!("../../tests/import/campus.clab.yml");
const RING: &str = include_str!("../../tests/import/ring.graphml");

#[test]
fn a_topology_of_containerlab_becomes_a_lab() {
    let lab = read(CAMPUS, Images::Rejected);
    for part in [
        "name = \"campus\"",
        "[router.gw]",
        "sysctl = { \"net.ipv4.ip_forward\" = \"1\" }",
        "[router.gw.interface.eth1]\naddress = [\"192.0.2.1/24\", \"2001:db8::1/64\"]",
        "[host.pc]\nroute = [\"0.0.0.0/0 via 192.0.2.1\"]",
        "run = [\"env 'ROOM=b 12' python3 -m http.server 80\"]",
        "[switch.br-lan]",
        "ends = [\"pc:eth1\", \"br-lan\"]",
        "ends = [\"gw:eth1\", \"br-lan\"]\nmtu = 1400",
        "[outside.outside-uplink0]\nport = \"tap:uplink0\"",
        "ends = [\"gw:eth2\", \"outside-uplink0\"]",
    ] {
        assert!(lab.text.contains(part), "{part}\n--- in\n{}", lab.text);
    }
    let notes = lab.notes.join("\n");
    assert_eq!(
        notes, "`mgmt`\n`bind gw.conf:/usr/gw.conf` of gw\n`env` of gw\n`ports` of pc",
        "what is left out is named"
    );
    assert_eq!((lab.nodes, lab.links), (4, 3));
}

#[test]
fn images_are_rejected_by_name_or_taken_as_hosts() {
    let text = "name: x\ntopology:\n  kinds:\n    linux:\n      image: quay.io/frrouting/frr:10\n  nodes:\n    \
                r1: {kind: linux}\n    s1: {kind: nokia_srlinux}\n  links:\n    - endpoints: [r1:eth1, s1:e1-1]\n";
    let found = problems(text);
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(found[0].0, 5);
    assert!(found[0].1.contains("quay.io/frrouting/frr:10"), "{found:?}");
    assert!(found[1].1.contains("nokia_srlinux"), "{found:?}");
    let lab = read(text, Images::Hosts);
    assert!(lab.text.contains("[router.r1]"), "a routing daemon makes a router: {}", lab.text);
    assert!(lab.text.contains("ends = [\"r1:eth1\", \"s1:e1-1\"]"), "{}", lab.text);
    assert!(lab.notes[0].contains("image: quay.io/frrouting/frr:10"), "{:?}", lab.notes);
}

#[test]
fn all_problems_of_a_topology_are_reported() {
    let text = "topology:\n  nodes:\n    a: {kind: linux}\n    b: {}\n  links:\n    \
                - endpoints: [a:eth1, c:eth1]\n    - endpoints: [a:eth2]\n    - type: warp\n";
    let lines: Vec<usize> = problems(text).iter().map(|(line, _)| *line).collect();
    assert_eq!(lines, [4, 6, 7, 8]);
}

#[test]
fn aliases_and_nesting_are_bounded() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..30 {
        let last = format!("*a{}", level - 1);
        bomb += &format!("a{level}: &a{level} [{}]\n", [last.as_str(); 8].join(", "));
    }
    assert!(problems(&bomb)[0].1.contains("values"));
    let deep = format!("a: {}{}", "[".repeat(5_000), "]".repeat(5_000));
    assert_eq!(problems(&deep).len(), 1);
    let deep = format!("<graphml>{}</graphml>", "<a>".repeat(50_000));
    assert_eq!(problems(&deep).len(), 1);
    let entities = "<!DOCTYPE g [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;&a;&a;&a;&a;\">\
                    <!ENTITY c \"&b;&b;&b;&b;&b;&b;&b;&b;\"><!ENTITY d \"&c;&c;&c;&c;&c;&c;&c;&c;\">]>\
                    <graphml>&d;&d;&d;&d;</graphml>";
    assert_eq!(problems(entities).len(), 1);
}

#[test]
fn a_graph_of_the_zoo_becomes_a_lab() {
    let lab = read(RING, Images::Rejected);
    for part in [
        "name = \"ring-of-towns\"",
        "[router.Ulm-Mitte]  # Ulm (Mitte)",
        "[router.Bonn]\n",
        "[router.Bonn-2]  # Bonn",
        "[switch.Exchange]",
        "ends = [\"Ulm-Mitte\", \"Bonn\"]\ndelay = \"1662us\"\nrate = \"2.5gbit\"",
        "rate = \"155mbit\"",
    ] {
        assert!(lab.text.contains(part), "{part}\n--- in\n{}", lab.text);
    }
    assert_eq!((lab.nodes, lab.links), (4, 5));
    assert_eq!(lab.notes.len(), 2, "{:?}", lab.notes);
}

#[test]
fn a_broken_graph_has_places() {
    assert_eq!(problems("<graphml>\n<graph>\n</node></graphml>")[0].0, 3);
    let text = "<graphml><graph>\n<node/>\n<node id=\"1\"/><node id=\"1\"/>\n<edge source=\"1\" target=\"9\"/>\n\
                </graph></graphml>";
    let lines: Vec<usize> = problems(text).iter().map(|(line, _)| *line).collect();
    assert_eq!(lines, [2, 3, 4]);
}

#[test]
fn imports_are_labs() {
    for text in [CAMPUS, RING] {
        let lab = read(text, Images::Rejected);
        let problems = Problems::default();
        let source = Source::new("imported.toml", lab.text);
        let plan = crate::file::of_source(&source, &[], 1, &problems);
        let problems: Vec<String> = problems.into_list().iter().map(ToString::to_string).collect();
        assert_eq!(problems, [""; 0], "{}", source.text());
        let (plan, _) = plan.unwrap();
        assert_eq!((plan.lab.nodes.len(), plan.lab.links.len()), (lab.nodes, lab.links));
    }
}
