//! Programs on what arrives at an interface.

use super::{Instruction, LoadError, load};
use crate::broker::{self, Request};
use crate::sys;
use crate::{IfIndex, Netns};
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// A loaded program of type `BPF_PROG_TYPE_SCHED_CLS`. It returns what becomes of a frame, one of the
/// kernel's `TC_ACT_*`.
#[derive(Debug)]
pub struct IngressProgram(OwnedFd);

/// A program on an interface; it goes when this is dropped.
#[derive(Debug)]
pub struct IngressLink {
    _link: OwnedFd,
}

impl IngressProgram {
    /// Loads instructions. `licence` determines which helpers they may call.
    ///
    /// # Errors
    /// EPERM without `CAP_BPF` and `CAP_NET_ADMIN` in the initial user namespace; EINVAL or EACCES with the
    /// verifier's log if it rejects the program.
    pub fn from_instructions(
        instructions: &[Instruction],
        licence: &CStr,
    ) -> Result<Self, LoadError> {
        load(sys::bpf::PROG_TYPE_SCHED_CLS, instructions, licence).map(Self)
    }

    /// Runs the program on each frame that arrives at an interface, after the packet sockets have it.
    ///
    /// # Errors
    /// ENODEV: there is no such interface in `netns`; EINVAL on a kernel without tcx (Linux 6.6).
    pub fn attach(&self, netns: &Netns, index: IfIndex) -> io::Result<IngressLink> {
        let opened = broker::open(&Request::Ingress(index.get()), &[self.0.as_fd(), netns.as_fd()]);
        let here = || attach_for_another(self.0.as_fd(), netns, index);
        Ok(IngressLink { _link: opened.unwrap_or_else(here)? })
    }
}

/// Runs a program on what arrives at an interface, for another process.
///
/// # Errors
/// As [`IngressProgram::attach`].
pub fn attach_for_another(
    program: BorrowedFd<'_>,
    netns: &Netns,
    index: IfIndex,
) -> io::Result<OwnedFd> {
    netns.run(|| sys::bpf::link_ingress(program, index.get()))?
}

impl AsFd for IngressProgram {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
