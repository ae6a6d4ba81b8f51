//! The steps of a file: `[[step]]`.

use super::expect::Expectation;
use super::names::Names;
use super::part::Part;
use super::step::{Event, Scenario, Setting, Start, Step};
use super::traffic::{Amount, Protocol, Traffic};
use crate::model::{Lab, LinkName, NodeName};
use adit_device::rights::absolute;
use adit_service::config::entry::{Entry, Kind};
use adit_service::config::table::Table;
use adit_service::config::value::{Value, Wrong, duration, integer, one_of, rate, size, text};
use adit_service::netem::profile::{self, Profiles};
use serde_json::{Map, Value as Json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Reads the tables `[[step]]` of the files about `lab`, which has all its nodes and links.
///
/// A plain link that a step sets becomes an emulated one. Mistakes go to the problems of the table.
pub fn read<'t, 'a: 't>(
    tables: impl IntoIterator<Item = &'t mut Table<'a>>,
    lab: &mut Lab,
) -> Scenario {
    let (scenario, set) = {
        let mut reader = Reader {
            lab,
            names: Names::new(lab),
            failed: BTreeSet::new(),
            profiles: BTreeMap::new(),
        };
        let steps = tables.into_iter().flat_map(|table| table.tables("step"));
        let steps = steps.map(|step| reader.step(step)).collect();
        (Scenario { steps }, reader.profiles)
    };
    for link in lab.links.iter_mut().filter(|link| set.contains_key(&link.name)) {
        link.netem.get_or_insert_default();
    }
    scenario
}

/// What the steps before have done.
struct Reader<'l> {
    lab: &'l Lab,
    names: Names<'l>,
    failed: BTreeSet<Part>,
    profiles: BTreeMap<LinkName, Profiles>,
}

impl Reader<'_> {
    fn step(&mut self, mut table: Table<'_>) -> Step {
        let name = table.get("name", text);
        let at = table.get("at", duration);
        let after = table.get("after", duration);
        if at.is_some() && after.is_some() {
            let help = "`at` counts from the start of the scenario, `after` from the step before";
            table.wrong("after", "`at` and `after` exclude each other", Some(help.to_owned()));
        }
        let start = at.map_or(Start::After(after.unwrap_or_default()), Start::At);
        let mut events = Vec::new();
        // What heals may fail again in the same step, but not the reverse.
        events.extend(self.heal(&mut table).into_iter().map(Event::Heal));
        events.extend(self.fail(&mut table).into_iter().map(Event::Fail));
        for set in table.tables("set") {
            events.extend(self.set(set));
        }
        for run in table.tables("run") {
            events.extend(self.run(run));
        }
        for traffic in table.tables("traffic") {
            events.extend(self.traffic(traffic).map(Event::Traffic));
        }
        let names = &self.names;
        let expect = table.list("expect", |value| Expectation::parse(&text(value)?, names));
        const DOES: [&str; 7] = ["fail", "heal", "partition", "set", "run", "traffic", "expect"];
        if !DOES.iter().any(|key| table.contains(key)) {
            let help = format!("add one of: {}", DOES.join(", "));
            table.wrong("step", "the step does nothing", Some(help));
        }
        table.finish();
        Step { name, start, events, expect }
    }

    fn heal(&mut self, table: &mut Table<'_>) -> Vec<Part> {
        let (names, failed) = (&self.names, &self.failed);
        let healed = table.list("heal", |value| match text(value)?.as_str() {
            "all" => Ok(failed.iter().cloned().collect()),
            name => {
                let part = names.part(name)?;
                if failed.contains(&part) {
                    return Ok(vec![part]);
                }
                Err(Wrong::new(format_args!("names `{name}`, which has not failed")))
            }
        });
        let healed: Vec<Part> = healed.into_iter().flatten().collect();
        healed.iter().for_each(|part| _ = self.failed.remove(part));
        healed
    }

    fn fail(&mut self, table: &mut Table<'_>) -> Vec<Part> {
        let names = &self.names;
        let mut parts = table.list("fail", |value| names.part(&text(value)?));
        let cut = table.list("partition", |value| names.node(&text(value)?));
        if table.contains("partition") {
            let links = self.links_out_of(&cut);
            if links.is_empty() && !cut.is_empty() {
                table.wrong("partition", "no link leaves these nodes", None);
            }
            parts.extend(links);
        }
        self.failed.extend(parts.iter().cloned());
        parts
    }

    /// The links between these nodes and the others.
    fn links_out_of(&self, nodes: &[NodeName]) -> Vec<Part> {
        let is_cut = |ends: [&NodeName; 2]| {
            let [a, b] = ends.map(|end| nodes.contains(end));
            a != b
        };
        let links = self.lab.links.iter();
        let cut = links.filter(|link| is_cut([&link.ends[0].node, &link.ends[1].node]));
        cut.map(|link| Part::Link(link.name.clone())).collect()
    }

    fn set(&mut self, mut table: Table<'_>) -> Option<Event> {
        let names = &self.names;
        let link = table.required("link", |value| names.link(&text(value)?));
        let known = link.as_ref().map(|link| self.profiles_of(link)).unwrap_or_default();
        let profiles = profile::of_table(&mut table, known);
        let keys = keys(&table);
        table.finish();
        let link = link?;
        self.profiles.insert(link.clone(), profiles.clone());
        Some(Event::Set { link, setting: Box::new(Setting { profiles, keys }) })
    }

    /// What a link is like after the steps so far.
    fn profiles_of(&self, link: &LinkName) -> Profiles {
        let wanted = || self.lab.link(link.as_str())?.netem.clone();
        self.profiles.get(link).cloned().or_else(wanted).unwrap_or_default()
    }

    fn run(&self, mut table: Table<'_>) -> Option<Event> {
        let node = table.required("node", |value| self.names.host(&text(value)?));
        let command = table.required("command", text);
        table.finish();
        Some(Event::Run { node: node?, command: command? })
    }

    fn traffic(&mut self, mut table: Table<'_>) -> Option<Traffic> {
        let names = &self.names;
        let name = table.get("name", |value| {
            let name = text(value)?;
            let is_taken = names.traffic.contains(&name);
            if is_taken { Err(Wrong::new("is the name of other traffic")) } else { Ok(name) }
        });
        let mut station = |key| table.required(key, |value| names.host(&text(value)?));
        let (from, to) = (station("from"), station("to"));
        let protocol = table.get("protocol", one_of(&PROTOCOLS)).unwrap_or_default();
        let bytes = table.get("bytes", positive);
        let time = table.get("for", |value| match duration(value)? {
            Duration::ZERO => Err(Wrong::new("must not be 0")),
            time => Ok(time),
        });
        let amount = match (bytes, time) {
            (Some(bytes), None) => Some(Amount::Bytes(bytes)),
            (None, Some(time)) => Some(Amount::For(time)),
            (Some(_), Some(_)) => {
                table.wrong("for", "`bytes` and `for` exclude each other", None);
                None
            }
            (None, None) => {
                if !table.contains("bytes") && !table.contains("for") {
                    let help = "add `bytes = \"1MB\"` or `for = \"10s\"`".to_owned();
                    table.wrong("traffic", "the traffic never ends", Some(help));
                }
                None
            }
        };
        let rate = table.get("rate", rate);
        let streams = table.get("streams", integer(1..=Traffic::STREAMS_MAX)).unwrap_or(1);
        let congestion = table.get("congestion", text);
        if protocol == Protocol::Udp {
            if rate.is_none() && !table.contains("rate") {
                let help = "add a rate, for example `rate = \"5mbit\"`".to_owned();
                table.wrong("protocol", "UDP needs a rate", Some(help));
            }
            if congestion.is_some() {
                table.wrong("congestion", "`congestion` is for TCP", None);
            }
        }
        table.finish();
        self.names.traffic.extend(name.clone());
        let (from, to, amount) = (from?, to?, amount?);
        Some(Traffic { name, from, to, protocol, amount, rate, streams, congestion })
    }
}

/// The keys of a link in a table, as JSON. Files are named from the root.
fn keys(table: &Table<'_>) -> Map<String, Json> {
    object(table.entries(), true)
}

fn object(entries: &[Entry<'_>], is_top: bool) -> Map<String, Json> {
    const FILES: [&str; 4] = ["trace", "steps", "delay-table", "loss-pattern"];
    let one = |entry: &Entry<'_>| {
        let value = match (&entry.value.kind, entry.value.plain()) {
            (Kind::Table(entries), _) => Json::Object(object(entries, false)),
            (Kind::Boolean(is), _) => (*is).into(),
            (_, Some(name)) if FILES.contains(&&*entry.key) && name != "none" => {
                let path = entry.value.source().beside(&name).ok();
                let path = path.and_then(|path| absolute(&path).ok());
                path.and_then(|path| path.to_str().map(Json::from)).unwrap_or(name.into())
            }
            (_, plain) => plain.map_or(Json::Null, Json::from),
        };
        (entry.key.clone().into_owned(), value)
    };
    let wanted = entries.iter().filter(|entry| !(is_top && entry.key == "link"));
    wanted.map(one).collect()
}

const PROTOCOLS: [(&str, Protocol); 2] = [("tcp", Protocol::Tcp), ("udp", Protocol::Udp)];

fn positive(value: &Value<'_>) -> Result<u64, Wrong> {
    match size(value)? {
        0 => Err(Wrong::new("must not be 0")),
        size => Ok(size),
    }
}

#[cfg(test)]
mod tests {
    use super::read;
    use crate::model::{Lab, Link, Node, NodeName};
    use crate::scenario::{Amount, Event, Part, Scenario, Start};
    use adit_service::config::problems::Problems;
    use adit_service::config::read::toml;
    use adit_service::config::source::Source;
    use std::time::Duration;

    fn lab() -> Lab {
        let name = |text: &str| text.parse::<NodeName>().unwrap();
        let link =
            |a: &str, b: &str| Link::new(format!("{a}-{b}").parse().unwrap(), name(a), name(b));
        Lab {
            nodes: vec![Node::host(name("a")), Node::host(name("b")), Node::router(name("r"))],
            links: vec![link("a", "r"), link("r", "b"), link("a", "b")],
            ..Lab::default()
        }
    }

    fn of(text: &str) -> (Scenario, Lab, Vec<String>) {
        let (source, problems, mut lab) =
            (Source::new("lab.toml", text), Problems::default(), lab());
        let mut table = toml(&source, &problems);
        let scenario = read([&mut table], &mut lab);
        table.finish();
        let shown = |problem: adit_service::config::problem::Problem| {
            format!("{}: {} / {}", problem.line, problem.message, problem.help.unwrap_or_default())
        };
        (scenario, lab, problems.into_list().into_iter().map(shown).collect())
    }

    #[test]
    fn steps_are_read() {
        let (scenario, lab, problems) = of(r#"
            [[step]]
            name = "all is well"
            expect = ["ping a b", "route a to b via r"]
            [[step]]
            at = "2s"
            fail = "a-b"
            set = { link = "a-r", delay = "80ms" }
            traffic = { name = "bulk", from = "a", to = "b", bytes = "1MB" }
            [[step]]
            after = "500ms"
            partition = ["a"]
            set = { link = "a-r", loss = "1%" }
            [[step]]
            heal = "all"
            run = { node = "a", command = "true" }
            expect = "traffic bulk within 9s"
        "#);
        assert_eq!(problems, [""; 0]);
        let [first, second, third, last] = &scenario.steps[..] else { panic!("{scenario:?}") };
        assert_eq!((first.name.as_deref(), first.expect.len()), (Some("all is well"), 2));
        assert_eq!(second.start, Start::At(Duration::from_secs(2)));
        assert!(
            matches!(&second.events[0], Event::Fail(Part::Link(link)) if link.as_str() == "a-b")
        );
        assert!(
            matches!(&second.events[2], Event::Traffic(traffic) if traffic.amount == Amount::Bytes(1_000_000))
        );
        assert_eq!(third.start, Start::After(Duration::from_millis(500)));
        assert_eq!(third.events.len(), 3, "two links leave `a`");
        // A change adds to the one before, and what is set can be set.
        let Some(Event::Set { setting, .. }) = third.events.last() else { panic!("{third:?}") };
        let profiles = &setting.profiles;
        assert_eq!(setting.keys, *serde_json::json!({ "loss": "1%" }).as_object().unwrap());
        assert_eq!(profiles.a_to_b.delay.base, Duration::from_millis(80));
        assert_ne!(profiles.a_to_b.loss, Default::default());
        assert!(lab.link("a-r").unwrap().netem.is_some());
        assert!(lab.link("r-b").unwrap().netem.is_none());
        let healed = last.events.iter().filter(|event| matches!(event, Event::Heal(_))).count();
        assert_eq!(healed, 2);
    }

    #[test]
    fn mistakes_have_places() {
        let (_, _, problems) = of(r#"
            [[step]]
            at = "2s"
            after = "1s"
            fail = "a-c"
            [[step]]
            heal = "a-b"
            [[step]]
            name = "nothing"
            [[step]]
            traffic = { from = "a", to = "b", protocol = "udp" }
            expect = ["ping a b", "pign a b", "ping a bb"]
            colour = 1
        "#);
        let expected = [
            "4: `at` and `after` exclude",
            "5: `fail` names an unknown link or node: `a-c` / did you mean `a-",
            "7: `heal` names `a-b`, which has not failed",
            "8: the step does nothing / add one of: fail",
            "11: the traffic never ends",
            "12: `expect` has an unknown expectation: `pign` / did you mean `ping`?",
            "12: `expect` names an unknown node: `bb` / did you mean `b`?",
            "13: unknown key `colour` in [step]",
        ];
        for expected in expected {
            assert!(
                problems.iter().any(|problem| problem.starts_with(expected)),
                "{expected}\n{problems:#?}"
            );
        }
    }
}
