//! The sandbox of a lab's loop: what the loop needs, and what its helper does for it.
//!
//! What nodes have comes from the keeper. The helper opens ports outside of the lab, files of captures, netlink sockets of
//! nodes, and the files of a change.

use crate::keeper::NetnsNames;
use crate::live::requests::LabFile;
use adit_runtime::PortSpec;
use adit_service::error::{Kind, Result};
use adit_service::helper::{Policy, recorded, service};
use adit_service::sandbox::{Needs, Sandbox};
use adit_service::{confine, kinds};
use adit_topology::file::{self, Setting};
use adit_topology::model;
use adit_topology::plan::Plan;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The system calls of a lab: its terminal is left once it is ready, and in the end its keeper is shut down.
const SYSCALLS: &[&str] = &[
    #[cfg(target_arch = "x86_64")]
    "dup2",
    #[cfg(not(target_arch = "x86_64"))]
    "dup3",
    "shutdown",
];

/// What the loop asks its helper, as JSON: to allow the files of a lab, with its parameters; `None`: to remove the names of
/// namespaces that have ended.
type Asked = Option<(PathBuf, Vec<(String, String)>)>;

/// What the helper allows: the files of the lab of the start, and those of the one that was applied last. `own` is the folder
/// in which the loop can write.
pub(super) fn policy(start: Option<LabFile>, own: PathBuf) -> Policy {
    let applied = Arc::new(Mutex::new(None));
    let last = Arc::clone(&applied);
    let read = move || {
        let applied: Option<LabFile> = lock(&last).clone();
        // Of one with mistakes, the files that were read.
        start.iter().chain(&applied).for_each(|lab| drop(file::read(&lab.path, &lab.settings)));
    };
    confine::policy(read).answering(move |bytes| {
        match serde_json::from_slice::<Asked>(bytes) {
            Ok(Some((path, settings))) => {
                let setting = |(name, value)| Setting { name, value };
                let lab = LabFile { path, settings: settings.into_iter().map(setting).collect() };
                if is_lab(&lab, &own) {
                    *lock(&applied) = Some(lab);
                }
            }
            Ok(None) => drop(NetnsNames::clean()),
            Err(_) => {}
        }
        Vec::new()
    })
}

/// Whether a file is a lab without mistakes of which the loop can have written no part.
fn is_lab(lab: &LabFile, own: &Path) -> bool {
    let (read, files) = recorded(|| file::read(&lab.path, &lab.settings));
    let own = own.canonicalize().unwrap_or_else(|_| own.to_owned());
    let is_other = |path: &PathBuf| path.canonicalize().is_ok_and(|path| !path.starts_with(&own));
    read.is_ok() && files.iter().all(is_other)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A value is set at once.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads the file of a lab, in its sandbox or without one.
///
/// # Errors
/// It cannot be read; all its mistakes.
pub(super) fn read(lab: &LabFile) -> Result<Plan> {
    let settings = lab.settings.iter();
    let settings = settings.map(|one| (one.name.clone(), one.value.clone())).collect();
    let has_helper = ask(&Some((lab.path.clone(), settings)));
    match file::read(&lab.path, &lab.settings) {
        Ok(read) => Ok(read.plan),
        Err(error) if has_helper && error.kind == Kind::Permission => Err(error.hint(
            "In its sandbox, a lab reads another file if that has no mistakes, or if everybody may read it: 'adit check FILE'.",
        )),
        Err(error) => Err(error),
    }
}

/// Removes the names of namespaces that have ended. Those of a keeper that was killed are still there.
pub(super) fn clean_names() {
    if !ask(&None) {
        let _ = NetnsNames::clean();
    }
}

/// Whether there is a helper.
fn ask(asked: &Asked) -> bool {
    // A path that is no text is refused as one that is not allowed.
    service(&serde_json::to_vec(asked).unwrap_or_default()).is_some()
}

/// The ports outside the lab.
pub(super) fn outside_ports(plan: &Plan) -> impl Iterator<Item = PortSpec> {
    plan.lab.nodes.iter().filter_map(|node| match &node.kind {
        model::Kind::Outside(text) => kinds::parse(text).ok(),
        _ => None,
    })
}

/// What the loop of a lab needs in its sandbox. `own` is the folder of its sockets.
#[must_use]
pub fn needs(sandbox: &Sandbox, plan: &Plan, own: PathBuf) -> Needs {
    // A NAT has the sockets of a port that is one.
    let nat = plan.lab.nodes.iter().find(|node| matches!(node.kind, model::Kind::Nat(_)));
    let nat = nat.and_then(|_| kinds::parse("nat").ok());
    let ports: Vec<PortSpec> = outside_ports(plan).chain(nat).collect();
    let mut needs = confine::needs_with_ports(sandbox, ports.iter());
    needs.writable = vec![own];
    needs.syscalls.push(SYSCALLS);
    needs
}
