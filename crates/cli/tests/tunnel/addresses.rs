//! A server with several addresses.

use crate::support::run;
use crate::world::{World, show, wait_for};

/// It answers from the address that it was written to, whichever the kernel would take.
#[test]
fn a_server_answers_from_the_address_that_was_written_to() {
    let world = World::new();
    for address in ["192.0.2.77/24", "2001:db8::77/64 nodad"] {
        world.b.run(&format!("ip addr add {address} dev ub"));
    }
    let (a, b) = world.pair("192.0.2.77:51820", [("", ""), ("", "")]);
    let _tunnels = (world.up(&world.a, &a, ""), world.up(&world.b, &b, ""));
    let peer = run("wg show tb public-key");
    for endpoint in ["192.0.2.77", "192.0.2.2", "[2001:db8::77]", "[2001:db8::2]"] {
        let endpoint = format!("{endpoint}:51820");
        run(&format!("wg set ta peer {} endpoint {endpoint}", peer.trim()));
        wait_for("a ping is answered", || world.a.succeeds("ping -n -c 1 -W 1 10.9.0.2"));
        world.a.run("ping -n -c 20 -i 0.02 -s 1300 -W 10 10.9.0.2");
        // A peer that is answered from another address roams to it.
        assert_eq!(show("ta")["peers"][0]["endpoint"], endpoint);
    }
    assert_eq!(show("tb")["datagrams"]["cut_trains"], 0);
}
