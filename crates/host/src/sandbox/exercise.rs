//! What a process could try once somebody else's code runs in it: for the tests that nothing of it works.

use crate::changes::action::{Action, Program, Purpose};
use crate::helper::{self, Ask, Reply};
use std::os::unix::process::CommandExt;

/// Does what `ADIT_FAILPOINT=sandbox` or `sandbox-ATTEMPT` says, in a debug build. The process ends by the attempt or exits: with
/// 90 if it was refused, with 91 if it was not.
pub(super) fn run() {
    if !cfg!(debug_assertions) {
        return;
    }
    let wanted = std::env::var("ADIT_FAILPOINT").unwrap_or_default();
    let refused = match wanted.as_str() {
        "sandbox" => rustix::process::chroot("/").is_err(),
        "sandbox-open" => std::fs::File::open("/etc/passwd").is_err(),
        "sandbox-create" => std::fs::write("/tmp/adit-exercise", "").is_err(),
        "sandbox-device" => {
            std::fs::OpenOptions::new().write(true).read(true).open("/dev/net/tun").is_err()
        }
        "sandbox-socket" => {
            use rustix::net::{AddressFamily, SocketType, socket};
            socket(AddressFamily::PACKET, SocketType::RAW, None).is_err()
        }
        "sandbox-exec" => {
            let status = std::process::Command::new("/bin/true").process_group(0).status();
            !status.is_ok_and(|status| status.success())
        }
        "sandbox-mount" => {
            let flags = rustix::mount::MountFlags::empty();
            rustix::mount::mount("tmpfs", "/tmp", "tmpfs", flags, None).is_err()
        }
        "sandbox-ptrace" => adit_device::process::trace_me().is_err(),
        "sandbox-helper" => is_refused_by_helper(),
        _ => return,
    };
    std::process::exit(if refused { 90 } else { 91 });
}

/// Asks for what the configuration does not name.
fn is_refused_by_helper() -> bool {
    let Some(helper) = helper::installed() else { return false };
    let words = |list: &[&str]| list.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let program = |purpose| {
        let words = words(&["/bin/sh", "-c", "touch /tmp/adit-exercise"]);
        Ask::Perform(Action::Run(Program { words, input: None, undo: Vec::new(), purpose }))
    };
    let asks = [
        Ask::File("/etc/shadow".into(), true),
        Ask::File("/etc/passwd".into(), false),
        Ask::Run(words(&["/bin/true"])),
        Ask::Resolve("example.org".to_owned(), 53),
        program(Purpose::Hook),
        program(Purpose::NameServers),
        Ask::Open(adit_device::broker::Request::Play("/etc/passwd".into())),
        Ask::Open(adit_device::broker::Request::Record("/etc/passwd".into(), false)),
        Ask::Open(adit_device::broker::Request::RemoveSocket("/etc/passwd".into())),
        Ask::Open(adit_device::broker::Request::Namespace("/etc/passwd".into())),
    ];
    asks.iter().all(|ask| match helper.ask(ask, &[]) {
        Ok((Reply::NotOpened(_) | Reply::Failed(_), fds)) => fds.is_empty(),
        Ok((Reply::Addresses(Err(_)) | Reply::Output(false, ..), fds)) => fds.is_empty(),
        _ => false,
    })
}
