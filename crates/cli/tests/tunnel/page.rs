//! The status page in a browser: a staged fault is seen at a glance.

use crate::browser;
use crate::support::{ADIT, text};
use crate::world::{Running, World, wait_for};
use std::process::Stdio;

const PAGE: &str = "http://127.0.0.1:9587";

#[test]
fn the_page_shows_which_peer_is_silent_and_why_packets_die() {
    if browser::is_missing() {
        return;
    }
    let world = World::new();
    // A key of the widest letters: no label is cut.
    let nobody = format!("{}U=", "W".repeat(42));
    let silent = format!(
        "[Peer]\nPublicKey = {nobody}\nAllowedIPs = 10.9.0.9/32\nEndpoint = 192.0.2.9:51820\n"
    );
    let (a, b) = world.pair("192.0.2.2:51820", [("", &silent), ("", "")]);
    let (_ta, _tb) = (world.up(&world.a, &a, "--page 9587"), world.up(&world.b, &b, ""));
    wait_for("a ping is answered", || world.a.succeeds("ping -n -c 1 -W 1 10.9.0.2"));
    // Traffic, packets for a peer that does not answer, and packets for none.
    let pings = ["10.9.0.2", "10.9.0.9", "10.9.0.77"].map(|to| {
        let mut ping = world.a.command(&format!("ping -n -q -i 0.05 -s 1000 {to}"));
        Running(ping.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    });
    let words = [PAGE, &nobody[..8], "no peer"];
    browser::play(
        world.a.command("env"),
        include_str!("page.py"),
        &words,
        &["light", "dark", "phone"],
    );
    drop(pings);
}

/// The address is for the page alone: nothing is changed there, and no page of another origin is answered.
#[test]
fn the_page_changes_nothing_and_answers_no_other_site() {
    let world = World::new();
    let keys = "Page = 9587\nMetrics = 127.0.0.1:9587\nLog = control=error,host=debug";
    let (a, _) = world.pair("192.0.2.2:51820", [(keys, ""), ("", "")]);
    let _ta = world.up(&world.a, &a, "");
    let log = text(&world.a.command(&format!("{ADIT} log ta")).output().unwrap().stdout);
    assert!(log.contains("host     debug") && log.contains("control  error"), "{log}");
    let ask = |words: &str| {
        let line = format!("curl -s -o /dev/null -w %{{http_code}} {words}");
        text(&world.a.command(&line).output().unwrap().stdout)
    };
    for (status, words) in [
        ("200", "http://127.0.0.1:9587/page"),
        ("200", "http://localhost:9587/page/page.js"),
        ("200", "-H Host:[::1]:9587 http://127.0.0.1:9587/page"),
        ("200", "http://127.0.0.1:9587/tunnel"),
        ("200", "http://127.0.0.1:9587/health"),
        ("200", "http://127.0.0.1:9587/metrics"),
        ("403", "-X POST http://127.0.0.1:9587/stop"),
        ("403", "-X POST http://127.0.0.1:9587/reload"),
        ("403", "http://127.0.0.1:9587/tunnel/peers"),
        ("403", "http://127.0.0.1:9587/openapi.json"),
        // A name that leads here, as after DNS rebinding.
        ("403", "-H Host:evil.example http://127.0.0.1:9587/page"),
        ("403", "-H Host:evil.example:9587 http://127.0.0.1:9587/tunnel"),
        ("403", "-H Origin:http://evil.example http://127.0.0.1:9587/tunnel"),
        ("403", "-H Sec-Fetch-Site:cross-site http://127.0.0.1:9587/tunnel"),
        (
            "403",
            "-H Origin:http://localhost:1 --unix-socket /run/adit/ta.sock -X POST http://localhost:9/stop",
        ),
        ("403", "-H Host:evil.example --unix-socket /run/adit/ta.sock -X POST http://x/stop"),
        ("200", "--unix-socket /run/adit/ta.sock http://adit/page"),
    ] {
        assert_eq!(ask(words), status, "{words}");
    }
}
