//! Reading the configuration again beside the loop: files may be large, and a filter is compiled by
//! another program, for which no packet is to wait.

use crate::control::Reply;
use crate::error::{Error, Exit, Result, SYSTEM};
use crate::run::{Interest, Runner, Token};
use adit_engine::Engine;
use serde_json::json;
use std::io::PipeReader;
use std::sync::mpsc::{Receiver, sync_channel};

/// What tells the loop that a configuration was read.
pub(super) const LOADED: Token = Token(1);

/// The readings of a configuration `T`, numbered from 1.
#[derive(Debug)]
pub(super) struct Reloads<T> {
    /// That of the reading that was begun last.
    number: u64,
    current: Option<Current<T>>,
    /// Another one was asked for meanwhile.
    is_due_again: bool,
    /// What came of the last one that ended, and its number.
    last: Option<(u64, Reply)>,
}

/// A reading that is going on.
#[derive(Debug)]
struct Current<T> {
    result: Receiver<Result<T>>,
    // Readable when its other end is closed, by the thread that ends.
    end: PipeReader,
}

impl<T: Send + 'static> Reloads<T> {
    /// None so far.
    pub(super) fn new() -> Self {
        Self { number: 0, current: None, is_due_again: false, last: None }
    }

    /// Begins a reading, or has another one follow that which is going on; the number of the one that
    /// is sure to see what is in the files now.
    ///
    /// # Errors
    /// If no thread or pipe can be had.
    pub(super) fn begin<E: Engine>(
        &mut self,
        runner: &Runner<E>,
        load: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<u64> {
        if self.current.is_some() {
            self.is_due_again = true;
            return Ok(self.number + 1);
        }
        let failed = |error| Error::io("begin", "a reload", &error);
        let (end, writer) = std::io::pipe().map_err(failed)?;
        let (sender, result) = sync_channel(1);
        let readable = Interest { readable: true, writable: false };
        runner.watch(&end, LOADED, readable).map_err(failed)?;
        let spawned = std::thread::Builder::new().name("reload".to_owned()).spawn(move || {
            crate::panics::failpoint("reload");
            // There is room for it; nobody takes it only if the program ends.
            let _ = sender.send(load());
            drop(writer);
        });
        if let Err(error) = spawned {
            runner.unwatch(&end);
            return Err(failed(error));
        }
        self.current = Some(Current { result, end });
        self.number += 1;
        Ok(self.number)
    }

    /// What was read, to be called on [`LOADED`].
    pub(super) fn take<E: Engine>(&mut self, runner: &Runner<E>) -> Option<Result<T>> {
        let current = self.current.take()?;
        runner.unwatch(&current.end);
        Some(current.result.recv().unwrap_or_else(|_| {
            Err(Error::new(Exit::Refused, &SYSTEM, "the reading of the configuration broke off"))
        }))
    }

    /// Keeps what came of it; whether another reading is due.
    pub(super) fn end(&mut self, reply: Reply) -> bool {
        self.last = Some((self.number, reply));
        std::mem::take(&mut self.is_due_again)
    }

    /// What came of the reading of that number, or of a later one.
    pub(super) fn reply(&self, number: &str) -> Reply {
        let wanted = number.parse().unwrap_or(u64::MAX);
        match &self.last {
            Some((last, reply)) if *last >= wanted => reply.clone(),
            _ => Reply::ok(json!({ "pending": true })),
        }
    }
}
