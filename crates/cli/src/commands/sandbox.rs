//! The option of commands that run in a sandbox.

use adit_service::sandbox::Level;

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

#[cfg(test)]
mod tests {
    use adit_runtime::PortSpec;
    use adit_service::kinds::KINDS;
    use adit_service::metrics::exporter;
    use adit_service::sandbox::{Needs, Sandbox, is_known, seccomp};
    use adit_service::{confine, nat};
    use adit_vpn::up::Pipe;

    /// The most system calls that a command may make: a list that a person can read.
    const CALLS_MAX: usize = 60;

    #[test]
    fn each_command_makes_few_calls_and_all_have_numbers() {
        let nat_port = PortSpec::parse("nat:", &KINDS).unwrap();
        let with_ports =
            |ports: &[PortSpec]| confine::needs_with_ports(&Sandbox::off(), ports.iter());
        let commands: [(&str, Needs); 9] = [
            ("capture", adit_capture::run::needs()),
            ("switch, netem", with_ports(&[])),
            ("switch, netem with a NAT", with_ports(&[nat_port])),
            ("tunnel", adit_vpn::confine::needs(&Pipe::None)),
            ("tunnel --stdio", adit_vpn::confine::needs(&Pipe::Stdio)),
            ("nat", nat::needs()),
            ("run, with a NAT", adit_vpn::run::needs(nat::needs())),
            ("run, with a tunnel", adit_vpn::run::needs(adit_vpn::confine::needs_of_run())),
            ("exporter", exporter::needs()),
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
