//! The output of `adit tunnel show`, beside that of `wg show`.

use crate::support::{ADIT, adit, bare, command, describes_itself, parse, run, text, validate};
use crate::world::{World, of_peer, show, wait_for};
use std::process::Stdio;

/// All that `wg show` prints is there, and the ages are right.
#[test]
fn show_has_all_that_wg_shows() {
    let world = World::new();
    let psk = format!("PresharedKey = {}", adit("tunnel genpsk").trim());
    let first = format!("{psk}\nPersistentKeepalive = 5");
    let (a, b) = world.pair("192.0.2.2:51820", [("FwMark = 0x77", &first), ("", &psk)]);
    let (_ta, tb) = (world.up(&world.a, &a, ""), world.up(&world.b, &b, ""));
    wait_for("a ping is answered", || world.a.succeeds("ping -n -c 1 -W 1 10.9.0.2"));
    let dump = || -> Vec<Vec<String>> {
        let words = |line: &str| line.split('\t').map(str::to_owned).collect();
        run("wg show ta dump").lines().map(words).collect()
    };
    let (wg, view) = (dump(), show("ta"));
    let (interface, peer) = (&wg[0], &wg[1]);
    let ours = &view["peers"][0];
    assert_eq!(view["public_key"], interface[1].as_str());
    assert_eq!(view["listen_port"].to_string(), interface[2]);
    assert_eq!((view["fwmark"].as_u64(), interface[3].as_str()), (Some(0x77), "0x77"));
    assert_eq!(ours["public_key"], peer[0].as_str());
    assert_eq!((ours["preshared_key"].as_bool(), peer[1] == "(none)"), (Some(true), false));
    assert_eq!(ours["endpoint"], peer[2].as_str());
    assert_eq!(ours["allowed_ips"].as_array().unwrap().len(), peer[3].split(',').count());
    assert_eq!(ours["keepalive_s"].to_string(), peer[7]);
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs_f64();
    let age = now - peer[4].parse::<f64>().unwrap();
    assert!((of_peer("ta", "handshake_age_s") - age).abs() < 30.0, "{age}");
    assert!(peer[5].parse::<u64>().unwrap() > 0 && ours["received_bytes"].as_u64().unwrap() > 0);
    let text = adit("tunnel show ta");
    for told in ["fwmark: 0x77", "preshared key: (hidden)", "keepalive: every 5 s", "last packet: "]
    {
        assert!(text.contains(told), "{told}: {text}");
    }
    describes_itself("tunnel", "/run/adit/ta.sock", &[]);
    // What is sent to nobody makes no age younger.
    tb.kill();
    let (packet, handshake) = (of_peer("ta", "authentic_age_s"), of_peer("ta", "handshake_age_s"));
    let start = std::time::Instant::now();
    assert!(!world.a.succeeds("ping -n -c 3 -i 0.5 -W 1 10.9.0.2"));
    let passed = start.elapsed().as_secs_f64();
    assert!(of_peer("ta", "authentic_age_s") >= packet + passed - 0.1);
    assert!(of_peer("ta", "handshake_age_s") >= handshake + passed - 0.1);
}

/// Both ends use what both accept; a change takes effect with the next session.
#[test]
fn the_cipher_is_agreed_and_shown() {
    let world = World::new();
    let aes = "Suite = aes-256-gcm";
    let (a, b) = world.pair("192.0.2.2:51820", [("", aes), ("", aes)]);
    let (_ta, _tb) = (world.up(&world.a, &a, "--faster 40"), world.up(&world.b, &b, "--faster 40"));
    wait_for("a ping is answered", || world.a.succeeds("ping -n -c 1 -W 1 10.9.0.2"));
    let peer = |name: &str, field: &str| show(name)["peers"][0][field].clone();
    wait_for("both use it", || {
        ["ta", "tb"].iter().all(|name| peer(name, "cipher") == "aes-256-gcm")
    });
    assert_eq!(peer("ta", "suite"), "aes-256-gcm");
    assert!(show("ta")["aes_is_faster"].is_boolean());
    world.a.run("ping -n -q -c 20 -i 0.01 -s 1200 -W 1 10.9.0.2");
    assert!(adit("tunnel show ta").contains("cipher: aes-256-gcm"));
    assert!(run("wg show ta").contains("latest handshake"), "wg works");

    let file = std::fs::read_to_string(&b).unwrap().replace(aes, "Suite = wireguard");
    std::fs::write(&b, file).unwrap();
    adit("tunnel reload tb");
    wait_for("a new session has the other one", || {
        world.a.succeeds("ping -n -c 1 -W 1 10.9.0.2");
        ["ta", "tb"].iter().all(|name| peer(name, "cipher") == "chacha20-poly1305")
    });
}

#[test]
fn rates_are_shown_while_there_is_traffic() {
    let world = World::new();
    let (a, b) = world.pair("192.0.2.2:51820", [("", ""), ("", "")]);
    let (_ta, _tb) = (world.up(&world.a, &a, ""), world.up(&world.b, &b, ""));
    let rates = || ["received_bits_per_s", "sent_bits_per_s"].map(|field| of_peer("ta", field));
    wait_for("there is a rate in both directions", || {
        world.a.succeeds("ping -n -q -c 50 -i 0.01 -s 1200 -W 1 10.9.0.2");
        rates().iter().all(|rate| *rate > 1000.0)
    });
    assert!(adit("tunnel show ta").contains("rate: "));
    wait_for("it ends with the traffic", || rates() == [0.0, 0.0]);
}

/// With -j a tunnel prints its events as lines of JSON, and nothing else.
#[test]
fn events_of_a_tunnel_are_json() {
    let world = World::new();
    let (a, b) = world.pair("192.0.2.2:51820", [("SaveConfig = true", ""), ("", "")]);
    let _tb = world.up(&world.b, &b, "");
    let mut ta = bare(ADIT);
    ta.args(["-j", "-n", &world.a.path(), "tunnel", "up"]).arg(&a).stdin(Stdio::null());
    let ta = ta.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_for("a ping is answered", || world.a.succeeds("ping -n -c 1 -W 1 10.9.0.2"));
    adit("tunnel reload ta");
    adit("tunnel down ta");
    let output = ta.wait_with_output().unwrap();
    assert_eq!(text(&output.stderr), "");
    let lines = text(&output.stdout);
    let events: Vec<_> = lines.lines().map(parse).collect();
    let kinds: Vec<&str> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    let at = |kind| kinds.iter().position(|one| *one == kind).unwrap_or_else(|| panic!("{lines}"));
    assert!(at("note") < at("ready") && at("ready") < at("peer-connected"), "{lines}");
    assert!(at("peer-connected") < at("reloaded"), "{lines}");
    assert_eq!(events[at("ready")]["name"], "ta");
    assert_eq!(events[at("peer-connected")]["endpoint"], "192.0.2.2:51820");
    validate(&lines.lines().map(|line| ("events", line.to_owned())).collect::<Vec<_>>());

    // In the background, errors and messages of the start are JSON too.
    let words = [ADIT, "-j", "-n", &world.a.path(), "tunnel", "up", "--detach"];
    let output = command(words).arg(&a).output().unwrap();
    assert!(output.status.success() && output.stdout.is_empty(), "{output:?}");
    assert!(text(&output.stderr).lines().all(|line| parse(line)["event"] == "note"), "{output:?}");
    adit("tunnel down ta");
}
