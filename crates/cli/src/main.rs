//! The program `adit`.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(adit_cli::run())
}
