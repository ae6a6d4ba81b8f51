//! A guest on QEMU's `-netdev stream` behind `adit nat serve`, and behind adit in place of passt.
//!
//! ```text
//! [guest] eth0, DHCP and RA <-- stream --> adit nat serve [here] v0 192.0.2.1 <-- veth --> 192.0.2.2 [srv]
//! ```

use crate::guest::{self, Folder, Guest, Nic};
use crate::support::{ADIT, adit, adit_json, bare, enter, run};
use std::process::{Child, Command};

/// A process that ends with its test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A network with a server, to which pings may go.
fn outside() {
    enter();
    run("ip link set lo up");
    run("ip netns add srv");
    run("ip link add v0 type veth peer name v1 netns srv");
    for (netns, device, last) in [("", "v0", 1), ("-n srv ", "v1", 2)] {
        run(&format!("ip {netns}addr add 192.0.2.{last}/24 dev {device}"));
        run(&format!("ip {netns}addr add 2001:db8::{last}/64 dev {device} nodad"));
        run(&format!("ip {netns}link set {device} up"));
    }
    std::fs::write("/proc/sys/net/ipv4/ping_group_range", "0 0").unwrap();
}

/// A server in the network outside.
fn serve(socat: &str) -> Ended {
    let mut words = vec!["netns", "exec", "srv", "socat"];
    words.extend(socat.split(' '));
    Ended(bare("ip").args(words).spawn().unwrap())
}

/// What busybox's DHCP client does with a lease.
const SCRIPT: &str = r#"#!/bin/sh
[ "$1" = bound ] || exit 0
/bin/ip address add $ip/$mask dev $interface
/bin/ip route add default via $router
echo $ip $dns $mtu"#;

/// Gets an address by DHCP; returns what the client was given.
fn lease_of(guest: &mut Guest) -> String {
    guest.run("/bin/ip address del 10.88.0.2/24 dev eth0");
    let script = SCRIPT.replace('\n', "\\n");
    guest.run(&format!("printf '{script}' >/tmp/dhcp; chmod +x /tmp/dhcp"));
    guest.run("udhcpc -i eth0 -f -q -n -O mtu -s /tmp/dhcp 2>&1")
}

/// The sum of a file.
fn sum_of(path: &std::path::Path) -> String {
    let output = Command::new("sha256sum").arg(path).output().unwrap();
    String::from_utf8_lossy(&output.stdout)[..64].to_owned()
}

#[test]
fn a_machine_reaches_the_outside_through_a_nat() {
    let Some(fixture) = crate::fixture() else { return };
    outside();
    let folder = Folder::new("vm-nat");
    let socket = folder.path("guests.sock");
    let port = format!("unix:{}", socket.display());
    let _nat = Ended(bare(ADIT).args(["nat", "serve", &port]).spawn().unwrap());
    guest::wait_for(|| socket.exists());
    let mut guest = Guest::start(&fixture, "10.88.0.2", &Nic::Stream(&socket));
    guest.wait_ready();
    let lease = lease_of(&mut guest);
    assert!(lease.contains("10.0.2.15 10.0.2.3 1500"), "{lease}");
    guest::wait_for(|| {
        let addresses = guest.run("/bin/ip -6 -o address show dev eth0 scope global -tentative");
        addresses.contains("fd00::")
    });
    for address in ["192.0.2.2", "2001:db8::2"] {
        let pings = |guest: &mut Guest| guest.run(&format!("ping -c 3 -W 10 {address}"));
        guest::wait_for(|| pings(&mut guest).contains(" 0% packet loss"));
    }
    // 10 MB to the guest and back, with equal sums at both ends.
    let (data, back) = (folder.path("data"), folder.path("back"));
    run(&format!("dd if=/dev/urandom of={} bs=1M count=10 status=none", data.display()));
    let sum = sum_of(&data);
    for (number, address) in [(1, "192.0.2.2"), (2, "[2001:db8::2]")] {
        let kind = if number == 1 { "TCP4" } else { "TCP6" };
        let listen = |port| format!("{kind}-LISTEN:{port},reuseaddr");
        let _source = serve(&format!("-u FILE:{} {}", data.display(), listen(7000)));
        let get = format!("socat -u {kind}:{address}:7000,retry=50,interval=0.2 CREATE:/tmp/got");
        guest.run(&get);
        assert!(guest.run("sha256sum </tmp/got").starts_with(&sum), "down by {kind}");
        let mut sink = serve(&format!("-u {} CREATE:{}", listen(7001), back.display()));
        guest.run(&format!("socat -u FILE:/tmp/got {kind}:{address}:7001,retry=50,interval=0.2"));
        assert!(sink.0.wait().unwrap().success());
        assert_eq!(sum_of(&back), sum, "up by {kind}");
        std::fs::remove_file(&back).unwrap();
    }
    let shown = adit_json("nat show");
    let of_guest = &shown["guests"][0];
    assert_eq!(of_guest["mac"], "52:54:00:00:00:02");
    adit("nat stop");
}

#[test]
fn a_machine_reaches_the_outside_through_passt() {
    let Some(fixture) = crate::fixture() else { return };
    outside();
    run("ip route add default via 192.0.2.2");
    let folder = Folder::new("vm-passt");
    let socket = folder.path("passt.sock");
    let mut passt = bare(ADIT);
    passt.args(["compat", "passt", "--one-off", "--no-map-gw", "--mtu", "1500", "--socket"]);
    assert!(passt.arg(&socket).status().unwrap().success());
    let mut guest = Guest::start(&fixture, "10.88.0.2", &Nic::Stream(&socket));
    guest.wait_ready();
    let lease = lease_of(&mut guest);
    assert!(lease.contains("192.0.2.1 169.254.2.2 1500"), "{lease}");
    guest::wait_for(|| guest.run("ping -c 3 -W 10 192.0.2.2").contains(" 0% packet loss"));
    let data = folder.path("data");
    run(&format!("dd if=/dev/urandom of={} bs=1M count=1 status=none", data.display()));
    let _source = serve(&format!("-u FILE:{} TCP4-LISTEN:7000,reuseaddr", data.display()));
    guest.run("socat -u TCP4:192.0.2.2:7000,retry=50,interval=0.2 CREATE:/tmp/got");
    assert!(guest.run("sha256sum </tmp/got").starts_with(&sum_of(&data)));
    // It ends with the machine.
    drop(guest);
    guest::wait_for(|| !socket.exists());
}
