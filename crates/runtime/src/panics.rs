//! Panics: each is a bug and ends the program, after the owner of the loop has undone its changes.

use rustix::process::getpid;
use std::io::{self, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::atomic::{AtomicBool, Ordering};

static IS_ENDING: AtomicBool = AtomicBool::new(false);

static HAS_BACKTRACE: AtomicBool = AtomicBool::new(true);

/// From here on a panic has no backtrace: a sandbox forbids the system calls for it.
pub fn forbid_backtraces() {
    HAS_BACKTRACE.store(false, Ordering::Relaxed);
}

/// From here on a panic of any thread but the first ends the program as SIGTERM does, which ends a loop in
/// order.
pub fn end_in_order() {
    let tell = take_hook();
    set_hook(Box::new(move |panic| {
        IS_ENDING.store(true, Ordering::Release);
        if HAS_BACKTRACE.load(Ordering::Relaxed) {
            tell(panic);
        } else {
            // As the standard library, but that it reads the program's own file for a backtrace.
            let thread = std::thread::current();
            let name = thread.name().unwrap_or("<unnamed>");
            let _ = writeln!(io::stderr(), "\nthread '{name}' {panic}");
        }
        if rustix::thread::gettid() != getpid() {
            // Whichever thread handles it. A process may always signal itself, also in a sandbox.
            let _ = signal_hook::low_level::raise(signal_hook::consts::SIGTERM);
        }
    }));
}

/// Whether a thread has panicked.
pub fn is_ending() -> bool {
    IS_ENDING.load(Ordering::Acquire)
}

/// Does `work`, and turns its panic into an error. What it worked on may be in any state then: it can only
/// be dropped.
///
/// # Errors
/// Those of `work`.
pub fn caught<T>(work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let done = catch_unwind(AssertUnwindSafe(work));
    done.unwrap_or_else(|_| Err(io::Error::other("a bug in adit: it panicked")))
}

/// Panics if the environment says `ADIT_FAILPOINT=name`, for the tests of what a panic leaves behind. In
/// a release there is nothing of it.
pub fn failpoint(name: &str) {
    if cfg!(debug_assertions) && std::env::var_os("ADIT_FAILPOINT").is_some_and(|set| set == name) {
        panic!("the failpoint {name}");
    }
}
