//! A kernel that refuses certain writes: a seccomp filter answers them with EINVAL.

use std::ops::RangeInclusive;
use std::process::{Command, Stdio};

const VARIABLE: &str = "ADIT_TEST_REFUSES";

/// Installs a filter for writev(2) by its number of pieces, and becomes the program of its arguments.
const PROGRAM: &str = r"
import ctypes, os, struct, sys
number, low, high = map(int, sys.argv[1:4])
EINVAL, ALLOW = 0x00050016, 0x7fff0000
rows = [(0x20, 0, 0, 0), (0x15, 0, 4, number),        # seccomp_data.nr
        (0x20, 0, 0, 32 if sys.byteorder == 'little' else 36),  # args[2], its low half
        (0x35, 0, 2, low), (0x25, 1, 0, high), (6, 0, 0, EINVAL), (6, 0, 0, ALLOW)]
rows = ctypes.create_string_buffer(b''.join(struct.pack('HBBI', *row) for row in rows))
program = ctypes.create_string_buffer(struct.pack('HxxxxxxP', 7, ctypes.addressof(rows)))
prctl = ctypes.CDLL(None, use_errno=True).prctl
assert prctl(38, 1, 0, 0, 0) == 0  # PR_SET_NO_NEW_PRIVS
assert prctl(22, 2, program) == 0, ctypes.get_errno()  # PR_SET_SECCOMP, by filter
os.execv(sys.argv[4], sys.argv[4:])
";

/// Runs the test of that name once more, in a process whose writes of so many pieces the kernel
/// refuses, and fails if it does; `true` in that process.
pub(crate) fn is_refusing(test: &str, pieces: RangeInclusive<usize>) -> bool {
    if std::env::var_os(VARIABLE).is_some() {
        return true;
    }
    let output = Command::new("timeout")
        .args(["120", "python3", "-c", PROGRAM])
        .args([libc::SYS_writev.to_string(), pieces.start().to_string(), pieces.end().to_string()])
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
