//! Virtual networks: hosts, routers, switches, NATs, guests, and the links between them.
//!
//! A network of a test, from the text of a file: made of namespaces of the kernel, used by closures and commands, and
//! gone when it is dropped. Without root, start the tests in a user namespace: `unshare -Urnm -- cargo test`.
//!
//! ```
//! use adit_lab::Lab;
//! use std::io::{Read, Write};
//! use std::net::{TcpListener, TcpStream};
//!
//! let file = r#"
//!     [host.client]
//!     [host.server]
//!     [[link]]
//!     ends = ["client", "server"]
//!     delay = "5ms"
//! "#;
//! // Where this machine allows no namespaces, it says so, and the test is skipped.
//! let Some(lab) = Lab::up(file)? else { return Ok(()) };
//! let address = lab.address("server")?;
//! let listener = lab.in_node("server", || TcpListener::bind((address, 80)))??;
//! let mut client = lab.in_node("client", || TcpStream::connect((address, 80)))??;
//! client.write_all(b"hello")?;
//! drop(client);
//! let mut text = String::new();
//! listener.accept()?.0.read_to_string(&mut text)?;
//! assert_eq!(text, "hello");
//!
//! lab.set("client-server", &[("delay", "20ms")])?;
//! assert!(lab.ping("client", "server")?.expect("a reply").as_millis() >= 40);
//! lab.fail("client-server")?;
//! assert_eq!(lab.ping("client", "server")?, None);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! ```text
//! limits   whether this machine allows a plan
//! keeper/  the process that makes namespaces and runs programs
//! simulated/  the plan in virtual time
//! enter    a command in a node of a lab that runs
//! live/    a lab that runs: the service, its links, its programs
//! trial/   a scenario in a lab that runs
//! owned    a lab in this process, for tests
//! engine/  switches and cables as one engine
//! probe/   pings from many namespaces at once
//! ```
#![forbid(unsafe_code)]

mod clean;
pub mod engine;
mod enter;
pub mod keeper;
pub mod limits;
pub mod live;
mod owned;
pub mod probe;
pub mod simulated;
pub mod trial;

pub use clean::clean;
pub use enter::enter;
pub use owned::{Lab, Source};

/// The example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
