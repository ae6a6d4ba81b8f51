//! What is counted: allocations and CPU time of the calling thread.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering};

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

/// The system's allocator, counting. (A `GlobalAlloc` is unsafe to write; it is nowhere but here.)
pub struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call goes to `System` with the arguments that came in.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, len: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        unsafe { System.realloc(memory, layout, len) }
    }
}

/// What a piece of work took.
#[derive(Clone, Copy)]
pub struct Cost {
    pub nanoseconds: u64,
    pub allocations: u64,
}

/// Runs `work` and says what it took.
pub fn measure(work: impl FnOnce()) -> Cost {
    let (allocations, start) = (ALLOCATIONS.load(Ordering::Relaxed), cpu_time());
    work();
    let nanoseconds = cpu_time() - start;
    Cost { nanoseconds, allocations: ALLOCATIONS.load(Ordering::Relaxed) - allocations }
}

fn cpu_time() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is ours to write.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    assert_eq!(failed, 0, "CLOCK_THREAD_CPUTIME_ID");
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
