//! Tables of the packet filter that disappear.

use super::message::messages;
use super::socket::{NETFILTER, Socket};
use crate::Netns;
use rustix::io::Errno;
use rustix::net::RecvFlags;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

/// The group of changes to nf_tables, as a bit: `NFNLGRP_NFTABLES` is number 7 (`nfnetlink.h`).
const GROUP_NFTABLES: u32 = 1 << 6;

/// `NFT_MSG_DELTABLE` of the subsystem `NFNL_SUBSYS_NFTABLES` (`nf_tables.h`, `nfnetlink.h`).
const DELTABLE: u16 = 10 << 8 | 2;

/// How many datagrams one call reads; a flush of a large packet filter has more, and stays readable.
const DATAGRAMS_MAX: usize = 64;

/// A listener for deleted nf_tables tables in one network namespace: `nft flush ruleset`, which services
/// of packet filters run when they restart, deletes those of all programs.
#[derive(Debug)]
pub struct FilterMonitor(Socket);

impl FilterMonitor {
    /// Listens in the network namespace of the calling thread.
    ///
    /// # Errors
    /// EPERM without CAP_NET_ADMIN; EPROTONOSUPPORT on a kernel without nfnetlink.
    pub fn open() -> io::Result<Self> {
        Socket::open(None, NETFILTER, GROUP_NFTABLES).map(Self)
    }

    /// Listens in `netns`. The calling thread stays in its own namespace.
    ///
    /// # Errors
    /// As [`FilterMonitor::open`] and [`Netns::run`].
    pub fn open_in(netns: &Netns) -> io::Result<Self> {
        Socket::open(Some(netns), NETFILTER, GROUP_NFTABLES).map(Self)
    }

    /// Reads the events that are there, without waiting; whether a table was deleted, or events were lost.
    ///
    /// # Errors
    /// Those of recv(2). Messages of the kernel cause none.
    pub fn has_deleted(&mut self) -> io::Result<bool> {
        let mut has_deleted = false;
        for _ in 0..DATAGRAMS_MAX {
            match self.0.recv(RecvFlags::DONTWAIT) {
                Ok(datagram) => has_deleted |= messages(datagram).any(|m| m.kind == DELTABLE),
                Err(error) => match error.raw_os_error().map(Errno::from_raw_os_error) {
                    Some(Errno::NOBUFS | Errno::MSGSIZE) => has_deleted = true,
                    Some(Errno::AGAIN) => break,
                    _ => return Err(error),
                },
            }
        }
        Ok(has_deleted)
    }
}

impl AsFd for FilterMonitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
