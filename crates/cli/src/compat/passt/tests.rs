use super::*;
use adit_vpn::drop_in::Forward;

/// The command lines of podman 5 and 6 and of rootlesskit 3, as their code writes them; PATH stands for a file that
/// exists.
const PODMAN: &str = "--config-net --dns-forward 169.254.1.1 -t none -u none -T none -U none --no-map-gw --quiet \
                      --netns PATH --map-guest-addr 169.254.1.2";
const PODMAN_PORTS: &str = "--config-net -t 80-80:60-60 -t 127.0.0.1/8080-8082:80-82 -u 100-100:100-100 \
                            --dns-forward 169.254.1.1 -T none -U none --no-map-gw --quiet --netns PATH \
                            --map-guest-addr 169.254.1.2";
const PODMAN_NETWORK: &str = "--config-net --pid /run/rootless-netns-conn.pid --dns-forward 169.254.1.1 -t none \
                              -u none -T none -U none --no-map-gw --quiet --netns PATH --map-guest-addr \
                              169.254.1.2";
const PODMAN_OPTIONS: &str = "--config-net -i eth0 -n 24 -4 --mtu 1500 -I eth9 --ns-mac-addr 02:00:00:00:00:09 \
                              --dns-forward 192.168.255.255 --dns-forward fd00::53 -t none -u none -T none -U none \
                              --quiet --netns PATH --map-guest-addr 169.254.1.2";
const ROOTLESSKIT: &str = "--stderr --ns-ifname=tap0 --mtu=65520 --config-net --address=10.0.2.100 --netmask=24 \
                           --gateway=10.0.2.2 --dns-forward=10.0.2.3 --no-map-gw --ipv4-only --tcp-ports=none \
                           --udp-ports=none";
const BUILDAH: &str =
    "--config-net -t none -u none -T none -U none --no-map-gw --quiet --netns PATH";

fn call(text: &str) -> Result<Call, Fault> {
    let words: Vec<String> =
        text.split_whitespace().map(|word| word.replace("PATH", "/proc/self/ns/net")).collect();
    Mode::Pasta.read(&words)
}

fn wanted(text: &str) -> Pasta {
    match call(text) {
        Ok(Call::Pasta(wanted)) => *wanted,
        other => panic!("{text}: {other:?}"),
    }
}

/// What `--config-net` alone asks for.
fn pasta(target: Target) -> Pasta {
    let guest = GuestOptions {
        advertises: false,
        name_servers: Some(Vec::new()),
        ..GuestOptions::default()
    };
    Pasta {
        place: Place::There(target),
        stays: false,
        device: None,
        mac: None,
        configures: true,
        addressing: Options::of(Mode::Pasta).addressing,
        guest,
        forwards: Vec::new(),
        follows: Vec::new(),
        outward: Vec::new(),
        pid_file: None,
        capture: None,
        foreground: false,
        sandbox: Level::Try,
    }
}

fn ips(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn forwarded(transport: Transport, option: &str, ports: (u16, u16), inside: u16) -> Forward {
    let (local, option) = (None, option.to_owned());
    Forward {
        transport,
        local,
        interface: None,
        ports: ports.0..=ports.1,
        guest: None,
        inside,
        as_possible: false,
        option,
    }
}

#[test]
fn the_command_lines_of_podman_5_are_read() {
    let mut expected = pasta(Target::Text("/proc/self/ns/net".to_owned()));
    expected.addressing.map_gateway = false;
    assert_eq!(wanted(BUILDAH), expected);
    expected.addressing.dns_forward = ips(&["169.254.1.1"]);
    expected.addressing.map_guest = ips(&["169.254.1.2"]);
    assert_eq!(wanted(PODMAN), expected);
    let pid_file = Some(PathBuf::from("/run/rootless-netns-conn.pid"));
    assert_eq!(wanted(PODMAN_NETWORK), Pasta { pid_file, ..expected.clone() });
    let local = Forward {
        local: "127.0.0.1".parse().ok(),
        ..forwarded(Transport::Tcp, "-t 127.0.0.1/8080-8082:80-82", (8080, 8082), 80)
    };
    expected.forwards = vec![
        forwarded(Transport::Tcp, "-t 80-80:60-60", (80, 80), 60),
        local,
        forwarded(Transport::Udp, "-u 100-100:100-100", (100, 100), 100),
    ];
    assert_eq!(wanted(PODMAN_PORTS), expected);
    expected.forwards.clear();
    expected.device = IfName::new("eth9").ok();
    expected.mac = "02:00:00:00:00:09".parse().ok();
    expected.addressing.interface = IfName::new("eth0").ok();
    expected.addressing.netmask = Some(24);
    expected.addressing.families = [true, false];
    expected.addressing.mtu = 1500;
    expected.addressing.dns_forward = ips(&["192.168.255.255", "fd00::53"]);
    expected.addressing.map_gateway = true;
    assert_eq!(wanted(PODMAN_OPTIONS), expected);
}

#[test]
fn the_command_lines_of_rootlesskit_3_are_read() {
    let mut expected = pasta(Target::Process(4711));
    expected.device = IfName::new("tap0").ok();
    expected.addressing.families = [true, false];
    expected.addressing.addresses = vec![(ips(&["10.0.2.100"])[0], None)];
    expected.addressing.netmask = Some(24);
    expected.addressing.gateways = ips(&["10.0.2.2"]);
    expected.addressing.dns_forward = ips(&["10.0.2.3"]);
    expected.addressing.map_gateway = false;
    assert_eq!(wanted(&format!("{ROOTLESSKIT} --host-lo-to-ns-lo 4711")), expected);
    expected.place = Place::There(Target::Text("/proc/self/ns/net".to_owned()));
    let by_path = format!("{ROOTLESSKIT} --userns=/proc/self/ns/user --netns=PATH");
    assert_eq!(wanted(&by_path), expected);
    // With the port driver "implicit".
    let auto = ROOTLESSKIT.replace("ports=none", "ports=auto");
    let both = [(Transport::Tcp, None), (Transport::Udp, None)];
    assert_eq!(wanted(&format!("{auto} 4711")).follows, both);
    assert_eq!(wanted("--config-net 1").follows, both);
    assert_eq!(wanted("--config-net -t none 1").follows, both[1..]);
    // How it finds out what there is.
    for probe in ["--version", "--host-lo-to-ns-lo --version"] {
        let Ok(Call::Print(version)) = call(probe) else { panic!("{probe}") };
        assert!(version.starts_with("pasta "), "{version}");
    }
}

#[test]
fn the_help_of_pasta_lists_its_options() {
    let Ok(Call::Print(help)) = call("--help") else { panic!() };
    for word in ["--config-net", "--map-guest-addr", "--host-lo-to-ns-lo", "--map-host-loopback"] {
        assert!(help.contains(word), "{word}");
    }
}

#[test]
fn what_pasta_does_not_know_is_refused() {
    let usage = |text: &str| Fault::Usage(text.to_owned());
    let unknown = call("--config-net --bogus 1 --netns PATH");
    assert_eq!(unknown, Err(usage("unrecognized option '--bogus'")));
    assert_eq!(call("--config-net --mtu"), Err(usage("option '--mtu' requires an argument")));
    let command = |words: &[&str]| Place::Command(words.iter().map(Into::into).collect());
    assert_eq!(wanted("--config-net").place, command(&[]));
    // What follows a command is the command's.
    assert_eq!(wanted("--config-net sh -c x").place, command(&["sh", "-c", "x"]));
    assert_eq!(wanted("-- 4711 x").place, command(&["4711", "x"]));
    for (text, part) in [
        ("--config-net --netns /nonexistent", "Couldn't open network namespace /nonexistent"),
        ("--config-net --netns PATH 4711", "Both --netns and PID or command given"),
        ("--config-net 0", "Invalid PID 0"),
        ("--mtu 65521 --config-net 1", "MTU 65521 too large (max 65520)"),
        ("--mtu x --config-net 1", "Invalid MTU: x"),
        ("-a 0.0.0.0 --config-net 1", "Invalid address: 0.0.0.0"),
        ("-a 10.0.0.1/33 --config-net 1", "Invalid address: 10.0.0.1/33"),
        ("-n 255.0.255.0 --config-net 1", "Invalid prefix length: 255.0.255.0"),
        ("-n 33 --config-net 1", "Invalid prefix length: 33"),
        ("-g x --config-net 1", "Invalid gateway address: x"),
        ("--dns-forward ::1 --config-net 1", "Invalid DNS forwarding address: ::1"),
        ("-t x --config-net 1", "Invalid port specifier x"),
        ("-T all --config-net 1", "-T all is not supported by adit: name the ports"),
        ("-U 53%eth0/53 --config-net 1", "Invalid port specifier"),
        ("-H a..b --config-net 1", "Invalid hostname: a..b"),
        ("-o eth0 --config-net 1", "Invalid or redundant outbound address: eth0"),
        ("--outbound-if4 eth0 --config-net 1", "--outbound-if4 eth0 is not supported by adit"),
        ("-I a-name-that-is-too-long --config-net 1", "Invalid interface name"),
    ] {
        let Err(Fault::Refused(message)) = call(text) else { panic!("{text}") };
        assert!(message.contains(part), "{text}: {message}");
    }
    assert_eq!(wanted("-n 255.255.240.0 --config-net 1").addressing.netmask, Some(20));
    let outbound = wanted("-o 192.0.2.1 --config-net 1").addressing.outbound;
    assert_eq!(outbound, [Outbound::Address(ips(&["192.0.2.1"])[0])]);
    assert_eq!(wanted("-m 0 --config-net 1").addressing.mtu, 1500);
}

#[test]
fn protocols_may_be_left_out_and_ports_lead_out_of_the_namespace() {
    let one = wanted("--config-net -t 80 -u 53 -T 5432,8080:80 -U 53:192.0.2.53/5353 1");
    assert_eq!((one.forwards.len(), one.addressing.without.len()), (2, 0));
    assert_eq!(
        one.outward,
        [
            forwarded(Transport::Tcp, "-T 5432,8080:80", (5432, 5432), 5432),
            forwarded(Transport::Tcp, "-T 5432,8080:80", (8080, 8080), 80),
            Forward {
                guest: "192.0.2.53".parse().ok(),
                ..forwarded(Transport::Udp, "-U 53:192.0.2.53/5353", (53, 53), 5353)
            },
        ]
    );
    assert_eq!(wanted("--config-net -T auto -U none 1").outward, []);
    let one = wanted("--no-tcp -t 80 -u 53 -T 80 -U 53 1");
    assert_eq!((one.forwards.len(), one.outward.len(), one.follows), (1, 1, vec![]));
    assert_eq!(one.addressing.without, [ip_protocol::TCP]);
    let one = wanted("--no-udp --no-icmp --hostname vm --fqdn vm.example.org 1");
    let without = [ip_protocol::UDP, ip_protocol::ICMP, ip_protocol::ICMP6];
    assert_eq!(one.addressing.without, without);
    assert_eq!((one.guest.solicited, one.guest.advertises), (false, false));
    let names = [one.guest.hostname, one.guest.fqdn].map(|name| name.unwrap().to_string());
    assert_eq!(names, ["vm", "vm.example.org"]);
}

/// The command lines of libvirt and of QEMU 10, as their code writes them.
const LIBVIRT: &str = "--one-off --socket /run/passt.sock --mac-addr 52:54:00:12:34:56 --mtu 1500 --interface eth0 \
                       --log-file /dev/null --address 192.0.2.9 --netmask 24 --address 2001:db8::9 --tcp-ports \
                       127.0.0.1/2022:22,~5000 --udp-ports 5000-5010:6000-6010,~5004";
const QEMU_10: &str = "--quiet --mtu 9000 --pid /run/passt.pid --fd 3";

#[test]
fn the_command_lines_of_libvirt_and_qemu_are_read() {
    let passt = |text: &str| {
        let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        match Mode::Passt.read(&words) {
            Ok(Call::Passt(wanted)) => *wanted,
            other => panic!("{text}: {other:?}"),
        }
    };
    let mut expected = Passt {
        socket: GuestSocket::Descriptor(3),
        one_off: false,
        addressing: Options::of(Mode::Passt).addressing,
        guest: GuestOptions::default(),
        forwards: Vec::new(),
        pid_file: Some("/run/passt.pid".into()),
        foreground: false,
        sandbox: Level::Try,
    };
    expected.addressing.mtu = 9000;
    assert_eq!(passt(QEMU_10), expected);
    expected.socket = GuestSocket::Path("/run/passt.sock".into());
    expected.one_off = true;
    expected.pid_file = None;
    expected.addressing.mtu = 1500;
    expected.addressing.interface = IfName::new("eth0").ok();
    expected.addressing.addresses =
        ips(&["192.0.2.9", "2001:db8::9"]).into_iter().map(|ip| (ip, None)).collect();
    expected.addressing.netmask = Some(24);
    let udp = "-u 5000-5010:6000-6010,~5004";
    expected.forwards = vec![
        Forward {
            local: "127.0.0.1".parse().ok(),
            ..forwarded(Transport::Tcp, "-t 127.0.0.1/2022:22,~5000", (2022, 2022), 22)
        },
        forwarded(Transport::Udp, udp, (5000, 5003), 6000),
        forwarded(Transport::Udp, udp, (5005, 5010), 6005),
    ];
    assert_eq!(passt(LIBVIRT), expected);
    let refused = |text: &str| {
        let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        match Mode::Passt.read(&words) {
            Err(Fault::Refused(message) | Fault::Usage(message)) => message,
            other => panic!("{text}: {other:?}"),
        }
    };
    for (text, part) in [
        ("--vhost-user", "--vhost-user is not supported by adit"),
        ("--config-net", "--config-net is not supported by adit"),
        ("--fd 2", "Invalid --fd: 2"),
        ("--fd x", "Invalid --fd: x"),
        ("word", "Extra non-option argument: word"),
        ("--bogus", "unrecognized option '--bogus'"),
        ("-M x", "Invalid MAC address: x"),
    ] {
        let message = refused(text);
        assert!(message.contains(part), "{text}: {message}");
    }
    let dns = passt("-D 192.0.2.53 -S example.org --no-dhcp --no-ra").guest;
    assert_eq!(dns.name_servers, Some(ips(&["192.0.2.53"])));
    assert_eq!((dns.dhcp, dns.dhcp_v6, dns.advertises, dns.search.len()), (false, true, false, 1));
}
