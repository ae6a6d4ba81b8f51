//! `adit check`: every mistake of the examples is found, with its place and what was meant.

use crate::program::{debris, hosts};
use crate::support::{adit, adit_json, parse, refused, root, run};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

const EXAMPLES: [&str; 4] = ["lab.toml", "dsl.toml", "link.toml", "tunnel.toml"];

fn example(name: &str) -> String {
    fs::read_to_string(root().join("examples").join(name)).unwrap()
}

/// The key of a line, if it has one.
fn key_of(line: &str) -> Option<&str> {
    let (key, _) = line.split_once('=')?;
    let key = key.trim();
    let is_key = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    (!key.is_empty() && key.chars().all(is_key)).then_some(key)
}

/// A folder with all examples, of which one has another text.
fn with(name: &str, text: &str) -> String {
    let folder = Path::new("/run/examples");
    fs::create_dir_all(folder).unwrap();
    for other in EXAMPLES {
        fs::write(folder.join(other), example(other)).unwrap();
    }
    // Of a tunnel nobody else may read the key.
    let key = folder.join("site.key");
    fs::write(&key, adit("tunnel genkey")).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    path.display().to_string()
}

/// The names in a folder, in order.
fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = (fs::read_dir(folder).unwrap())
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort_unstable();
    names
}

#[test]
fn the_examples_have_no_mistakes() {
    hosts(&[]);
    for (name, kind) in EXAMPLES.iter().zip(["switch", "profile", "netem", "tunnel"]) {
        let path = with(name, &example(name));
        let checked = adit_json(&format!("check {path}"));
        assert_eq!(checked[0]["kind"], kind, "{name}");
    }
}

#[test]
fn every_example_file_is_checked_and_has_each_kind_of_port() {
    let mut names = files(&root().join("examples"));
    names.retain(|name| name != "lab");
    let mut known = EXAMPLES.map(str::to_owned);
    known.sort_unstable();
    assert_eq!(names, known);
    for lab in files(&root().join("examples/lab")).iter().filter(|name| name.ends_with(".toml")) {
        let path = root().join("examples/lab").join(lab);
        let checked = adit_json(&format!("check {}", path.display()));
        assert_eq!(checked[0]["kind"], "lab", "{lab}");
    }
    for kind in ["tap:", "unix:", "vxlan:", "pcap:"] {
        assert!(example("lab.toml").contains(&format!("port = \"{kind}")), "{kind}");
    }
}

#[test]
fn a_toml_syntax_error_takes_a_few_lines() {
    hosts(&[]);
    let text = "root:x:0:0:root:/root:/bin/bash\n".repeat(200);
    for (text, told, last) in [("name = \n", 1, "string"), (&text, 4, "more places are not TOML")] {
        let path = with("passwd", text);
        let report = parse(&refused(&format!("-j check {path}")).1);
        let problems = report["problems"].as_array().unwrap();
        assert_eq!(problems.len(), told, "{report}");
        let message = problems.last().unwrap()["message"].as_str().unwrap();
        assert!(message.contains(last), "{message}");
    }
    let (exit, errors) = refused("check /run/nosuch.toml");
    assert!(exit == 4 && errors.contains("help: Check the path"), "{errors}");
}

#[test]
fn every_mistyped_key_of_the_examples_is_found_and_the_right_one_suggested() {
    hosts(&[]);
    let mut count = 0;
    for name in EXAMPLES {
        let text = example(name);
        for (number, line) in text.lines().enumerate() {
            let Some(key) = key_of(line) else { continue };
            // A letter too many in the middle, and two that changed places.
            let middle = key.len() / 2;
            let longer = format!("{}q{}", &key[..middle], &key[middle..]);
            let mut swapped: Vec<char> = key.chars().collect();
            swapped.swap(middle - 1, middle);
            let swapped: String = swapped.into_iter().collect();
            for typo in [longer, swapped] {
                if typo == key {
                    continue;
                }
                let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
                lines[number] = line.replacen(key, &typo, 1);
                let path = with(name, &lines.join("\n"));
                let (exit, errors) = refused(&format!("-j check {path}"));
                assert_eq!(exit, 2, "{typo}: {errors}");
                let report = parse(&errors);
                let problems = report["problems"].as_array().unwrap();
                let found = problems.iter().find(|p| p["line"] == number + 1 && p["column"] == 1);
                let found = found.unwrap_or_else(|| panic!("{name}: {typo}: {errors}"));
                let help = found["help"].as_str().unwrap_or_default();
                assert_eq!(help, format!("did you mean `{key}`?"), "{name}: {typo}: {errors}");
                count += 1;
            }
        }
    }
    assert!(count > 100, "{count} keys");
    assert_eq!(run("ip -br link show type tun"), "", "nothing was made");
    assert_eq!(debris(), [""; 0]);
}

#[test]
fn files_that_are_not_as_they_should_be() {
    hosts(&[]);
    let text = example("lab.toml");
    let windows = text.replace('\n', "\r\n");
    for good in [format!("\u{feff}{text}"), windows] {
        let path = with("lab.toml", &good);
        adit(&format!("check {path}"));
    }
    let truncated = &text[..text.find("guard-ip").unwrap() + 15];
    let cases = [
        (truncated.to_owned(), "lab.toml:"),
        (format!("{text}\n[switch]\nageing = '1s'\n"), "duplicate"),
        (text.replace("vlan = 10\nfdb", "vlan = 10\nvlan = 11\nfdb"), "duplicate"),
        ("#".repeat(10 << 20), "too large"),
        (text.replace("tap:a", "tpa:a"), "tap:NAME"),
        (text.replace("dsl.toml", "nosuch.toml"), "nosuch.toml"),
        (text.replace("\"ingress\"", "\"ingres\""), "`ingress`"),
        (text.replace("\"5min\"", "\"5mins\""), "`5m`"),
        (text.replace("true", "\"true\""), "without quotes"),
    ];
    for (bad, part) in cases {
        let path = with("lab.toml", &bad);
        let (exit, errors) = refused(&format!("check {path}"));
        assert_eq!(exit, 2, "{errors}");
        assert!(errors.contains(part), "{part}: {errors}");
    }
    // A mistake in a file that is named has that file's name.
    with("dsl.toml", &example("dsl.toml").replace("12ms", "12"));
    let (_, errors) = refused("check /run/examples/lab.toml");
    assert!(errors.contains("/run/examples/dsl.toml:2:10: "), "{errors}");
    // Nobody waits for a pipe that a file names.
    run("mkfifo /run/pipe.toml");
    with("lab.toml", &text.replace("dsl.toml", "/run/pipe.toml"));
    let (_, errors) = refused("check /run/examples/lab.toml");
    assert!(errors.contains("not a regular file"), "{errors}");
}
