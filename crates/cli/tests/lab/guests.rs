//! Virtual machines in a lab.

use crate::live::{Lab, PATIENCE, find, wait_until};
use crate::support::{ADIT, command, enter, text};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

/// The kernel and the first root file system that `tests/vm/prepare.sh` made.
fn fixture() -> Option<PathBuf> {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/vm");
    let folder = std::env::var_os("ADIT_VM").map_or(default, PathBuf::from);
    if folder.join("initrd.gz").exists() {
        return Some(folder.canonicalize().unwrap());
    }
    let is_required =
        std::env::var("ADIT_REQUIRE").is_ok_and(|what| what.split(',').any(|word| word == "vm"));
    assert!(!is_required, "no guest in {}: ./setup makes it", folder.display());
    println!("skipped: no guest; ./setup makes it");
    None
}

/// The console of a guest, by `adit lab shell`.
struct Console {
    shell: Child,
    keys: ChildStdin,
    lines: Receiver<String>,
}

impl Console {
    fn open(guest: &str) -> Self {
        let mut shell = Command::new(ADIT)
            .args(["lab", "shell", guest])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(shell.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            let lines = output.split(b'\n').map_while(Result::ok);
            let _ = lines
                .map(|line| String::from_utf8_lossy(&line).trim().to_owned())
                .try_for_each(|line| sender.send(line));
        });
        Self { keys: shell.stdin.take().unwrap(), shell, lines }
    }

    /// Runs a line in the guest; what it prints.
    fn run(&mut self, line: &str) -> String {
        writeln!(self.keys, "{line}; echo done").unwrap();
        let mut read = String::new();
        loop {
            match self.lines.recv_timeout(PATIENCE).unwrap() {
                line if line.ends_with("done") => return read,
                line => read += &(line + "\n"),
            }
        }
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}

fn files() -> Vec<String> {
    let entries = std::fs::read_dir("/run/adit").unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn qemu_of(lab: &Lab) -> (String, Option<i32>) {
    let status = lab.show();
    let program = find(&status["nodes"], "vm")["programs"][0].clone();
    let pid = program["pid"].as_i64().map(|pid| i32::try_from(pid).unwrap());
    (program["state"].as_str().unwrap().to_owned(), pid)
}

fn kill(pid: i32) {
    let _ = Command::new("kill").args(["-9", &pid.to_string()]).status();
}

/// A host and a guest on a switch.
fn pc_and_vm(fixture: &Path) -> String {
    format!(
        r#"
name = "lab"
[host.pc]
[guest.vm]
kernel = "{0}/vmlinux"
initrd = "{0}/initrd.gz"
append = "quiet panic=-1 nokaslr adit.address=10.0.0.7/24"
address = "10.0.0.7/24"
# Stock kernels do not get far where KVM is emulated itself.
arguments = ["-accel", "tcg"]
ready = "guest-ready"
restart = "on-failure"
[switch.lan]
[[link]]
ends = ["pc", "lan"]
[[link]]
ends = ["vm", "lan"]
"#,
        fixture.display()
    )
}

/// Nothing of adit runs in a guest, and the errors say what to do.
fn check_refusals(lab: &Lab) {
    let output = lab.adit(&["lab", "exec", "vm", "--", "true"]);
    assert_eq!(output.status.code(), Some(5));
    assert!(text(&output.stderr).contains("adit lab shell vm"), "{}", text(&output.stderr));
    let output = lab.adit(&["lab", "ping", "vm", "pc"]);
    assert!(text(&output.stderr).contains("virtual machine"), "{}", text(&output.stderr));
}

#[test]
fn a_guest_is_a_node_that_is_started_again_and_leaves_nothing() {
    let Some(fixture) = fixture() else { return };
    let file = pc_and_vm(&fixture);
    let lab = Lab::up("lab", &file);
    assert_eq!(lab.json("show").0, Some(0), "its console has printed `ready`: {}", lab.show());
    assert!(lab.lab("logs vm").contains("guest-ready"));
    wait_until("the host reaches the guest", || lab.ping("pc", "vm").is_some());
    let mut console = Console::open("vm");
    let pings = console.run("ping -c 3 -W 20 10.0.0.1");
    assert!(pings.contains("bytes from 10.0.0.1"), "{pings}");
    let line = console.run("cat /proc/cmdline");
    assert!(line.contains(" ip=10.0.0.7:::255.255.255.0:vm:eth0:none"), "{line}");
    // Its packets are seen at its link.
    writeln!(console.keys, "ping -i 0.1 10.0.0.1 >/dev/null &").unwrap();
    let seen = lab.lab("capture vm --for 20s -c 2 icmp");
    assert!(seen.contains("10.0.0.7"), "{seen}");
    drop(console);

    check_refusals(&lab);
    // Its link fails as any other.
    lab.lab("fail vm-lan");
    assert_eq!(lab.ping("pc", "vm"), None);
    lab.lab("heal vm-lan");
    wait_until("the link is healed", || lab.ping("pc", "vm").is_some());

    // It dies: an event, and it is started again with its link.
    let pid = qemu_of(&lab).1.unwrap();
    kill(pid);
    wait_until("it runs again", || {
        let (state, now) = qemu_of(&lab);
        state == "running" && now.is_some_and(|now| now != pid)
    });
    wait_until("the host reaches it again", || lab.ping("pc", "vm").is_some());
    let past = text(&lab.adit(&["-j", "lab", "events", "--past"]).stdout);
    let events: Vec<serde_json::Value> = past.lines().map(crate::support::parse).collect();
    let of_qemu = events.iter().map(|one| &one["event"]);
    let of_qemu = of_qemu.filter(|event| event["part"] == "vm/qemu");
    let states: Vec<&str> = of_qemu.map(|event| event["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["ready", "exited", "restarted"]);

    // A failed node is switched off.
    lab.lab("fail vm");
    assert_eq!(qemu_of(&lab), ("stopped".to_owned(), None));
    lab.lab("heal vm");
    wait_until("the host reaches it once it is healed", || lab.ping("pc", "vm").is_some());

    // A change of it starts it again at once, with the link.
    std::fs::write("/run/lab.toml", file.replace("on-failure", "never")).unwrap();
    assert!(lab.lab("apply").contains("node vm added"));
    wait_until("the changed one is ready", || qemu_of(&lab).0 == "running");
    wait_until("the host reaches the changed one", || lab.ping("pc", "vm").is_some());
    let pid = qemu_of(&lab).1.unwrap();
    kill(pid);
    wait_until("it stays away", || qemu_of(&lab).0 == "failed");
    let status = lab.show();
    let problems = status["problems"].to_string();
    assert!(problems.contains("program vm/qemu: it has exited with status 137"), "{problems}");
    assert!(problems.contains("link vm-lan has no end at vm"), "{problems}");
    lab.lab("down");
    assert_eq!(files(), Vec::<String>::new());

    // kill -9 of the lab.
    let lab = Lab::up_as("lab", &file.replace("ready =", "memory = 255 #"), Vec::new());
    let pid = qemu_of(&lab).1.unwrap();
    assert!(files().iter().any(|name| name.starts_with("lab.guest-")), "{:?}", files());
    kill(lab.show()["pid"].as_i64().unwrap().try_into().unwrap());
    wait_until("QEMU ends with the lab", || !Path::new(&format!("/proc/{pid}")).exists());
    let output = command([ADIT, "lab", "list"]).output().unwrap();
    assert!(output.status.success());
    assert_eq!(files(), Vec::<String>::new(), "the next command of labs cleans up");
}

#[test]
fn a_guest_that_cannot_start_degrades_the_lab() {
    enter();
    let file = "[guest.vm]\nkernel = '/none'\n[host.a]\n[[link]]\nends = ['a', 'vm']\n";
    std::fs::write("/run/lab.toml", file).unwrap();
    let lab = Lab { name: "lab", before: Vec::new() };
    let up = lab.adit(&["lab", "up", "-d", "/run/lab.toml"]);
    let error = text(&up.stderr);
    assert_eq!(up.status.code(), Some(4), "{error}");
    assert!(error.contains("cannot open /none, the kernel of guest 'vm'"), "{error}");

    let file = file.replace("/none'", "/dev/null'\narguments = ['-nonsense']");
    std::fs::write("/run/lab.toml", file).unwrap();
    let up = lab.adit(&["lab", "up", "-d", "/run/lab.toml"]);
    let error = text(&up.stderr);
    assert_eq!(up.status.code(), Some(1), "{error}");
    assert!(error.contains("'lab' is degraded: program vm/qemu: it has exited"), "{error}");
    assert!(lab.lab("logs vm").contains("nonsense"), "{}", lab.lab("logs vm"));
}
