//! Virtual machines: QEMU runs as a program of a node of its own, and each link is a Unix socket.

use adit_runtime::Opened;
use adit_service::error::{Error, Result};
use adit_service::kinds;
use adit_topology::model::{Guest, Kind, NodeName, Program, Restart};
use adit_topology::plan::Plan;
use std::path::PathBuf;
use std::time::Duration;

/// The memory of a guest for which none is given, in MiB.
const MEMORY: u32 = 256;

/// The socket of an end: a path that the guest's node sees as well.
fn socket(node: &NodeName, (link, end): (usize, usize)) -> PathBuf {
    let name = format!("adit-lab-{}-{node}-{link}-{end}.sock", std::process::id());
    std::env::temp_dir().join(name)
}

/// Listens at an end of a link for the guest.
///
/// # Errors
/// Those of the socket.
pub(super) fn open(plan: &Plan, at: (usize, usize)) -> Result<Opened> {
    let node = &plan.lab.links[at.0].ends[at.1].node;
    let text = format!("unix:{}", socket(node, at).display());
    Ok(kinds::parse(&text).map_err(Error::usage)?.open()?)
}

/// The program that is the guest.
pub(super) fn program(plan: &Plan, name: &NodeName) -> Option<Program> {
    let Kind::Guest(guest) = &plan.lab.node(name.as_str())?.kind else { return None };
    let station = plan.station(name)?;
    let mut words = words(guest);
    for (number, interface) in station.interfaces.iter().enumerate() {
        let path = socket(name, interface.link);
        words.extend([
            "-netdev".to_owned(),
            format!("stream,id=n{number},server=off,addr.type=unix,addr.path={}", path.display()),
            "-device".to_owned(),
            format!("virtio-net-pci,netdev=n{number},mac={}", interface.mac),
        ]);
    }
    words.extend(guest.arguments.iter().cloned());
    Some(Program {
        name: "qemu".to_owned(),
        words,
        restart: Restart::Never,
        ready: Vec::new(),
        ready_within: Duration::from_secs(60),
    })
}

fn words(guest: &Guest) -> Vec<String> {
    let memory = if guest.memory == 0 { MEMORY } else { guest.memory };
    let program = format!("qemu-system-{}", std::env::consts::ARCH);
    let mut words: Vec<String> =
        [&*program, "-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio"]
            .map(str::to_owned)
            .into();
    words.extend(["-m".to_owned(), memory.to_string()]);
    let is_fast =
        rustix::fs::access("/dev/kvm", rustix::fs::Access::READ_OK | rustix::fs::Access::WRITE_OK);
    if is_fast.is_ok() {
        words.push("-enable-kvm".to_owned());
    }
    for (option, path) in [("-kernel", &guest.kernel), ("-initrd", &guest.initrd)] {
        if let Some(path) = path {
            words.extend([option.to_owned(), path.display().to_string()]);
        }
    }
    if !guest.append.is_empty() {
        words.extend(["-append".to_owned(), guest.append.clone()]);
    }
    if let Some(disk) = &guest.disk {
        let drive = format!("file={},if=virtio,snapshot=on", disk.display());
        words.extend(["-drive".to_owned(), drive]);
    }
    words
}
