//! `adit switch save`: changes of a running switch in its file.

use crate::program::{Program, hosts};
use crate::support::{adit, adit_json, refused, validate};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;

const LAB: &str = "/run/lab.toml";

const TEXT: &str = "\
# The lab.
name = \"lab\"

[[port]]
port = \"tap:a\"
vlan = 10 # of the office

[[port]]
port = \"tap:b\"
";

fn unsaved() -> Value {
    adit_json("switch show")["unsaved"].clone()
}

#[test]
fn changes_of_a_running_switch_are_shown_and_saved() {
    hosts(&[]);
    fs::write(LAB, TEXT).unwrap();
    fs::set_permissions(LAB, fs::Permissions::from_mode(0o640)).unwrap();
    let mut program = Program::start(&format!("switch --config {LAB}"));
    assert_eq!((unsaved(), adit_json("switch show")["file"].clone()), (Value::Null, json!(LAB)));
    assert_eq!(adit("switch save"), "nothing changed\n");
    adit("switch port add tap:c,vlan=20,netem=delay=20ms+loss=1%");
    adit("switch port del b");
    adit("switch set a trunk=10+20");
    adit("switch set ageing=60s");
    adit("switch fdb add 02:00:00:00:00:01 c --vlan 20");
    let expected = [
        "the switch: ageing=1m",
        "tap:b removed",
        "tap:a: trunk=10+20",
        "tap:c added",
        "02:00:00:00:00:01 added to tap:c",
    ];
    assert_eq!(unsaved(), json!(expected));
    let show = adit("switch show");
    assert!(
        show.contains("not in /run/lab.toml ('adit switch save' writes it):\n  the switch:"),
        "{show}"
    );
    validate(&[("switch-show", adit("-j switch show"))]);
    let planned = adit("--dry-run switch save");
    assert_eq!(planned, format!("{}\nwrite {LAB}\n", expected.join("\n")));
    assert_eq!(fs::read_to_string(LAB).unwrap(), TEXT);
    // A copy leaves the switch and its file as they are.
    adit("switch save lab /run/copy.toml");
    let (exit, errors) = refused("switch save /run/copy.toml");
    assert!(exit == 5 && errors.contains("/run/copy.toml"), "{errors}");
    assert_eq!(unsaved(), json!(expected));

    let told = adit("switch save lab");
    assert_eq!(told, format!("{}\nsaved to {LAB}\n", expected.join("\n")));
    assert_eq!(unsaved(), Value::Null);
    let text = fs::read_to_string(LAB).unwrap();
    assert_eq!(fs::read_to_string("/run/copy.toml").unwrap(), text);
    assert_eq!(fs::metadata(LAB).unwrap().permissions().mode() & 0o7777, 0o640);
    assert!(text.starts_with("# The lab.\nname = \"lab\"\n"), "{text}");
    assert!(!text.contains("tap:b"), "{text}");
    // The switch has what the file has: a reload changes nothing, a removed port goes.
    program.signal("HUP");
    assert_eq!(program.wait_for("reloaded")["done"], json!([]));
    let before = adit_json("switch show")["ports"].clone();
    adit("switch stop");
    assert!(program.wait().success());
    let _program = Program::start(&format!("switch --config {LAB}"));
    let after = adit_json("switch show")["ports"].clone();
    for key in ["name", "port", "vlan", "netem"] {
        for at in 0..2 {
            assert_eq!(before[at][key], after[at][key], "{key}");
        }
    }
    assert_eq!(adit_json("switch fdb")[0]["port"], "tap:c");
}

#[test]
fn a_switch_without_a_file_is_saved_as_a_new_one() {
    hosts(&[]);
    let program = Program::start(
        "switch --port tap:a,vlan=5 --ageing 60s --seed 7 --mirror /run/all.pcapng --page 9587",
    );
    adit("switch port add tap:b,isolated");
    assert_eq!(adit_json("switch show").get("file"), None);
    let (exit, errors) = refused("switch save");
    assert!(exit == 2 && errors.contains("adit switch save lab.toml"), "{errors}");
    adit("switch save /run/new.toml");
    drop(program);
    assert!(adit("check /run/new.toml").contains("a switch, no errors"));
    let _program = Program::start("switch --config /run/new.toml");
    crate::support::run("curl -sf -o /dev/null http://127.0.0.1:9587/page");
    let show = adit_json("switch show");
    assert_eq!((&show["seed"], &show["ageing_s"]), (&json!(7), &json!(60.0)));
    assert_eq!(show["ports"][0]["vlan"], json!({"mode": "access", "vlan": 5}));
    assert_eq!(
        (&show["ports"][1]["isolated"], &show["mirrors"][0]["to"]),
        (&json!(true), &json!("/run/all.pcapng"))
    );
}

/// Ports that a guest's socket or an option brought, and one that has ended by itself, are no changes.
#[test]
fn what_nobody_changed_is_not_unsaved() {
    hosts(&[]);
    fs::write(
        LAB,
        "[[port]]\nport = 'tap:a%d'\n[[port]]\nport = 'unix:guests'\n[[port]]\nport = 'tap:b'\n",
    )
    .unwrap();
    let mut program = Program::start(&format!("switch --config {LAB} --port tap:z"));
    let _guest = std::os::unix::net::UnixStream::connect("/run/guests").unwrap();
    program.wait_for("port-added");
    crate::support::run("ip link del dev b");
    program.wait_for("port-gone");
    assert_eq!(unsaved(), Value::Null);
    adit("switch set z vlan=3");
    assert_eq!(unsaved(), json!(["tap:z: vlan=3"]));
    let told = crate::support::try_adit(&["switch", "save"]);
    assert!(crate::support::text(&told.stderr).contains("not saved: tap:z: vlan=3"));
    assert_eq!(unsaved(), json!(["tap:z: vlan=3"]), "it is not in the file");
}
