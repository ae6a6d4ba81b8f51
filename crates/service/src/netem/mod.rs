//! The settings of an emulated link in text and JSON, and what is reported of one.

pub mod keep;
pub mod keys;
pub mod profile;
pub mod report;
pub mod words;
