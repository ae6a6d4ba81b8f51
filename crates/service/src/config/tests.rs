use crate::config::problem::Problem;
use crate::config::problems::Problems;
use crate::config::read;
use crate::config::source::Source;
use crate::config::table::Table;
use crate::config::value;
use std::time::Duration;

/// The mistakes that `read` finds in `text`.
fn mistakes(text: &str, read: impl Fn(&mut Table<'_>)) -> Vec<Problem> {
    let source = Source::new("x.toml", text);
    let problems = Problems::default();
    let mut table = read::toml(&source, &problems);
    read(&mut table);
    table.finish();
    problems.into_list()
}

fn places(problems: &[Problem]) -> Vec<(usize, usize)> {
    problems.iter().map(|problem| (problem.line, problem.column)).collect()
}

#[test]
fn all_errors_have_their_places() {
    let text = "nmae = 'x'\n\n[[port]]\nvlan = 4095\ndelay = 20\n[[port]]\nvlan = 'x'\nvaln = 1\n";
    let problems = mistakes(text, |table| {
        table.get("name", value::text);
        for mut port in table.tables("port") {
            port.get("vlan", value::integer(1..=4094u16));
            port.get("delay", value::duration);
            port.finish();
        }
    });
    assert_eq!(places(&problems), [(1, 1), (4, 8), (5, 9), (7, 8), (8, 1)]);
    let helps: Vec<_> = problems.iter().map(|p| p.help.as_deref().unwrap_or("")).collect();
    assert_eq!(helps[0], "did you mean `name`?");
    assert_eq!(helps[2], "did you mean \"20ms\"?");
    assert_eq!(helps[4], "did you mean `vlan`?");
    assert!(problems[1].message.contains("from 1 to 4094, not 4095"), "{}", problems[1]);
}

#[test]
fn a_mistake_is_shown_with_its_line_and_a_caret() {
    let problems = mistakes("# büro\n\tpvdi = 10\n", |table| {
        table.get("pvid", value::integer(1..=4094u16));
    });
    assert_eq!(
        problems[0].to_string(),
        "x.toml:2:2: unknown key `pvdi`\n 2 |  pvdi = 10\n   |  ^^^^ did you mean `pvid`?"
    );
}

#[test]
fn a_long_line_is_shown_around_its_mistake() {
    let text = format!("list = [{}\"x\"]", "1, ".repeat(1000));
    let problems = mistakes(&text, |table| {
        table.list("list", value::integer(0..=9u8));
    });
    let shown = problems[0].to_string();
    assert!(shown.lines().all(|line| line.chars().count() < 200), "{shown}");
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines[1].find("\"x\""), lines[2].find('^'));
}

#[test]
fn a_toml_syntax_error_has_a_place() {
    for (text, place) in [
        ("a = 1\na = 2\n", (2, 1)),
        ("a = \n", (1, 4)),
        ("[a\nb = 1\n", (1, 3)),
        ("a = 'x", (1, 7)),
        ("a = 1\r\nb = \"\\q\"\r\n", (2, 7)),
    ] {
        let problems = mistakes(text, |table| {
            let _ = table.has("a") | table.has("b");
        });
        let (line, column) = places(&problems)[0];
        assert_eq!(
            (line, column.abs_diff(place.1) <= 1),
            (place.0, true),
            "{text:?}: {problems:?}"
        );
    }
}

#[test]
fn a_byte_order_mark_and_windows_line_ends_do_no_harm() {
    let text = "\u{feff}mtu = 1\r\nnmae = 'x'\r\n";
    let problems = mistakes(text, |table| {
        assert_eq!(table.get("mtu", value::integer(0..=9u8)), Some(1));
        table.get("name", value::text);
    });
    assert_eq!(places(&problems), [(2, 1)]);
    assert_eq!(problems[0].excerpt, "nmae = 'x'");
    let problems = mistakes("\u{feff}mut = 1", |table| {
        table.has("mtu");
    });
    assert_eq!(places(&problems), [(1, 1)]);
}

#[test]
fn a_missing_key_is_not_reported_beside_its_mistyped_one() {
    let read = |table: &mut Table<'_>| {
        for mut port in table.tables("port") {
            port.required("port", value::text);
            port.finish();
        }
    };
    let problems = mistakes("[[port]]\nprot = 'tap:a'\n", read);
    assert_eq!(problems.len(), 1, "{problems:?}");
    let problems = mistakes("[[port]]\n", read);
    assert_eq!(problems[0].message, "`port` is missing in [port]");
}

#[test]
fn dashes_and_underscores_are_alike() {
    let read = |table: &mut Table<'_>| {
        assert_eq!(table.get("fdb-limit", value::integer(0..=9u8)), Some(1));
    };
    assert_eq!(mistakes("fdb_limit = 1", read), []);
    let problems = mistakes("fdb_limit = 1\nfdb-limit = 2", read);
    assert_eq!(
        (places(&problems), problems[0].message.as_str()),
        (vec![(2, 1)], "`fdb-limit` is given twice")
    );
}

#[test]
fn no_file_has_more_mistakes_than_are_read() {
    let text: String = (0..5000).map(|n| format!("k{n} = 1\n")).collect();
    let source = Source::new("x.toml", text);
    let problems = Problems::default();
    read::toml(&source, &problems).finish();
    let error = problems.check("x.toml").unwrap_err();
    assert_eq!(error.report.problems.len(), 100);
    assert!(error.report.message.contains("more than 100"), "{}", error.report.message);
}

#[test]
fn nothing_of_a_mebibyte_takes_long_or_panics() {
    let fill = |part: &str| part.repeat((1 << 20) / part.len());
    let keys: String = (0..100_000).map(|n| format!("k{n}=1\n")).collect();
    for text in
        [keys, fill("["), fill("a.b=1\n"), fill("[[x]]\n"), fill("\0"), fill("'\n"), fill("a={")]
    {
        let source = Source::new("x.toml", text);
        let problems = Problems::default();
        let mut table = read::toml(&source, &problems);
        table.tables("x").into_iter().for_each(Table::finish);
        table.finish();
        problems.into_list();
    }
}

#[test]
fn a_file_that_is_too_large_or_no_text_is_refused() {
    let path = std::env::temp_dir().join(format!("adit-config-{}", std::process::id()));
    std::fs::write(&path, vec![b'#'; 10 << 20]).unwrap();
    assert!(Source::read(&path).unwrap_err().report.problems[0].message.contains("too large"));
    std::fs::write(&path, b"a = 1\nb = \xff\n").unwrap();
    let error = Source::read(&path).unwrap_err();
    assert_eq!((error.report.problems[0].line, error.report.problems[0].column), (2, 5));
    std::fs::remove_file(path).unwrap();
}

#[test]
fn words_of_the_command_line_are_read_alike() {
    let source = Source::new("--port", "tap:a,vlan=10,trunk=10+20,isolated,valn=7,vlan=9");
    let problems = Problems::default();
    let mut table = read::words(&source, 6, &problems);
    assert_eq!(table.get("vlan", value::integer(1..=4094u16)), Some(10));
    assert_eq!(table.list("trunk", value::integer(1..=4094u16)), [10, 20]);
    assert_eq!(table.get("isolated", value::boolean), Some(true));
    table.finish();
    let problems = problems.into_list();
    assert_eq!(places(&problems), [(1, 36), (1, 43)]);
    assert_eq!(problems[1].message, "`vlan` is given twice");
}

#[test]
fn quantities_are_read_alike_in_files_and_in_words() {
    for (text, word) in [
        (
            "d = '5m'\ns = '10k'\nr = '1.5gbit'\nc = '10k'\np = '2.5%'",
            "d=5m,s=10k,r=1.5gbit,c=10k,p=2.5%",
        ),
        (
            "d = '300 s'\ns = 10000\nr = '1500Mbit/s'\nc = 10000\np = 0.025",
            "d=300s,s=10kB,r=1500mbit,c=10000,p=0.025",
        ),
    ] {
        let read_all = |table: &mut Table<'_>| {
            assert_eq!(table.get("d", value::duration), Some(Duration::from_secs(300)));
            assert_eq!(table.get("s", value::size), Some(10_000));
            let rate = table.get("r", value::rate).map(|rate| rate.bits_per_second());
            assert_eq!(rate, Some(1_500_000_000));
            assert_eq!(table.get("c", value::integer(0..=20_000u32)), Some(10_000));
            assert_eq!(table.get("p", value::share), Some(0.025));
        };
        assert_eq!(mistakes(text, read_all), []);
        let (source, problems) = (Source::new("--port", word), Problems::default());
        let mut table = read::words(&source, 0, &problems);
        read_all(&mut table);
        table.finish();
        assert_eq!(problems.into_list(), []);
    }
    for (text, help) in [
        ("20", "20ms"),
        ("20msec", "20ms"),
        ("20sm", "20ms"),
        ("3minutes", "3m"),
        ("", ""),
        ("-1ms", ""),
        ("1e9s", ""),
        ("300000d", ""),
        ("1 x y", ""),
    ] {
        let problems = mistakes(&format!("d = '{text}'"), |table| {
            table.get("d", value::duration);
        });
        assert!(problems[0].message.starts_with("`d` "), "{problems:?}");
        let given = problems[0].help.clone().unwrap_or_default();
        assert!(given.contains(help), "{text}: {problems:?}");
    }
}

#[test]
fn the_wrong_part_of_a_text_is_pointed_at() {
    let problems = mistakes("delay = \"20msec\"\n", |table| {
        table.get("delay", value::duration);
    });
    assert_eq!(places(&problems), [(1, 12)]);
    let problems = mistakes("queue = 'codle'\n", |table| {
        table.get("queue", value::one_of(&[("drop-tail", 0), ("codel", 1)]));
    });
    assert_eq!(problems[0].help.as_deref(), Some("did you mean `codel`?"));
}

mod ports {
    use crate::config::problem::Problem;
    use crate::config::problems::Problems;
    use crate::config::source::Source;
    use crate::switch::port::WantedPort;
    use adit_engine::netem::{Loss, Rate};
    use adit_engine::switch::{Trunk, VlanId, VlanMode, VlanSet};

    fn words(text: &str) -> Result<WantedPort, Vec<Problem>> {
        let source = Source::new("--port", text);
        let problems = Problems::default();
        let port = WantedPort::from_words(&source, &problems);
        let problems = problems.into_list();
        port.filter(|_| problems.is_empty()).ok_or(problems)
    }

    fn toml(text: &str) -> Result<WantedPort, Vec<Problem>> {
        let source = Source::new("lab.toml", text);
        let problems = Problems::default();
        let mut table = crate::config::read::toml(&source, &problems);
        let port = WantedPort::from_table(&mut table);
        table.finish();
        let problems = problems.into_list();
        port.filter(|_| problems.is_empty()).ok_or(problems)
    }

    fn set(numbers: &[u16]) -> VlanSet {
        numbers.iter().filter_map(|n| VlanId::new(*n)).collect()
    }

    #[test]
    fn a_wrong_value_is_reported_alike_with_its_key() {
        let ours = words("tap:a,mtu=abc").unwrap_err();
        let theirs = toml("port = 'tap:a'\nmtu = 'abc'\n").unwrap_err();
        assert_eq!(ours[0].message, theirs[0].message);
        assert!(ours[0].message.starts_with("`mtu`: 'abc' is not an MTU"), "{ours:?}");
        assert_eq!((ours[0].column, theirs[0].line, theirs[0].column), (11, 2, 7));
    }

    #[test]
    fn a_port_is_the_same_on_the_command_line_and_in_a_file() {
        let ours = words(
            "tap:a,netns=blue,trunk=10+20-22,native=1,isolated,guard-mac=02:00:00:00:00:01,\
             guard-ip=192.0.2.1+2001:db8::/64,guard-arp,storm-broadcast=100,fdb-limit=5",
        )
        .unwrap();
        let theirs = toml(
            "port = 'tap:a'\nnetns = 'blue'\ntrunk = [10, '20-22']\nnative = 1\nisolated = true\n\
             guard-mac = '02:00:00:00:00:01'\nguard-ip = ['192.0.2.1', '2001:db8::/64']\n\
             guard-arp = true\nstorm-broadcast = 100\nfdb-limit = 5\n",
        )
        .unwrap();
        assert_eq!(ours, theirs);
        assert_eq!((ours.name.as_str(), ours.text.as_str()), ("tap:a", "tap:a,netns=blue"));
        let trunk = Trunk::new(set(&[10, 20, 21, 22]), VlanId::new(1));
        assert_eq!(ours.config.vlan, VlanMode::Trunk(trunk));
        assert_eq!(ours.config.guard.macs.len(), 1);
        assert_eq!(ours.config.guard.addresses[1].to_string(), "2001:db8::/64");
        assert!(ours.config.isolated && ours.config.guard.arp);
        assert_eq!(ours.config.storm.broadcast.unwrap().burst, 100);
    }

    #[test]
    fn the_udp_port_of_vxlan_stands_in_its_text_in_a_file() {
        for (text, udp) in [("vxlan:192.0.2.1,vni=7", 4789), ("vxlan:192.0.2.1,port=8472", 8472)] {
            let ours = words(text).unwrap();
            let theirs = toml(&format!("port = '{text}'\n")).unwrap();
            assert_eq!(ours.spec, theirs.spec);
            let vxlan: &adit_runtime::port::kinds::vxlan::VxlanSpec =
                theirs.spec.options().unwrap();
            assert_eq!(vxlan.port, udp);
        }
        let port = toml("port = 'vxlan:192.0.2.1'\nvni = 7\nvlan = 10\n").unwrap();
        assert_eq!(port.text, "vxlan:192.0.2.1,vni=7");
    }

    #[test]
    fn a_link_may_be_written_into_a_port() {
        let port = words("tap:a,netem=delay=20ms+loss=1%+rate=10mbit").unwrap();
        let netem = port.netem.unwrap();
        assert_eq!(netem.a_to_b.loss, Loss::Random { share: 0.01 });
        assert!(matches!(netem.b_to_a.rate, Rate::Fixed(_)));
        let port =
            toml("port = 'tap:a'\n[netem]\nloss = '1%'\n[netem.a-to-b]\nloss = '2%'").unwrap();
        let netem = port.netem.unwrap();
        assert_eq!(netem.a_to_b.loss, Loss::Random { share: 0.02 });
        assert_eq!(netem.b_to_a.loss, Loss::Random { share: 0.01 });
    }

    #[test]
    fn an_error_of_a_port_has_its_place() {
        for (text, column, part) in [
            ("tpa:a", 1, "tap:NAME"),
            ("tun:a", 1, "`tap:a`"),
            ("tap:a,vlna=10", 7, "`vlan`"),
            ("tap:a,vlan=4095", 12, "4094"),
            ("tap:a,vlan=10,trunk=20", 21, "exclude"),
            ("tap:a,native=1", 14, "trunk"),
            ("tap:a,trunk=10+x", 16, "cannot have"),
            ("tap:a,trunk=30-20", 13, "20-30"),
            ("tap:a,guard-mac=02:00", 17, "MAC"),
            ("tap:a,isolated=maybe", 16, "on or off"),
            ("tap:a,netem=delay=20", 19, "20ms"),
            ("tap:a,netem=nosuch", 13, "nosuch"),
            ("tap:a,storm-burst=7", 19, "storm-broadcast"),
            ("tap:a,netn=blue", 7, "`netns`"),
            ("tap:a,mtu=x", 11, "MTU"),
        ] {
            let problems = words(text).unwrap_err();
            assert_eq!(problems.len(), 1, "{text}: {problems:?}");
            assert_eq!(problems[0].column, column, "{text}: {}", problems[0]);
            assert!(problems[0].to_string().contains(part), "{text}: {}", problems[0]);
        }
        let problems = toml("port = 'tap:a,vlan=10'\nmtu = 'x'\nvlan = 'x'\n").unwrap_err();
        let lines: Vec<_> = problems.iter().map(|problem| problem.line).collect();
        assert_eq!(lines, [2, 3], "{problems:?}");
        let problems = toml("port = 'tap:a,vlan=10'\n").unwrap_err();
        assert!(problems[0].help.as_ref().unwrap().contains("key of its own"), "{problems:?}");
        let problems = toml("port = 'tpa:a'\nvlan = 5000").unwrap_err();
        assert_eq!(problems.len(), 2, "{problems:?}");
    }
}

mod profiles {
    use crate::config::problem::Problem;
    use crate::config::problems::Problems;
    use crate::config::source::Source;
    use crate::netem::keys::KEYS;
    use crate::netem::profile;
    use crate::netem::profile::Profiles;
    use adit_engine::netem::{Corrupt, Discipline, Jitter, Loss, QueueLimit};
    use std::time::Duration;

    fn read(text: &str) -> Result<Profiles, Vec<Problem>> {
        read_onto(text, Profiles::default())
    }

    fn read_onto(text: &str, base: Profiles) -> Result<Profiles, Vec<Problem>> {
        let source = Source::new("--x", text);
        let problems = Problems::default();
        let mut table = crate::config::read::words(&source, 0, &problems);
        let profiles = profile::of_table(&mut table, base);
        table.finish();
        let problems = problems.into_list();
        if problems.is_empty() { Ok(profiles) } else { Err(problems) }
    }

    #[test]
    fn every_effect_can_be_asked_for() {
        let text = "delay=20ms,jitter=5ms,distribution=pareto,pareto-shape=2.5,correlation=25%,\
                    keep-order=false,loss=1%,loss-burst=5,duplicate=0.1%,corrupt=0.01%,\
                    reorder=1%,reorder-by=3,rate=10mbit,overhead=ethernet,queue=fq-codel,\
                    queue-limit=64KiB,ecn,codel-target=10ms,fq-flows=16,outage=10s/1s/60s+90s/5s";
        let profile = read(text).unwrap().a_to_b;
        assert_eq!(profile.delay.base, Duration::from_millis(20));
        let jitter = Jitter::Pareto { mean: Duration::from_millis(5), shape: 2.5 };
        assert_eq!(profile.delay.jitter, jitter);
        assert_eq!(profile.loss, Loss::Bursts { share: 0.01, length: 5.0 });
        assert_eq!(profile.corrupt, Corrupt::Packets { share: 0.0001 });
        assert_eq!(profile.queue.limit, QueueLimit::Bytes(65_536));
        assert!(matches!(profile.queue.discipline, Discipline::FqCoDel(fq) if fq.flows == 16));
        assert_eq!(profile.outages.len(), 2);
        assert_eq!(profile.reorder.unwrap().by, 3);
    }

    #[test]
    fn a_printed_profile_is_read_back() {
        let presets = ["lte", "starlink", "dsl", "geo"].map(|name| format!("preset={name}"));
        let texts = [
            "delay=20ms,jitter=5ms,loss=1%,rate=100mbit",
            "delay=1500us,jitter=5ms,distribution=normal,correlation=25%,keep-order=false",
            "ge-p=0.1%,ge-r=30%,ge-loss-bad=90%,corrupt=0.01%,duplicate=0.3%,mark-loss",
            "loss=1%,loss-burst=5,reorder=2%,reorder-by=7,bit-errors=0.000001",
            "rate=1.5mbit,queue=codel,queue-limit=64KiB,ecn,overhead=adsl",
            "rate=1mbit,queue=fq-codel,fq-flows=16,queue-limit=50ms,outage=10s/1s/60s+90s/5s",
            "limit-packets=1000,limit-bytes=1MiB,rate=1gbit,overhead=ethernet",
        ];
        for text in texts.map(str::to_owned).into_iter().chain(presets) {
            let profile = read(&text).unwrap().a_to_b;
            let shown = crate::netem::keys::to_json(&profile);
            let words: Vec<String> = shown
                .iter()
                .map(|(key, value)| format!("{key}={}", value.as_str().unwrap()))
                .collect();
            assert_eq!(read(&words.join(",")).unwrap().a_to_b, profile, "{text}: {words:?}");
        }
    }

    #[test]
    fn a_change_leaves_the_rest_as_it_was() {
        let base = read("delay=20ms,jitter=5ms,loss=1%,rate=10mbit").unwrap();
        let now = read_onto("delay=50ms", base.clone()).unwrap();
        assert_eq!(now.a_to_b.delay.base, Duration::from_millis(50));
        assert_eq!(now.a_to_b.delay.jitter, base.a_to_b.delay.jitter);
        assert_eq!(now.a_to_b.loss, base.a_to_b.loss);
        let now = read_onto("loss=0,jitter=0ms,rate=unlimited", base).unwrap();
        assert_eq!(now.a_to_b.loss, Loss::None);
        assert_eq!(now.a_to_b.delay.jitter, Jitter::None);
    }

    #[test]
    fn an_error_of_a_profile_has_its_key() {
        for (text, column, part) in [
            ("delay=20", 7, "20ms"),
            ("dealy=20ms", 1, "`delay`"),
            ("loss=1", 6, "1%"),
            ("loss=101%", 6, "more than all"),
            ("loss-burst=5", 12, "`loss`"),
            ("loss=1%,ge-p=1%", 14, "exclude"),
            ("ge-p=1%", 6, "`ge-r` is missing"),
            ("rate=100mb", 9, "100mbit"),
            ("queue=codel", 7, "rate"),
            ("queue=fifo,rate=1mbit", 7, "drop-tail"),
            ("ecn,rate=1mbit", 1, "codel"),
            ("codel-target=5ms", 14, "codel"),
            ("distribution=normal", 14, "jitter"),
            ("jitter=5ms,distribution=gauss", 25, "normal"),
            ("correlation=1.0,jitter=1ms", 13, "`correlation`"),
            ("outage=10s", 8, "BEGIN/LENGTH"),
            ("reorder-by=3", 12, "reorder"),
            ("trace=/nonexistent/x", 7, "cannot be read"),
            ("overhead=ethenret", 10, "ethernet"),
            ("preset=nosuch", 8, "nosuch"),
        ] {
            let problems = read(text).unwrap_err();
            assert_eq!(problems.len(), 1, "{text}: {problems:?}");
            assert_eq!(problems[0].column, column, "{text}: {}", problems[0]);
            assert!(problems[0].to_string().contains(part), "{text}: {}", problems[0]);
        }
    }

    #[test]
    fn a_mistake_in_a_file_that_is_named_has_its_line() {
        let path = std::env::temp_dir().join(format!("adit-trace-{}", std::process::id()));
        std::fs::write(&path, "1\n2\nthree\n").unwrap();
        let problems = read(&format!("trace={}", path.display())).unwrap_err();
        assert!(problems[0].message.contains(&format!("{}:3: ", path.display())), "{problems:?}");
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn every_key_is_known_and_no_other() {
        let text: Vec<String> = KEYS.iter().map(|key| format!("{}=?", key.name)).collect();
        let problems = read(&text.join(",")).unwrap_err();
        assert!(problems.iter().all(|p| !p.message.contains("unknown key")), "{problems:?}");
    }
}

mod any_bytes {
    use crate::exercise;
    use proptest::prelude::{ProptestConfig, any, prop, proptest};

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..crate::cases::cases(5_000) })]

        #[test]
        fn no_bytes_make_the_reader_of_configurations_panic(bytes in any::<Vec<u8>>()) {
            exercise::config(&bytes);
        }

        #[test]
        fn no_words_make_the_reader_of_configurations_panic(
            kind in any::<u8>(),
            words in prop::collection::vec(
                prop::sample::select(vec![
                    "[[port]]\n", "port", "=", "'tap:a'", "tap:a", ",", "\n", "vlan", "10", "trunk", "[", "]",
                    "\"", "netem", "{", "}", "delay", "20ms", "loss", "1%", ".", "+", "-", "é", "\r\n", "#",
                    "switch", "[[mirror]]\n", "file", "ports", "queue", "codel", "rate", "1mbit", "9999999999",
                ]),
                0..40,
            ),
        ) {
            exercise::config(&[&[kind][..], words.concat().as_bytes()].concat());
        }
    }
}

/// Every way to name a file or a descriptor in a request: for the owner of the program alone.
#[test]
fn a_request_of_another_user_names_no_file() {
    use crate::config::source::Files;
    use crate::error::Kind;
    use crate::netem::profile::{Profiles, of_table};
    use crate::supervisor::read_request;
    use crate::switch::port::WantedPort;
    let ask = |key: &str, value: &str, files| {
        let (is_port, body) = match key {
            "port" => (true, serde_json::json!({ "port": value })),
            "netem" | "mirror" => (true, serde_json::json!({ "port": "tap:a", key: value })),
            _ => (false, serde_json::json!({ key: value })),
        };
        if is_port {
            read_request(&body, files, |table| drop(WantedPort::from_table(table)))
        } else {
            read_request(&body, files, |table| drop(of_table(table, Profiles::default())))
        }
    };
    for (key, value) in [
        ("port", "pcap:/x"),
        ("port", "unix:/x"),
        ("port", "unix:/x,type=dgram,remote=/y"),
        ("port", "tap:a,netns=/proc/1/ns/net"),
        ("port", "dev:a,netns=/proc/1/ns/net"),
        ("port", "fd:5"),
        ("port", "stdio"),
        ("mirror", "x.pcapng"),
        ("mirror", "/x"),
        ("netem", "./x.toml"),
        ("netem", "trace=/x"),
        ("trace", "/x"),
        ("steps", "/x"),
        ("loss-pattern", "/x"),
        ("delay-table", "/x"),
        ("a-to-b", "trace=/x"),
    ] {
        let error = ask(key, value, Files::Refused).unwrap_err();
        let report = &error.report;
        assert_eq!(error.kind, Kind::Permission, "{key}={value}: {}", report.message);
        assert!(report.hint.as_ref().unwrap().contains("as root"), "{report:?}");
        let by_owner = ask(key, value, Files::Allowed);
        // Files that are read at once do not exist.
        assert!(by_owner.err().is_none_or(|error| error.kind == Kind::Usage), "{key}={value}");
    }
    for (key, value) in [("port", "tap:a,netns=blue"), ("port", "dev:a"), ("netem", "lte")] {
        ask(key, value, Files::Refused).unwrap();
    }
    for (key, value) in [("mirror", "none"), ("trace", "none"), ("delay", "5ms")] {
        let refused = ask(key, value, Files::Refused);
        assert!(refused.is_ok(), "{key}={value}: {refused:?}");
    }
}

#[test]
fn a_file_of_any_length_is_read_whole_or_refused() {
    for len in [0, 1, (16 << 10) - 1, 16 << 10, (16 << 10) + 1, 1 << 20] {
        let text = "x".repeat(len);
        let source = Source::read_from("lab.toml".as_ref(), text.as_bytes()).unwrap();
        assert!(source.text() == text, "{len}");
    }
    let endless = std::io::repeat(b'x');
    let error = Source::read_from("lab.toml".as_ref(), endless).unwrap_err();
    assert!(error.report.problems[0].message.contains("too large"), "{error}");
}
