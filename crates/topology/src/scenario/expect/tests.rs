use super::*;
use crate::model::{Lab, Link, Node};
use crate::scenario::names::Names;

fn lab() -> Lab {
    let name = |text: &str| text.parse::<NodeName>().unwrap();
    let link = |a: &str, b: &str| Link::new(format!("{a}-{b}").parse().unwrap(), name(a), name(b));
    Lab {
        nodes: vec![
            Node::host(name("h1")),
            Node::host(name("h2")),
            Node::router(name("r1")),
            Node::switch(name("lan")),
        ],
        links: vec![link("h1", "lan"), link("lan", "r1"), link("r1", "h2")],
        ..Lab::default()
    }
}

fn parse(text: &str) -> Result<Expectation, Wrong> {
    let lab = lab();
    let mut names = Names::new(&lab);
    names.traffic.push("bulk".to_owned());
    Expectation::parse(text, &names)
}

fn check(text: &str) -> (Check, Duration) {
    let parsed = parse(text).unwrap_or_else(|wrong| panic!("{text}: {wrong:?}"));
    (parsed.check, parsed.deadline)
}

const MS: fn(u64) -> Duration = Duration::from_millis;

#[test]
fn pings_have_a_time_a_loss_or_no_answer() {
    let ping = |text| match check(text) {
        (Check::Ping(ping), deadline) => (ping.answers, ping.count, deadline),
        other => panic!("{other:?}"),
    };
    let some = |loss, within| Answers::Some { loss, within };
    assert_eq!(ping("ping h1 h2"), (some(0.0, None), 1, MS(5000)));
    assert_eq!(ping("ping h1 h2 within 20ms"), (some(0.0, Some(MS(20))), 1, MS(5000)));
    let expected = (some(0.01, Some(MS(9))), 100, MS(60_000));
    assert_eq!(ping("ping h1 10.0.0.1 loss <= 1% within 9ms by 1m"), expected);
    assert_eq!(ping("ping h1 h2 loss <=1% count 7"), (some(0.01, None), 7, MS(5000)));
    assert_eq!(ping("ping h1 h2 never"), (Answers::Never, 3, MS(0)));
    assert_eq!(ping("ping6 h1 h2 not by 2s"), (Answers::Never, 3, MS(2000)));
    assert!(matches!(check("ping6 h1 h2").0, Check::Ping(Ping { is_v6: true, .. })));
}

#[test]
fn transfers_have_a_rate_or_a_time() {
    let rate = |text: &str| text.parse::<Bitrate>().ok();
    let (Check::Throughput { traffic, bounds }, deadline) =
        check("throughput h1 h2 >= 90mbit <=100mbit for 2s streams 4 using bbr")
    else {
        panic!()
    };
    assert_eq!(bounds, Bounds { min: rate("90mbit"), max: rate("100mbit") });
    assert_eq!((traffic.amount, traffic.streams, deadline), (Amount::For(MS(2000)), 4, MS(0)));
    assert_eq!(traffic.congestion.as_deref(), Some("bbr"));
    let (Check::Transfer { traffic, within }, _) = check("transfer h1 h2 1MB within 3s") else {
        panic!()
    };
    assert_eq!((traffic.amount, within), (Amount::Bytes(1_000_000), MS(3000)));
    let (Check::Traffic { name, bounds, within }, _) = check("traffic bulk >= 1mbit within 8s")
    else {
        panic!()
    };
    assert_eq!((name.as_str(), bounds.min, within), ("bulk", rate("1mbit"), Some(MS(8000))));
    assert!(bounds.hold(rate("1mbit").unwrap()) && !bounds.hold(rate("999kbit").unwrap()));
}

#[test]
fn routes_and_commands_are_retried() {
    let name = |text: &str| text.parse::<NodeName>().unwrap();
    let (Check::Route { via, not_via, .. }, deadline) =
        check("route h1 to h2 via r1 h1 not via lan within 9s")
    else {
        panic!()
    };
    assert_eq!(
        (via, not_via, deadline),
        (vec![name("r1"), name("h1")], vec![name("lan")], MS(9000))
    );
    let (Check::Run { command, status, prints, .. }, deadline) =
        check(r#"run h1 "curl -s 'http://h2/'" status 7 prints "it works" by 2s"#)
    else {
        panic!()
    };
    assert_eq!((command.as_str(), status), ("curl -s 'http://h2/'", 7));
    assert_eq!((prints.as_deref(), deadline), (Some("it works"), MS(2000)));
}

#[test]
fn a_mistake_has_a_place_and_a_suggestion() {
    for (text, at, says, helps) in [
        ("pign h1 h2", "pign", "unknown expectation", "`ping`"),
        ("ping h1 h3", "h3", "unknown node: `h3`", "`h1`"),
        ("ping h1 lan", "lan", "`lan` is a switch", ""),
        ("ping h1", "", "needs the receiver", ""),
        ("ping h1 h2 withn 20ms", "withn", "unknown word", "`within`"),
        ("ping h1 h2 within 20", "20", "unit", "20ms"),
        ("ping h1 h2 within 20mss", "mss", "unknown unit", "20ms"),
        ("ping h1 h2 within 0", "0", "above 0", ""),
        ("ping h1 h2 never within 2s", "ping h1 h2 never within 2s", "excludes", ""),
        ("ping h1 h2 by 1s by 2s", "by", "twice", ""),
        ("ping h1 h2 loss <= 200%", "200%", "more than all", ""),
        ("throughput h1 h2", "", "needs a rate", ">= 90mbit"),
        ("throughput h1 h2 > 9mbit", ">", "unknown word", "`>=`"),
        ("throughput h1 h2 >= 9mbits", "mbits", "unknown unit", "9mbit"),
        ("throughput h1 h2 >=9mbits", "mbits", "unknown unit", "9mbit"),
        ("transfer h1 h2 1MB", "", "needs a time", "within 3s"),
        ("transfer h1 h2 0 within 1s", "0", "must not be 0", ""),
        ("traffic bulc", "bulc", "unknown traffic", "`bulk`"),
        ("route h1 to h2", "", "needs a node on the way", "via r2"),
        ("route h1 to h2 via r1 h3", "h3", "unknown node", "`h1`"),
        ("route h1 to h2 not r1", "r1", "needs `via`", ""),
        ("run h1", "", "needs a command", ""),
        ("run h1 true status 256", "256", "from 0 to 255", ""),
        ("run h1 \"true", "\"true", "quote", ""),
        ("", "", "needs what is expected", ""),
    ] {
        let wrong = parse(text).expect_err(text);
        let part = wrong.part.clone().unwrap_or_else(|| panic!("{text}: no place"));
        assert_eq!(&text[part], at, "{text}: {wrong:?}");
        assert!(wrong.message.contains(says), "{text}: {wrong:?}");
        assert!(wrong.help.unwrap_or_default().contains(helps), "{text}");
    }
}

proptest::proptest! {
    #[test]
    fn no_line_makes_it_panic(words in proptest::collection::vec("[a-z0-9<>=%\"'\\\\]{0,6}|ping|ping6|h1|h2|by|within|loss|route|to|via|not|run|throughput|for|>=|<=|é|1s|1%", 0..12)) {
        let text = words.join(" ");
        match parse(&text) {
            Ok(parsed) => assert_eq!(parse(&parsed.text).as_ref(), Ok(&parsed)),
            Err(wrong) => assert!(wrong.part.is_none_or(|part| text.get(part).is_some())),
        }
    }
}
