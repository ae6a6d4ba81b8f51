//! The library, and the C loop on the devices that the library opened.

use crate::{FAR, Kind, NEAR, Result};
use adit::{
    Batch, DeviceOptions, Layout, Mode, Netns, Offload, OffloadChoice, PacketBuf, Pair, Pool,
    PoolConfig, Queue, VnetFormat, VnetHeader,
};
use adit_packet::{Coalescer, Layer, SuperPacket};
use std::io::IoSlice;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;

fn open(netns: &Netns, address: &str, kind: Kind) -> Result<Queue> {
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
    options.open()?.into_queues().pop().ok_or_else(|| "no queue".into())
}

fn pair(ends: [&Netns; 2], kind: Kind) -> Result<[Arc<Queue>; 2]> {
    Ok([Arc::new(open(ends[0], NEAR, kind)?), Arc::new(open(ends[1], FAR, kind)?)])
}

/// Both queues to the C program, as its input and its output; it lives as long as this process.
pub(crate) fn c_loop(ends: [&Netns; 2], kind: Kind, program: &str) -> Result<()> {
    let near: OwnedFd = open(ends[0], NEAR, kind)?.into();
    let far: OwnedFd = open(ends[1], FAR, kind)?.into();
    Command::new(program).stdin(Stdio::from(near)).stdout(Stdio::from(far)).spawn()?;
    Ok(())
}

/// `recv_batch` and `send_batch`: super-packets go through whole.
pub(crate) fn whole(ends: [&Netns; 2], kind: Kind) -> Result<()> {
    let [near, far] = pair(ends, kind)?;
    for (from, to) in [(near.clone(), far.clone()), (far, near)] {
        thread::spawn(move || {
            let mut pool = Pool::new(PoolConfig::default());
            let (mut pair, mut batch) = (Pair::default(), Batch::new());
            while from.recv_batch(&mut pool, &mut pair, &mut batch).is_ok() {
                while !batch.is_empty() && to.send_batch(&mut pool, &mut batch).is_ok() {}
                for packet in batch.drain(..) {
                    pool.give(packet);
                }
            }
        });
    }
    Ok(())
}

/// Every super-packet is cut into packets with checksums of their own, as a tunnel would need them,
/// and these are checked and joined again.
pub(crate) fn split(ends: [&Netns; 2], kind: Kind) -> Result<()> {
    let layer = if kind.tap { Layer::Frame } else { Layer::Packet };
    let [near, far] = pair(ends, kind)?;
    for (from, to) in [(near.clone(), far.clone()), (far, near)] {
        thread::spawn(move || {
            let mut splitter = Splitter::new(layer);
            let (mut pair, mut batch) = (Pair::default(), Batch::with_capacity(RECV_MAX));
            while from.recv_batch(&mut splitter.pool, &mut pair, &mut batch).is_ok() {
                for packet in batch.drain(..) {
                    splitter.cut(packet);
                }
                splitter.send(&to);
            }
        });
    }
    Ok(())
}

/// Super-packets taken at once: short ones are joined to longer ones, and the packets of eight, 2 KiB
/// each, still fit a core's second-level cache.
const RECV_MAX: usize = 8;

struct Splitter {
    layer: Layer,
    pool: Pool,
    packets: Vec<PacketBuf>,
    coalescer: Coalescer,
}

impl Splitter {
    fn new(layer: Layer) -> Self {
        let pool = Pool::new(PoolConfig::default());
        Self { layer, pool, packets: Vec::with_capacity(512), coalescer: Coalescer::new(layer) }
    }

    fn cut(&mut self, packet: PacketBuf) {
        let vnet = packet.meta.vnet;
        match SuperPacket::parse(packet.bytes(), &vnet, self.layer) {
            Ok(super_packet) if vnet.is_super_packet() || vnet.needs_csum() => {
                for segment in super_packet.segments() {
                    let Some(mut out) = self.pool.take(segment.len()) else { break };
                    if segment.append_to(&mut out).is_ok() {
                        self.packets.push(out);
                    }
                }
                self.pool.give(packet);
            }
            _ => self.packets.push(packet),
        }
    }

    fn send(&mut self, to: &Queue) {
        let layout = to.layout();
        for train in self.coalescer.join(&self.packets).iter() {
            let mut header = [0; Layout::LEN_MAX];
            let vnet: VnetHeader = train.vnet();
            let Ok(len) = layout.encode(adit::PacketInfo::default(), &vnet, &mut header) else {
                continue;
            };
            let mut pieces = [IoSlice::new(&[]); Coalescer::COUNT_MAX + 2];
            pieces[0] = IoSlice::new(&header[..len]);
            let mut count = 1;
            for piece in train.pieces() {
                pieces[count] = IoSlice::new(piece);
                count += 1;
            }
            // A packet that the kernel does not take is lost, and TCP tells.
            let _ = to.send_vectored(&pieces[..count]);
        }
        for packet in self.packets.drain(..) {
            self.pool.give(packet);
        }
    }
}
