//! `--datapath splice`: connections whose bytes the kernel moves end as all others do.

use crate::nat::{Attached, CONNECT, Host, V4, V6, adit_run};
use crate::support::{ADIT, adit_json, bare, command, run, text};
use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;

const ENDS: &str = include_str!("ends.py");

const SPLICE: [&str; 2] = ["--datapath", "splice"];

const SRV: [&str; 4] = ["ip", "netns", "exec", "srv"];

#[test]
fn spliced_connections_begin_and_end_as_packets_do() {
    let mut host = Host::new();
    host.start(&SRV, ENDS, &["server", V4, V6]);
    let found = |datapath: &str| {
        let words = ["python3", "-c", ENDS, "client", V4, V6];
        let output = adit_run(&["--datapath", datapath], &words);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    let spliced = found("splice");
    let expected = [
        "reset ECONNRESET",
        "bytes before a reset b'12345' ECONNRESET",
        "end of the outside b''",
        "end of the inside True",
        "urgent to the outside !abcdef",
        "urgent to the inside !abcdef",
        "reset by the inside ECONNRESET",
        "back pressure True",
        "no route ENETUNREACH",
        "refused ECONNREFUSED",
    ];
    let lines: Vec<String> =
        ["v4", "v6"].iter().flat_map(|ip| expected.map(|line| format!("{ip} {line}"))).collect();
    assert_eq!(spliced.lines().collect::<Vec<_>>(), lines);
    assert_eq!(found("packet"), spliced);
}

/// Moves 10 MB each way, and prints how many packets left by the device.
const COUNTED: &str = "python3 -c \"$0\" \"$@\"; awk '/tun0/ { print $11 }' /proc/net/dev";

#[test]
fn bytes_do_not_pass_the_device() {
    let _host = Host::new();
    let client = include_str!("client.py");
    let output = adit_run(&SPLICE, &["sh", "-c", COUNTED, client, V4, V6]);
    let found = text(&output.stdout);
    let all = ["upload", "download", "refused", "datagram"];
    let expected: Vec<String> =
        ["v4", "v6"].iter().flat_map(|ip| all.map(|what| format!("{ip} {what} ok"))).collect();
    let (packets, lines) = found.lines().collect::<Vec<_>>().split_last().map_or_else(
        || panic!("{}", text(&output.stderr)),
        |(last, lines)| (last.parse::<u32>().unwrap(), lines.join("\n")),
    );
    assert_eq!(lines, expected.join("\n"), "{}", text(&output.stderr));
    // SYNs, datagrams, and what IPv6 says when a device is new.
    assert!(packets < 40, "{packets} packets");
}

#[test]
fn what_is_out_of_reach_is_so_for_spliced_connections() {
    let mut host = Host::new();
    host.serve(&[], &["127.0.0.1"]);
    host.serve(&[], &["192.0.2.1"]);
    let connect = |options: &[&str], address: &str| {
        let options = [&SPLICE[..], options].concat();
        let output = adit_run(&options, &["python3", "-c", CONNECT, address, "9"]);
        text(&output.stdout).trim().to_owned()
    };
    assert_eq!(connect(&[], V4), "reached");
    for address in ["192.0.2.1", "169.254.169.254", "10.0.2.2"] {
        assert_ne!(connect(&[], address), "reached", "{address}");
    }
    assert_eq!(connect(&["--allow-host", "9"], "host.adit.internal"), "reached");
}

/// Two connections from one port, one of which says more; then its end on request.
const TWO: &str = "
import socket, sys
def connect(address):
    s = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(('', 40000))
    s.connect((address, 7))
    return s
a, b = connect('192.0.2.2'), connect('192.0.2.3')
a.send(b'12345')
b.send(b'123')
print('up', flush=True)
sys.stdin.readline()
for s in (a, b):
    s.shutdown(socket.SHUT_WR)
    print(len(s.recv(100, socket.MSG_WAITALL)))
";

#[test]
fn spliced_flows_are_listed_with_their_bytes() {
    let mut host = Host::new();
    run("ip -n srv addr add 192.0.2.3/24 dev v1");
    host.serve(&SRV, &["192.0.2.3"]);
    let mut adit = bare(ADIT)
        .args(["run", "--name", "web", "--datapath", "splice", "--", "python3", "-c", TWO])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(adit.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "up");
    let mut flows = adit_json("nat flows web");
    // The last bytes were sent a moment ago.
    while flows.as_array().unwrap().iter().any(|flow| flow["sent_bytes"] == 0) {
        flows = adit_json("nat flows web");
    }
    let rows: Vec<_> = flows.as_array().unwrap().iter().collect();
    assert_eq!(rows.len(), 2, "{flows}");
    for (row, (remote, sent)) in rows.iter().zip([("192.0.2.2:7", 5), ("192.0.2.3:7", 3)]) {
        assert_eq!((&row["state"], &row["remote"]), (&"spliced".into(), &remote.into()));
        assert_eq!(
            (&row["inside"], &row["sent_bytes"]),
            (&"10.0.2.100:40000".into(), &sent.into())
        );
    }
    let shown = adit_json("nat show web");
    assert_eq!(shown["datapath"], "splice");
    assert_eq!(shown["spliced"]["connections"], 2);
    assert_eq!(shown["spliced"]["sent_bytes"], 8);
    crate::support::validate(&[("nat-show", shown.to_string()), ("nat-flows", flows.to_string())]);
    drop(adit.stdin.take());
    let rest: Vec<String> = lines.map_while(Result::ok).collect();
    assert_eq!(rest, ["64", "64"]);
    assert_eq!(adit.wait().unwrap().code(), Some(0));
}

/// Waits for bytes of a server that sends none, and prints what it gets; then it connects again.
const WAIT: &str = "
import errno, socket, sys
s = socket.create_connection((sys.argv[1], 26), 60)
print('up', flush=True)
try:
    print(s.recv(1))
except OSError as error:
    print(errno.errorcode[error.errno], flush=True)
try:
    socket.create_connection((sys.argv[1], 26), 5)
    print('leaked')
except OSError:
    print('no way out')
";

#[test]
fn a_killed_nat_resets_spliced_connections_and_the_next_one_takes_over() {
    let mut host = Host::new();
    host.start(&SRV, ENDS, &["server", V4]);
    run("ip netns add blue");
    let words = [ADIT, "nat", "attach", "blue", "--datapath", "splice", "--sandbox", "require"];
    for _ in 0..2 {
        let attached = Attached::new(&words);
        let inside = ["ip", "netns", "exec", "blue", "python3", "-c", WAIT, V4];
        let mut client = bare(inside[0]).args(&inside[1..]).stdout(Stdio::piped()).spawn().unwrap();
        let mut out = BufReader::new(client.stdout.take().unwrap());
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        assert_eq!(line, "up\n");
        assert_eq!(adit_json("nat flows")[0]["state"], "spliced");
        // By SIGKILL.
        drop(attached);
        let mut rest = String::new();
        out.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "ECONNRESET\nno way out\n");
        client.wait().unwrap();
    }
    assert_eq!(run("ip -n blue -o link").lines().count(), 1, "the device went with the NAT");
}

#[test]
fn what_is_not_offered_is_said_with_the_reason() {
    let _host = Host::new();
    let refused = |options: &[&str]| {
        let options = [&SPLICE[..], options].concat();
        let output = adit_run(&options, &["true"]);
        assert_eq!(output.status.code(), Some(7));
        text(&output.stderr)
    };
    let error = refused(&["--capture", "/run/x.pcapng"]);
    assert!(error.contains("not offered: spliced connections are no packets"), "{error}");
    assert!(refused(&["--netem", "lte"]).contains("ADIT-E0838"));
    run("ip netns add blue");
    run("ip netns exec blue nft add table inet own");
    let attach = [ADIT, "nat", "attach", "blue", "--datapath", "splice"];
    let output = command(attach).output().unwrap();
    let error = text(&output.stderr);
    assert!(error.contains("rules of its own (table inet own)"), "{error}");
    assert_eq!(run("ip -n blue -o link").lines().count(), 1, "nothing is left");
}

#[test]
fn a_connection_that_rules_of_the_inside_keep_from_the_splice_passes_as_packets() {
    let _host = Host::new();
    let rules = "add table inet own; \
                 add chain inet own in { type filter hook input priority 0; policy drop; }; \
                 add rule inet own in iifname lo accept; \
                 add rule inet own in ct state established accept";
    let script = "nft \"$0\" && python3 -c \"$1\" 192.0.2.2 9 && python3 -c \"$1\" 192.0.2.2 9";
    let words = ["sh", "-c", script, rules, CONNECT];
    let output =
        command([ADIT, "run", "--root", "--datapath", "splice", "--"].iter().chain(&words))
            .output()
            .unwrap();
    assert_eq!(text(&output.stdout), "reached\nreached\n", "{}", text(&output.stderr));
}
