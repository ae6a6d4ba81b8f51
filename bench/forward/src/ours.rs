//! The library, and the C loop on the devices that the library opened.

use crate::{FAR, Kind, NEAR, Result};
use adit_device::{
    Batch, DeviceOptions, Mode, Netns, Offload, OffloadChoice, Pair, Pool, PoolConfig, Queue,
    Receiver, SendOptions, Sender, VnetFormat,
};
use rustix::thread::{CpuSet, sched_setaffinity};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;

fn open(netns: &Netns, address: &str, kind: Kind) -> Result<Queue> {
    open_queues(netns, address, kind, 1)?.pop().ok_or_else(|| "no queue".into())
}

fn open_queues(netns: &Netns, address: &str, kind: Kind, count: u16) -> Result<Vec<Queue>> {
    let mode = if kind.tap { Mode::Tap } else { Mode::Tun };
    let mut options = DeviceOptions::new(mode)
        .name("dev0".parse()?)
        .netns(netns.try_clone()?)
        .address(format!("{address}/24").parse()?)
        .up(true);
    if kind.offload {
        let offload = OffloadChoice::Exact(Offload::USO);
        options = options.vnet_hdr(VnetFormat::default()).offload(offload);
    }
    if count > 1 {
        options = options.queues(count);
    }
    Ok(options.open()?.into_queues())
}

fn pair(ends: [&Netns; 2], kind: Kind) -> Result<[Arc<Queue>; 2]> {
    Ok([Arc::new(open(ends[0], NEAR, kind)?), Arc::new(open(ends[1], FAR, kind)?)])
}

/// A pair of queues to each C program, as its input and its output; they live as long as this process.
pub(crate) fn c_loop(ends: [&Netns; 2], kind: Kind, count: u16, program: &str) -> Result<()> {
    let near = open_queues(ends[0], NEAR, kind, count)?;
    let far = open_queues(ends[1], FAR, kind, count)?;
    for (near, far) in near.into_iter().zip(far) {
        let [near, far] = [near, far].map(|queue| Stdio::from(OwnedFd::from(queue)));
        Command::new(program).stdin(near).stdout(far).spawn()?;
    }
    Ok(())
}

/// `recv_batch` and `send_batch`: super-packets go through whole.
pub(crate) fn whole(ends: [&Netns; 2], kind: Kind) -> Result<()> {
    forward_whole(pair(ends, kind)?, None);
    Ok(())
}

/// As [`whole`], with so many queues in each device and a thread for each of them and each direction. The
/// kernel sends the packets of a flow to the queue from which those of the other direction came, so a flow
/// stays with one pair of threads; pinned, it stays on one core.
pub(crate) fn queues(ends: [&Netns; 2], kind: Kind, count: u16, is_pinned: bool) -> Result<()> {
    let near = open_queues(ends[0], NEAR, kind, count)?;
    let far = open_queues(ends[1], FAR, kind, count)?;
    for (core, (near, far)) in near.into_iter().zip(far).enumerate() {
        forward_whole([Arc::new(near), Arc::new(far)], is_pinned.then_some(core));
    }
    Ok(())
}

fn forward_whole([near, far]: [Arc<Queue>; 2], core: Option<usize>) {
    for (from, to) in [(near.clone(), far.clone()), (far, near)] {
        thread::spawn(move || {
            if let Some(core) = core {
                let mut cores = CpuSet::new();
                cores.set(core);
                sched_setaffinity(None, &cores).expect("the machine has that core");
            }
            let mut pool = Pool::new(PoolConfig::default());
            pool.warm_up(Batch::CAPACITY + 1, Batch::CAPACITY + 1);
            let (mut pair, mut batch) = (Pair::default(), Batch::new());
            while from.recv_batch(&mut pool, &mut pair, &mut batch).is_ok() {
                while !batch.is_empty() && to.send_batch(&mut pool, &mut batch).is_ok() {}
                batch.give_all(&mut pool);
            }
        });
    }
}

/// Packets of five full super-packets: short ones are joined to longer ones, and buffers of 2 KiB for
/// all of them are half of a core's second-level cache.
const SPLIT_BATCH: usize = 256;

/// Every super-packet is cut into packets with checksums of their own, as a tunnel would need them,
/// and these are joined again.
pub(crate) fn split(ends: [&Netns; 2], kind: Kind) -> Result<()> {
    let [near, far] = pair(ends, kind)?;
    for (from, to) in [(near.clone(), far.clone()), (far, near)] {
        thread::spawn(move || {
            let mut pool = Pool::new(PoolConfig::default());
            pool.warm_up(SPLIT_BATCH + 1, 2);
            let mut batch = Batch::with_capacity(SPLIT_BATCH);
            let mut receiver = Receiver::segmented(from.mode());
            let mut sender = Sender::new(to.mode(), SendOptions::ALL);
            while receiver.recv_batch(&from, &mut pool, &mut batch).is_ok() {
                while !batch.is_empty() && sender.send_batch(&to, &mut pool, &mut batch).is_ok() {}
                batch.give_all(&mut pool);
            }
        });
    }
    Ok(())
}
