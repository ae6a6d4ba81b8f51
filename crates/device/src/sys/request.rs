//! Numbers of ioctl requests, as the C library's `ioctl` takes them.

use rustix::ioctl::Opcode;

/// The request as `ioctl(2)` of this C library takes it: `unsigned long` in glibc, `int` in musl.
/// Both pass the same 32 bits to the kernel.
#[allow(
    clippy::unnecessary_cast,
    clippy::cast_lossless,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "which casts are needed depends on the C library and the size of its long"
)]
pub(super) const fn number(opcode: Opcode) -> libc::Ioctl {
    opcode as libc::Ioctl
}
