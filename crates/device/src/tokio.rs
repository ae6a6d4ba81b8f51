//! Queues in tokio's reactor.

mod framed;
mod queue;

pub use framed::Framed;
pub use queue::AsyncQueue;
