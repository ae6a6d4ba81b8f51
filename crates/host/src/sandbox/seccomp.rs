//! seccomp: which system calls the process may still make. Any other kills it.

use crate::sandbox::needs::Needs;
use std::io;

/// Runs last: the stages before make calls that are on no list. Holds for all threads.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64"))]
pub(super) fn restrict(needs: &Needs) -> io::Result<()> {
    use crate::sandbox::syscalls::{PROCESS, number};
    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};
    let failed = |error: &dyn std::fmt::Display| io::Error::other(error.to_string());
    let names = needs.syscalls.iter().chain(&[PROCESS]).flat_map(|list| list.iter());
    // An entry without conditions allows the call with any arguments.
    let rules = names.filter_map(|name| Some((number(name)?, Vec::new()))).collect();
    let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(|error| failed(&error))?;
    let (other, listed) = (SeccompAction::KillProcess, SeccompAction::Allow);
    let filter = SeccompFilter::new(rules, other, listed, arch).map_err(|error| failed(&error))?;
    let program = BpfProgram::try_from(filter).map_err(|error| failed(&error))?;
    seccompiler::apply_filter_all_threads(&program).map_err(|error| failed(&error))
}

/// The crate that writes the filters knows no other processors.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")))]
pub(super) fn restrict(_: &Needs) -> io::Result<()> {
    Err(rustix::io::Errno::OPNOTSUPP.into())
}
