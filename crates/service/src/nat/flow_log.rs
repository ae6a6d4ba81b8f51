//! The flow log: a line of JSON for each flow that opens, closes or is denied.

use crate::error::{Error, Result};
use crate::event::Events;
use crate::nat::model::FlowLine;
use adit_nat::{FlowChange, FlowNews, Nat};
use adit_runtime::record::lines::LineFile;
use adit_runtime::record::now::Now;
use std::io;
use std::path::Path;

/// The file of the log, and who learns that it ends.
#[derive(Debug)]
pub(super) struct FlowLog {
    file: LineFile,
    events: Events,
}

impl FlowLog {
    pub(super) fn open(path: &Path, events: Events) -> Result<Self> {
        let file = LineFile::open(path);
        let file = file.map_err(|error| Error::io("open", path.display(), &error))?;
        Ok(Self { file, events })
    }

    /// Writes the news of a turn.
    pub(super) fn write(&mut self, nat: &mut Nat) {
        while let Some(news) = nat.poll_news() {
            self.line(&news);
        }
    }

    fn line(&mut self, news: &FlowNews) {
        let line = FlowLine::new(news, Now::read().wall);
        let Some(Ok(mut line)) = line.as_ref().map(serde_json::to_vec) else { return };
        line.push(b'\n');
        let result = self.file.append(&line);
        self.check(result);
    }

    /// Writes what is buffered; called about once a second.
    pub(super) fn flush(&mut self) {
        let result = self.file.flush();
        self.check(result);
    }

    /// Writes the flows that are left, and closes the file.
    pub(super) fn end(mut self, nat: &mut Nat) {
        self.write(nat);
        nat.flows().for_each(|row| self.line(&FlowNews::of(FlowChange::Closed, &row)));
        let result = self.file.close();
        self.check(result);
        let lost = self.lost(nat);
        if lost > 0 {
            self.events.note(format!("warning: {lost} lines of the flow log were lost"));
        }
    }

    /// How many lines were lost.
    pub(super) fn lost(&self, nat: &Nat) -> u64 {
        self.file.lost() + nat.news_lost()
    }

    fn check(&self, result: io::Result<()>) {
        if let Err(error) = result {
            self.events.failed("the flow log ends", &Error::io("write", "it", &error));
        }
    }
}
