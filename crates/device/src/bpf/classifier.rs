//! A program as a filter of the packet classifier, and its removal, also after the death of its process.
//!
//! ```text
//! name     adit-0123456789abcdef, or adit-0123456789abcdef-clsact: the qdisc was made for it and goes with it
//! owner    the process that has bound the abstract Unix socket of that name, in the namespace of the interface
//! ```

use crate::IfIndex;
use crate::netlink::Netlink;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, socket_with};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

/// What names of our filters begin with.
const PREFIX: &str = "adit-";
/// What they end with if nobody else wanted the qdisc.
const WITH_CLSACT: &str = "-clsact";

/// A filter, removed when this is dropped.
#[derive(Debug)]
pub(super) struct Installed {
    netlink: Netlink,
    index: IfIndex,
    name: String,
    /// Says that the owner lives.
    _owner: OwnedFd,
}

impl Installed {
    /// Puts a program before all filters on what arrives, in the namespace of the calling thread; removes what
    /// dead processes left there.
    pub(super) fn new(
        mut netlink: Netlink,
        index: IfIndex,
        program: BorrowedFd<'_>,
    ) -> io::Result<Self> {
        remove_stale(&mut netlink, index)?;
        let is_made = netlink.add_clsact(index)?;
        // If another switch of ours made it, the last one takes it away.
        let is_ours = is_made || names(&mut netlink, index)?.iter().any(|name| has_clsact(name));
        let token = RandomState::new().hash_one(index.get());
        let name = format!("{PREFIX}{token:016x}{}", if is_ours { WITH_CLSACT } else { "" });
        let owner = claim(&name)?;
        let added = netlink.add_ingress_program(index, program, name.as_bytes());
        // From here on, dropping removes the qdisc too.
        let installed = Self { netlink, index, name, _owner: owner };
        added.map(|()| installed)
    }
}

impl Drop for Installed {
    fn drop(&mut self) {
        // The interface may be gone, and all this with it. Without permission the filter stays until the next
        // start; it does nothing meanwhile.
        let _ = remove(&mut self.netlink, self.index, &self.name);
    }
}

/// Removes the filters of dead processes.
fn remove_stale(netlink: &mut Netlink, index: IfIndex) -> io::Result<()> {
    for name in names(netlink, index)? {
        match claim(&name) {
            Ok(_owner) => remove(netlink, index, &name)?,
            Err(error) if error.raw_os_error() == Some(libc::EADDRINUSE) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Removes the filter of that name if it is there, and the qdisc if that came with it and nothing is left there.
fn remove(netlink: &mut Netlink, index: IfIndex, name: &str) -> io::Result<()> {
    for filter in netlink.ingress_filters(index)? {
        if filter.name == name.as_bytes() {
            netlink.remove_ingress_filter(index, &filter)?;
        }
    }
    if has_clsact(name) && netlink.has_no_filter(index)? {
        netlink.remove_clsact(index)?;
    }
    Ok(())
}

/// The names of our filters on an interface.
fn names(netlink: &mut Netlink, index: IfIndex) -> io::Result<Vec<String>> {
    let filters = netlink.ingress_filters(index)?.into_iter();
    let names = filters.filter_map(|filter| String::from_utf8(filter.name).ok());
    Ok(names.filter(|name| name.starts_with(PREFIX)).collect())
}

fn has_clsact(name: &str) -> bool {
    name.ends_with(WITH_CLSACT)
}

/// Binds the socket of a name; EADDRINUSE if its owner lives.
fn claim(name: &str) -> io::Result<OwnedFd> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    let address = SocketAddrUnix::new_abstract_name(name.as_bytes())?;
    bind(&socket, &address).map(|()| socket).map_err(Errno::into)
}
