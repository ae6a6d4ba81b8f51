//! The host's addresses and routes change while a NAT runs.

use crate::nat::{Attached, CONNECT, Host, V4};
use crate::support::{ADIT, bare, command, run, text};
use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::time::{Duration, Instant};

/// How long a change may take on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Tells its clients a word, by TCP and UDP: ADDRESS WORD.
const TELLER: &str = "
import socket, sys, threading
place, word = (sys.argv[1], 5), sys.argv[2].encode()
listener = socket.create_server(place)
datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
datagrams.bind(place)
def serve(connection):
    while connection.recv(100):
        connection.sendall(word)
def streams():
    while True:
        threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
threading.Thread(target=streams, daemon=True).start()
print('up', flush=True)
while True:
    datagrams.sendto(word, datagrams.recvfrom(100)[1])
";

/// Has sockets that stay, and says what they hear: a line `NAME TRANSPORT ADDRESS` asks once.
const ASKER: &str = "
import socket, sys
kept = {}
def ask(name, transport, address):
    s = kept.get(name)
    if s is None:
        s = socket.socket(socket.AF_INET, socket.SOCK_STREAM if transport == 'tcp' else socket.SOCK_DGRAM)
        s.settimeout(3)
        s.connect((address, 5))
        if name != '-':
            kept[name] = s
    s.send(b'?')
    return s.recv(100).decode()
print('up', flush=True)
for line in sys.stdin:
    try:
        print(ask(*line.split()), flush=True)
    except OSError as error:
        print(error.strerror or 'timed out', flush=True)
";

/// The program of [`ASKER`] in namespace `blue`.
struct Asker {
    child: Child,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Asker {
    fn new() -> Self {
        let mut child = bare("ip")
            .args(["netns", "exec", "blue", "python3", "-c", ASKER])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert_eq!(lines.next().unwrap().unwrap(), "up");
        Self { child, stdin, lines }
    }

    fn ask(&mut self, question: &str) -> String {
        writeln!(self.stdin, "{question}").unwrap();
        self.lines.next().unwrap().unwrap()
    }

    /// Asks until the answer is this one.
    fn until(&mut self, question: &str, answer: &str) {
        let end = Instant::now() + PATIENCE;
        loop {
            let found = self.ask(question);
            if found == answer {
                break;
            }
            assert!(Instant::now() < end, "{question}: {found}, not {answer}");
        }
    }
}

impl Drop for Asker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn new_flows_take_the_new_route_and_old_ones_live_on() {
    let mut host = Host::new();
    run("ip netns add other");
    run("ip link add w0 type veth peer name w1 netns other");
    run("ip addr add 198.51.100.1/24 dev w0");
    run("ip -n other addr add 198.51.100.2/24 dev w1");
    run("ip link set w0 up");
    run("ip -n other link set w1 up");
    // A server that is reached by both uplinks.
    for netns in ["srv", "other"] {
        run(&format!("ip -n {netns} addr add 203.0.113.9/32 dev lo"));
        run(&format!("ip -n {netns} link set lo up"));
        host.start(&["ip", "netns", "exec", netns], TELLER, &["203.0.113.9", netns]);
    }
    host.start(&["ip", "netns", "exec", "srv"], TELLER, &[V4, "near"]);
    run("ip route add default via 192.0.2.2");
    run("ip netns add blue");
    let _attached = Attached::new(&[ADIT, "nat", "attach", "blue", "--sandbox", "require"]);
    let mut asker = Asker::new();
    assert_eq!(asker.ask("near tcp 192.0.2.2"), "near");
    assert_eq!(asker.ask("far udp 203.0.113.9"), "srv");
    assert_eq!(asker.ask("- tcp 203.0.113.9"), "srv");
    run("ip route replace default via 198.51.100.2");
    assert_eq!(asker.ask("- tcp 203.0.113.9"), "other");
    // The same socket inside, by the other uplink.
    asker.until("far udp 203.0.113.9", "other");
    assert_eq!(asker.ask("near tcp 192.0.2.2"), "near");
    // The uplink gets another address.
    run("ip addr del 198.51.100.1/24 dev w0");
    run("ip addr add 198.51.100.77/24 dev w0");
    run("ip route replace default via 198.51.100.2");
    assert_eq!(asker.ask("- tcp 203.0.113.9"), "other");
    asker.until("far udp 203.0.113.9", "other");
    assert_eq!(asker.ask("near tcp 192.0.2.2"), "near");
}

#[test]
fn an_address_that_the_host_gets_is_out_of_reach_until_it_has_it_no_more() {
    let mut host = Host::new();
    run("ip -n srv addr add 192.0.2.3/24 dev v1");
    host.start(&["ip", "netns", "exec", "srv"], TELLER, &["192.0.2.3", "srv"]);
    host.start(&[], TELLER, &["0.0.0.0", "host"]);
    run("ip netns add blue");
    let options = ["--sandbox", "require", "--allow-host", "5"];
    let _attached = Attached::new(&[&[ADIT, "nat", "attach", "blue"], &options[..]].concat());
    let mut asker = Asker::new();
    assert_eq!(asker.ask("known udp 192.0.2.3"), "srv");
    assert_eq!(asker.ask("- tcp 192.0.2.3"), "srv");
    // It moves to the host, on two interfaces.
    run("ip -n srv addr del 192.0.2.3/24 dev v1");
    run("ip addr add 192.0.2.3/32 dev v0");
    run("ip addr add 192.0.2.3/32 dev lo");
    asker.until("- tcp 192.0.2.3", "No route to host");
    assert_ne!(asker.ask("known udp 192.0.2.3"), "host");
    assert_ne!(asker.ask("- udp 192.0.2.3"), "host");
    run("ip addr del 192.0.2.3/32 dev lo");
    // Once more, as the event must have come.
    for _ in 0..5 {
        let words = ["ip", "netns", "exec", "blue", "python3", "-c", CONNECT, "192.0.2.3", "5"];
        assert_ne!(text(&command(words).output().unwrap().stdout), "reached\n");
    }
    // Only by the NAT's address, as it was allowed.
    assert_eq!(asker.ask("- tcp 10.0.2.2"), "host");
    run("ip addr del 192.0.2.3/32 dev v0");
    run("ip -n srv addr add 192.0.2.3/24 dev v1");
    asker.until("- udp 192.0.2.3", "srv");
    asker.until("known udp 192.0.2.3", "srv");
}

#[test]
fn networks_that_a_route_makes_the_hosts_own_are_out_of_reach() {
    let mut host = Host::new();
    run("ip route add local 10.9.0.0/16 dev lo");
    run("ip -6 route add local 2001:db8:9::/48 dev lo");
    host.start(&[], TELLER, &["0.0.0.0", "host"]);
    // The server has such addresses as well, and the host a route to it.
    run("ip -n srv addr add 10.8.0.9/32 dev lo");
    host.start(&["ip", "netns", "exec", "srv"], TELLER, &["10.8.0.9", "srv"]);
    run("ip route add 10.8.0.0/16 via 192.0.2.2");
    run("ip netns add blue");
    let _attached = Attached::new(&[ADIT, "nat", "attach", "blue", "--sandbox", "require"]);
    let mut asker = Asker::new();
    assert_eq!(asker.ask("- tcp 10.9.8.7"), "No route to host");
    assert_ne!(asker.ask("- udp 10.9.8.7"), "host");
    assert_eq!(asker.ask("- tcp 10.8.0.9"), "srv");
    // One that comes later, and goes.
    run("ip route add local 10.8.0.0/24 dev lo");
    asker.until("- tcp 10.8.0.9", "No route to host");
    assert_ne!(asker.ask("- udp 10.8.0.9"), "host");
    run("ip route del local 10.8.0.0/24 dev lo");
    asker.until("- tcp 10.8.0.9", "srv");
    let words = ["ip", "netns", "exec", "blue", "python3", "-c", CONNECT, "2001:db8:9::7", "5"];
    assert_ne!(text(&command(words).output().unwrap().stdout), "reached\n");
}
