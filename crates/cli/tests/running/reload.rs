//! The configuration is read again while traffic goes on.

use crate::program::{PATIENCE, Program, address, hosts, reaches};
use crate::support::{ADIT, adit, adit_json, bare, command, refused, text};
use std::fs;
use std::os::unix::net::UnixDatagram;
use std::process::Stdio;

const LAB: &str = "/run/lab.toml";

fn write(third: &str) {
    fs::write(
        LAB,
        format!(
            "name = 'lab'\n[[port]]\nport = 'tap:a'\nnetns = 'na'\n\
             [[port]]\nport = 'tap:b'\nnetns = 'nb'\n{third}"
        ),
    )
    .unwrap();
}

#[test]
fn a_reload_changes_what_changed_and_loses_no_frame() {
    hosts(&["na", "nb"]);
    write("[[port]]\nport = 'tap:c'\nvlan = 10\n");
    let mut program = Program::start(&format!("switch --config {LAB}"));
    address("na", "a", "192.0.2.1/24");
    address("nb", "b", "192.0.2.2/24");
    assert!(reaches("na", "192.0.2.2"));
    // A ping each 10 ms while ports come, change and go; no more than ping's own socket has room for,
    // should the machine stand still meanwhile.
    let ping = command("ip netns exec na ping -n -i 0.01 -c 250 -w 100 192.0.2.2".split(' '))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    for round in 0..10 {
        let third = match round % 3 {
            0 => "[[port]]\nport = 'tap:c'\nvlan = 20\n[switch]\nageing = '60s'\n",
            1 => "[[port]]\nport = 'tap:d'\n[[mirror]]\nfile = 'all.pcapng'\nports = ['c', 'd']\n",
            _ => "",
        };
        write(&third.replace("'c', ", ""));
        program.signal("HUP");
        program.wait_for("reloaded");
    }
    let output = ping.wait_with_output().unwrap();
    let text = text(&output.stdout);
    assert!(crate::support::lost_echoes(&text, 250).is_empty(), "{text}");
    let done: Vec<String> = (program.seen.iter())
        .filter_map(|event| event["done"].as_array())
        .flatten()
        .map(|what| what.as_str().unwrap().to_owned())
        .collect();
    for what in ["tap:c changed", "tap:c removed", "tap:c added", "tap:d added", "tap:d removed"] {
        assert!(done.iter().any(|done| done == what), "{what}: {done:?}");
    }
    assert!(done.iter().all(|done| !done.starts_with("tap:a") && !done.starts_with("tap:b")));
}

#[test]
fn a_bad_file_is_reported_and_changes_nothing() {
    hosts(&["na", "nb"]);
    write("[[port]]\nport = 'tap:c'\nvlan = 10\n");
    let mut program = Program::start(&format!("switch --config {LAB}"));
    for bad in ["vlna = 10\n", "[[port]\n", "[[port]]\nport = 'tap:c'\nvlan = 'x'\n", "\u{0}"] {
        write(bad);
        program.signal("HUP");
        let failed = program.wait_for("failed");
        assert!(failed["message"].as_str().unwrap().contains(LAB), "{failed}");
        let (exit, errors) = refused("switch reload");
        assert_eq!(exit, 2, "{errors}");
        assert!(errors.contains(&format!("{LAB}:")), "{errors}");
    }
    let vlan = adit_json("switch show c")[0]["vlan"]["vlan"].clone();
    assert_eq!(vlan, 10);
    write("[[port]]\nport = 'tap:c'\nvlan = 11\n");
    assert_eq!(adit("switch reload"), "tap:c changed\n");
}

#[test]
fn a_port_added_by_hand_stays() {
    hosts(&["na", "nb"]);
    write("");
    let _program = Program::start(&format!("switch --config {LAB}"));
    adit("switch port add tap:x");
    adit("switch set a isolated");
    write("[[port]]\nport = 'tap:c'\n");
    assert_eq!(adit("switch reload"), "tap:c added\n");
    let show = adit_json("switch show");
    let names: Vec<&str> =
        show["ports"].as_array().unwrap().iter().map(|p| p["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["tap:a", "tap:b", "tap:x", "tap:c"]);
    assert_eq!(show["ports"][0]["isolated"], true);
}

#[test]
fn the_service_manager_is_notified() {
    hosts(&["na", "nb"]);
    write("");
    let socket = UnixDatagram::bind("/run/notify.sock").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let next = || {
        let mut buf = [0; 200];
        let len = socket.recv(&mut buf).unwrap();
        String::from_utf8_lossy(&buf[..len]).into_owned()
    };
    let mut command = bare(ADIT);
    command.args(["-j", "switch", "--config", LAB]).env("NOTIFY_SOCKET", "/run/notify.sock");
    let mut program = Program::spawn(&mut command);
    assert_eq!(next(), "READY=1");
    program.signal("HUP");
    let text = next();
    assert!(text.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{text}");
    assert_eq!(next(), "READY=1");
    program.signal("TERM");
    assert_eq!(next(), "STOPPING=1");
    assert!(program.wait().success());
}
