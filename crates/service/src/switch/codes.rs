//! The codes of errors of a switch.

use crate::error::Entry;

/// The switch has no such port.
pub const NO_PORT: Entry = Entry {
    code: "ADIT-E0826",
    title: "no such port",
    explanation: "The name of a port is its text, such as 'tap:a', or its 'name'. The part behind the \
                  colon is enough if it is unique.",
    remedy: "List the ports: 'adit switch show'.",
};

/// A setting that the switch cannot have.
pub const PORT: Entry = Entry {
    code: "ADIT-E0827",
    title: "the switch rejected the request",
    explanation: "A port of that name exists, the switch has too many ports, or an address is invalid \
                  or already in the table. Nothing was changed.",
    remedy: "Check the state: 'adit switch show' and 'adit switch fdb'.",
};

/// The kernel must forward for the switch, and cannot.
pub const ACCELERATE: Entry = Entry {
    code: "ADIT-E0836",
    title: "the kernel cannot forward for the switch",
    explanation: "With 'accelerate = \"require\"', the kernel must forward frames between the switch's \
                  'dev:' ports. That requires CAP_BPF and CAP_NET_ADMIN in the initial user namespace, \
                  and Linux 5.11 with BPF.",
    remedy: "Run adit as root, or set 'accelerate' to auto or off.",
};

/// The codes of switches that run.
pub const CATALOG: [Entry; 3] = [NO_PORT, PORT, ACCELERATE];
