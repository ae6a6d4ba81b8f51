//! The flags and numbers of a bare descriptor, and what the library makes of them.

mod support;
mod traffic;

use adit_device::{Create, IfIndex, NamePattern, VnetFormat, VnetLen};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use traffic::{enter_quiet, name, python, tap, tun};

#[test]
fn the_type_is_one_of_two() {
    // `Mode` has two values: neither and both cannot be asked for.
    enter_quiet();
    python(
        "
fails(E.EINVAL, setiff, tun(), 'n0', NO_PI)
fd = made('b0', TUN | TAP | NO_PI)
assert getiff(fd)[1] & 3 == TUN, 'both are TUN'
",
    );
    for (options, mode) in
        [(tun("t0"), adit_device::Mode::Tun), (tap("t1"), adit_device::Mode::Tap)]
    {
        let device = options.open().unwrap();
        assert_eq!((device.mode(), device.info().unwrap().tun.unwrap().mode), (mode, mode));
    }
}

#[test]
fn names_are_bytes_and_templates() {
    enter_quiet();
    let latin1 = NamePattern::new(OsStr::from_bytes(b"a\xe9")).unwrap();
    let device = tun("x").name(latin1).open().unwrap();
    assert_eq!(device.name().unwrap().as_bytes(), b"a\xe9");
    let number = tun("x").name("%d".parse().unwrap()).open().unwrap();
    assert_eq!(number.name().unwrap(), name("0"));
    let fifteen = tun("abcdefghijklmno").open().unwrap();
    assert_eq!(fifteen.name().unwrap().as_bytes().len(), 15);
    // What the kernel refuses, or cuts off, never gets to it.
    let bad = ["x%s", "%d%d", "a/b", ".", "..", "a:b", "a b"];
    for bad in bad.into_iter().chain(["abcdefghijklmnop"]) {
        assert!(NamePattern::new(bad).is_err(), "{bad}");
    }
    python(
        "
for bad in ('x%s', '%d%d', 'a/b', '.', '..', 'a:b', 'a b'):
    fails(E.EINVAL, setiff, tun(), bad, TUN | NO_PI)
fd = tun()
assert setiff(fd, 'abcdefghijklmnpq', TUN | NO_PI)[0] == 'abcdefghijklmnp', 'cut off'
a, b = tun(), tun()
assert (setiff(a, '', TUN)[0], setiff(b, '', TAP)[0]) == ('tun0', 'tap0')
",
    );
}

#[test]
fn unknown_flags_are_taken_without_a_word_so_features_are_asked_for() {
    enter_quiet();
    python(
        "
fd = tun()
features = struct.unpack('I', fcntl.ioctl(fd, 0x800454cf, bytes(4)))[0]
assert features & 0x7173 == 0x7173 and not features & (EXCL | 0x04 | 0x08), hex(features)
for n, bit in enumerate((0x04, 0x08, 0x80)):
    setiff(tun(), 'u%d' % n, TUN | NO_PI | bit)
fd = made('o0', TUN | NO_PI | ONE_QUEUE)
assert getiff(fd)[1] & ONE_QUEUE, 'kept, without effect'
fd = made('p0', TUN | NO_PI | PERSIST)
assert not getiff(fd)[1] & PERSIST
value(fd, 203, 1)
assert getiff(fd)[1] & PERSIST
value(fd, 203, 0)
",
    );
    // Each of these is in TUNGETFEATURES here; where one is not, `open` says so.
    let all = tap("t0").packet_info(true).vnet_hdr(VnetFormat::default()).napi(true);
    let device = all.multi_queue(true).carrier(false).open().unwrap();
    let info = device.info().unwrap();
    let seen = info.tun.unwrap();
    assert!(seen.pi && seen.vnet_hdr && seen.multi_queue && !info.carrier);
}

#[test]
fn packet_information_cannot_be_seen_by_the_descriptor() {
    enter_quiet();
    python(
        "
fd = made('t0', TUN)
assert getiff(fd)[1] & NO_PI, 'the bit means: no filter'
import json, subprocess
seen = json.loads(subprocess.check_output(['ip', '-d', '-j', 'link', 'show', 't0']))
assert seen[0]['linkinfo']['info_data']['pi'] is True
fd = made('t1', TAP)
prog = struct.pack('HBBI', 6, 0, 0, 65535)
import ctypes
buf = ctypes.create_string_buffer(prog)
fcntl.ioctl(fd, 0x401054d5, struct.pack('H6xQ', 1, ctypes.addressof(buf)))
assert not getiff(fd)[1] & NO_PI
fails(E.EINVAL, fcntl.ioctl, made('t2', TUN), 0x401054d5, struct.pack('H6xQ', 1, ctypes.addressof(buf)))
",
    );
}

#[test]
fn napi_fragments_need_napi_a_tap_and_the_first_user_namespace() {
    enter_quiet();
    let refused =
        |options: adit_device::DeviceOptions| options.open().unwrap_err().errno().unwrap();
    // The library turns NAPI on with it, without which the kernel refuses as well.
    python("fails(E.EPERM, setiff, tun(), 't0', TAP | NO_PI | FRAGS)");
    assert!(adit_device::Link::find(&name("t0")).is_err());
    assert_eq!(refused(tap("t0").napi_frags(true)), libc::EPERM);
}

#[test]
#[ignore = "needs the initial user namespace"]
fn root_napi_fragments_are_parts_of_a_vectored_write() {
    enter_quiet();
    assert_eq!(tun("t0").napi_frags(true).open().unwrap_err().errno(), Some(libc::EINVAL));
    python("fails(E.EINVAL, setiff, tun(), 't0', TAP | NO_PI | FRAGS)");
    let device = tap("t0").napi_frags(true).up(true).open().unwrap();
    let queue = &device.queues()[0];
    let frame = [[0xff; 12].to_vec(), vec![0x88, 0xb5], vec![7; 4000]].concat();
    let parts: Vec<_> = frame.chunks(300).map(std::io::IoSlice::new).collect();
    assert_eq!(queue.send_vectored(&parts).unwrap(), frame.len());
    // At most 17 fragments behind the header, none longer than a page.
    let many: Vec<_> = frame.chunks(100).map(std::io::IoSlice::new).collect();
    assert!(queue.send_vectored(&many).is_err(), "{} parts", many.len());
    let long = [0xff; 9000];
    let long = [std::io::IoSlice::new(&long[..200]), std::io::IoSlice::new(&long[200..])];
    assert!(queue.send_vectored(&long).is_err());
}

#[test]
fn an_attach_overwrites_the_flags_and_the_library_the_rest() {
    enter_quiet();
    let long = VnetFormat { len: VnetLen::Tunnel, ..VnetFormat::default() };
    let device = tun("t0").packet_info(true).vnet_hdr(long).persist(true).open().unwrap();
    let seen = device.info().unwrap().tun.unwrap();
    assert!(seen.pi && seen.vnet_hdr);
    drop(device);
    // The kernel keeps the length of the header from one holder to the next.
    python(
        "
fd = made('t0', TUN | NO_PI | VNET)
assert struct.unpack('i', fcntl.ioctl(fd, 0x800454d7, bytes(4)))[0] == 24
value(fd, 208, 1)
",
    );
    let attach =
        |options: adit_device::DeviceOptions| options.create(Create::Attach).open().unwrap();
    let device = attach(tun("t0").vnet_hdr(VnetFormat::default()));
    let seen = device.info().unwrap().tun.unwrap();
    assert!(!seen.pi && seen.vnet_hdr);
    device.set_up(true).unwrap();
    // A header of ten bytes, then a packet: with any other length this would be no IPv4.
    let record = [&[0; 10][..], &[0x45; 20]].concat();
    assert_eq!(device.queues()[0].send(&record).unwrap(), 30);
    drop(device);
    let device = attach(tun("t0"));
    let seen = device.info().unwrap().tun.unwrap();
    assert!(!seen.pi && !seen.vnet_hdr && seen.persist);
    device.set_persist(false).unwrap();
}

#[test]
fn the_header_length_has_a_floor_and_no_ceiling() {
    // `VnetLen` has the four lengths that mean something.
    enter_quiet();
    python(
        "
fd = made('t0', TUN | NO_PI | VNET)
fails(E.EINVAL, pointer, fd, 216, 9)
for n in (10, 12, 70_000):
    pointer(fd, 216, n)
    assert struct.unpack('i', fcntl.ioctl(fd, 0x800454d7, bytes(4)))[0] == n
pointer(fd, 216, 40)
os.system('ip addr add 192.0.2.1/24 dev t0; ip link set t0 up')
udp(b'x')
packet = os.read(fd, 2000)
assert len(packet) == 40 + 29 and packet[12:40] == bytes(28), packet
",
    );
}

#[test]
fn an_index_can_be_wished_for() {
    enter_quiet();
    let index = IfIndex::new(4711).unwrap();
    let device = tun("t0").index(index).open().unwrap();
    assert_eq!(device.index().unwrap(), index);
    assert_eq!(tun("t1").index(index).open().unwrap_err().errno(), Some(libc::EBUSY));
    assert!(adit_device::Link::find(&name("t1")).is_err());
    // A number that is negative to the kernel cannot be made.
    assert_eq!((IfIndex::new(0), IfIndex::new(1 << 31)), (None, None));
    python(
        "
fd = tun()
fails(E.EINVAL, pointer, fd, 218, -1)
setiff(fd, 't2', TUN)
fails(E.EPERM, pointer, fd, 218, 99)
",
    );
}

#[test]
fn ioctls_that_do_nothing_or_are_not_there() {
    enter_quiet();
    let device = tun("t0").open().unwrap();
    for mask in [0, 0x7fff, -1] {
        device.set_debug(mask).unwrap();
    }
    python(
        "
fd = made('t1', TUN | NO_PI)
value(fd, 200, 1); value(fd, 200, 0)
for number in (199, 230, 0):
    fails(E.EINVAL, value, fd, number, 0)
# The hash interface and the other byte order, here.
fails(E.EINVAL, fcntl.ioctl, fd, 0x800854e4, bytes(8))
fails(E.EINVAL, fcntl.ioctl, fd, 0x400854e5, bytes(8))
if sys.byteorder == 'little':
    fails(E.EINVAL, pointer, fd, 222, 1)
    fails(E.EINVAL, fcntl.ioctl, fd, 0x800454df, bytes(4))
fails(E.EINVAL, fcntl.ioctl, fd, 0x541b, bytes(4))
fails(E.EFAULT, fcntl.ioctl, fd, 0x400454d4, 8)
",
    );
}

#[test]
fn system_calls_that_a_queue_does_not_take() {
    enter_quiet();
    python(
        "
import mmap
fd = made('t0', TUN | NO_PI)
os.system('ip addr add 192.0.2.1/24 dev t0; ip link set t0 up')
r, w = os.pipe()
fails(E.EINVAL, os.splice, fd, w, 100)
fails(E.EINVAL, os.sendfile, w, fd, 0, 100)
fails(E.ENODEV, mmap.mmap, fd, 4096)
fails(E.ESPIPE, os.lseek, fd, 0, 1)
udp(b'one'); udp(b'two')
assert os.pread(fd, 2000, 5).endswith(b'one'), 'as read(2)'
fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) & ~os.O_NONBLOCK)
buf = bytearray(2000)
assert os.preadv(fd, [buf], 0, os.RWF_NOWAIT) == 31
fails(E.EAGAIN, os.preadv, fd, [buf], 0, os.RWF_NOWAIT)
",
    );
}

#[test]
fn a_queue_can_signal_and_the_signal_kills_an_unprepared_program() {
    enter_quiet();
    python(
        "
import signal
fd = made('t0', TUN | NO_PI)
os.system('ip addr add 192.0.2.1/24 dev t0; ip link set t0 up')
child = os.fork()
if child == 0:
    signal.alarm(20)
    fcntl.fcntl(fd, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(fd, fcntl.F_SETFL, os.O_RDWR | os.O_NONBLOCK | os.O_ASYNC)
    udp(b'x')
    while True: signal.pause()
assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGIO
",
    );
}

#[test]
fn netlink_neither_makes_a_device_nor_hides_one() {
    enter_quiet();
    python(
        "
import subprocess
made = subprocess.run(['ip', 'link', 'add', 't0', 'type', 'tun'], capture_output=True, text=True)
assert made.returncode != 0 and 'not supported' in made.stderr, made.stderr
",
    );
    let device = tun("t0").persist(true).group(0).open().unwrap();
    let seen = &support::json("ip -d -j link show t0")[0];
    let data = &seen["linkinfo"]["info_data"];
    assert_eq!((&data["type"], &data["persist"]), (&"tun".into(), &true.into()));
    assert_eq!(data["group"], "root");
    let flags = std::fs::read_to_string("/sys/class/net/t0/tun_flags").unwrap();
    let flags = u32::from_str_radix(flags.trim().trim_start_matches("0x"), 16).unwrap();
    assert_eq!(flags & 0x1801, 0x1801, "TUN, PERSIST, NO_PI");
    assert_eq!(std::fs::read_to_string("/sys/class/net/t0/group").unwrap().trim(), "0");
    assert_eq!(std::fs::read_to_string("/sys/class/net/t0/owner").unwrap().trim(), "-1");
    drop(device);
    support::run("ip link del t0");
}
