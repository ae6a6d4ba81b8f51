//! kill -9 during `dev add`, at every system call: nothing is left, or the whole device.

use crate::support::{ADIT, adit, adit_json, command, enter, run};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt;

const ADD: &str = "dev add kill0 --mode tap --user 0 --group 0 --addr 192.0.2.1/24 \
                   --addr 2001:db8::1/64,nodad --route 198.51.100.0/24,via=192.0.2.9 --mtu 1400 \
                   --txqueuelen 77 --alias text --mac 02:00:00:00:00:07 --up";

/// How often each system call is made.
fn system_calls(trace: &str) -> BTreeMap<String, usize> {
    let mut calls = BTreeMap::new();
    for line in trace.lines() {
        // With -f, a line may begin with the number of the process.
        let line = line.trim_start_matches(|c: char| c.is_ascii_digit() || c == ' ');
        if let Some((call, _)) = line.split_once('(')
            && call.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        {
            *calls.entry(call.to_owned()).or_default() += 1;
        }
    }
    calls
}

fn assert_whole(at: &str) {
    let devices = adit_json("dev show");
    let device = &devices[0];
    let data = &device["linkinfo"]["info_data"];
    let seen = [&data["user"], &data["group"], &data["persist"], &device["ifalias"]];
    let wanted = ["root".into(), "root".into(), Value::from(true), "text".into()];
    assert_eq!(seen.map(Clone::clone), wanted, "{at}");
    assert_eq!((&device["mtu"], &device["txqlen"]), (&1400.into(), &77.into()), "{at}");
    assert_eq!(device["address"], "02:00:00:00:00:07", "{at}");
    assert!(device["flags"].as_array().unwrap().contains(&Value::from("UP")), "{at}: {device}");
    let addresses = device["addr_info"].as_array().unwrap().iter();
    let addresses: Vec<_> = addresses.filter_map(|address| address["local"].as_str()).collect();
    assert!(addresses.contains(&"192.0.2.1") && addresses.contains(&"2001:db8::1"), "{at}");
    let routes = run("ip route show dev kill0");
    assert!(routes.contains("198.51.100.0/24 via 192.0.2.9"), "{at}: {routes}");
}

#[test]
fn a_kill_leaves_nothing_or_the_whole_device() {
    enter();
    let trace = std::env::temp_dir().join(format!("adit-kill-{}", std::process::id()));
    let path = trace.display();
    run(&format!("strace -f -o {path} {ADIT} {ADD}"));
    let calls = system_calls(&fs::read_to_string(&trace).unwrap());
    fs::remove_file(&trace).unwrap();
    assert_whole("not killed");
    adit("dev del kill0");
    assert!(calls.get("ioctl").is_some_and(|count| *count >= 5), "{calls:?}");

    let (mut nothing, mut whole) = (0, 0);
    // The first execve is strace's own.
    for (call, count) in calls.iter().filter(|(call, _)| *call != "execve") {
        for number in 1..=*count {
            let at = format!("{call} {number}");
            let inject = format!("inject={call}:signal=KILL:when={number}");
            let line = format!("strace -f -o /dev/null -e {inject} {ADIT} {ADD}");
            let status = command(line.split_whitespace()).output().unwrap().status;
            // strace ends as its child did; timeout(1) too, or by 128 + 9.
            let killed = status.signal() == Some(9) || status.code() == Some(137);
            if adit_json("dev show") == Value::Array(Vec::new()) {
                assert!(killed, "{at}: {status}");
                nothing += 1;
            } else {
                assert_whole(&at);
                whole += 1;
                adit("dev del kill0");
            }
        }
    }
    println!("{nothing} times nothing, {whole} times the device");
    assert!(nothing > 20 && whole > 0, "{nothing} times nothing, {whole} times the device");
}
