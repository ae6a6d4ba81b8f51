//! What the inside may reach, how much of it, and the log of its flows.

use crate::nat::{CONNECT, Host, V4};
use crate::support::{ADIT, command, refused, text, validate};
use std::fs;

/// What a program prints in `adit run` with these options.
fn inside(options: &[&str], program: &str, arguments: &[&str]) -> String {
    let run = [ADIT, "run", "--sandbox", "require"];
    let words = [&run[..], options, &["--", "python3", "-c", program], arguments].concat();
    let output = command(words).output().unwrap();
    assert_eq!(text(&output.stderr), "", "{options:?}");
    text(&output.stdout).trim().to_owned()
}

#[test]
fn what_is_denied_is_refused_unless_it_is_allowed() {
    let mut host = Host::new();
    host.serve(&[], &["127.0.0.1"]);
    let connect = |options: &str, address: &str, port: &str| {
        let options: Vec<&str> = options.split_whitespace().collect();
        inside(&options, CONNECT, &[address, port])
    };
    for (options, address, port, is_reached) in [
        ("--deny 192.0.2.0/24", V4, "9", false),
        ("--deny 192.0.2.0/24", "2001:db8::2", "9", true),
        ("--deny 192.0.2.0/24 --allow 192.0.2.2:9", V4, "9", true),
        ("--deny 192.0.2.0/24 --allow 192.0.2.2:9", V4, "7", false),
        ("--deny any:9", "2001:db8::2", "9", false),
        ("--deny any:1-8", V4, "9", true),
        ("--deny any --allow [2001:db8::/64]:9", "2001:db8::2", "9", true),
        ("--deny any --allow [2001:db8::/64]:9", V4, "9", false),
        // A port of the host that is allowed is no less so.
        ("--deny any --allow-host 9", "10.0.2.2", "9", true),
    ] {
        let found = connect(options, address, port);
        assert_eq!(found == "reached", is_reached, "{options} {address} {port}: {found}");
    }
    let (status, error) = refused("run --deny 10.0.0.1/8 -- true");
    assert_eq!(status, 2, "{error}");
    assert!(error.contains("10.0.0.0/8"), "{error}");
}

/// Opens so many connections, or until one fails; prints how many, and how many seconds it took.
const MANY: &str = "
import socket, sys, time
open = []
start = time.monotonic()
try:
    while len(open) < int(sys.argv[2]):
        open.append(socket.create_connection((sys.argv[1], 7), 2))
except OSError:
    pass
print(len(open), time.monotonic() - start)
";

/// Prints how many seconds a download takes.
pub(crate) const DOWNLOAD: &str = "
import socket, sys, time
s = socket.create_connection((sys.argv[1], 9), 60)
start = time.monotonic()
while s.recv(1 << 16):
    pass
print(time.monotonic() - start)
";

/// Sends 4 MB, and compares their checksum.
const UPLOAD: &str = "
import hashlib, socket, sys
s = socket.create_connection((sys.argv[1], 7), 60)
data = bytes(range(256)) * 15625
s.sendall(data)
s.shutdown(socket.SHUT_WR)
print('whole' if s.makefile().read() == hashlib.sha256(data).hexdigest() else 'broken')
";

#[test]
fn flows_and_rates_have_limits() {
    let _host = Host::new();
    let open = |options: &[&str], count: &str| {
        let found = inside(options, MANY, &[V4, count]);
        let (count, seconds) = found.split_once(' ').unwrap();
        (count.to_owned(), seconds.parse::<f64>().unwrap())
    };
    assert_eq!(open(&["--flow-limit", "8"], "50").0, "8");
    // Four at once, then four a second.
    let (count, seconds) = open(&["--flow-rate", "4"], "12");
    assert!(count == "12" && seconds > 0.9, "{count} in {seconds} s");
    // 10 MB at 80 Mbit/s: not before a second.
    let seconds: f64 = inside(&["--rate", "80mbit"], DOWNLOAD, &[V4]).parse().unwrap();
    assert!(seconds > 0.9, "{seconds}");
}

/// Sends 5 bytes by TCP and a datagram, connects to a port where nobody listens and to one that is denied.
const FLOWS: &str = "
import socket, sys
s = socket.create_connection((sys.argv[1], 7), 60)
s.sendall(b'12345')
s.shutdown(socket.SHUT_WR)
print(len(s.makefile().read()))
for port in 6, 5:
    try:
        socket.create_connection((sys.argv[1], port), 60)
    except OSError:
        pass
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
u.connect((sys.argv[1], 7))
u.settimeout(1)
for _ in range(60):
    try:
        u.send(b'question')
        u.recv(100)
        break
    except OSError:
        pass
";

#[test]
fn flows_are_logged_as_lines_of_json() {
    let _host = Host::new();
    let options = ["--flow-log", "/run/flows", "--deny", "any:5"];
    assert_eq!(inside(&options, FLOWS, &[V4]), "64");
    let log = fs::read_to_string("/run/flows").unwrap();
    let lines: Vec<serde_json::Value> =
        log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let flow = |event: &str, transport: &str, port: u16| {
        let is_it = |line: &&serde_json::Value| {
            line["event"] == event
                && line["transport"] == transport
                && line["remote"] == format!("{V4}:{port}")
        };
        lines.iter().find(is_it).unwrap_or_else(|| panic!("{event} {transport} {port}: {log}"))
    };
    let closed = flow("closed", "tcp", 7);
    assert_eq!((&closed["sent_bytes"], &closed["received_bytes"]), (&5.into(), &64.into()));
    assert_eq!(closed["inside"], flow("opened", "tcp", 7)["inside"]);
    assert_eq!(flow("closed", "tcp", 6)["received_bytes"], 0);
    assert!(flow("denied", "tcp", 5)["time_s"].as_f64().unwrap() > 1e9);
    flow("opened", "udp", 7);
    assert!(flow("closed", "udp", 7)["received_bytes"].as_u64() >= Some(8));
    let outputs: Vec<_> = log.lines().map(|line| ("nat-flow-log", line.to_owned())).collect();
    validate(&outputs);
    let (status, error) = refused("run --flow-log /nowhere/flows -- true");
    assert_eq!(status, 4, "{error}");
}

#[test]
fn the_bytes_of_an_address_have_a_rate_in_each_direction() {
    let _host = Host::new();
    // Of 10 MB down, a quarter of a second and a super-packet come at once; the rest in 0.7 s.
    let script = format!(
        "python3 -c \"$0\" {V4} && python3 -c \"$1\" {V4} && {ADIT} -j nat show limited && {ADIT} nat show limited"
    );
    let run = [ADIT, "run", "--name", "limited", "--source-rate", "80mbit", "--"];
    let words = [&run[..], &["sh", "-c", &script, DOWNLOAD, UPLOAD]].concat();
    let output = command(words).output().unwrap();
    let found = text(&output.stdout);
    let mut lines = found.lines();
    let mut next = || lines.next().unwrap_or_else(|| panic!("{found}{}", text(&output.stderr)));
    let seconds: f64 = next().parse().unwrap();
    assert!(seconds > 0.6, "{seconds}");
    assert_eq!(next(), "whole");
    let json: serde_json::Value = serde_json::from_str(next()).unwrap();
    assert_eq!(json["source_rate"], 80_000_000);
    assert!(json["dropped"]["source rate"].as_u64() > Some(0), "{json}");
    validate(&[("nat-show", json.to_string())]);
    assert!(found.contains("source rate   80mbit of each address"), "{found}");
    let (status, error) = refused("run --source-rate 0 -- true");
    assert!(status == 2 && error.contains("must not be 0"), "{error}");
    let (status, error) = refused("run --datapath splice --source-rate 1mbit -- true");
    assert!(status == 7 && error.contains("limited"), "{status}: {error}");
}

#[test]
fn what_was_dropped_is_shown_by_its_reason() {
    let _host = Host::new();
    // The shell inside asks adit of the host by its socket.
    let script = format!(
        "python3 -c \"$0\" {V4} 9; {ADIT} -j nat show limited; {ADIT} nat show limited | grep -E 'deny|dropped'"
    );
    let words =
        [ADIT, "run", "--name", "limited", "--deny", "any:9", "--", "sh", "-c", &script, CONNECT];
    let output = command(words).output().unwrap();
    let found = text(&output.stdout);
    let (_, shown) = found.split_once('\n').unwrap_or_else(|| panic!("{found}"));
    let (json, rest) = shown.split_once('\n').unwrap();
    let json: serde_json::Value = serde_json::from_str(json).unwrap();
    assert!(json["dropped"]["filtered"].as_u64() >= Some(1), "{json}");
    assert_eq!(json["deny"], serde_json::json!(["any:9"]));
    assert!(rest.contains("deny          any:9") && rest.contains(": filtered"), "{rest}");
}
