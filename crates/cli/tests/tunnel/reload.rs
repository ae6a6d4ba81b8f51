//! What a reload changes of a tunnel, and what cannot be.

use crate::support::{adit, adit_json, bare, refused};
use crate::world::{Keys, Running, World, of_peer, show, wait_for};
use std::path::PathBuf;

fn file(world: &World, name: &str, own: &Keys, other: &Keys, more: [&str; 2]) -> PathBuf {
    let [interface, peer] = more;
    let text = format!(
        "[interface]\nprivate_key = \"{}\"\n{interface}\n[[peer]]\npublic_key = \"{}\"\n{peer}\n",
        own.private, other.public
    );
    world.write(name, &text)
}

/// Streams that are there go on, whatever becomes of the port that they came to.
#[test]
fn the_tcp_port_is_changed_by_a_reload() {
    let world = World::new();
    let (ka, kb) = (Keys::new(), Keys::new());
    let client =
        "allowed_ips = [\"10.9.0.2/32\"]\ntransport = \"tcp\"\nendpoint = \"192.0.2.2:443\"";
    let a = file(&world, "ta.toml", &ka, &kb, ["addresses = [\"10.9.0.1/24\"]", client]);
    let server = |port: &str| {
        let interface = format!("addresses = [\"10.9.0.2/24\"]\n{port}");
        file(&world, "tb.toml", &kb, &ka, [&interface, "allowed_ips = [\"10.9.0.1/32\"]"])
    };
    let b = server("listen_tcp = 443");
    let _tunnels = (world.up(&world.a, &a, ""), world.up(&world.b, &b, ""));
    wait_for("a ping is answered", || world.a.succeeds("ping -n -c 1 -W 1 10.9.0.2"));
    let there = show("tb")["peers"][0]["endpoint"].clone();
    let age = of_peer("tb", "handshake_age_s");
    let listens = || -> Vec<String> {
        let text = world.b.run("ss -Hltn");
        let port = |line: &str| {
            line.split_whitespace().nth(3).unwrap().rsplit(':').next().unwrap().to_owned()
        };
        text.lines().map(port).filter(|port| port != "9000").collect()
    };
    let goes_on = |port: &[&str]| {
        assert_eq!(listens(), port);
        world.a.run("ping -n -c 3 -i 0.1 -W 10 10.9.0.2");
        assert_eq!(show("tb")["peers"][0]["endpoint"], there);
        assert!(of_peer("tb", "handshake_age_s") > age, "the session is the first one");
    };
    server("listen_tcp = 8443");
    assert_eq!(adit_json("tunnel reload tb")["unchanged"], 1);
    goes_on(&["8443"]);
    // Without the time limit of `command`: a kill of that wrapper would leave socat running.
    let mut holder = bare("nsenter");
    holder.arg(format!("--net={}", world.b.path()));
    holder.args(["socat", "TCP4-LISTEN:9000", "EXEC:cat"]);
    let taken = Running(holder.spawn().unwrap());
    wait_for("somebody listens", || world.b.run("ss -Hltn").contains(":9000 "));
    server("listen_tcp = 9000");
    let (status, told) = refused("tunnel reload tb");
    assert!(status == 5 && told.contains("listen on TCP port 9000"), "{status} {told}");
    goes_on(&["8443"]);
    drop(taken);
    server("");
    adit("tunnel reload tb");
    goes_on(&[]);
    server("listen_tcp = 443\nfwmark = 7");
    adit("tunnel reload tb");
    goes_on(&["443"]);
}

#[test]
fn peers_of_two_modes_are_refused_with_their_place() {
    let world = World::new();
    let (ka, kb) = (Keys::new(), Keys::new());
    let tap = format!("[[peer]]\npublic_key = \"{}\"\nmode = \"tap\"\n", ka.public);
    let both = format!("mode = \"tun\"\n{tap}");
    let one = file(&world, "ta.toml", &ka, &kb, ["", &both]);
    let (status, told) = refused(&format!("tunnel check {}", one.display()));
    assert!(status == 2 && told.contains("ta.toml:9:8: ") && told.contains("use two"), "{told}");
    let first = file(&world, "ta.toml", &ka, &kb, ["", ""]);
    let further = world.write("tc.toml", &tap);
    let up = format!("-n {} tunnel up {} {}", world.a.path(), first.display(), further.display());
    let (status, told) = refused(&up);
    assert!(
        status == 2 && told.contains("tc.toml: ") && told.contains("are tun: use two"),
        "{told}"
    );
    assert!(!world.a.has_link("ta"));
}

/// One name in two namespaces would be two devices with one control socket.
#[test]
fn a_name_is_of_one_tunnel_in_all_namespaces() {
    let world = World::new();
    let (a, _) = world.pair("192.0.2.2:51820", [("", ""), ("", "")]);
    let _ta = world.up(&world.a, &a, "");
    let (status, told) = refused(&format!("-n {} tunnel up {}", world.b.path(), a.display()));
    assert!(status == 5 && told.contains("'ta' is already running: process "), "{told}");
    assert!(told.contains("rename the file"), "{told}");
    assert!(!world.b.has_link("ta"));
}
