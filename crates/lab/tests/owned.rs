//! Labs of tests: in this process, whatever threads it has.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use adit_lab::Lab;
use adit_topology::model::{self, Link, Node};
use std::net::UdpSocket;
use std::time::Duration;

/// A lab, which `./check` must be able to make.
fn up<'a>(source: impl Into<adit_lab::Source<'a>>) -> Lab {
    Lab::up(source).unwrap().expect("run the tests under `unshare -Urnm --`")
}

#[test]
fn code_and_commands_run_in_hosts() {
    let lab = up("
        [host.a]
        [router.r]
        [host.b]
        [[link]]
        ends = ['a', 'r']
        [[link]]
        ends = ['r', 'b']
        delay = '10ms'
    ");
    let address = lab.address("b").unwrap();
    let server = lab.in_node("b", || UdpSocket::bind((address, 4000))).unwrap().unwrap();
    let client = lab.in_node("a", || UdpSocket::bind("0.0.0.0:0")).unwrap().unwrap();
    server.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    client.send_to(b"x", (address, 4000)).unwrap();
    let (_, from) = server.recv_from(&mut [0; 8]).unwrap();
    assert_eq!(from.ip(), lab.address("a").unwrap());

    let output = lab.exec("a", &["sh", "-c", "getent hosts b; exit 3"]).unwrap();
    assert_eq!(output.status, Some(3));
    assert!(output.stdout.contains('b'), "{}", output.stdout);
    assert!(lab.exec("c", &["true"]).is_err());
    assert!(lab.ping("a", "b").unwrap().unwrap() >= Duration::from_millis(20));
    lab.fail("r").unwrap();
    assert_eq!(lab.ping("a", "b").unwrap(), None);
    let pid = lab.show().unwrap().keeper;
    drop(lab);
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
}

#[test]
fn networks_are_built_and_run_side_by_side() {
    let build = |count: usize| {
        let mut lab = model::Lab::default();
        lab.nodes.push(Node::switch("s".parse().unwrap()));
        for number in 0..count {
            let name: model::NodeName = format!("h{number}").parse().unwrap();
            lab.nodes.push(Node::host(name.clone()));
            let link = format!("l{number}").parse().unwrap();
            lab.links.push(Link::new(link, name, "s".parse().unwrap()));
        }
        lab
    };
    std::thread::scope(|scope| {
        for count in [2, 3] {
            scope.spawn(move || {
                let lab = up(build(count));
                let far = format!("h{}", count - 1);
                assert!(lab.ping("h0", &far).unwrap().is_some());
                assert_eq!(lab.show().unwrap().nodes.len(), count + 1);
            });
        }
    });
}

#[test]
fn mistakes_are_reported() {
    let error = Lab::up("[host.a]\n[[link]]\nends = ['a', 'b']\n").unwrap_err();
    assert!(error.report.problems[0].message.contains("no node is called 'b'"), "{error:?}");
}
