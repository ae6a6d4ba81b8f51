//! `adit dev del`.

use crate::commands::dev::find::find;
use crate::commands::dev::model::Deleted;
use crate::commands::dev::values::AnyName;
use crate::context::Context;
use crate::exit::Exit;
use adit_service::error::{Kind, Result};
use adit_service::host::action::Action;
use adit_service::host::executor::{Executor, HostExecutor};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Deletes only TUN and TAP devices. If one cannot be deleted, the others still are; the command then \
fails with the first error.")]
pub(crate) struct Args {
    /// The devices
    #[arg(required = true, value_name = "NAME")]
    names: Vec<AnyName>,
}

impl Args {
    pub(crate) fn run(self, context: &Context) -> Result<Exit> {
        let (mut deleted, mut failed) = (Vec::new(), None);
        for name in &self.names {
            match delete(name, context.dry_run) {
                Ok(gone) => deleted.push(gone),
                Err(error) => match failed {
                    None => failed = Some(error),
                    Some(_) => context.output.error(&error.report),
                },
            }
        }
        let actions: Vec<String> = deleted.iter().map(|(_, action)| action.to_string()).collect();
        // If nothing was done, only the error is printed.
        if failed.is_none() || !deleted.is_empty() {
            let rehearsal = context.is_rehearsal(&actions)?;
            if !rehearsal && context.output.json {
                let deleted: Vec<&Deleted> = deleted.iter().map(|(gone, _)| gone).collect();
                context.output.value(&deleted)?;
            }
        }
        match failed {
            None => Ok(Exit::Ok),
            Some(error) if context.dry_run => Err(error),
            Some(error) => Err(error.after(actions)),
        }
    }
}

fn delete(name: &AnyName, dry_run: bool) -> Result<(Deleted, Action)> {
    let (link, info, _) = find(name)?;
    let action = Action::DeleteDevice(info.name);
    if !dry_run && let Err(error) = HostExecutor::on(link).perform(&action) {
        // The owner of a device may not delete it, but may clear its persist flag: it disappears if no
        // program holds it.
        let let_go = || HostExecutor::on(find(name)?.0).perform(&Action::SetPersistent(false));
        if error.kind != Kind::Permission || let_go().is_err() {
            return Err(error);
        }
    }
    Ok((Deleted { ifindex: info.index.get(), ifname: info.name.to_string() }, action))
}
