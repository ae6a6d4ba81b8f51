//! Whether the kernel forwards for a switch, and how that is said.

use crate::error::{Error, Kind, Result};
use crate::switch::codes;
use crate::switch::model;
use crate::switch::state::SwitchService;
use adit_engine::switch::{Accelerate, Switch};
use adit_runtime::{LeftOut, Runner};

/// Why the kernel does not forward although it might, once.
///
/// # Errors
/// It must.
pub(super) fn check(
    service: &mut SwitchService,
    runner: &Runner<Switch>,
) -> Result<Option<String>> {
    let state = runner.acceleration();
    let Some(failure) = state.as_ref().and_then(|state| state.failure) else { return Ok(None) };
    let why = format!("the kernel does not forward for the switch: {failure}");
    let (kind, help) = if failure.kind() == std::io::ErrorKind::PermissionDenied {
        let help = "Run adit as root, or give it CAP_BPF and CAP_NET_ADMIN, outside a user namespace; \
                    or set accelerate to off.";
        (Kind::Permission, help)
    } else {
        (Kind::Refused, "Linux 5.11 or newer is required, with BPF; or set accelerate to off.")
    };
    if runner.engine().config().accelerate == Accelerate::Require {
        return Err(Error::new(kind, &codes::ACCELERATE, why).hint(help));
    }
    let is_reported = std::mem::replace(&mut service.is_acceleration_reported, true);
    Ok((!is_reported).then(|| format!("note: {why}. {help}")))
}

/// For `show`; nothing if it is off.
pub(super) fn report(service: &SwitchService, runner: &Runner<Switch>) -> Option<model::Kernel> {
    let state = runner.acceleration()?;
    Some(model::Kernel {
        failure: state.failure.map(ToString::to_string),
        ports: state.ports.iter().map(|id| service.name_of(*id)).collect(),
        left_out: state
            .left_out
            .iter()
            .map(|(id, why)| left_out(service.name_of(*id), *why))
            .collect(),
        addresses: runner.engine().fdb().filter(|entry| entry.is_fast).count(),
        frames: state.frames,
    })
}

fn left_out(port: String, why: LeftOut) -> model::LeftOut {
    let why = match why {
        LeftOut::Alone => "no other port is an interface of its network namespace",
        LeftOut::EmulatedLink => "it has an emulated link",
        LeftOut::Engine => {
            "the switch handles each of its frames: see its guards, mirrors, VLAN mode and state"
        }
        _ => "the kernel did not take the programs",
    };
    model::LeftOut { port, why: why.to_owned() }
}
