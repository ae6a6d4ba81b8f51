//! The codes of failures.

use adit_service::error::Entry;

/// A part of a lab cannot be made.
pub const PART: Entry = Entry {
    code: "ADIT-E0845",
    title: "a part of a lab cannot be made",
    explanation: "The kernel refused a namespace, an interface, an address, a route or a setting of a node. The \
                  message names the node, and the cause. Of that part nothing is left.",
    remedy: "Check the part of the file that the message names.",
};

/// The keeper of a lab has ended.
pub const KEEPER: Entry = Entry {
    code: "ADIT-E0846",
    title: "the keeper of the lab has ended",
    explanation: "A process of its own makes the namespaces of a lab and runs its programs. Without it the lab is \
                  gone: another program killed it, or there was no memory.",
    remedy: "Start the lab again: 'adit lab up'.",
};

/// The codes of this module.
pub const CATALOG: [Entry; 2] = [PART, KEEPER];
