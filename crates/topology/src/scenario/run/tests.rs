use super::run;
use crate::model::{Lab, Link, LinkName, Node, NodeName};
use crate::scenario::expect::{Expectation, Ping};
use crate::scenario::junit;
use crate::scenario::names::Names;
use crate::scenario::report::Outcome;
use crate::scenario::world::{Echoes, Moved, Ran, World};
use crate::scenario::{Amount, Event, Part, Scenario, Setting, Start, Step, Target, Traffic};
use adit_service::error::{Error, Result};
use std::path::PathBuf;
use std::time::Duration;

const MS: fn(u64) -> Duration = Duration::from_millis;

/// A world in which `b` answers after 20 ms from 3 s on, and TCP carries 8 Mbit/s.
#[derive(Default)]
struct Fake {
    now: Duration,
    log: Vec<String>,
    started: Vec<Traffic>,
    is_capturing: bool,
}

impl World for Fake {
    fn now(&self) -> Duration {
        self.now
    }

    fn wait_until(&mut self, moment: Duration) -> Result<()> {
        self.now = self.now.max(moment);
        Ok(())
    }

    fn fail(&mut self, part: &Part) -> Result<()> {
        self.log.push(format!("fail {part}"));
        Ok(())
    }

    fn heal(&mut self, part: &Part) -> Result<()> {
        Err(Error::usage(format!("{part} is gone")))
    }

    fn set(&mut self, link: &LinkName, _: &Setting) -> Result<()> {
        self.log.push(format!("set {link}"));
        Ok(())
    }

    fn start(&mut self, traffic: &Traffic) -> Result<usize> {
        self.started.push(traffic.clone());
        Ok(self.started.len() - 1)
    }

    fn traffic(&mut self, number: usize, until: Duration) -> Result<Moved> {
        let time = match self.started[number].amount {
            Amount::For(time) => time,
            Amount::Bytes(bytes) => Duration::from_micros(bytes),
        };
        let time = time.min(until.saturating_sub(self.now));
        self.now += time;
        let bytes = u64::try_from(time.as_micros()).unwrap();
        Ok(Moved { bytes, time, is_complete: true })
    }

    fn ping(&mut self, ping: &Ping) -> Result<Echoes> {
        self.now += MS(20);
        let times = if self.now >= MS(3000) { vec![MS(20)] } else { Vec::new() };
        Ok(Echoes { sent: ping.count, times })
    }

    fn route(&mut self, from: &NodeName, to: &Target) -> Result<Vec<NodeName>> {
        let Target::Node(to) = to else { return Ok(vec![from.clone()]) };
        Ok(vec![from.clone(), "r".parse().unwrap(), to.clone()])
    }

    fn run(&mut self, _: &NodeName, command: &str, _: Duration) -> Result<Ran> {
        let status = Some(i32::from(command != "true"));
        Ok(Ran { status, output: format!("\u{1b}{command} <ran>\n") })
    }

    fn begin_capture(&mut self, _: &[NodeName], _: &str) -> Result<bool> {
        self.is_capturing = true;
        Ok(true)
    }

    fn end_capture(&mut self, keep: bool) -> Result<Vec<PathBuf>> {
        self.is_capturing = false;
        Ok(if keep { vec!["failed.pcapng".into()] } else { Vec::new() })
    }
}

fn name(text: &str) -> NodeName {
    text.parse().unwrap()
}

fn step(start: Start, events: Vec<Event>, expect: &[&str]) -> Step {
    let lab = Lab {
        nodes: vec![Node::host(name("a")), Node::host(name("b")), Node::router(name("r"))],
        links: vec![Link::new("a-r".parse().unwrap(), name("a"), name("r"))],
        ..Lab::default()
    };
    let mut names = Names::new(&lab);
    names.traffic.push("bulk".to_owned());
    let parse = |text: &&str| Expectation::parse(text, &names).unwrap();
    Step { name: None, start, events, expect: expect.iter().map(parse).collect() }
}

#[test]
fn expectations_are_tried_until_they_hold_or_their_deadline_passes() {
    let scenario = Scenario {
        steps: vec![
            step(Start::At(MS(1000)), vec![], &["ping a b never", "ping a b within 20ms"]),
            step(Start::At(MS(500)), vec![], &["ping a b never", "ping a b within 10ms by 1s"]),
        ],
    };
    let mut world = Fake::default();
    let report = run(&scenario, &mut world, |_| ());
    let entries: Vec<_> = report.entries().map(|(_, entry)| entry).collect();
    let outcomes: Vec<_> = entries.iter().map(|entry| entry.outcome).collect();
    use Outcome::{Failed, Passed};
    assert_eq!(outcomes, [Passed, Passed, Failed, Failed]);
    assert!(entries[1].tries > 10 && entries[1].captures.is_empty(), "{:?}", entries[1]);
    assert_eq!((entries[0].at, entries[0].tries), (1.0, 1));
    assert!(entries[2].at >= 3.0, "a moment that has passed is not waited for");
    assert_eq!((entries[2].tries, entries[2].captures.len()), (1, 1));
    assert_eq!((report.passed, report.failures(), world.is_capturing), (false, 2, false));
}

#[test]
fn transfers_routes_and_commands_are_judged_by_what_was_measured() {
    let bulk = Traffic {
        name: Some("bulk".to_owned()),
        ..Traffic::tcp(name("a"), name("b"), Amount::Bytes(1_000_000))
    };
    let other = Traffic { name: None, ..bulk.clone() };
    let events =
        vec![Event::Traffic(bulk), Event::Traffic(other), Event::Fail(Part::Node(name("r")))];
    let expect = [
        ("throughput a b >= 8mbit <= 8mbit for 1s", true),
        ("throughput a b >= 9mbit for 1s", false),
        ("transfer a b 2MB within 2s", true),
        ("traffic bulk >= 8mbit", true),
        ("traffic bulk <= 1mbit", false),
        ("route a to b via r", true),
        ("route a to b not via r", false),
        ("route a to b via r via a", false),
        ("run a true", true),
        ("run a false status 1", true),
        ("run a true prints <ran>", true),
        ("run a true prints other", false),
    ];
    let texts: Vec<&str> = expect.iter().map(|(text, _)| *text).collect();
    let scenario = Scenario { steps: vec![step(Start::default(), events, &texts)] };
    let mut seen = 0;
    let report = run(&scenario, &mut Fake::default(), |_| seen += 1);
    for (text, passes) in expect {
        let (_, entry) = report.entries().find(|(_, entry)| entry.text == text).unwrap();
        assert_eq!(entry.outcome == Outcome::Passed, passes, "{entry:?}");
    }
    let (number, last) = report.entries().last().unwrap();
    assert_eq!((number, last.text.as_str()), (2, "traffic a b"), "what nobody asked about");
    assert_eq!(report.entries().count(), seen);
}

#[test]
fn what_cannot_be_done_is_an_error_and_the_rest_goes_on() {
    let heal = vec![
        Event::Heal(Part::Node(name("r"))),
        Event::Run { node: name("a"), command: "x".to_owned() },
    ];
    let scenario = Scenario { steps: vec![step(Start::default(), heal, &["run a true"])] };
    let mut report = run(&scenario, &mut Fake::default(), |_| ());
    let outcomes: Vec<_> = report.entries().map(|(_, entry)| entry.outcome).collect();
    assert_eq!(outcomes, [Outcome::Error, Outcome::Failed, Outcome::Passed]);
    report.lab = "a<b&\"c\"".to_owned();
    let xml = junit::xml(&[report]);
    let expected = r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuites>
  <testsuite name="a&lt;b&amp;&quot;c&quot;" tests="3" failures="1" errors="1" skipped="0" time="0.000000">
    <properties><property name="seed" value="0"/></properties>
    <testcase classname="a&lt;b&amp;&quot;c&quot;.step 1" name="heal r" time="0.000000"><error message="r is gone"/></testcase>
"#;
    assert!(xml.starts_with(expected), "{xml}");
    assert!(xml.contains("status 0: \\u{1b}true &lt;ran&gt;"), "{xml}");
    assert!(!xml.contains('\u{1b}'));
}
