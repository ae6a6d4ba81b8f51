//! Starts the helper.

use crate::helper::client::Helper;
use crate::helper::line::Line;
use crate::helper::policy::Policy;
use crate::helper::serve;
use adit_device::process::Child;
use rustix::fs::{Mode, OFlags};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// The lines beside that of the loop: four resolvers, the thread of the host, a background job.
const LINES: usize = 6;

/// Starts the process, a copy of this one, which must have a single thread. It ends when this process does. `give_up` takes
/// from it first what it does not need.
///
/// # Errors
/// EINVAL: this process has other threads; EMFILE, EAGAIN.
pub fn start(policy: Policy, give_up: fn() -> io::Result<()>) -> io::Result<Arc<Helper>> {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..=LINES {
        let (our, their) = Line::pair()?;
        ours.push(our);
        theirs.push(OwnedFd::from(their));
    }
    // Opened here, where a failure has a reader.
    let null = rustix::fs::open("/dev/null", OFlags::RDWR, Mode::empty());
    theirs.push(null.map_err(|errno| io::Error::other(format!("cannot open /dev/null: {errno}")))?);
    let process = Child::fork_beside(theirs, |mut fds| {
        let null = fds.pop();
        let lines = fds.into_iter().map(Line::from).collect();
        let served = |null| give_up().and_then(|()| serve::run(lines, policy, &null));
        u8::from(null.is_none_or(|null| served(null).is_err()))
    })?;
    Ok(Helper::new(process, ours))
}
