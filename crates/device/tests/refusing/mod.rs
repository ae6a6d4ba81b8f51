//! A kernel that refuses certain writes: a seccomp filter answers them with EINVAL.

use std::ops::RangeInclusive;
use std::process::{Command, Stdio};

const VARIABLE: &str = "ADIT_TEST_REFUSES";

/// Installs a filter for a system call by its third argument, on descriptors that are not standard
/// ones, and becomes the program of its arguments.
const PROGRAM: &str = r"
import ctypes, os, struct, sys
number, low, high = map(int, sys.argv[1:4])
EINVAL, ALLOW = 0x00050016, 0x7fff0000
half = 0 if sys.byteorder == 'little' else 4  # where an argument's low half is
rows = [(0x20, 0, 0, 0), (0x15, 0, 6, number),        # seccomp_data.nr
        (0x20, 0, 0, 16 + half), (0x35, 0, 4, 3),     # args[0]
        (0x20, 0, 0, 32 + half), (0x35, 0, 2, low), (0x25, 1, 0, high),  # args[2]
        (6, 0, 0, EINVAL), (6, 0, 0, ALLOW)]
rows = ctypes.create_string_buffer(b''.join(struct.pack('HBBI', *row) for row in rows))
program = ctypes.create_string_buffer(struct.pack('HxxxxxxP', 9, ctypes.addressof(rows)))
prctl = ctypes.CDLL(None, use_errno=True).prctl
assert prctl(38, 1, 0, 0, 0) == 0  # PR_SET_NO_NEW_PRIVS
assert prctl(22, 2, program) == 0, ctypes.get_errno()  # PR_SET_SECCOMP, by filter
os.execv(sys.argv[4], sys.argv[4:])
";

/// What is refused.
#[expect(dead_code, reason = "each test binary uses one")]
pub(crate) enum Refused {
    /// write(2) of so many bytes.
    Whole(RangeInclusive<usize>),
    /// writev(2) of so many pieces.
    Gathered(RangeInclusive<usize>),
}

/// Runs the test of that name once more, in a process of which the kernel refuses such writes, and
/// fails if it does; `true` in that process.
pub(crate) fn is_refusing(test: &str, refused: Refused) -> bool {
    if std::env::var_os(VARIABLE).is_some() {
        return true;
    }
    let (call, range) = match refused {
        Refused::Whole(bytes) => (libc::SYS_write, bytes),
        Refused::Gathered(pieces) => (libc::SYS_writev, pieces),
    };
    let output = Command::new("timeout")
        .args(["300", "python3", "-c", PROGRAM])
        .args([call.to_string(), range.start().to_string(), range.end().to_string()])
        .arg(std::env::current_exe().expect("the test itself"))
        .args(["--exact", test])
        .env(VARIABLE, "1")
        .stdin(Stdio::null())
        .output()
        .expect("run timeout(1)");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    false
}
