//! What sockets see behind `adit nat attach`, compared with what they see behind the kernel's masquerade.

use crate::nat::{Attached, Host, V4};
use crate::support::{ADIT, adit_json, command, run, text};
use std::fs;

const V6: &str = "2001:db8::2";
/// Addresses of the neighbour's network that nobody has, and of a network that it cannot reach.
const NO_HOSTS: [&str; 2] = ["192.0.2.200", "2001:db8::200"];
const UNREACHABLE: [&str; 2] = ["203.0.113.7", "2001:db8:99::7"];

/// What a program in this namespace finds, by this source port.
fn found(netns: &str, port: &str) -> Vec<String> {
    let program = include_str!("semantics.py");
    let words = ["ip", "netns", "exec", netns, "python3", "-c", program];
    let ([none4, none6], [gone4, gone6]) = (NO_HOSTS, UNREACHABLE);
    let places = [V4, none4, gone4, V6, none6, gone6, "192.0.2.1", "2001:db8::1", port];
    let output = command(words.iter().chain(&places)).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout).lines().map(str::to_owned).collect()
}

/// A namespace behind the kernel's masquerade.
fn masquerade(netns: &str) {
    run(&format!("ip netns add {netns}"));
    run(&format!("ip link add m0 type veth peer name m1 netns {netns}"));
    let addresses = [("10.0.2.2/24", "10.0.2.100/24"), ("fd00::2/64", "fd00::100/64")];
    for (host, inside) in addresses {
        run(&format!("ip addr add {host} dev m0 nodad"));
        run(&format!("ip -n {netns} addr add {inside} dev m1 nodad"));
    }
    run("ip link set m0 up");
    run(&format!("ip -n {netns} link set m1 up"));
    run(&format!("ip -n {netns} link set lo up"));
    run(&format!("ip -n {netns} route add default via 10.0.2.2"));
    run(&format!("ip -n {netns} route add default via fd00::2"));
    fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
    fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "1").unwrap();
    nft("", "chain out { type nat hook postrouting priority 100; oifname v0 masquerade; }");
}

fn nft(prefix: &str, chain: &str) {
    fs::write("/run/rules", format!("table inet test {{\n{chain}\n}}\n")).unwrap();
    run(&format!("{prefix}nft -f /run/rules"));
}

#[test]
fn sockets_see_what_they_see_behind_the_kernels_masquerade() {
    let mut host = Host::new();
    host.start(&["ip", "netns", "exec", "srv"], include_str!("semantics_servers.py"), &[]);
    for (network, gateway) in [("203.0.113.0/24", V4), ("2001:db8:99::/48", V6)] {
        run(&format!("ip route add {network} via {gateway}"));
    }
    // Not by a route: the kernel reports those a few times only.
    nft(
        "ip netns exec srv ",
        "chain in { type filter hook prerouting priority 0; \
         ip daddr 203.0.113.0/24 reject with icmp type host-unreachable; \
         ip6 daddr 2001:db8:99::/48 reject with icmpv6 type no-route; }",
    );
    // The checks run at the same time, and each waits for its own error.
    for netns in ["", "ip netns exec srv "] {
        run(&format!("{netns}sysctl -q -w net.ipv4.icmp_ratelimit=0 net.ipv6.icmp.ratelimit=0"));
    }
    // The neighbour's hardware address is known: while it is asked for, few packets wait.
    for address in [V4, V6] {
        run(&format!("ping -c1 -w60 {address}"));
    }
    // Where the machine allows no echo to its users, there is none behind a NAT of theirs.
    fs::write("/proc/sys/net/ipv4/ping_group_range", "0 0").unwrap();
    masquerade("kernel");
    run("ip netns add blue");
    let _attached = Attached::new(&[ADIT, "nat", "attach", "blue", "--sandbox", "require"]);
    let (mut by_adit, mut kernel) = std::thread::scope(|scope| {
        let kernel = scope.spawn(|| found("kernel", "41000"));
        (found("blue", "42000"), kernel.join().unwrap())
    });
    // The kernel's filtering is the same, but its answer to the question may come from a mapping of before.
    assert_eq!(by_adit.pop().unwrap(), "other port nothing");
    assert!(kernel.pop().unwrap().starts_with("other port"));
    assert_eq!(by_adit, kernel, "{}", adit_json("nat show"));
    // Each check found what it is about.
    for line in [
        "v4 options mss 1448, timestamps sack scale",
        "v4 source the host, the same port",
        "v6 refused ECONNREFUSED",
        "v4 no_such_host EHOSTUNREACH",
        "v6 unreachable_host ENETUNREACH",
        "v4 reset_by_server ECONNRESET",
        "v6 half_close b'100000'",
        "v4 server_ends_first b'hello', and the server got b'50000'",
        "v4 urgent b'urgent !'",
        "v6 echo_60000 60000 bytes back",
        "v4 path_mtu EMSGSIZE, mtu 1500",
        "v6 ping_server reply",
    ] {
        assert!(by_adit.iter().any(|found| found == line), "{line}: {by_adit:#?}");
    }
    assert_eq!(by_adit.len(), 38);
}
