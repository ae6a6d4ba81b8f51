//! The same work, `count` packets in or out of one descriptor, by each of the libraries.
//!
//! Each loop is a function of its own with a plain name, which callgrind can tell apart.

use crate::count::{Cost, measure};
use adit_device::{AsyncQueue, Batch, Pair, Pool, PoolConfig, Queue};
use std::hint::black_box;
use std::os::fd::{AsFd, AsRawFd, IntoRawFd, RawFd};
use tokio::runtime::Runtime;

/// What does the work.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Subject {
    C,
    CVectored,
    Libc,
    Adit,
    AditBatch,
    TunRs,
    Tun,
    AditTokio,
    TunRsTokio,
    TunTokio,
}

impl Subject {
    pub const ALL: [Self; 10] = [
        Self::C,
        Self::CVectored,
        Self::Libc,
        Self::Adit,
        Self::AditBatch,
        Self::TunRs,
        Self::Tun,
        Self::AditTokio,
        Self::TunRsTokio,
        Self::TunTokio,
    ];

    /// As in the table, and in the names of the loops.
    pub fn name(self) -> &'static str {
        match self {
            Self::C => "c",
            Self::CVectored => "c_vectored",
            Self::Libc => "libc",
            Self::Adit => "adit",
            Self::AditBatch => "adit_batch",
            Self::TunRs => "tun_rs",
            Self::Tun => "tun",
            Self::AditTokio => "adit_tokio",
            Self::TunRsTokio => "tun_rs_tokio",
            Self::TunTokio => "tun_tokio",
        }
    }
}

/// One device, and what the libraries need beside it.
pub struct Bench {
    queue: Option<Queue>,
    runtime: Runtime,
    pool: Pool,
    pair: Pair,
    batch: Batch,
}

impl Bench {
    pub fn new(queue: Queue) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
        let mut pool = Pool::new(PoolConfig::default());
        pool.warm_up(128, 2);
        Self {
            queue: Some(queue),
            runtime: runtime.expect("a runtime"),
            pool,
            pair: Pair::default(),
            batch: Batch::new(),
        }
    }

    fn queue(&self) -> &Queue {
        self.queue.as_ref().expect("it is put back after each turn")
    }

    /// A second descriptor of the queue, for a library that will close it.
    fn duplicate(&self) -> RawFd {
        self.queue().as_fd().try_clone_to_owned().expect("dup").into_raw_fd()
    }

    fn tun_rs(&self) -> tun_rs::SyncDevice {
        // SAFETY: the descriptor is fresh, open, without headers, and goes over to the device.
        unsafe { tun_rs::SyncDevice::from_fd(self.duplicate()) }.expect("tun-rs takes it")
    }

    fn tun_rs_tokio(&self) -> tun_rs::AsyncDevice {
        // SAFETY: as above.
        unsafe { tun_rs::AsyncDevice::from_fd(self.duplicate()) }.expect("tun-rs takes it")
    }

    fn tun(&self) -> tun::Device {
        let mut config = tun::Configuration::default();
        config.raw_fd(self.duplicate()).close_fd_on_drop(true);
        tun::Device::new(&config).expect("tun takes it")
    }

    fn c(&self, run: Loop, buf: &mut [u8], count: usize) -> Cost {
        let fd = self.queue().as_raw_fd();
        measure(|| {
            // SAFETY: the loop reads or writes `buf` within its length.
            let total = unsafe { run(fd, buf.as_mut_ptr(), buf.len(), count) };
            assert!(total > 0, "{}", std::io::Error::last_os_error());
        })
    }

    /// Receives `count` packets that are in the queue already.
    pub fn recv(&mut self, subject: Subject, count: usize) -> Cost {
        let mut buf = [0; 2048];
        let _entered = self.runtime.enter();
        match subject {
            Subject::C => self.c(bench_c_recv, &mut buf, count),
            Subject::CVectored => self.c(bench_c_vectored_recv, &mut buf, count),
            Subject::Libc => self.c(bench_libc_recv, &mut buf, count),
            Subject::Adit => measure(|| bench_adit_recv(self.queue(), &mut buf, count)),
            Subject::AditBatch => {
                let queue = self.queue.as_ref().expect("it is put back after each turn");
                let Self { pool, pair, batch, .. } = self;
                measure(|| bench_adit_batch_recv(queue, pool, pair, batch, count))
            }
            Subject::TunRs => {
                let device = self.tun_rs();
                measure(|| bench_tun_rs_recv(&device, &mut buf, count))
            }
            Subject::Tun => {
                let device = self.tun();
                measure(|| bench_tun_recv(&device, &mut buf, count))
            }
            Subject::AditTokio => {
                let queue = self.queue.take().expect("it is put back after each turn");
                let queue = AsyncQueue::new(queue).expect("the reactor takes it");
                let cost =
                    measure(|| bench_adit_tokio_recv(&self.runtime, &queue, &mut buf, count));
                self.queue = Some(queue.into_inner());
                cost
            }
            Subject::TunRsTokio => {
                let device = self.tun_rs_tokio();
                measure(|| bench_tun_rs_tokio_recv(&self.runtime, &device, &mut buf, count))
            }
            Subject::TunTokio => {
                let device = tun::AsyncDevice::new(self.tun()).expect("the reactor takes it");
                measure(|| bench_tun_tokio_recv(&self.runtime, &device, &mut buf, count))
            }
        }
    }

    /// Sends `packet` `count` times.
    pub fn send(&mut self, subject: Subject, packet: &mut [u8], count: usize) -> Cost {
        let _entered = self.runtime.enter();
        match subject {
            Subject::C => self.c(bench_c_send, packet, count),
            Subject::CVectored => self.c(bench_c_vectored_send, packet, count),
            Subject::Libc => self.c(bench_libc_send, packet, count),
            Subject::Adit => measure(|| bench_adit_send(self.queue(), packet, count)),
            Subject::AditBatch => {
                let queue = self.queue.as_ref().expect("it is put back after each turn");
                let Self { pool, batch, .. } = self;
                measure(|| bench_adit_batch_send(queue, pool, batch, packet, count))
            }
            Subject::TunRs => {
                let device = self.tun_rs();
                measure(|| bench_tun_rs_send(&device, packet, count))
            }
            Subject::Tun => {
                let device = self.tun();
                measure(|| bench_tun_send(&device, packet, count))
            }
            Subject::AditTokio => {
                let queue = self.queue.take().expect("it is put back after each turn");
                let queue = AsyncQueue::new(queue).expect("the reactor takes it");
                let cost = measure(|| bench_adit_tokio_send(&self.runtime, &queue, packet, count));
                self.queue = Some(queue.into_inner());
                cost
            }
            Subject::TunRsTokio => {
                let device = self.tun_rs_tokio();
                measure(|| bench_tun_rs_tokio_send(&self.runtime, &device, packet, count))
            }
            Subject::TunTokio => {
                let device = tun::AsyncDevice::new(self.tun()).expect("the reactor takes it");
                measure(|| bench_tun_tokio_send(&self.runtime, &device, packet, count))
            }
        }
    }
}

type Loop = unsafe extern "C" fn(RawFd, *mut u8, usize, usize) -> libc::c_long;

unsafe extern "C" {
    fn bench_c_recv(fd: RawFd, buf: *mut u8, len: usize, count: usize) -> libc::c_long;
    fn bench_c_send(fd: RawFd, buf: *mut u8, len: usize, count: usize) -> libc::c_long;
    fn bench_c_vectored_recv(fd: RawFd, buf: *mut u8, len: usize, count: usize) -> libc::c_long;
    fn bench_libc_recv(fd: RawFd, buf: *mut u8, len: usize, count: usize) -> libc::c_long;
    fn bench_c_vectored_send(fd: RawFd, buf: *mut u8, len: usize, count: usize) -> libc::c_long;
    fn bench_libc_send(fd: RawFd, buf: *mut u8, len: usize, count: usize) -> libc::c_long;
}

/// The loops over calls that wait by themselves.
macro_rules! loops {
    ($recv:ident, $send:ident, $device:ty) => {
        #[unsafe(no_mangle)]
        #[inline(never)]
        fn $recv(device: &$device, buf: &mut [u8], count: usize) {
            for _ in 0..count {
                let len = device.recv(buf).expect("a packet");
                black_box(&buf[..len]);
            }
        }

        #[unsafe(no_mangle)]
        #[inline(never)]
        fn $send(device: &$device, packet: &[u8], count: usize) {
            for _ in 0..count {
                device.send(black_box(packet)).expect("the packet is taken");
            }
        }
    };
}

loops!(bench_adit_recv, bench_adit_send, Queue);
loops!(bench_tun_rs_recv, bench_tun_rs_send, tun_rs::SyncDevice);
loops!(bench_tun_recv, bench_tun_send, tun::Device);

/// The loops over futures.
macro_rules! async_loops {
    ($recv:ident, $send:ident, $device:ty) => {
        #[unsafe(no_mangle)]
        #[inline(never)]
        fn $recv(runtime: &Runtime, device: &$device, buf: &mut [u8], count: usize) {
            runtime.block_on(async {
                for _ in 0..count {
                    let len = device.recv(buf).await.expect("a packet");
                    black_box(&buf[..len]);
                }
            });
        }

        #[unsafe(no_mangle)]
        #[inline(never)]
        fn $send(runtime: &Runtime, device: &$device, packet: &[u8], count: usize) {
            runtime.block_on(async {
                for _ in 0..count {
                    device.send(black_box(packet)).await.expect("the packet is taken");
                }
            });
        }
    };
}

async_loops!(bench_adit_tokio_recv, bench_adit_tokio_send, AsyncQueue);
async_loops!(bench_tun_rs_tokio_recv, bench_tun_rs_tokio_send, tun_rs::AsyncDevice);
async_loops!(bench_tun_tokio_recv, bench_tun_tokio_send, tun::AsyncDevice);

#[unsafe(no_mangle)]
#[inline(never)]
fn bench_adit_batch_recv(
    queue: &Queue,
    pool: &mut Pool,
    pair: &mut Pair,
    batch: &mut Batch,
    count: usize,
) {
    let mut seen = 0;
    while seen < count {
        seen += queue.recv_batch(pool, pair, batch).expect("packets");
        black_box(batch.as_slice());
        batch.give_all(pool);
    }
}

/// Filling the batch is a copy of each packet, which the other loops have not; it is not free.
#[unsafe(no_mangle)]
#[inline(never)]
fn bench_adit_batch_send(
    queue: &Queue,
    pool: &mut Pool,
    batch: &mut Batch,
    packet: &[u8],
    count: usize,
) {
    let mut sent = 0;
    while sent < count {
        while !batch.is_full() && sent + batch.len() < count {
            let mut buffer = pool.take_small().expect("the pool is large enough");
            buffer.extend(black_box(packet)).expect("the buffer is large enough");
            let _ = batch.push(buffer);
        }
        sent += queue.send_batch(pool, batch).expect("the packets are taken").sent;
    }
}
