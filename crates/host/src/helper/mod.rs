//! The process that keeps the privileges of a program whose other process gave them up.
//!
//! The worker moves packets, reads what comes from the network, and can open nothing. The helper does what was asked for at
//! the start, and nothing else: it knows the [`Ask`]s of the worker, and the [`Policy`] says which files, programs
//! and names they may be about.
//!
//! ```text
//! worker: no capability, no files, few system calls          helper: the privileges of the start
//!   loop    -- Ask::Open --------------- quick line -------->  thread: sockets, devices, namespaces
//!   threads -- Ask::Perform, File, Run - other lines ------->  threads: the executor, programs, name servers
//!           <------------ the result, descriptors ----------
//! ```
//!
//! It is a copy of the program from before its first thread, so both ends of a line are the same program and there are no
//! versions. It ends when the worker's end of the lines closes, however the worker ended.

mod ask;
mod client;
mod files;
mod line;
mod perform;
mod policy;
mod serve;
mod start;
mod tools;

pub use ask::{Ask, Reply, exercise};
pub use client::{Helper, RemoteExecutor, installed};
pub use files::{open_file, open_regular, recorded};
pub use policy::{Allowed, Policy};
pub use start::start;
pub use tools::{
    Compiled, await_successor, compile, filter_tables, resolve, run, service, succeed,
};
