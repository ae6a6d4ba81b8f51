//! Programs at the ingress of an interface.
//!
//! ```text
//! tcx         a link, which the kernel removes with its descriptor (since Linux 6.6)
//! classifier  a filter, removed by netlink; its name is adit-0123456789abcdef, or adit-0123456789abcdef-clsact if the
//!             qdisc was made for it and goes with it. Its owner is the process that has bound the abstract Unix socket
//!             of that name, in the namespace of the interface
//! ```

use adit_device::bpf::{IngressLink, IngressProgram};
use adit_device::broker::UnixSocket;
use adit_device::netlink::Netlink;
use adit_device::rights::open_unix;
use adit_device::{IfIndex, Netns};
use rustix::io::Errno;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::fd::OwnedFd;

/// What names of our filters begin with.
const PREFIX: &str = "adit-";
/// What they end with if nobody else wanted the qdisc.
const WITH_CLSACT: &str = "-clsact";
/// The longest of them: longer ones are somebody else's, and may be none of a socket.
const NAME_LEN_MAX: usize = 28;

/// How a program is put on what arrives at an interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hook {
    /// By a link of tcx; as a filter where the kernel has none (before Linux 6.6).
    #[default]
    Any,
    /// As a filter of the packet classifier, before all others, whatever the kernel has.
    Filter,
}

/// A program on an interface; it goes when this is dropped. A filter's removal needs `CAP_NET_ADMIN` then too.
#[derive(Debug)]
pub struct Attached {
    way: Way,
}

#[derive(Debug)]
#[expect(dead_code, reason = "dropping it is its use")]
enum Way {
    Link(IngressLink),
    Filter(Filter),
}

impl Attached {
    /// Whether its removal needs `CAP_NET_ADMIN`: without tcx it does not go with its descriptor.
    #[must_use]
    pub fn needs_rights(&self) -> bool {
        matches!(self.way, Way::Filter(_))
    }

    pub(crate) fn new(
        program: &IngressProgram,
        netns: &Netns,
        index: IfIndex,
        hook: Hook,
    ) -> io::Result<Self> {
        let link = (hook == Hook::Any).then(|| program.attach(netns, index));
        let way = match link {
            Some(Err(error)) if Errno::from_io_error(&error) != Some(Errno::INVAL) => {
                return Err(error);
            }
            Some(Ok(link)) => Way::Link(link),
            _ => Way::Filter(netns.run(|| Filter::new(Netlink::open()?, index, program))??),
        };
        Ok(Self { way })
    }
}

/// A filter, removed when this is dropped.
#[derive(Debug)]
struct Filter {
    netlink: Netlink,
    index: IfIndex,
    name: String,
    /// Says that the owner lives.
    _owner: OwnedFd,
}

impl Filter {
    /// Puts a program before all filters on what arrives, in the namespace of the calling thread; removes what
    /// dead processes left there.
    fn new(mut netlink: Netlink, index: IfIndex, program: &IngressProgram) -> io::Result<Self> {
        remove_stale(&mut netlink, index)?;
        let is_made = netlink.add_clsact(index)?;
        // If another switch of ours made it, the last one takes it away.
        let is_ours = is_made || names(&mut netlink, index)?.iter().any(|name| has_clsact(name));
        let token = RandomState::new().hash_one(index.get());
        let name = format!("{PREFIX}{token:016x}{}", if is_ours { WITH_CLSACT } else { "" });
        let owner = claim(&name)?;
        let added = netlink.add_ingress_program(index, program, name.as_bytes());
        // From here on, dropping removes the qdisc too.
        let filter = Self { netlink, index, name, _owner: owner };
        added.map(|()| filter)
    }
}

impl Drop for Filter {
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
            Err(error) if Errno::from_io_error(&error) == Some(Errno::ADDRINUSE) => {}
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
    let is_ours = |name: &String| name.starts_with(PREFIX) && name.len() <= NAME_LEN_MAX;
    Ok(names.filter(is_ours).collect())
}

fn has_clsact(name: &str) -> bool {
    name.ends_with(WITH_CLSACT)
}

/// Binds the socket of a name; EADDRINUSE if its owner lives.
fn claim(name: &str) -> io::Result<OwnedFd> {
    open_unix(&UnixSocket::Name(name.to_owned()))
}
