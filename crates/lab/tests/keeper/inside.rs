//! Files, mounts and host names of nodes.

use crate::support::{begin, command, done, node, private, program, start, succeeds};
use adit_device::process::Child;
use adit_lab::enter;
use adit_lab::keeper::{Done, Door, Keeper, NodeKey, Order, Private};
use adit_topology::model::PrivateFile;
use rustix::process::Signal;
use std::ffi::OsString;

fn file(path: &str, text: &str) -> PrivateFile {
    PrivateFile { path: path.into(), text: text.to_owned(), mode: 0o640 }
}

pub(crate) fn programs_of_a_node_share_their_files() {
    let mut keeper = start();
    done(&mut keeper, [node(1), node(2)]);
    let files = vec![file("/etc/new-daemon/main.conf", "a = 1\n"), file("/run/state/x", "y")];
    let private = Private { resolv_conf: "nameserver 10.0.0.53\n".into(), files, ..private() };
    done(&mut keeper, [Order::Private(NodeKey(1), private)]);
    let seen = "hostname; cat /etc/hosts /etc/resolv.conf /etc/new-daemon/main.conf /run/state/x; \
                stat -c %a /etc/new-daemon/main.conf; ls /sys/class/net";
    let wanted = "h1\n127.0.0.1 localhost\nnameserver 10.0.0.53\na = 1\ny640\nlo\n";
    assert_eq!(succeeds(&mut keeper, 1, seen), wanted);
    // The rest of /etc is the host's.
    succeeds(&mut keeper, 1, "test -s /etc/passwd");
    succeeds(&mut keeper, 1, "echo one > /run/socket; echo two > /etc/written");
    assert_eq!(succeeds(&mut keeper, 1, "cat /run/socket /etc/written"), "one\ntwo\n");
    assert_ne!(
        command(&mut keeper, 2, "ls /run/socket /run/state /etc/new-daemon").status,
        Some(0)
    );
    assert!(!std::fs::exists("/etc/written").unwrap() && !std::fs::exists("/run/socket").unwrap());
}

pub(crate) fn files_change_while_programs_run() {
    let mut keeper = start();
    done(&mut keeper, [node(1)]);
    begin(&mut keeper, program(1, 1, "echo kept > /run/kept; exec sleep 1000"));
    let files = vec![file("/etc/a.conf", "1"), file("/etc/b.conf", "2")];
    let now = Private { hosts: "10.0.0.2 other\n".into(), files, ..private() };
    done(&mut keeper, [Order::Private(NodeKey(1), now.clone())]);
    let seen = succeeds(&mut keeper, 1, "cat /etc/hosts /etc/a.conf /etc/b.conf");
    assert_eq!(seen, "10.0.0.2 other\n12");
    let files = vec![file("/etc/b.conf", "3")];
    done(&mut keeper, [Order::Private(NodeKey(1), Private { files, ..now })]);
    let wait = "for i in $(seq 1000); do test -s /run/kept && break; sleep 0.01; done";
    succeeds(&mut keeper, 1, wait);
    assert_eq!(
        succeeds(&mut keeper, 1, "cat /etc/b.conf /run/kept; ls /etc/a.conf || true"),
        "3kept\n"
    );
}

/// The status of a command in a node, as `adit lab exec` runs it.
fn entered(keeper: &Keeper, door: &Door, line: &str) -> Child {
    let words: Vec<OsString> = ["sh", "-c", line].map(Into::into).to_vec();
    let environment = [("ADIT_NODE".into(), "h1".into())];
    assert!(keeper.pid() > 0);
    Child::fork(|| enter(door, &words, &environment).unwrap()).unwrap()
}

pub(crate) fn a_command_enters_a_node() {
    let mut keeper = start();
    let made = done(&mut keeper, [node(1), Order::Door(NodeKey(1))]);
    let Some(Done::Door(door)) = made.last() else { panic!("{made:?}") };
    begin(&mut keeper, program(1, 1, "echo shared > /run/shared; exec sleep 1000"));
    let here = std::env::current_dir().unwrap();
    let line = format!(
        "test $(hostname) = h1 && test $ADIT_NODE = h1 && test $PWD = {} && \
         test $(ls /sys/class/net) = lo && pgrep -x sleep && \
         for i in $(seq 1000); do test -s /run/shared && exit 42; sleep 0.01; done",
        here.display()
    );
    assert_eq!(entered(&keeper, door, &line).wait().unwrap(), 42);
    // Signals of others reach the command.
    let child = entered(&keeper, door, "echo > /run/ready; exec sleep 1000");
    succeeds(
        &mut keeper,
        1,
        "for i in $(seq 1000); do test -e /run/ready && break; sleep 0.01; done",
    );
    succeeds(
        &mut keeper,
        1,
        "for i in $(seq 1000); do [ $(pgrep -x sleep | wc -l) -gt 1 ] && break; done",
    );
    child.signal(Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap(), 128 + 15);
    // It ends with the lab.
    let child = entered(&keeper, door, "echo > /run/inside; exec sleep 1000");
    let inside = "for i in $(seq 1000); do test -e /run/inside && break; sleep 0.01; done";
    succeeds(&mut keeper, 1, inside);
    let door = door.clone();
    drop(keeper);
    assert_eq!(child.wait().unwrap(), 128 + 9);
    let gone = Child::fork(|| {
        let error = enter(&door, &["true".into()], &[]).unwrap_err();
        u8::from(error.to_string() != "the lab has ended")
    });
    assert_eq!(gone.unwrap().wait().unwrap(), 0);
}
