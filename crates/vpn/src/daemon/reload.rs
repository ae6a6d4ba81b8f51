//! The stages of a reload.
//!
//! ```text
//! Idle --asked--> Reading: files, routes, plan      on the host's thread
//!                    | sockets change               on the loop, without waiting
//!                 Applying: netlink, nft            on the host's thread
//!                    | peers change, replies        on the loop
//!                 Idle
//! ```

use crate::endpoints::WantedSockets;
use crate::file::load::Loaded;
use crate::host::plan::Plan;
use adit_service::control::http::Ticket;

/// A reload that runs, and the requests for the next.
#[derive(Debug, Default)]
pub struct Reload {
    /// Who asked for the next one; `None` is a signal.
    waiting: Vec<Option<Ticket>>,
    /// Who asked for the one that runs.
    asked: Vec<Option<Ticket>>,
    stage: Stage,
}

/// How far a reload is.
#[derive(Debug, Default)]
pub enum Stage {
    /// None runs.
    #[default]
    Idle,
    /// The files are read.
    Reading,
    /// The sockets are changed, and the host is being changed.
    Applying(Box<Applying>),
}

/// What a reload needs to finish, or to go back.
#[derive(Debug)]
pub struct Applying {
    /// What was read.
    pub loaded: Loaded,
    /// What is being done.
    pub plan: Plan,
    /// The sockets before.
    pub before: WantedSockets,
}

impl Reload {
    /// Asks for one. Requests that come while one runs share the next.
    pub fn ask(&mut self, who: Option<Ticket>) {
        self.waiting.push(who);
    }

    /// Starts the next one if none runs and one is asked for.
    pub fn start(&mut self) -> bool {
        if !matches!(self.stage, Stage::Idle) || self.waiting.is_empty() {
            return false;
        }
        (self.asked, self.stage) = (std::mem::take(&mut self.waiting), Stage::Reading);
        true
    }

    /// The host is being changed.
    pub fn apply(&mut self, applying: Applying) {
        self.stage = Stage::Applying(Box::new(applying));
    }

    /// The host was changed, or could not be.
    pub fn applied(&mut self) -> Option<Applying> {
        match std::mem::take(&mut self.stage) {
            Stage::Applying(applying) => Some(*applying),
            other => {
                self.stage = other;
                None
            }
        }
    }

    /// It is over; returns who asked for it.
    pub fn finish(&mut self) -> Vec<Option<Ticket>> {
        self.stage = Stage::Idle;
        std::mem::take(&mut self.asked)
    }
}
