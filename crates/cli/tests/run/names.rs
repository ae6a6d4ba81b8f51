//! Names inside: the NAT's name server, and the host's name servers when they change.

use crate::nat::{Attached, Host, NAME_SERVER, V4, adit_run};
use crate::support::{ADIT, adit_json, bare, command, run, text};
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::symlink;
use std::process::Stdio;
use std::time::{Duration, Instant};

const RESOLVER: &str = include_str!("resolver.py");

/// How long a change may take on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn own_names_are_answered_by_udp_and_tcp_and_others_by_the_given_servers() {
    let mut host = Host::new();
    let srv = ["ip", "netns", "exec", "srv"];
    host.start(&srv, NAME_SERVER, &["53", "203.0.113.7", V4]);
    // The first one takes queries and never answers.
    let silent = "import socket, time\nu = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n\
                  u.bind(('192.0.2.2', 5353))\nt = socket.create_server(('192.0.2.2', 5353))\n\
                  print('up', flush=True)\ntime.sleep(1000)";
    host.start(&srv, silent, &[]);
    let options = ["--name", "db.test=10.0.0.9", "--name", "db.test=fd00::9", "--name", "web"];
    let options = [&options[..], &["--dns", "192.0.2.2:5353,192.0.2.2"]].concat();
    let names = ["host.adit.internal", "DB.test", "no.adit.internal", "some.example"];
    let output = adit_run(&options, &[&["python3", "-c", RESOLVER][..], &names].concat());
    let ways = "by udp4 tcp4 udp6 tcp6";
    assert_eq!(
        text(&output.stdout),
        format!(
            "host.adit.internal 10.0.2.2 fd00::2 {ways}\nDB.test 10.0.0.9 fd00::9 {ways}\n\
             no.adit.internal - {ways}\nsome.example 203.0.113.7 {ways}\n"
        ),
        "{}",
        text(&output.stderr)
    );
    let (status, error) = crate::support::refused("run --dns auto --dns 192.0.2.1 -- true");
    assert_eq!(status, 2, "{error}");
}

#[test]
fn the_hosts_name_servers_are_followed() {
    let mut host = Host::new();
    // Nothing else in there is needed here.
    run("mount -t tmpfs none /etc");
    fs::create_dir("/run/manager").unwrap();
    let at = |number: u8| format!("127.0.0.{number}");
    for number in 1..=6 {
        let answer = format!("203.0.113.{number}");
        host.start(&[], NAME_SERVER, &["53", &answer, &at(number)]);
    }
    let text_of = |number: u8| format!("search lan\nnameserver {}\n", at(number));
    fs::write("/etc/resolv.conf", text_of(1)).unwrap();
    run("ip netns add blue");
    let _attached = Attached::new(&[ADIT, "nat", "attach", "blue", "--sandbox", "require"]);
    let inside = |name: &str| {
        let words = ["ip", "netns", "exec", "blue", "python3", "-c", RESOLVER, name];
        text(&command(words).output().unwrap().stdout)
    };
    let follows = |number: u8, how: &str| {
        let end = Instant::now() + PATIENCE;
        while adit_json("nat show")["resolvers"][0] != format!("{}:53", at(number)) {
            assert!(Instant::now() < end, "{how}");
            std::thread::sleep(Duration::from_millis(20));
        }
        let found = inside("some.example");
        assert!(found.starts_with(&format!("some.example 203.0.113.{number} ")), "{how}: {found}");
    };
    follows(1, "at the start");
    fs::write("/etc/resolv.conf", text_of(2)).unwrap();
    follows(2, "written in place");
    fs::write("/etc/new", text_of(3)).unwrap();
    fs::rename("/etc/new", "/etc/resolv.conf").unwrap();
    follows(3, "replaced");
    fs::write("/run/manager/resolv.conf", text_of(4)).unwrap();
    symlink("../run/manager/resolv.conf", "/etc/new").unwrap();
    fs::rename("/etc/new", "/etc/resolv.conf").unwrap();
    follows(4, "replaced by a link");
    fs::write("/run/manager/new", text_of(5)).unwrap();
    fs::rename("/run/manager/new", "/run/manager/resolv.conf").unwrap();
    follows(5, "the target of the link replaced");
    // Without name servers the former ones stay.
    fs::write("/run/manager/resolv.conf", "").unwrap();
    std::thread::sleep(Duration::from_secs(1));
    follows(5, "truncated");
    fs::write("/run/manager/resolv.conf", text_of(6)).unwrap();
    follows(6, "written after it was truncated");
}

/// Prints resolv.conf when it is another one.
const SEARCH: &str = "
import sys, time
before, end = None, time.monotonic() + 60
while time.monotonic() < end:
    text = open('/etc/resolv.conf').read()
    if text != before:
        print(text.replace('\\n', ';'), flush=True)
        before = text
    time.sleep(0.01)
";

#[test]
fn search_domains_are_followed_in_the_file_of_a_command() {
    let _host = Host::new();
    run("mount -t tmpfs none /etc");
    let write = |text: &str| {
        fs::write("/etc/new", text).unwrap();
        fs::rename("/etc/new", "/etc/resolv.conf").unwrap();
    };
    write("nameserver 192.0.2.2\nsearch a-long-name.example.org lan\noptions ndots:2\n");
    let mut adit = bare(ADIT)
        .args(["run", "--sandbox", "require", "--", "python3", "-u", "-c", SEARCH])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(adit.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut until = |wanted: &str| {
        // The host's file may be seen for a moment after it was replaced.
        let found = lines.find(|line| line == wanted);
        assert!(found.is_some(), "not {wanted}");
    };
    until("nameserver 10.0.2.3;search a-long-name.example.org lan;options ndots:2;");
    write("nameserver 192.0.2.2\nsearch vpn.example\n");
    until("nameserver 10.0.2.3;search vpn.example;");
    write("search other.example more.example\nnameserver 192.0.2.3\n");
    until("nameserver 10.0.2.3;search other.example more.example;");
    // The same file once more, and one that is written in place.
    write("search other.example more.example\nnameserver 192.0.2.3\n");
    fs::write("/etc/resolv.conf", "search lan\nnameserver 192.0.2.3\n").unwrap();
    until("nameserver 10.0.2.3;search lan;");
    adit.kill().unwrap();
    adit.wait().unwrap();
}
