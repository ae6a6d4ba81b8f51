//! A program on what arrives at an interface.

use crate::sys;
use crate::{IfIndex, Netns};
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

/// The program of a [`FastPath`](super::FastPath) on one interface; it goes when this is dropped.
#[derive(Debug)]
pub struct FastLink {
    _link: OwnedFd,
}

impl FastLink {
    pub(super) fn new(program: BorrowedFd<'_>, netns: &Netns, index: IfIndex) -> io::Result<Self> {
        let link = netns.run(|| sys::bpf::link_ingress(program, index.get()))??;
        Ok(Self { _link: link })
    }
}
