//! The option of commands that run in a sandbox.

use adit_service::sandbox::Level;
use std::ffi::OsString;

/// The option of every command that keeps running.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub(crate) struct SandboxArgs {
    /// What adit does without once it runs: 'try' is all that this machine allows
    #[arg(
        long = "sandbox",
        value_name = "require|try|off",
        default_value = "try",
        hide_default_value = true
    )]
    pub(crate) level: Level,
}

impl SandboxArgs {
    /// Adds the word of a command line that asks for the same.
    pub(crate) fn add_to(self, mut arguments: Vec<OsString>) -> Vec<OsString> {
        arguments.insert(0, format!("--sandbox={}", self.level).into());
        arguments
    }
}

#[cfg(test)]
mod tests {
    use adit_runtime::PortSpec;
    use adit_service::config::problems::Problems;
    use adit_service::config::source::Source;
    use adit_service::kinds::KINDS;
    use adit_service::metrics::exporter;
    use adit_service::sandbox::{Needs, Sandbox, is_known, seccomp};
    use adit_service::{confine, nat};
    use adit_topology::file;
    use adit_vpn::up::Pipe;
    use std::path::PathBuf;

    /// The most system calls that a command may make: a list that a person can read.
    const CALLS_MAX: usize = 60;

    #[test]
    fn each_command_makes_few_calls_and_all_have_numbers() {
        let nat_port = PortSpec::parse("nat:", &KINDS).unwrap();
        let switch = |ports: &[PortSpec]| {
            let mut needs = confine::needs_with_ports(&Sandbox::off(), ports.iter());
            needs.syscalls.push(adit_runtime::ACCELERATION_SYSCALLS);
            needs
        };
        let lab = |file: &str| {
            let source = Source::new("lab.toml", file.to_owned());
            let (plan, _) = file::of_source(&source, &[], 1, &Problems::default()).unwrap();
            adit_lab::live::needs(&Sandbox::off(), &plan, PathBuf::new())
        };
        let with_nat = "[host.a]\n[nat.n]\n[[link]]\nends = ['a', 'n']\n";
        let commands: [(&str, Needs); 11] = [
            ("capture", adit_capture::run::needs()),
            // A link makes fewer.
            ("switch", switch(&[])),
            ("switch with a NAT", switch(&[nat_port])),
            ("tunnel", adit_vpn::confine::needs(&Pipe::None)),
            ("tunnel --stdio", adit_vpn::confine::needs(&Pipe::Stdio)),
            ("nat", nat::needs()),
            ("run, with a NAT", adit_vpn::run::needs(nat::needs())),
            ("run, with a tunnel", adit_vpn::run::needs(adit_vpn::confine::needs_of_run())),
            ("exporter", exporter::needs()),
            ("lab", lab("[host.a]\n")),
            ("lab with a NAT", lab(with_nat)),
        ];
        for (command, needs) in commands {
            let unknown =
                needs.syscalls.iter().flat_map(|list| list.iter()).find(|name| !is_known(name));
            assert_eq!(unknown, None, "{command}");
            let calls = seccomp::calls(&needs);
            let count = calls.len();
            assert!((20..=CALLS_MAX).contains(&count), "{command}: {count} calls: {calls:?}");
        }
    }
}
