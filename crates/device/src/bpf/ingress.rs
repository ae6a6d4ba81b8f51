//! Programs on what arrives at an interface.

use super::classifier::Installed;
use super::{Instruction, LoadError, load};
use crate::netlink::Netlink;
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
    _way: Way,
}

#[derive(Debug)]
#[expect(dead_code, reason = "dropping it is its use")]
enum Way {
    /// The kernel removes it with the descriptor.
    Link(OwnedFd),
    Filter(Installed),
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

    /// Runs the program on each frame that arrives at an interface, after the packet sockets have it: by a link of
    /// tcx (Linux 6.6), or by [`Self::attach_filter`] where the kernel has none.
    ///
    /// # Errors
    /// ENODEV: there is no such interface in `netns`; those of [`Self::attach_filter`].
    pub fn attach(&self, netns: &Netns, index: IfIndex) -> io::Result<IngressLink> {
        match netns.run(|| sys::bpf::link_ingress(self.0.as_fd(), index.get()))? {
            Ok(link) => Ok(IngressLink { _way: Way::Link(link) }),
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                self.attach_filter(netns, index)
            }
            Err(error) => Err(error),
        }
    }

    /// The same by a filter of the packet classifier (`tc filter`), before all others. It is removed by
    /// netlink when the result is dropped, which needs `CAP_NET_ADMIN` then too. One that a killed process has left is
    /// removed here: it has the name `adit-...`, and no process holds the abstract Unix socket of that name in the namespace.
    ///
    /// # Errors
    /// ENODEV: there is no such interface in `netns`; EPERM; EINVAL: the first priority belongs to a filter
    /// of another kind; EOPNOTSUPP on a kernel without the classifier.
    pub fn attach_filter(&self, netns: &Netns, index: IfIndex) -> io::Result<IngressLink> {
        let install = || Installed::new(Netlink::open()?, index, self.0.as_fd());
        Ok(IngressLink { _way: Way::Filter(netns.run(install)??) })
    }
}

impl AsFd for IngressProgram {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
