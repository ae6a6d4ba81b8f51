//! What a process in a sandbox is ended by, and what this kernel offers for one.

use std::io;
use std::mem::zeroed;
use std::sync::OnceLock;

/// Returns the name of a system call.
type NameOf = fn(libc::c_long) -> &'static str;

static NAME_OF: OnceLock<NameOf> = OnceLock::new();

/// The version of Landlock (`LANDLOCK_CREATE_RULESET_VERSION`); 0 without it.
pub(crate) fn landlock_version() -> u32 {
    let (none, version): (*const u8, u32) = (std::ptr::null(), 1);
    // SAFETY: with this flag the call takes neither an address nor a length, and only returns a number.
    let found = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, none, 0, version) };
    u32::try_from(found).unwrap_or(0)
}

/// Whether clone3(2) is there: systemd's `RestrictNamespaces=` takes it away, and the C library calls clone(2) then.
pub(crate) fn has_clone3() -> bool {
    // SAFETY: without arguments the call is refused.
    unsafe { libc::syscall(libc::SYS_clone3, std::ptr::null::<u8>(), 0) };
    io::Error::last_os_error().raw_os_error() != Some(libc::ENOSYS)
}

/// Whether `SECCOMP_RET_TRAP` is available (`SECCOMP_GET_ACTION_AVAIL`).
pub(crate) fn has_seccomp_filters() -> bool {
    let (available, trap): (libc::c_uint, u32) = (2, 0x0003_0000);
    // SAFETY: the kernel reads four bytes at `trap`, which lives across the call.
    unsafe { libc::syscall(libc::SYS_seccomp, available, 0, &raw const trap) == 0 }
}

/// `PTRACE_TRACEME`.
pub(crate) fn trace_me() -> io::Result<()> {
    // SAFETY: the request takes no address.
    match unsafe { libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Installs the handler of SIGSYS.
pub(crate) fn report_forbidden_calls(name_of: NameOf) -> io::Result<()> {
    let _ = NAME_OF.set(name_of);
    // SAFETY: all zeros are a valid action: no flags, an empty mask, the default handler, which is replaced.
    let mut action: libc::sigaction = unsafe { zeroed() };
    let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) = report;
    action.sa_sigaction = handler as usize;
    action.sa_flags = libc::SA_SIGINFO;
    // SAFETY: the action is whole, and the handler makes async-signal-safe calls only.
    if unsafe { libc::sigaction(libc::SIGSYS, &raw const action, std::ptr::null_mut()) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Where `si_syscall` is in `siginfo_t`: after three numbers and an address, which is aligned.
const CALL_AT: usize = if size_of::<usize>() == 8 { 24 } else { 16 };

/// `SYS_SECCOMP`: the signal is about a forbidden call.
const SECCOMP: libc::c_int = 1;

/// Writes which call was forbidden, and ends the process: the signal is blocked here, so that a second forbidden call ends the
/// process at once.
extern "C" fn report(_: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: the kernel passes a whole `siginfo_t`.
    let code = unsafe { (*info).si_code };
    // SAFETY: it is longer than that.
    let place = unsafe { info.byte_add(CALL_AT) };
    // SAFETY: the kernel's ABI has a number of four bytes there, which are initialised.
    let number = unsafe { place.cast::<i32>().read() };
    let mut text = Text { bytes: [0; 192], len: 0 };
    if code == SECCOMP {
        let name = NAME_OF.get().map_or("", |name_of| name_of(number.into()));
        text.push("adit: the sandbox forbids the system call ");
        if name.is_empty() {
            text.push_number(number.unsigned_abs());
        } else {
            text.push(name);
        }
        text.push("; report this, and start with --sandbox off until it is fixed\n");
    }
    // SAFETY: it reads `len` initialised bytes.
    unsafe { libc::write(2, text.bytes.as_ptr().cast(), text.len) };
    // SAFETY: it is forbidden in every sandbox and, outside of one, fails for the null address.
    unsafe { libc::syscall(libc::SYS_chroot, std::ptr::null::<u8>()) };
    // SAFETY: it ends the process and has no precondition.
    unsafe { libc::_exit(128 + libc::SIGSYS) };
}

/// A line that is made without memory from the heap.
struct Text {
    bytes: [u8; 192],
    len: usize,
}

impl Text {
    fn push(&mut self, text: &str) {
        for byte in text.bytes() {
            if let Some(place) = self.bytes.get_mut(self.len) {
                *place = byte;
                self.len += 1;
            }
        }
    }

    fn push_number(&mut self, number: u32) {
        let mut divisor = 1_000_000_000;
        while divisor > 1 && number / divisor == 0 {
            divisor /= 10;
        }
        while divisor > 0 {
            let digit = u8::try_from(number / divisor % 10).unwrap_or(0);
            self.push(std::str::from_utf8(&[b'0' + digit]).unwrap_or("?"));
            divisor /= 10;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_without_memory() {
        for number in [0, 7, 42, 101, u32::MAX] {
            let mut text = Text { bytes: [0; 192], len: 0 };
            text.push_number(number);
            assert_eq!(&text.bytes[..text.len], number.to_string().as_bytes());
        }
    }
}
