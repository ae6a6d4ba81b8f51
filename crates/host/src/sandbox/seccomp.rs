//! seccomp: which system calls the process may still make. Any other ends it.
//!
//! The kernel does not report which call ended a process. So a forbidden call raises SIGSYS, whose handler writes the name of
//! the call and ends the process by SIGSYS. The call is never performed, whatever the handler does; a handler that was
//! replaced, which needs a call that is forbidden as well, or a thread that blocks the signal, ends the process without the
//! message.

use crate::sandbox::needs::Needs;
use crate::sandbox::state;
use crate::sandbox::syscalls::{FORBIDDEN, NAMES, PROCESS, number, of_this_processor};
use std::collections::BTreeSet;
use std::io;

/// The commands of bpf(2) for maps that are open: to look up, update, delete an entry, and to look up many
/// (`linux/bpf.h`).
const MAP_COMMANDS: [u64; 4] = [1, 2, 3, 24];

/// The calls of a list that this processor has, each once.
#[must_use]
pub fn calls(needs: &Needs) -> BTreeSet<&'static str> {
    let names = needs.syscalls.iter().chain(&[PROCESS]).flat_map(|list| list.iter().copied());
    // The C library calls it where clone3 fails.
    let clone = (!adit_device::process::has_clone3()).then_some("clone");
    // std calls them where statx fails.
    let stat = (!adit_device::process::has_statx()).then_some(["fstat", "newfstatat"]);
    names.chain(clone).chain(stat.into_iter().flatten()).filter_map(of_this_processor).collect()
}

/// Runs last: the stages before make calls that are on no list. Holds for all threads.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64"))]
pub(super) fn restrict(needs: &Needs) -> io::Result<()> {
    use seccompiler::{
        BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
        SeccompRule, TargetArch,
    };
    let failed = |error: &dyn std::fmt::Display| io::Error::other(error.to_string());
    adit_device::process::report_forbidden_calls(name_of)?;
    // An entry without conditions allows the call with any arguments.
    let mut rules: std::collections::BTreeMap<_, _> =
        calls(needs).into_iter().filter_map(|name| Some((number(name)?, Vec::new()))).collect();
    let first = |is: SeccompCmpOp, value: u64| {
        let condition = SeccompCondition::new(0, SeccompCmpArgLen::Dword, is, value);
        let rule = condition.and_then(|condition| SeccompRule::new(vec![condition]));
        rule.map_err(|error| failed(&error))
    };
    // Not the handler of forbidden calls.
    let sigsys = u64::from(libc::SIGSYS.unsigned_abs());
    rules.insert(libc::SYS_rt_sigaction, vec![first(SeccompCmpOp::Ne, sigsys)?]);
    // No other process; no socket that leads out of it.
    let own = u64::from(rustix::process::getpid().as_raw_nonzero().get().unsigned_abs());
    rules.insert(libc::SYS_tgkill, vec![first(SeccompCmpOp::Eq, own)?]);
    if let Some(pair) = rules.get_mut(&libc::SYS_socketpair) {
        let unix = u64::from(libc::AF_UNIX.unsigned_abs());
        pair.push(first(SeccompCmpOp::Eq, unix)?);
    }
    if let Some(bpf) = rules.get_mut(&libc::SYS_bpf) {
        for command in MAP_COMMANDS {
            bpf.push(first(SeccompCmpOp::Eq, command)?);
        }
    }
    let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(|error| failed(&error))?;
    let (other, listed) = (SeccompAction::Trap, SeccompAction::Allow);
    let filter = SeccompFilter::new(rules, other, listed, arch).map_err(|error| failed(&error))?;
    let program = BpfProgram::try_from(filter).map_err(|error| failed(&error))?;
    adit_runtime::panics::forbid_backtraces();
    seccompiler::apply_filter_all_threads(&program).map_err(|error| failed(&error))?;
    state::note(|state| state.system_calls = Some(calls(needs).len()));
    Ok(())
}

/// Whether this kernel, on this processor, has filters for system calls.
#[must_use]
pub fn is_offered() -> bool {
    let is_known =
        cfg!(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64"));
    is_known && adit_device::process::has_seccomp_filters()
}

/// The crate that writes the filters knows no other processors.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")))]
pub(super) fn restrict(_: &Needs) -> io::Result<()> {
    Err(rustix::io::Errno::OPNOTSUPP.into())
}

/// The name of a call of this processor, of those that a program is likely to make.
fn name_of(wanted: libc::c_long) -> &'static str {
    let mut all = NAMES.iter().chain(FORBIDDEN);
    all.find(|(_, number)| *number == wanted).map_or("", |(name, _)| name)
}
