//! Queues against the real kernel: how many, attached and detached, deleted, in threads.

#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of #[test]")]

mod support;
mod traffic;

use adit_device::netlink::TunInfo;
use adit_device::{Create, Device, ErrorKind, Link, QUEUES_MAX, Queue};
use std::io::{Read, Write};
use std::net::UdpSocket;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;
use traffic::{
    Beside, HERE, SOON, THERE, drain, enter_quiet, errno, name, python, recv, tap, tun, udp, up,
};

fn counts(device: &Device) -> (Option<u32>, Option<u32>) {
    let TunInfo { queues, queues_disabled, .. } = device.info().unwrap().tun.unwrap();
    (queues, queues_disabled)
}

#[test]
fn a_device_has_256_queues_attached_and_detached_together() {
    enter_quiet();
    let mut device = tun("t0").queues(QUEUES_MAX).open().unwrap();
    let mut queues = device.take_queues();
    assert_eq!((queues.len(), counts(&device)), (256, (Some(256), Some(0))));
    let more = || tun("t0").multi_queue(true).create(Create::Attach).open();
    assert_eq!(more().unwrap_err().errno(), Some(libc::E2BIG));
    for queue in &queues[128..] {
        queue.detach().unwrap();
    }
    assert_eq!(counts(&device), (Some(128), Some(128)));
    assert_eq!(more().unwrap_err().errno(), Some(libc::E2BIG), "the detached count as well");
    queues.pop();
    assert_eq!(counts(&more().unwrap()), (Some(129), Some(127)));
    assert_eq!(queues.len(), 255);
    // More than the kernel takes cannot be asked for.
    assert_eq!(tun("t1").queues(u16::MAX).open().unwrap().queues().len(), 256);
}

#[test]
fn queues_fit_only_a_device_of_their_kind() {
    enter_quiet();
    let single = tun("t0").open().unwrap();
    let errno = |options: adit_device::DeviceOptions| {
        options.create(Create::Attach).open().unwrap_err().errno().unwrap()
    };
    assert_eq!(errno(tun("t0")), libc::EBUSY, "a single-queue device is taken");
    assert_eq!(errno(tun("t0").multi_queue(true)), libc::EINVAL);
    assert_eq!(errno(tap("t0")), libc::EINVAL);
    assert_eq!(errno(tun("lo")), libc::EINVAL);
    let queue = &single.queues()[0];
    assert_eq!(traffic::errno(queue.detach()), libc::EINVAL);
    assert_eq!(traffic::errno(queue.attach()), libc::EINVAL);
    let _multi = tun("t1").multi_queue(true).open().unwrap();
    assert_eq!(errno(tun("t1")), libc::EINVAL);
}

/// Prints the queue, as the kernel counts it, of each packet sent into a device: a fan-out group of
/// packet sockets distributes packets by queue (`PACKET_FANOUT_QM`: queue + 1).
const FAN_OUT: &str = r"
import select, socket, struct, sys
socks = []
for _ in range(8):
    s = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800))
    s.bind(('t0', 0x0800))
    s.setsockopt(263, 18, struct.pack('I', 77 | 5 << 16))
    socks.append(s)
print('ready', flush=True)
while True:
    for s in select.select(socks + [sys.stdin], [], [])[0]:
        if s is sys.stdin:
            sys.exit()
        s.recv(65535)
        print((socks.index(s) - 1) % 8, flush=True)
";

#[test]
fn the_index_of_each_queue_is_the_kernels() {
    enter_quiet();
    let mut device = up(tun("t0").queues(5)).open().unwrap();
    let mut queues = device.take_queues();
    let mut fan_out = Beside::start(FAN_OUT);
    let mut check = |queues: &[Queue], wanted: &[u16]| {
        let known: Vec<_> = queues.iter().filter_map(Queue::index).collect();
        assert_eq!(known, wanted);
        for queue in queues.iter().filter(|queue| queue.index().is_some()) {
            queue.send(&udp((THERE, 9), (HERE, 9), b"x", true)).unwrap();
            let seen: u16 = fan_out.line().parse().unwrap();
            assert_eq!(queue.index(), Some(seen));
        }
    };
    check(&queues, &[0, 1, 2, 3, 4]);
    queues[1].detach().unwrap();
    check(&queues, &[0, 2, 3, 1]);
    assert_eq!(queues[1].index(), None);
    queues[1].attach().unwrap();
    check(&queues, &[0, 4, 2, 3, 1]);
    // One that is closed leaves its place as one that is detached does.
    drop(queues.remove(2));
    check(&queues, &[0, 2, 3, 1]);
    // The device handle holds the first: nothing moves until it goes as well.
    drop(queues.remove(0));
    check(&queues, &[2, 3, 1]);
    drop(device);
    check(&queues, &[2, 0, 1]);
}

#[test]
fn the_index_is_known_where_nobody_else_has_a_queue() {
    enter_quiet();
    let device = tun("t0").queues(2).persist(true).open().unwrap();
    let attach = || tun("t0").queues(2).create(Create::Attach).open().unwrap();
    let indices = |device: &Device| device.queues().iter().map(Queue::index).collect::<Vec<_>>();
    assert_eq!(indices(&device), [Some(0), Some(1)]);
    assert_eq!(indices(&attach()), [None, None]);
    drop(device);
    assert_eq!(indices(&attach()), [Some(0), Some(1)]);
    let single = tun("t1").persist(true).open().unwrap();
    drop(single);
    let single = tun("t1").create(Create::Attach).open().unwrap();
    assert_eq!(indices(&single), [Some(0)]);
}

#[test]
fn a_detached_queue_still_sends_and_gets_nothing() {
    enter_quiet();
    let device = up(tun("t0").queues(2)).open().unwrap();
    let socket = UdpSocket::bind((HERE, 0)).unwrap();
    let port = socket.local_addr().unwrap().port();
    socket.set_read_timeout(Some(SOON)).unwrap();
    let [kept, detached] = device.queues() else { panic!("two queues") };

    assert!(!detached.is_detached().unwrap());
    detached.detach().unwrap();
    assert!(detached.is_detached().unwrap());
    assert_eq!(errno(detached.detach()), libc::EINVAL);
    assert_eq!(errno(kept.attach()), libc::EINVAL);

    detached.send(&udp((THERE, 7), (HERE, port), b"in", true)).unwrap();
    let mut buf = [0; 64];
    assert_eq!(socket.recv(&mut buf).unwrap(), 2);
    for _ in 0..20 {
        socket.send_to(b"out", (THERE, 7)).unwrap();
    }
    assert_eq!(drain(kept), 20);
    assert_eq!(errno(detached.recv(&mut buf)), libc::EAGAIN);
    let ready = detached.wait(true, Some(Duration::ZERO)).unwrap();
    assert!(ready.writable && !ready.readable && !ready.gone);

    detached.attach().unwrap();
    detached.send(&udp((THERE, 7), (HERE, port), b"in", true)).unwrap();
    socket.send_to(b"out", (THERE, 7)).unwrap();
    assert_eq!((drain(kept), drain(detached)), (0, 1));
}

#[test]
fn with_napi_a_detached_queue_is_busy() {
    enter_quiet();
    let device = up(tun("t0").queues(2).napi(true)).open().unwrap();
    let packet = udp((THERE, 7), (HERE, 9), b"in", true);
    let queue = &device.queues()[1];
    queue.send(&packet).unwrap();
    queue.detach().unwrap();
    let error = queue.send(&packet).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EBUSY));
    assert_eq!(ErrorKind::of_queue(&error), ErrorKind::Busy);
}

#[test]
fn a_flow_is_answered_on_the_queue_of_its_thread() {
    enter_quiet();
    let mut device = up(tun("t0").queues(4)).open().unwrap();
    let socket = UdpSocket::bind((HERE, 0)).unwrap();
    let port = socket.local_addr().unwrap().port();
    socket.set_read_timeout(Some(SOON)).unwrap();
    let echo = std::thread::spawn(move || {
        let mut buf = [0; 64];
        let mut answers = 0;
        while answers < 400 {
            let (len, from) = socket.recv_from(&mut buf).unwrap();
            if len > 0 {
                socket.send_to(&buf[..len], from).unwrap();
                answers += 1;
            }
        }
    });
    let threads: Vec<_> = (0_u16..)
        .zip(device.take_queues())
        .map(|(number, queue)| {
            std::thread::spawn(move || {
                // The kernel notes the queue of a flow after it has delivered the packet, so the
                // answer to the first could come before that.
                queue.send(&udp((THERE, 7000 + number), (HERE, port), &[], true)).unwrap();
                for turn in 0..100_u8 {
                    let packet = udp((THERE, 7000 + number), (HERE, port), &[turn], true);
                    queue.send(&packet).unwrap();
                    let answer = recv(&queue);
                    assert_eq!(answer[22..24], (7000 + number).to_be_bytes());
                    assert_eq!(answer[28..], [turn]);
                }
                // To close it here would give its index, and an answer under way, to another.
                queue
            })
        })
        .collect();
    let queues: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    assert!(queues.iter().all(|queue| drain(queue) == 0));
    echo.join().unwrap();
}

#[test]
fn a_waiting_read_of_a_deleted_device_ends_once_with_efault() {
    enter_quiet();
    let mut device = tun("t0").nonblocking(false).up(true).open().unwrap();
    let queue = device.take_queues().remove(0);
    let (tell, told) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        tell.send(rustix::thread::gettid()).unwrap();
        let first = queue.recv(&mut [0; 64]);
        (first, queue)
    });
    let task = format!("/proc/self/task/{}/syscall", told.recv().unwrap().as_raw_nonzero());
    // Call number 0 is read(2).
    traffic::until("the reader waits", || {
        std::fs::read_to_string(&task).unwrap().starts_with("0 ")
    });
    support::run("ip link del t0");
    let (first, queue) = reader.join().unwrap();
    let first = first.unwrap_err();
    assert_eq!(first.raw_os_error(), Some(libc::EFAULT));
    assert_eq!(ErrorKind::of_queue(&first), ErrorKind::DeviceGone);
    let mut buf = [0; 64];
    for error in [queue.recv(&mut buf), queue.recv(&mut buf), queue.send(&buf)] {
        let error = error.unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EBADFD));
        assert_eq!(ErrorKind::of_queue(&error), ErrorKind::DeviceGone);
    }
    assert_eq!(errno(queue.is_detached()), libc::EBADFD);
    assert_eq!(device.set_persist(true).unwrap_err().errno(), Some(libc::EBADFD));
    assert_eq!(device.info().unwrap_err().errno(), Some(libc::ENODEV));
}

#[test]
fn the_poll_of_a_deleted_device_says_so_for_ever() {
    enter_quiet();
    let device = tun("t0").queues(2).up(true).open().unwrap();
    device.queues()[1].detach().unwrap();
    support::run("ip link del t0");
    for queue in device.queues() {
        for _ in 0..3 {
            let ready = queue.wait(true, Some(SOON)).unwrap();
            assert!(ready.gone && !ready.readable && !ready.writable, "{ready:?}");
        }
        assert_eq!(errno(queue.recv(&mut [0; 64])), libc::EBADFD);
    }
}

#[test]
fn a_bare_descriptor_outlives_its_device_and_takes_another() {
    enter_quiet();
    python(
        "
fd = tun()
for call in (lambda: os.read(fd, 64), lambda: os.write(fd, b'E'), lambda: getiff(fd),
             lambda: value(fd, 203, 1)):
    fails(E.EBADFD, call)
p = select.poll(); p.register(fd, select.POLLIN | select.POLLOUT)
assert p.poll(0) == [(fd, select.POLLERR)], p.poll(0)
setiff(fd, 't0', TUN | NO_PI)
fails(E.EEXIST, setiff, fd, 't0', TUN | NO_PI)
os.system('ip link del t0')
assert p.poll(0) == [(fd, select.POLLERR)]
fails(E.EBADFD, os.read, fd, 64)
assert setiff(fd, 't1', TAP | NO_PI)[0] == 't1'
fails(E.EAGAIN, os.read, fd, 64)
",
    );
}

#[test]
fn closing_under_a_waiting_read_neither_ends_it_nor_the_device() {
    enter_quiet();
    // A `Queue` cannot be dropped while it is borrowed by a reader; a descriptor can be closed.
    python(
        "
fd = os.open('/dev/net/tun', os.O_RDWR)
setiff(fd, 't0', TUN | NO_PI)
os.system('ip addr add 192.0.2.1/24 dev t0; ip link set t0 up')
got = []
reader = threading.Thread(target=lambda: got.append(os.read(fd, 2048)), daemon=True)
reader.start()
task = '/proc/self/task/%d/syscall' % reader.native_id
while not open(task).read().startswith('0 '): time.sleep(0.01)
os.close(fd)
reader.join(0.3)
assert reader.is_alive() and exists('t0')
udp(b'wake')
reader.join(60)
assert got[0].endswith(b'wake'), got
for _ in range(6000):
    if not exists('t0'): break
    time.sleep(0.01)
assert not exists('t0')
",
    );
}

#[test]
fn a_packet_wakes_every_reader_that_waits_and_one_gets_it() {
    enter_quiet();
    python(
        "
fd = os.open('/dev/net/tun', os.O_RDWR)
setiff(fd, 't0', TUN | NO_PI)
os.system('ip addr add 192.0.2.1/24 dev t0; ip link set t0 up')
got = []
def read():
    while True:
        got.append(os.read(fd, 2048))
readers = [threading.Thread(target=read, daemon=True) for _ in range(4)]
for r in readers: r.start()
def waits(r):
    return open('/proc/self/task/%d/syscall' % r.native_id).read().startswith('0 ')
def switches(r):
    lines = open('/proc/self/task/%d/status' % r.native_id).read().split('\\n')
    return int([l for l in lines if l.startswith('voluntary')][0].split()[1])
while not all(map(waits, readers)): time.sleep(0.01)
before = [switches(r) for r in readers]
for n in range(20):
    udp(b'x')
    while len(got) <= n or not all(map(waits, readers)): time.sleep(0.005)
woken = [switches(r) - b for r, b in zip(readers, before)]
assert len(got) == 20 and min(woken) >= 10, woken
",
    );
}

#[test]
fn a_queue_is_a_reader_a_writer_and_a_descriptor() {
    enter_quiet();
    let mut device = up(tun("t0")).open().unwrap();
    let socket = UdpSocket::bind((HERE, 0)).unwrap();
    let port = socket.local_addr().unwrap().port();
    let queue = device.take_queues().remove(0);

    let mut writer = &queue;
    writer.write_all(&udp((THERE, 7), (HERE, port), b"hello", true)).unwrap();
    writer.flush().unwrap();
    let packet = udp((THERE, 7), (HERE, port), b"parts", true);
    let (head, tail) = packet.split_at(23);
    let parts = [std::io::IoSlice::new(head), std::io::IoSlice::new(tail)];
    assert_eq!(writer.write_vectored(&parts).unwrap(), packet.len());
    let mut buf = [0; 64];
    socket.set_read_timeout(Some(SOON)).unwrap();
    assert_eq!(socket.recv(&mut buf).unwrap(), 5);
    assert_eq!((socket.recv(&mut buf).unwrap(), &buf[..5]), (5, &b"parts"[..]));

    socket.send_to(b"reply", (THERE, 7)).unwrap();
    socket.send_to(b"reply", (THERE, 7)).unwrap();
    let mut reader = &queue;
    assert_eq!(reader.read(&mut buf).unwrap(), 33);
    let (mut head, mut tail) = ([0; 20], [0; 64]);
    let mut parts = [std::io::IoSliceMut::new(&mut head), std::io::IoSliceMut::new(&mut tail)];
    assert_eq!(reader.read_vectored(&mut parts).unwrap(), 33);
    assert_eq!((head[0], &tail[8..13]), (0x45, &b"reply"[..]));

    let flags = rustix::fs::fcntl_getfl(queue.as_fd()).unwrap();
    assert!(flags.contains(rustix::fs::OFlags::NONBLOCK));
    drop(device);
    let fd = OwnedFd::from(queue);
    assert!(Link::find(&name("t0")).is_ok(), "the descriptor holds the device");
    socket.send_to(b"reply", (THERE, 7)).unwrap();
    assert_eq!(rustix::io::read(&fd, &mut buf).unwrap(), 33);
    drop(fd);
    assert!(Link::find(&name("t0")).is_err());
}

#[test]
fn blocking_can_be_switched_while_open() {
    enter_quiet();
    let device = up(tun("t0").nonblocking(false)).open().unwrap();
    let queue = &device.queues()[0];
    queue.set_nonblocking(true).unwrap();
    assert_eq!(errno(queue.recv(&mut [0; 64])), libc::EAGAIN);
    queue.set_nonblocking(false).unwrap();
    let waited = queue.wait(false, Some(Duration::from_millis(1))).unwrap();
    assert!(!waited.readable);
    let socket = UdpSocket::bind((HERE, 0)).unwrap();
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| queue.recv(&mut [0; 64]).unwrap());
        socket.send_to(b"four", (THERE, 7)).unwrap();
        assert_eq!(reader.join().unwrap(), 32);
    });
}
