//! TUN and TAP devices.

use super::support::{Host, Loop, echo, enter, transfer, v4};

/// Two hosts with a TAP each, `t0`, whose queues are ports of one loop.
fn two_taps() -> (Loop, Host, Host) {
    let (a, b) = (Host::new(), Host::new());
    let specs = [&a, &b].map(|host| format!("tap:t0,netns={}", host.path()));
    let running = Loop::start(&[&specs[0], &specs[1]]);
    a.address("t0", 1);
    b.address("t0", 2);
    (running, a, b)
}

#[test]
fn two_taps_make_a_wire() {
    enter();
    let (running, a, b) = two_taps();
    echo(&a, &b, v4(2), 100);
    echo(&b, &a, v4(1), 1472);
    echo(&a, &b, v4(2), 20_000);
    echo(&a, &b, "2001:db8::2".parse().unwrap(), 100);
    transfer(&a, &b, v4(2), 8 << 20);
    transfer(&b, &a, "2001:db8::1".parse().unwrap(), 8 << 20);
    let counters = running.counters(0);
    assert_eq!((counters.dropped_in(), counters.dropped_out()), (0, 0), "{counters:?}");
    let mean = counters.received_bytes / counters.received;
    assert!(mean > 3000, "super-packets stay whole: {counters:?}");
}

#[test]
fn a_device_that_is_deleted_is_one_event() {
    enter();
    let (mut running, a, b) = two_taps();
    echo(&a, &b, v4(2), 100);
    a.ip("link del t0");
    assert_eq!(running.wait_for("gone 0"), "gone 0: it was deleted");
    // The rest goes on.
    let c = Host::new();
    running.open(&format!("tap:t%d,netns={}", c.path()));
    c.address("t0", 3);
    echo(&c, &b, v4(2), 100);
    assert_eq!(running.count("gone"), 0);
}

#[test]
fn a_persistent_tap_comes_back_and_another_vanishes() {
    enter();
    super::support::ip("tuntap add p0 mode tap");
    let (a, b) = (Host::new(), Host::new());
    let other = format!("tap:t0,netns={}", b.path());
    for _ in 0..2 {
        let running = Loop::start(&["tap:p0", "tap:gone0", &other]);
        b.address("t0", 2);
        let port = running.with(|runner, _| {
            let (port, _) = runner.port(adit_engine::PortId(0)).unwrap();
            (port.name().to_owned(), port.mtu())
        });
        assert_eq!(port, ("tap:p0".to_owned(), Some(1500)));
        drop(running);
        assert!(adit::Link::find(&"p0".parse().unwrap()).is_ok());
        assert!(adit::Link::find(&"gone0".parse().unwrap()).is_err());
    }
    drop(a);
}
