//! `adit capture --summary` and `adit tunnel show --history`.

use crate::support::{ADIT, adit, adit_json, bare, text, try_adit, validate};
use crate::world::{Running, World, wait_for};
use std::process::Stdio;

/// The names of the charts of an output of `-j`.
fn titles(page: &serde_json::Value) -> Vec<&str> {
    let charts = page["charts"].as_array().unwrap().iter();
    charts.map(|chart| chart["title"].as_str().unwrap()).collect()
}

/// A capture and a tunnel with traffic, drawn from real packets on the terminal, as SVG, HTML and numbers.
#[test]
fn rate_latency_and_drops_are_drawn_from_real_traffic() {
    let world = World::new();
    let (a, b) = world.pair("192.0.2.2:51820", [("", ""), ("", "")]);
    let (_ta, _tb) = (world.up(&world.a, &a, ""), world.up(&world.b, &b, ""));
    wait_for("a ping is answered", || world.a.succeeds("ping -n -c 1 -W 1 10.9.0.2"));
    let mut ping = world.a.command("ping -n -q -i 0.02 10.9.0.2");
    let _ping = Running(ping.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    let file = |name: &str| world.folder.join(name).display().to_string();
    let (recording, svg, html) = (file("a.pcapng"), file("a.svg"), file("a.html"));

    // Live, and recorded beside.
    let path = world.a.path();
    let words = ["-n", &path, "capture", "ta", "-c", "60", "--for", "30s", "--summary"];
    let live = bare(ADIT).args(words).args(["-w", &recording]).env("LC_ALL", "C").output().unwrap();
    let printed = text(&live.stdout);
    assert!(live.status.success(), "{}", text(&live.stderr));
    for part in ["60 packets, ", "Throughput", "Packets by protocol and port", "ICMP ###"] {
        assert!(printed.contains(part), "{part}: {printed}");
    }
    assert!(printed.contains("Round-trip time CDF") && printed.is_ascii(), "{printed}");
    assert!(printed.contains("no packet was lost by the capture"), "{printed}");

    // From the recording: the same numbers, and files.
    let read = ["-j", "capture", "-r", &recording, "--summary", "--svg", &svg, "--html", &html];
    let json = text(&try_adit(&read).stdout);
    validate(&[("capture-summary", json.clone())]);
    let page: serde_json::Value = serde_json::from_str(&json).unwrap();
    let expected =
        ["Throughput", "Packets by protocol and port", "Round-trip time", "Round-trip time CDF"];
    assert_eq!(titles(&page), expected, "nothing died");
    assert_eq!(page["charts"][1]["names"], serde_json::json!(["ICMP"]));
    let trips = page["charts"][2]["series"][0]["points"].as_array().unwrap();
    assert!(trips.iter().all(|point| point[1].as_f64().unwrap() < 10.0), "{trips:?}");
    let [svg, html] = [svg, html].map(|path| std::fs::read_to_string(path).unwrap());
    assert!(svg.starts_with("<svg ") && html.contains("<td>ICMP</td>"), "{html}");
    let refused = try_adit(&["capture", "-r", &recording, "--svg", "x.svg"]);
    assert_eq!(refused.status.code(), Some(2));

    // The last hour of the tunnel, seen by its daemon.
    let slot = |field: &str| {
        let history = adit_json("tunnel show ta --history");
        validate(&[("tunnel-history", history.to_string())]);
        let slots = history[0]["slots"].as_array().unwrap().clone();
        slots.iter().filter_map(|slot| slot[field].as_f64()).fold(0.0, f64::max)
    };
    wait_for("the ring has traffic", || slot("sent_bytes") > 0.0 && slot("received_bytes") > 0.0);
    assert!(slot("round_trip_ms") > 0.0, "that of the first handshake");
    // It goes up to this moment.
    let shown = || adit_json("tunnel show ta")[0]["peers"][0]["sent_bytes"].as_u64().unwrap();
    let (least, history, most) = (shown(), adit_json("tunnel show ta --history"), shown());
    let slots = history[0]["slots"].as_array().unwrap().iter();
    let sum: u64 = slots.map(|slot| slot["sent_bytes"].as_u64().unwrap()).sum();
    assert!((least..=most).contains(&sum), "{least} {sum} {most}");
    world.a.run("ip route add 10.77.0.0/16 dev ta");
    world.a.succeeds("ping -n -q -c 5 -i 0.1 -W 1 10.77.0.1");
    wait_for("drops are in it", || slot("dropped") >= 5.0);
    let svg = file("t.svg");
    let printed = adit(&format!("tunnel show ta --history --svg {svg}"));
    for part in ["Throughput, received", "Throughput, sent", "Handshake round-trip time", "Drops"] {
        assert!(printed.contains(part), "{part}: {printed}");
    }
    assert!(std::fs::read_to_string(svg).unwrap().contains(">Time before now (s)</text>"));
}
