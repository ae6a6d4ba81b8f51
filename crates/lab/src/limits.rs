//! Whether this machine allows a lab, before anything of it is made.

use adit_service::error::{Entry, Error, Kind, Result};
use adit_topology::model::{Kind as NodeKind, Node};
use adit_topology::plan::{Medium, Plan};
use rustix::process::{Resource, getrlimit};
use std::path::{Path, PathBuf};

/// A limit of this machine is too low for a lab.
pub const LIMITS: Entry = Entry {
    code: "ADIT-E0848",
    title: "a limit of this machine is too low for the lab",
    explanation: "A lab has a network namespace for each host, descriptors for each link that adit emulates, and a \
                  process for each program. A limit of this user, of its service or container, or of the kernel is \
                  lower than that. Nothing was made.",
    remedy: "Raise the limit that the message names, or make the lab smaller.",
};

/// The codes of this module.
pub const CATALOG: [Entry; 1] = [LIMITS];

/// Descriptors of the loop for each port: the TAP, its namespace, what the loop waits for, and one while it is made.
const PER_PORT: u64 = 6;

/// Descriptors of the keeper for each node: its namespaces.
const PER_NODE: u64 = 4;

/// Descriptors of the keeper for each program: its output and its end.
const PER_PROGRAM: u64 = 4;

/// Descriptors and processes whatever the lab has: control socket, clients, recordings, the keeper, a shell.
const OWN: u64 = 64;

/// What a lab takes of this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needs {
    /// Descriptors of the process that has the most.
    pub descriptors: u64,
    /// Processes of this user.
    pub processes: u64,
    /// Namespaces of each kind.
    pub namespaces: u64,
}

/// What this machine allows; `None`: no limit, or one that cannot be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    /// Descriptors of a process (`ulimit -Hn`).
    pub descriptors: Option<u64>,
    /// Processes of this user (`ulimit -Hu`).
    pub user_processes: Option<u64>,
    /// More processes in this control group.
    pub group_processes: Option<u64>,
    /// Network namespaces of this user, /proc/sys/user/max_net_namespaces.
    pub net_namespaces: Option<u64>,
    /// Mount namespaces of this user, /proc/sys/user/max_mnt_namespaces.
    pub mnt_namespaces: Option<u64>,
}

impl Needs {
    /// Those of a lab.
    #[must_use]
    pub fn of(plan: &Plan) -> Self {
        let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let ports = plan.cables.iter().map(|cable| match cable.medium {
            Medium::Veth | Medium::Patch => 0,
            Medium::Port(_) => 1,
            Medium::Taps => 2,
        });
        let (ports, stations) = (ports.sum::<u64>(), count(plan.stations.len()));
        let hosts = plan.lab.nodes.iter().filter_map(Node::as_host);
        let programs = count(hosts.map(|host| host.programs.len()).sum());
        let is_guest = |node: &&Node| matches!(node.kind, NodeKind::Guest(_));
        let guests = count(plan.lab.nodes.iter().filter(is_guest).count());
        let of_loop = PER_PORT * ports;
        let of_keeper = PER_NODE * stations + PER_PROGRAM * programs;
        Self {
            descriptors: OWN + of_loop.max(of_keeper),
            processes: OWN + programs + guests,
            namespaces: stations + 1,
        }
    }
}

impl Machine {
    /// Reads the limits of this process.
    #[must_use]
    pub fn read() -> Self {
        let namespaces =
            |kind: &str| number(Path::new(&format!("/proc/sys/user/max_{kind}_namespaces")));
        Self {
            descriptors: getrlimit(Resource::Nofile).maximum,
            // The kernel does not count the processes of root.
            user_processes: getrlimit(Resource::Nproc)
                .maximum
                .filter(|_| !rustix::process::geteuid().is_root()),
            group_processes: std::fs::read_to_string("/proc/self/cgroup")
                .ok()
                .and_then(|groups| left_in(&groups, Path::new("/sys/fs/cgroup"))),
            net_namespaces: namespaces("net"),
            mnt_namespaces: namespaces("mnt"),
        }
    }

    /// Checks that it allows what a lab needs.
    ///
    /// # Errors
    /// [`LIMITS`], with each limit that is too low and how to raise it.
    pub fn check(&self, needs: Needs) -> Result<()> {
        let Needs { descriptors, processes, namespaces } = needs;
        let limits = [
            (
                "descriptors in a process",
                descriptors,
                self.descriptors,
                "'ulimit -Hn N' as root, or LimitNOFILE= of the service",
            ),
            (
                "processes of this user",
                processes,
                self.user_processes,
                "'ulimit -Hu N' as root, or LimitNPROC= of the service",
            ),
            (
                "more processes in this control group",
                processes,
                self.group_processes,
                "TasksMax= of the service, or --pids-limit of the container",
            ),
            (
                "network namespaces",
                namespaces,
                self.net_namespaces,
                "'sysctl user.max_net_namespaces=N' as root",
            ),
            (
                "mount namespaces",
                namespaces,
                self.mnt_namespaces,
                "'sysctl user.max_mnt_namespaces=N' as root",
            ),
        ];
        let low: Vec<_> = limits
            .into_iter()
            .filter_map(|(what, needed, allowed, remedy)| {
                let allowed = allowed.filter(|allowed| *allowed < needed)?;
                Some((format!("{needed} {what}, and {allowed} are allowed"), remedy))
            })
            .collect();
        if low.is_empty() {
            return Ok(());
        }
        let (lines, remedies): (Vec<String>, Vec<&str>) = low.into_iter().unzip();
        Err(Error::new(Kind::Refused, &LIMITS, format!("the lab needs {}", lines.join("; ")))
            .hint(format_args!("Raise it: {}.", remedies.join("; "))))
    }
}

/// How many more processes the control groups of `/proc/self/cgroup` allow, below `root`.
fn left_in(groups: &str, root: &Path) -> Option<u64> {
    let of_group = |line: &str| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        let mounted = match controllers {
            "" => root.to_owned(),
            _ if controllers.split(',').any(|name| name == "pids") => root.join("pids"),
            _ => return None,
        };
        let folder = mounted.join(path.trim_start_matches('/'));
        // A group has at most what those around it have.
        let around = folder.ancestors().take_while(|folder| folder.starts_with(&mounted));
        around.filter_map(|folder| left(folder.to_owned())).min()
    };
    groups.lines().filter_map(of_group).min()
}

fn left(folder: PathBuf) -> Option<u64> {
    let max = number(&folder.join("pids.max"))?;
    Some(max.saturating_sub(number(&folder.join("pids.current")).unwrap_or(0)))
}

/// The number in a file; `None` if there is none, as in `max`.
fn number(path: &Path) -> Option<u64> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{Machine, Needs, left_in};
    use adit_topology::plan::Plan;
    use adit_topology::shapes::Topology;

    fn needs(shape: &str) -> Needs {
        let lab = shape.parse::<Topology>().unwrap().lab().unwrap();
        Needs::of(&Plan::with_seed(lab, 1).unwrap())
    }

    #[test]
    fn a_limit_that_is_too_low_is_named_with_its_remedy() {
        let (small, large) = (needs("star,2"), needs("star,1000"));
        assert_eq!(large.namespaces, 1001);
        let machine = Machine { net_namespaces: Some(1000), ..Machine::default() };
        assert!(machine.check(small).is_ok());
        let error = machine.check(large).unwrap_err();
        let expected = "the lab needs 1001 network namespaces, and 1000 are allowed";
        assert_eq!(error.report.message, expected);
        assert!(error.report.hint.unwrap().contains("user.max_net_namespaces"));
        let machine = Machine { descriptors: Some(1024), ..machine };
        let error = machine.check(large).unwrap_err();
        assert!(
            error.report.message.contains("descriptors in a process, and 1024 are allowed; 1001")
        );
        assert!(Machine::default().check(large).is_ok());
    }

    #[test]
    fn a_control_group_allows_what_the_tightest_around_it_does() {
        let root = std::env::temp_dir().join(format!("adit-limits-{}", std::process::id()));
        let inner = root.join("pids/user/inner");
        std::fs::create_dir_all(&inner).unwrap();
        let write = |folder: &std::path::Path, max: &str, current: &str| {
            std::fs::write(folder.join("pids.max"), max).unwrap();
            std::fs::write(folder.join("pids.current"), current).unwrap();
        };
        write(&inner, "max\n", "5\n");
        write(&root.join("pids/user"), "100\n", "40\n");
        let found = left_in("3:cpu:/user\n8:pids:/user/inner\n0::/\n", &root);
        std::fs::remove_dir_all(&root).unwrap();
        assert_eq!(found, Some(60));
    }
}
