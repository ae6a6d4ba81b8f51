//! The namespaces of the keeper itself, and visits to others.

use adit_device::Netns;
use rustix::fs::{Mode, OFlags};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// The namespaces of the keeper. It has one thread, so it goes where its work is, and comes back.
#[derive(Debug)]
pub(super) struct Home {
    net: Netns,
    mount: OwnedFd,
    uts: OwnedFd,
}

/// The mounts and the host name of a node.
#[derive(Debug)]
pub(super) struct Inside {
    pub(super) mount: OwnedFd,
    pub(super) uts: OwnedFd,
}

impl Inside {
    /// Those of the calling process.
    pub(super) fn current() -> io::Result<Self> {
        Ok(Self { mount: open("mnt")?, uts: open("uts")? })
    }
}

fn open(kind: &str) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(format!("/proc/thread-self/ns/{kind}"), flags, Mode::empty())?)
}

impl Home {
    /// Those of the calling process.
    pub(super) fn current() -> io::Result<Self> {
        let Inside { mount, uts } = Inside::current()?;
        Ok(Self { net: Netns::current()?, mount, uts })
    }

    /// Does `work` in a network namespace.
    pub(super) fn in_net<T>(&self, net: &Netns, work: impl FnOnce() -> T) -> io::Result<T> {
        net.enter()?;
        let result = work();
        self.back(false);
        Ok(result)
    }

    /// Does `work` in a new network namespace, and returns that as well.
    pub(super) fn in_new_net<T>(&self, work: impl FnOnce() -> T) -> io::Result<(Netns, T)> {
        Netns::enter_new()?;
        let net = Netns::current();
        let result = work();
        self.back(false);
        Ok((net?, result))
    }

    /// Does `work` in a network namespace with these mounts, and the host name that belongs to them.
    pub(super) fn in_node<T>(
        &self,
        net: &Netns,
        inside: &Inside,
        work: impl FnOnce() -> T,
    ) -> io::Result<T> {
        let entered = net.enter().and_then(|()| {
            enter(&inside.mount, LinkNameSpaceType::Mount)?;
            enter(&inside.uts, LinkNameSpaceType::HostNameAndNISDomainName)
        });
        let result = entered.map(|()| work());
        self.back(true);
        result
    }

    /// Does `work`, which may enter other namespaces, and comes back.
    pub(super) fn returning<T>(&self, work: impl FnOnce() -> T) -> T {
        let result = work();
        self.back(true);
        result
    }

    fn back(&self, from_inside: bool) {
        let mut result = self.net.enter();
        if from_inside && result.is_ok() {
            result = enter(&self.mount, LinkNameSpaceType::Mount)
                .and_then(|()| enter(&self.uts, LinkNameSpaceType::HostNameAndNISDomainName));
        }
        result.expect("a process may enter namespaces again that it left");
    }
}

fn enter(namespace: &OwnedFd, kind: LinkNameSpaceType) -> io::Result<()> {
    Ok(move_into_link_name_space(namespace.as_fd(), Some(kind))?)
}
