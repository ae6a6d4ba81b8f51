//! Moving packets allocates nothing, once the pool is warm.

#![expect(unsafe_code, reason = "a counting GlobalAlloc can only be written with it")]

mod support;

use adit::netlink::Address;
use adit::{Batch, DeviceOptions, Mode, Pair, Pool, PoolConfig, VnetFormat};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::UdpSocket;

thread_local! {
    /// Allocations of this thread: those of the test harness beside it do not count.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

impl Counting {
    fn count() {
        // A thread that is ending has no counter any more.
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
    }
}

// SAFETY: every call goes to `System` with the arguments that came in.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::count();
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, len: usize) -> *mut u8 {
        Self::count();
        // SAFETY: the caller's promise is passed on.
        unsafe { System.realloc(memory, layout, len) }
    }
}

fn allocations(work: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.get();
    work();
    ALLOCATIONS.get() - before
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
