//! Metrics of a tunnel.

use crate::scrape::{OPEN, Scrape, check};
use crate::world::{Keys, World, show, wait_for};
use std::fmt::Write;
use std::process::Stdio;

/// The names that dashboards know, and what they count is what was sent.
#[test]
fn peers_are_counted_under_the_names_that_dashboards_know() {
    let world = World::new();
    let nobody = Keys::new();
    let more =
        format!("[Peer]\n# nobody\nPublicKey = {}\nAllowedIPs = 10.9.0.77/32", nobody.public);
    let (a, b) = world.pair("192.0.2.2:51820", [("", &more), ("", "")]);
    let named = std::fs::read_to_string(&a).unwrap();
    let named = named.replacen("[Peer]\n", "[Peer]\n# friendly_name = the \"office\"\n", 1);
    std::fs::write(&a, named).unwrap();
    let _ta = world.up(&world.a, &a, "--metrics 9001");
    let before = Scrape::of("ta");
    // Without a handshake there is no age, and it is not 0.
    for name in [
        "wireguard_latest_handshake_seconds",
        "wireguard_handshake_age_seconds",
        "adit_session_info",
    ] {
        assert_eq!(before.find(name, &[]), [0.0; 0], "{name}");
    }
    assert_eq!(before.find("wireguard_sent_bytes_total", &["interface=\"ta\""]), [0.0, 0.0]);
    let _tb = world.up(&world.b, &b, "");
    wait_for("a ping is answered", || world.a.succeeds("ping -n -c 1 -W 1 10.9.0.2"));
    // Both sides know which cipher it is by then.
    wait_for("the session has its cipher", || {
        world.a.succeeds("ping -n -c 1 -W 1 10.9.0.2");
        Scrape::of("ta").find("adit_session_info", &[]).len() == 1
    });
    let from = Scrape::of("ta");
    world.a.run("ping -n -q -c 100 -i 0.01 -s 1000 -W 5 10.9.0.2");
    // Keepalives and other messages may follow: it agrees once nothing moves between both questions.
    wait_for("the page agrees with show", || {
        let (first, view, page) = (Scrape::of("ta"), show("ta"), Scrape::of("ta"));
        let peer = view["peers"].as_array().unwrap().iter().find(|peer| peer["connected"] == true);
        let peer = peer.unwrap();
        let key = format!("public_key={}", peer["public_key"]);
        let labels = ["name=\"ta\"", "interface=\"ta\"", &key, r#"friendly_name="the \"office\"""#];
        let names = ["wireguard_sent_bytes_total", "wireguard_received_bytes_total"];
        if names.iter().any(|name| first.value(name, &labels) != page.value(name, &labels)) {
            return false;
        }
        assert_eq!(page.value(names[0], &labels), peer["sent_bytes"].as_f64().unwrap());
        assert_eq!(page.value(names[1], &labels), peer["received_bytes"].as_f64().unwrap());
        for name in names {
            // Each packet has 1028 bytes, and 32 of WireGuard around it, padded to 16.
            let new = page.value(name, &labels) - from.value(name, &labels);
            assert!((106_400.0..120_000.0).contains(&new), "{name}: {new}");
        }
        let age = page.value("wireguard_handshake_age_seconds", &labels);
        let shown = peer["handshake_age_s"].as_f64().unwrap();
        assert!(age >= shown - 0.001 && age < shown + 60.0, "{age} {shown}");
        let at = page.value("wireguard_latest_handshake_seconds", &labels);
        let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs_f64();
        assert!(at <= now && at > now - age - 60.0, "{at} {now}");
        assert_eq!(page.value("adit_peer_connected", &labels), 1.0);
        let suite = format!("suite={}", peer["cipher"]);
        let secret = format!("post_quantum={}", peer["post_quantum"]);
        let session = [labels[2], &suite, &secret];
        assert_eq!(page.value("adit_session_info", &session), 1.0);
        let networks = [labels[2], "allowed_ips=\"10.9.0.2/32,fd00:9::2/128\""];
        assert_eq!(page.value("adit_peer_info", &networks), 1.0);
        true
    });
    let page = Scrape::of("ta");
    assert_eq!(page.value("adit_peer_connected", &["friendly_name=\"nobody\""]), 0.0);
    // Exactly what came from the device: the pings, of 1028 bytes each.
    let device = ["port=\"ta\"", "direction=\"ingress\""];
    let new = |name: &str| page.value(name, &device) - from.value(name, &device);
    assert_eq!((new("adit_port_frames_total"), new("adit_port_bytes_total")), (100.0, 102_800.0));
    let by_tcp = world.a.within(|| Scrape::at("127.0.0.1:9001", "GET /metrics", "text/plain"));
    check(&by_tcp);
}

#[test]
fn a_drop_is_counted_with_its_reason() {
    let world = World::new();
    let (a, _) = world.pair("192.0.2.2:51820", [("", ""), ("", "")]);
    let _ta = world.up(&world.a, &a, "");
    // No peer has the destination.
    world.a.run("ip route add 10.9.0.99 dev ta");
    assert!(!world.a.succeeds("ping -n -c 3 -i 0.2 -W 1 10.9.0.99"));
    let drops = Scrape::of("ta").sum("adit_drops_total", &["reason=\"no peer\""]);
    let shown = show("ta");
    let shown = shown["drops"].as_array().unwrap().iter().find(|drop| drop["reason"] == "no peer");
    let shown = shown.unwrap()["count"].as_f64().unwrap();
    // The kernel sends packets of its own as well.
    assert!(drops >= 3.0 && shown >= drops && shown < drops + 10.0, "{drops} {shown}");
}

/// A hundred clients at a time, while packets cross a tunnel with a thousand peers: no packet is lost.
#[test]
fn a_thousand_peers_are_scraped_by_many_without_loss() {
    let world = World::new();
    let (a, b) = world.pair("192.0.2.2:51820", [("", ""), ("", "")]);
    let mut text = std::fs::read_to_string(&a).unwrap();
    for number in 0..1000_u32 {
        let [_, _, high, low] = number.to_be_bytes();
        let key = crate::many::base64(number);
        writeln!(text, "[Peer]\n# p{number}\nPublicKey = {key}\nAllowedIPs = 10.1.{high}.{low}/32")
            .unwrap();
    }
    std::fs::write(&a, text).unwrap();
    let (_ta, _tb) = (world.up(&world.a, &a, ""), world.up(&world.b, &b, ""));
    wait_for("a ping is answered", || world.a.succeeds("ping -n -c 1 -W 1 10.9.0.2"));
    let before = Scrape::of("ta");
    let line = "ping -n -q -c 1000 -i 0.002 -W 10 10.9.0.2";
    let pings = world.a.command(line).stdout(Stdio::piped()).spawn().unwrap();
    let scrapers: Vec<_> = (0..100).map(|_| std::thread::spawn(|| Scrape::of("ta"))).collect();
    for scraper in scrapers {
        let page = scraper.join().expect("each scrape succeeds");
        assert!(page.head.contains("200 OK"), "{}", page.head);
        assert_eq!(page.find("wireguard_sent_bytes_total", &[]).len(), 1001);
    }
    let output = crate::support::text(&pings.wait_with_output().unwrap().stdout);
    assert!(output.contains(" 0% packet loss"), "{output}");
    let after = Scrape::of("ta");
    // The kernel sends packets of its own, to no peer.
    let drops = |page: &Scrape| {
        page.sum("adit_drops_total", &[]) - page.sum("adit_drops_total", &["reason=\"no peer\""])
    };
    assert_eq!(drops(&after), drops(&before));
    assert!(after.head.contains(OPEN.split(';').next().unwrap()));
}
