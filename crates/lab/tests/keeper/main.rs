//! The keeper, on real namespaces.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by a panic; not seen as a test without a harness of libtest"
)]

mod harness;

use adit_lab::keeper::{
    CommandOutput, CommandSpec, Done, InterfaceSpec, Keeper, NodeKey, NodeSpec, Order, Private,
    Report, RouteSpec,
};
use std::time::Duration;

fn main() {
    harness::run(&[
        ("a_veth_answers_at_once", a_veth_answers_at_once),
        ("a_tap_comes_with_its_queue", a_tap_comes_with_its_queue),
    ]);
}

/// Carries out orders, and returns what they made; panics if one fails.
fn done(keeper: &mut Keeper, orders: impl IntoIterator<Item = Order>) -> Vec<Done> {
    for order in orders {
        keeper.order(order).unwrap();
    }
    let mut made = Vec::new();
    keeper
        .complete(|report| match report {
            Report::Done(_, done) => made.push(done),
            Report::Failed(_, error) => panic!("{error}"),
            _ => {}
        })
        .unwrap();
    made
}

fn node(key: u32) -> Order {
    let private = Private { hosts: "127.0.0.1 localhost\n".into(), ..Private::default() };
    let name = format!("h{key}");
    Order::Node(Box::new(NodeSpec { key: NodeKey(key), name, private, ..NodeSpec::default() }))
}

fn interface(name: &str, addresses: &[&str]) -> InterfaceSpec {
    let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
    InterfaceSpec { name: name.parse().unwrap(), mac: None, mtu: 1500, addresses }
}

fn veth(a: (u32, InterfaceSpec), b: (u32, InterfaceSpec)) -> Order {
    Order::Veth(Box::new([(NodeKey(a.0), a.1), (NodeKey(b.0), b.1)]))
}

fn command(keeper: &mut Keeper, node: u32, line: &str) -> CommandOutput {
    let words = ["sh", "-c", line].map(str::to_owned).to_vec();
    let spec = CommandSpec {
        node: NodeKey(node),
        words,
        environment: Vec::new(),
        directory: None,
        within: Duration::from_secs(20),
    };
    match done(keeper, [Order::Command(Box::new(spec))]).pop() {
        Some(Done::Output(output)) => output,
        other => panic!("{other:?}"),
    }
}

fn succeeds(keeper: &mut Keeper, node: u32, line: &str) -> String {
    let output = command(keeper, node, line);
    assert_eq!(output.status, Some(0), "{line}: {output:?}");
    output.stdout
}

fn a_veth_answers_at_once() {
    let mut keeper = Keeper::start().unwrap();
    let a = interface("eth0", &["10.0.0.1/24", "2001:db8::1/64"]);
    let b = interface("eth0", &["10.0.0.2/24", "2001:db8::2/64"]);
    let far = RouteSpec {
        to: "192.0.2.0/24".parse().unwrap(),
        via: Some("10.0.0.2".parse().unwrap()),
        interface: Some("eth0".parse().unwrap()),
        metric: None,
    };
    let orders = [node(1), node(2), veth((1, a), (2, b)), Order::Routes(NodeKey(1), vec![far])];
    done(&mut keeper, orders);
    succeeds(&mut keeper, 1, "ping -c1 -W1 10.0.0.2 && ping -c1 -W1 2001:db8::2");
    assert!(succeeds(&mut keeper, 1, "ip route").contains("192.0.2.0/24 via 10.0.0.2"));
    assert_eq!(
        succeeds(&mut keeper, 2, "hostname; cat /etc/hosts; ls /run"),
        "h2\n127.0.0.1 localhost\n"
    );
    let up = |up| Order::Up(NodeKey(1), "eth0".parse().unwrap(), up);
    done(&mut keeper, [up(false)]);
    assert_eq!(command(&mut keeper, 1, "ping -c1 -W1 10.0.0.2").status, Some(2));
    done(&mut keeper, [up(true)]);
    assert!(succeeds(&mut keeper, 1, "ip route").contains("192.0.2.0/24 via 10.0.0.2"));
    succeeds(&mut keeper, 1, "ping -c1 -W1 10.0.0.2 && ping -c1 -W1 2001:db8::2");
}

fn a_tap_comes_with_its_queue() {
    let mut keeper = Keeper::start().unwrap();
    let tap = Order::Tap(NodeKey(7), interface("eth0", &["10.0.0.1/24"]));
    let made = done(&mut keeper, [node(7), tap]);
    let [Done::Plainly, Done::Tap { .. }] = &made[..] else { panic!("{made:?}") };
}
