//! What a default route needs of the packet filter.

use crate::support::adit;
use crate::world::{World, wait_for};

const DEFAULT: &str = "AllowedIPs = 0.0.0.0/0, ::/0";

/// Hosts on the network reach the tunnel's own addresses through the tunnel only; all is taken back
/// at the end, and at the next start after a kill.
#[test]
fn nobody_reaches_the_tunnels_address_past_the_tunnel() {
    let world = World::new();
    let tables = || world.a.run("nft list tables");
    let valid_mark = || world.a.run("cat /proc/sys/net/ipv4/conf/all/src_valid_mark");
    let (a, b) = world.pair("192.0.2.2:51820", [("", DEFAULT), ("Table = off", DEFAULT)]);
    let before = world.a.state();
    // The strict check of sources, under which an answer needs its mark.
    for name in ["all", "ua"] {
        world.a.run(&format!("sysctl -q -w net.ipv4.conf.{name}.rp_filter=1"));
    }
    for (family, address, via) in
        [("-4", "10.9.0.1", "192.0.2.1"), ("-6", "fd00:9::1", "2001:db8::1")]
    {
        world.b.run(&format!("ip {family} route add {address} via {via}"));
    }
    let past = || {
        ["10.9.0.1", "fd00:9::1"]
            .map(|address| world.b.succeeds(&format!("ping -n -c 2 -i 0.2 -W 1 {address}")))
    };
    let plain = std::fs::read_to_string(&a).unwrap();
    world.write("ta.conf", &plain.replace(DEFAULT, ""));
    let ta = world.up(&world.a, &a, "");
    wait_for("without a default route, as is usual", || past() == [true, true]);
    assert_eq!(tables(), "");
    world.write("ta.conf", &plain);
    adit("tunnel reload ta");
    assert_eq!(past(), [false, false]);
    assert_eq!((tables().lines().count(), valid_mark().trim()), (2, "1"));
    ta.kill();
    assert_eq!(tables().lines().count(), 2, "a kill leaves them");
    // At the next start the setting is as it was found.
    world.a.run("sysctl -q -w net.ipv4.conf.all.src_valid_mark=0");

    // Through the tunnel, all goes.
    let ta = world.up(&world.a, &a, "");
    world.b.run("ip route del 10.9.0.1 via 192.0.2.1");
    let _tb = world.up(&world.b, &b, "");
    wait_for("a ping is answered", || world.a.succeeds("ping -n -c 1 -W 1 10.9.0.2"));
    wait_for("and one back", || world.b.succeeds("ping -n -c 1 -W 1 10.9.0.1"));
    let rehearsal = adit(&format!("-n {} --dry-run tunnel up {}", world.a.path(), a.display()));
    assert!(rehearsal.contains("ip daddr 10.9.0.1 fib saddr type != local drop"), "{rehearsal}");
    world.write("ta.conf", &plain.replace(", ::/0", ""));
    adit("tunnel reload ta");
    assert_eq!(tables().trim(), "table ip adit-ta");
    adit("tunnel down ta");
    drop(ta);
    assert_eq!((tables().as_str(), valid_mark().trim()), ("", "0"));
    assert_eq!(world.a.state(), before, "nothing is left");
}
