//! The kernel's WireGuard, in a guest, as the peer of `adit tunnel`.
//!
//! ```text
//! [here] vm0 192.0.2.1/24, 2001:db8::1/64 <-- TAP --> eth0 192.0.2.2/24, 2001:db8::2/64 [guest]
//! ```

use crate::guest::{Guest, Nic};
use crate::support::{adit, run};
use crate::world::{Keys, Space, World, renews, session_made, show, wait_for};
use std::time::Instant;

/// The guest and the keys of both ends.
struct Pair {
    world: World,
    here: Space,
    guest: Guest,
    ours: Keys,
    theirs: Keys,
    shared: String,
}

impl Pair {
    fn start(fixture: &std::path::Path) -> Self {
        let world = World::new();
        let mut guest = Guest::start(fixture, "192.0.2.2", &Nic::Tap("vm0"));
        let here = Space::current();
        here.run("ip addr add 192.0.2.1/24 dev vm0");
        here.run("ip addr add 2001:db8::1/64 dev vm0 nodad");
        let shared = adit("tunnel genpsk").trim().to_owned();
        let (ours, theirs) = (Keys::new(), Keys::new());
        guest.wait_ready();
        guest.run("/bin/ip addr add 2001:db8::2/64 dev eth0 nodad");
        guest.run("/bin/ip link add wg0 type wireguard");
        guest.run("/bin/ip addr add 10.9.0.2/24 dev wg0");
        guest.run("/bin/ip addr add fd00:9::2/64 dev wg0 nodad");
        guest.run("/bin/ip link set wg0 up");
        Self { world, here, guest, ours, theirs, shared }
    }

    /// Our file, with further lines for the peer.
    fn ours(&self, more: &str) -> std::path::PathBuf {
        let text = format!(
            "[Interface]\nPrivateKey = {}\nListenPort = 51820\nAddress = 10.9.0.1/24, fd00:9::1/64\n\
             [Peer]\nPublicKey = {}\nPresharedKey = {}\nAllowedIPs = 10.9.0.2/32, fd00:9::2/128\n\
             {more}\n",
            self.ours.private, self.theirs.public, self.shared
        );
        self.world.write("ta.conf", &text)
    }

    /// Makes us the guest's only peer, with no session.
    fn theirs(&mut self, more: &str) {
        let lines = format!(
            "[Interface]\\nPrivateKey = {}\\nListenPort = 51820\\n[Peer]\\nPublicKey = {}\\n\
             PresharedKey = {}\\nAllowedIPs = 10.9.0.1/32, fd00:9::1/128\\n{more}\\n",
            self.theirs.private, self.ours.public, self.shared
        );
        let told =
            self.guest.run(&format!("printf '{lines}' >/tmp/conf; wg setconf wg0 /tmp/conf"));
        assert_eq!(told, "", "wg takes it");
    }

    fn reaches_guest(&self, to: &str) {
        wait_for("all come back", || self.here.pings(&format!("-c 3 -i 0.2 -W 10 -s 1300 {to}")));
    }

    fn guest_reaches(&mut self, to: &str) {
        let line = format!("ping -c 3 -W 10 -s 1300 {to}");
        wait_for("all come back", || self.guest.run(&line).contains(" 0% packet loss"));
    }

    /// 2 MiB cross each way, with equal sums at both ends.
    fn transfers(&mut self, kind: &str, here: &str, there: &str) {
        let file = self.world.folder.join("data");
        let data: Vec<u8> = (0..1_u32 << 21)
            .map(|at| (at.wrapping_mul(2_654_435_761) >> 13).to_le_bytes()[0])
            .collect();
        std::fs::write(&file, &data).unwrap();
        let file = file.display();
        let sum = run(&format!("sha256sum {file}"));
        let sum = sum.split_whitespace().next().unwrap();
        self.guest
            .run(&format!("socat -u {kind}-LISTEN:7000,reuseaddr CREATE:/tmp/got & sleep 0.5"));
        self.here.run(&format!("socat -u FILE:{file} {kind}:{there}:7000,retry=50"));
        assert!(
            self.guest.run("wait; sha256sum </tmp/got").contains(sum),
            "it came as it was sent"
        );
        let into = self.world.folder.join("got");
        let listen = format!("socat -u {kind}-LISTEN:7001,reuseaddr CREATE:{}", into.display());
        let mut receiver = self.here.command(&listen).spawn().unwrap();
        wait_for("somebody listens", || self.here.run("ss -ltn").contains(":7001 "));
        self.guest.run(&format!("socat -u FILE:/tmp/got {kind}:{here}:7001"));
        assert!(receiver.wait().unwrap().success());
        assert!(std::fs::read(&into).unwrap() == data, "and back");
        std::fs::remove_file(into).unwrap();
    }
}

/// Three times the kernel forgets the session, and begins another one; then it moves.
fn they_begin_anew_and_move(pair: &mut Pair) {
    for _ in 0..3 {
        let before = Instant::now();
        pair.guest.run("wg set wg0 peer $(wg show wg0 peers) remove");
        pair.theirs("Endpoint = [2001:db8::1]:51820");
        pair.guest_reaches("10.9.0.1");
        assert!(session_made("ta") > before, "it is another session");
    }
    let endpoint = || show("ta")["peers"][0]["endpoint"].clone();
    let address = "/bin/ip addr";
    pair.guest.run(&format!("{address} del 2001:db8::2/64 dev eth0"));
    pair.guest.run(&format!("{address} add 2001:db8::9/64 dev eth0 nodad"));
    pair.guest_reaches("10.9.0.1");
    assert_eq!(endpoint(), "[2001:db8::9]:51820");
    pair.guest.run("wg set wg0 peer $(wg show wg0 peers) endpoint 192.0.2.7:51820");
    pair.guest_reaches("10.9.0.1");
    assert_eq!(endpoint(), "192.0.2.2:51820");
    pair.reaches_guest("fd00:9::2");
}

/// Both roles, both families inside and outside, a preshared key, three renewals, roaming, VXLAN.
#[test]
fn the_kernels_wireguard_is_a_peer() {
    let Some(fixture) = crate::fixture() else { return };
    let mut pair = Pair::start(&fixture);

    // We begin, and renew the keys each 120 s / 40.
    pair.theirs("");
    let file = pair.ours("Endpoint = 192.0.2.2:51820");
    let ta = pair.world.up(&pair.here, &file, "--faster 40");
    pair.reaches_guest("10.9.0.2");
    pair.reaches_guest("fd00:9::2");
    renews(&pair.here, "ta", "10.9.0.2", 3);
    pair.transfers("TCP4", "10.9.0.1", "10.9.0.2");
    // We move: the kernel follows.
    pair.here.run("ip addr del 192.0.2.1/24 dev vm0");
    pair.here.run("ip addr add 192.0.2.7/24 dev vm0");
    pair.reaches_guest("10.9.0.2");
    let endpoints = pair.guest.run("wg show wg0 endpoints");
    assert!(endpoints.contains("192.0.2.7:51820"), "{endpoints}");
    pair.guest_reaches("10.9.0.1");
    adit("tunnel down ta");
    drop(ta);

    // They begin, over IPv6.
    let file = pair.ours("");
    let ta = pair.world.up(&pair.here, &file, "");
    pair.theirs("Endpoint = [2001:db8::1]:51820");
    pair.guest_reaches("10.9.0.1");
    pair.guest_reaches("fd00:9::1");
    assert_eq!(show("ta")["peers"][0]["endpoint"], "[2001:db8::2]:51820");
    pair.transfers("TCP6", "[fd00:9::1]", "[fd00:9::2]");
    they_begin_anew_and_move(&mut pair);

    // Ethernet over VXLAN: of a switch here, of the kernel there.
    pair.guest.run(
        "/bin/ip link add vx type vxlan id 7 local 10.9.0.2 remote 10.9.0.1 dstport 4789 dev wg0",
    );
    pair.guest.run("/bin/ip addr add 10.7.0.2/24 dev vx; /bin/ip link set vx up");
    let switch = crate::Switch::start(&["tap:sw0", "vxlan:10.9.0.2,vni=7"]);
    wait_for("the switch is there", || pair.here.has_link("sw0"));
    let mtu = 1420 - 50;
    pair.here.run(&format!("ip link set sw0 mtu {mtu}"));
    pair.here.run("ip addr add 10.7.0.1/24 dev sw0");
    pair.here.run("ip link set sw0 up");
    wait_for("a ping is answered", || pair.here.succeeds("ping -n -c 1 -W 1 10.7.0.2"));
    pair.transfers("TCP4", "10.7.0.1", "10.7.0.2");
    drop(switch);
    adit("tunnel down ta");
    drop(ta);

    // The same, of the tunnel itself.
    let text = format!(
        "[interface]\nprivate_key = \"{}\"\naddresses = [\"10.7.0.1/24\"]\n\
         [[peer]]\npublic_key = \"{}\"\npreshared_key = \"{}\"\nmode = \"tap\"\n\
         endpoint = \"192.0.2.2:51820\"\nkeepalive = 1\n\
         [peer.vxlan]\nvni = 7\nlocal = \"10.9.0.1\"\nremote = \"10.9.0.2\"\n",
        pair.ours.private, pair.theirs.public, pair.shared
    );
    pair.theirs("");
    let _tap = pair.world.up(&pair.here, &pair.world.write("tap.toml", &text), "");
    wait_for("a ping is answered", || pair.here.succeeds("ping -n -c 1 -W 1 10.7.0.2"));
    pair.transfers("TCP4", "10.7.0.1", "10.7.0.2");
}
