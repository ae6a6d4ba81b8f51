//! Other programs of the protocol: wireguard-go, in both roles.

use crate::support::run;
use crate::world::{Keys, Running, Space, World, of_peer, wait_for};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// wireguard-go at the end b, with these lines for its peer; adit is at the end a.
fn wireguard_go(world: &World, space: &Space, keys: &Keys, peer: &str) -> Running {
    let net = format!("--net={}", space.path());
    let child = Command::new("nsenter")
        .args([net.as_str(), "wireguard-go", "-f", "wg0"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let running = Running(child);
    wait_for("wireguard-go is there", || {
        std::path::Path::new("/run/wireguard/wg0.sock").exists()
            && space.succeeds("ip link show wg0")
    });
    let conf = format!("[Interface]\nPrivateKey = {}\nListenPort = 51820\n{peer}", keys.private);
    let file = world.write("wg0.setconf", &conf);
    run(&format!("wg setconf wg0 {}", file.display()));
    space.run("ip addr add 10.9.0.2/24 dev wg0");
    space.run("ip addr add fd00:9::2/64 dev wg0 nodad");
    space.run("ip link set wg0 up");
    running
}

struct Pair {
    ours: Keys,
    theirs: Keys,
    shared: String,
}

impl Pair {
    fn new() -> Self {
        let shared = crate::support::adit("tunnel genpsk").trim().to_owned();
        Self { ours: Keys::new(), theirs: Keys::new(), shared }
    }

    fn our_file(&self, world: &World, more: &str) -> std::path::PathBuf {
        let text = format!(
            "[Interface]\nPrivateKey = {}\nListenPort = 51820\nAddress = 10.9.0.1/24, fd00:9::1/64\n\
             [Peer]\nPublicKey = {}\nPresharedKey = {}\nAllowedIPs = 10.9.0.2/32, fd00:9::2/128\n\
             {more}\n",
            self.ours.private, self.theirs.public, self.shared
        );
        world.write("ta.conf", &text)
    }

    fn their_peer(&self, more: &str) -> String {
        format!(
            "[Peer]\nPublicKey = {}\nPresharedKey = {}\nAllowedIPs = 10.9.0.1/32, fd00:9::1/128\n\
             {more}\n",
            self.ours.public, self.shared
        )
    }
}

fn crosses(from: &Space, to: [&str; 2]) {
    for to in to {
        let output = from.run(&format!("ping -n -c 3 -i 0.1 -W 10 -s 1300 {to}"));
        assert!(output.contains(" 0% packet loss"), "{output}");
    }
}

#[test]
fn we_begin_and_renew_the_keys_three_times() {
    let (world, pair) = (World::new(), Pair::new());
    let _go = wireguard_go(&world, &world.b, &pair.theirs, &pair.their_peer(""));
    let file = pair.our_file(&world, "Endpoint = [2001:db8::2]:51820");
    // Keys are renewed after 120 s / 40.
    let _ta = world.up(&world.a, &file, "--faster 40");
    crosses(&world.a, ["10.9.0.2", "fd00:9::2"]);
    let mut handshakes = 0;
    let (start, mut last) = (Instant::now(), Instant::now());
    while handshakes < 3 {
        assert!(start.elapsed() < Duration::from_secs(60), "{handshakes} handshakes");
        world.a.run("ping -n -c 1 -W 5 10.9.0.2");
        let age = Duration::from_secs_f64(of_peer("ta", "handshake_age_s"));
        let made = Instant::now().checked_sub(age).unwrap();
        if made > last + Duration::from_millis(500) {
            handshakes += 1;
            last = made;
        }
    }
    crosses(&world.a, ["10.9.0.2", "fd00:9::2"]);
    crosses(&world.b, ["10.9.0.1", "fd00:9::1"]);
}

/// Frames in VXLAN: a Linux vxlan device over wireguard-go is on one Ethernet with our TAP.
#[test]
fn a_linux_vxlan_device_over_wireguard_go_shares_an_ethernet() {
    let (world, pair) = (World::new(), Pair::new());
    let _go = wireguard_go(&world, &world.b, &pair.theirs, &pair.their_peer(""));
    let text = format!(
        "[interface]\nprivate_key = \"{}\"\naddresses = [\"10.8.0.1/24\", \"fd00:8::1/64\"]\n\
         [[peer]]\npublic_key = \"{}\"\npreshared_key = \"{}\"\nmode = \"tap\"\n\
         endpoint = \"192.0.2.2:51820\"\nkeepalive = 1\n\
         [peer.vxlan]\nvni = 5\nlocal = \"10.9.0.1\"\nremote = \"10.9.0.2\"\n",
        pair.ours.private, pair.theirs.public, pair.shared
    );
    let _ta = world.up(&world.a, &world.write("ta.toml", &text), "");
    let vxlan = "type vxlan id 5 local 10.9.0.2 remote 10.9.0.1 dstport 4789 dev wg0";
    world.b.run(&format!("ip link add vx0 {vxlan}"));
    world.b.run("ip addr add 10.8.0.2/24 dev vx0");
    world.b.run("ip addr add fd00:8::2/64 dev vx0 nodad");
    world.b.run("ip link set vx0 up");
    wait_for("a ping is answered", || world.a.succeeds("ping -n -c 1 -W 1 10.8.0.2"));
    for to in ["10.8.0.2", "fd00:8::2"] {
        let output = world.a.run(&format!("ping -n -c 3 -i 0.1 -W 10 -s 1200 {to}"));
        assert!(output.contains(" 0% packet loss"), "{output}");
    }
    let output = world.b.run("ping -n -c 3 -i 0.1 -W 10 -s 1200 10.8.0.1");
    assert!(output.contains(" 0% packet loss"), "{output}");
}

#[test]
fn they_begin_and_move() {
    let (world, pair) = (World::new(), Pair::new());
    let file = pair.our_file(&world, "");
    let _ta = world.up(&world.a, &file, "");
    let peer = pair.their_peer("Endpoint = 192.0.2.1:51820");
    let _go = wireguard_go(&world, &world.b, &pair.theirs, &peer);
    crosses(&world.b, ["10.9.0.1", "fd00:9::1"]);
    crosses(&world.a, ["10.9.0.2", "fd00:9::2"]);
    run("wg set wg0 listen-port 51999");
    crosses(&world.b, ["10.9.0.1", "fd00:9::1"]);
    let endpoint = crate::world::show("ta")["peers"][0]["endpoint"].clone();
    assert_eq!(endpoint, "192.0.2.2:51999");
}
