//! `adit doctor`.

use crate::context::Context;
use crate::exit::Exit;
use crate::output::{Output, Tone, clean};
use adit_device::{DeviceOptions, Features, IfName, Mode, Netns, Offload, VnetFormat, VnetLen};
use adit_service::control::name::is_claimed;
use adit_service::error::{Error, Report, Result};
use adit_service::host::filter::TableId;
use adit_service::host::stale::filter_tables;
use adit_service::namespace::try_splice;
use adit_service::sandbox::{landlock, seccomp};
use rustix::net::{AddressFamily, SocketType};
use schemars::JsonSchema;
use serde::Serialize;
use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exits with status 0 if devices can be created here, at least in a new user namespace, and with 1 if \
not. The trial runs in a network namespace of its own and leaves nothing behind.")]
pub(crate) struct Args {
    /// Create a device in a new user namespace and exit: what the check does in a child process
    #[arg(long, hide = true)]
    in_user_namespace: bool,
    /// Splice the connections of that device as well
    #[arg(long, hide = true)]
    splice: bool,
}

/// The results of all checks.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(title = "adit doctor")]
pub(crate) struct Findings {
    /// Whether devices can be created here.
    ok: bool,
    checks: Vec<Check>,
}

/// The result of one check.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Check {
    /// Its stable name.
    name: &'static str,
    state: State,
    /// What the check found.
    detail: String,
    /// How to fix it.
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
}

/// The outcome of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum State {
    /// It passed.
    Ok,
    /// A feature is missing; the rest works.
    Limited,
    /// Nothing works without this.
    Failed,
}

impl Check {
    fn ok(name: &'static str, detail: impl Into<String>) -> Self {
        Self { name, state: State::Ok, detail: detail.into(), remedy: None }
    }

    fn limited(name: &'static str, detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        let remedy = Some(remedy.into()).filter(|remedy| !remedy.is_empty());
        Self { name, state: State::Limited, detail: detail.into(), remedy }
    }

    fn failed(self) -> Self {
        Self { state: State::Failed, ..self }
    }
}

impl Args {
    pub(crate) fn run(self, context: &Context) -> Result<Exit> {
        if self.in_user_namespace {
            Netns::enter_new_rootless()
                .map_err(|error| Error::io("create", "a user namespace", &error))?;
            if self.splice {
                let device = DeviceOptions::new(Mode::Tun).up(true).open()?;
                try_splice(device.name()?)?;
            } else {
                DeviceOptions::new(Mode::Tap).open()?;
            }
            return Ok(Exit::Ok);
        }
        let steps = [
            "open /dev/net/tun",
            "read /proc/misc, /proc/self/status and the limits on user namespaces",
            "create a TAP device in a new user namespace, in a child process",
            "create a TAP device in a new network namespace and set its offloads",
            "open an ICMP echo socket",
            "ask for the version of Landlock, and for seccomp",
            "set up the splice datapath in a new user namespace, in a child process",
            "list the tables of the packet filter",
        ];
        if context.is_rehearsal(&steps)? {
            return Ok(Exit::Ok);
        }
        let findings = findings();
        if context.output.json {
            context.output.value(&findings)?;
        } else {
            lines(&context.output, &findings)
                .iter()
                .try_for_each(|line| context.output.line(line))?;
        }
        Ok(if findings.ok { Exit::Ok } else { Exit::NotSo })
    }
}

/// The results of all checks of this machine.
pub(super) fn findings() -> Findings {
    let mut checks = vec![module(), node()];
    let (capability, namespaces) = (capability(), user_namespaces());
    // Either the capability or a user namespace is enough.
    let neither = capability.state != State::Ok && namespaces.state != State::Ok;
    checks.push(if neither { capability.failed() } else { capability });
    checks.push(namespaces);
    checks.extend(features());
    checks.push(trial());
    checks.push(pings());
    checks.push(sandbox());
    checks.push(splices());
    checks.extend(kill_switches());
    let ok = checks.iter().all(|check| check.state != State::Failed);
    Findings { ok, checks }
}

/// The results for people.
pub(super) fn lines(output: &Output, findings: &Findings) -> Vec<String> {
    let mut lines = Vec::new();
    for check in &findings.checks {
        // The word repeats what the color shows.
        let mark = match check.state {
            State::Ok => output.paint(Tone::Good, "ok     "),
            State::Limited => output.paint(Tone::Name, "limited"),
            State::Failed => output.paint(Tone::Bad, "failed "),
        };
        lines.push(format!("{mark}  {:<16} {}", check.name, clean(&check.detail)));
        if let Some(remedy) = &check.remedy {
            lines.push(format!("         {:<16} help: {}", "", clean(remedy)));
        }
    }
    let verdict =
        if findings.ok { "devices can be created here" } else { "devices cannot be created here" };
    lines.push(verdict.to_owned());
    lines
}

/// Both a module and a built-in driver register in /proc/misc.
fn module() -> Check {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let registered = fs::read_to_string("/proc/misc")
        .unwrap_or_default()
        .lines()
        .any(|line| line.split_whitespace().nth(1) == Some("tun"));
    let release = release.trim();
    if registered {
        Check::ok("driver", format!("the TUN/TAP driver is present (Linux {release})"))
    } else {
        Check::limited(
            "driver",
            format!("the TUN/TAP driver is not loaded (Linux {release})"),
            "Load it: 'modprobe tun'. Opening /dev/net/tun loads it too where that is permitted. The \
             kernel must be built with CONFIG_TUN.",
        )
    }
}

/// What this kernel offers to restrict a program that moves packets.
fn sandbox() -> Check {
    let name = "sandbox";
    let (landlock, seccomp) = (landlock::version(), seccomp::is_offered());
    let detail = format!(
        "{}; {}; no_new_privs and dropped capabilities",
        match landlock {
            0 => "no Landlock".to_owned(),
            1..=3 => format!("Landlock {landlock}: files"),
            4..=5 => format!("Landlock {landlock}: files, TCP"),
            _ => format!("Landlock {landlock}: files, TCP, abstract sockets"),
        },
        if seccomp { "seccomp" } else { "no seccomp" },
    );
    if landlock > 0 && seccomp {
        return Check::ok(name, detail);
    }
    let remedy = "Landlock needs Linux 5.13 with CONFIG_SECURITY_LANDLOCK, and 'landlock' in the boot parameter \
                  lsm=; seccomp needs CONFIG_SECCOMP_FILTER and x86-64, AArch64 or RISC-V. Without them, \
                  programs run with the rest; '--sandbox require' refuses to.";
    Check::limited(name, detail, remedy)
}

/// The library diagnoses why /dev/net/tun does not open.
fn node() -> Check {
    match Features::read() {
        Ok(_) => Check::ok("node", "/dev/net/tun opens"),
        Err(error) => Check::limited("node", error.to_string(), error.remedy()).failed(),
    }
}

/// `CAP_NET_ADMIN` of `linux/capability.h`.
const CAP_NET_ADMIN: u32 = 12;

fn capability() -> Check {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let bits = effective.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0);
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    // The first user namespace maps all 2^32 - 1 ids onto themselves.
    let initial = map.split_whitespace().eq(["0", "0", "4294967295"]);
    let place = if initial { "the initial user namespace" } else { "this user namespace" };
    if bits >> CAP_NET_ADMIN & 1 == 1 {
        return Check::ok("capability", format!("CAP_NET_ADMIN in {place}"));
    }
    Check::limited(
        "capability",
        format!("no CAP_NET_ADMIN in {place}: devices cannot be created in this network namespace"),
        "Run as root (sudo); or give the program the capability: 'setcap cap_net_admin+ep'; or let \
         root create a device for you once: 'adit dev add NAME --mode tun --user YOU'; or run in \
         your own namespace: 'unshare -Urn'. In a container: '--cap-add=NET_ADMIN'.",
    )
}

/// Tries it: what a security module or a container's runtime allows is in no file.
fn user_namespaces() -> Check {
    let name = "user namespaces";
    let why = match in_user_namespace(&[]) {
        Ok(()) => {
            let detail = "work: 'unshare -Urn' gives a network namespace without root";
            return Check::ok(name, detail);
        }
        Err(why) => why,
    };
    let number = |path: &str| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    let is = |path: &str, value| number(path) == Some(value);
    let (cause, remedy) = if is("/proc/sys/user/max_user_namespaces", 0) {
        ("user.max_user_namespaces is 0", "Enable them: 'sysctl user.max_user_namespaces=10000'.")
    } else if is("/proc/sys/kernel/unprivileged_userns_clone", 0) {
        (
            "kernel.unprivileged_userns_clone is 0, which leaves them to root",
            "Enable them: 'sysctl kernel.unprivileged_userns_clone=1'.",
        )
    } else if is("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", 1) {
        (
            "AppArmor removes their capabilities",
            "Write an AppArmor profile with 'userns,' for the program, or run 'sysctl \
             kernel.apparmor_restrict_unprivileged_userns=0'.",
        )
    } else if !fs::exists("/proc/self/ns/user").unwrap_or(false) {
        ("the kernel does not support them", "Build the kernel with CONFIG_USER_NS.")
    } else {
        (
            "a security module or the container's runtime refuses them",
            "In a container, allow them in its seccomp profile, or start it with '--cap-add=NET_ADMIN'.",
        )
    };
    Check::limited(name, format!("do not work ({why}): {cause}"), remedy)
}

/// Creates a device in a new user namespace, in a child: no process leaves such a namespace.
fn in_user_namespace(options: &[&str]) -> std::result::Result<(), String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut child = Command::new(program);
    child.args(["--json", "doctor", "--in-user-namespace"]).args(options);
    child.stdin(Stdio::null()).process_group(0);
    let output = child.output().map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    let report: Option<Report> = serde_json::from_slice(&output.stderr).ok();
    Err(report.map_or_else(|| output.status.to_string(), |report| report.message))
}

/// One check for each optional feature of the driver.
fn features() -> Vec<Check> {
    let Ok(features) = Features::read() else { return Vec::new() };
    let wanted = [
        (Features::MULTI_QUEUE, "multi_queue", "3.8"),
        (Features::VNET_HDR, "vnet_hdr", "2.6.27"),
        (Features::NAPI, "napi", "4.15"),
        (Features::NAPI_FRAGS, "napi_frags", "4.15"),
        (Features::NO_CARRIER, "no_carrier", "6.1"),
    ];
    let check = |(feature, name, since): (Features, &'static str, &str)| {
        if features.contains(feature) {
            Check::ok(name, "supported by the driver")
        } else {
            let remedy = format!("Linux {since} or newer is required.");
            Check::limited(name, "not supported by the driver", remedy)
        }
    };
    wanted.into_iter().map(check).collect()
}

/// Whether the NAT's sockets can send echo requests for the inside.
fn pings() -> Check {
    let name = "ping sockets";
    let protocol = Some(rustix::net::ipproto::ICMP);
    match rustix::net::socket(AddressFamily::INET, SocketType::DGRAM, protocol) {
        Ok(_) => Check::ok(name, "pings of 'adit run' and 'adit nat' leave this host"),
        Err(errno) => Check::limited(
            name,
            format!(
                "{}: 'adit run' and 'adit nat' refuse pings to the outside",
                io::Error::from(errno)
            ),
            "Allow your group to send them: \
             'sysctl net.ipv4.ping_group_range=\"0 2147483647\"'.",
        ),
    }
}

/// Whether the NAT can have the kernel move the bytes of TCP connections.
fn splices() -> Check {
    let (name, option) = ("splice", "'--datapath splice' of 'adit run' and 'adit nat attach'");
    match in_user_namespace(&["--splice"]) {
        Ok(()) => Check::ok(name, format!("{option} is offered")),
        Err(why) => Check::limited(
            name,
            format!("{option} is not offered: {why}"),
            "It needs user namespaces, a writable /proc/sys, the program nft (package nftables) and a \
             kernel with CONFIG_NFT_TPROXY. The default '--datapath packet' does without.",
        ),
    }
}

/// Kill switches of tunnels that do not run: nothing leaves this namespace, and nothing says why.
fn kill_switches() -> impl Iterator<Item = Check> {
    let is_claimed =
        |device: &IfName| device.to_string().parse().is_ok_and(|name| is_claimed(&name));
    let tables = filter_tables(None).into_iter().filter(TableId::is_kill_switch);
    tables.map(|table| table.device).filter(move |device| !is_claimed(device)).map(|device| {
        let detail =
            format!("only what goes through the tunnel {device} may leave, and it does not run");
        let remedy = format!("Start the tunnel, or run: adit tunnel down {device}");
        Check::limited("kill switch", detail, remedy)
    })
}

/// Creates a device in a new namespace and probes its offloads.
fn trial() -> Check {
    let name = "trial";
    let netns = match Netns::new_anonymous() {
        Ok(netns) => netns,
        Err(error) => {
            return Check::limited(
                name,
                format!("not run: cannot create a network namespace: {error}"),
                "Try 'unshare -Urn adit doctor'.",
            );
        }
    };
    let vnet = VnetFormat { len: VnetLen::Tunnel, ..VnetFormat::default() };
    let options = DeviceOptions::new(Mode::Tap).vnet_hdr(vnet).netns(netns);
    let probed = options.open().and_then(|device| device.probe_offloads(&Offload::LADDER));
    match probed {
        Ok(taken) => match taken.first() {
            Some(best) if best.contains(Offload::USO) => {
                Check::ok(name, format!("a device can be created; offloads: {best}"))
            }
            best => Check::limited(
                name,
                format!("a device can be created; offloads: {}", best.copied().unwrap_or_default()),
                "UDP super-packets (uso4, uso6) require Linux 6.2 or newer.",
            ),
        },
        Err(error) => Check::limited(name, error.to_string(), error.remedy()).failed(),
    }
}
