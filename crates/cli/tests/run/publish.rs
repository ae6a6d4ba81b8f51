//! Ports of the host that lead inside: `--publish`, `adit nat publish` and `unpublish`.

use crate::nat::{Attached, Host, V4};
use crate::policy::DOWNLOAD;
use crate::support::{ADIT, adit, adit_json, bare, command, refused, run, text, validate};
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// Answers with the address of the client: TCP and UDP, port 8000, both families.
const SERVER: &str = "
import socket, threading
def tcp():
    server = socket.create_server(('', 8000), family=socket.AF_INET6, dualstack_ipv6=True)
    print('up', flush=True)
    while True:
        connection, peer = server.accept()
        connection.sendall(peer[0].encode())
        connection.close()
udp = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
udp.bind(('', 8000))
threading.Thread(target=tcp, daemon=True).start()
while True:
    _, peer = udp.recvfrom(100)
    udp.sendto(peer[0].encode(), peer)
";

/// Prints what the server answers: by TCP, or an error.
const TCP: &str = "
import socket, sys
try:
    connection = socket.create_connection((sys.argv[1], int(sys.argv[2])), 60)
    print(connection.makefile().read().removeprefix('::ffff:'))
except OSError as error:
    print(error.strerror)
";

/// The same by UDP; a datagram that is lost is sent again.
const UDP: &str = "
import socket, sys
address = socket.getaddrinfo(sys.argv[1], int(sys.argv[2]))[0]
s = socket.socket(address[0], socket.SOCK_DGRAM)
s.connect(address[4])
s.settimeout(1)
for _ in range(60):
    try:
        s.send(b'?')
        print(s.recv(100).decode().removeprefix('::ffff:'))
        break
    except OSError:
        pass
";

/// What adit reports goes there.
const STDERR: &str = "/run/stderr";

/// A program, such as the command of `adit run`, that has printed `up`.
struct Running(Child);

impl Running {
    fn new(options: &[&str], program: &str) -> Self {
        Self::under(&[], options, program)
    }

    /// As a program that another one executes.
    fn under(prefix: &[&str], options: &[&str], program: &str) -> Self {
        let user = ["unshare", "-U", "--map-user=4711", "--map-group=4712", ADIT, "run"];
        let sandbox = ["--sandbox", "require", "--name", "web"];
        Self::start(&[prefix, &user, &sandbox, options, &["--", "python3", "-c", program]].concat())
    }

    fn start(words: &[&str]) -> Self {
        let mut child = bare(words[0])
            .args(&words[1..])
            .stdout(Stdio::piped())
            .stderr(fs::File::create(STDERR).unwrap())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let running = Self(child);
        assert_eq!(line, "up\n", "{}", fs::read_to_string(STDERR).unwrap());
        running
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs a client beyond the host.
fn outside(program: &str, address: &str, port: &str) -> String {
    let words = ["ip", "netns", "exec", "srv", "python3", "-c", program, address, port];
    text(&command(words).output().unwrap().stdout).trim().to_owned()
}

/// Runs a client on the host.
fn on_host(program: &str, address: &str, port: &str) -> String {
    let words = ["python3", "-c", program, address, port];
    text(&command(words).output().unwrap().stdout).trim().to_owned()
}

#[test]
fn published_ports_lead_to_the_command_which_sees_the_client() {
    let _host = Host::new();
    let options = [
        ["--publish", "8080:8000"],
        ["--publish", "8081:8000/udp"],
        ["--publish", "[::1]:9000-9001:8000"],
        ["--publish", "127.0.0.1:9000:8000"],
    ];
    let _web = Running::new(options.as_flattened(), SERVER);
    for (host, client) in [("192.0.2.1", "192.0.2.2"), ("2001:db8::1", "2001:db8::2")] {
        assert_eq!(outside(TCP, host, "8080"), client);
        assert_eq!(outside(UDP, host, "8081"), client);
    }
    // From the host's loopback it is the NAT.
    assert_eq!(on_host(TCP, "127.0.0.1", "9000"), "10.0.2.2");
    assert_eq!(on_host(TCP, "::1", "9000"), "fd00::2");
    assert_eq!(outside(TCP, "192.0.2.1", "9000"), "Connection refused");
    // Nothing listens inside at 8001.
    assert_eq!(on_host(TCP, "::1", "9001"), "Connection reset by peer");

    let shown = adit_json("nat show web");
    validate(&[("nat-show", shown.to_string())]);
    let published = shown["published"].as_array().unwrap();
    assert_eq!(published.len(), 7, "{published:?}");
    assert!(published.contains(&serde_json::json!(
        {"transport": "udp", "local": "0.0.0.0:8081", "inside": "10.0.2.100:8000"}
    )));
    let text = adit("nat show web");
    assert!(text.contains("published     tcp 0.0.0.0:8080 to 10.0.2.100:8000\n"), "{text}");
    assert!(text.contains("tcp [::1]:9000-9001 to [fd00::100]:8000-8001\n"), "{text}");
}

#[test]
fn ports_are_published_and_closed_while_the_command_runs() {
    let _host = Host::new();
    let _web = Running::new(&[], SERVER);
    assert_eq!(outside(TCP, "192.0.2.1", "8080"), "Connection refused");
    assert_eq!(adit("nat publish web 8080:8000"), "8080:8000 is published\n");
    assert_eq!(adit("nat publish 8080:8000/udp"), "8080:8000/udp is published\n");
    assert_eq!(outside(TCP, "192.0.2.1", "8080"), "192.0.2.2");
    assert_eq!(outside(UDP, "2001:db8::1", "8080"), "2001:db8::2");
    let (status, error) = refused("nat publish web 8080:9");
    assert_eq!(status, 5, "{error}");
    assert!(
        error.contains("0.0.0.0:8080")
            && error.contains("published already")
            && error.contains("adit nat show"),
        "{error}"
    );
    assert_eq!(adit("complete -- nat unpublish web 80"), "8080\n8080/udp\n");
    adit("nat unpublish web 8080");
    assert_eq!(outside(TCP, "192.0.2.1", "8080"), "Connection refused");
    assert_eq!(outside(UDP, "192.0.2.1", "8080"), "192.0.2.2");
    adit("nat unpublish 8080/udp");
    adit("nat publish auto");
    assert_eq!(refused("nat publish auto").0, 5);
    assert_eq!(outside(TCP, "192.0.2.1", "8000"), "192.0.2.2");
    adit("nat unpublish auto");
    assert_eq!(refused("nat unpublish auto").0, 4);
    assert_eq!(adit_json("nat show")["published"], serde_json::json!([]));
    let (status, error) = refused("nat unpublish web 8080");
    assert_eq!(status, 4, "{error}");
    assert_eq!(refused("nat publish 1025-65535").0, 2);
    // A part of a range that cannot be opened opens none of it.
    let _taken = TcpListener::bind("0.0.0.0:7002").unwrap();
    let (status, error) = refused("nat publish 7000-7003");
    assert_eq!(status, 5, "{error}");
    assert!(error.contains("0.0.0.0:7002: another program has the port"), "{error}");
    assert_eq!(adit_json("nat show")["published"], serde_json::json!([]));
}

#[test]
fn a_port_that_cannot_be_published_ends_the_run_before_the_command() {
    let _host = Host::new();
    let _taken = TcpListener::bind("0.0.0.0:8080").unwrap();
    let run_with = |spec: &str| {
        let words =
            ["-U", "--map-user=4711", "--map-group=4712", ADIT, "run", "--publish", spec, "--"];
        let words = ["unshare"].iter().chain(&words).chain(&["echo", "it runs"]);
        let output = command(words).output().unwrap();
        assert_eq!(text(&output.stdout), "", "{spec}");
        (output.status.code().unwrap(), text(&output.stderr))
    };
    for (spec, status, why, remedy) in [
        ("8080", 5, "cannot publish tcp 0.0.0.0:8080: another program", "sport = :8080"),
        (
            "80",
            3,
            "cannot publish tcp 0.0.0.0:80: permission denied",
            "ip_unprivileged_port_start=80",
        ),
        (
            "198.51.100.9:8081/udp",
            4,
            "udp 198.51.100.9:8081: no address of this host",
            "ip address",
        ),
        ("8080/sctp", 2, "`/tcp` or `/udp`", "--help"),
    ] {
        let (found, error) = run_with(spec);
        assert_eq!(found, status, "{error}");
        assert!(error.contains(why) && error.contains(remedy), "{spec}: {error}");
    }
    let (status, error) = refused("run --net none --publish 8080 -- true");
    assert_eq!(status, 2, "{error}");
}

#[test]
fn an_attached_namespace_has_its_ports_from_the_start() {
    let _host = Host::new();
    run("ip netns add blue");
    let _server = Running::start(&["ip", "netns", "exec", "blue", "python3", "-c", SERVER]);
    for mode in [None, Some("--tap")] {
        let words = [ADIT, "nat", "attach", "blue", "--publish", "8080:8000", "--publish", "auto"];
        let rate = ["--rate", "80mbit"];
        let all: Vec<&str> = words.into_iter().chain(rate).chain(mode).collect();
        let _attached = Attached::new(&all);
        for port in ["8080", "8000"] {
            assert_eq!(outside(TCP, "192.0.2.1", port), "192.0.2.2");
            assert_eq!(outside(TCP, "2001:db8::1", port), "2001:db8::2");
        }
        // Super-packets cross the emulated link, of packets as of frames.
        let words = ["ip", "netns", "exec", "blue", "python3", "-c", DOWNLOAD, V4];
        let output = command(words).output().unwrap();
        let seconds: f64 = text(&output.stdout).trim().parse().unwrap();
        assert!(seconds > 0.9, "{seconds}");
    }
}

/// Opens a privileged port, and executes a program with its socket as descriptor 3.
const ACTIVATE: &str = "
import os, socket, sys
s = socket.create_server(('192.0.2.1', 88))
os.dup2(s.fileno(), 3)
os.set_inheritable(3, True)
os.execvp(sys.argv[1], sys.argv[1:])
";

#[test]
fn a_socket_of_another_program_leads_inside() {
    let _host = Host::new();
    let activate = ["python3", "-c", ACTIVATE];
    let _web = Running::under(&activate, &["--publish", "fd:3=8000"], SERVER);
    assert_eq!(outside(TCP, "192.0.2.1", "88"), "192.0.2.2");
    assert_eq!(adit_json("nat show")["published"][0]["local"], "192.0.2.1:88");
    // The command has not inherited it: nobody listens any more.
    let _ = adit("nat unpublish 88");
    assert_eq!(outside(TCP, "192.0.2.1", "88"), "Connection refused");
    let (status, error) = refused("run --publish fd:9=80 -- true");
    assert!(status != 0 && error.contains("descriptor 9"), "{error}");
    let words = ["sh", "-c", "exec \"$0\" run --publish fd:5=80 -- true 5</dev/null", ADIT];
    let output = command(words).output().unwrap();
    assert!(text(&output.stderr).contains("listens for TCP"), "{}", text(&output.stderr));
}

/// Listens on its loopback, at a port that is taken outside, and for one connection at port 8000.
const ONE: &str = "
import socket, time
local = socket.create_server(('127.0.0.1', 8001))
taken = socket.create_server(('', 8002))
print('up', flush=True)
server = socket.create_server(('', 8000))
connection, peer = server.accept()
connection.sendall(peer[0].encode())
connection.close()
server.close()
time.sleep(1000)
";

#[test]
fn what_listens_inside_is_published_until_it_ends() {
    let _host = Host::new();
    let _taken = TcpListener::bind("0.0.0.0:8002").unwrap();
    let _web = Running::new(&["--publish", "auto", "--publish", "9000:8001"], ONE);
    let until = |expected: &str| {
        let end = Instant::now() + Duration::from_secs(60);
        while outside(TCP, "192.0.2.1", "8000") != expected {
            assert!(Instant::now() < end, "{expected}");
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    until("192.0.2.2");
    until("Connection refused");
    // On the inside's loopback alone it is not published.
    assert_eq!(outside(TCP, "192.0.2.1", "8001"), "Connection refused");
    let published = adit_json("nat show")["published"].to_string();
    assert!(published.contains(":9000") && !published.contains(":8002"), "{published}");
    std::thread::sleep(Duration::from_secs(1));
    let errors = fs::read_to_string(STDERR).unwrap();
    assert_eq!(errors.matches("0.0.0.0:8002").count(), 1, "{errors}");
    assert_eq!(errors.lines().count(), 1, "{errors}");
}
