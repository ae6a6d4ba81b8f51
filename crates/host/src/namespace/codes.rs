//! The codes of failures.

use crate::error::Entry;

/// User namespaces are not to be had.
pub const NAMESPACES: Entry = Entry {
    code: "ADIT-E0830",
    title: "namespaces cannot be created",
    explanation: "A user namespace gives an unprivileged user a network of its own. A sysctl, AppArmor, the \
                  seccomp filter of a container, or a limit can forbid that; the message names which one.",
    remedy: "Check what this system allows: 'adit doctor'.",
};

/// The command cannot be started.
pub const COMMAND: Entry = Entry {
    code: "ADIT-E0831",
    title: "the command cannot be started",
    explanation: "The command does not exist (exit status 127) or is not executable (126), as with a shell.",
    remedy: "Check its name and path.",
};

/// TCP connections cannot be spliced.
pub const DATAPATH: Entry = Entry {
    code: "ADIT-E0838",
    title: "the splice datapath is not offered",
    explanation: "With '--datapath splice' packet filter rules in the namespace lead TCP connections to a socket \
                  of adit. They need nft, the kernel's nft_tproxy, a writable /proc/sys and a namespace without \
                  rules of its own. What is spliced is no packet, so it cannot be emulated or recorded.",
    remedy: "Omit '--datapath splice': all else works with the packet datapath.",
};

/// The codes of this module.
pub const CATALOG: [Entry; 3] = [NAMESPACES, COMMAND, DATAPATH];
