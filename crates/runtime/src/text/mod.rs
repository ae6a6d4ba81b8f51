//! A port as people write it, and how it is opened.

pub mod netns;
pub mod open;
pub mod spec;
pub mod user;
