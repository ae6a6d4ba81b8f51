//! `stdio`: frames on standard input and output, each with its length before it.

use crate::error::{Error, Result};
use crate::port::byte_stream::ByteStream;
use crate::port::kind::{Kind, Opened, PortOptions};
use crate::port::stream::StreamPort;
use rustix::fs::FileType;
use std::io;

/// `stdio`: frames with a length before them on standard input and output.
pub static STDIO: Kind = Kind {
    prefix: "stdio",
    argument: "",
    help: "frames with a length before them, as for 'ssh HOST adit switch --port stdio ...'",
    keys: &[],
    parse: |_, _| Ok(Box::new(StdioSpec)),
};

/// What `stdio` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StdioSpec;

impl PortOptions for StdioSpec {
    fn open(&self) -> Result<Opened> {
        let failed = |error: io::Error| Error::io("use", "the standard streams", &error);
        let hint = "Put a program at the other end: ssh HOST adit switch --port stdio ...";
        for (stream, name) in [
            (rustix::stdio::stdin(), "standard input"),
            (rustix::stdio::stdout(), "standard output"),
        ] {
            if rustix::termios::isatty(stream) {
                return Err(Error::usage(format_args!("{name} is a terminal")).hint(hint));
            }
            let kind = adit_device::rights::stat_of(stream)
                .map(|stat| FileType::from_raw_mode(stat.stx_mode.into()));
            if !matches!(kind, Ok(FileType::Fifo | FileType::Socket)) {
                return Err(
                    Error::usage(format_args!("{name} is neither a pipe nor a socket")).hint(hint)
                );
            }
        }
        let reader = rustix::stdio::stdin().try_clone_to_owned().map_err(failed)?;
        let writer = rustix::stdio::stdout().try_clone_to_owned().map_err(failed)?;
        let stream = ByteStream::pair(reader, writer).map_err(failed)?;
        Ok(Opened::port(StreamPort::new("stdio", stream)))
    }

    fn needs_owner(&self) -> bool {
        true
    }
}
