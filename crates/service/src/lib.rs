//! A switch or an emulated link as a service: configured by text or TOML, queried and changed through a
//! control socket while it runs, reloaded without loss.
//!
//! This crate is the middle of `adit`: [`adit_runtime`] moves packets through an engine, this crate adds
//! what makes a service of that, and the program `adit` adds options, tables and exit codes.
//!
//! ```no_run
//! use adit_service::event::{Event, Events, Observer};
//! use adit_service::sandbox::Sandbox;
//! use adit_service::switch::{self, plan::Plan};
//!
//! /// Prints what the switch reports; a real one must not block.
//! struct Log;
//!
//! impl Observer for Log {
//!     fn event(&mut self, event: &Event) {
//!         eprintln!("{event}");
//!     }
//! }
//!
//! // As `adit switch --name lab --port tap:a --port tap:b,vlan=10`; then `adit switch show` works.
//! let plan = Plan {
//!     name: Some("lab".parse()?),
//!     ports: vec!["tap:a".to_owned(), "tap:b,vlan=10".to_owned()],
//!     ..Plan::default()
//! };
//! let wanted = plan.read()?;
//! switch::run(plan, wanted, &Sandbox::off(), Events::new(Log))?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Parts
//!
//! | module | what it does |
//! |---|---|
//! | [`supervisor`] | runs a [`Service`](supervisor::Service): loop, control socket, reload, background work |
//! | [`switch`], [`link`] | the two services of this crate |
//! | [`confine`] | what a service needs in its sandbox |
//! | [`config`] | reads TOML, words and JSON with all errors at once, each with its place |
//! | [`control`] | JSON over HTTP on a unix socket: names, server, client |
//! | [`metrics`] | what services count, as text for Prometheus |
//! | [`event`], [`journal`], [`log`] | what a service reports by itself, the last of it with numbers, what is logged |
//! | [`netem`] | the settings of an emulated link as text, and its report |
//! | [`nat`] | the NAT as a service, and as a port |
//! | [`kinds`] | the kinds of port: those of the runtime, and the NAT |
//! | [`host`], [`namespace`], [`sandbox`], [`helper`], [`error`], [`file`](mod@file), [`filter`], [`health`], [`text`] | those of [`adit_host`] |
//!
//! Nothing here prints or parses arguments, and nothing on the loop's thread opens a file, runs a program
//! or resolves a name.

#![forbid(unsafe_code)]

pub use adit_host::{
    changes as host, error, file, filter, health, helper, journal, namespace, sandbox, text,
};

#[cfg(test)]
#[path = "../../packet/tests/cases/mod.rs"]
mod cases;
pub mod config;
pub mod confine;
pub mod control;
pub mod event;
pub mod exercise;
pub mod kinds;
pub mod link;
pub mod log;
pub mod metrics;
pub mod nat;
pub mod netem;
pub mod supervisor;
pub mod switch;

/// The example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
