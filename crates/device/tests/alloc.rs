//! Moving packets allocates nothing, once the pool is warm.

#[path = "../../packet/tests/counting/mod.rs"]
mod counting;
mod support;

use adit_device::netlink::Address;
use adit_device::{Batch, DeviceOptions, Mode, Pair, Pool, PoolConfig, VnetFormat};
use std::net::UdpSocket;

fn allocations(work: impl FnOnce()) -> u64 {
    let before = counting::allocations();
    work();
    counting::allocations() - before
}

/// As many packets as the ring holds at its default length.
const PACKETS: usize = 400;

fn packets_allocate_nothing(options: DeviceOptions) {
    support::enter();
    let address = Address::new("192.0.2.1/24".parse().expect("a prefix"));
    let device = options.address(address).nonblocking(true).up(true).open().expect("a device");
    let queue = &device.queues()[0];
    let socket = UdpSocket::bind("192.0.2.1:0").expect("a socket");
    // Short and long ones, for small and large buffers.
    let fill = || {
        for number in 0..PACKETS {
            let payload = &[0; 3000][..if number % 2 == 0 { 100 } else { 3000 }];
            socket.send_to(payload, "192.0.2.2:9").expect("a packet goes into the ring");
        }
    };
    let (mut pool, mut pair) = (Pool::new(PoolConfig::default()), Pair::default());
    let mut batch = Batch::new();
    // One packet more than a batch, for the pair.
    pool.warm_up(Batch::CAPACITY + 1, Batch::CAPACITY + 1);
    let mut buf = [0; 4096];

    fill();
    let counted = allocations(|| {
        for _ in 0..PACKETS {
            let len = queue.recv(&mut buf).expect("a packet");
            queue.send(&buf[..len]).expect("it is taken");
        }
    });
    assert_eq!(counted, 0, "recv and send");

    fill();
    let mut moved = 0;
    let counted = allocations(|| {
        while moved < PACKETS {
            moved += queue.recv_batch(&mut pool, &mut pair, &mut batch).expect("packets");
            while !batch.is_empty() {
                queue.send_batch(&mut pool, &mut batch).expect("they are taken");
            }
        }
        // Most likely EAGAIN: errors cost nothing either.
        let _ = queue.recv(&mut buf);
    });
    assert_eq!(counted, 0, "recv_batch and send_batch");
}

#[test]
fn packets_of_a_plain_queue_allocate_nothing() {
    packets_allocate_nothing(DeviceOptions::new(Mode::Tun).mtu(4000));
}

#[test]
fn packets_with_headers_allocate_nothing() {
    let options = DeviceOptions::new(Mode::Tun).mtu(4000).packet_info(true);
    packets_allocate_nothing(options.vnet_hdr(VnetFormat::default()));
}
