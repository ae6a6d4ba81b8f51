//! Other programs of the protocol, each in both roles: wireguard-go, boringtun, gotatun.
//!
//! `peers.sh` makes the latter two; without them their tests say that they are skipped, unless
//! `ADIT_REQUIRE=peers` turns that into a failure.

use crate::support::{bare, root, run};
use crate::world::{Keys, Running, Space, World, renews, session_made, skipped, wait_for};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Instant;

/// Another implementation, as a program.
#[derive(Clone, Copy, Debug)]
enum Peer {
    WireguardGo,
    Boringtun,
    Gotatun,
}

impl Peer {
    /// Its command line, or nothing if it is not there.
    fn command(self) -> Option<Vec<String>> {
        let folder = root().join("target/peers/bin");
        let folder = std::env::var_os("ADIT_PEERS").map_or(folder, PathBuf::from);
        let (program, words) = match self {
            Self::WireguardGo => return Some(vec!["wireguard-go".to_owned(), "-f".to_owned()]),
            // It connects a socket to each peer else, which stays at the address that it has then.
            Self::Boringtun => (
                "boringtun-cli",
                &["-f", "--disable-drop-privileges", "--disable-connected-udp"][..],
            ),
            Self::Gotatun => ("gotatun", &["-f", "--disable-drop-privileges"][..]),
        };
        let path = folder.join(program);
        if !path.exists() {
            skipped(&format!("{}; crates/cli/tests/tunnel/peers.sh makes it", path.display()));
            return None;
        }
        let words = words.iter().map(|&word| word.to_owned());
        Some([path.display().to_string()].into_iter().chain(words).collect())
    }

    /// Starts it at the end b, with these lines for its peer; adit is at the end a. Nothing if it is not
    /// there.
    fn start(self, world: &World, keys: &Keys, peer: &str) -> Option<Running> {
        let space = &world.b;
        let child = bare("nsenter")
            .arg(format!("--net={}", space.path()))
            .args(self.command()?)
            .arg("wg0")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let running = Running(child);
        wait_for("it is there", || {
            Path::new("/run/wireguard/wg0.sock").exists() && space.succeeds("ip link show wg0")
        });
        let conf =
            format!("[Interface]\nPrivateKey = {}\nListenPort = 51820\n{peer}", keys.private);
        let file = world.write("wg0.setconf", &conf);
        run(&format!("wg setconf wg0 {}", file.display()));
        wait_for("it has its routes", || has_routes(space));
        Some(running)
    }
}

/// Whether the device at the end b leads to the end a: gives it its addresses if not. A program may set it
/// up later than its socket, and once more, and undoes what was done before.
fn has_routes(space: &Space) -> bool {
    let leads = |to: &str| {
        let output = space.command(&format!("ip route get {to}")).output().unwrap();
        crate::support::text(&output.stdout).contains("dev wg0")
    };
    let lead = || leads("10.9.0.1") && leads("fd00:9::1");
    let lines = [
        "ip link set wg0 up",
        "ip addr replace 10.9.0.2/24 dev wg0",
        "ip addr replace fd00:9::2/64 dev wg0 nodad",
    ];
    lead() || (lines.iter().all(|line| space.succeeds(line)) && lead())
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

    fn our_file(&self, world: &World, more: &str) -> PathBuf {
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
        wait_for("all packets cross", || from.pings(&format!("-c 3 -i 0.1 -W 10 -s 1300 {to}")));
    }
}

/// A file of 2 MB crosses each way, unchanged.
fn transfers(world: &World) {
    let data: Vec<u8> =
        (0..2_000_000_u32).map(|at| (at.wrapping_mul(77) >> 5).to_le_bytes()[0]).collect();
    let file = world.write("data", "");
    std::fs::write(&file, &data).unwrap();
    for (from, to, address) in
        [(&world.a, &world.b, "TCP4:10.9.0.2"), (&world.b, &world.a, "TCP6:[fd00:9::1]")]
    {
        let into = world.folder.join("got");
        let kind = &address[..4];
        let listen = format!("socat -u {kind}-LISTEN:7001,reuseaddr CREATE:{}", into.display());
        let mut receiver = to.command(&listen).spawn().unwrap();
        wait_for("somebody listens", || to.run("ss -ltn").contains(":7001 "));
        from.run(&format!("socat -u FILE:{} {address}:7001", file.display()));
        assert!(receiver.wait().unwrap().success());
        assert!(std::fs::read(&into).unwrap() == data, "it is the same");
        std::fs::remove_file(into).unwrap();
    }
}

fn we_begin(peer: Peer) {
    let (world, pair) = (World::new(), Pair::new());
    let Some(_running) = peer.start(&world, &pair.theirs, &pair.their_peer("")) else { return };
    let file = pair.our_file(&world, "Endpoint = [2001:db8::2]:51820");
    // Keys are renewed after 120 s / 40.
    let _ta = world.up(&world.a, &file, "--faster 40");
    crosses(&world.a, ["10.9.0.2", "fd00:9::2"]);
    renews(&world.a, "ta", "10.9.0.2", 3);
    crosses(&world.a, ["10.9.0.2", "fd00:9::2"]);
    crosses(&world.b, ["10.9.0.1", "fd00:9::1"]);
    transfers(&world);
    // We move: they follow, also from one family to the other.
    world.a.run("ip addr add 2001:db8::7/64 dev ua nodad");
    world.a.run("ip addr del 2001:db8::1/64 dev ua");
    let are_at = |endpoint: &str| {
        wait_for("packets cross, and they know where we are", || {
            world.a.succeeds("ping -n -c 3 -i 0.1 -W 10 10.9.0.2")
                && run("wg show wg0 endpoints").contains(endpoint)
        });
        crosses(&world.b, ["10.9.0.1", "fd00:9::1"]);
    };
    are_at("[2001:db8::7]:51820");
    run(&format!("wg set ta peer {} endpoint 192.0.2.2:51820", pair.theirs.public));
    are_at("192.0.2.1:51820");
    world.a.run("ip addr add 192.0.2.7/24 dev ua");
    world.a.run("ip addr del 192.0.2.1/24 dev ua");
    wait_for("our other address is there", || {
        world.a.succeeds("ip addr replace 192.0.2.7/24 dev ua")
    });
    are_at("192.0.2.7:51820");
    they_move(&world, "192.0.2.2", "192.0.2.9");
}

/// They get another address in the place of one, and their datagrams from there move the endpoint.
fn they_move(world: &World, from: &str, to: &str) {
    let len = if to.contains(':') { "64 nodad" } else { "24" };
    let (len, more) = len.split_once(' ').unwrap_or((len, ""));
    world.b.run(&format!("ip addr del {from}/{len} dev ub"));
    world.b.run(&format!("ip addr add {to}/{len} dev ub {more}"));
    wait_for("packets cross from another address", || {
        let endpoint = crate::world::show("ta")["peers"][0]["endpoint"].clone();
        has_routes(&world.b)
            && world.b.succeeds("ping -n -c 1 -W 1 10.9.0.1")
            && endpoint.as_str().unwrap().contains(to)
    });
    crosses(&world.a, ["10.9.0.2", "fd00:9::2"]);
    crosses(&world.b, ["10.9.0.1", "fd00:9::1"]);
}

/// Frames in VXLAN: a Linux vxlan device over wireguard-go is on one Ethernet with our TAP.
#[test]
fn a_linux_vxlan_device_over_wireguard_go_shares_an_ethernet() {
    let (world, pair) = (World::new(), Pair::new());
    let _go = Peer::WireguardGo.start(&world, &pair.theirs, &pair.their_peer(""));
    let text = format!(
        "[interface]\nprivate_key = \"{}\"\naddresses = [\"10.8.0.1/24\", \"fd00:8::1/64\"]\n\
         [[peer]]\npublic_key = \"{}\"\npreshared_key = \"{}\"\nmode = \"tap\"\n\
         endpoint = \"192.0.2.2:51820\"\nkeepalive = 1\n\
         [peer.vxlan]\nvni = 5\nlocal = \"10.9.0.1\"\nremote = \"10.9.0.2\"\n",
        pair.ours.private, pair.theirs.public, pair.shared
    );
    let _ta = world.up(&world.a, &world.write("ta.toml", &text), "");
    // Without `dev wg0`, which would keep its frames as short as packets there are.
    let vxlan = "type vxlan id 5 local 10.9.0.2 remote 10.9.0.1 dstport 4789";
    world.b.run(&format!("ip link add vx0 {vxlan}"));
    world.b.run("ip addr add 10.8.0.2/24 dev vx0");
    world.b.run("ip addr add fd00:8::2/64 dev vx0 nodad");
    world.b.run("ip link set vx0 up");
    wait_for("a ping is answered", || world.a.succeeds("ping -n -c 1 -W 1 10.8.0.2"));
    for (from, to) in [(&world.a, "10.8.0.2"), (&world.a, "fd00:8::2"), (&world.b, "10.8.0.1")] {
        wait_for("all packets cross", || from.pings(&format!("-c 3 -i 0.1 -W 10 -s 1200 {to}")));
    }
    // Frames of 1500 bytes, in fragments of what carries them.
    for (space, device) in [(&world.a, "ta"), (&world.b, "vx0")] {
        assert!(space.run(&format!("ip link show {device}")).contains("mtu 1500"));
    }
    // The kernel cuts up what carries a packet only if that may be cut up as well.
    for (from, to, cut) in [(&world.a, "10.8.0.2", "do"), (&world.b, "10.8.0.1", "dont")] {
        let words = format!("-c 3 -i 0.1 -W 10 -s 1472 -M {cut} {to}");
        wait_for("large packets cross", || from.pings(&words));
    }
    crate::frames::has_lease(&world, (&world.a, "ta"), (&world.b, "vx0"));
    world.b.run("ping -n -c 1 -W 10 -I 10.8.0.100 10.8.0.1");
}

/// What Mullvad's udp-over-tcp does: each datagram after its length, in two bytes, the higher first.
/// `udp2tcp` takes datagrams at port 5000 to TCP port 443 of the end a, `tcp2udp` TCP at port 443 to
/// datagrams for port 51820.
const RELAY: &str = "
import socket, struct, sys, threading
def out_of(tcp, send):
    stream = tcp.makefile('rb')
    while head := stream.read(2):
        try:
            send(stream.read(struct.unpack('>H', head)[0]))
        except ConnectionRefusedError:
            pass
def into(tcp, datagram):
    tcp.sendall(struct.pack('>H', len(datagram)) + datagram)
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
if sys.argv[1] == 'udp2tcp':
    udp.bind(('127.0.0.1', 5000))
    print('there', flush=True)
    first, of = udp.recvfrom(65535)
    udp.connect(of)
    tcp = socket.create_connection(('192.0.2.1', 443))
    into(tcp, first)
else:
    listener = socket.create_server(('192.0.2.2', 443))
    print('there', flush=True)
    tcp, _ = listener.accept()
    udp.connect(('127.0.0.1', 51820))
tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
threading.Thread(target=out_of, args=(tcp, udp.send), daemon=True).start()
while True:
    try:
        into(tcp, udp.recv(65535))
    except ConnectionRefusedError:
        pass
";

/// Datagrams of wireguard-go go over TCP, of which it knows nothing, in either role.
fn over_tcp(we_begin: bool) {
    let (world, pair) = (World::new(), Pair::new());
    let (kind, server, client, endpoint) = if we_begin {
        ("tcp2udp", "", "transport = \"tcp\"\nendpoint = \"192.0.2.2:443\"", "")
    } else {
        ("udp2tcp", "listen_tcp = 443", "", "Endpoint = 127.0.0.1:5000")
    };
    let text = format!(
        "[interface]\nprivate_key = \"{}\"\naddresses = [\"10.9.0.1/24\", \"fd00:9::1/64\"]\n{server}\n\
         [[peer]]\npublic_key = \"{}\"\npreshared_key = \"{}\"\n{client}\n\
         allowed_ips = [\"10.9.0.2/32\", \"fd00:9::2/128\"]\n",
        pair.ours.private, pair.theirs.public, pair.shared
    );
    let mut command = bare("nsenter");
    command.arg(format!("--net={}", world.b.path())).arg("python3");
    command.arg(world.write("relay.py", RELAY)).arg(kind).stdout(Stdio::piped());
    let mut relay = Running(command.spawn().unwrap());
    let mut told = [0; 6];
    std::io::Read::read_exact(relay.0.stdout.as_mut().unwrap(), &mut told).unwrap();
    let _ta = world.up(&world.a, &world.write("ta.toml", &text), "");
    let peer = pair.their_peer(endpoint);
    let _go = Peer::WireguardGo.start(&world, &pair.theirs, &peer).unwrap();
    let (from, to) = if we_begin { (&world.a, "10.9.0.2") } else { (&world.b, "10.9.0.1") };
    wait_for("a ping is answered", || from.succeeds(&format!("ping -n -c 1 -W 1 {to}")));
    crosses(&world.a, ["10.9.0.2", "fd00:9::2"]);
    crosses(&world.b, ["10.9.0.1", "fd00:9::1"]);
    transfers(&world);
    assert_eq!(crate::world::show("ta")["datagrams"]["received"], 0, "none by UDP");
}

#[test]
fn we_begin_over_tcp_with_a_peer_that_knows_nothing_of_it() {
    over_tcp(true);
}

#[test]
fn a_peer_that_knows_nothing_of_it_begins_over_tcp() {
    over_tcp(false);
}

fn they_begin(peer: Peer) {
    let (world, pair) = (World::new(), Pair::new());
    let file = pair.our_file(&world, "");
    let _ta = world.up(&world.a, &file, "");
    let line = pair.their_peer("Endpoint = [2001:db8::1]:51820");
    let Some(_running) = peer.start(&world, &pair.theirs, &line) else { return };
    let reaches = |to: &str| world.b.succeeds(&format!("ping -n -c 1 -W 1 {to}"));
    let long = |to: &str| world.b.pings(&format!("-c 3 -i 0.1 -W 10 -s 1300 {to}"));
    wait_for("pings are answered", || {
        has_routes(&world.b) && reaches("10.9.0.1") && reaches("fd00:9::1") && long("10.9.0.1")
    });
    crosses(&world.b, ["10.9.0.1", "fd00:9::1"]);
    crosses(&world.a, ["10.9.0.2", "fd00:9::2"]);
    transfers(&world);
    let endpoint = || crate::world::show("ta")["peers"][0]["endpoint"].clone();
    assert_eq!(endpoint(), "[2001:db8::2]:51820");
    // Their timers are 120 s: they forget the session instead, and begin another, three times.
    let shared = world.write("shared", &pair.shared);
    let public = &pair.ours.public;
    let begin_anew = |endpoint: &str| {
        run(&format!("wg set wg0 peer {public} remove"));
        run(&format!(
            "wg set wg0 peer {public} preshared-key {} endpoint {endpoint} \
             allowed-ips 10.9.0.1/32,fd00:9::1/128",
            shared.display()
        ));
    };
    for _ in 0..3 {
        let before = Instant::now();
        begin_anew("[2001:db8::1]:51820");
        wait_for("there is another session", || {
            has_routes(&world.b) && reaches("10.9.0.1") && session_made("ta") > before
        });
        crosses(&world.b, ["10.9.0.1", "fd00:9::1"]);
    }
    they_move(&world, "2001:db8::2", "2001:db8::9");
    // From one family to the other; boringtun does not change a peer that it has.
    match peer {
        Peer::Boringtun => begin_anew("192.0.2.1:51820"),
        _ => drop(run(&format!("wg set wg0 peer {public} endpoint 192.0.2.1:51820"))),
    }
    wait_for("packets cross by the other family", || {
        long("10.9.0.1") && endpoint() == "192.0.2.2:51820"
    });
    they_move(&world, "192.0.2.2", "192.0.2.9");
    // gotatun 0.10.2 at times loses its device when its port is changed, and does not come back.
    if matches!(peer, Peer::Gotatun) {
        return;
    }
    run("wg set wg0 listen-port 51999");
    // Some recreate their device for that, a while later.
    wait_for("packets cross from another port", || {
        has_routes(&world.b)
            && long("10.9.0.1")
            && long("fd00:9::1")
            && endpoint() == "192.0.2.9:51999"
    });
}

#[test]
fn we_begin_and_renew_the_keys_three_times() {
    we_begin(Peer::WireguardGo);
}

#[test]
fn they_begin_and_move() {
    they_begin(Peer::WireguardGo);
}

#[test]
fn we_begin_with_boringtun() {
    we_begin(Peer::Boringtun);
}

#[test]
fn boringtun_begins_and_moves() {
    they_begin(Peer::Boringtun);
}

#[test]
fn we_begin_with_gotatun() {
    we_begin(Peer::Gotatun);
}

#[test]
fn gotatun_begins_and_moves() {
    they_begin(Peer::Gotatun);
}
