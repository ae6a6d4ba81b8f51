//! A device that somebody deleted is made anew, where that is allowed.

use crate::daemon::Daemon;
use crate::host::setup::Plan;
use crate::site::Site;
use adit_device::{Link, Netns};
use adit_runtime::Runner;
use adit_runtime::port::device::DevicePort;
use adit_runtime::{Flow, Gone};
use adit_service::error::{Error, Exit, Result, SYSTEM};
use std::time::Duration;

/// Whoever deletes it twice in this time means it; and nothing is made and deleted without end.
const GAP_MIN: Duration = Duration::from_secs(1);

impl Daemon {
    /// The device is gone: makes it again with all that it had, or ends with the cause.
    ///
    /// Sessions go on: they do not depend on it. Hooks are not run again, for what they did outside of
    /// the device is still there.
    pub fn device_gone(&mut self, runner: &mut Runner<Site>, why: &Gone) -> Flow {
        let name = self.loaded.name;
        let is_meant = self.remade.is_some_and(|at| runner.now().since(at) < GAP_MIN);
        let remade = match why {
            Gone::Deleted if !is_meant => self.remake(runner),
            _ => Err(Error::new(Exit::Refused, &SYSTEM, String::new())),
        };
        match remade {
            Ok(()) => {
                self.remade = Some(runner.now());
                let hooks = &self.loaded.config.interface.hooks;
                let left = if hooks.post_up.is_empty() { "" } else { "; PostUp is not run again" };
                self.output.note(format!("the device {name} was deleted; it was made anew{left}"));
                self.warn();
                Flow::Continue
            }
            Err(error) => {
                let mut message = format!("the device {name} is gone: {why}");
                if !error.report.message.is_empty() {
                    message
                        .push_str(&format!(", and cannot be made anew: {}", error.report.message));
                }
                let error = Error::new(Exit::Refused, &SYSTEM, message).object(name);
                self.failure = Some(error.hint("Start the tunnel again."));
                Flow::Stop
            }
        }
    }

    fn remake(&mut self, runner: &mut Runner<Site>) -> Result<()> {
        let name = self.loaded.name;
        let copy = self.netns.as_ref().map(Netns::try_clone).transpose();
        let copy = copy.map_err(|error| Error::io("use", "the namespace", &error))?;
        // Rules lead to tables, not to a device: they are there.
        let plan = Plan { rules: Vec::new(), ..self.plan.clone() };
        let (device, applied) = plan.apply(copy)?;
        self.applied.replace(applied);
        self.link = match &self.netns {
            Some(netns) => Link::find_in(netns, &name)?,
            None => Link::find(&name)?,
        };
        let port = DevicePort::new(device)?;
        let attached = runner.attach(Site::device(plan.mode), Box::new(port));
        attached.map_err(|error| Error::io("wait for", name, &error))?;
        self.set_dns();
        Ok(())
    }
}
