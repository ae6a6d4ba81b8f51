//! What a device goes through while it is open, against the real kernel: down, without carrier,
//! full, moved, renamed, left behind.

#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of #[test]")]

mod support;
mod traffic;

use adit_device::netlink::{LinkFlags, Netlink, OperState};
use adit_device::{Create, Device, ErrorKind, Link, Netns, Queue};
use std::net::UdpSocket;
use std::time::Duration;
use traffic::{
    HERE, SOON, THERE, drain, enter_quiet, errno, name, python, quiet, recv, tap, tun, udp, until,
    up,
};

fn only(device: &Device) -> &Queue {
    let [queue] = device.queues() else { panic!("one queue") };
    queue
}

fn socket() -> (UdpSocket, u16) {
    let socket = UdpSocket::bind((HERE, 0)).unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    let port = socket.local_addr().unwrap().port();
    (socket, port)
}

fn flags(device: &Device) -> LinkFlags {
    device.info().unwrap().flags
}

#[test]
fn a_link_that_is_down_refuses_packets_and_gives_those_it_has() {
    enter_quiet();
    let device = up(tun("t0")).open().unwrap();
    let (socket, port) = socket();
    let queue = only(&device);
    for _ in 0..3 {
        socket.send_to(b"before", (THERE, 9)).unwrap();
    }
    device.set_up(false).unwrap();
    let packet = udp((THERE, 9), (HERE, port), b"in", true);
    let error = queue.send(&packet).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EIO));
    assert_eq!(ErrorKind::of_queue(&error), ErrorKind::LinkDown);
    let ready = queue.wait(true, Some(Duration::ZERO)).unwrap();
    assert!(ready.readable && !ready.writable && !ready.gone, "{ready:?}");
    assert_eq!(drain(queue), 3);
    assert_eq!(errno(queue.recv(&mut [0; 64])), libc::EAGAIN);

    device.set_up(true).unwrap();
    assert!(queue.wait(true, Some(Duration::ZERO)).unwrap().writable);
    queue.send(&packet).unwrap();
    assert_eq!(socket.recv(&mut [0; 64]).unwrap(), 2);
    socket.send_to(b"after", (THERE, 9)).unwrap();
    assert_eq!(recv(queue).len(), 33);
}

#[test]
fn a_wait_to_send_ends_when_the_link_comes_up() {
    enter_quiet();
    python(
        "
fd = made('t0', TUN | NO_PI)
ep = select.epoll()
ep.register(fd, select.EPOLLIN | select.EPOLLOUT | select.EPOLLET)
assert ep.poll(0) == [], 'down: neither readable nor writable'
os.system('ip link set t0 up')
assert ep.poll(10) == [(fd, select.EPOLLOUT)]
",
    );
}

#[test]
fn without_a_carrier_the_kernel_sends_nothing_and_takes_everything() {
    enter_quiet();
    let device = up(tun("t0").carrier(false)).open().unwrap();
    let (socket, port) = socket();
    let queue = only(&device);
    let check = |carrier: bool| {
        until("the carrier is seen", || flags(&device).contains(LinkFlags::LOWER_UP) == carrier);
        let seen = device.info().unwrap();
        assert_eq!(seen.carrier, carrier);
        let down = || device.info().unwrap().operstate == OperState::Down;
        until("the state follows", || down() != carrier);
        for _ in 0..100 {
            // It says so of some packets only.
            let _ = socket.send_to(b"out", (THERE, 9));
        }
        assert_eq!(drain(queue), if carrier { 100 } else { 0 });
        for _ in 0..100 {
            queue.send(&udp((THERE, 9), (HERE, port), b"in", true)).unwrap();
        }
        let mut buf = [0; 64];
        for _ in 0..100 {
            assert_eq!(socket.recv(&mut buf).unwrap(), 2);
        }
    };
    check(false);
    device.set_carrier(true).unwrap();
    check(true);
    device.set_carrier(false).unwrap();
    check(false);
    // It can be given while the link is down, and by netlink.
    device.set_up(false).unwrap();
    device.set_carrier(true).unwrap();
    device.set_up(true).unwrap();
    check(true);
    support::run("ip link set t0 carrier off");
    check(false);
}

#[test]
fn packets_beyond_the_queue_are_dropped() {
    enter_quiet();
    let device = up(tun("t0")).open().unwrap();
    let (socket, _) = socket();
    let fill = || {
        for _ in 0..600 {
            // No room is ENOBUFS to a sender, at times.
            let _ = socket.send_to(b"x", (THERE, 9));
        }
    };
    let dropped = || device.info().unwrap().stats.tx_dropped;
    assert_eq!(device.info().unwrap().txqueuelen, 500);
    fill();
    assert_eq!((drain(only(&device)), dropped()), (500, 100));
    device.set_txqueuelen(550).unwrap();
    fill();
    assert_eq!((drain(only(&device)), dropped()), (550, 150));
    // With packets in it, too.
    fill();
    device.set_txqueuelen(2000).unwrap();
    fill();
    assert_eq!(drain(only(&device)), 1150);
    device.set_txqueuelen(0).unwrap();
    let before = dropped();
    fill();
    assert_eq!((drain(only(&device)), dropped() - before), (0, 600));
    device.set_txqueuelen(524_288).unwrap();
    let error = device.set_txqueuelen(524_289).unwrap_err();
    assert_eq!(error.errno(), Some(libc::EPERM), "{error}");
    assert_eq!(device.info().unwrap().txqueuelen, 524_288);
}

#[test]
fn the_mtu_has_limits() {
    enter_quiet();
    for (options, max) in [(tun("t0"), 65_535), (tap("t0"), 65_521)] {
        let device = options.open().unwrap();
        let info = device.info().unwrap();
        assert_eq!((info.mtu, info.min_mtu, info.max_mtu), (1500, 68, max));
        for mtu in [68, max] {
            device.set_mtu(mtu).unwrap();
            assert_eq!(device.info().unwrap().mtu, mtu);
        }
        for mtu in [0, 67, max + 1] {
            assert_eq!(device.set_mtu(mtu).unwrap_err().errno(), Some(libc::EINVAL), "{mtu}");
        }
    }
}

#[test]
fn a_queue_goes_on_after_a_move() {
    enter_quiet();
    let here = Netns::current().unwrap();
    let there = Netns::new_anonymous().unwrap();
    there.run(quiet).unwrap();
    let device = up(tun("t0")).open().unwrap();
    let queue = only(&device);
    let (socket, port) = socket();
    socket.send_to(b"before", (THERE, 9)).unwrap();
    device.move_to(&there).unwrap();

    assert_eq!(errno(queue.send(&udp((THERE, 9), (HERE, port), b"in", true))), libc::EIO);
    assert_eq!(recv(queue).len(), 34, "what waited can still be read");
    assert_eq!(device.queue_name().unwrap(), name("t0"));
    assert!(Link::find(&name("t0")).is_err(), "no longer by name here");
    let netns = device.netns().unwrap();
    assert!(netns.is_same(&there).unwrap() && !netns.is_same(&here).unwrap());
    let second = tun("t0").open().unwrap();
    assert!(second.created(), "the name is free here again");

    assert!(device.addresses().unwrap().is_empty());
    device
        .add_address(&adit_device::netlink::Address::new("192.0.2.1/24".parse().unwrap()))
        .unwrap();
    device.set_up(true).unwrap();
    let socket = there.run(|| UdpSocket::bind((HERE, 0)).unwrap()).unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    let port = socket.local_addr().unwrap().port();
    queue.send(&udp((THERE, 9), (HERE, port), b"in", true)).unwrap();
    assert_eq!(socket.recv(&mut [0; 64]).unwrap(), 2);
    socket.send_to(b"after", (THERE, 9)).unwrap();
    assert_eq!(recv(queue).len(), 33);
}

#[test]
fn a_device_goes_with_the_namespace_that_it_was_moved_to() {
    enter_quiet();
    let there = Netns::new_anonymous().unwrap();
    let mut device = up(tun("t0")).open().unwrap();
    let queue = device.take_queues().remove(0);
    device.move_to(&there).unwrap();
    drop((device, there));
    // A descriptor opened here does not hold the namespace there.
    until("the device goes", || queue.wait(false, Some(Duration::ZERO)).unwrap().gone);
    // While the namespace dies, poll says so before read does.
    queue.set_nonblocking(true).unwrap();
    until("reads end", || errno(queue.recv(&mut [0; 64])) == libc::EBADFD);
}

#[test]
fn an_open_queue_holds_the_namespace_in_which_it_was_opened() {
    enter_quiet();
    let there = Netns::new_anonymous().unwrap();
    let inode = there.inode().unwrap();
    let mut device = tun("t0").netns(there).open().unwrap();
    let queues = device.take_queues();
    device.set_up(true).unwrap();
    queues[0].send(&udp((THERE, 9), (HERE, 9), b"in", true)).unwrap();
    let again = device.netns().unwrap();
    assert_eq!(again.inode().unwrap(), inode);
    let seen = again.run(|| Link::find(&name("t0")).unwrap().info().unwrap()).unwrap();
    assert_eq!(seen.stats.rx_packets, 1);
}

#[test]
fn a_namespace_with_a_name_is_held_after_its_name_is_gone() {
    enter_quiet();
    support::run("ip netns add blue");
    let device = tun("t0").netns(Netns::named("blue").unwrap()).up(true).open().unwrap();
    support::run("ip netns del blue");
    assert!(Netns::named("blue").is_err());
    only(&device).send(&udp((THERE, 9), (HERE, 9), b"in", true)).unwrap();
    assert_eq!(device.info().unwrap().stats.rx_packets, 1);
}

#[test]
fn the_device_is_made_where_the_node_was_opened() {
    enter_quiet();
    python(
        "
fd = tun()
SIOCGSKNS = 0x894c
libc = __import__('ctypes').CDLL(None, use_errno=True)
assert libc.unshare(0x40000000) == 0
setiff(fd, 't0', TUN | NO_PI)
assert not exists('t0')
here = os.stat('/proc/self/ns/net').st_ino
device = fcntl.ioctl(fd, 0x54e3)
opened = fcntl.ioctl(fd, SIOCGSKNS)
assert os.fstat(device).st_ino == os.fstat(opened).st_ino != here
# The device moves, the place of the open does not.
assert libc.setns(device, 0) == 0
sleeper = subprocess.Popen(['unshare', '-n', 'sleep', '60'])
there = ours = os.stat('/proc/self/ns/net').st_ino
while there == ours:
    there = os.stat('/proc/%d/ns/net' % sleeper.pid).st_ino
os.system('ip link set t0 netns %d' % sleeper.pid)
now = fcntl.ioctl(fd, 0x54e3)
assert os.fstat(now).st_ino == there
assert os.fstat(fcntl.ioctl(fd, SIOCGSKNS)).st_ino == os.fstat(opened).st_ino != there
sleeper.kill()
",
    );
}

#[test]
fn persistence_outlives_the_queue_and_the_carrier_does_not() {
    enter_quiet();
    let device = up(tun("t0").persist(true)).open().unwrap();
    assert!(device.info().unwrap().tun.unwrap().persist);
    drop(device);
    let link = Link::find(&name("t0")).unwrap();
    until("the carrier goes", || !link.info().unwrap().carrier);
    assert!(link.info().unwrap().flags.contains(LinkFlags::UP));
    assert_eq!(link.addresses().unwrap().len(), 1, "what was set stays");

    let device = tun("t0").create(Create::Attach).open().unwrap();
    until("the carrier comes back", || device.info().unwrap().carrier);
    let (socket, _) = socket();
    socket.send_to(b"again", (THERE, 9)).unwrap();
    assert_eq!(recv(only(&device)).len(), 33);
    device.set_persist(false).unwrap();
    assert!(!device.info().unwrap().tun.unwrap().persist);
    device.set_persist(false).unwrap();
    drop(device);
    assert!(Link::find(&name("t0")).is_err());
}

#[test]
fn a_device_is_found_by_its_other_name_and_after_a_rename() {
    enter_quiet();
    let other = "a-name-longer-than-15-bytes";
    let device = up(tun("t0").persist(true)).open().unwrap();
    let index = device.index().unwrap();
    let mut netlink = Netlink::open().unwrap();
    netlink.add_altname(index, other).unwrap();
    netlink.add_altname(index, "alt0").unwrap();
    device.set_name(name("t7")).unwrap();
    assert_eq!((device.queue_name().unwrap(), device.index().unwrap()), (name("t7"), index));
    assert_eq!(netlink.link_by_altname(other).unwrap().index, index);
    let fdinfo = format!("/proc/self/fdinfo/{}", std::os::fd::AsRawFd::as_raw_fd(only(&device)));
    assert!(std::fs::read_to_string(fdinfo).unwrap().contains("iff:\tt7"));
    let (socket, _) = socket();
    socket.send_to(b"x", (THERE, 9)).unwrap();
    assert_eq!(recv(only(&device)).len(), 29);
    drop(device);

    let again = tun("alt0").create(Create::Attach).open().unwrap();
    assert!(!again.created());
    assert_eq!((again.name().unwrap(), again.index().unwrap()), (name("t7"), index));
    let error = tun("alt0").open().unwrap_err();
    assert_eq!(error.errno(), Some(libc::EBUSY), "an other name is taken as well");
}

#[test]
fn changes_are_reported_only_while_the_link_is_up() {
    enter_quiet();
    let device = tun("t0").open().unwrap();
    let mut monitor = adit_device::netlink::Monitor::open().unwrap();
    let mut told = |what: &str| {
        let mut count = 0;
        while monitor.recv(Some(Duration::from_millis(50))).unwrap().is_some() {
            count += 1;
        }
        (what.to_owned(), count > 0)
    };
    device.set_persist(true).unwrap();
    device.set_owner(0).unwrap();
    assert_eq!(told("down"), ("down".into(), false));
    device.set_up(true).unwrap();
    assert_eq!(told("up"), ("up".into(), true));
    device.set_persist(false).unwrap();
    assert_eq!(told("persist"), ("persist".into(), true));
    device.set_owner(0).unwrap();
    assert_eq!(told("owner"), ("owner".into(), true));
}

#[test]
fn an_idle_device_is_quiet_without_an_address_of_ipv6() {
    support::enter();
    let heard = |mode: Option<&str>| {
        let device = tun("t0").open().unwrap();
        if let Some(mode) = mode {
            support::run(&format!("ip link set t0 addrgenmode {mode}"));
        }
        device.set_up(true).unwrap();
        let ready = only(&device).wait(false, Some(Duration::from_secs(3))).unwrap();
        if ready.readable {
            std::thread::sleep(Duration::from_secs(3));
        }
        drain(only(&device))
    };
    let (noisy, quiet) = (heard(None), heard(Some("none")));
    assert!(noisy > quiet && quiet <= 1, "{noisy} packets, {quiet} without");
}
