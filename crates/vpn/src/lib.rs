//! What `adit tunnel` runs: configurations, keys, the socket that `wg` speaks to, and the loop.
//!
//! | file | what |
//! |---|---|
//! | `config`, `values` | what a tunnel is to be: plain data, and its words parsed |
//! | `conf`, `toml`, `load`, `hide` | files of `wg-quick`, files in TOML, both read and checked; no key is told |
//! | `keys`, `secret` | keys as text, and where they are read from |
//! | `setup`, `guard`, `program` | device, addresses, routes, rules; the packet filter; hooks and name servers |
//! | `invitation` | how two machines become peers |
//! | `names` | endpoints that have a name |
//! | `site` | the engine: the tunnel, and for layer 2 a switch |
//! | `streams` | TCP, and pipes to other programs |
//! | `presence`, `arrivals`, `hooks` | which peers are there, and the programs that are run when they come and go |
//! | `up`, `daemon`, `remake`, `state` | start and end, what is done beside packets, how it is |
//! | `uapi` | the text protocol and the socket of `wg` |
#![allow(
    missing_docs,
    missing_debug_implementations,
    clippy::new_without_default,
    clippy::len_without_is_empty,
    clippy::should_implement_trait,
    private_interfaces,
    reason = "moved; documented crate by crate"
)]
#![forbid(unsafe_code)]

pub mod daemon;
pub mod endpoints;
pub mod engine;
pub mod exercise;
pub mod file;
pub mod host;
pub mod peer_events;
pub mod presence;
pub mod state;
pub mod streams;
pub mod uapi;
pub mod up;
