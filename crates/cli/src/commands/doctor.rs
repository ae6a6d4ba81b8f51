//! `adit doctor`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}
impl Args {
    pub(crate) fn run(self, _c: &super::Context) -> crate::error::Result<crate::error::Exit> {
        Ok(crate::error::Exit::NotSo)
    }
}
#[derive(serde::Serialize, schemars::JsonSchema)]
pub(crate) struct Findings {}
