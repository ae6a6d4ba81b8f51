//! Several programs of one kind, their names, and the signals that end them.

use crate::program::{Program, hosts, try_run};
use crate::support::{ADIT, adit, adit_json, bare, refused, run};
use std::fs;

#[test]
fn a_second_switch_says_its_name_and_a_port_selects_its_switch() {
    hosts(&[]);
    let mut first = Program::start("switch --port tap:a --port tap:both");
    let mut second = Program::start("switch --port tap:b --port tap:c,name=tap:both");
    let note = second.wait_for("note")["message"].clone();
    assert_eq!(first.count("note"), 0);
    assert!(note.as_str().unwrap().contains("named 'switch-2'"), "{note}");
    // A port that only one has selects it.
    assert_eq!(adit_json("switch show b")[0]["name"], "tap:b");
    assert_eq!(adit("switch set tap:b vlan=7"), "tap:b changed\n");
    adit("switch fdb add 02:00:00:00:00:01 b --vlan 7");
    assert_eq!(adit_json("switch fdb --port b")[0]["mac"], "02:00:00:00:00:01");
    assert_eq!(adit("switch port del a"), "tap:a removed\n");
    // Else the choices are listed, and the remedy works.
    for line in
        ["switch show", "switch show both", "switch stop", "switch port add tap:x", "switch save"]
    {
        let (exit, errors) = refused(line);
        assert_eq!(exit, 2, "{line}: {errors}");
        assert!(
            errors.contains("switch, switch-2") && errors.contains("--name switch-2"),
            "{errors}"
        );
    }
    assert_eq!(adit("switch stop --name switch-2"), "'switch-2' stopped\n");
    assert_eq!(adit("switch show").lines().count(), 4);
}

#[test]
fn a_second_link_says_its_name_too() {
    hosts(&[]);
    let _first = Program::start("netem --port tap:a --port tap:b");
    let mut second = Program::start("netem --port tap:c --port tap:d");
    assert!(second.wait_for("note")["message"].as_str().unwrap().contains("named 'netem-2'"));
    let (exit, errors) = refused("netem show");
    assert!(exit == 2 && errors.contains("netem, netem-2"), "{errors}");
    assert_eq!(adit_json("netem show netem-2")["name"], "netem-2");
    assert_eq!(adit_json("netem show --name netem")["name"], "netem");
}

/// Outside of a session, as under cron, the variable of the runtime folder is missing.
#[test]
#[ignore = "needs the initial user namespace"]
fn root_a_user_without_a_session_learns_where_sockets_may_be() {
    hosts(&[]);
    run("chmod 0711 /run");
    let program = crate::support::adit_of_all();
    let user = "setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all";
    let line = format!("{user} {program} run --net nat --name own -- {program} list");
    let (ok, text) = try_run(&line);
    assert!(!ok && text.contains("Set XDG_RUNTIME_DIR"), "none can be made: {text}");
    fs::create_dir("/run/adit").unwrap();
    let (ok, text) = try_run(&line);
    assert!(!ok && text.contains("Set XDG_RUNTIME_DIR"), "it is another user's: {text}");
    run("install -d -o 65534 -m 0700 /run/user/65534");
    let (ok, text) = try_run(&line);
    assert!(ok && text.contains("own"), "{text}");
}

/// The terminal goes: a program without a file ends, unless it was started by nohup.
#[test]
fn a_hangup_ends_what_has_no_file() {
    hosts(&[]);
    fs::write("/run/lab.toml", "[[port]]\nport = 'tap:f'\n").unwrap();
    fs::write("/run/fast.toml", "delay = '1ms'\n").unwrap();
    for (line, ends) in [
        ("switch --port tap:a", true),
        ("netem --port tap:b --port tap:c", true),
        ("switch --config /run/lab.toml", false),
        ("netem --profile /run/fast.toml --port tap:d --port tap:e", false),
    ] {
        let mut program = Program::start(line);
        program.signal("HUP");
        if ends {
            assert!(program.wait().success(), "{line}");
        } else {
            program.wait_for("reloaded");
        }
    }
    assert_eq!(run("ip -br link show type tun"), "");
    let script = format!("trap '' HUP; exec {ADIT} -j switch --port tap:a");
    let mut program = Program::spawn(bare("sh").args(["-c", &script]));
    program.wait_for("ready");
    program.signal("HUP");
    assert_eq!(adit_json("switch show")["ports"][0]["state"], "forwarding");
    assert_eq!(adit("switch stop"), "'switch' stopped\n");
    assert!(program.wait().success());
}

#[test]
fn a_switch_without_ports_is_a_warning_and_an_empty_file_an_error() {
    hosts(&[]);
    fs::write("/run/empty.toml", "# nothing\n").unwrap();
    for line in [
        "check /run/empty.toml",
        "switch --config /run/empty.toml",
        "netem --config /run/empty.toml",
        "netem --profile /run/empty.toml --port tap:a --port tap:b",
        "switch --port tap:a,netem=/run/empty.toml",
    ] {
        let (exit, errors) = refused(line);
        assert!(exit == 2 && errors.contains("the file has no settings"), "{line}: {errors}");
    }
    fs::write(
        "/run/lab.toml",
        "name = 'lab'\n[[port]]\nport = 'tap:a'\nvlan = 1\n[[port]]\nport = 'tap:b'\n",
    )
    .unwrap();
    fs::write("/run/bare.toml", "[switch]\nageing = '60s'\n").unwrap();
    for (file, warning) in
        [("bare", "the switch has no ports"), ("lab", "port tap:b has no `vlan`")]
    {
        let checked = adit_json(&format!("check /run/{file}.toml"))[0]["warnings"][0].clone();
        assert!(checked.as_str().unwrap().contains(warning), "{checked}");
        let mut program = Program::start(&format!("switch --config /run/{file}.toml"));
        let note = program.wait_for("note")["message"].clone();
        assert!(note.as_str().unwrap().contains(warning), "{note}");
    }
}
