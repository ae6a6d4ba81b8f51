//! Queues in tokio's reactor against the real kernel, on both kinds of runtime.

#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of #[test]")]

mod support;

use adit_device::netlink::Address;
use adit_device::{AsyncQueue, Batch, DeviceOptions, ErrorKind, Framed, Mode, PacketBuf, Pair};
use adit_device::{
    Offload, OffloadChoice, Pool, PoolConfig, Receiver, SendOptions, Sender, VnetFormat,
};
use futures_core::Stream;
use futures_sink::Sink;
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::net::UdpSocket;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::Builder;
use tokio::time::{sleep, timeout};

/// Whatever a test waits for comes well within this time, or not at all.
const LIMIT: Duration = Duration::from_secs(60);
/// How long nothing must happen before a test believes that nothing does.
const QUIET: Duration = Duration::from_millis(100);

/// Runs a test on a runtime of one thread and on one of several, each time in a new namespace.
fn on_both<F: Future<Output = ()> + 'static>(test: fn() -> F) {
    let several = || {
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(2);
        builder
    };
    for mut builder in [Builder::new_current_thread(), several()] {
        let body = move || {
            support::enter();
            let runtime = builder.enable_all().build().unwrap();
            runtime.block_on(async { timeout(LIMIT, test()).await.expect("the test hangs") });
        };
        std::thread::spawn(body).join().unwrap();
    }
}

/// A TUN device `t0` that is up, with 192.0.2.1/24.
fn tun() -> AsyncQueue {
    let options = DeviceOptions::new(Mode::Tun).name("t0".parse().unwrap());
    let address = Address::new("192.0.2.1/24".parse().unwrap());
    let device = options.address(address).up(true).open().unwrap();
    AsyncQueue::new(device.into_queues().remove(0)).unwrap()
}

fn delete() {
    support::run("ip link del t0");
}

fn set(state: &str) {
    support::run(&format!("ip link set t0 {state}"));
}

/// Makes the kernel send a datagram with this number out of the device.
fn emit(socket: &UdpSocket, number: u32) {
    socket.send_to(&number.to_be_bytes(), "192.0.2.2:9").unwrap();
}

fn socket() -> UdpSocket {
    UdpSocket::bind("192.0.2.1:0").unwrap()
}

/// The number in a datagram of [`emit`]; `None` of the kernel's own packets.
fn number(packet: &[u8]) -> Option<u32> {
    let datagram = packet[0] == 0x45 && packet[9] == 17;
    datagram.then(|| u32::from_be_bytes(packet[28..32].try_into().unwrap()))
}

async fn recv_number(queue: &AsyncQueue) -> io::Result<u32> {
    let mut buf = [0; 2048];
    loop {
        let len = queue.recv(&mut buf).await?;
        if let Some(number) = number(&buf[..len]) {
            return Ok(number);
        }
    }
}

async fn next(framed: &mut Framed) -> Option<io::Result<PacketBuf>> {
    poll_fn(|cx| Pin::new(&mut *framed).poll_next(cx)).await
}

async fn feed(framed: &mut Framed, packet: PacketBuf) -> io::Result<()> {
    poll_fn(|cx| Pin::new(&mut *framed).poll_ready(cx)).await?;
    Pin::new(framed).start_send(packet)
}

async fn flush(framed: &mut Framed) -> io::Result<()> {
    poll_fn(|cx| Pin::new(&mut *framed).poll_flush(cx)).await
}

fn pool() -> Pool {
    Pool::new(PoolConfig { small_limit: 32, large_limit: 2, ..PoolConfig::default() })
}

fn is_gone<T: std::fmt::Debug>(result: io::Result<T>) -> bool {
    ErrorKind::of_queue(&result.unwrap_err()) == ErrorKind::DeviceGone
}

/// An IPv4 packet from 192.0.2.2 that the kernel counts and drops: its protocol is not in use.
fn ipv4() -> [u8; 20] {
    let mut packet = *b"\x45\0\0\x14\0\0\0\0\x40\xfd\0\0\xc0\0\x02\x02\xc0\0\x02\x01";
    let sum: u32 =
        packet.chunks(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]]))).sum();
    let sum = u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap();
    packet[10..12].copy_from_slice(&(!sum).to_be_bytes());
    packet
}

#[test]
fn pings_are_answered() {
    on_both(|| async {
        let queue = Arc::new(tun());
        let ping = std::thread::spawn(|| support::run("ping -n -c 3 -i 0.01 -w 60 192.0.2.77"));
        let answer = tokio::spawn(async move {
            let mut buf = [0; 2048];
            loop {
                let len = queue.recv(&mut buf).await.unwrap();
                let packet = &mut buf[..len];
                if packet[0] != 0x45 || packet[9] != 1 {
                    continue;
                }
                let (source, destination) = packet[12..20].split_at_mut(4);
                source.swap_with_slice(destination);
                // From request (8) to reply (0); the sum of RFC 1071 grows by what the word lost.
                packet[20] = 0;
                let sum = u32::from(u16::from_be_bytes([packet[22], packet[23]])) + 0x0800;
                let sum = u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap();
                packet[22..24].copy_from_slice(&sum.to_be_bytes());
                assert_eq!(queue.send(packet).await.unwrap(), len);
            }
        });
        while !ping.is_finished() {
            sleep(Duration::from_millis(5)).await;
        }
        ping.join().expect("three answers come");
        answer.abort();
    });
}

#[test]
fn the_end_of_the_device_ends_what_waits_and_all_that_follows() {
    on_both(|| async {
        for round in 0..10 {
            let queue = Arc::new(tun());
            let waits = tokio::spawn({
                let queue = Arc::clone(&queue);
                async move { recv_number(&queue).await }
            });
            if round % 2 == 0 {
                sleep(Duration::from_millis(10)).await;
            }
            delete();
            assert!(is_gone(waits.await.unwrap()));

            let mut buf = [0; 100];
            assert!(is_gone(queue.recv(&mut buf).await));
            assert!(is_gone(queue.send(&ipv4()).await));
            assert!(is_gone(queue.try_send(&ipv4())));
            let (mut pool, mut pair, mut batch) = (pool(), Pair::default(), Batch::new());
            assert!(is_gone(queue.recv_batch(&mut pool, &mut pair, &mut batch).await));
            queue.readable().await.unwrap();
            assert!(is_gone(queue.try_recv(&mut buf)));
            queue.writable().await.unwrap();
        }
    });
}

#[test]
fn the_end_of_the_device_ends_a_read_that_waits() {
    on_both(|| async {
        let mut queue = tun();
        let reads = tokio::spawn(async move {
            let mut buf = [0; 2048];
            while queue.read(&mut buf).await? > 0 {}
            io::Result::Ok(())
        });
        sleep(QUIET).await;
        delete();
        assert!(is_gone(reads.await.unwrap()));
    });
}

#[test]
fn the_end_of_the_device_is_one_error_of_the_stream() {
    on_both(|| async {
        let mut framed = Framed::new(tun(), pool());
        emit(&socket(), 7);
        let mut deleter = None;
        let mut items = Vec::new();
        while let Some(item) = next(&mut framed).await {
            if item.as_ref().is_ok_and(|packet| number(packet.bytes()) == Some(7)) {
                // While the stream waits.
                deleter = Some(tokio::task::spawn_blocking({
                    let here = adit_device::Netns::current().unwrap();
                    move || here.run(|| std::thread::sleep(QUIET)).map(|()| here.run(delete))
                }));
            }
            items.push(item);
        }
        deleter.unwrap().await.unwrap().unwrap().unwrap();
        let errors = items.iter().filter(|item| item.is_err()).count();
        assert_eq!(errors, 1);
        assert!(is_gone(items.pop().unwrap()));
        assert!(next(&mut framed).await.is_none());
        // The sink has no end, but says so every time.
        let mut packet = PacketBuf::new(0, 20);
        packet.extend(&ipv4()).unwrap();
        feed(&mut framed, packet).await.unwrap();
        assert!(is_gone(flush(&mut framed).await));
    });
}

#[test]
fn a_link_that_is_down_refuses_packets_and_goes_on_when_it_is_up() {
    on_both(|| async {
        let mut framed = Framed::new(tun(), pool());
        set("down");
        for _ in 0..3 {
            let error = framed.get_ref().send(&ipv4()).await.unwrap_err();
            assert_eq!(ErrorKind::of_queue(&error), ErrorKind::LinkDown);
            let mut packet = framed.take(20).unwrap();
            packet.extend(&ipv4()).unwrap();
            feed(&mut framed, packet).await.unwrap();
            let error = flush(&mut framed).await.unwrap_err();
            assert_eq!(ErrorKind::of_queue(&error), ErrorKind::LinkDown);
        }
        let silence = timeout(QUIET, async {
            while let Some(item) = next(&mut framed).await {
                item.unwrap();
            }
        });
        assert!(silence.await.is_err(), "the stream ended");
        set("up");
        emit(&socket(), 8);
        while number(next(&mut framed).await.unwrap().unwrap().bytes()) != Some(8) {}
        framed.get_ref().send(&ipv4()).await.unwrap();
        framed.get_ref().writable().await.unwrap();
    });
}

/// A TAP `t0` whose frames to the station 02:00:00:00:00:02 wait in a slow queue of a bridge. No
/// other host sends: an incoming frame would wake a sender that has no other event.
fn slow_tap() -> AsyncQueue {
    support::run("sysctl -qw net.ipv6.conf.default.disable_ipv6=1");
    support::run("ip link add br0 up type bridge stp_state 0 forward_delay 0 mcast_snooping 0");
    support::run("ip link add v0 type veth peer name v1");
    support::run("ip link set v1 up");
    support::run("ip link set v0 up master br0");
    support::run("tc qdisc add dev v0 root tbf rate 1mbit burst 2000 limit 1000000");
    support::run("bridge fdb add 02:00:00:00:00:02 dev v0 master static");
    let options = DeviceOptions::new(Mode::Tap).name("t0".parse().unwrap()).send_buffer(8192);
    let device = options.master("br0".parse().unwrap()).up(true).open().unwrap();
    // The bridge learns of the carrier of its ports by and by, and drops until then.
    let forwards = |port| {
        let ports = support::json("bridge -j link show");
        let mut ports = ports.as_array().unwrap().iter();
        ports.any(|seen| seen["ifname"] == port && seen["state"] == "forwarding")
    };
    let started = Instant::now();
    while !(forwards("t0") && forwards("v0")) {
        assert!(started.elapsed() < LIMIT, "the bridge does not forward");
        std::thread::sleep(Duration::from_millis(1));
    }
    AsyncQueue::new(device.into_queues().remove(0)).unwrap()
}

/// A frame to the station, of a kilobyte.
fn frame() -> [u8; 1000] {
    let mut frame = [0; 1000];
    frame[..14].copy_from_slice(b"\x02\0\0\0\0\x02\x02\0\0\0\0\x01\x88\xb5");
    frame
}

#[test]
fn a_full_send_buffer_makes_senders_wait() {
    on_both(|| async {
        const FRAMES: usize = 40;
        let queue = slow_tap();
        let mut waits = 0;
        for _ in 0..FRAMES {
            while let Err(error) = queue.try_send(&frame()) {
                assert_eq!(ErrorKind::of_queue(&error), ErrorKind::WouldBlock);
                waits += 1;
                assert!(waits < 10 * FRAMES, "writable() does not wait");
                queue.writable().await.unwrap();
            }
        }
        assert!(waits > 0, "the send buffer was never full");

        let mut framed = Framed::new(queue, pool());
        for _ in 0..FRAMES {
            let mut packet = framed.take(1000).unwrap();
            packet.extend(&frame()).unwrap();
            feed(&mut framed, packet).await.unwrap();
        }
        flush(&mut framed).await.unwrap();
        let sent = support::json("ip -s -j link show t0")[0]["stats64"]["rx"]["packets"].as_u64();
        assert_eq!(sent, Some(2 * FRAMES as u64));
    });
}

#[test]
fn the_end_of_the_device_ends_a_send_that_waits() {
    on_both(|| async {
        let queue = Arc::new(slow_tap());
        support::run("tc qdisc replace dev v0 root tbf rate 8bit burst 2000 limit 1000000");
        let sends = tokio::spawn({
            let queue = Arc::clone(&queue);
            async move {
                while queue.send(&frame()).await? > 0 {}
                io::Result::Ok(())
            }
        });
        sleep(QUIET).await;
        assert!(!sends.is_finished());
        delete();
        assert!(is_gone(sends.await.unwrap()));
    });
}

#[test]
fn a_recv_that_is_dropped_takes_no_packet_with_it() {
    on_both(|| async {
        const COUNT: u32 = 400;
        let queue = tun();
        let socket = socket();
        let sender = std::thread::spawn(move || {
            for number in 0..COUNT {
                emit(&socket, number);
                std::thread::sleep(Duration::from_micros(100));
            }
        });
        let (mut dropped, mut expected) = (0, 0);
        while expected < COUNT {
            let mut buf = [0; 2048];
            let len = tokio::select! {
                len = queue.recv(&mut buf) => len.unwrap(),
                () = tokio::task::yield_now() => { dropped += 1; continue }
            };
            if let Some(number) = number(&buf[..len]) {
                assert_eq!(number, expected);
                expected += 1;
            }
        }
        assert!(dropped > 0);
        sender.join().unwrap();
    });
}

#[test]
fn one_write_is_one_packet_and_one_read_as_well() {
    on_both(|| async {
        let queue = tun();
        let (mut reader, mut writer) = tokio::io::split(queue);
        let packet = ipv4();
        let parts = [IoSlice::new(&packet[..8]), IoSlice::new(&packet[8..])];
        assert_eq!(writer.write_vectored(&parts).await.unwrap(), 20);
        writer.write_all(&packet).await.unwrap();
        writer.flush().await.unwrap();
        assert_eq!(writer.write(b"\0junk").await.unwrap_err().raw_os_error(), Some(libc::EINVAL));
        let stats = support::json("ip -s -j link show t0");
        assert_eq!(stats[0]["stats64"]["rx"]["packets"], 2);

        let socket = socket();
        emit(&socket, 1);
        emit(&socket, 2);
        let mut seen = Vec::new();
        while seen.len() < 2 {
            let mut buf = Vec::with_capacity(4096);
            reader.read_buf(&mut buf).await.unwrap();
            seen.extend(number(&buf));
        }
        assert_eq!(seen, [1, 2]);
    });
}

#[test]
fn batches_go_both_ways() {
    on_both(|| async {
        let queue = tun();
        let (mut pool, mut pair, mut batch) = (pool(), Pair::default(), Batch::with_capacity(16));
        for _ in 0..16 {
            let mut packet = pool.take_small().unwrap();
            packet.extend(&ipv4()).unwrap();
            batch.push(packet).unwrap();
        }
        assert_eq!(queue.send_batch(&mut pool, &mut batch).await.unwrap().sent, 16);
        assert!(batch.is_empty());

        let socket = socket();
        (0..16).for_each(|number| emit(&socket, number));
        let mut seen = Vec::new();
        while seen.len() < 16 {
            queue.recv_batch(&mut pool, &mut pair, &mut batch).await.unwrap();
            seen.extend(batch.iter().filter_map(|packet| number(packet.bytes())));
            batch.give_all(&mut pool);
        }
        assert!(seen.into_iter().eq(0..16));
    });
}

/// Two super-packets of 30 datagrams out of the device.
const SUPER_PACKETS: &str = "
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(17, 103, 4)
for turn in range(2):
    numbers = range(turn * 30, turn * 30 + 30)
    s.sendto(b''.join(number.to_bytes(4, 'big') for number in numbers), ('192.0.2.2', 9))
";

#[test]
fn super_packets_are_cut_up_and_joined() {
    on_both(|| async {
        let options = DeviceOptions::new(Mode::Tun).name("t0".parse().unwrap());
        let address = Address::new("192.0.2.1/24".parse().unwrap());
        let offload = OffloadChoice::Exact(Offload::USO);
        let options = options.vnet_hdr(VnetFormat::default()).offload(offload);
        let device = options.address(address).up(true).open().unwrap();
        let queue = AsyncQueue::new(device.into_queues().remove(0)).unwrap();
        support::run_words(["python3", "-c", SUPER_PACKETS]);
        let (mut pool, mut batch) = (pool(), Batch::with_capacity(7));
        let mut receiver = Receiver::segmented(Mode::Tun);
        let mut sender = Sender::new(Mode::Tun, SendOptions::ALL);
        let mut seen = Vec::new();
        while seen.len() < 60 {
            queue.recv_through(&mut receiver, &mut pool, &mut batch).await.unwrap();
            seen.extend(batch.iter().filter_map(|packet| number(packet.bytes())));
            while !batch.is_empty() || sender.has_pending() {
                queue.send_through(&mut sender, &mut pool, &mut batch).await.unwrap();
            }
        }
        assert!(seen.into_iter().eq(0..60));
        assert_eq!(receiver.counters().segmented, 2);
        assert!(sender.counters().trains >= 6, "{:?}", sender.counters());
    });
}

#[test]
fn a_task_that_always_can_send_lets_others_run() {
    on_both(|| async {
        let queue = tun();
        let mut sends = pin!(async {
            loop {
                queue.send(&ipv4()).await.unwrap();
            }
        });
        let yields = poll_fn(|cx| sends.as_mut().poll(cx).map(|()| false));
        tokio::select! {
            biased;
            _ = yields => {}
            () = tokio::task::yield_now() => {}
        }
    });
}
