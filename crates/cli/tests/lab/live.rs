//! Labs that run: made, asked, changed, broken, ended.

use crate::support::{ADIT, command, describes_itself, enter, parse, text, validate};
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

/// How long a condition may take to become true on a loaded machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Two hosts on a switch, a router, and a host behind a slow link.
const OFFICE: &str = r#"
name = "office"
seed = 7
[host.pc]
[host.nas]
[router.gw]
[host.server]
[switch.lan]
[[link]]
ends = ["pc", "lan"]
[[link]]
ends = ["nas", "lan"]
[[link]]
ends = ["gw", "lan"]
[[link]]
name = "wan"
ends = ["gw", "server"]
delay = "20ms"
"#;

/// A lab that runs in the background; it ends with the test, also when that fails.
pub(crate) struct Lab {
    pub(crate) name: &'static str,
    /// What stands before `adit`: to be another user.
    pub(crate) before: Vec<&'static str>,
}

impl Lab {
    /// Starts a lab in a world of its own.
    pub(crate) fn up(name: &'static str, file: &str) -> Self {
        enter();
        Self::up_as(name, file, Vec::new())
    }

    pub(crate) fn up_as(name: &'static str, file: &str, before: Vec<&'static str>) -> Self {
        fs::write("/run/lab.toml", file).unwrap();
        let lab = Self { name, before };
        let up = lab.adit(&["lab", "up", "-d", "/run/lab.toml"]);
        assert!(up.status.success(), "{}: {}", up.status, text(&up.stderr));
        lab
    }

    /// Runs `adit` as the user of the lab.
    pub(crate) fn adit(&self, words: &[&str]) -> Output {
        let all = self.before.iter().chain(&[ADIT]).chain(words);
        command(all).output().unwrap()
    }

    /// Runs `adit lab`, which must succeed; its standard output.
    pub(crate) fn lab(&self, line: &str) -> String {
        let words: Vec<&str> = ["lab"].into_iter().chain(line.split(' ')).collect();
        let output = self.adit(&words);
        let errors = text(&output.stderr);
        assert!(
            output.status.success(),
            "{line}: {}\n{errors}{}",
            output.status,
            text(&output.stdout)
        );
        text(&output.stdout)
    }

    /// Runs `adit -j lab`; the status and what it prints.
    pub(crate) fn json(&self, line: &str) -> (Option<i32>, Value) {
        let words: Vec<&str> = ["-j", "lab"].into_iter().chain(line.split(' ')).collect();
        let output = self.adit(&words);
        (output.status.code(), parse(&text(&output.stdout)))
    }

    pub(crate) fn show(&self) -> Value {
        self.json("show").1
    }

    /// Runs a script of a shell in a node; its standard output.
    pub(crate) fn sh(&self, node: &str, script: &str) -> String {
        let output = self.adit(&["lab", "exec", node, "--", "sh", "-c", script]);
        let errors = text(&output.stderr);
        assert!(output.status.success(), "{node}: {script}: {}\n{errors}", output.status);
        text(&output.stdout)
    }

    /// Whether a ping from one node to another is answered, and after how many milliseconds.
    pub(crate) fn ping(&self, from: &str, to: &str) -> Option<f64> {
        let (_, pinged) = self.json(&format!("ping {from} {to} --within 1s"));
        Some(pinged["pings"][0]["rtt_s"].as_f64()? * 1e3)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.adit(&["lab", "down", self.name]);
    }
}

/// A process whose user namespace stands for another user; it ends with the test.
pub(crate) struct Holder(std::process::Child);

impl Holder {
    pub(crate) fn user_4711() -> Self {
        let holder = Command::new("unshare")
            .args(["-U", "--map-user=4711", "--map-group=4712", "sleep", "1000"])
            .spawn()
            .unwrap();
        let map = format!("/proc/{}/uid_map", holder.id());
        let holder = Self(holder);
        wait_until("the user is there", || {
            fs::read_to_string(&map).is_ok_and(|map| map.contains("4711"))
        });
        holder
    }
}

/// The words that make a command one of that user.
pub(crate) fn user_of(holder: &Holder) -> Vec<&'static str> {
    fs::create_dir_all("/run/user-4711").unwrap();
    let namespace = format!("--user=/proc/{}/ns/user", holder.0.id());
    vec![
        "env",
        "XDG_RUNTIME_DIR=/run/user-4711",
        "nsenter",
        "--preserve-credentials",
        namespace.leak(),
    ]
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub(crate) fn find<'a>(list: &'a Value, name: &str) -> &'a Value {
    list.as_array().unwrap().iter().find(|one| one["name"] == name).unwrap()
}

/// What every user does first.
fn use_office(lab: &Lab) {
    let status = lab.show();
    assert_eq!(status["state"], "ready", "{status}");
    assert_eq!(status["seed"], 7);
    let media: Vec<&str> = status["links"]
        .as_array()
        .unwrap()
        .iter()
        .map(|link| link["medium"].as_str().unwrap())
        .collect();
    assert_eq!(media, ["port", "port", "port", "taps"]);
    let (code, pinged) = lab.json("ping --within 20s");
    assert_eq!((code, pinged["answered"].as_u64()), (Some(0), Some(12)), "{pinged}");
    assert!(lab.ping("pc", "server").unwrap() >= 40.0);
    // Names of nodes, and a host name.
    let hosts = lab.sh("pc", "getent ahosts server; hostname");
    assert!(hosts.contains("10.0.1.") && hosts.ends_with("pc\n"), "{hosts}");

    lab.lab("set wan delay=60ms");
    assert!(lab.ping("pc", "server").unwrap() >= 120.0);
    lab.lab("set wan delay=0");

    lab.lab("fail wan");
    assert_eq!(lab.ping("pc", "server"), None);
    assert!(lab.ping("pc", "nas").is_some());
    let (code, status) = lab.json("show");
    assert_eq!((code, &status["state"]), (Some(1), &Value::from("degraded")));
    assert_eq!(status["problems"][0], "link wan was made to fail");
    lab.lab("heal");
    wait_until("the link is healed", || lab.ping("pc", "server").is_some());
    lab.lab("fail --partition pc,nas");
    assert_eq!(lab.ping("pc", "nas"), None, "the switch is on the other side");
    lab.lab("heal --partition pc,nas");
    lab.lab("fail lan");
    assert_eq!(lab.ping("pc", "nas"), None);
    lab.lab("heal lan");
    wait_until("the switch is healed", || lab.ping("pc", "nas").is_some());
    assert_eq!(lab.json("show").0, Some(0));
}

#[test]
fn a_lab_of_five_nodes() {
    let lab = Lab::up("office", OFFICE);
    use_office(&lab);
    let outputs = ["lab show", "lab ping --within 20s", "list"].map(|line| {
        let words: Vec<&str> = ["-j"].into_iter().chain(line.split(' ')).collect();
        (line, text(&lab.adit(&words).stdout))
    });
    let names = ["lab-show", "lab-ping", "list"];
    let outputs: Vec<(&str, String)> =
        names.into_iter().zip(outputs).map(|(name, (_, out))| (name, out)).collect();
    validate(&outputs);
    describes_itself("lab", "/run/adit/office.sock", &["/lab/nodes/pc/door"]);
    let pid = lab.show()["keeper"].as_u64().unwrap();
    lab.lab("down");
    assert_eq!(
        fs::read_dir("/run/adit")
            .unwrap()
            .filter(|one| one.as_ref().unwrap().path().extension().is_some_and(|of| of == "sock"))
            .count(),
        0
    );
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
}

#[test]
fn a_lab_of_a_user_without_privileges() {
    enter();
    let holder = Holder::user_4711();
    let lab = Lab::up_as("office", OFFICE, user_of(&holder));
    use_office(&lab);
    assert_eq!(lab.sh("pc", "id -u").trim(), "0", "root of the lab, and of nothing else");
}

#[test]
fn programs_start_in_order_and_are_watched() {
    let file = r#"
[host.a]
run = [
  { command = "sh -c 'sleep 0.2; touch /run/first; echo up; sleep 1000'", name = "first", ready = "test -e /run/first" },
  { command = "sh -c 'test -e /run/first && echo second'", name = "second" },
]
[host.b]
run = [{ command = "sh -c 'echo again; exit 3'", name = "crash", restart = "on-failure" }]
file = { "/etc/motd" = "hello\n" }
[[link]]
ends = ["a", "b"]
"#;
    enter();
    let lab = Lab { name: "lab", before: Vec::new() };
    fs::write("/run/lab.toml", file).unwrap();
    // It has status 1 if the third program has failed by then.
    let up = lab.adit(&["lab", "up", "-d", "/run/lab.toml"]);
    assert!(matches!(up.status.code(), Some(0 | 1)), "{}", text(&up.stderr));
    wait_until("the second program ends", || {
        let status = lab.show();
        let programs = find(&status["nodes"], "a")["programs"].clone();
        find(&programs, "first")["state"] == "running"
            && find(&programs, "second")["state"] == "done"
    });
    wait_until("the third one is started again", || {
        let status = lab.show();
        find(&find(&status["nodes"], "b")["programs"], "crash")["restarts"].as_u64() > Some(0)
    });
    let logs = lab.lab("logs");
    assert!(logs.contains("a/first: up") && logs.contains("a/second: second"), "{logs}");
    assert!(lab.lab("logs b crash").starts_with("again\n"));
    assert_eq!(lab.sh("b", "cat /etc/motd"), "hello\n");
    // It runs for a moment each time.
    wait_until("a program has failed", || lab.json("show").0 == Some(1));

    // The status of a command is that of adit.
    let output = lab.adit(&["lab", "exec", "a", "--", "sh", "-c", "exit 42"]);
    assert_eq!(output.status.code(), Some(42));
    let output = lab.adit(&["lab", "exec", "c", "--", "true"]);
    assert_eq!(output.status.code(), Some(4), "{}", text(&output.stderr));
}

#[test]
fn a_change_touches_what_differs() {
    let lab = Lab::up(
        "lab",
        r#"
[host.a]
run = ["sleep 1000"]
[host.b]
[host.old]
[switch.s]
[[link]]
ends = ["a", "s"]
[[link]]
ends = ["b", "s"]
[[link]]
ends = ["old", "s"]
"#,
    );
    assert!(lab.ping("a", "old").is_some());
    let before = lab.show();
    let pid = find(&before["nodes"], "a")["programs"][0]["pid"].clone();
    fs::write(
        "/run/lab.toml",
        r#"
[host.a]
run = ["sleep 1000"]
[host.b]
run = ["sleep 2000"]
[host.new]
[switch.s]
[switch.t]
[[link]]
ends = ["a", "s"]
delay = "30ms"
[[link]]
ends = ["b", "s"]
[[link]]
ends = ["s", "t"]
[[link]]
ends = ["new", "t"]
"#,
    )
    .unwrap();
    let done = lab.lab("apply");
    for line in [
        "node old removed",
        "node new added",
        "node t added",
        "link a-s changed",
        "link s-t added",
        "host b changed",
    ] {
        assert!(done.contains(line), "{line}\n{done}");
    }
    assert!(!done.contains("b-s"), "{done}");
    assert!(lab.ping("a", "new").unwrap() >= 60.0);
    assert!(lab.ping("b", "new").is_some());
    let after = lab.show();
    assert_eq!(find(&after["nodes"], "a")["programs"][0]["pid"], pid);
    assert!(lab.sh("a", "cat /etc/hosts").contains("new"));
    assert_eq!(lab.lab("apply"), "nothing changed\n");

    fs::write("/run/lab.toml", "[host.a\n").unwrap();
    assert_eq!(lab.adit(&["lab", "apply"]).status.code(), Some(2));
    assert!(lab.ping("a", "b").is_some(), "nothing has changed");
}

#[test]
fn a_nat_is_the_way_to_the_host() {
    let file = r#"
[host.a]
run = "python3 -m http.server -d /etc 80"
[router.gw]
[switch.lan]
[nat.out]
allow-host = [8080]
publish = { a = "8081:80" }
[[link]]
ends = ["a", "lan"]
[[link]]
ends = ["gw", "lan"]
[[link]]
name = "uplink"
ends = ["gw", "out"]
"#;
    let lab = Lab::up("lab", file);
    crate::support::run("ip link set lo up");
    let mut server = Command::new("timeout")
        .args(["60", "python3", "-m", "http.server", "--bind", "127.0.0.1", "-d", "/run", "8080"])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let gateway = lab.sh("gw", "ip -4 route show default");
    let gateway = gateway.split(' ').nth(2).unwrap().to_owned();
    let fetch = format!("curl -s -m 5 http://{gateway}:8080/lab.toml");
    for node in ["gw", "a"] {
        wait_until("a host reaches the host of the lab", || {
            let output = lab.adit(&["lab", "exec", node, "--", "sh", "-c", &fetch]);
            text(&output.stdout) == file
        });
    }
    // A port of the host leads to a host behind the router.
    wait_until("the host reaches a host of the lab", || {
        let words = ["curl", "-s", "-m", "5", "http://127.0.0.1:8081/hosts"];
        text(&command(words).output().unwrap().stdout).contains("127.0.0.1 localhost")
    });
    // The name server of the NAT, from behind the router.
    assert_eq!(
        lab.sh("a", "getent ahostsv4 host.adit.internal").split(' ').next(),
        Some(&*gateway)
    );
    // The link of a NAT fails as any other.
    lab.lab("fail uplink");
    let output = lab.adit(&[
        "lab",
        "exec",
        "gw",
        "--",
        "curl",
        "-s",
        "-m",
        "1",
        &format!("http://{gateway}:8080/"),
    ]);
    assert!(!output.status.success());
    lab.lab("heal uplink");
    let _ = server.kill();
    let _ = server.wait();
}

#[test]
fn a_plain_cable_is_emulated_once_it_is_set() {
    let lab = Lab::up("lab", "[host.a]\n[host.b]\n[[link]]\nends = [\"a\", \"b\"]\n");
    let medium = |lab: &Lab| lab.show()["links"][0]["medium"].clone();
    assert_eq!(medium(&lab), "veth");
    // What programs have added stays, as what the lab made does.
    lab.sh(
        "a",
        "ip address add 192.0.2.1/24 dev eth0; ip route add 198.51.100.0/24 via 192.0.2.9; \
         ip -6 route add 2001:db8::/32 dev eth0; ip route add 203.0.113.0/24 dev eth0 table 77",
    );
    let state = |node: &str| {
        let addresses =
            lab.sh(node, "ip -o address show eth0; ip -o link show eth0 | grep -o 'ether [^ ]*'");
        let routes =
            lab.sh(node, "ip route; ip -6 route; ip route show table 77 2>/dev/null || true");
        // Without the number of the interface.
        let mut lines: Vec<String> = addresses
            .lines()
            .map(|line| line.split_once(':').filter(|(number, _)| number.parse::<u8>().is_ok()))
            .zip(addresses.lines())
            .map(|(split, line)| split.map_or(line, |(_, rest)| rest).to_owned())
            .chain(routes.lines().map(str::to_owned))
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        lines.sort();
        lines
    };
    let before = (state("a"), state("b"));
    assert!(
        before.0.iter().any(|line| line.contains("198.51.100.0/24 via 192.0.2.9")),
        "{before:?}"
    );
    // A connection outlives it.
    let server = "python3 -c 'import socket as s\nl = s.create_server((\"\", 7))\nc, _ = l.accept()\n\
                  c.sendall(c.recv(9) + c.recv(9))\nc.shutdown(s.SHUT_WR)\nc.recv(9)'";
    let echo = std::thread::scope(|threads| {
        threads.spawn(|| lab.sh("b", server));
        let b = lab.sh("a", "getent ahostsv4 b | head -n 1 | cut -d ' ' -f 1");
        let client = format!(
            "python3 -c 'import socket as s, time, os\nwhile True:\n try: c = s.create_connection((\"{}\", 7)); break\n \
             except OSError: time.sleep(0.05)\nc.sendall(b\"1\"); open(\"/run/open\", \"w\")\n\
             while not os.path.exists(\"/run/set\"): time.sleep(0.05)\n\
             c.sendall(b\"2\"); print(c.recv(9), c.recv(9))'",
            b.trim()
        );
        let lab = &lab;
        let client = threads.spawn(move || lab.sh("a", &client));
        wait_until("the connection is open", || {
            lab.adit(&["lab", "exec", "a", "--", "test", "-e", "/run/open"]).status.success()
        });
        assert!(lab.lab("set a-b delay=20ms").contains("link a-b, a to b: delay=20ms"));
        lab.sh("a", "touch /run/set");
        client.join().unwrap()
    });
    assert!(echo.contains('1') && echo.contains('2'), "{echo}");
    assert_eq!(medium(&lab), "taps");
    assert_eq!((state("a"), state("b")), before);
    assert!(lab.ping("a", "b").unwrap() >= 40.0);
    lab.lab("set a-b delay=1ms");
    assert!(lab.ping("a", "b").unwrap() < 40.0);
    // The file says that it is plain.
    assert_eq!(lab.lab("apply"), "link a-b made again\nhost a changed\nhost b changed\n");
    assert_eq!(medium(&lab), "veth");
    assert_eq!((state("a"), state("b")), before);
    wait_until("the cable is there", || lab.ping("a", "b").is_some());
    assert_eq!(lab.lab("apply"), "nothing changed\n");
    // What fails does so still once it is made again.
    lab.lab("fail a-b");
    lab.lab("set a-b delay=1ms");
    assert_eq!(lab.ping("a", "b"), None);
    assert_eq!(lab.show()["links"][0]["state"], "failed");
    lab.lab("heal a-b");
    wait_until("the link is healed", || lab.ping("a", "b").is_some());
    assert_eq!((state("a"), state("b")), before);
    let output = lab.adit(&["lab", "set", "a-b", "loss=2"]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
}

#[test]
fn what_fails_is_reported_and_healed() {
    let lab = Lab::up("lab", "[host.a]\n[host.b]\n[[link]]\nends = [\"a\", \"b\"]\n");
    lab.lab("fail a-b");
    assert_eq!(lab.ping("a", "b"), None);
    lab.lab("heal a-b");
    wait_until("the cable is healed", || lab.ping("a", "b").is_some());
    assert!(lab.show()["links"][0]["from_a"]["frames"].as_u64() > Some(0), "the kernel counts");
    lab.lab("fail --partition a");
    assert_eq!(lab.show()["problems"][0], "a cut off from all others");
    assert_eq!(lab.adit(&["lab", "heal", "--partition", "b"]).status.code(), Some(4));
    lab.lab("heal");
    let past = text(&lab.adit(&["-j", "lab", "events", "--past"]).stdout);
    let events: Vec<Value> = past.lines().map(parse).collect();
    let parts = events.iter().map(|one| &one["event"]);
    let parts = parts.filter(|event| ["failed", "healed"].iter().any(|of| event["state"] == *of));
    let parts: Vec<&str> = parts.map(|event| event["part"].as_str().unwrap()).collect();
    assert_eq!(parts, ["a-b", "a-b", "a", "everything"], "{past}");
    validate(&[("lab-event", past.lines().next().unwrap().to_owned())]);

    // It follows what happens until the lab ends.
    let mut follow = Command::new("timeout");
    follow.args(["60", ADIT, "lab", "events"]).stdout(std::process::Stdio::piped());
    let mut follow = follow.spawn().unwrap();
    let mut lines = BufReader::new(follow.stdout.take().unwrap());
    let mut shown = String::new();
    // Its first line: it is connected.
    lines.read_line(&mut shown).unwrap();
    lab.lab("set a-b delay=3ms");
    while !shown.contains("a to b: delay=3ms") {
        assert_ne!(lines.read_line(&mut shown).unwrap(), 0, "{shown}");
    }
    lab.lab("down");
    lines.read_to_string(&mut shown).unwrap();
    assert!(follow.wait().unwrap().success());
    assert!(shown.contains("link a-b fails"), "{shown}");
}

#[test]
fn the_programs_of_a_failed_node_are_killed_and_start_again() {
    let lab = Lab::up(
        "lab",
        "[host.a]\nrun = ['touch /run/once', { command = 'sh -c \"echo hello; exec sleep 1000\"', name = 'late' }]\n\
         [host.b]\n[[link]]\nends = ['a', 'b']\n",
    );
    let programs = |lab: &Lab| {
        let programs = find(&lab.show()["nodes"], "a")["programs"].clone();
        let state = |at: usize| programs[at]["state"].as_str().unwrap().to_owned();
        ([state(0), state(1)], programs[1]["pid"].as_u64())
    };
    let before = programs(&lab);
    assert_eq!(before.0, ["done", "running"]);
    assert_eq!(lab.lab("fail a"), "node a fails\n");
    assert_eq!(programs(&lab), (["done".to_owned(), "stopped".to_owned()], None));
    let process = format!("/proc/{}", before.1.unwrap());
    wait_until("the program has ended", || !std::path::Path::new(&process).exists());
    assert_eq!(lab.ping("b", "a"), None);
    let status = lab.show();
    assert_eq!(status["problems"].as_array().unwrap().len(), 1, "{status}");
    lab.lab("heal a");
    wait_until("the program runs", || programs(&lab).1.is_some());
    assert_eq!(programs(&lab).0, ["done", "running"]);
    assert_ne!(programs(&lab).1, before.1);
    wait_until("the log goes on", || lab.lab("logs a late").matches("hello").count() == 2);
    wait_until("the link is healed", || lab.ping("b", "a").is_some());
    // A part of the lab that loses the rest of it runs on.
    let before = programs(&lab);
    lab.lab("fail --partition a");
    assert_eq!(lab.ping("b", "a"), None);
    assert_eq!(programs(&lab), before);
}

#[test]
fn a_link_without_an_interface_is_captured() {
    let lab = Lab::up(
        "lab",
        "[host.a]\n[host.b]\n[nat.out]\n[switch.s]\n[switch.t]\n[[link]]\nends = ['a', 's']\n[[link]]\nends = ['b', 't']\n\
         [[link]]\nends = ['s', 't']\ndelay = '5ms'\n[[link]]\nends = ['t', 'out']\n",
    );
    let script =
        "ping -4 -q -i 0.05 b >/dev/null & exec ping -4 -q -i 0.05 host.adit.internal >/dev/null";
    let mut pings = Command::new("timeout")
        .args(["300", ADIT, "lab", "exec", "a", "--", "sh", "-c", script])
        .spawn()
        .unwrap();
    lab.lab("capture s-t -c 4 -w /run/patch.pcapng icmp");
    let read = text(&lab.adit(&["capture", "-r", "/run/patch.pcapng"]).stdout);
    assert_eq!(read.to_lowercase().matches("icmp").count(), 4, "{read}");
    let shown = lab.lab("capture t-out --for 20s -c 2 icmp");
    assert_eq!(shown.to_lowercase().matches("icmp").count(), 2, "{shown}");
    let begin = Instant::now();
    lab.lab("capture s-t --for 300ms udp");
    assert!(begin.elapsed() >= Duration::from_millis(300));

    let listed = text(&lab.adit(&["--extcap-interfaces"]).stdout);
    for link in ["a-s", "b-t", "s-t", "t-out"] {
        assert!(listed.contains(&format!("{{value=adit:lab:lab/{link}}}")), "{listed}");
    }
    let shown = pings_by_extcap("adit:lab:lab/s-t");
    let _ = pings.kill();
    let _ = pings.wait();
    assert!(shown.contains("ICMP"), "{shown}");
    let left = fs::read_dir("/run/adit").unwrap().map(|entry| entry.unwrap().file_name());
    let left: Vec<_> = left.filter(|name| name.to_string_lossy().contains("capture")).collect();
    assert!(left.is_empty(), "{left:?}");
    assert!(lab.ping("a", "b").is_some());
}

#[test]
fn the_prompt_takes_commands_of_nodes() {
    let lab = Lab::up("lab", "[host.h1]\n[host.h2]\n[[link]]\nends = [\"h1\", \"h2\"]\n");
    let lines =
        "h1 ping -c 1 -w 20 h2 | grep -c icmp_seq\nfail h1-h2\nheal\nnonsense\nh2 hostname\nexit\n";
    fs::write("/run/lines", lines).unwrap();
    let script = format!("{ADIT} lab shell </run/lines");
    let output = command(["sh", "-c", &script]).output().unwrap();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(out.starts_with("1\n") && out.ends_with("h2\n"), "{out}\n{err}");
    assert!(out.contains("link h1-h2 fails"), "{out}");
    assert!(err.contains("'nonsense' is neither a node nor a command"), "{err}");
    drop(lab);
}

/// Two packets of pings on a link as Wireshark gets them: from adit's extcap program, through a pipe.
fn pings_by_extcap(interface: &str) -> String {
    crate::support::run("mkfifo /run/fifo");
    let mut capture = Command::new(ADIT);
    capture.args(["--capture", "--extcap-interface", interface, "--fifo", "/run/fifo"]);
    // Other packets of the link, such as probes for loops, would count as well.
    let mut capture = capture.args(["--extcap-capture-filter", "icmp"]).spawn().unwrap();
    let script = "tshark -i - -c 2 </run/fifo 2>/dev/null";
    let shown = text(&command(["sh", "-c", script]).output().unwrap().stdout);
    let _ = capture.kill();
    let _ = capture.wait();
    shown
}

#[test]
fn links_are_captured_and_measured() {
    let lab = Lab::up("office", OFFICE);
    let ends = lab.json("show").1;
    let server = find(&ends["nodes"], "server")["interfaces"][0]["addresses"][0].as_str().unwrap();
    let server = server.split('/').next().unwrap().to_owned();
    let mut pings = Command::new("timeout")
        .args(["300", ADIT, "lab", "exec", "pc", "--", "ping", "-q", "-i", "0.05", &server])
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    lab.lab("capture wan -c 4 -w /run/wan.pcapng icmp");
    let read = text(&lab.adit(&["capture", "-r", "/run/wan.pcapng"]).stdout);
    assert_eq!(read.matches("ICMP").count() + read.matches("icmp").count(), 4, "{read}");
    let (_, rates) = lab.json("top --once");
    let wan = find(&rates["links"], "wan");
    assert!(wan["from_a_bits_per_second"].as_u64() > Some(0), "{rates}");
    validate(&[("lab-top", rates.to_string())]);

    // Wireshark asks for interfaces, and captures into a pipe.
    let listed = text(&lab.adit(&["--extcap-interfaces"]).stdout);
    assert!(listed.contains("{value=adit:lab:office/wan}"), "{listed}");
    let shown = pings_by_extcap("adit:lab:office/pc-lan");
    let _ = pings.kill();
    let _ = pings.wait();
    assert!(shown.contains(&server), "{shown}");
    let output = lab.adit(&["lab", "capture", "gw"]);
    assert_eq!(output.status.code(), Some(2), "it has several interfaces");
    assert!(text(&output.stderr).contains("gw:eth1"), "{}", text(&output.stderr));
}

#[test]
fn a_command_has_a_lab_for_itself() {
    enter();
    fs::write("/run/lab.toml", OFFICE).unwrap();
    let script = format!("{ADIT} lab exec pc -- getent hosts nas && exit 7");
    let output =
        command([ADIT, "lab", "run", "/run/lab.toml", "--", "sh", "-c", &script]).output().unwrap();
    assert_eq!(output.status.code(), Some(7), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("nas"));
    let left = fs::read_dir("/run/adit")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    assert!(left.into_iter().all(|name| !name.ends_with(".sock")));
    let output = command([ADIT, "lab", "run", "/run/none.toml", "--", "true"]).output().unwrap();
    assert_ne!(output.status.code(), Some(0));
}

#[test]
fn one_of_several_labs_is_selected_by_its_name() {
    let lab = Lab::up("lab", "[host.a]\n");
    let second = lab.adit(&["lab", "up", "-d", "/run/lab.toml"]);
    assert!(text(&second.stderr).contains("add '--lab lab-2'"), "{}", text(&second.stderr));
    let unclear = lab.adit(&["lab", "show"]);
    assert_eq!(unclear.status.code(), Some(2));
    assert!(text(&unclear.stderr).contains("'--lab lab-2'"), "{}", text(&unclear.stderr));
    assert!(lab.lab("show --lab lab-2").starts_with("lab-2: ready"));
    lab.lab("down lab-2");
    lab.lab("down");
    let none = text(&lab.adit(&["lab", "show"]).stderr);
    assert!(none.contains("'adit lab up FILE'"), "{none}");
}

#[test]
fn shapes_need_no_file() {
    enter();
    let lab = Lab { name: "lab", before: Vec::new() };
    let up = lab.adit(&["lab", "up", "-d", "--topo", "tree,2"]);
    assert!(up.status.success(), "{}", text(&up.stderr));
    let (code, pinged) = lab.json("ping --within 20s");
    assert_eq!((code, pinged["sent"].as_u64()), (Some(0), Some(12)), "{pinged}");
}

#[test]
fn a_program_that_cannot_start_is_reported_with_a_status() {
    enter();
    let file = "[host.a]\nrun = ['nosuch', { command = 'sleep 1000', name = 'slow', ready = 'false', \
                ready-within = '100ms' }]\n[host.b]\n[[link]]\nends = ['a', 'b']\n";
    fs::write("/run/lab.toml", file).unwrap();
    let lab = Lab { name: "lab", before: Vec::new() };
    let up = lab.adit(&["lab", "up", "-d", "/run/lab.toml"]);
    let error = text(&up.stderr);
    assert_eq!(up.status.code(), Some(1), "{error}");
    let degraded = error.lines().find(|line| line.starts_with("'lab' is degraded")).unwrap();
    for part in [
        "'lab' is degraded: program a/nosuch: cannot run nosuch",
        "program a/slow: it was not ready within 0.1 s",
    ] {
        assert!(degraded.contains(part), "{error}");
    }
    let last = error.lines().last().unwrap();
    assert!(last.starts_with("'lab' is running: 2 nodes, 1 links"), "{error}");
    assert!(lab.ping("a", "b").is_some(), "the rest of it runs");
    assert_eq!(lab.json("show").0, Some(1));

    // A folder that only the host has: a program starts in `/` then.
    let file = "[host.a]\nrun = ['true']\n";
    fs::write("/run/well.toml", file).unwrap();
    let script =
        format!("mkdir /run/folder && cd /run/folder && {ADIT} lab run /run/well.toml -- true");
    let output = command(["sh", "-c", &script]).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", text(&output.stderr));

    // The command of 'adit lab run' runs all the same, and keeps its status.
    let words = [ADIT, "lab", "run", "/run/lab.toml", "--", "sh", "-c", "exit 7"];
    let output = command(words).output().unwrap();
    assert_eq!(output.status.code(), Some(7));
    assert!(text(&output.stderr).contains("warning: 'run-"), "{}", text(&output.stderr));
}

#[test]
fn the_next_command_of_labs_removes_what_a_killed_one_has_left() {
    enter();
    let listed = |folder: &str| fs::read_dir(folder).unwrap().count();
    for next in ["list", "show", "down"] {
        let lab = Lab::up_as("lab", "[host.a]\n[host.b]\n", Vec::new());
        assert_eq!(listed("/run/netns"), 2, "names for 'ip netns'");
        let show = lab.show();
        let pid = show["pid"].to_string();
        assert!(command(["kill", "-9", &pid]).status().unwrap().success());
        let keeper = format!("/proc/{}", show["keeper"]);
        wait_until("the keeper ends", || !std::path::Path::new(&keeper).exists());
        lab.adit(&["lab", next]);
        assert_eq!((listed("/run/netns"), listed("/run/adit")), (0, 0), "adit lab {next}");
    }
}
