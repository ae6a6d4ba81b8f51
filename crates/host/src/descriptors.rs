//! Descriptors that come with a message of a Unix socket.

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, RecvMsg, recvmsg};
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

/// Waits for a message and reads it into `bytes`. Its descriptors are closed at exec. `space` holds their control message
/// (`cmsg_space!`).
///
/// # Errors
/// Those of recvmsg(2), but for EINTR.
pub(crate) fn recv(
    socket: BorrowedFd<'_>,
    bytes: &mut [u8],
    space: &mut [MaybeUninit<u8>],
) -> io::Result<(RecvMsg, Vec<OwnedFd>)> {
    let mut control = RecvAncillaryBuffer::new(space);
    let received = rustix::io::retry_on_intr(|| {
        let mut data = [IoSliceMut::new(bytes)];
        recvmsg(socket, &mut data, &mut control, RecvFlags::CMSG_CLOEXEC)
    })?;
    let fds = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(fds) => Some(fds),
        _ => None,
    });
    Ok((received, fds.flatten().collect()))
}
