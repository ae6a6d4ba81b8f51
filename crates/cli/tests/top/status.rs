//! `adit status`.

use crate::support::{ADIT, adit_json, bare, enter, run, text, try_adit, validate};
use crate::world::{Running, wait_for};
use serde_json::Value;
use std::process::Stdio;

/// A switch of two TAPs that are up.
fn switch(name: &str) -> Running {
    let words = ["switch", "--name", name, "--port", "tap:a", "--port", "tap:b"];
    let mut command = bare(ADIT);
    let child = command.args(words).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let running = Running(child);
    wait_for("it runs", || try_adit(&["switch", "show", "--name", name]).status.success());
    run("ip link set dev a up");
    run("ip link set dev b up");
    running
}

/// The output of `adit -j status`, and the exit status.
fn status() -> (Value, i32) {
    let output = try_adit(&["-j", "status", "--interval", "0"]);
    let printed = text(&output.stdout);
    validate(&[("status", printed.clone())]);
    (serde_json::from_str(&printed).unwrap(), output.status.code().unwrap())
}

fn codes(status: &Value) -> Vec<&str> {
    let problems = status["problems"].as_array().unwrap().iter();
    problems.map(|one| one["code"].as_str().unwrap()).collect()
}

#[test]
fn a_switch_is_ok_down_stopped_and_dead() {
    enter();
    let (nothing, code) = status();
    assert_eq!((nothing["services"].as_array().unwrap().len(), code), (0, 0));
    let lan = switch("lan");
    wait_for("its ports are up", || status().1 == 0);
    let (ok, _) = status();
    let summary = ok["services"][0]["summary"].as_str().unwrap();
    assert!(summary.starts_with("2 of 2 ports up, "), "{summary}");
    let known = || adit_json("top --once --table addresses")["tables"]["addresses"].clone();
    wait_for("addresses are listed", || known().as_array().is_some_and(|list| !list.is_empty()));
    assert_eq!(known()[0]["switch"], "lan");
    let printed = text(&try_adit(&["status"]).stdout);
    assert!(printed.starts_with("no problems\n"), "{printed}");
    assert!(printed.contains("ok     lan   switch"), "{printed}");

    run("ip link set dev a down");
    wait_for("a port is down", || status().1 == 1);
    let (down, _) = status();
    assert_eq!(
        (codes(&down), &down["problems"][0]["object"]),
        (vec!["ADIT-E0862"], &"tap:a".into())
    );
    assert_eq!(down["services"][0]["state"], "problem");
    run("ip link set dev a up");
    wait_for("it is up again", || status().1 == 0);

    run(&format!("kill -STOP {}", lan.pid()));
    let (stopped, code) = status();
    assert_eq!((codes(&stopped), code), (vec!["ADIT-E0869"], 1));
    assert_eq!(stopped["services"][0]["state"], "no-answer");
    run(&format!("kill -CONT {}", lan.pid()));
    wait_for("it goes on", || status().1 == 0);

    lan.kill();
    let (dead, code) = status();
    assert_eq!((codes(&dead), code), (vec!["ADIT-E0868"], 1));
    assert_eq!(dead["services"][0]["state"], "stale");
    let again = switch("lan");
    wait_for("the name is taken over", || status().1 == 0);
    drop(again);
}

/// Each code of a finding is explained.
#[test]
fn each_finding_is_explained() {
    for code in 860..=871 {
        let all = adit_json(&format!("explain E0{code}"));
        let entry = &all[0];
        for part in ["title", "explanation", "remedy"] {
            assert!(!entry[part].as_str().unwrap().is_empty(), "{code} {part}");
        }
    }
}

/// A root user sees the services of other folders.
#[test]
fn services_of_other_folders_are_seen() {
    enter();
    let _lan = switch("lan");
    let mut other = bare(ADIT);
    std::fs::create_dir_all("/run/user/1000").unwrap();
    other.env("XDG_RUNTIME_DIR", "/run/user/1000");
    other.args(["switch", "--name", "lan", "--port", "tap:c"]);
    let _other = Running(other.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    wait_for("both are listed", || status().0["services"].as_array().unwrap().len() == 2);
    let sockets = status().0;
    assert_eq!(sockets["services"][1]["socket"], "/run/user/1000/adit/lan.sock");
}
