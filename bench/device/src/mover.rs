//! The two that are compared: the library, and bare system calls as the ceiling.

use adit_device::{Layout, Pair, Pool, PoolConfig, Queue, RECORD_LEN_MAX};
use adit_packet::{Batch, PacketBuf};
use std::io;
use std::os::fd::AsFd;

/// Who moves the packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MoverKind {
    /// read(2) and write(2) on one buffer, headers left as they are: nothing can do less.
    Plain,
    /// `recv_batch` and `send_batch`, headers decoded and encoded.
    Adit,
}

impl MoverKind {
    /// In the order of their turns.
    pub(crate) const ALL: [Self; 2] = [Self::Plain, Self::Adit];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain loop",
            Self::Adit => "adit",
        }
    }
}

/// How many packets and bytes moved, headers of the queue not counted.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Moved {
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
}

impl Moved {
    fn add(&mut self, len: usize) {
        self.packets += 1;
        self.bytes += u64::try_from(len).unwrap_or(u64::MAX);
    }
}

/// A mover with its memory, for one thread. Its queues do not wait.
pub(crate) enum Mover {
    Plain(Box<[u8]>),
    Adit(Box<Memory>),
}

/// What the library's calls work on.
pub(crate) struct Memory {
    pool: Pool,
    pair: Pair,
    batch: Batch,
}

impl Mover {
    pub(crate) fn new(kind: MoverKind) -> Self {
        match kind {
            MoverKind::Plain => Self::Plain(vec![0; RECORD_LEN_MAX].into_boxed_slice()),
            MoverKind::Adit => Self::Adit(Box::new(Memory {
                pool: Pool::new(PoolConfig::default()),
                pair: Pair::default(),
                batch: Batch::new(),
            })),
        }
    }

    /// Sends a packet `count` times.
    ///
    /// # Errors
    /// The first packet that the kernel refused.
    pub(crate) fn write(
        &mut self,
        queue: &Queue,
        packet: &mut PacketBuf,
        count: u32,
    ) -> io::Result<()> {
        match self {
            Self::Plain(record) => {
                let mut header = [0; Layout::LEN_MAX];
                let meta = &packet.meta;
                let len = queue
                    .layout()
                    .encode(meta.info, &meta.vnet, &mut header)
                    .map_err(io::Error::other)?;
                let record = &mut record[..len + packet.len()];
                record[..len].copy_from_slice(&header[..len]);
                record[len..].copy_from_slice(packet.bytes());
                for _ in 0..count {
                    rustix::io::write(queue.as_fd(), record)?;
                }
            }
            Self::Adit(_) => {
                for _ in 0..count {
                    queue.send_packet_mut(packet)?;
                }
            }
        }
        Ok(())
    }

    /// Takes packets out of a queue until there are none.
    pub(crate) fn drain(&mut self, queue: &Queue, moved: &mut Moved) -> io::Result<()> {
        loop {
            let before = moved.packets;
            let done = match self {
                Self::Plain(record) => rustix::io::read(queue.as_fd(), &mut **record)
                    .map(|len| moved.add(len.saturating_sub(queue.layout().len())))
                    .map_err(io::Error::from),
                Self::Adit(memory) => {
                    let Memory { pool, pair, batch } = &mut **memory;
                    queue.recv_batch(pool, pair, batch).map(|_| {
                        for packet in batch.drain(..) {
                            moved.add(packet.len());
                            pool.give(packet);
                        }
                    })
                }
            };
            match done {
                Ok(()) if moved.packets > before => {}
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Moves what waits in one queue to the other; what that one does not take is lost.
    ///
    /// # Errors
    /// EAGAIN: nothing waits. Others: the device is gone.
    pub(crate) fn forward(&mut self, from: &Queue, to: &Queue) -> io::Result<Moved> {
        let mut moved = Moved::default();
        match self {
            Self::Plain(record) => {
                let len = rustix::io::read(from.as_fd(), &mut **record)?;
                if rustix::io::write(to.as_fd(), &record[..len]).is_ok() {
                    moved.add(len.saturating_sub(from.layout().len()));
                }
            }
            Self::Adit(memory) => {
                let Memory { pool, pair, batch } = &mut **memory;

                from.recv_batch(pool, pair, batch)?;
                while !batch.is_empty() {
                    let bytes = batch.iter().map(|packet| packet.len()).sum::<usize>();
                    let Ok(sent) = to.send_batch(pool, batch) else { break };
                    let left = batch.iter().map(|packet| packet.len()).sum::<usize>();
                    moved.packets += u64::try_from(sent.sent).unwrap_or_default();
                    moved.bytes += u64::try_from(bytes - left).unwrap_or_default();
                }
                for packet in batch.drain(..) {
                    pool.give(packet);
                }
            }
        }
        Ok(moved)
    }
}
