//! The guest's side of the NAT and its name server on a real TAP, with real clients: busybox, dhclient, dhcpcd,
//! ndisc6, dig.

use crate::port::kind::Opened;
use crate::runner::event::{Event, Next};
use crate::runner::{Handler, Runner};
use crate::tests::support::{Folder, Host, PATIENCE, enter, private_run};
use crate::wake::mailbox::Remote;
use adit_engine::{
    DropCounts, DropReason, Endpoint, Engine, FlowEvent, FlowId, Handled, Outbox, PortId,
};
use adit_nat::dns::{Client, Forwarder, Name, OwnNames};
use adit_nat::guest::{GuestConfig, Guests};
use adit_packet::checksum::Sum;
use adit_packet::{
    Icmp, Instant, Ipv4, Ipv4Header, PacketBuf, Pool, PoolConfig, Udp, UdpHeader, icmp, ip_protocol,
};
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::thread::{JoinHandle, sleep};
use std::time::Duration;

const PORT: PortId = PortId(0);
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 3);
/// What comes to this port is forwarded as if it had come by TCP.
const BY_TCP: u16 = 5353;

/// A gateway that has nothing behind it but the name server and an echo.
struct Gateway {
    guests: Guests,
    dns: Forwarder,
    /// Packets that a NAT would have had.
    passed: u64,
}

impl Gateway {
    fn new() -> Self {
        let search = ["lan.example", "example.net"].map(|name| name.parse().unwrap()).to_vec();
        let config = GuestConfig { search, mtu: 1400, ..GuestConfig::default() };
        let mut names = OwnNames::new();
        let name = |text: &str| text.parse::<Name>().unwrap();
        names.add(name("host.adit.internal"), IpAddr::from(GATEWAY));
        names.add(name("host.adit.internal"), "fd00::2".parse().unwrap());
        names.add(name("x"), [10, 0, 0, 9].into());
        Self {
            guests: Guests::new(PORT, config).unwrap(),
            dns: Forwarder::new(names, [7; 32]),
            passed: 0,
        }
    }

    fn packet(&mut self, now: Instant, packet: PacketBuf, out: &mut Outbox) {
        self.passed += 1;
        let Ok(ipv4) = Ipv4::parse(packet.bytes()) else {
            return out.discard(packet, DropReason::NO_DESTINATION);
        };
        let from = ipv4.source();
        match (ipv4.destination(), ipv4.protocol()) {
            (GATEWAY, ip_protocol::ICMP) => {
                let echo = Icmp::parse(ipv4.payload()).unwrap();
                let kind = icmp::v4::ECHO_REPLY;
                let header = icmp::IcmpHeader { kind, ..echo.header() };
                let mut bytes = [&header.to_bytes()[..], echo.body()].concat();
                icmp::fill_checksum_v4(&mut bytes);
                let mut reply = out.make(bytes.len()).unwrap();
                reply.extend(&bytes).unwrap();
                ip_header(&mut reply, ip_protocol::ICMP, GATEWAY, from);
                out.absorb(packet);
                self.guests.egress(now, reply, out);
            }
            (SERVER, ip_protocol::UDP) => {
                let udp = Udp::parse(ipv4.payload()).unwrap();
                let client = Client {
                    from: SocketAddrV4::new(from, udp.source_port()).into(),
                    to: SocketAddrV4::new(SERVER, udp.destination_port()).into(),
                    stream: (udp.destination_port() == BY_TCP).then_some(1),
                };
                let (before, len) = (ipv4.header_len() + 8, usize::from(udp.len()) - 8);
                let mut query = packet;
                query.advance(before);
                query.truncate(len);
                if let Some(reply) = self.dns.query(now, client, query, out) {
                    self.answer(now, client, reply, out);
                }
            }
            _ => out.discard(packet, DropReason::NO_DESTINATION),
        }
    }

    fn answer(&mut self, now: Instant, client: Client, mut reply: PacketBuf, out: &mut Outbox) {
        let (SocketAddr::V4(from), SocketAddr::V4(to)) = (client.to, client.from) else { panic!() };
        let len = u16::try_from(reply.len() + 8).unwrap();
        let header =
            UdpHeader { source_port: from.port(), destination_port: to.port(), len, checksum: 0 };
        let pseudo = Sum::pseudo_v4(*from.ip(), *to.ip(), ip_protocol::UDP, len);
        let sum = pseudo.add_bytes(&header.to_bytes()).add_bytes(reply.bytes());
        let header = UdpHeader { checksum: sum.finish_udp(), ..header };
        reply.prepend(8).unwrap().copy_from_slice(&header.to_bytes());
        ip_header(&mut reply, ip_protocol::UDP, *from.ip(), *to.ip());
        self.guests.egress(now, reply, out);
    }
}

fn ip_header(packet: &mut PacketBuf, protocol: u8, source: Ipv4Addr, destination: Ipv4Addr) {
    let header = Ipv4Header {
        tos: 0,
        total_len: u16::try_from(packet.len() + 20).unwrap(),
        id: 0,
        dont_fragment: true,
        fragment: None,
        ttl: 64,
        protocol,
        source,
        destination,
    };
    packet.prepend(20).unwrap().copy_from_slice(&header.to_bytes());
    packet.meta = adit_packet::Meta::default();
}

impl Engine for Gateway {
    fn handle(
        &mut self,
        now: Instant,
        from: Endpoint,
        packet: PacketBuf,
        out: &mut Outbox,
    ) -> Handled {
        if let Endpoint::Flow(flow) = from {
            assert!(Forwarder::owns(flow));
            if let Some((client, reply)) = self.dns.handle(now, flow, packet, out) {
                self.answer(now, client, reply, out);
            }
        } else if let Some(packet) = self.guests.ingress(now, packet, out) {
            self.packet(now, packet, out);
        }
        Handled::NOTHING
    }

    fn handle_flow(&mut self, now: Instant, flow: FlowId, event: FlowEvent, out: &mut Outbox) {
        self.dns.handle_flow(now, flow, event, out);
    }

    fn next_timeout(&self) -> Option<Instant> {
        [self.guests.next_timeout(), self.dns.next_timeout()].into_iter().flatten().min()
    }

    fn handle_timeout(&mut self, now: Instant, out: &mut Outbox) {
        self.guests.handle_timeout(now, out);
        for (client, reply) in self.dns.handle_timeout(now, out) {
            self.answer(now, client, reply, out);
        }
    }

    fn held(&self) -> usize {
        self.guests.held()
    }
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
            let mut runner = Runner::new(Gateway::new(), Pool::new(PoolConfig::default())).unwrap();
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
    world.until("ping -c1 -W1 10.0.2.2", "1 received");
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
    assert!(world.with(|gateway| gateway.guests.addresses().count()) > 0);
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
        let known = gateway.guests.addresses().any(|(ip, _)| ip == IpAddr::from([10, 0, 2, 77]));
        let mut packet = out.make(100).unwrap();
        packet.extend(b"hello").unwrap();
        let client = Client {
            from: "10.0.2.77:9".parse().unwrap(),
            to: "10.0.2.3:53".parse().unwrap(),
            stream: None,
        };
        gateway.answer(now, client, packet, out);
        let _ = tell.send((known, gateway.held()));
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
    let text = world.run("drill -D x @10.0.2.3");
    assert!(text.contains("x.\t10\tIN\tA\t10.0.0.9"), "{text}");
    // The first server is silent, the second refuses, the third answers.
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let refusing = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let servers = [silent.local_addr().unwrap(), refusing, name_server()];
    world.with(move |gateway| gateway.dns.set_servers(servers));
    for (words, port) in [("", 53), ("", 53), ("+noedns", 53), ("", BY_TCP)] {
        let text = dig(&format!("-p {port} {words} www.example.net"));
        assert!(text.contains("192.0.2.53"), "{words} {port}: {text}");
    }
    assert_eq!(world.with(|gateway| gateway.dns.waiting()), 0);
    let drops = world.drops();
    assert_eq!(drops.count(DropReason::DNS_UNWANTED), 0, "{drops:?}");
    // That the second query does not wait for the silent server shows on its socket: it has one query alone.
    silent.set_nonblocking(true).unwrap();
    let count = std::iter::from_fn(|| silent.recv(&mut [0; 512]).ok()).count();
    assert_eq!(count, 1);
}
