//! Switches and emulated links that are configured, queried, reloaded and watched.

#![allow(
    missing_docs,
    missing_debug_implementations,
    clippy::new_without_default,
    clippy::len_without_is_empty,
    clippy::should_implement_trait,
    private_interfaces,
    reason = "moved; documented crate by crate"
)]
pub mod config;
pub mod control;
pub mod error;
pub mod event;
pub mod exercise;
pub mod file;
pub mod filter;
pub mod host;
pub mod link;
pub mod netem;
pub mod supervisor;
pub mod switch;
pub mod text;
