//! Post-quantum keys between two of adit, kept over restarts, and refused connections without.

use crate::support::{ADIT, adit, command, run, text};
use crate::world::{STATE, World, show, wait_for};
use std::path::Path;

fn state_of(tunnel: &str) -> String {
    show(tunnel)["peers"][0]["post_quantum"].as_str().unwrap_or_default().to_owned()
}

fn are_active() -> bool {
    ["ta", "tb"].iter().all(|tunnel| state_of(tunnel) == "active")
}

fn pings(world: &World) -> bool {
    world.a.succeeds("ping -n -c 1 -W 1 10.9.0.2")
}

/// The file with one more line for its peer, which comes last.
fn with(world: &World, file: &Path, line: &str) {
    let text = std::fs::read_to_string(file).unwrap();
    world.write(file.file_name().unwrap().to_str().unwrap(), &format!("{text}{line}\n"));
}

/// The default uses it between two of adit; what a peer had once, it must have after both ends were restarted.
#[test]
fn what_a_peer_had_it_must_have_again() {
    let world = World::new();
    let (a, b) = world.pair("192.0.2.2:51820", [("", "PersistentKeepalive = 1"), ("", "")]);
    let (ta, tb) = (world.up_telling(&world.a, &a, "").0, world.up_telling(&world.b, &b, "").0);
    wait_for("they have a key", || pings(&world) && are_active());
    assert!(adit("tunnel show ta").contains("  post-quantum: ML-KEM-768\n"));
    let dump = run("wg show ta dump");
    assert_eq!(dump.lines().nth(1).unwrap().split('\t').nth(1), Some("(none)"), "{dump}");
    let kept = |tunnel: &str| {
        let text = std::fs::read_to_string(format!("{STATE}/{tunnel}.timestamps"));
        text.unwrap_or_default().lines().any(|line| line.starts_with("pq "))
    };
    wait_for("both keep it", || kept("ta") && kept("tb"));
    ta.kill();
    tb.kill();

    with(&world, &b, "PostQuantum = off");
    let (_ta, told) = world.up_telling(&world.a, &a, "");
    let tb = world.up_telling(&world.b, &b, "").0;
    wait_for("it is refused", || state_of("ta") == "refused");
    assert!(!pings(&world), "no data crosses");
    assert_eq!(state_of("tb"), "off");
    wait_for("the reason is counted", || {
        let _ = pings(&world);
        show("ta")["peers"][0]["drops"].to_string().contains("not post-quantum")
    });
    let shown = adit("tunnel show ta");
    assert!(shown.contains("post-quantum: no key, which this peer must have"), "{shown}");
    let told = std::fs::read_to_string(told).unwrap();
    assert_eq!(told.matches("connects without a post-quantum key").count(), 1, "{told}");
    tb.kill();

    with(&world, &b, "");
    let text = std::fs::read_to_string(&b).unwrap().replace("PostQuantum = off\n", "");
    world.write("tb.conf", &text);
    let _tb = world.up_telling(&world.b, &b, "").0;
    wait_for("they have a key again", || pings(&world) && are_active());
}

#[test]
fn a_required_key_is_there_before_data() {
    let world = World::new();
    let more = [("", "PostQuantum = require"), ("", "PostQuantum = require")];
    let (a, b) = world.pair("192.0.2.2:51820", more);
    let _tunnels = (world.up(&world.a, &a, ""), world.up(&world.b, &b, ""));
    wait_for("the first ping is answered", || pings(&world));
    assert!(are_active());
    let frames = ["ta", "tb"].map(|tunnel| show(tunnel)["peers"][0]["drops"].to_string());
    assert!(frames.iter().all(|drops| !drops.contains("post-quantum")), "{frames:?}");
}

/// A reload changes it, and `check` knows the key of both formats.
#[test]
fn check_and_reload_know_the_key() {
    let world = World::new();
    let (a, b) = world.pair("192.0.2.2:51820", [("", "PostQuantum = off"), ("", "")]);
    let _tunnels = (world.up(&world.a, &a, ""), world.up(&world.b, &b, ""));
    wait_for("a ping is answered", || pings(&world));
    assert_eq!((state_of("ta"), state_of("tb")), ("off".to_owned(), "inactive".to_owned()));
    let file = std::fs::read_to_string(&a).unwrap();
    world.write("ta.conf", &file.replace("PostQuantum = off", "PostQuantum = require"));
    adit("tunnel reload ta");
    wait_for("they have a key", || pings(&world) && are_active());

    let wrong = world.write("wrong.conf", &file.replace("= off", "= maybe"));
    let output = command([ADIT, "check"]).arg(&wrong).output().unwrap();
    let said = text(&output.stderr);
    assert!(said.contains("expected off, prefer or require"), "{said}");
    let secret = crate::world::Keys::new().private;
    let vxlan = "[interface]\nprivate_key = \"SECRET\"\n\
                 [[peer]]\npublic_key = \"HIgo9xNzJMWLKASShiTqIybxZ0U3wGLiUeJ1PKf8ykw=\"\n\
                 mode = \"tap\"\npost_quantum = \"require\"\n\
                 [peer.vxlan]\nvni = 7\nlocal = \"10.9.9.1\"\nremote = \"10.9.9.2\"\n";
    let vxlan = world.write("vxlan.toml", &vxlan.replace("SECRET", &secret));
    let output = command([ADIT, "check"]).arg(&vxlan).output().unwrap();
    let said = text(&output.stderr);
    assert!(said.contains("`vxlan` is for other implementations"), "{said}");
}
