//! The log of a service: its events and what its code logs by [`tracing`], as text, JSON lines or to the journal.
//!
//! ```text
//! Event (any thread) --\                                 /-- bounded queue --> thread --> stderr, journal
//!                       > filter -> rate limit -> bytes <
//! tracing::debug!() ---/                                 \-- before `start`: written at once
//! ```
//!
//! | file | what |
//! |---|---|
//! | `log` | the log of the process, and how it begins and ends |
//! | `shared` | its levels, and how a message leaves |
//! | `record` | one message, from an event or from `tracing` |
//! | `limit` | the same message at most once a second |
//! | `format` | a message as text, JSON or fields of the journal |
//! | `destination` | where bytes go |
//! | `writer` | the thread that writes |
//! | `subscriber` | receives what code logs by `tracing` |
//!
//! No caller waits for a reader after [`Observer::start`]: a message for which the queue has no room is
//! lost and counted, and the log reports the count. A disabled `tracing` call costs one load of an atomic number.
//!
//! ```no_run
//! use adit_log::{Format, Log, Settings};
//! use adit_service::event::Events;
//! use adit_service::log::TargetId;
//! use adit_service::sandbox::{Level, Sandbox};
//! use adit_service::switch::{self, plan::Plan};
//!
//! let log = Log::install(Settings::new(TargetId::SWITCH, Format::of_environment()))?;
//! let plan = Plan { ports: vec!["tap:a".to_owned(), "tap:b".to_owned()], ..Plan::default() };
//! // Before the first thread: the log starts one.
//! let sandbox = Sandbox::prepare(Level::Try, switch::policy(&plan))?;
//! switch::run(plan.clone(), plan.read()?, &sandbox, Events::new(log))?;
//! adit_log::finish();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`Observer::start`]: adit_service::event::Observer::start

#![forbid(unsafe_code)]

mod destination;
mod format;
mod limit;
mod log;
mod record;
mod shared;
mod subscriber;
mod writer;

pub use destination::{Format, is_stderr_a_file};
pub use format::Line;
pub use log::{Log, Settings, detach, finish, prepare_to_detach, report};
