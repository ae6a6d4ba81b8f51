//! Super-packets of the kernel, handed out in packets a few at a time.

#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of #[test]")]

mod support;
mod traffic;

use adit_device::{
    Batch, Device, Endian, Offload, OffloadChoice, Pool, PoolConfig, Queue, Receiver, VnetFormat,
    VnetLen,
};
use std::net::UdpSocket;
use traffic::{HERE, THERE, enter_quiet, errno, tun, up};

/// A device that gets one super-packet of 30 datagrams for each of the `count`.
fn device(count: usize) -> Device {
    enter_quiet();
    let format = VnetFormat { len: VnetLen::Mergeable, endian: Endian::Native };
    let options = tun("t0").vnet_hdr(format).offload(OffloadChoice::Exact(Offload::USO));
    let device = up(options).open().unwrap();
    let program = format!(
        "
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(17, 103, 1000)
for turn in range({count}):
    s.sendto(b''.join(bytes([turn, part]) * 500 for part in range(30)), ('{THERE}', 9))
"
    );
    traffic::python(&program);
    device
}

fn only(device: &Device) -> &Queue {
    &device.queues()[0]
}

fn check(packet: &[u8], number: usize) {
    let (turn, part) = (u8::try_from(number / 30).unwrap(), u8::try_from(number % 30).unwrap());
    assert_eq!(packet.len(), 1028);
    assert_eq!(traffic::sum(0, &packet[..20]), 0xffff);
    assert_eq!(traffic::sum(traffic::pseudo(packet), &packet[20..]), 0xffff);
    assert!(packet[28..].chunks(2).all(|pair| pair == [turn, part]), "{number}");
}

#[test]
fn segments_come_as_the_batch_has_room_for_them() {
    for capacity in [1, 7, 30, 64, 1000] {
        let device = device(10);
        let mut pool = Pool::new(PoolConfig::default());
        let mut batch = Batch::with_capacity(capacity);
        let mut receiver = Receiver::segmented(device.mode());
        let mut number = 0;
        while let Ok(count) = receiver.recv_batch(only(&device), &mut pool, &mut batch) {
            assert_eq!(count, batch.len());
            let next_fits = batch.room() >= 30 || capacity < 30;
            assert!(batch.is_full() || !next_fits || number + count == 300, "{capacity}: {count}");
            for packet in batch.iter() {
                assert!(!packet.meta.vnet.is_super_packet() && !packet.meta.vnet.needs_csum());
                check(packet.bytes(), number);
                number += 1;
            }
            batch.give_all(&mut pool);
        }
        assert_eq!(
            (number, receiver.counters().segmented, receiver.has_pending()),
            (300, 10, false)
        );
        receiver.give_pending(&mut pool);
        assert_eq!(pool.out(), (0, 0));
    }
}

#[test]
fn a_pool_that_is_used_up_loses_no_segment() {
    let device = device(2);
    // One small buffer stands ready for the next read, and one large one holds the super-packet.
    let config = PoolConfig { small_limit: 5, large_limit: 1, ..PoolConfig::default() };
    let mut pool = Pool::new(config);
    let mut batch = Batch::new();
    let mut receiver = Receiver::segmented(device.mode());
    let mut number = 0;
    while number < 60 {
        let count = receiver.recv_batch(only(&device), &mut pool, &mut batch).unwrap();
        assert!((1..=5).contains(&count), "{count}");
        if receiver.has_pending() {
            assert_eq!(
                errno(receiver.recv_batch(only(&device), &mut pool, &mut Batch::new())),
                libc::ENOBUFS
            );
        }
        for packet in batch.iter() {
            check(packet.bytes(), number);
            number += 1;
        }
        batch.give_all(&mut pool);
    }
    receiver.give_pending(&mut pool);
    assert_eq!(pool.out(), (0, 0));
}

#[test]
fn an_open_checksum_is_finished_and_a_whole_super_packet_left_alone() {
    let device = device(1);
    UdpSocket::bind((HERE, 0)).unwrap().send_to(&[0, 0].repeat(500), (THERE, 9)).unwrap();
    let mut pool = Pool::new(PoolConfig::default());
    let mut batch = Batch::with_capacity(1);
    let mut whole = Receiver::whole(device.mode());
    assert_eq!(whole.recv_batch(only(&device), &mut pool, &mut batch).unwrap(), 1);
    assert!(batch.as_slice()[0].meta.vnet.is_super_packet());
    assert_eq!(batch.as_slice()[0].len(), 30_028);
    batch.give_all(&mut pool);
    let mut segmented = Receiver::segmented(device.mode());
    assert_eq!(segmented.recv_batch(only(&device), &mut pool, &mut batch).unwrap(), 1);
    assert!(!batch.as_slice()[0].meta.vnet.needs_csum());
    check(batch.as_slice()[0].bytes(), 0);
}
