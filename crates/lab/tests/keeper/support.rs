//! Orders, and what came of them.

use adit_lab::keeper::{
    CommandOutput, CommandSpec, Done, InterfaceSpec, Keeper, NodeKey, NodeSpec, Order, Output,
    Private, ProgramKey, ProgramSpec, Report, RouteSpec,
};
use adit_service::error::Error;
use adit_topology::model::Restart;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How long anything may take on a loaded machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn start() -> Keeper {
    Keeper::start().unwrap()
}

/// Carries out orders, and returns what they made; panics if one fails.
pub(crate) fn done(keeper: &mut Keeper, orders: impl IntoIterator<Item = Order>) -> Vec<Done> {
    for order in orders {
        keeper.order(order).unwrap();
    }
    let mut made = Vec::new();
    let each = |report| match report {
        Report::Done(_, done) => made.push(done),
        Report::Failed(_, error) => panic!("{error}"),
        other => keep(other),
    };
    keeper.complete(each).unwrap();
    made
}

/// Carries out an order that fails.
pub(crate) fn fails(keeper: &mut Keeper, order: Order) -> Error {
    keeper.order(order).unwrap();
    let mut failure = None;
    let each = |report| match report {
        Report::Failed(_, error) => failure = Some(error),
        Report::Done(_, done) => panic!("{done:?}"),
        other => keep(other),
    };
    keeper.complete(each).unwrap();
    failure.unwrap()
}

thread_local! {
    /// What was reported while an order was carried out.
    static REPORTS: RefCell<VecDeque<Report>> = const { RefCell::new(VecDeque::new()) };
}

fn keep(report: Report) {
    REPORTS.with_borrow_mut(|reports| reports.push_back(report));
}

/// The next report that is not about an order.
pub(crate) fn event(keeper: &mut Keeper) -> Report {
    if let Some(report) = REPORTS.with_borrow_mut(VecDeque::pop_front) {
        return report;
    }
    let until = Instant::now() + PATIENCE;
    keeper.send().unwrap();
    loop {
        if let Some(report) = keeper.receive().unwrap() {
            return report;
        }
        let left = until.checked_duration_since(Instant::now()).expect("an event in time");
        let left = Timespec::try_from(left).unwrap();
        poll(&mut [PollFd::new(keeper, PollFlags::IN)], Some(&left)).unwrap();
    }
}

pub(crate) fn private() -> Private {
    Private { hosts: "127.0.0.1 localhost\n".into(), ..Private::default() }
}

pub(crate) fn node(key: u32) -> Order {
    let name = format!("h{key}");
    let spec =
        NodeSpec { key: NodeKey(key), name, private: Some(private()), ..NodeSpec::default() };
    Order::Node(Box::new(spec))
}

pub(crate) fn interface(name: &str, addresses: &[&str]) -> InterfaceSpec {
    let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
    InterfaceSpec { name: name.parse().unwrap(), mac: None, mtu: 1500, addresses }
}

pub(crate) fn veth(a: (u32, InterfaceSpec), b: (u32, InterfaceSpec)) -> Order {
    Order::Veth(Box::new([(NodeKey(a.0), a.1), (NodeKey(b.0), b.1)]))
}

/// Two nodes with a link.
pub(crate) fn pair(keeper: &mut Keeper) {
    let a = interface("eth0", &["10.0.0.1/24", "2001:db8::1/64"]);
    let b = interface("eth0", &["10.0.0.2/24", "2001:db8::2/64"]);
    done(keeper, [node(1), node(2), veth((1, a), (2, b))]);
}

pub(crate) fn route(to: &str, via: &str) -> RouteSpec {
    RouteSpec {
        to: to.parse().unwrap(),
        via: Some(via.parse().unwrap()),
        interface: Some("eth0".parse().unwrap()),
        metric: None,
    }
}

fn words(line: &str) -> Vec<String> {
    ["sh", "-c", line].map(str::to_owned).to_vec()
}

pub(crate) fn shot(node: u32, line: &str) -> CommandSpec {
    CommandSpec {
        node: NodeKey(node),
        words: words(line),
        environment: Vec::new(),
        directory: None,
        within: PATIENCE,
    }
}

pub(crate) fn run(keeper: &mut Keeper, spec: CommandSpec) -> CommandOutput {
    match done(keeper, [Order::Command(Box::new(spec))]).pop() {
        Some(Done::Output(output)) => output,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn command(keeper: &mut Keeper, node: u32, line: &str) -> CommandOutput {
    run(keeper, shot(node, line))
}

/// The output of a command that succeeds.
pub(crate) fn succeeds(keeper: &mut Keeper, node: u32, line: &str) -> String {
    let output = command(keeper, node, line);
    assert_eq!(output.status, Some(0), "{line}: {output:?}");
    output.stdout
}

pub(crate) fn program(key: u32, node: u32, line: &str) -> ProgramSpec {
    ProgramSpec {
        key: ProgramKey(key),
        node: NodeKey(node),
        words: words(line),
        environment: Vec::new(),
        directory: None,
        output: Output::Null,
        restart: Restart::Never,
        ready: Vec::new(),
        ready_within: PATIENCE,
    }
}

/// Starts a program: its number, and its output.
pub(crate) fn begin(keeper: &mut Keeper, spec: ProgramSpec) -> (u32, Option<std::os::fd::OwnedFd>) {
    match done(keeper, [Order::Run(Box::new(spec))]).pop() {
        Some(Done::Started { pid, output }) => (pid, output),
        other => panic!("{other:?}"),
    }
}
