//! The grammar of a port's text, and the names in it: namespaces, users, groups. Filters in tcpdump's syntax.

pub mod filter;
pub mod netns;
pub mod user;
pub mod words;
