//! What `adit tunnel` runs: configurations, keys, the socket that `wg` speaks to, and the loop.
//!
//! ```text
//! keys     private, public and preshared keys      secret   where they are read from
//! config   what a tunnel is to be: plain data      values   the words of a configuration, parsed
//! conf     the files of wg-quick                   uapi     the text protocol of `wg`
//! ```

pub(crate) mod conf;
pub(crate) mod config;
pub(crate) mod hide;
pub(crate) mod keys;
pub(crate) mod load;
pub(crate) mod secret;
pub(crate) mod setup;
pub(crate) mod toml;
pub(crate) mod uapi;
pub(crate) mod values;
