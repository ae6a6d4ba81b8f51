//! The receive ring of a packet socket (`TPACKET_V3`, packet_mmap.rst in the kernel's documentation):
//! blocks of memory that belong to the kernel and to the program by turns.

use crate::sys::packet_socket::set;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use std::io;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

/// Where `block_status` is in a block (`struct tpacket_block_desc`).
const STATUS_AT: usize = 8;

/// The geometry of a ring.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// The length of a block in bytes, a multiple of the page size: the longest packet with its headers.
    pub(crate) block_len: usize,
    /// The number of blocks.
    pub(crate) blocks: usize,
    /// The milliseconds after which the kernel passes on a block that is not full.
    pub(crate) retire_after: u32,
}

/// The memory that the kernel shares with us.
#[derive(Debug)]
pub(crate) struct Ring {
    memory: NonNull<u8>,
    block_len: usize,
    blocks: usize,
}

// SAFETY: the memory belongs to this value alone, beside the kernel; nothing in it is bound to a thread.
unsafe impl Send for Ring {}

impl Ring {
    /// Makes the ring of a socket that is not bound yet, and maps it (`PACKET_VERSION`,
    /// `PACKET_RX_RING`).
    pub(crate) fn new(socket: BorrowedFd<'_>, shape: Shape) -> io::Result<Self> {
        let Shape { block_len, blocks, retire_after } = shape;
        let wide = |_| io::ErrorKind::InvalidInput;
        let [size, count] = [u32::try_from(block_len), u32::try_from(blocks)];
        let (size, count) = (size.map_err(wide)?, count.map_err(wide)?);
        let version = libc::tpacket_versions::TPACKET_V3 as i32;
        set(socket, libc::SOL_PACKET, libc::PACKET_VERSION, &version)?;
        // Version 3 does not use frames, but the kernel checks that they fill the blocks.
        let request = libc::tpacket_req3 {
            tp_block_size: size,
            tp_block_nr: count,
            tp_frame_size: size,
            tp_frame_nr: count,
            tp_retire_blk_tov: retire_after,
            tp_sizeof_priv: 0,
            tp_feature_req_word: 0,
        };
        set(socket, libc::SOL_PACKET, libc::PACKET_RX_RING, &request)?;
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        let len = block_len.checked_mul(blocks).ok_or(io::ErrorKind::InvalidInput)?;
        // SAFETY: a new mapping, at an address of the kernel's choice; nothing else refers to it.
        let memory =
            unsafe { mmap(std::ptr::null_mut(), len, protection, MapFlags::SHARED, socket, 0)? };
        let memory = NonNull::new(memory.cast()).expect("the kernel maps no page at 0");
        Ok(Self { memory, block_len, blocks })
    }

    /// The number of blocks.
    pub(crate) const fn blocks(&self) -> usize {
        self.blocks
    }

    /// The bytes of a block if it is ours. The kernel does not write to it until [`Self::release`].
    pub(crate) fn block(&self, number: usize) -> Option<&[u8]> {
        let user = libc::TP_STATUS_USER;
        if self.status(number).load(Ordering::Acquire) & user == 0 {
            return None;
        }
        // SAFETY: `status` checked the number, so the block lies within the mapping. The kernel has passed
        // it on (acquire), and takes it back only through `release`, for which `self` is borrowed
        // mutably. The status itself is not written either until then.
        Some(unsafe { std::slice::from_raw_parts(self.start(number).as_ptr(), self.block_len) })
    }

    /// Gives a block back to the kernel.
    pub(crate) fn release(&mut self, number: usize) {
        self.status(number).store(libc::TP_STATUS_KERNEL, Ordering::Release);
    }

    fn start(&self, number: usize) -> NonNull<u8> {
        assert!(number < self.blocks, "a block of the ring");
        // SAFETY: the offset is within the mapping of `blocks * block_len` bytes.
        unsafe { self.memory.add(number * self.block_len) }
    }

    fn status(&self, number: usize) -> &AtomicU32 {
        let start = self.start(number).as_ptr();
        // SAFETY: a block is longer than its header.
        let status = unsafe { start.add(STATUS_AT) };
        // SAFETY: aligned to 8 in a page, mapped as long as `self` lives, and written by us and by the kernel
        // only as a whole word.
        unsafe { AtomicU32::from_ptr(status.cast()) }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: the mapping of `new`; no reference into it outlives `self`.
        let _ = unsafe { munmap(self.memory.as_ptr().cast(), self.block_len * self.blocks) };
    }
}
