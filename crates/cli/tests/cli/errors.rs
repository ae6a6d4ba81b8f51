//! The messages of failures, and their exit statuses.

use crate::support::{adit, adit_json, enter, parse, refused, text, try_adit};

#[test]
fn each_failure_has_its_exit_status() {
    enter();
    adit("dev add tun0 --mode tun");
    let cases = [
        ("dev del nosuch", 4),
        ("dev show nosuch", 4),
        ("dev show lo", 5),
        ("dev add tun0 --mode tun", 5),
        ("dev add lo --mode tun", 5),
        ("tuntap del dev tun0 mode tap", 5),
        ("dev show a-name-longer-than-that-of-a-device", 4),
        (&format!("dev show {}", "a".repeat(128)), 2),
        ("-n nosuch dev show", 4),
        ("schema nosuch", 4),
        ("dev add a/b --mode tun", 2),
        ("dev add 1234567890123456 --mode tun", 2),
        ("dev add x --mode bridge", 2),
        ("dev add x --mode tun --user no-such-user", 2),
        ("dev add x --mode tun --addr 192.0.2.1/33", 2),
        ("dev add x --mode tun --addr 192.0.2.1 --peer 2001:db8::1", 2),
        ("dev add x --mode tun --up --route 192.0.2.1/24", 2),
        ("dev add x --mode tun --route 192.0.2.0/24", 2),
        ("dev add x --mode tun --index 0", 2),
        ("tuntap add dev x", 2),
        ("tuntap add mode tun mode tun", 2),
        ("tuntap add mode", 2),
        ("tuntap add dev tun1 mode tub", 2),
        ("nosuch", 2),
    ];
    for (line, wanted) in cases {
        let (status, errors) = refused(line);
        assert_eq!(status, wanted, "{line}: {errors}");
        assert!(errors.starts_with("error: "), "{line}: {errors}");
    }
}

#[test]
fn errors_have_a_code_and_in_json_an_object() {
    enter();
    let (_, errors) = refused("dev show nosuch");
    assert!(errors.contains("nosuch") && errors.contains("\n  code: ADIT-E"), "{errors}");
    assert!(errors.contains("(errno 19, ENODEV)"), "{errors}");
    for line in ["dev show nosuch", "dev show a/b", "dev del lo"] {
        let (_, errors) = refused(&format!("-j {line}"));
        let report = parse(&errors);
        assert!(report["code"].as_str().unwrap().starts_with("ADIT-E"), "{report}");
        assert!(!report["message"].as_str().unwrap().is_empty(), "{report}");
    }
    let report = parse(&refused("-j dev show nosuch").1);
    assert_eq!((&report["errno"], &report["object"]), (&19.into(), &"nosuch".into()));
}

#[test]
fn a_slip_of_the_pen_gets_a_suggestion() {
    assert!(refused("dev dell x").1.contains("'del'"));
    assert!(refused("dev add x --mode tun --adr 192.0.2.1").1.contains("--addr"));
    assert!(refused("dev add x --mode tum").1.contains("tun"));
    assert!(refused("dev add x --mode tun --up --route 192.0.2.1/24").1.contains("192.0.2.0/24"));
}

/// What stands between backticks or quotes and begins with the program's name.
fn named_commands(text: &str) -> Vec<String> {
    let spans = text.split(['`', '\'']).skip(1);
    let spans = spans.map(|span| span.trim_start_matches("sudo "));
    spans.filter(|span| span.starts_with("adit ")).map(str::to_owned).collect()
}

#[test]
fn every_command_that_a_remedy_names_is_one() {
    let mut count = 0;
    for entry in adit_json("explain").as_array().unwrap() {
        for field in ["explanation", "remedy"] {
            for line in named_commands(entry[field].as_str().unwrap()) {
                // Values are checked before the help is printed.
                let line = line.replace("$USER", "root").replace("YOU", "root");
                let line = line.replace("GROUP", "root").replace("ADDRESS", "192.0.2.1/24");
                let words = line.split(' ').skip(1).chain(["--help"]);
                let output = try_adit(&words.collect::<Vec<_>>());
                assert!(output.status.success(), "{}: {line}", entry["code"]);
                count += 1;
            }
        }
    }
    assert!(count > 10, "{count} commands");
}

#[test]
fn names_are_shown_harmless() {
    enter();
    let output = try_adit(&["dev", "show", "a\u{1b}[31mb"]);
    assert_eq!(output.status.code(), Some(4));
    assert!(!text(&output.stderr).contains('\u{1b}'), "{}", text(&output.stderr));
}
