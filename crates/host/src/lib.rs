//! Changes to a host: a list of actions with one executor, namespaces without root, and a sandbox.
//!
//! ```text
//! Action, ... -> Executor (this process, a worker, a rehearsal) -> Ledger: what was done, and how to undo it
//! Wanted      -> namespace::Namespaces: a command in user, network, mount and process namespaces
//! Needs       -> sandbox: privileges, files and system calls that a program no longer needs are given up
//! ```
//!
//! A failure is an [`Error`](error::Error) with a stable code, its cause and a remedy:
//!
//! ```
//! use adit_host::error::{Error, Kind};
//! use adit_host::name::Name;
//!
//! let error = "a/b".parse::<Name>().map_err(Error::usage).expect_err("no letter of a name");
//! assert_eq!(error.kind, Kind::Usage);
//! ```
//!
//! | module | what it does |
//! |---|---|
//! | [`changes`] | addresses, routes, rules, filters, devices, as a list of actions |
//! | [`namespace`] | namespaces without root, a command in them, devices in those of others |
//! | [`sandbox`] | takes from a program what it needs no more |
//! | [`filter`] | filters in the syntax of tcpdump |
//! | [`health`] | what is wrong with a program that runs, and why |
//! | [`helper`] | the process that keeps the privileges, and does what was asked for at the start |
//! | [`name`] | names of running programs, and that there is one of each |
//! | [`journal`] | the last events of a program, numbered |
//! | [`notify`] | what a service manager is sent |
//! | [`file`](mod@file) | atomic files and locks |
//! | [`filter`] | filters in tcpdump's syntax, compiled by it |
//! | [`error`], [`problem`] | failures with code, cause and remedy; mistakes of a configuration with their place |
//! | [`text`] | text from outside, for a terminal |
#![forbid(unsafe_code)]

pub mod changes;
mod descriptors;
pub mod error;
pub mod file;
pub mod filter;
pub mod health;
pub mod helper;
pub mod journal;
pub mod name;
pub mod namespace;
pub mod notify;
pub mod problem;
pub mod sandbox;
pub mod text;

/// The example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
