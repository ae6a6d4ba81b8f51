//! Labs in their sandbox: changed, broken, read again and ended, by a loop that can open nothing.

use crate::live::{Lab, PATIENCE, find, wait_until};
use crate::support::{ADIT, bare, enter, run, text};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

/// Where its standard error goes.
const LOG: &str = "/run/lab.log";

/// Two switches, a way out, a plain cable, a program that is started again, a file of the host.
const FILE: &str = r#"
name = "lab"
include = ["/run/hosts.toml"]
[switch.s]
[switch.t]
[nat.out]
[outside.socket]
port = "unix:x.port"
[[link]]
ends = ["socket", "s"]
[[link]]
ends = ["a", "s"]
[[link]]
name = "cable"
ends = ["a", "b"]
[[link]]
name = "inside"
ends = ["s", "t"]
[[link]]
ends = ["t", "out"]
[[link]]
name = "wan"
ends = ["b", "t"]
delay = "20ms"
"#;

const HOSTS: &str = r#"
[host.a]
run = [{ command = "sleep 1000", name = "long", restart = "always" }]
[host.a.file]
"/etc/own" = { from = "/run/own", mode = "600" }
[host.b]
"#;

/// A lab that runs in the foreground, with all stages of the sandbox.
struct Foreground {
    lab: Lab,
    child: Child,
}

impl Foreground {
    fn up(file: &str) -> Self {
        fs::write("/run/lab.toml", file).unwrap();
        let log = fs::File::create(LOG).unwrap();
        let mut command = bare(ADIT);
        command.args(["lab", "up", "--sandbox", "require", "lab.toml"]).current_dir("/run");
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let this = Self { lab: Lab { name: "lab", before: Vec::new() }, child };
        wait_until("the lab is ready", || fs::read_to_string(LOG).unwrap().contains("is running"));
        this
    }

    fn number(&self, key: &str) -> u64 {
        let show = self.lab.show();
        show.get(key).unwrap_or(&show["sandbox"][key]).as_u64().unwrap()
    }

    /// Why a command of `adit lab` fails.
    fn refused(&self, line: &str) -> String {
        let words: Vec<&str> = ["lab"].into_iter().chain(line.split(' ')).collect();
        let output = self.lab.adit(&words);
        assert!(!output.status.success(), "{line}: {}", text(&output.stdout));
        text(&output.stderr)
    }

    /// Waits for its end; its status, and that no call was missing and nothing is left.
    fn ended(&mut self) -> Option<i32> {
        let end = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < end, "it does not end");
            std::thread::sleep(std::time::Duration::from_millis(5));
        };
        let log = fs::read_to_string(LOG).unwrap();
        assert!(!log.contains("the sandbox forbids"), "{log}");
        let files = ["/run/netns", "/run/adit"].map(|folder| fs::read_dir(folder).unwrap().count());
        assert_eq!(files, [0, 0], "{log}");
        status.code()
    }
}

impl Drop for Foreground {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn write(path: &str, text: &str, mode: u32) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn no_thread_has_a_capability(pid: u64) {
    let threads = || fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    wait_until("one follows the name servers", || threads().count() > 1);
    for thread in threads() {
        // One that reads a file ends with it.
        let Ok(status) = fs::read_to_string(thread.path().join("status")) else { continue };
        for line in ["CapEff:\t0000000000000000", "CapPrm:\t0000000000000000", "NoNewPrivs:\t1"] {
            assert!(status.contains(line), "{line} {status}");
        }
    }
}

/// By a pipe.
fn packets_inside_are_captured(lab: &Lab) {
    let capture = bare(ADIT)
        .args(["lab", "capture", "inside", "-c", "1", "-w", "/run/x.pcapng"])
        .stderr(Stdio::null())
        .spawn();
    let mut capture = capture.unwrap();
    wait_until("a packet is captured", || {
        lab.adit(&["lab", "exec", "b", "--", "ping", "-c", "1", "-W", "1", "10.0.0.77"]);
        capture.try_wait().unwrap().is_some()
    });
    assert!(fs::metadata("/run/x.pcapng").unwrap().len() > 0);
}

#[test]
fn a_lab_in_its_sandbox_is_changed_broken_captured_read_again_and_ended() {
    enter();
    fs::write("/run/own", "first").unwrap();
    write("/run/hosts.toml", HOSTS, 0o600);
    let mut running = Foreground::up(FILE);
    let lab = &running.lab;
    // Nobody has connected to its socket: it is degraded, and says what is in force.
    let show = text(&lab.adit(&["lab", "show"]).stdout);
    assert!(show.contains("\nsandbox: no capabilities, files by Landlock"), "{show}");
    let pid = running.number("pid");
    no_thread_has_a_capability(pid);
    assert_eq!(lab.sh("a", "cat /etc/own"), "first");
    assert_eq!(fs::read_dir("/run/netns").unwrap().count(), 2);

    // Links: emulated, plain, failed, healed; counters of plain ones are the kernel's.
    lab.lab("set wan delay=40ms");
    lab.sh("a", "ping -c 1 -w 30 b");
    assert!(find(&lab.show()["links"], "cable")["from_a"]["frames"].as_u64() > Some(0));
    lab.lab("set cable delay=1ms");
    lab.lab("fail wan");
    lab.lab("fail a");
    lab.lab("heal");
    wait_until("the program runs again", || {
        find(&lab.show()["nodes"], "a")["programs"][0]["state"] == "running"
    });
    let first = find(&lab.show()["nodes"], "a")["programs"][0]["pid"].as_u64().unwrap();
    run(&format!("kill -9 {first}"));
    wait_until("the program is started again", || {
        let nodes = lab.show()["nodes"].clone();
        let program = &find(&nodes, "a")["programs"][0];
        program["state"] == "running" && program["pid"].as_u64() != Some(first)
    });
    lab.sh("b", "ping -c 1 -w 30 a");

    packets_inside_are_captured(lab);

    // The file of the start, its files and ports of the host: changed, read again.
    fs::write("/run/own", "second").unwrap();
    let more = "[host.c]\n[outside.tap]\nport = 'tap:extra'\n[outside.more]\nport = 'unix:more.port'\n\
                [[link]]\nends = ['c', 't']\n[[link]]\nends = ['tap', 's']\n[[link]]\nends = ['more', 's']\n\
                [[link]]\nname = 'second'\nends = ['s', 'out']\nloss = '0%'\n";
    fs::write("/run/lab.toml", format!("{FILE}{more}")).unwrap();
    run(&format!("kill -HUP {pid}"));
    wait_until("it was read again", || Path::new("/run/more.port").exists());
    wait_until("the host is there", || fs::read_dir("/run/netns").unwrap().count() == 3);
    assert_eq!(lab.sh("a", "cat /etc/own"), "second");
    assert!(run("ip link show extra").contains("extra"));
    write("/run/other.toml", &format!("{FILE}[host.d]\n"), 0o600);
    assert!(lab.lab("apply /run/other.toml").contains("node d added"));
    assert!(!Path::new("/run/more.port").exists() && Path::new("/run/x.port").exists());
    wait_until("the TAP has gone", || {
        !Command::new("ip").args(["link", "show", "extra"]).output().unwrap().status.success()
    });
    write("/run/wrong.toml", "[host.a]\nnonsense = 1\n", 0o600);
    let error = running.refused("apply /run/wrong.toml");
    assert!(error.contains("ermission denied") && error.contains("'adit check"), "{error}");
    write("/run/wrong.toml", "[host.a]\nnonsense = 1\n", 0o644);
    assert!(running.refused("apply /run/wrong.toml").contains("unknown key `nonsense`"));
    // No file that it could have written itself: such a file would name whatever it wants to read.
    let secret = "[host.a.file]\n\"/etc/own\" = { from = \"/run/secret\" }\n";
    write("/run/secret", "secret", 0o600);
    write("/run/adit/own.toml", secret, 0o644);
    assert!(running.refused("apply /run/adit/own.toml").contains("ermission denied"));
    fs::remove_file("/run/adit/own.toml").unwrap();

    // A path from where it was started, which it may not ask for.
    let post = "curl -s --unix-socket /run/adit/lab.sock -X POST http://adit/lab/apply -d";
    let mut words: Vec<&str> = post.split(' ').collect();
    words.push(r#"{"file": "lab.toml"}"#);
    let reply = text(&bare("env").args(words).output().unwrap().stdout);
    assert!(reply.contains("node d removed"), "{reply}");
    lab.lab("apply");
    lab.lab("down");
    assert_eq!(running.ended(), Some(0));
}

#[test]
fn a_lab_that_loses_its_helper_goes_on_and_one_that_loses_its_keeper_ends() {
    enter();
    let hosts = "[host.a]\n[host.b]\n[[link]]\nends = ['a', 'b']\ndelay = '1ms'\n";
    let mut running = Foreground::up(hosts);
    run(&format!("kill -9 {}", running.number("helper")));
    wait_until("the helper has ended", || {
        running.refused("apply").contains("the helper process has ended")
    });
    running.lab.lab("set a-b delay=2ms");
    assert!(running.lab.ping("a", "b").is_some());
    running.lab.lab("fail a");
    running.lab.lab("heal");
    running.lab.lab("down");
    assert_eq!(running.ended(), Some(0));

    let mut running = Foreground::up(hosts);
    let nat = "[nat.out]\n[switch.s]\n[[link]]\nends = ['a', 's']\n[[link]]\nends = ['s', 'out']\n";
    fs::write("/run/lab.toml", format!("{hosts}{nat}")).unwrap();
    let error = running.refused("apply");
    assert!(error.contains("has no sockets for a NAT"), "{error}");
    let helper = running.number("helper");
    run(&format!("kill -9 {}", running.number("keeper")));
    assert_eq!(running.ended(), Some(7), "and no name of a namespace is left");
    wait_until("the helper ends", || !Path::new(&format!("/proc/{helper}/fd")).exists());
}
