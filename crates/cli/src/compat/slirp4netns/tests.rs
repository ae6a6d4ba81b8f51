use super::*;

/// The command lines of podman, as recorded; PATH stands for a file that exists.
const PODMAN_4: &str = "--disable-host-loopback --mtu=65520 --enable-sandbox --enable-seccomp \
                        --enable-ipv6 -c -e 3 -r 4 --netns-type=path PATH tap0";
const PODMAN_4_NETWORK: &str = "--disable-host-loopback --mtu=65520 --enable-sandbox \
                                --enable-seccomp --enable-ipv6 -c -r 3 --netns-type=path PATH tap0";
const PODMAN_5: &str = "--disable-host-loopback --mtu=65520 --enable-sandbox --enable-seccomp \
                        --enable-ipv6 -c -r 3 -e 4 --netns-type=path PATH tap0";
const PODMAN_4_CIDR: &str = "--mtu=1500 --enable-sandbox --enable-seccomp --cidr=10.5.0.0/24 --outbound-addr=127.0.0.1 -c -e 3 -r 4 \
                             --api-socket /run/ID.net --netns-type=path PATH tap0";

fn call(text: &str) -> Result<Call, Fault> {
    let words: Vec<String> =
        text.split_whitespace().map(|word| word.replace("PATH", "/proc/self/ns/net")).collect();
    read(&words)
}

fn wanted(text: &str) -> Slirp4netns {
    match call(text) {
        Ok(Call::Slirp4netns(wanted)) => wanted,
        other => panic!("{text}: {other:?}"),
    }
}

fn network(device: &str, gateway: &str, name_server: &str) -> Network {
    Network {
        device: device.parse().unwrap(),
        gateway: gateway.parse().unwrap(),
        name_server: name_server.parse().ok(),
    }
}

fn expected_networks() -> Vec<Network> {
    let v4 = network("10.0.2.100/24", "10.0.2.2", "10.0.2.3");
    vec![v4, network("fd00::64/64", "fd00::2", "fd00::3")]
}

#[test]
fn the_command_lines_of_podman_are_read() {
    let expected = Slirp4netns {
        target: Target::Text("/proc/self/ns/net".to_owned()),
        device: IfName::new("tap0").unwrap(),
        mac: None,
        configures: true,
        networks: expected_networks(),
        mtu: 65520,
        outbound: Vec::new(),
        host_loopback: false,
        ready: Some(4),
        exit: Some(3),
        api_socket: None,
        sandbox: Level::Try,
    };
    assert_eq!(wanted(PODMAN_4), expected);
    let later = Slirp4netns { ready: Some(3), exit: Some(4), ..expected.clone() };
    assert_eq!(wanted(PODMAN_5), later);
    assert_eq!(
        wanted(PODMAN_4_NETWORK),
        Slirp4netns { ready: Some(3), exit: None, ..expected.clone() }
    );
    let cidr = Slirp4netns {
        networks: vec![network("10.5.0.100/24", "10.5.0.2", "10.5.0.3")],
        mtu: 1500,
        outbound: vec![Outbound::Address("127.0.0.1".parse().unwrap())],
        host_loopback: true,
        api_socket: Some("/run/ID.net".into()),
        ..expected
    };
    assert_eq!(wanted(PODMAN_4_CIDR), cidr);
    let own = wanted("-c 4711");
    assert_eq!((own.target, own.mtu), (Target::Process(4711), 1500));
    let rootlesskit =
        wanted("--mtu 65520 -r 3 --disable-host-loopback --api-socket /tmp/x.sock 4711 tap0");
    assert_eq!((rootlesskit.configures, rootlesskit.mac), (false, None));
    // Version 3.
    let path = wanted(
        "--mtu 65520 -r 3 --disable-host-loopback --api-socket /tmp/x.sock --cidr 10.0.2.0/24 \
         --enable-ipv6 --userns-path=PATH --netns-type=path PATH tap0",
    );
    let target = Target::Text("/proc/self/ns/net".to_owned());
    let networks = expected_networks();
    assert_eq!(path, Slirp4netns { target, networks, ..rootlesskit });
    let mac = wanted("-c --macaddress=02:00:00:00:00:07 1").mac;
    assert_eq!(mac, "02:00:00:00:00:07".parse().ok());
    assert_eq!(wanted("-c --disable-dns 1").networks, [network("10.0.2.100/24", "10.0.2.2", "")]);
}

#[test]
fn help_has_the_words_that_callers_look_for() {
    let Ok(Call::Print(help)) = call("--help") else { panic!() };
    for word in [
        "--netns-type",
        "--mtu",
        "--cidr",
        "--disable-host-loopback",
        "--api-socket",
        "--enable-sandbox",
        "--enable-seccomp",
        "--enable-ipv6",
        "--outbound-addr",
    ] {
        assert!(help.contains(word), "{word}");
    }
    let Ok(Call::Print(version)) = call("--version") else { panic!() };
    assert!(version.starts_with("slirp4netns version 1."), "{version}");
}

#[test]
fn what_is_not_valid_is_refused() {
    let usage = |text: &str| Fault::Usage(text.to_owned());
    assert_eq!(call("--bogus -c 1"), Err(usage("unrecognized option '--bogus'")));
    assert_eq!(call("-c"), Err(usage("a PID or PATH is required")));
    for (text, part) in [
        ("-c --mtu=65522 1", "MTU must be"),
        ("-c --mtu=0 1", "MTU must be"),
        ("-c --cidr=10.0.0.0 1", "invalid CIDR"),
        ("-c --cidr=10.0.0.1/24 1", "invalid CIDR"),
        ("-c --cidr=10.0.0.0/26 1", "invalid CIDR"),
        ("-c --cidr=fd00::/64 1", "invalid CIDR"),
        ("-c 0", "PID must be"),
        ("-c abc", "PID must be"),
        ("-c -r x 1", "ready-fd must be"),
        ("-c --netns-type=path /nonexistent", "existing path expected"),
        ("-c --netns-type=no 1", "netns-type must be"),
        ("-c 1 a-name-that-is-too-long", "TAPNAME"),
        ("--macaddress=02:00:00:00:00:07 1 tap0", "--macaddress cannot be specified"),
        ("-c --macaddress=01:00:00:00:00:07 1 tap0", "macaddress must be"),
        ("-c --outbound-addr=::1 1", "an address or an interface"),
        ("-c --target-type=bess 1", "--target-type=bess is not supported"),
    ] {
        let Err(Fault::Refused(message)) = call(text) else { panic!("{text}") };
        assert!(message.contains(part), "{text}: {message}");
    }
}
