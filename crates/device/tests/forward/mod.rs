//! Two namespaces with a device each, and threads that forward between them.

use crate::support;
use adit_device::{
    Batch, DeviceOptions, Endian, IfName, Mode, Netns, Offload, OffloadChoice, Pool, PoolConfig,
    Queue, ReceiveCounters, Receiver, SendCounters, SendOptions, Sender, VnetFormat, VnetLen,
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Fills `bytes` with those of an endless stream from `at` on.
pub(crate) fn fill(at: usize, bytes: &mut [u8]) {
    for (at, byte) in (at..).zip(bytes) {
        let word = u64::try_from(at).expect("64 bits").wrapping_mul(0x9e37_79b9_7f4a_7c15);
        *byte = word.to_be_bytes()[1];
    }
}

/// A namespace with a device in it, its address `192.0.2.N` and `2001:db8::N`.
#[derive(Debug)]
pub(crate) struct Side {
    pub(crate) netns: Netns,
    pub(crate) v4: IpAddr,
    pub(crate) v6: IpAddr,
    pub(crate) offload: Offload,
    pub(crate) queues: Vec<Queue>,
}

impl Side {
    pub(crate) fn new(mode: Mode, number: u8, queues: u16) -> Self {
        let netns = Netns::new_anonymous().expect("a namespace");
        let device = netns
            .run(|| {
                let name: IfName = "t0".parse().expect("a name");
                DeviceOptions::new(mode)
                    .name(name.into())
                    .queues(queues)
                    .nonblocking(true)
                    .vnet_hdr(VnetFormat { len: VnetLen::Tunnel, endian: Endian::Native })
                    .offload(OffloadChoice::Auto)
                    // What a burst of a test has in packets at most, with room to spare.
                    .txqueuelen(5000)
                    .open()
                    .expect("a device")
            })
            .expect("a thread in it");
        netns
            .run(|| {
                support::run("ip link set lo up");
                support::run("ip link set t0 up");
                support::run(&format!("ip addr add 192.0.2.{number}/24 dev t0"));
                support::run(&format!("ip addr add 2001:db8::{number}/64 dev t0 nodad"));
            })
            .expect("a thread in it");
        Self {
            netns,
            v4: Ipv4Addr::new(192, 0, 2, number).into(),
            v6: Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, number.into()).into(),
            offload: device.offload(),
            queues: device.into_queues(),
        }
    }

    /// A counter of the namespace: `Tcp: InErrs`, or by its name alone of IPv6.
    pub(crate) fn counter(&self, name: &str) -> u64 {
        let read = |file: &str| {
            let path = format!("/proc/thread-self/net/{file}");
            self.netns.run(|| std::fs::read_to_string(path).expect("counters")).expect("a thread")
        };
        let value = match name.split_once(' ') {
            Some((group, name)) => {
                let text = read("snmp");
                let mut lines = text.lines().filter(|line| line.starts_with(group));
                let names = lines.next().expect("names").split(' ').map(str::to_owned);
                let values = lines.next().expect("values").split(' ').map(str::to_owned);
                names.zip(values).find(|(known, _)| known == name).map(|(_, value)| value)
            }
            None => read("snmp6").lines().find_map(|line| {
                let (known, value) = line.split_once(char::is_whitespace)?;
                (known == name).then(|| value.trim().to_owned())
            }),
        };
        value.unwrap_or_else(|| panic!("no counter {name}")).parse().expect("a number")
    }
}

/// What one thread has done: counters of both halves, and packets.
pub(crate) type Done = (ReceiveCounters, SendCounters, usize);

/// Threads that take what comes out of one side, cut up, and send it into the other: one for each
/// pair of queues and direction.
#[derive(Debug)]
pub(crate) struct Forwarder {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Done>>,
}

/// Keeps the calling thread on one processor. Each has a queue of its own for packets that come in (netif_rx of the kernel), so
/// what a thread writes before and after it has moved could come out of order on a busy machine.
fn stay(number: usize) {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
    let allowed = sched_getaffinity(None).expect("its processors");
    let mut all = (0..CpuSet::MAX_CPU).filter(|&cpu| allowed.is_set(cpu)).cycle();
    let mut one = CpuSet::new();
    one.set(all.nth(number).expect("there is one"));
    sched_setaffinity(None, &one).expect("it may stay on one");
}

impl Forwarder {
    pub(crate) fn start(left: &mut Side, right: &mut Side, options: SendOptions) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut threads = Vec::new();
        for (left, right) in left.queues.drain(..).zip(right.queues.drain(..)) {
            let (left, right) = (Arc::new(left), Arc::new(right));
            for (from, to) in [(left.clone(), right.clone()), (right, left)] {
                let (stop, number) = (stop.clone(), threads.len());
                threads.push(std::thread::spawn(move || {
                    stay(number);
                    forward(&from, &to, options, &stop)
                }));
            }
        }
        Self { stop, threads }
    }

    /// Ends the threads: what each has done, both directions of the first queues first.
    pub(crate) fn stop(mut self) -> Vec<Done> {
        self.stop.store(true, Ordering::Relaxed);
        let threads = std::mem::take(&mut self.threads);
        threads.into_iter().map(|thread| thread.join().expect("it does not panic")).collect()
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn forward(from: &Queue, to: &Queue, options: SendOptions, stop: &AtomicBool) -> Done {
    let mut pool = Pool::new(PoolConfig::default());
    let mut batch = Batch::new();
    let mut receiver = Receiver::segmented(from.mode());
    let mut sender = Sender::new(to.mode(), options);
    let mut packets = 0;
    while !stop.load(Ordering::Relaxed) {
        match receiver.recv_batch(from, &mut pool, &mut batch) {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                from.wait(false, Some(Duration::from_millis(50))).expect("poll");
                continue;
            }
            Err(error) => panic!("receive: {error}"),
        }
        while !batch.is_empty() || sender.has_pending() {
            let sent = sender.send_batch(to, &mut pool, &mut batch).expect("send");
            packets += sent.sent;
        }
    }
    receiver.give_pending(&mut pool);
    sender.give_pending(&mut pool);
    assert_eq!(pool.out(), (0, 0), "every buffer is back");
    (*receiver.counters(), *sender.counters(), packets)
}
