use crate::peer::sockets::*;
use crate::wake::clock;
use rustix::net::sockopt;
use std::time::{Duration, Instant};

fn open(source: Option<IpAddr>) -> PeerSockets {
    PeerSockets::open(&PeerOptions { source, ..PeerOptions::default() }).unwrap()
}

fn enter() {
    adit_device::Netns::enter_new().expect("run the tests under `unshare -Urnm --`");
    let name = "lo".parse().unwrap();
    adit_device::Link::find(&name).unwrap().set_up(true).unwrap();
}

fn packet(pool: &mut Pool, bytes: &[u8], stride: Option<u16>) -> PacketBuf {
    let mut packet = pool.take(bytes.len()).unwrap();
    packet.extend(bytes).unwrap();
    if let Some(stride) = stride {
        packet.meta.vnet.gso = Gso::UdpL4;
        packet.meta.vnet.gso_size = stride;
    }
    packet
}

/// All that comes until there are `len` bytes.
fn receive(sockets: &mut PeerSockets, place: usize, pool: &mut Pool, len: usize) -> Vec<u8> {
    let (mut bytes, start) = (Vec::new(), Instant::now());
    while bytes.len() < len {
        assert!(start.elapsed() < Duration::from_secs(60), "{} bytes of {len}", bytes.len());
        while let Received::Train(Arrival { packet, .. }) =
            sockets.get(place).unwrap().recv(pool, clock::now())
        {
            bytes.extend_from_slice(packet.bytes());
            pool.give(packet);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    bytes
}

#[test]
fn trains_go_and_come_whole_in_both_families() {
    enter();
    let mut pool = Pool::new(PoolConfig::default());
    let (mut a, mut b) = (open(None), open(None));
    assert_ne!(a.port(), 0);
    let bytes: Vec<u8> = (0..10_000_u32).map(|at| u8::try_from(at % 251).unwrap()).collect();
    for (place, ip) in
        [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()].into_iter().enumerate()
    {
        let to = SocketAddr::new(ip, b.port());
        assert_eq!(PeerSockets::place_of(to), place);
        let mut batch = Batch::new();
        batch.push(packet(&mut pool, &bytes, Some(1200))).unwrap();
        batch.push(packet(&mut pool, b"alone", None)).unwrap();
        assert_eq!(a.get(place).unwrap().send(to, &mut batch, &mut pool), None);
        let received = receive(&mut b, place, &mut pool, bytes.len() + 5);
        assert_eq!(received, [&bytes[..], b"alone"].concat());
    }
    assert_eq!((a.counters().sent, a.counters().sent_datagrams, a.counters().cut), (4, 20, 0));
    assert_eq!(b.counters().received_datagrams, 20);
    for sockets in [&mut a, &mut b] {
        sockets.close(&mut pool);
    }
    assert_eq!(pool.out(), (0, 0), "no buffer is lost");
}

#[test]
fn a_datagram_beyond_the_path_mtu_is_reported() {
    enter();
    adit_device::Link::find(&"lo".parse().unwrap()).unwrap().set_mtu(1300).unwrap();
    let mut pool = Pool::new(PoolConfig::default());
    let (mut a, b) = (open(None), open(None));
    let to = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), b.port());
    for stride in [None, Some(1400)] {
        let mut batch = Batch::new();
        let len = stride.map_or(1400, |stride: u16| usize::from(stride) * 3);
        batch.push(packet(&mut pool, &vec![7; len], stride)).unwrap();
        let told = a.get(0).unwrap().send(to, &mut batch, &mut pool);
        assert_eq!(told, Some(TooBig { to, len_max: 1272 }));
    }
    let mut batch = Batch::new();
    batch.push(packet(&mut pool, &[7; 2400], Some(1200))).unwrap();
    assert_eq!(a.get(0).unwrap().send(to, &mut batch, &mut pool), None);
    let counters = a.counters();
    assert_eq!((counters.too_big, counters.sent, counters.sent_datagrams), (2, 1, 2));
}

/// What the engine allows to be fragmented arrives, alone and in trains, though the link is narrower; and the next
/// datagram without that permission is refused again.
#[test]
fn a_datagram_that_may_be_fragmented_arrives() {
    enter();
    adit_device::Link::find(&"lo".parse().unwrap()).unwrap().set_mtu(1300).unwrap();
    let mut pool = Pool::new(PoolConfig::default());
    for (place, ip) in
        [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()].into_iter().enumerate()
    {
        let (mut a, mut b) = (open(None), open(None));
        let to = SocketAddr::new(ip, b.port());
        for stride in [None, Some(1400), None] {
            let mut batch = Batch::new();
            let len = stride.map_or(1400, |stride: u16| usize::from(stride) * 3);
            let mut packet = packet(&mut pool, &vec![7; len], stride);
            packet.meta.may_fragment = true;
            batch.push(packet).unwrap();
            assert_eq!(a.get(place).unwrap().send(to, &mut batch, &mut pool), None);
            receive(&mut b, place, &mut pool, len);
        }
        let mut batch = Batch::new();
        batch.push(packet(&mut pool, &[7; 1400], None)).unwrap();
        let told = a.get(place).unwrap().send(to, &mut batch, &mut pool);
        assert_eq!(told.map(|told| told.to), Some(to));
        assert_eq!((a.counters().too_big, a.counters().sent_datagrams), (1, 5));
    }
}

#[test]
fn a_source_is_pinned_and_a_port_is_kept() {
    enter();
    let pinned = open(Some(Ipv4Addr::LOCALHOST.into()));
    assert_eq!(pinned.each().count(), 1);
    let taken = PeerOptions { port: pinned.port(), ..PeerOptions::default() };
    let error = PeerSockets::open(&taken).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    let elsewhere = PeerOptions { source: Some("192.0.2.1".parse().unwrap()), ..taken };
    assert!(PeerSockets::open(&elsewhere).is_err());
}

#[test]
fn an_unreachable_datagram_is_counted_and_ends_nothing() {
    enter();
    let mut pool = Pool::new(PoolConfig::default());
    let mut a = open(None);
    let mut batch = Batch::new();
    batch.push(packet(&mut pool, b"lost", None)).unwrap();
    let to = "192.0.2.1:5".parse().unwrap();
    assert_eq!(a.get(0).unwrap().send(to, &mut batch, &mut pool), None);
    assert_eq!(a.counters().refused, 1);
    assert_eq!(pool.out(), (0, 0));
}

#[test]
fn datagrams_of_one_length_leave_as_a_train() {
    enter();
    for (place, ip) in
        [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()].into_iter().enumerate()
    {
        leave_as_a_train(place, ip);
    }
}

fn leave_as_a_train(place: usize, ip: IpAddr) {
    let mut pool = Pool::new(PoolConfig::default());
    let (mut a, mut b) = (open(None), open(None));
    let to = SocketAddr::new(ip, b.port());
    let mut batch = Batch::new();
    let mut sent = Vec::new();
    // 50 equal ones (46 of them fit a train), two marked ones, one that is longer, a train as it is.
    let marks = [Ecn::Ect0; 50].into_iter().chain([Ecn::Ce; 2]);
    for (at, ecn) in (0..).zip(marks) {
        sent.push(vec![at; 1400]);
        let mut packet = packet(&mut pool, &sent[usize::from(at)], None);
        packet.meta.ecn = ecn;
        batch.push(packet).unwrap();
    }
    sent.push(vec![60; 1401]);
    batch.push(packet(&mut pool, &[60; 1401], None)).unwrap();
    sent.push(vec![61; 2802]);
    batch.push(packet(&mut pool, &[61; 2802], Some(1401))).unwrap();
    assert_eq!(a.get(place).unwrap().send(to, &mut batch, &mut pool), None);
    assert_eq!((a.counters().sent, a.counters().sent_datagrams), (5, 55));
    let (mut received, mut marks) = (Vec::new(), [0; 4]);
    let begin = Instant::now();
    while received.len() < sent.concat().len() && begin.elapsed() < Duration::from_secs(60) {
        while let Received::Train(Arrival { packet, .. }) =
            b.get(place).unwrap().recv(&mut pool, clock::now())
        {
            received.extend_from_slice(packet.bytes());
            marks[usize::from(packet.meta.ecn.bits())] += packet.len();
            pool.give(packet);
        }
    }
    assert_eq!(received, sent.concat(), "in order");
    assert_eq!(marks, [1401 + 2802, 0, 50 * 1400, 2 * 1400], "by codepoint");
    for sockets in [&mut a, &mut b] {
        sockets.close(&mut pool);
    }
    assert_eq!(pool.out(), (0, 0), "no buffer is lost");
}

/// Who wrote to an address that the kernel would not answer from is answered from it, by trains; when it
/// is ours no longer, from another one.
#[test]
fn answers_come_from_where_was_written_to() {
    enter();
    let mut pool = Pool::new(PoolConfig::default());
    let (mut a, mut b) = (open(None), open(None));
    let lo = adit_device::Link::find(&"lo".parse().unwrap()).unwrap();
    let further: [adit_device::netlink::IpPrefix; 2] =
        ["192.0.2.9/32", "2001:db8::9/128"].map(|text| text.parse().unwrap());
    let bytes = vec![7; 10_000];
    for (place, prefix) in further.into_iter().enumerate() {
        let address = adit_device::netlink::Address::new(prefix);
        lo.add_address(&address).unwrap();
        // One of IPv6 is there a moment later.
        let start = Instant::now();
        while UdpSocket::bind((prefix.ip(), 0)).is_err() {
            assert!(start.elapsed() < Duration::from_secs(60));
            std::thread::sleep(Duration::from_millis(1));
        }
        let to = SocketAddr::new(prefix.ip(), b.port());
        let mut batch = Batch::new();
        batch.push(packet(&mut pool, b"question", None)).unwrap();
        a.get(place).unwrap().send(to, &mut batch, &mut pool);
        let arrival = next(&mut b, place, &mut pool);
        assert_eq!(arrival.at, Some(prefix.ip()));
        // The way to oneself begins and ends at one address: as if it had come from another host.
        let own =
            if place == 0 { IpAddr::from(Ipv4Addr::LOCALHOST) } else { Ipv6Addr::LOCALHOST.into() };
        let from = SocketAddr::new(own, a.port());
        pool.give(arrival.packet);
        b.get(place).unwrap().heard(from, arrival.at, true);
        for expected in [prefix.ip(), own] {
            batch.push(packet(&mut pool, &bytes, Some(1200))).unwrap();
            b.get(place).unwrap().send(from, &mut batch, &mut pool);
            let answer = next(&mut a, place, &mut pool);
            assert_eq!((answer.from.ip(), answer.packet.len()), (expected, bytes.len()));
            pool.give(answer.packet);
            if expected != own {
                lo.delete_address(&address).unwrap();
            }
        }
    }
    let counters = b.counters();
    assert_eq!((counters.sent, counters.sent_datagrams, counters.cut), (4, 36, 0));
}

/// What comes next.
fn next(sockets: &mut PeerSockets, place: usize, pool: &mut Pool) -> Arrival {
    let start = Instant::now();
    loop {
        if let Received::Train(arrival) = sockets.get(place).unwrap().recv(pool, clock::now()) {
            return arrival;
        }
        assert!(start.elapsed() < Duration::from_secs(60), "nothing came");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Sends datagrams of one length to a socket whose receive buffer has room for `room` bytes, or as much as is allowed.
fn send_many(room: Option<usize>, count: usize, len: usize) -> (PeerSockets, Pool) {
    let b = open(Some(Ipv4Addr::LOCALHOST.into()));
    let socket = &b.sockets[0].as_ref().unwrap().socket;
    if let Some(room) = room {
        sockopt::set_socket_recv_buffer_size(socket, room).unwrap();
    }
    let a = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    for _ in 0..count {
        a.send_to(&vec![1; len], (Ipv4Addr::LOCALHOST, b.port())).unwrap();
    }
    (b, Pool::new(PoolConfig::default()))
}

/// No loss is uncounted: what was sent was received, or the receive buffer was full.
#[test]
fn what_the_kernel_drops_is_counted() {
    enter();
    let (mut b, mut pool) = send_many(Some(20_000), 500, 1000);
    let mut received = 0;
    while let Received::Train(arrival) = b.recv(0, &mut pool, clock::now()) {
        received += 1;
        pool.give(arrival.packet);
    }
    let counters = b.counters();
    assert!(counters.overflow > 400, "{counters:?}");
    assert_eq!((counters.received_datagrams, received + counters.overflow), (received, 500));
}

/// A burst waits without loss, however long this thread was away. Only when the queue stands for an interval are packets
/// of it chosen, and dropped if they are old.
#[test]
fn a_burst_is_kept_and_a_standing_queue_is_not() {
    enter();
    for stands in [false, true] {
        let (mut b, mut pool) = send_many(None, 100, 1000);
        std::thread::sleep(LATE * 2);
        let (mut received, mut chosen, begin) = (0, 0, clock::now());
        // In virtual time: a datagram in 10 us, or in 1 ms.
        let step = if stands { Duration::from_millis(1) } else { Duration::from_micros(10) };
        for turn in 0..1000 {
            let now = begin + step * turn;
            if let Received::Train(arrival) = b.recv(0, &mut pool, now) {
                received += 1;
                chosen += usize::from(arrival.packet.meta.congested);
                pool.give(arrival.packet);
            }
        }
        let late = b.counters().late;
        assert_eq!(received + late, 100);
        assert_eq!((late > 50, chosen), (stands, 0), "{late} {chosen}");
    }
}
