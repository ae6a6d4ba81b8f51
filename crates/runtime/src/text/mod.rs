//! The grammar of a port's text, and the names in it: namespaces, users, groups.

pub mod netns;
pub mod user;
pub mod words;
