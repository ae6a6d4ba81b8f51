//! The state and the events of running services, for people.

pub(crate) mod events;
pub(crate) mod link;
pub(crate) mod nat;
pub(crate) mod switch;
