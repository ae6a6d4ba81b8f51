//! Metrics: what a service counts, as text for Prometheus.
//!
//! ```text
//!  loop's thread                                     thread "metrics"
//!  control socket: GET /metrics --- the client ---->  waits           <--- TCP, if that is wanted
//!                                                       |
//!  Service::metrics: plain numbers are copied  <- asks -'   one copy for all that wait
//!                          `--- Snapshot ----------->  writes the text, sends it to each of them
//! ```
//!
//! The data path has plain counters and no atomics. A scrape copies them, on the loop's thread and between two
//! batches of packets; that is all the loop does for it. A client that reads slowly costs the loop nothing, and a
//! hundred at once cost it a few copies.
//!
//! | file | what it has |
//! |---|---|
//! | [`families`] | the one list of names, with their types, labels and meaning |
//! | [`ports`], `program` | samples that several services have |
//! | `page` | a snapshot as OpenMetrics, and that as the older text format |
//! | `accept` | which of the two a client asks for |
//! | `scrapes` | the thread that has the clients |
//! | `address` | where to listen by TCP |
//! | `merge`, [`exporter`] | the pages of all running programs as one |

mod accept;
mod address;
pub mod exporter;
pub mod families;
mod merge;
mod page;
pub mod ports;
mod program;
mod scrapes;
#[cfg(test)]
mod tests;

pub use address::{CATALOG, ListenAddress, address, of_table};
pub use page::{Labels, Number, Page, Samples, Snapshot, text};
pub(crate) use program::Program;
pub use scrapes::{SYSCALLS as SCRAPE_SYSCALLS, Scrapes, Text};
