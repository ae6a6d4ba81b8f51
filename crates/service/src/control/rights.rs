//! What the user at the other end of a connection may do.

use crate::config::source::Files;
use crate::sandbox::owner;
use adit_device::process::groups_of_peer;
use adit_runtime::text::user::Group;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The group of a machine whose members control each program that may give it its socket.
pub const GROUP: &str = "adit";

/// The user and group that the kernel shows in place of those that a namespace does not have.
const OVERFLOW: u32 = 65534;

/// What a user may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rights {
    /// Read what the page shows: all who can connect to its TCP address.
    Web,
    /// Read what is not private.
    Others,
    /// Read and change everything, and name no file: the program would open it with its own rights.
    Members,
    /// Everything: root, and the user who runs the program.
    Owner,
}

impl Rights {
    /// Those of the peer of a socket, given the groups of members; `None` if the kernel does not say who it is.
    #[must_use]
    pub fn of_peer(socket: BorrowedFd<'_>, ours: [u32; 2]) -> Option<Self> {
        let peer = rustix::net::sockopt::socket_peercred(socket).ok()?;
        let (user, _) = owner();
        if peer.uid.is_root() || peer.uid.as_raw() == user {
            return Some(Self::Owner);
        }
        // A group that this namespace does not know is not ours, whichever it is.
        let is_ours = |group: &u32| ours.contains(group) && *group != OVERFLOW;
        let others = groups_of_peer(socket).unwrap_or_default();
        let is_member = is_ours(&peer.gid.as_raw()) || others.iter().any(is_ours);
        Some(if is_member { Self::Members } else { Self::Others })
    }

    /// Whether a request may name files.
    #[must_use]
    pub const fn files(self) -> Files {
        match self {
            Self::Owner => Files::Allowed,
            Self::Members | Self::Others | Self::Web => Files::Refused,
        }
    }

    /// What gives a user the rights of a member.
    #[must_use]
    pub fn remedy(self) -> String {
        if self == Self::Web {
            return "Send the request to the control socket.".to_owned();
        }
        let (user, _) = owner();
        format!("Send the request as root, as user {user}, or as a member of the socket's group.")
    }
}

/// Gives the socket at `path` to the group `adit`, if the machine has it and this process may, and returns the
/// group that it has then, and that of this process.
pub(super) fn give_to_group(path: &Path) -> [u32; 2] {
    if let Ok(group) = GROUP.parse::<Group>() {
        // Only root and members may: without the right the socket keeps the group of this process.
        let _ = std::os::unix::fs::chown(path, None, Some(group.gid));
    }
    let (_, own) = owner();
    [std::fs::metadata(path).map_or(own, |found| found.gid()), own]
}
