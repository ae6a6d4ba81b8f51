//! Real veths in namespaces of their own.

use crate::{Address, Counters, Entry, Hook, Ingress, Table};
use adit_device::bpf::assembler::{Assembler, Register};
use adit_device::bpf::{IngressProgram, LICENCE};
use adit_device::netlink::{LinkChange, Netlink};
use adit_device::{IfIndex, IfName, Netns, PacketSocket, PacketSocketOptions, VnetHeader};
use adit_engine::PortId;
use adit_engine::fast_path::{FastForm, FastPort, FastTags, Station, StationKey};
use adit_packet::Instant;
use adit_packet::MacAddr;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::time::Duration;

const A: MacAddr = MacAddr([2, 0, 0, 0, 0, 0xa]);
const B: MacAddr = MacAddr([2, 0, 0, 0, 0, 0xb]);

/// A veth: the socket of a port at one end, and that of a host at the other.
struct Cable {
    index: IfIndex,
    port: PacketSocket,
    host: PacketSocket,
}

impl Cable {
    fn new(netlink: &mut Netlink, number: u8) -> Self {
        let name = |letter| format!("{letter}{number}").parse::<IfName>().unwrap();
        let (port, host) = netlink.add_veth(&name("p"), &name("h")).unwrap();
        for index in [port, host] {
            netlink.set_link(index, &LinkChange::new().up(true)).unwrap();
        }
        let options =
            PacketSocketOptions { promiscuous: true, incoming_only: true, ..Default::default() };
        let socket = |index| PacketSocket::open(index, &options).unwrap();
        Self { index: port, port: socket(port), host: socket(host) }
    }

    /// The next frame for a station that a socket gets within a second; IPv6 of the kernel is left out.
    fn next(socket: &PacketSocket, wait: i64) -> Option<Vec<u8>> {
        let mut buf = vec![0; 2048];
        loop {
            if let Ok(received) = socket.recv(&mut buf) {
                if buf[0] & 1 == 0 {
                    return Some(buf[..received.len].to_vec());
                }
                continue;
            }
            let mut fds = [PollFd::new(socket, PollFlags::IN)];
            let time = Timespec { tv_sec: wait / 1000, tv_nsec: wait % 1000 * 1_000_000 };
            if poll(&mut fds, Some(&time)).unwrap() == 0 {
                return None;
            }
        }
    }
}

fn frame(to: MacAddr, from: MacAddr, rest: &[u8]) -> Vec<u8> {
    let mut frame = [&to.0[..], &from.0, rest].concat();
    frame.resize(60, 0x55);
    frame
}

fn entry(cable: &Cable, mac: MacAddr, vlan: u16, slot: u16, form: FastForm) -> Entry {
    Entry {
        station: Station {
            key: StationKey { vlan, mac },
            port: PortId(slot + 100),
            seen: Instant::ZERO,
            lifetime: Some(Duration::from_secs(60)),
            form,
        },
        rules: FastPort { tags: FastTags::Any, group: None, isolated: false },
        epoch: 1,
        seen: monotonic(),
        index: cable.index,
        slot,
        len_max: 1514,
    }
}

fn port(slot: u16, tags: FastTags) -> Ingress {
    let rules = FastPort { tags, group: None, isolated: false };
    Ingress { port: PortId(slot + 100), slot, rules }
}

const fn trunk(tpid: u16, pvid: Option<u16>) -> FastTags {
    FastTags::Trunk { tpid, pvid }
}

fn monotonic() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Duration::new(now.tv_sec.try_into().unwrap(), now.tv_nsec.try_into().unwrap())
}

/// Runs `test` with a table and two cables in a namespace of its own.
fn with_cables(test: impl FnOnce(Table, Cable, Cable, Netns) + Send + 'static) {
    let thread = std::thread::spawn(|| {
        Netns::enter_new().unwrap();
        let mut netlink = Netlink::open().unwrap();
        let (a, b) = (Cable::new(&mut netlink, 0), Cable::new(&mut netlink, 1));
        let path = Table::new(64, 0x1234_5678_9abc_def0).unwrap();
        test(path, a, b, Netns::current().unwrap());
    });
    thread.join().unwrap();
}

fn send(cable: &Cable, frame: &[u8]) {
    cable.host.send_parts(&VnetHeader::default(), frame, &[]).unwrap();
}

#[test]
#[ignore = "needs the initial user namespace"]
fn root_frames_between_known_addresses_do_not_reach_the_socket() {
    with_cables(|mut path, a, b, netns| {
        path.set_epoch(1).unwrap();
        let _links = [&a, &b].map(|cable| path.link(&netns, cable.index, Hook::Any).unwrap());
        path.decide(&a.port, &port(0, FastTags::Any)).unwrap();
        let there = frame(B, A, b"\x08\x00");
        let goes_up = || Cable::next(&a.port, 1000).as_ref() == Some(&there);

        send(&a, &there);
        assert!(goes_up(), "neither address is known");
        path.insert(&entry(&b, B, 0, 1, FastForm::Kept)).unwrap();
        send(&a, &there);
        assert!(goes_up(), "the source is not known");
        path.insert(&entry(&a, A, 0, 0, FastForm::Kept)).unwrap();
        send(&a, &there);
        assert_eq!(Cable::next(&b.host, 1000).as_ref(), Some(&there));
        assert_eq!(Cable::next(&a.port, 50), None, "the socket does not get it");
        path.set_epoch(2).unwrap();
        send(&a, &there);
        assert!(goes_up(), "another epoch");
        path.set_epoch(1).unwrap();
        let mut aged = entry(&b, B, 0, 1, FastForm::Kept);
        aged.station.lifetime = Some(Duration::from_millis(10));
        aged.seen -= Duration::from_secs(1);
        path.insert(&aged).unwrap();
        send(&a, &there);
        assert!(goes_up(), "the destination has aged");
        path.insert(&Entry { len_max: 59, ..entry(&b, B, 0, 1, FastForm::Kept) }).unwrap();
        send(&a, &there);
        assert!(goes_up(), "too long for the destination");
        assert!(path.remove(StationKey { vlan: 0, mac: B }).unwrap());
        assert!(!path.remove(StationKey { vlan: 0, mac: B }).unwrap());
        send(&a, &there);
        assert!(goes_up(), "removed");

        let mut counters = Vec::new();
        path.counters(2, |_, of_slot| counters.push(of_slot)).unwrap();
        let came = Counters { ingress_frames: 1, ingress_bytes: 60, ..Default::default() };
        let left = Counters { egress_frames: 1, egress_bytes: 60, ..Default::default() };
        assert_eq!(counters, [came, left]);
        let mut list: Vec<Address> = Vec::new();
        assert_eq!(path.page(None, |address| list.push(address)).unwrap(), None);
        let [only] = list.as_slice() else { panic!("{list:?}") };
        assert_eq!((only.key.mac, only.port, only.epoch), (A, PortId(100), 1));
        assert!(monotonic() - only.seen < Duration::from_secs(30));
    });
}

#[test]
#[ignore = "needs the initial user namespace"]
fn root_tags_are_put_on_and_taken_off() {
    with_cables(|path, a, b, netns| {
        path.set_epoch(1).unwrap();
        let _links = [&a, &b].map(|cable| path.link(&netns, cable.index, Hook::Any).unwrap());
        let plain = b"\x08\x00".as_slice();
        let ten = b"\x81\x00\x00\x0a\x08\x00".as_slice();
        let cases = [
            (FastTags::Access(10), FastForm::Untagged, plain, plain),
            (FastTags::Access(10), FastForm::Tagged(0x8100), plain, ten),
            (FastTags::Access(10), FastForm::Kept, plain, ten),
            (trunk(0x8100, None), FastForm::Untagged, ten, plain),
            (trunk(0x8100, None), FastForm::Tagged(0x8100), ten, ten),
            (trunk(0x8100, Some(10)), FastForm::Tagged(0x8100), plain, ten),
            (FastTags::Any, FastForm::Kept, ten, ten),
            (FastTags::Any, FastForm::Untagged, ten, plain),
        ];
        path.insert(&entry(&a, A, 10, 0, FastForm::Kept)).unwrap();
        for (tags, form, sent, arrives) in cases {
            path.insert(&entry(&b, B, 10, 1, form)).unwrap();
            path.decide(&a.port, &port(0, tags)).unwrap();
            send(&a, &frame(B, A, sent));
            let got = Cable::next(&b.host, 1000).unwrap_or_default();
            let len = arrives.len() + 12;
            assert_eq!(got.get(..len), frame(B, A, arrives).get(..len), "{tags:?} {form:?}");
        }
        let kept = [
            (FastTags::Access(10), FastForm::Untagged, ten),
            (trunk(0x8100, None), FastForm::Untagged, plain),
            (trunk(0x88a8, None), FastForm::Untagged, ten),
            (FastTags::Any, FastForm::Tagged(0x88a8), ten),
            (FastTags::Any, FastForm::Untagged, b"\x81\x00\x00\x0a\x81\x00\x00\x0b\x08\x00"),
            (FastTags::Any, FastForm::Kept, b"\x91\x00\x00\x0a\x08\x00"),
        ];
        for (tags, form, sent) in kept {
            path.insert(&entry(&b, B, 10, 1, form)).unwrap();
            path.decide(&a.port, &port(0, tags)).unwrap();
            let sent = frame(B, A, sent);
            send(&a, &sent);
            assert_eq!(Cable::next(&a.port, 1000), Some(sent), "{tags:?} {form:?}");
        }
    });
}

#[test]
#[ignore = "needs the initial user namespace"]
fn root_ports_that_must_not_meet_do_not() {
    with_cables(|path, a, b, netns| {
        path.set_epoch(1).unwrap();
        let _links = [&a, &b].map(|cable| path.link(&netns, cable.index, Hook::Any).unwrap());
        path.insert(&entry(&a, A, 0, 0, FastForm::Kept)).unwrap();
        let open = (port(0, FastTags::Any), entry(&b, B, 0, 1, FastForm::Kept));
        let with = |group, isolated| {
            let rules = FastPort { tags: FastTags::Any, group, isolated };
            (Ingress { rules, ..open.0 }, Entry { rules, ..open.1 })
        };
        let (isolated, group, other) =
            (with(None, true), with(Some(0), false), with(Some(1), false));
        let same = Station { port: open.0.port, ..open.1.station };
        let cases = [
            (open.0, open.1, true),
            (isolated.0, isolated.1, false),
            (isolated.0, open.1, true),
            (open.0, isolated.1, true),
            (group.0, group.1, false),
            (group.0, open.1, true),
            (group.0, other.1, true),
            (open.0, Entry { station: same, ..open.1 }, false),
        ];
        for (at, (port, entry, passes)) in cases.into_iter().enumerate() {
            path.insert(&entry).unwrap();
            path.decide(&a.port, &port).unwrap();
            let sent = frame(B, A, b"\x08\x00");
            send(&a, &sent);
            let socket = if passes { &b.host } else { &a.port };
            assert_eq!(Cable::next(socket, 1000), Some(sent), "case {at}");
        }
        Table::undecide(&a.port).unwrap();
        send(&a, &frame(B, A, b"\x08\x00"));
        assert!(Cable::next(&a.port, 1000).is_some());
    });
}

#[test]
#[ignore = "needs the initial user namespace"]
fn root_filters_go_with_their_owners_and_leave_those_of_others() {
    with_cables(|path, a, _, netns| {
        let mut netlink = Netlink::open().unwrap();
        let index = a.index;
        let attach = || path.link(&netns, index, Hook::Filter).unwrap();
        let count = |netlink: &mut Netlink| netlink.ingress_filters(index).unwrap().len();

        let one = attach();
        let other = attach();
        assert_eq!(count(&mut netlink), 2);
        drop(one);
        assert_eq!(count(&mut netlink), 1, "the other has an owner");
        drop(other);
        assert!(netlink.add_clsact(index).unwrap(), "it went with the last");
        drop(attach());
        assert!(!netlink.add_clsact(index).unwrap(), "we did not make it");

        // As a killed process leaves it.
        let mut asm = Assembler::default();
        asm.set(Register::R0, -1);
        asm.exit();
        let program = IngressProgram::from_instructions(&asm.finish(), LICENCE).unwrap();
        netlink.add_ingress_program(index, &program, b"adit-0-clsact").unwrap();
        netlink.add_ingress_program(index, &program, b"theirs").unwrap();
        let ours = attach();
        let filters = netlink.ingress_filters(index).unwrap();
        let has = |name: &[u8]| filters.iter().any(|filter| filter.name == name);
        assert!(filters.len() == 2 && has(b"theirs") && !has(b"adit-0-clsact"), "{filters:?}");
        drop(ours);
        assert_eq!(count(&mut netlink), 1);
    });
}
