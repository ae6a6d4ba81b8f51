//! A tunnel works, and leaves nothing behind.

use crate::support::{adit, adit_json};
use crate::world::{PATIENCE, Space, World, of_peer, show, wait_for};
use std::process::Stdio;

const PLAIN: [(&str, &str); 2] = [("", ""), ("", "")];

fn pings(space: &Space, to: &str) {
    wait_for("all echoes come back", || space.pings(&format!("-c 3 -i 0.1 -W 10 {to}")));
}

#[test]
fn packets_cross_in_both_families_inside_and_outside() {
    for endpoint in ["192.0.2.2:51820", "[2001:db8::2]:51820"] {
        let world = World::new();
        let before = (world.a.state(), world.b.state());
        let (a, b) = world.pair(endpoint, PLAIN);
        let (ta, tb) = (world.up(&world.a, &a, ""), world.up(&world.b, &b, ""));
        pings(&world.a, "10.9.0.2");
        pings(&world.b, "fd00:9::1");
        let view = show("ta");
        assert_eq!(view["ifname"], "ta");
        assert_eq!(view["peers"][0]["endpoint"], endpoint);
        assert_eq!(view["peers"][0]["connected"], true);
        assert!(of_peer("ta", "authentic_age_s") < PATIENCE.as_secs_f64());
        assert!(of_peer("ta", "handshake_age_s") < PATIENCE.as_secs_f64());
        for name in ["ta", "tb"] {
            adit(&format!("tunnel down {name}"));
        }
        drop((ta, tb));
        assert_eq!((world.a.state(), world.b.state()), before, "nothing is left");
        assert_eq!(adit_json("tunnel show").as_array().unwrap().len(), 0);
    }
}

/// As much as fills every queue on the way, both ways at a time.
#[test]
fn packets_arrive_unchanged() {
    const LEN: usize = 30_000_000;
    let world = World::new();
    let (a, b) = world.pair("192.0.2.2:51820", PLAIN);
    let _tunnels = (world.up(&world.a, &a, ""), world.up(&world.b, &b, ""));
    pings(&world.a, "10.9.0.2");
    let data: Vec<u8> = (0..LEN).map(|at| ((at * 2_654_435_761) >> 13).to_le_bytes()[0]).collect();
    let file = world.folder.join("data");
    std::fs::write(&file, &data).unwrap();
    let (file, mut transfers) = (file.display(), Vec::new());
    for (from, to, address, port) in
        [(&world.a, &world.b, "10.9.0.2", 7001), (&world.b, &world.a, "[fd00:9::1]", 7002)]
    {
        let kind = if address.starts_with('[') { "TCP6" } else { "TCP4" };
        let into = world.folder.join(format!("got{port}"));
        let listen = format!("socat -u {kind}-LISTEN:{port},reuseaddr CREATE:{}", into.display());
        let receiver = to.command(&listen).spawn().unwrap();
        wait_for("somebody listens", || to.run("ss -ltn").contains(&format!(":{port} ")));
        let send = format!("socat -u FILE:{file} {kind}:{address}:{port}");
        transfers.push((receiver, from.command(&send).spawn().unwrap(), into));
    }
    for (mut receiver, mut sender, into) in transfers {
        assert!(sender.wait().unwrap().success() && receiver.wait().unwrap().success());
        assert!(std::fs::read(into).unwrap() == data, "it is the same");
    }
}

#[test]
fn wg_shows_and_changes_it() {
    let world = World::new();
    let (a, b) =
        world.pair("192.0.2.2:51820", [("FwMark = 0x77", "PersistentKeepalive = 25"), ("", "")]);
    let _tunnels = (world.up(&world.a, &a, ""), world.up(&world.b, &b, ""));
    pings(&world.a, "10.9.0.2");
    let wg = |words: &str| crate::support::run(&format!("wg {words}"));
    assert_eq!(wg("show ta listen-port").trim(), "51820");
    assert_eq!(wg("show ta fwmark").trim(), "0x77");
    assert!(wg("show ta endpoints").contains("192.0.2.2:51820"));
    assert!(wg("show ta persistent-keepalive").contains("25"));
    assert!(wg("show ta allowed-ips").contains("10.9.0.2/32 fd00:9::2/128"));
    let private = wg("show ta private-key");
    assert!(std::fs::read_to_string(&a).unwrap().contains(private.trim()));
    let public = wg("show tb public-key");
    assert!(wg("show ta peers").contains(public.trim()));
    assert!(!wg("show ta latest-handshakes").contains("\t0\n"), "there was one");

    // Another port: the peer finds us there, for we speak first.
    wg("set ta listen-port 51999");
    pings(&world.a, "10.9.0.2");
    assert_eq!(show("tb")["peers"][0]["endpoint"], "192.0.2.1:51999");
    // Not allowed any more, then allowed again.
    let peer = public.trim();
    wg(&format!("set ta peer {peer} allowed-ips 10.9.0.77/32"));
    assert!(!world.a.succeeds("ping -n -c 1 -W 1 10.9.0.2"));
    wg(&format!("set ta peer {peer} allowed-ips 10.9.0.2/32,fd00:9::2/128"));
    pings(&world.a, "10.9.0.2");
    // What strip and syncconf have in common with wg-quick's users.
    let conf = wg("showconf ta");
    let path = world.write("sync.conf", &conf);
    wg(&format!("syncconf ta {}", path.display()));
    pings(&world.a, "10.9.0.2");
    wg(&format!("set ta peer {peer} remove"));
    assert_eq!(show("ta")["peers"].as_array().unwrap().len(), 0);
}

#[test]
fn it_goes_to_the_background_and_comes_down() {
    let world = World::new();
    let (a, b) = world.pair("192.0.2.2:51820", PLAIN);
    for (space, file) in [(&world.a, &a), (&world.b, &b)] {
        let path = space.path();
        let mut command = crate::support::command([
            crate::support::ADIT,
            "-n",
            &path,
            "tunnel",
            "up",
            "--detach",
        ]);
        assert!(command.arg(file).stdout(Stdio::null()).status().unwrap().success());
    }
    pings(&world.a, "10.9.0.2");
    let twice = crate::support::command([
        crate::support::ADIT,
        "-n",
        &world.a.path(),
        "tunnel",
        "up",
        "-d",
    ])
    .arg(&a)
    .output()
    .unwrap();
    let told = crate::support::text(&twice.stderr);
    assert_eq!(twice.status.code(), Some(5), "{told}");
    assert!(told.contains("is already running"), "{told}");
    adit("tunnel down ta");
    adit("tunnel down");
    assert!(!world.a.has_link("ta"));
}

/// The device in one namespace, the datagrams in another: nothing else leaves that one.
#[test]
fn the_device_may_be_in_another_namespace() {
    let world = World::new();
    let (a, b) = world.pair("192.0.2.2:51820", [("", "AllowedIPs = 0.0.0.0/0"), ("", "")]);
    let inside = Space::new();
    let before = inside.state();
    let words = format!("--device-netns {}", inside.path());
    let _tunnels = (world.up(&world.a, &a, &words), world.up(&world.b, &b, ""));
    pings(&inside, "10.9.0.2");
    assert!(inside.run("ip rule").contains("suppress_prefixlength 0"));
    assert!(!world.a.has_link("ta"));
    adit("tunnel down ta");
    assert_eq!(inside.state(), before);
}

/// The thread that moves packets goes before programs.
#[test]
#[ignore = "needs the initial user namespace"]
fn root_a_tunnel_goes_before_programs() {
    let world = World::new();
    // One that was started with another priority keeps that: `nice ./check`.
    rustix::process::setpriority_process(None, 0).unwrap();
    let (a, _) = world.pair("192.0.2.2:51820", PLAIN);
    let tunnel = world.up(&world.a, &a, "");
    let nice = |task: &std::path::Path| {
        let stat = std::fs::read_to_string(task.join("stat")).unwrap();
        stat.rsplit(')').next().unwrap().split(' ').nth(17).unwrap().to_owned()
    };
    let process = std::path::PathBuf::from(format!("/proc/{}", tunnel.pid()));
    wait_for("it goes before programs", || nice(&process) == "-3");
    for task in std::fs::read_dir(process.join("task")).unwrap() {
        let task = task.unwrap();
        let is_first = task.file_name().to_str() == Some(&tunnel.pid().to_string());
        assert_eq!(nice(&task.path()), if is_first { "-3" } else { "0" }, "{task:?}");
    }
}
