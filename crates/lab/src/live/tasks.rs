//! What the keeper was ordered to do, and for which request.

use crate::keeper::{ProgramKey, Ticket};
use adit_service::control::http;
use adit_service::error::Error;
use adit_topology::model::{LinkName, NodeName};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};

/// A number of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct TaskId(u64);

/// What the report of an order is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To know that it was done.
    Plain,
    /// A TAP becomes an end of a link.
    Tap(LinkName, usize),
    /// A program starts.
    Program(ProgramKey),
    /// A command must succeed.
    Command,
    /// A node gets its network.
    Node(NodeName),
    /// The value of the reply.
    Reply,
}

/// What follows when all orders of a task were done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// The lab starts its programs.
    Start,
    /// The client gets what was done.
    Changed,
    /// The client gets the value.
    Reply,
    /// Nothing.
    Nothing,
}

/// Orders that belong together.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) client: Option<http::Ticket>,
    pub(super) then: Then,
    /// What was done, for people.
    pub(super) done: Vec<String>,
    /// The first failure.
    pub(super) error: Option<Error>,
    pub(super) value: Value,
    left: usize,
}

/// All tasks that are not done.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    tasks: BTreeMap<TaskId, Task>,
    orders: HashMap<Ticket, (TaskId, Purpose)>,
    next: u64,
}

impl Tasks {
    /// Begins a task; [`Self::sealed`] says that all of its orders are there.
    pub(super) fn begin(&mut self, client: Option<http::Ticket>, then: Then) -> TaskId {
        let id = TaskId(self.next);
        self.next += 1;
        let task = Task {
            client,
            then,
            done: Vec::new(),
            error: None,
            value: Value::Null,
            // Until it is sealed.
            left: 1,
        };
        self.tasks.insert(id, task);
        id
    }

    /// An order is part of a task.
    pub(super) fn add(&mut self, id: TaskId, order: Ticket, purpose: Purpose) {
        if let Some(task) = self.tasks.get_mut(&id) {
            task.left += 1;
            self.orders.insert(order, (id, purpose));
        }
    }

    /// A task, to note what was done.
    pub(super) fn get_mut(&mut self, id: TaskId) -> Option<&mut Task> {
        self.tasks.get_mut(&id)
    }

    /// Notes a failure of a task; the first one counts.
    pub(super) fn fail(&mut self, id: TaskId, error: Error) {
        if let Some(task) = self.tasks.get_mut(&id) {
            task.error.get_or_insert(error);
        }
    }

    /// What a report is for.
    pub(super) fn reported(&mut self, order: Ticket) -> Option<(TaskId, Purpose)> {
        self.orders.remove(&order)
    }

    /// One thing less is to be done; returns the task if that was the last.
    pub(super) fn less(&mut self, id: TaskId) -> Option<Task> {
        let task = self.tasks.get_mut(&id)?;
        task.left -= 1;
        if task.left == 0 { self.tasks.remove(&id) } else { None }
    }
}
