//! Configurations of tunnels: files of wg-quick, TOML, keys and invitations.

pub mod conf;
pub mod config;
pub mod hide;
pub mod invitation;
pub mod keys;
pub mod load;
pub mod reply;
pub mod secret;
pub mod toml;
pub mod validate;
pub mod values;
