use super::{check, complete};
use crate::model::{Host, Kind, Lab, Link, Node, NodeName, Routing};
use crate::plan::Plan;

/// Two routers with a link.
fn pair(routing: Routing) -> Plan {
    let names: [NodeName; 2] = ["a", "b"].map(|name| name.parse().unwrap());
    let node = |name: &NodeName| {
        let host = Host { forward: true, routing, ..Host::default() };
        Node { name: name.clone(), kind: Kind::Host(Box::new(host)) }
    };
    let [a, b] = names.clone();
    let links = vec![Link::new("a-b".parse().unwrap(), a, b)];
    let lab = Lab { nodes: names.iter().map(node).collect(), links, ..Lab::default() };
    Plan::with_seed(lab, 1).unwrap()
}

fn host(plan: &Plan) -> &Host {
    plan.lab.nodes[0].as_host().unwrap()
}

#[test]
fn a_daemon_is_configured_once_and_files_of_the_user_stay() {
    let mut plan = pair(Routing::BirdBgp);
    complete(&mut plan);
    let config = host(&plan).files[0].text.clone();
    let (ours, theirs) = ("4200000001", "4200000002");
    assert!(
        config.contains(&format!(" as {ours};")) && config.contains(&format!(" as {theirs};")),
        "{config}"
    );
    assert_eq!(config.matches("protocol bgp").count(), 2, "a session for each family: {config}");
    let once = host(&plan).clone();
    complete(&mut plan);
    assert_eq!(*host(&plan), once);
    let Kind::Host(host) = &mut plan.lab.nodes[0].kind else { unreachable!("it is a router") };
    host.files[0].text = "mine".to_owned();
    complete(&mut plan);
    assert_eq!(plan.lab.nodes[0].as_host().unwrap().files[0].text, "mine");
}

#[test]
fn frr_needs_more_users_than_one() {
    let plan = pair(Routing::FrrOspf);
    assert!(check(&plan, true).is_ok());
    let error = check(&plan, false).unwrap_err();
    assert_eq!(error.report.code, "ADIT-E0852");
    assert!(error.report.hint.unwrap().contains("newuidmap"));
    assert!(check(&pair(Routing::BirdOspf), false).is_ok());
}
