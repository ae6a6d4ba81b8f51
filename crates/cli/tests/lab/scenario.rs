//! Scenarios: the same file in a lab that runs and in virtual time.

use crate::support::{ADIT, bare, command, enter, parse, text, validate};
use serde_json::Value;
use std::fs;
use std::process::Output;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// A router between two hosts, and an emulated link. Reno at both ends, as in the simulator.
pub(super) const LAB: &str = r#"
name = "two"
seed = 3
[host.a]
sysctl = { "net.ipv4.tcp_congestion_control" = "reno", "net.ipv4.tcp_no_metrics_save" = "1" }
[host.b]
sysctl = { "net.ipv4.tcp_congestion_control" = "reno", "net.ipv4.tcp_no_metrics_save" = "1" }
[router.r]
[[link]]
ends = ["a", "r"]
[[link]]
name = "slow"
ends = ["r", "b"]
rate = "10mbit"
delay = "20ms"
queue-limit = "64KiB"
"#;

fn adit(words: &[&str]) -> Output {
    let all: Vec<&str> = [ADIT].iter().chain(words).copied().collect();
    command(&all).output().unwrap()
}

/// Plays a file with steps; returns the entries of the report.
pub(super) fn play(verb: &str, file: &str) -> (Option<i32>, Vec<Value>) {
    let path = format!("/run/{verb}.toml");
    fs::write(&path, file).unwrap();
    let mut words = vec!["-j", "lab", verb, path.as_str()];
    if verb == "test" {
        words.extend(["--capture", "/run/failed"]);
    }
    let output = adit(&words);
    let schema = format!("lab-{verb}");
    let stdout = text(&output.stdout);
    assert!(!stdout.is_empty(), "{}", text(&output.stderr));
    validate(&[(schema.as_str(), stdout.clone())]);
    let mut report = parse(&stdout);
    if verb == "sim" {
        report = report["reports"][0].take();
    }
    let steps = report["steps"].as_array().unwrap().iter();
    let entries = steps.flat_map(|step| step["entries"].as_array().unwrap().clone()).collect();
    (output.status.code(), entries)
}

/// What the expectations of a report came to, skipped ones left out.
pub(super) fn outcomes(entries: &[Value]) -> Vec<(String, String)> {
    let expected = entries.iter().filter(|entry| entry["kind"] == "expectation");
    let word = |value: &Value| value.as_str().unwrap().to_owned();
    let all = expected.map(|entry| (word(&entry["text"]), word(&entry["outcome"])));
    all.filter(|(_, outcome)| outcome != "skipped").collect()
}

#[test]
fn a_scenario_has_the_same_outcomes_live_and_in_virtual_time() {
    enter();
    let file = format!(
        "{LAB}
        [[step]]
        name = 'all is well'
        expect = ['ping a b within 60ms', 'ping6 a b', 'route a to b via r', 'ping a b within 1ms by 300ms', 'route a to b not via r by 300ms']
        [[step]]
        traffic = {{ name = 'udp', from = 'a', to = 'b', for = '1s', protocol = 'udp', rate = '1mbit' }}
        expect = ['transfer a b 1MB within 10s', 'traffic udp >= 800kbit <= 1.1mbit', 'throughput b a <= 5mbit for 1s']
        [[step]]
        at = '1s'
        fail = 'slow'
        expect = ['ping a b never', 'ping a r', 'transfer a b 10kB within 500ms']
        [[step]]
        heal = 'all'
        set = {{ link = 'slow', delay = '100ms' }}
        expect = ['ping a b within 400ms by 20s', 'ping a b within 150ms by 300ms']
        [[step]]
        fail = 'r'
        expect = ['ping a b never', 'ping a r never']
        [[step]]
        heal = 'r'
        partition = ['a']
        expect = 'ping a b never'
        [[step]]
        heal = 'all'
        expect = 'ping a b loss <= 50% count 10 by 20s'"
    );
    let (live_exit, live) = play("test", &file);
    let (virtual_exit, simulated) = play("sim", &file);
    let expected = ["passed", "passed", "passed", "failed", "failed", "passed", "passed", "failed"];
    let live = outcomes(&live);
    let first: Vec<&str> = live.iter().take(8).map(|(_, outcome)| &**outcome).collect();
    assert_eq!(first, expected, "{live:#?}");
    assert_eq!(live, outcomes(&simulated));
    assert_eq!((live_exit, virtual_exit), (Some(1), Some(1)));
}

#[test]
fn what_fails_in_a_running_lab_is_kept_and_reported() {
    enter();
    let file = format!(
        "{LAB}
        [[step]]
        run = {{ node = 'a', command = 'test \"$(hostname)\" = a' }}
        expect = ['run a \"ip -br addr show dev lo\" prints 127.0.0.1', 'run b \"true && exit 3\" status 3', 'run b false', 'ping a 192.0.2.77 by 200ms']"
    );
    fs::write("/run/kept.toml", &file).unwrap();
    let words =
        ["lab", "test", "/run/kept.toml", "--junit", "/run/kept.xml", "--capture", "/run/kept"];
    let output = adit(&words);
    let printed = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{printed}{}", text(&output.stderr));
    assert!(printed.contains("failed: 3 ok, 2 failed"), "{printed}");
    assert!(printed.contains("run b false: status 1"), "{printed}");
    let read = "import sys, xml.dom.minidom as x; d = x.parse(sys.argv[1]); \
        print(len(d.getElementsByTagName('testcase')), len(d.getElementsByTagName('failure')))";
    let parsed = command(["python3", "-c", read, "/run/kept.xml"]).output().unwrap();
    assert_eq!(text(&parsed.stdout).trim(), "5 2", "{}", text(&parsed.stderr));
    // Only what failed in the end has its packets: the request for the address of the router at least.
    let files: Vec<_> =
        fs::read_dir("/run/kept").unwrap().map(|file| file.unwrap().path()).collect();
    assert_eq!(files.len(), 2, "{files:?}");
    for file in files {
        assert_eq!(fs::read(&file).unwrap()[..4], [0x0a, 0x0d, 0x0d, 0x0a]);
    }
    // The lab has ended.
    let list = adit(&["-j", "lab", "list"]);
    assert_eq!(parse(&text(&list.stdout)), serde_json::json!([]));
}

#[test]
fn seeds_are_replayed_with_trace_and_packets() {
    enter();
    let file = format!(
        "{LAB}
        [[step]]
        set = {{ link = 'slow', loss = '20%' }}
        expect = 'ping a b count 3 loss <= 1% by 1ms'"
    );
    fs::write("/run/seeds.toml", &file).unwrap();
    let words = ["-j", "lab", "sim", "/run/seeds.toml", "--seeds", "20", "--capture", "/run/seeds"];
    let (first, again) = (adit(&words), adit(&words));
    assert_eq!(first.status.code(), Some(1), "{}", text(&first.stderr));
    assert_eq!(text(&first.stdout), text(&again.stdout), "the order of threads does not show");
    validate(&[("lab-sim", text(&first.stdout))]);
    let result = parse(&text(&first.stdout));
    assert_eq!(result["runs"], 20);
    let seed = result["reports"][0]["seed"].as_u64().unwrap();
    let folder = format!("/run/seeds/seed-{seed}");
    let trace = fs::read(format!("{folder}/trace.txt")).unwrap();
    let packets = fs::read(format!("{folder}/slow.pcapng")).unwrap();
    // The printed command does the same again.
    let replay = result["replay"][0].as_str().unwrap();
    assert!(replay.starts_with("adit lab sim /run/seeds.toml --seed"), "{replay}");
    let script = format!("cd /run && exec {ADIT}{}", replay.strip_prefix("adit").unwrap());
    let output = command(["sh", "-c", &script]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stdout));
    assert!(text(&output.stdout).contains("FAILED   ping a b"), "{}", text(&output.stdout));
    assert!(trace == fs::read(format!("/run/seed-{seed}.txt")).unwrap(), "the same events");
    assert!(packets == fs::read(format!("/run/seed-{seed}/slow.pcapng")).unwrap());
    let read = command(["tshark", "-r", &format!("{folder}/slow.pcapng"), "-Y", "icmp"]).output();
    assert!(text(&read.unwrap().stdout).contains("Echo (ping) request"));
}

#[test]
fn a_file_without_steps_or_with_a_wrong_one_is_refused() {
    enter();
    fs::write("/run/none.toml", LAB).unwrap();
    fs::write("/run/wrong.toml", format!("{LAB}\n[[step]]\nexpect = 'ping a c'")).unwrap();
    for verb in ["sim", "test"] {
        let none = adit(&["lab", verb, "/run/none.toml"]);
        assert_eq!(none.status.code(), Some(2));
        assert!(text(&none.stderr).contains("has no steps"), "{}", text(&none.stderr));
        let wrong = adit(&["lab", verb, "/run/wrong.toml"]);
        assert_eq!(wrong.status.code(), Some(2));
        assert!(text(&wrong.stderr).contains("unknown node: `c`"), "{}", text(&wrong.stderr));
    }
}

/// `adit lab test` is killed in the middle of a step.
#[test]
fn a_killed_test_leaves_no_lab() {
    enter();
    let file = format!("{LAB}[[step]]\nexpect = 'run a \"sleep 100\" status 0'\n");
    fs::write("/run/killed.toml", file).unwrap();
    let mut test = bare(ADIT).args(["lab", "test", "/run/killed.toml"]).spawn().unwrap();
    let labs = || parse(&text(&adit(&["-j", "lab", "list"]).stdout)).as_array().unwrap().len();
    let end = Instant::now() + Duration::from_secs(60);
    let wait_for = |count: usize| {
        while labs() != count {
            assert!(Instant::now() < end, "{count} labs");
            sleep(Duration::from_millis(10));
        }
    };
    wait_for(1);
    test.kill().unwrap();
    test.wait().unwrap();
    wait_for(0);
}
