//! What `adit tunnel` runs: configurations, keys, the socket that `wg` speaks to, and the loop.
//!
//! | file | what |
//! |---|---|
//! | `config`, `values` | what a tunnel is to be: plain data, and its words parsed |
//! | `conf`, `toml`, `load`, `hide` | files of `wg-quick`, files in TOML, both read and checked; no key is told |
//! | `keys`, `secret` | keys as text, and where they are read from |
//! | `setup`, `program` | device, addresses, routes, rules; hooks and name servers |
//! | `names` | endpoints that have a name |
//! | `up`, `daemon`, `state` | start and end, what is done beside packets, how it is |
//! | `uapi` | the text protocol and the socket of `wg` |

pub(crate) mod conf;
pub(crate) mod config;
pub(crate) mod daemon;
mod hide;
pub(crate) mod keys;
pub(crate) mod load;
mod names;
mod program;
pub(crate) mod secret;
mod setup;
pub(crate) mod state;
mod toml;
mod uapi;
pub(crate) mod up;
mod values;
