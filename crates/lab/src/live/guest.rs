//! Virtual machines: QEMU runs as a program of a node of its own, and each of its links is a Unix socket.
//!
//! ```text
//! NAME.guest-MAC-N      listens for the network card with this address: an end of a link
//! NAME.guest-tty-N      the serial console: QEMU listens, `adit lab shell` connects
//! ```
//! They are beside the control socket NAME.sock. The node has the files of the host, so QEMU finds them there.

use crate::keeper::NodeKey;
use adit_device::MacAddr;
use adit_device::broker::is_installed;
use adit_runtime::Opened;
use adit_service::control::name::PortFiles;
use adit_service::error::{Error, Result};
use adit_service::kinds;
use adit_topology::model::{Guest, Kind, Node, NodeName, Program};
use adit_topology::plan::{Plan, Station};
use rustix::fs::{Access, access};
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

/// The memory of a guest for which none is given, in MiB.
const MEMORY: u32 = 256;

/// How long a guest has until it is ready, unless the file says otherwise.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// The kernel's console if the file names none.
const CONSOLE: &str = if cfg!(any(target_arch = "aarch64", target_arch = "arm")) {
    "console=ttyAMA0"
} else {
    "console=ttyS0"
};

/// Where the sockets of guests are.
#[derive(Clone, Debug)]
pub(super) struct Sockets {
    /// The path of the control socket without `.sock`.
    base: PathBuf,
    /// The list of the sockets of ports outside the lab.
    pub(super) files: PortFiles,
    /// How many plans there were before: a guest that starts again listens at other paths than the one that ends.
    generation: u32,
    /// The sockets that QEMU makes: those of consoles.
    made: Arc<Mutex<BTreeSet<PathBuf>>>,
}

/// Removes the sockets when it is dropped; those of network cards go with their listeners.
#[derive(Debug)]
pub(super) struct Guard(Sockets);

impl Sockets {
    /// Those of the lab with this control socket.
    pub(super) fn beside(control: &Path, files: PortFiles) -> Self {
        Self { base: control.with_extension(""), files, generation: 0, made: Arc::default() }
    }

    /// Those of the next plan.
    pub(super) fn next(&self) -> Self {
        Self { generation: self.generation + 1, ..self.clone() }
    }

    /// Removes them in the end.
    pub(super) fn guard(&self) -> Guard {
        Guard(self.clone())
    }

    fn made(&self) -> MutexGuard<'_, BTreeSet<PathBuf>> {
        // A path is added at once.
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn card(&self, mac: MacAddr) -> PathBuf {
        self.with(&format!("{}-{}", mac.to_string().replace(':', ""), self.generation))
    }

    /// The serial console of a guest.
    pub(super) fn console(&self, key: NodeKey) -> PathBuf {
        self.with(&format!("tty-{}", key.0))
    }

    fn with(&self, what: &str) -> PathBuf {
        let mut path = self.base.clone().into_os_string();
        path.push(format!(".guest-{what}"));
        path.into()
    }

    /// Listens at an end of a link for the guest.
    ///
    /// # Errors
    /// Those of the socket.
    pub(super) fn open(&self, plan: &Plan, at: (usize, usize)) -> Result<Opened> {
        let node = &plan.lab.links[at.0].ends[at.1].node;
        let interfaces = plan.station(node).map_or(&[][..], |station| &station.interfaces);
        let interface = interfaces.iter().find(|interface| interface.link == at);
        let interface = interface.ok_or_else(|| Error::usage("a guest has no such interface"))?;
        let path = doubled(&self.card(interface.mac));
        Ok(kinds::parse(&format!("unix:{path}")).map_err(Error::usage)?.open()?)
    }

    /// The program that is the guest, and the text on its console after which it is ready.
    pub(super) fn program(
        &self,
        plan: &Plan,
        name: &NodeName,
        key: NodeKey,
    ) -> Option<(Program, String)> {
        let Kind::Guest(guest) = &plan.lab.node(name.as_str())?.kind else { return None };
        let station = plan.station(name)?;
        let mut words = words(guest);
        if guest.kernel.is_some() {
            words.extend(["-append".to_owned(), command_line(guest, name, station)]);
        }
        // What it prints is also the output of the program, for 'adit lab logs'.
        let console = self.console(key);
        self.made().insert(console.clone());
        let console = doubled(&console);
        words.extend([
            "-chardev".to_owned(),
            format!("socket,id=tty,path={console},server=on,wait=off,logfile=/dev/stdout"),
            "-serial".to_owned(),
            "chardev:tty".to_owned(),
        ]);
        for (number, interface) in station.interfaces.iter().enumerate() {
            let path = doubled(&self.card(interface.mac));
            words.extend([
                "-netdev".to_owned(),
                format!("stream,id=n{number},server=off,addr.type=unix,addr.path={path}"),
                "-device".to_owned(),
                format!("virtio-net-pci,netdev=n{number},mac={}", interface.mac),
            ]);
        }
        words.extend(guest.arguments.iter().cloned());
        let program = Program {
            name: "qemu".to_owned(),
            words,
            restart: guest.restart,
            ready: Vec::new(),
            ready_within: match guest.ready_within {
                Duration::ZERO => READY_WITHIN,
                given => given,
            },
        };
        Some((program, guest.ready.clone()))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        for path in &*self.0.made() {
            // QEMU has removed it, unless it was killed.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Removes the sockets of guests of a lab, by the path of its control socket without `.sock`.
pub(crate) fn remove(base: &Path) {
    let (Some(folder), Some(name)) = (base.parent(), base.file_name().and_then(|of| of.to_str()))
    else {
        return;
    };
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    let start = format!("{name}.guest-");
    let is_one = |entry: &std::fs::DirEntry| {
        entry.file_name().to_str().is_some_and(|file| file.starts_with(&start))
    };
    for entry in entries.flatten().filter(is_one) {
        // Its listener may have removed it.
        let _ = std::fs::remove_file(entry.path());
    }
}

/// Checks that the files of a guest are there.
///
/// # Errors
/// One cannot be opened.
pub(super) fn check(node: &Node) -> Result<()> {
    let Kind::Guest(guest) = &node.kind else { return Ok(()) };
    let files = [("kernel", &guest.kernel), ("initrd", &guest.initrd), ("disk", &guest.disk)];
    for (what, path) in files.into_iter().filter_map(|(what, path)| Some((what, path.as_ref()?))) {
        let found = std::fs::File::open(path).map(drop);
        let found = match found {
            // A sandbox opens nothing: QEMU says why it cannot.
            Err(error) if error.kind() == ErrorKind::PermissionDenied && is_installed() => {
                match std::fs::metadata(path) {
                    Err(error) if error.kind() == ErrorKind::NotFound => Err(error),
                    _ => Ok(()),
                }
            }
            found => found,
        };
        found.map_err(|error| {
            let object = format!("{}, the {what} of guest '{}'", path.display(), node.name);
            Error::io("open", object, &error)
        })?;
    }
    Ok(())
}

/// A path in a list that commas separate, of ours and of QEMU's.
fn doubled(path: &Path) -> String {
    path.display().to_string().replace(',', ",,")
}

/// QEMU without console and network cards.
fn words(guest: &Guest) -> Vec<String> {
    let (program, machine) = match std::env::consts::ARCH {
        arch @ ("aarch64" | "arm" | "riscv64") => (arch, Some("virt")),
        "x86" => ("i386", None),
        "powerpc64" => ("ppc64", None),
        arch => (arch, None),
    };
    let program = format!("qemu-system-{program}");
    let mut words: Vec<String> =
        [&*program, "-nodefaults", "-no-user-config", "-display", "none"].map(str::to_owned).into();
    let memory = if guest.memory == 0 { MEMORY } else { guest.memory };
    words.extend(["-m".to_owned(), memory.to_string()]);
    let has = |option: &str| guest.arguments.iter().any(|given| given == option);
    let mut usual = |option: &str, value: &str| {
        words.extend([option.to_owned(), value.to_owned()]);
    };
    if !has("-accel") && !has("-enable-kvm") && !has("-machine") && !has("-M") {
        // The first one that works.
        if has_kvm() {
            usual("-accel", "kvm");
        }
        usual("-accel", "tcg");
        machine.into_iter().for_each(|machine| usual("-machine", machine));
    }
    if !has("-cpu") {
        usual("-cpu", "max");
    }
    for (option, path) in [("-kernel", &guest.kernel), ("-initrd", &guest.initrd)] {
        if let Some(path) = path {
            usual(option, &path.display().to_string());
        }
    }
    if let Some(disk) = &guest.disk {
        usual("-drive", &format!("file={},if=virtio,snapshot=on", doubled(disk)));
    }
    words
}

/// Whether this user may open `/dev/kvm`; one who may not has an emulated processor. It is looked up before a sandbox
/// forbids it.
pub(super) fn has_kvm() -> bool {
    static HAS_KVM: OnceLock<bool> = OnceLock::new();
    *HAS_KVM.get_or_init(|| access("/dev/kvm", Access::READ_OK | Access::WRITE_OK).is_ok())
}

/// What the kernel gets: the file's, a console, and the addresses as `ip=` of the kernel, dracut and systemd has them.
fn command_line(guest: &Guest, name: &NodeName, station: &Station) -> String {
    let mut line = guest.append.clone();
    let has = |line: &str, key: &str| line.split_whitespace().any(|word| word.starts_with(key));
    let mut add = |word: &str| {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    };
    if !has(&guest.append, "console=") {
        add(CONSOLE);
    }
    if has(&guest.append, "ip=") {
        return line;
    }
    for (number, interface) in station.interfaces.iter().enumerate() {
        let v4 = interface.addresses.iter().find_map(|address| match address.ip() {
            IpAddr::V4(ip) => Some((ip, u32::MAX.checked_shl(32 - u32::from(address.len())))),
            IpAddr::V6(_) => None,
        });
        let Some((ip, mask)) = v4 else { continue };
        let mask = std::net::Ipv4Addr::from(mask.unwrap_or(0));
        let mut routes = station.routes.iter().filter(|route| route.interface == number);
        let router = routes.find_map(|route| {
            let via = route.via.filter(IpAddr::is_ipv4)?;
            (route.to == adit_packet::IpPrefix::ALL_V4).then_some(via)
        });
        let router = router.map(|ip| ip.to_string()).unwrap_or_default();
        let dns = station.dns.iter().find(|ip| ip.is_ipv4());
        let dns = dns.map(|ip| format!(":{ip}")).unwrap_or_default();
        add(&format!("ip={ip}::{router}:{mask}:{name}:{}:none{dns}", interface.name));
    }
    line
}

#[cfg(test)]
mod tests;
