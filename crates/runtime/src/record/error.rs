//! Errors of recordings, and the program name in their headers.

use crate::error::{Error, Kind, RECORD};
use crate::format::pcapng;
use crate::record::recorder::RecordError;
use std::error::Error as _;
use std::io;
use std::sync::LazyLock;

/// Returns the writer of a recording for its header: this program on this machine. Its first call makes a system call
/// (`uname`).
pub fn writer() -> pcapng::Writer {
    static WRITER: LazyLock<pcapng::Writer> = LazyLock::new(|| {
        let system = rustix::system::uname();
        let text = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
        pcapng::Writer {
            hardware: text(system.machine()),
            os: format!("{} {}", text(system.sysname()), text(system.release())),
            application: concat!("adit ", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    });
    WRITER.clone()
}

/// Converts the error of a recording, with a hint.
pub fn record_error(error: &RecordError) -> Error {
    let message = with_source(error);
    let errno = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    let kind = match errno.map(io::Error::kind) {
        _ if error.is_reader_gone() => Kind::BrokenPipe,
        Some(io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Kind::NotFound,
        Some(io::ErrorKind::PermissionDenied) => Kind::Permission,
        _ => Kind::Refused,
    };
    let mut new = Error::new(kind, &RECORD, message);
    if let Some(number) = errno.and_then(io::Error::raw_os_error) {
        new = new.errno(number);
    }
    match kind {
        Kind::NotFound => new.hint("Create the directory first, or choose another one."),
        Kind::Permission => new.hint("Choose a directory that you may write to."),
        _ => new,
    }
}

fn with_source(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
