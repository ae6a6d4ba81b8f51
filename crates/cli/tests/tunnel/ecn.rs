//! Marks of a congested network reach the ends inside (RFC 6040).

use crate::world::{World, show, wait_for};

#[test]
fn marks_of_the_network_reach_the_ends() {
    for endpoint in ["192.0.2.2:51820", "[2001:db8::2]:51820"] {
        let world = World::new();
        let (a, b) = world.pair(endpoint, [("", ""), ("", "")]);
        let _tunnels = (world.up(&world.a, &a, ""), world.up(&world.b, &b, ""));
        let pings = |class: u8| world.a.succeeds(&format!("ping -n -c 1 -W 1 -Q {class} 10.9.0.2"));
        wait_for("they connect", || pings(0));
        world.b.run("nft add table inet t");
        world.b.run("nft add chain inet t c { type filter hook prerouting priority 0 ; }");
        world.b.run("nft add rule inet t c iifname tb ip dscp 46 ip ecn ect0 counter");
        world.b.run("nft add rule inet t c iifname tb ip dscp 46 ip ecn ce counter");
        let arrived = || {
            let rules = world.b.run("nft list chain inet t c");
            ["ect0", "ce"].map(|ecn| {
                let rule = rules.lines().find(|rule| rule.contains(&format!("ecn {ecn} ")));
                rule.is_some_and(|rule| !rule.contains("packets 0 "))
            })
        };
        wait_for("a packet arrives as it left", || pings(0xba) && arrived() == [true, false]);
        for family in ["ip", "ip6"] {
            world.b.run(&format!("nft add rule inet t c udp dport 51820 {family} ecn set ce"));
        }
        wait_for("a mark is passed on", || pings(0xba) && arrived() == [true, true]);
        wait_for("ends that would not understand it lose the packet", || {
            assert!(!pings(0xb8), "it arrived");
            show("tb")["peers"][0]["drops"].to_string().contains("congested")
        });
    }
}
