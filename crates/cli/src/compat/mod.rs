//! adit in place of other programs: called by their names, or as `adit compat NAME ARGS...`.
//!
//! Each has its own command line, messages and exit status, as the programs that start it expect them.

mod call;
mod getopt;
mod gvproxy;
mod passt;
mod ports;
mod slirp4netns;

use crate::color::Color;
use crate::output::{Output, clean};
use adit_service::error::Error;
use call::{Call, Fault};
use passt::Mode;
use std::ffi::OsString;
use std::path::Path;

/// A program in whose place adit runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tool {
    /// A network namespace's way out, as podman 4 and rootlesskit start it.
    Slirp4netns,
    /// The same with the host's addresses, as podman 5 and rootlesskit start it.
    Pasta,
    /// A virtual machine's way out, as libvirt and QEMU start it.
    Passt,
    /// The same with a network of its own, as podman machine starts it.
    Gvproxy,
}

impl Tool {
    const ALL: [Self; 4] = [Self::Slirp4netns, Self::Pasta, Self::Passt, Self::Gvproxy];

    /// The program whose name adit was called by.
    pub(crate) fn called_as(program: &OsString) -> Option<Self> {
        let name = Path::new(program).file_name()?;
        Self::ALL.into_iter().find(|tool| name == tool.name())
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Slirp4netns => "slirp4netns",
            Self::Pasta => "pasta",
            Self::Passt => "passt",
            Self::Gvproxy => "gvproxy",
        }
    }

    const fn help(self) -> &'static str {
        match self {
            Self::Slirp4netns => slirp4netns::HELP,
            Self::Pasta => Mode::Pasta.help(),
            Self::Passt => Mode::Passt.help(),
            Self::Gvproxy => gvproxy::HELP,
        }
    }

    fn read(self, words: &[String]) -> Result<Call, Fault> {
        match self {
            Self::Slirp4netns => slirp4netns::read(words),
            Self::Pasta => Mode::Pasta.read(words),
            Self::Passt => Mode::Passt.read(words),
            Self::Gvproxy => gvproxy::read(words),
        }
    }

    /// Runs in the place of that program; returns its exit status.
    pub(crate) fn run(self, args: impl IntoIterator<Item = OsString>) -> u8 {
        let words: Vec<String> =
            args.into_iter().map(|word| word.to_string_lossy().into_owned()).collect();
        let output = Output::new(false, false, Color::Never.streams(), false, 0);
        let name = self.name();
        let note = |note: &str| output.note(format_args!("{name}: {note}"));
        let failed = |error: Error| {
            let hint = error.report.hint.as_deref().unwrap_or_default();
            format!("{name}: {}\n{}", clean(&error.report.message), clean(hint))
        };
        let done = |()| 0;
        let done = match self.read(&words) {
            Ok(Call::Print(text)) => {
                output.bytes(text.as_bytes()).map(done).map_err(|_| String::new())
            }
            Ok(Call::Slirp4netns(wanted)) => wanted.run(note).map(done).map_err(failed),
            Ok(Call::Pasta(wanted)) => wanted.run().map_err(failed),
            Ok(Call::Passt(wanted)) => wanted.run().map(done).map_err(failed),
            Ok(Call::Gvproxy(wanted)) => wanted.run(note).map(done).map_err(failed),
            Err(Fault::Usage(message)) => Err(format!("{name}: {message}\n{}", self.help())),
            Err(Fault::Refused(message)) => Err(format!("{name}: {message}")),
        };
        match done {
            Ok(status) => status,
            Err(message) => {
                output.note(message.trim_end());
                1
            }
        }
    }
}
