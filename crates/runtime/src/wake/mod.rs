//! What wakes the loop: descriptors, the clock, signals, links, namespaces.

pub mod clock;
pub mod links;
pub mod namespaces;
pub mod priority;
pub mod reactor;
pub mod signals;
