//! What wakes the loop: descriptors, deadlines, signals, links, namespaces, other threads.

pub(crate) mod backoff;
pub(crate) mod clock;
pub(crate) mod links;
pub(crate) mod mailbox;
pub(crate) mod namespaces;
pub(crate) mod priority;
pub(crate) mod reactor;
pub(crate) mod signals;
pub(crate) mod timers;
