//! The same file in a lab that runs, with Reno at both ends, and in virtual time: the same outcomes and the same times.

use super::examples::{examples, has_bird};
use super::scenario::{LAB, outcomes, play};
use crate::support::enter;
use serde_json::Value;
use std::fs;
use std::path::Path;

/// Live runs and simulated ones. Each has a seed of its own, the same on both sides: what is lost is drawn from it.
const RUNS: u64 = 5;

/// A run's entries.
type Run = Vec<Value>;

/// Plays a file with each seed: live, and in virtual time.
fn play_both(file: &str) -> [Vec<Run>; 2] {
    let seeded = |number: u64| {
        let is_seed = |line: &&str| line.starts_with("seed = ");
        let seed = file.lines().find(is_seed).expect("a seed");
        let first: u64 = seed["seed = ".len()..].parse().unwrap();
        file.replacen(seed, &format!("seed = {}", first + number), 1)
    };
    ["test", "sim"].map(|verb| (0..RUNS).map(|number| play(verb, &seeded(number)).1).collect())
}

/// The median of what an expectation measured: the seconds of a transfer of some bytes, or else the rate.
fn median(runs: &[Run], text: &str) -> Option<f64> {
    let key = if text.starts_with("transfer") { "seconds" } else { "rate" };
    let entries = runs.iter().flatten().filter(|entry| entry["text"] == text);
    let mut values: Vec<f64> =
        entries.filter_map(|entry| entry["measured"]["transfer"][key].as_f64()).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// Each expectation that was not skipped, and whether it passed in most runs.
fn usual_outcomes(runs: &[Run]) -> Vec<(String, bool)> {
    let all: Vec<Vec<(String, String)>> = runs.iter().map(|run| outcomes(run)).collect();
    let passed = |place: usize| {
        let is_passed = |run: &&Vec<(String, String)>| run[place].1 == "passed";
        all.iter().filter(is_passed).count() * 2 > all.len()
    };
    let texts = all[0].iter().map(|(text, _)| text.clone());
    texts.enumerate().map(|(place, text)| (text, passed(place))).collect()
}

/// Examples whose single runs differ by up to four times from one seed to the next, so that medians of five do not compare:
/// their figures are printed alone.
const SCATTERED: [&str; 2] = ["mesh", "satellite"];

/// Compares medians and outcomes. Returns what differs.
#[expect(clippy::print_stdout, reason = "figures for the reader")]
fn differences(name: &str, [live, simulated]: &[Vec<Run>; 2]) -> Vec<String> {
    let expected = simulated[0].iter().filter(|entry| entry["kind"] == "expectation");
    let mut found = Vec::new();
    for text in expected.map(|entry| entry["text"].as_str().unwrap()) {
        let (Some(live), Some(here)) = (median(live, text), median(simulated, text)) else {
            continue;
        };
        let ratio = here / live;
        let line = format!("{name}: {text}: live {live:.3}, virtual {here:.3}, ratio {ratio:.3}");
        println!("{line}");
        if (ratio - 1.0).abs() > 0.15 && !SCATTERED.contains(&name) {
            found.push(line);
        }
    }
    // What the simulator skips says nothing. A moment in which the machine had no time for a live run is one of five.
    let [mut live, here] = [live, simulated].map(|runs| usual_outcomes(runs));
    live.retain(|(text, _)| here.iter().any(|(simulated, _)| simulated == text));
    assert!(!here.is_empty(), "{name}: nothing is compared");
    if live != here {
        found.push(format!("{name}: live {live:#?}, virtual {here:#?}"));
    }
    found
}

/// Two hosts: transfers that end in slow start, in recovery and long after it, in one direction and the other.
#[test]
#[ignore = "takes minutes: ./check --long"]
fn long_live_and_virtual_time_agree_within_15_percent() {
    enter();
    let all: &[&str] = &[
        "ping a b within 60ms",
        "throughput a b >= 8mbit for 5s",
        "transfer a b 100kB within 2s",
        "transfer a b 250kB within 2s",
        "transfer a b 500kB within 2s",
        "transfer a b 1MB within 4s",
        "transfer a b 5MB within 10s",
        "transfer b a 2MB within 5s",
        "throughput a b >= 8mbit for 5s streams 4",
    ];
    let deep = LAB.replace("queue-limit = \"64KiB\"", "queue-limit = 1000");
    let fast = LAB.replace("10mbit", "100mbit").replace("64KiB", "512KiB");
    let lossy = LAB.replace("queue-limit", "loss = \"0.5%\"\nqueue-limit");
    // With losses by chance each in a lab of its own: else the first difference of one packet changes all that follows.
    let chances = [
        "throughput a b >= 1mbit for 10s",
        "transfer a b 1MB within 20s",
        "transfer a b 5MB within 40s",
        "throughput a b >= 1mbit for 5s streams 4",
    ];
    let mut labs = vec![
        ("short queue", LAB, all),
        ("long queue", &*deep, all),
        ("100 Mbit/s", &*fast, &["transfer a b 5MB within 2s", "throughput a b >= 60mbit for 5s"]),
    ];
    labs.extend(chances.iter().map(|one| ("loss", &*lossy, std::slice::from_ref(one))));
    let found = labs.into_iter().flat_map(|(name, lab, expected)| {
        differences(name, &play_both(&format!("{lab}[[step]]\nexpect = {expected:?}\n")))
    });
    let found: Vec<String> = found.collect();
    assert!(found.is_empty(), "{found:#?}");
}

/// The examples that only a lab that runs can play.
const NOT_SIMULATED: [(&str, &str); 2] = [
    ("home", "a program of the gateway changes its route when the first provider fails"),
    ("vpn", "a command changes the route of the spoke that roams"),
];

/// A last step that measures; nothing where no link has a rate.
const MEASURED: [(&str, &str); 5] = [
    ("campus", ""),
    ("dumbbell", "expect = ['transfer reno reno-sink 1MB within 20s']"),
    ("leaf-spine", ""),
    (
        "mesh",
        "heal = 'all'
        expect = ['throughput school farm >= 1kbit for 20s', 'transfer school farm 5MB within 60s']",
    ),
    // At the same place of the trace on both sides.
    ("satellite", "at = '20s'\nexpect = ['throughput terminal server >= 1kbit for 20s']"),
];

/// An example with Reno at both ends, and a last step that measures.
fn with_reno(text: &str, measured: &str) -> String {
    let mut file = String::new();
    for line in text.lines() {
        let is_host = line.starts_with("[host.") && line.matches('.').count() == 1;
        let line = line.replace("using bbr", "using reno");
        file += &line.replace("congestion = \"bbr\"", "congestion = \"reno\"");
        file += "\n";
        if is_host {
            file += "sysctl = { \"net.ipv4.tcp_congestion_control\" = \"reno\", \"net.ipv4.tcp_no_metrics_save\" = \"1\" }\n";
        }
    }
    if !measured.is_empty() {
        file += &format!("[[step]]\n{measured}\n");
    }
    file
}

#[test]
#[ignore = "takes minutes: ./check --long"]
fn long_examples_agree_live_and_in_virtual_time() {
    enter();
    let has_bird = has_bird();
    let mut found = Vec::new();
    for path in examples() {
        let path = Path::new(&path);
        let name = path.file_stem().and_then(|stem| stem.to_str()).unwrap();
        if let Some((_, why)) = NOT_SIMULATED.iter().find(|(example, _)| *example == name) {
            println!("{name}: not simulated: {why}");
            continue;
        }
        let measured = MEASURED.iter().find(|(example, _)| *example == name);
        let (_, measured) = measured.unwrap_or_else(|| panic!("{name} is in neither list"));
        let text = fs::read_to_string(path).unwrap();
        if !has_bird && text.contains("bird") {
            continue;
        }
        fs::copy(path.with_file_name("handover.csv"), "/run/handover.csv").unwrap();
        found.extend(differences(name, &play_both(&with_reno(&text, measured))));
    }
    assert!(found.is_empty(), "{found:#?}");
}
