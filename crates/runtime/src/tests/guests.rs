//! The guest's side of the NAT and its name server on a real TAP, with real clients: busybox, dhclient, dhcpcd,
//! ndisc6, dig.

use crate::port::kind::Opened;
use crate::runner::event::{Event, Next};
use crate::runner::{Handler, Runner};
use crate::tests::support::{Folder, Host, PATIENCE, enter, ip, private_run};
use crate::wake::mailbox::Remote;
use adit_engine::{DropCounts, DropReason, PortId};
use adit_nat::Gateway;
use adit_nat::dns::{Forwarder, Name, OwnNames};
use adit_nat::guest::GuestConfig;
use adit_nat::{Config, Nat};
use adit_packet::{Ipv4Header, Pool, PoolConfig, UdpHeader, ip_protocol};
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::thread::{JoinHandle, sleep};
use std::time::Duration;

const PORT: PortId = PortId(0);
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);

/// A NAT whose one port has guests.
pub(super) fn gateway() -> Gateway {
    let mut config = Config::new([7; 16]);
    config.inside = ["10.0.2.0/24", "fd00::/64"].map(|prefix| prefix.parse().unwrap()).to_vec();
    config.gateway_v4 = Some(GATEWAY);
    config.gateway_v6 = Some("fd00::2".parse().unwrap());
    let mut names = OwnNames::new();
    let name = |text: &str| text.parse::<Name>().unwrap();
    names.add(name("host.adit.internal"), IpAddr::from(GATEWAY));
    names.add(name("host.adit.internal"), "fd00::2".parse().unwrap());
    names.add(name("x"), [10, 0, 0, 9].into());
    let servers = ["10.0.2.3", "fd00::3"].map(|ip| ip.parse().unwrap()).to_vec();
    let mut new = Gateway::new(Nat::new(config), Forwarder::new(names, [7; 32]), servers);
    let search = ["lan.example", "example.net"].map(|name| name.parse().unwrap()).to_vec();
    let guests = GuestConfig { search, mtu: 1400, ..GuestConfig::default() };
    new.add_guests(PORT, guests).unwrap();
    new
}

struct Owner;

impl Handler<Gateway> for Owner {
    fn event(&mut self, runner: &mut Runner<Gateway>, event: Event) -> Next {
        assert!(matches!(event, Event::Alarm), "{event:?}");
        runner.set_alarm(None);
        Next::Stop
    }
}

/// A gateway that runs, and a host whose TAP `t0` it serves.
struct World {
    host: Host,
    folder: Folder,
    remote: Remote<Runner<Gateway>>,
    thread: Option<JoinHandle<()>>,
}

impl World {
    fn new() -> Self {
        enter();
        private_run();
        let (host, folder) = (Host::new(), Folder::new());
        let spec = format!("tap:t0,netns={}", host.path());
        let (tell, remote) = channel();
        let thread = std::thread::spawn(move || {
            let mut runner = Runner::new(gateway(), Pool::new(PoolConfig::default())).unwrap();
            let spec: crate::port::spec::PortSpec = spec.parse().unwrap();
            let Opened::Ports(mut ports) = spec.open().unwrap() else { panic!("one port") };
            runner.attach(PORT, ports.pop().unwrap()).unwrap();
            tell.send(runner.remote().unwrap()).unwrap();
            runner.run(&mut Owner).unwrap();
        });
        let remote = remote.recv_timeout(PATIENCE).unwrap();
        Self { host, folder, remote, thread: Some(thread) }
    }

    fn with<T: Send + 'static>(&self, work: impl FnOnce(&mut Gateway) -> T + Send + 'static) -> T {
        let (tell, result) = channel();
        let post = self.remote.post(move |runner| {
            let _ = tell.send(work(runner.engine_mut()));
        });
        post.unwrap();
        result.recv_timeout(PATIENCE).unwrap()
    }

    fn drops(&self) -> DropCounts {
        let (tell, result) = channel();
        let post = self.remote.post(move |runner| {
            let (_, _, out) = runner.engine_and_outbox();
            let mut counts = DropCounts::new();
            for (why, count) in out.counts().by_reason() {
                (0..count).for_each(|_| counts.note(why));
            }
            let _ = tell.send(counts);
        });
        post.unwrap();
        result.recv_timeout(PATIENCE).unwrap()
    }

    /// Runs a program in the host's namespace; its output.
    fn run(&self, line: &str) -> String {
        let output = self.host.run(|| {
            let mut words = line.split_ascii_whitespace();
            let mut command = Command::new(words.next().unwrap());
            command.args(words).stdin(Stdio::null());
            command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
            command.output().unwrap_or_else(|error| panic!("{line}: {error}"))
        });
        let text = [output.stdout, output.stderr].concat();
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Runs the program again until its output has `part`.
    fn until(&self, line: &str, part: &str) -> String {
        let start = std::time::Instant::now();
        loop {
            let text = self.run(line);
            if text.contains(part) {
                return text;
            }
            assert!(start.elapsed() < PATIENCE, "{line}: no '{part}' in {text}");
            sleep(Duration::from_millis(50));
        }
    }

    /// A script for DHCP clients: it writes their variables into a file and sets the address.
    fn script(&self) -> (String, String) {
        let (script, log) = (self.folder.path("script"), self.folder.path("log"));
        let text = format!(
            "#!/bin/sh\n{{ echo \"event $1 $reason\"; env; }} >>{}\n\
             [ -n \"$mask\" ] && ip addr replace $ip/$mask dev $interface\n\
             [ -n \"$new_ip_address\" ] && ip addr replace $new_ip_address/24 dev $interface\n\
             [ -n \"$new_ip6_address\" ] && ip addr replace $new_ip6_address/128 dev $interface\n\
             exit 0\n",
            log.display()
        );
        std::fs::write(&script, text).unwrap();
        std::fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).unwrap();
        (script.display().to_string(), log.display().to_string())
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = self.remote.post(|runner| runner.set_alarm(Some(runner.now())));
        let result = self.thread.take().map(JoinHandle::join);
        if !std::thread::panicking() {
            result.unwrap().expect("the loop does not panic");
        }
    }
}

/// Hides what a program keeps in a folder.
fn empty(folder: &str) {
    rustix::mount::mount("tmpfs", folder, "tmpfs", rustix::mount::MountFlags::empty(), None)
        .unwrap();
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

#[test]
fn udhcpc_gets_an_address_and_all_else() {
    let world = World::new();
    world.host.ip("link set t0 up");
    let (script, log) = world.script();
    let said = world.run(&format!("busybox udhcpc -i t0 -n -q -f -s {script} -O search -O mtu"));
    let vars = read(&log);
    for line in [
        "event bound",
        "ip=10.0.2.15",
        "mask=24",
        "router=10.0.2.2",
        "dns=10.0.2.3",
        "mtu=1400",
        "lease=3600",
        "serverid=10.0.2.2",
        "domain=lan.example",
        "search=lan.example example.net",
        "broadcast=10.0.2.255",
    ] {
        assert!(vars.lines().any(|one| one.trim_end() == line), "{line}: {said}\n{vars}");
    }
    // The same address again, and it is given back.
    let again = world.run(&format!("busybox udhcpc -i t0 -n -q -R -f -s {script}"));
    assert!(again.contains("lease of 10.0.2.15 obtained"), "{again}");
    // A forged source is dropped and counted.
    world.host.ip("addr add 192.0.2.9/24 dev t0");
    world.run("ping -c1 -W1 -I 192.0.2.9 10.0.2.2");
    let drops = world.drops();
    assert!(drops.count(DropReason::ARP_GUARD) + drops.count(DropReason::IP_GUARD) > 0);
}

#[test]
fn a_guest_by_dhcp_reaches_the_outside_by_name() {
    let world = World::new();
    // What is outside: addresses of this namespace, with a server each.
    for address in ["192.0.2.53/32", "2001:db8::53/128 nodad"] {
        ip(&format!("addr add dev lo {address}"));
    }
    let servers = ["192.0.2.53:8080", "[2001:db8::53]:8080"].map(web_server);
    let server = name_server();
    world.with(move |gateway| gateway.set_name_servers([server]));
    world.host.ip("link set t0 up");
    let (script, _) = world.script();
    world.run(&format!("busybox udhcpc -i t0 -n -q -f -s {script}"));
    world.host.ip("route add default via 10.0.2.2");
    world.until("ip -6 addr show dev t0 scope global -tentative", "fd00::");
    let resolv_conf = world.folder.path("resolv.conf");
    std::fs::write(&resolv_conf, "nameserver 10.0.2.3\n").unwrap();
    rustix::mount::mount_bind(&resolv_conf, "/etc/resolv.conf").unwrap();
    for url in ["http://www.example.net:8080/", "http://[2001:db8::53]:8080/"] {
        let program = format!("import urllib.request as u\nprint(len(u.urlopen('{url}').read()))");
        let path = world.folder.path("get.py");
        std::fs::write(&path, program).unwrap();
        let text = world.run(&format!("python3 {}", path.display()));
        assert_eq!(text.trim(), BODY_LEN.to_string(), "{url}: {text}");
    }
    for server in servers {
        server.join().unwrap();
    }
    // The host lets this group have ping sockets.
    std::fs::write("/proc/sys/net/ipv4/ping_group_range", "0 0").unwrap();
    for address in ["192.0.2.53", "2001:db8::53"] {
        world.until(&format!("ping -c1 -W1 {address}"), "1 received");
    }
}

const BODY_LEN: usize = 3_000_000;

/// Answers one request of HTTP.
fn web_server(address: &str) -> JoinHandle<()> {
    let listener = TcpListener::bind(address).unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        assert!(stream.read(&mut [0; 4096]).unwrap() > 0);
        let head = format!("HTTP/1.0 200 OK\r\nContent-Length: {BODY_LEN}\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&vec![b'x'; BODY_LEN]).unwrap();
    })
}

#[test]
fn dhclient_gets_addresses_of_both_families() {
    let world = World::new();
    world.host.ip("link set t0 up");
    world.until("ip -6 addr show dev t0 scope link -tentative", "fe80::");
    let (script, log) = world.script();
    for (family, wanted) in [
        (4, &["event  BOUND", "new_ip_address=10.0.2.15", "new_interface_mtu=1400"][..]),
        (
            6,
            &[
                "event  BOUND6",
                "new_ip6_address=fd00::15",
                "new_dhcp6_name_servers=fd00::3",
                "new_dhcp6_domain_search=lan.example. example.net.",
            ],
        ),
    ] {
        let files = ["lf", "pf"].map(|kind| {
            let path = world.folder.path(&format!("{kind}{family}"));
            std::fs::write(&path, "").unwrap();
            format!("-{kind} {}", path.display())
        });
        let line = |action: &str| {
            format!("dhclient -{family} {action} -v -sf {script} {} t0", files.join(" "))
        };
        let said = world.run(&line("-1"));
        let vars = read(&log);
        for line in wanted {
            assert!(vars.lines().any(|one| one.trim_end() == *line), "{line}: {said}\n{vars}");
        }
        let said = world.run(&line("-r"));
        assert!(said.to_lowercase().contains("release"), "{said}");
    }
    assert_eq!(world.drops().count(DropReason::MALFORMED), 0);
}

#[test]
fn dhcpcd_gets_addresses_of_both_families() {
    let world = World::new();
    empty("/var/lib/dhcpcd");
    world.host.ip("link set t0 up");
    world.until("ip -6 addr show dev t0 scope link -tentative", "fe80::");
    for (family, more, parts) in [
        (4, "noarp", &["leased 10.0.2.15 for 3600 seconds"][..]),
        (6, "ipv6rs", &["Router Advertisement from fe80::2", "adding address fd00::"]),
        (6, "noipv6rs\nia_na", &["REPLY6 received from fe80::2", "adding address fd00::15/128"]),
    ] {
        let conf = world.folder.path("dhcpcd.conf");
        std::fs::write(&conf, format!("duid\nslaac hwaddr\nnohook resolv.conf\n{more}\n")).unwrap();
        let said = world.run(&format!("dhcpcd -{family} -f {} -B -d --oneshot t0", conf.display()));
        for part in parts {
            assert!(said.contains(part), "{part}: {said}");
        }
    }
}

#[test]
fn slaac_and_neighbour_discovery_serve_a_host() {
    let world = World::new();
    world.host.ip("link set t0 up");
    world.until("ip -6 addr show dev t0 scope global -tentative", "fd00::");
    let routes = world.run("ip -6 route show");
    assert!(routes.contains("default via fe80::2 dev t0 proto ra"), "{routes}");
    assert!(routes.contains("mtu 1400"), "{routes}");
    let text = world.until("rdisc6 -1 t0", "from fe80::2");
    for part in [
        "Hop limit                 :           64",
        "Stateful address conf.    :          Yes",
        "Stateful other conf.      :          Yes",
        "Router lifetime           :         1800",
        "MTU                      :         1400",
        "Source link-layer address: 02:61:64:69:74:01",
        "Prefix                   : fd00::/64",
        "Recursive DNS server     : fd00::3",
        "DNS search list          : lan.example example.net",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    for target in ["fe80::2", "fd00::2", "fd00::3"] {
        let text = world.run(&format!("ndisc6 -1 {target} t0"));
        assert!(text.contains("02:61:64:69:74:01"), "{target}: {text}");
    }
    // Another address of the network is a guest's, and nobody is there.
    let text = world.run("ndisc6 -1 -r1 -w500 fd00::99 t0");
    assert!(!text.contains("02:61"), "{text}");
    // The gateway's own address is defended.
    world.host.ip("addr add fd00::2/64 dev t0");
    world.until("ip -6 addr show dev t0 to fd00::2", "dadfailed");
    assert!(world.with(|gateway| gateway.guests(PORT).unwrap().addresses().count()) > 0);
}

#[test]
fn a_packet_waits_for_a_guest_that_was_silent() {
    let world = World::new();
    world.host.ip("link set t0 up");
    world.host.ip("addr add 10.0.2.77/24 dev t0");
    let server = world.host.run(|| UdpSocket::bind("10.0.2.77:9").unwrap());
    server.set_read_timeout(Some(PATIENCE)).unwrap();
    let (tell, sent) = channel();
    let post = world.remote.post(move |runner| {
        let (gateway, now, out) = runner.engine_and_outbox();
        let guests = gateway.guests(PORT).unwrap();
        let known = guests.addresses().any(|(ip, _)| ip == IpAddr::from([10, 0, 2, 77]));
        // A datagram without a checksum.
        let header = UdpHeader { source_port: 53, destination_port: 9, len: 13, checksum: 0 };
        let mut packet = out.make(100).unwrap();
        let ip = Ipv4Header {
            tos: 0,
            total_len: 33,
            id: 0,
            dont_fragment: true,
            fragment: None,
            ttl: 64,
            protocol: ip_protocol::UDP,
            source: GATEWAY,
            destination: [10, 0, 2, 77].into(),
        };
        for piece in [&ip.to_bytes()[..], &header.to_bytes(), b"hello"] {
            packet.extend(piece).unwrap();
        }
        let guests = gateway.guests_mut(PORT).unwrap();
        guests.egress(now, packet, out);
        let _ = tell.send((known, guests.held()));
    });
    post.unwrap();
    assert_eq!(sent.recv_timeout(PATIENCE), Ok((false, 1)));
    let mut buf = [0; 9];
    let (len, _) = server.recv_from(&mut buf).expect("the packet comes after an ARP request");
    assert_eq!(&buf[..len], b"hello");
}

/// A name server on the loopback that answers every A query with 192.0.2.53, by UDP and TCP.
fn name_server() -> SocketAddr {
    fn answer(query: &[u8]) -> Vec<u8> {
        // The question, without what EDNS added.
        let end = 12 + query[12..].iter().position(|&byte| byte == 0).unwrap() + 5;
        let mut reply = query[..end].to_vec();
        reply[2..12].copy_from_slice(&[0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
        reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 53]);
        reply
    }
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = udp.local_addr().unwrap();
    let tcp = TcpListener::bind(address).unwrap();
    // Both threads end with the process.
    std::thread::spawn(move || {
        let mut buf = [0; 2000];
        while let Ok((len, from)) = udp.recv_from(&mut buf) {
            let _ = udp.send_to(&answer(&buf[..len]), from);
        }
    });
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = tcp.accept() {
            let mut len = [0; 2];
            stream.read_exact(&mut len).unwrap();
            let mut query = vec![0; usize::from(u16::from_be_bytes(len))];
            stream.read_exact(&mut query).unwrap();
            let reply = answer(&query);
            // In pieces, as a stream may come.
            stream.write_all(&u16::try_from(reply.len()).unwrap().to_be_bytes()).unwrap();
            stream.write_all(&reply[..9]).unwrap();
            sleep(Duration::from_millis(20));
            stream.write_all(&reply[9..]).unwrap();
        }
    });
    address
}

#[test]
fn names_are_resolved_by_the_first_server_that_answers() {
    let world = World::new();
    world.host.ip("link set t0 up");
    world.host.ip("addr add 10.0.2.15/24 dev t0");
    let dig = |words: &str| world.run(&format!("dig @10.0.2.3 +tries=1 +time=5 {words}"));
    // Own names, without any name server.
    for (words, part) in [
        ("+short host.adit.internal A", "10.0.2.2\n"),
        ("+short HOST.adit.INTERNAL AAAA", "fd00::2\n"),
        ("+short -x 10.0.0.9", "x.\n"),
        ("+short -x fd00::2", "host.adit.internal.\n"),
        ("x TXT", "status: NOERROR"),
        ("x AAAA", "ANSWER: 0, AUTHORITY: 1, ADDITIONAL: 1"),
        ("nosuch.adit.internal", "status: NXDOMAIN"),
        ("adit.internal", "status: NOERROR"),
        ("+edns=5 +noednsneg x", "status: BADVERS"),
        ("+opcode=notify x", "status: NOTIMP"),
        ("www.example.net", "status: SERVFAIL"),
    ] {
        let text = dig(words);
        assert!(text.contains(part), "{words}: no '{part}' in {text}");
    }
    world.until("dig @fd00::3 +short +tries=1 +time=1 host.adit.internal", "10.0.2.2");
    let text = world.run("drill -D x @10.0.2.3");
    assert!(text.contains("x.\t10\tIN\tA\t10.0.0.9"), "{text}");
    // The first server is silent, the second refuses, the third answers.
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let refusing = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let servers = [silent.local_addr().unwrap(), refusing, name_server()];
    world.with(move |gateway| gateway.set_name_servers(servers));
    for words in ["", "", "+noedns"] {
        let text = dig(&format!("{words} www.example.net"));
        assert!(text.contains("192.0.2.53"), "{words}: {text}");
    }
    // By TCP the name server's address leads to the first one.
    let [.., answering] = servers;
    world.with(move |gateway| gateway.set_name_servers([answering]));
    let text = dig("+tcp www.example.net");
    assert!(text.contains("192.0.2.53"), "{text}");
    assert_eq!(world.with(|gateway| gateway.forwarder().waiting()), 0);
    let drops = world.drops();
    assert_eq!(drops.count(DropReason::DNS_UNWANTED), 0, "{drops:?}");
    // That the second query does not wait for the silent server shows on its socket: it has one query alone.
    silent.set_nonblocking(true).unwrap();
    let count = std::iter::from_fn(|| silent.recv(&mut [0; 512]).ok()).count();
    assert_eq!(count, 1);
}
