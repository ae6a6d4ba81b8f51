use super::*;
use adit_service::config::problems::Problems;
use adit_service::config::source::Source;
use adit_topology::file;

fn plan(text: &str) -> Plan {
    let source = Source::new("lab.toml".to_owned(), text.to_owned());
    let problems = Problems::default();
    let read = file::of_source(&source, &[], 7, &problems);
    problems.check("the lab").unwrap();
    read.unwrap().0
}

const BASE: &str = "
[host.a]
run = ['sleep 1']
[host.b]
[router.r]
[switch.s]
[[link]]
ends = ['a', 's']
[[link]]
ends = ['r', 's']
[[link]]
ends = ['r', 'b']
";

fn between(old: &str, new: &str) -> Diff {
    Diff::between(Some(&plan(old)), &plan(new))
}

#[test]
fn nothing_differs_from_itself_and_all_from_nothing() {
    assert_eq!(between(BASE, BASE), Diff::default());
    let all = Diff::between(None, &plan(BASE));
    assert_eq!((all.new_nodes.len(), all.new_links.len()), (4, 3));
}

#[test]
fn only_what_changed_is_touched() {
    let faster = BASE.replace("['a', 's']", "['a', 's']\ndelay = '5ms'");
    let diff = between(BASE, &faster);
    assert_eq!(diff, Diff { links: vec![0], ..Diff::default() });

    // A plain cable of the kernel must be made again to be emulated.
    let emulated = format!("{BASE}delay = '5ms'\n");
    let diff = between(BASE, &emulated);
    assert_eq!((diff.gone_links.len(), &diff.new_links, &diff.links), (1, &vec![2], &vec![]));
    let touched: Vec<(usize, bool)> = diff.hosts.iter().map(|of| (of.station, of.routes)).collect();
    assert_eq!(touched, [(1, true), (2, true)], "those at its ends");

    let diff = between(BASE, &BASE.replace("sleep 1", "sleep 2"));
    assert!(diff.hosts.len() == 1 && diff.hosts[0].programs && !diff.hosts[0].routes);

    let diff = between(BASE, &BASE.replace("[switch.s]", "[switch.s]\nageing = '60s'"));
    assert_eq!(diff, Diff { switches: vec![3], ..Diff::default() });
}

#[test]
fn a_node_of_another_kind_is_made_again_with_its_links() {
    let diff = between(BASE, &BASE.replace("[host.b]", "[switch.b]"));
    assert_eq!(diff.gone_nodes.len(), 1);
    assert_eq!(diff.gone_links.len(), 1);
    let more = format!("{BASE}[host.c]\n[[link]]\nends = ['c', 's']\n");
    let diff = between(BASE, &more);
    assert_eq!((diff.new_nodes.len(), diff.new_links.len(), diff.gone_links.len()), (1, 1, 0));
    assert!(diff.hosts.iter().all(|of| of.private && !of.programs), "all know the new name");
}
