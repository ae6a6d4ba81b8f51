//! A WireGuard tunnel on a Linux host: configuration files, keys, device, routes, packet filter, name
//! servers, peers by UDP and TCP, and the socket of `wg`. This is what `adit tunnel` runs.
//!
//! Reads a file of `wg-quick` and prints what a start would do, without doing it:
//!
//! ```no_run
//! use adit_service::sandbox::Level;
//! use adit_vpn::file::conf::HookPolicy;
//! use adit_vpn::up::{Options, Pipe};
//!
//! let options = Options {
//!     files: vec!["/etc/wireguard/site.conf".into()],
//!     hooks: HookPolicy::Refuse,
//!     private_key: None,
//!     device_netns: None,
//!     pipe: Pipe::None,
//!     sandbox: Level::Try,
//!     metrics: None,
//!     faster: 1,
//!     is_background: false,
//! };
//! for step in options.steps().map_err(|error| error.report.message)? {
//!     println!("{step}");
//! }
//! // Runs the tunnel until SIGTERM or `adit tunnel down site`. First, before any thread, the helper of its sandbox:
//! let sandbox = options.sandbox().map_err(|error| error.report.message)?;
//! let events = adit_service::event::Events::ignored();
//! options.run(&sandbox, &events, || println!("up")).map_err(|error| error.report.message)?;
//! # Ok::<(), String>(())
//! ```
//!
//! | module | contents |
//! |---|---|
//! | [`mod@file`] | files of `wg-quick` and TOML, keys, invitations: text to a checked [`file::config::Config`] |
//! | [`host`] | what changes on the host: the plan, name servers, hooks, timestamps, names of endpoints |
//! | [`engine`] | the engine: the tunnel, and for layer 2 a switch |
//! | [`endpoints`], [`streams`], [`pipe`] | how peers are reached: UDP, TCP, pipes to other programs |
//! | [`presence`], [`peer_events`] | which peers are connected, and the hooks for that |
//! | [`daemon`] | the service: reload, restore, control requests |
//! | [`run`] | a command in namespaces of its own, and its only way out |
//! | [`attach`], [`serve`] | a NAT for a namespace that is there, or for virtual machines and TAPs |
//! | [`drop_in`] | the way out of a namespace, in place of other programs |
//! | [`up`], [`down`] | start and end; what a killed tunnel left |
//! | `confine` | what a tunnel needs in its sandbox, and what its helper allows |
//! | [`upgrade`] | a running tunnel continues as the program that is installed now |
//! | `memory` | keys stay out of core files and swap |
//! | [`address`], [`history`], [`rates`], [`state`], [`uapi`] | the reported state, as JSON and in the protocol of `wg` |
//! | [`health`] | what is wrong, judged by the reported state |
#![forbid(unsafe_code)]

pub mod address;
pub mod attach;
mod cipher;
pub mod confine;
pub mod daemon;
pub mod down;
pub mod drop_in;
pub mod endpoints;
pub mod engine;
pub mod exercise;
pub mod file;
pub mod health;
pub mod history;
pub mod host;
mod memory;
pub mod peer_events;
pub mod pipe;
pub mod presence;
pub mod rates;
pub mod run;
pub mod serve;
pub mod state;
pub mod streams;
pub mod uapi;
pub mod up;
pub mod upgrade;
