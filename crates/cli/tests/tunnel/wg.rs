//! The real `wg` on the socket of a tunnel.

use crate::support::{command, run, text};
use crate::world::{World, show, wait_for};
use std::net::UdpSocket;
use std::time::{Duration, Instant};

fn wg(line: &str) -> String {
    run(&format!("wg {line}"))
}

fn reaches(world: &World, to: &str) {
    wait_for("a ping is answered", || world.a.succeeds(&format!("ping -n -c 1 -W 1 {to}")));
}

/// What cannot be done is reported with its reason, and changes nothing.
#[test]
fn wg_prints_why_it_was_refused() {
    let world = World::new();
    let (a, _) = world.pair("192.0.2.2:51820", [("", ""), ("", "")]);
    let _ta = world.up(&world.a, &a, "");
    let taken = world.a.within(|| UdpSocket::bind("0.0.0.0:0")).unwrap();
    let port = taken.local_addr().unwrap().port();
    let output = command(["wg", "set", "ta", "listen-port", &port.to_string()]).output().unwrap();
    assert!(!output.status.success());
    let message = text(&output.stderr);
    assert_eq!(message, "Unable to modify interface: Address already in use\n");
    assert_eq!(wg("show ta listen-port").trim(), "51820");
}

/// A link-local address has a zone; `wg` sends and prints its name.
#[test]
fn wg_sets_an_endpoint_with_a_zone() {
    let world = World::new();
    let (a, b) = world.pair("192.0.2.77:51820", [("", ""), ("", "")]);
    let _tunnels = (world.up(&world.a, &a, ""), world.up(&world.b, &b, ""));
    let of_link = || world.b.run("ip -6 -o addr show dev ub scope link -tentative");
    wait_for("it has an address", || of_link().contains("fe80::"));
    let address =
        of_link().split_whitespace().find(|word| word.starts_with("fe80::")).unwrap().to_owned();
    let endpoint = format!("[{}%ua]:51820", address.split('/').next().unwrap());
    let peer = wg("show ta peers");
    // wg looks the name up in its own namespace, and prints it from there.
    world.a.run(&format!("wg set ta peer {} endpoint {endpoint}", peer.trim()));
    assert_eq!(world.a.run("wg show ta endpoints").split_whitespace().nth(1), Some(&*endpoint));
    reaches(&world, "10.9.0.2");
    let file = world.write("shown.conf", &world.a.run("wg showconf ta"));
    world.a.run(&format!("wg setconf ta {}", file.display()));
    reaches(&world, "10.9.0.2");
}

/// What `wg showconf` prints changes nothing when `wg` sets it: neither what it shows, nor what it cannot
/// express, nor a session.
#[test]
fn wg_sets_what_it_shows() {
    let world = World::new();
    let keys = [(); 3].map(|()| crate::world::Keys::new());
    let secret = crate::support::adit("tunnel genpsk");
    let b = format!(
        "[interface]\nprivate_key = \"{}\"\nlisten_tcp = 443\naddresses = [\"10.9.0.2/24\"]\n\
         [[peer]]\npublic_key = \"{}\"\npreshared_key = \"{}\"\nallowed_ips = [\"10.9.0.1/32\"]\n",
        keys[1].private,
        keys[0].public,
        secret.trim()
    );
    let a = format!(
        "[interface]\nprivate_key = \"{}\"\nlisten_port = 51820\nfwmark = 7\naddresses = [\"10.9.0.1/24\"]\n\
         [[peer]]\npublic_key = \"{}\"\npreshared_key = \"{}\"\nallowed_ips = [\"10.9.0.2/32\"]\n\
         transport = \"tcp\"\nendpoint = \"192.0.2.2:443\"\nrate_out = \"20mbit\"\nkeepalive = 25\n\
         [[peer]]\npublic_key = \"{}\"\nendpoint = \"localhost:7\"\nallowed_ips = [\"fd00::/64\"]\n",
        keys[0].private,
        keys[1].public,
        secret.trim(),
        keys[2].public
    );
    let (a, b) = (world.write("ta.toml", &a), world.write("tb.toml", &b));
    let _tunnels = (world.up(&world.a, &a, ""), world.up(&world.b, &b, ""));
    reaches(&world, "10.9.0.2");
    wait_for("the name is resolved", || wg("show ta endpoints").contains(":7\n"));
    let peers = || show("ta")["peers"].as_array().unwrap().clone();
    let state = || {
        let keys = ["endpoint", "endpoint_name", "connected", "transport"];
        let of_peer = |peer: &serde_json::Value| keys.map(|key| peer[key].clone());
        let made = peers().iter().find_map(|peer| peer["handshake_age_s"].as_f64()).unwrap();
        let made = Instant::now().checked_sub(Duration::from_secs_f64(made)).unwrap();
        (peers().iter().map(of_peer).collect::<Vec<_>>(), made)
    };
    let (before, made) = state();
    assert!(before.iter().flatten().any(|value| *value == "localhost:7"), "{before:?}");
    let conf = wg("showconf ta");
    let file = world.write("shown.conf", &conf).display().to_string();
    for how in ["setconf", "syncconf", "addconf", "setconf"] {
        wg(&format!("{how} ta {file}"));
        assert_eq!(wg("showconf ta"), conf, "{how}");
        assert!(world.a.pings("-q -c 3 -i 0.1 -W 5 10.9.0.2"), "{how}");
        assert_eq!(state().0, before, "{how}");
    }
    let later = state().1;
    let apart = later.max(made).duration_since(later.min(made));
    assert!(apart.as_millis() < 1000, "the session is the one before: {apart:?}");
}
