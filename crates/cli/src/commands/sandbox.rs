//! The option of commands that run in a sandbox.

use adit_service::sandbox::Level;

/// The option of every command that keeps running.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub(crate) struct SandboxArgs {
    /// What adit does without once it runs: 'try' is all that this machine allows
    #[arg(long = "sandbox", value_name = "require|try|off", default_value = "try", hide_default_value = true)]
    pub(crate) level: Level,
}
