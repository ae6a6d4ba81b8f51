use super::{Problem, Problems, Source, Table, value};
use std::time::Duration;

/// The mistakes that `read` finds in `text`.
fn mistakes(text: &str, read: impl Fn(&mut Table<'_>)) -> Vec<Problem> {
    let source = Source::new("x.toml", text);
    let problems = Problems::default();
    let mut table = source.parse(&problems);
    read(&mut table);
    table.finish();
    problems.into_list()
}

fn places(problems: &[Problem]) -> Vec<(usize, usize)> {
    problems.iter().map(|problem| (problem.line, problem.column)).collect()
}

#[test]
fn all_mistakes_are_told_with_their_places() {
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
fn what_is_no_toml_has_a_place() {
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
fn a_missing_key_is_not_told_of_beside_its_mistyped_one() {
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
fn no_file_has_more_mistakes_than_are_read() {
    let text: String = (0..5000).map(|n| format!("k{n} = 1\n")).collect();
    let source = Source::new("x.toml", text);
    let problems = Problems::default();
    source.parse(&problems).finish();
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
        let mut table = source.parse(&problems);
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
    let mut table = source.words(6, &problems);
    assert_eq!(table.get("vlan", value::integer(1..=4094u16)), Some(10));
    assert_eq!(table.list("trunk", value::integer(1..=4094u16)), [10, 20]);
    assert_eq!(table.get("isolated", value::boolean), Some(true));
    table.finish();
    let problems = problems.into_list();
    assert_eq!(places(&problems), [(1, 36), (1, 43)]);
    assert_eq!(problems[1].message, "`vlan` is given twice");
}

#[test]
fn quantities() {
    let ok = value::parse_duration;
    assert_eq!(ok("20ms"), Ok(Duration::from_millis(20)));
    assert_eq!(ok("1.5 s"), Ok(Duration::from_millis(1500)));
    assert_eq!(ok(".25us"), Ok(Duration::from_nanos(250)));
    assert_eq!(ok("5min"), Ok(Duration::from_secs(300)));
    assert_eq!(value::parse_rate("100Mbit/s"), Ok(100_000_000));
    assert_eq!(value::parse_rate("1.5gbit"), Ok(1_500_000_000));
    assert_eq!(value::parse_size("64KiB"), Ok(65_536));
    assert_eq!(value::parse_size("1500"), Ok(1500));
    assert_eq!(value::parse_share("2.5%"), Ok(0.025));
    assert_eq!(value::parse_share("0.5"), Ok(0.5));
    assert_eq!(value::parse_share("0"), Ok(0.0));
    for (text, help) in [("20", "20ms"), ("20msec", "20ms"), ("20sm", "20ms"), ("3minutes", "3min")]
    {
        let wrong = ok(text).unwrap_err();
        assert!(wrong.help.as_ref().is_some_and(|h| h.contains(help)), "{text}: {wrong:?}");
    }
    assert!(value::parse_rate("5mbps").unwrap_err().help.unwrap().contains("5mbit"));
    assert!(value::parse_share("1").unwrap_err().help.unwrap().contains("1%"));
    for bad in
        ["", "ms", "-1ms", "1e9s", "1.2.3ms", ".", "99999999999999999999s", "300000d", "1 x y"]
    {
        assert!(ok(bad).is_err(), "{bad}");
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
