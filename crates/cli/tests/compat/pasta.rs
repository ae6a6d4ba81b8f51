//! pasta: what podman 5 and 6 and rootlesskit 3 rely on, by their command lines.
//!
//! ```text
//! outside: 192.0.2.2 -- eth0 192.0.2.1 of the test's namespace      target: eth0 192.0.2.1
//! ```

use crate::guest::lease;
use crate::support::{ADIT, bare, text};
use crate::world::{
    FAR, Network, OUTSIDE, READ, SERVER, SERVERS, Servers, World, free_port, read_from,
    refuse_name, serve, wait_until,
};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Command, Stdio};
use std::time::Duration;

#[test]
fn the_command_line_of_podman_5_gives_the_hosts_addresses_and_a_way_out() {
    let network = Network::new();
    let world = &network.world;
    let held = world.hold();
    let line = format!(
        "--config-net --dns-forward 169.254.1.1 -t none -u none -T none -U none --no-map-gw --quiet --netns {} \
         --map-guest-addr 169.254.1.2",
        held.display()
    );
    assert_eq!(network.pasta(&line), (Some(0), String::new()));
    // All of it is there when the caller goes on.
    let addresses = world.output(&["ip", "-o", "addr", "show", "eth0"]);
    for part in ["inet 192.0.2.1/24", "inet6 2001:db8::1/64"] {
        assert!(addresses.contains(part), "{addresses}");
    }
    let is_ready = |line: &str| line.contains("scope link") || !line.contains("tentative");
    assert!(addresses.lines().all(is_ready), "{addresses}");
    assert!(world.output(&["ip", "link", "show", "eth0"]).contains("mtu 65520"));
    for (family, route) in
        [("-4", "default via 192.0.2.2 dev eth0"), ("-6", "default via 2001:db8::2 dev eth0")]
    {
        let routes = world.output(&["ip", family, "route", "show", "default"]);
        assert!(routes.starts_with(route), "{routes}");
    }

    // The gateway is no address of the NAT, but the host outside that has it.
    let bytes: Vec<u8> = (0..1_000_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    for outside in [IpAddr::V4(OUTSIDE), "2001:db8::2".parse().unwrap()] {
        let (port, server) = network.outside(|| serve(outside, bytes.clone()));
        let read = world.output(&["python3", "-c", READ, &outside.to_string(), &port.to_string()]);
        assert!(read.starts_with("1000000 "), "{read}");
        server.join().unwrap();
    }
    // The host by the address that stands for it, and its loopback not at all.
    let (port, server) = serve(SERVER, b"the host".to_vec());
    let read = world.output(&["python3", "-c", READ, "169.254.1.2", &port.to_string()]);
    assert!(read.starts_with("8 "), "{read}");
    server.join().unwrap();
    let (port, _server) = serve(Ipv4Addr::LOCALHOST, Vec::new());
    for closed in ["192.0.2.2", "169.254.1.1", "169.254.1.2"] {
        let refused = world.output(&["python3", "-c", READ, closed, &port.to_string()]);
        assert!(refused.contains("ConnectionRefusedError"), "{closed}: {refused}");
    }

    // It ends with the file, though processes are still in the namespace.
    World::let_go(&held);
    network.wait_for_end("pasta");
    assert!(!world.output(&["ip", "link"]).contains("eth0"));
}

#[test]
fn names_are_resolved_at_the_address_that_podman_gives() {
    let network = Network::new();
    let dns = network.outside(|| UdpSocket::bind((OUTSIDE, 53)).unwrap());
    fs::write(network.world.folder.join("resolv.conf"), format!("nameserver {OUTSIDE}\n")).unwrap();
    let line = format!(
        "--config-net --dns-forward 169.254.1.1 -t none -u none -T none -U none --no-map-gw --quiet {}",
        network.world.pid()
    );
    assert_eq!(network.pasta(&line), (Some(0), String::new()));
    let server = refuse_name(dns);
    let ask = "import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(50)
s.sendto(bytes.fromhex('abcd01000001000000000000016101620000010001'), ('169.254.1.1', 53))
b, a = s.recvfrom(99)
print(b[:4].hex(), a)";
    let answer = network.world.output(&["python3", "-c", ask]);
    assert_eq!(answer.trim(), "abcd8183 ('169.254.1.1', 53)");
    server.join().unwrap();
}

#[test]
fn ports_of_the_command_line_lead_inside_from_everywhere() {
    let network = Network::new();
    let world = &network.world;
    let held = world.hold();
    let [tcp, udp, local, of_link] = [(); 4].map(|()| free_port());
    let line = format!(
        "--config-net -t {tcp}-{tcp}:80-80 -t 127.0.0.1/{local}-{local}:80-80 -t %eth0/{of_link}:80 -u {udp}-{udp}:53-53 --dns-forward \
         169.254.1.1 -T none -U none --no-map-gw --quiet --netns {} --map-guest-addr 169.254.1.2",
        held.display()
    );
    assert_eq!(network.pasta(&line), (Some(0), String::new()));
    let _servers = world.python(SERVERS);
    let at = |ip: &str, port| SocketAddr::new(ip.parse().unwrap(), port);
    // From outside with the true address; the host itself has that of the inside, and comes from the NAT.
    let from_outside = [
        (at("192.0.2.1", tcp), "tcp ::ffff:192.0.2.2"),
        (at("2001:db8::1", tcp), "tcp 2001:db8::2"),
    ];
    for (address, expected) in from_outside {
        let said = wait_until("an answer", || network.outside(|| read_from(address)));
        assert_eq!(said, expected);
    }
    for address in [
        at("127.0.0.1", tcp),
        at("127.0.0.1", local),
        at("192.0.2.1", tcp),
        at("::1", tcp),
        at("2001:db8::1", tcp),
    ] {
        let said = wait_until("an answer", || read_from(address));
        assert!(said.starts_with("tcp "), "{address}: {said}");
        assert!(!said.contains("192.0.2.1") && !said.contains("2001:db8::1"), "{address}: {said}");
    }
    assert!(network.outside(|| TcpStream::connect(at("192.0.2.1", local))).is_err());
    assert!(read_from(at("192.0.2.1", of_link)).is_some());
    assert!(TcpStream::connect(at("127.0.0.1", of_link)).is_err());
    let ask = |client: UdpSocket| {
        client.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        wait_until("an answer by UDP", || {
            client.send_to(b"datagram", (SERVER, udp)).unwrap();
            let mut answer = [0; 99];
            let (len, _) = client.recv_from(&mut answer).ok()?;
            Some(text(&answer[..len]))
        })
    };
    let outside = network.outside(|| UdpSocket::bind((OUTSIDE, 0)).unwrap());
    assert_eq!(ask(outside), "udp datagram");
    assert_eq!(ask(UdpSocket::bind((SERVER, 0)).unwrap()), "udp datagram");
    World::let_go(&held);
    network.wait_for_end("pasta");
}

#[test]
fn what_listens_inside_is_reached_as_rootlesskit_wants_it() {
    let network = Network::new();
    let world = &network.world;
    let line = format!(
        "--stderr --ns-ifname=tap0 --mtu=65520 --config-net --address=10.0.2.100 --netmask=24 \
         --gateway=10.0.2.2 --dns-forward=10.0.2.3 --no-map-gw --ipv4-only --tcp-ports=auto --udp-ports=auto {}",
        world.pid()
    );
    assert_eq!(network.pasta(&line), (Some(0), String::new()));
    assert!(network.outside(|| TcpStream::connect((SERVER, 8080))).is_err());
    // Without a capability, only ports from 1024 on can be opened later.
    let servers = world.python(&SERVERS.replace("80)", "8080)").replace("53)", "5300)"));
    let said = wait_until("an answer", || {
        network.outside(|| read_from(SocketAddr::new(SERVER.into(), 8080)))
    });
    assert_eq!(said, format!("tcp ::ffff:{OUTSIDE}"));
    let client = network.outside(|| UdpSocket::bind((OUTSIDE, 0)).unwrap());
    client.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let mut ask = || {
        client.send_to(b"datagram", (SERVER, 5300)).unwrap();
        let mut answer = [0; 99];
        client.recv_from(&mut answer).ok().map(|(len, _)| text(&answer[..len]))
    };
    assert_eq!(wait_until("an answer by UDP", &mut ask), "udp datagram");
    drop(servers);
    wait_until("a port that is closed", || TcpStream::connect((SERVER, 8080)).err());
    wait_until("a UDP port that is free", || UdpSocket::bind((SERVER, 5300)).ok());
}

#[test]
fn all_ports_are_forwarded_as_far_as_descriptors_suffice() {
    let network = Network::new();
    let world = &network.world;
    let (own, _server) = serve(Ipv4Addr::UNSPECIFIED, b"own".to_vec());
    let line = format!(
        "ulimit -n 600; {} --config-net -4 -t all,~81 -u none",
        world.folder.join("pasta").display()
    );
    let status = bare("sh").args(["-c", &format!("{line} {}", world.pid())]).status().unwrap();
    assert!(status.success());
    let _servers = world.python(SERVERS);
    let said = wait_until("an answer", || {
        network.outside(|| read_from(SocketAddr::new(SERVER.into(), 80)))
    });
    assert_eq!(said, format!("tcp ::ffff:{OUTSIDE}"));
    // One that is excluded, one that is taken, and one beyond the descriptors.
    assert!(network.outside(|| TcpStream::connect((SERVER, 81))).is_err());
    let said = network.outside(|| read_from(SocketAddr::new(SERVER.into(), own)));
    assert_eq!(said.as_deref(), Some("own"));
    assert!(network.outside(|| TcpStream::connect((SERVER, 30_000))).is_err());
}

#[test]
fn a_port_that_is_taken_is_an_error_and_nothing_is_left() {
    let network = Network::new();
    let taken = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let pid = network.world.pid();
    let line = format!("--config-net -t {port}-{port}:80-80 -u none -T none -U none --quiet {pid}");
    let (status, written) = network.pasta(&line);
    assert_eq!(status, Some(1), "{written}");
    let expected = format!("Failed to bind port {port} (Address already in use");
    assert!(written.contains(&expected), "{written}");
    network.wait_for_end("pasta");
    assert!(!network.world.output(&["ip", "link"]).contains("eth0"));
}

#[test]
fn a_custom_network_of_podman_ends_by_its_pid_file() {
    let network = Network::new();
    let (held, pid_file) = (network.world.hold(), network.world.folder.join("pid"));
    let line = format!(
        "--config-net --pid {} --dns-forward 169.254.1.1 -t none -u none -T none -U none --no-map-gw --quiet \
         --netns {} --map-guest-addr 169.254.1.2",
        pid_file.display(),
        held.display()
    );
    assert_eq!(network.pasta(&line), (Some(0), String::new()));
    let pid: i32 = fs::read_to_string(&pid_file).unwrap().trim_end().parse().unwrap();
    // And the process that follows the host's name servers for it, which ends with it.
    assert!(network.running("pasta").contains(&pid.unsigned_abs()));
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    network.wait_for_end("pasta");
    assert!(!network.world.output(&["ip", "link"]).contains("eth0"));
}

#[test]
fn the_command_lines_of_rootlesskit_3_give_the_addresses_that_they_name() {
    let network = Network::new();
    let world = &network.world;
    let pid = world.pid();
    let options = "--stderr --ns-ifname=tap0 --mtu=65520 --config-net --address=10.0.2.100 --netmask=24 \
                   --gateway=10.0.2.2 --dns-forward=10.0.2.3 --no-map-gw --ipv4-only --tcp-ports=none \
                   --udp-ports=none --host-lo-to-ns-lo";
    let held = world.hold();
    let by_path = format!("--userns=/proc/{pid}/ns/user --netns={}", held.display());
    for target in [by_path, pid.clone()] {
        assert_eq!(network.pasta(&format!("{options} {target}")), (Some(0), String::new()));
        let addresses = world.output(&["ip", "-o", "-4", "addr"]);
        assert!(addresses.contains("inet 10.0.2.100/24"), "{addresses}");
        let routes = world.output(&["ip", "route", "show", "default"]);
        assert!(routes.starts_with("default via 10.0.2.2 dev tap0"), "{routes}");
        let (port, server) = network.outside(|| serve(OUTSIDE, b"outside".to_vec()));
        let read = world.output(&["python3", "-c", READ, "192.0.2.2", &port.to_string()]);
        assert!(read.starts_with("7 "), "{read}");
        server.join().unwrap();
        if held.exists() {
            World::let_go(&held);
            network.wait_for_end("pasta");
        }
    }
    // By its process: it ends with that.
    let mut network = network;
    network.world.target.kill().unwrap();
    network.world.target.wait().unwrap();
    network.wait_for_end("pasta");
}

#[test]
fn the_gateway_is_the_hosts_loopback_unless_it_is_not_mapped() {
    let network = Network::new();
    let line =
        format!("--config-net -t none -u none --map-host-loopback none {}", network.world.pid());
    let (port, server) = serve(Ipv4Addr::LOCALHOST, b"loopback".to_vec());
    let mapped = format!("--config-net -4 -f {}", network.world.pid());
    let mut command = Command::new(network.world.folder.join("pasta"));
    command.args(mapped.split_whitespace()).stdin(Stdio::null());
    let foreground = Servers(command.spawn().unwrap());
    wait_until("the device", || {
        network.world.output(&["ip", "link"]).contains("eth0").then_some(())
    });
    let read = || network.world.output(&["python3", "-c", READ, "192.0.2.2", &port.to_string()]);
    let said = wait_until("an answer", || Some(read()).filter(|said| said.starts_with("8 ")));
    assert!(said.starts_with("8 "), "{said}");
    server.join().unwrap();
    drop(foreground);
    wait_until("no device", || {
        (!network.world.output(&["ip", "link"]).contains("eth0")).then_some(())
    });
    assert_eq!(network.pasta(&line), (Some(0), String::new()));
    let (port, _server) = serve(Ipv4Addr::LOCALHOST, b"loopback".to_vec());
    let read = network.world.output(&["python3", "-c", READ, "192.0.2.2", &port.to_string()]);
    assert!(read.contains("ConnectionRefusedError"), "{read}");
}

#[test]
fn a_namespace_that_configures_itself_gets_the_hosts_addresses_by_dhcp() {
    let network = Network::new();
    let world = &network.world;
    let line = format!("-t none -u none -T none -U none --quiet {}", world.pid());
    assert_eq!(network.pasta(&line), (Some(0), String::new()));
    assert!(!world.output(&["ip", "-4", "-o", "addr", "show", "eth0"]).contains("inet"));
    world.run("ip link set eth0 up");
    // No name server, as pasta gives none by itself.
    assert_eq!(lease(world), "192.0.2.1/24 192.0.2.2 mtu=65520 dns=");
    let (port, server) = network.outside(|| serve(FAR, b"outside".to_vec()));
    let read = world.output(&["python3", "-c", READ, "198.51.100.2", &port.to_string()]);
    assert!(read.starts_with("7 "), "{read}");
    server.join().unwrap();
}

#[test]
fn the_device_has_the_hardware_address_that_is_given() {
    let network = Network::new();
    let world = &network.world;
    let line = format!(
        "--config-net --ns-mac-addr 02:00:00:00:00:09 -t none -u none --quiet {}",
        world.pid()
    );
    assert_eq!(network.pasta(&line), (Some(0), String::new()));
    assert!(world.output(&["ip", "link", "show", "eth0"]).contains("link/ether 02:00:00:00:00:09"));
    for outside in [IpAddr::V4(FAR), "2001:db9::2".parse().unwrap()] {
        let (port, server) = network.outside(|| serve(outside, b"outside".to_vec()));
        let read = world.output(&["python3", "-c", READ, &outside.to_string(), &port.to_string()]);
        assert!(read.starts_with("7 "), "{read}");
        server.join().unwrap();
    }
    // The addresses are those that were set, and no others.
    let addresses = world.output(&["ip", "-o", "-6", "addr", "show", "eth0", "scope", "global"]);
    assert_eq!(addresses.lines().count(), 1, "{addresses}");
}

#[test]
fn a_command_runs_in_a_namespace_of_its_own_and_its_status_is_pastas() {
    let network = Network::new();
    let (port, server) = network.outside(|| serve(FAR, b"outside".to_vec()));
    let mut command = bare("timeout");
    command.args(["-k", "1", "100"]).arg(network.world.folder.join("pasta"));
    command.args(["--config-net", "-t", "none", "sh", "-c"]);
    let script = "id -u; python3 -c \"$0\" 198.51.100.2 $1; ip -o -4 addr show dev eth0; exit 7";
    let output = command.args([script, READ, &port.to_string()]).output().unwrap();
    let (said, written) = (text(&output.stdout), text(&output.stderr));
    assert_eq!((output.status.code(), written.as_str()), (Some(7), ""), "{said}");
    assert!(said.starts_with("0\n7 ") && said.contains("inet 192.0.2.1/24"), "{said}");
    server.join().unwrap();
    network.wait_for_end("pasta");
    let (status, written) = network.pasta("--config-net /nonexistent/program");
    assert!(status != Some(0) && written.contains("/nonexistent/program"), "{written}");
}

#[test]
fn ports_of_the_namespace_lead_to_the_hosts_loopback() {
    let network = Network::new();
    let world = &network.world;
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    for host in ["127.0.0.1", "::1"] {
        let host: IpAddr = host.parse().unwrap();
        let (port, server) = serve(host, bytes.clone());
        let echo = UdpSocket::bind((host, 0)).unwrap();
        echo.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let to = echo.local_addr().unwrap().port();
        let line = format!(
            "--config-net -t none -u none -T 5432:{port},{port}:{port} -U 53:{to} --no-map-gw {}",
            world.pid()
        );
        assert_eq!(network.pasta(&line), (Some(0), String::new()));
        // Only at the loopback of the namespace: as before, the host's is not reached at another address.
        let far = world.output(&["python3", "-c", READ, "192.0.2.2", &port.to_string()]);
        assert!(far.contains("ConnectionRefusedError"), "{far}");
        let read = world.output(&["python3", "-c", READ, &host.to_string(), "5432"]);
        assert!(read.starts_with("3000000 "), "{read}");
        server.join().unwrap();
        let answers = std::thread::spawn(move || {
            let mut buffer = [0; 99];
            let (len, from) = echo.recv_from(&mut buffer).unwrap();
            echo.send_to(&[b"heard ", &buffer[..len]].concat(), from).unwrap();
        });
        let ask = "import socket, sys
s = socket.socket(socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(50)
s.sendto(b'datagram', (sys.argv[1], 53))
print(s.recv(99))";
        let heard = world.output(&["python3", "-c", ask, &host.to_string()]);
        assert_eq!(heard.trim(), "b'heard datagram'");
        answers.join().unwrap();
        // Nobody listens there any more.
        let read = world.output(&["python3", "-c", READ, &host.to_string(), "5432"]);
        assert!(read.contains("ConnectionResetError"), "{read}");
        for pid in network.running("pasta") {
            let pid = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        network.wait_for_end("pasta");
    }
    let (status, written) = network.pasta(&format!("--config-net -T 1-100 -4 -6 {}", world.pid()));
    assert!(status == Some(0), "{written}");
    network.running("pasta").into_iter().for_each(|pid| {
        let pid = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    });
    network.wait_for_end("pasta");
    let (status, written) = network.pasta(&format!("--config-net -T 1-200 {}", world.pid()));
    assert!(status == Some(1) && written.contains("at most 128 sockets"), "{written}");
}

#[test]
fn protocols_that_are_left_out_do_not_leave_the_namespace() {
    let network = Network::new();
    let world = &network.world;
    let line = format!(
        "--config-net --no-udp --no-icmp -T none -t none --no-map-gw --quiet -4 {}",
        world.pid()
    );
    assert_eq!(network.pasta(&line), (Some(0), String::new()));
    let (port, server) = network.outside(|| serve(OUTSIDE, b"outside".to_vec()));
    let listener = network.outside(|| UdpSocket::bind((OUTSIDE, port)).unwrap());
    let send = format!(
        "import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.connect(('192.0.2.2', {port}))
s.send(b'datagram')"
    );
    world.output(&["python3", "-c", &send]);
    // What comes later by TCP has left.
    let read = world.output(&["python3", "-c", READ, "192.0.2.2", &port.to_string()]);
    assert!(read.starts_with("7 "), "{read}");
    server.join().unwrap();
    listener.set_nonblocking(true).unwrap();
    assert!(listener.recv(&mut [0; 99]).is_err());
}

#[test]
fn messages_and_status_are_those_of_pasta() {
    let run = |words: &[&str]| {
        let output = bare(ADIT).args(["compat", "pasta"]).args(words).output().unwrap();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    for probe in [&["--version"][..], &["--host-lo-to-ns-lo", "--version"]] {
        let (status, out, err) = run(probe);
        assert_eq!((status, err.as_str()), (Some(0), ""));
        assert!(out.starts_with("pasta "), "{out}");
    }
    let (status, out, _) = run(&["--help"]);
    assert!(status == Some(0) && out.contains("--map-guest-addr"), "{out}");
    // podman looks for this text, and tries again without the option.
    let (status, out, err) = run(&["--config-net", "--netns", "/proc/self/ns/net", "--bogus"]);
    assert_eq!((status, out.as_str()), (Some(1), ""));
    assert!(err.starts_with("pasta: unrecognized option '--bogus'\n"), "{err}");
    let (status, _, err) = run(&["--config-net", "4194999"]);
    assert_eq!(status, Some(1));
    assert!(err.starts_with("pasta: "), "{err}");
}
