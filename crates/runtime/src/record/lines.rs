//! A file of lines, such as a log: it never blocks, and counts the lines that are lost.

use crate::record::now::Now;
use crate::record::sink::{Sink, WriteFailure, whole_lines};
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// A file of lines. After an error it takes no more lines: they are lost.
#[derive(Debug)]
pub struct LineFile {
    sink: Option<Sink>,
    lost: u64,
}

impl LineFile {
    /// Opens a file of mode 0600; lines go to its end.
    ///
    /// # Errors
    /// Those of open(2).
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
        Ok(Self { sink: Some(Sink::new(file, whole_lines)?), lost: 0 })
    }

    /// Appends a line, which ends with a newline.
    ///
    /// # Errors
    /// Those of write(2), once: the file ends.
    pub fn append(&mut self, line: &[u8]) -> io::Result<()> {
        let result = self.sink.as_mut().map(|sink| sink.append(line, Now::read().monotonic));
        match result {
            Some(Ok(true)) => Ok(()),
            Some(Ok(false)) | None => {
                self.lost += 1;
                Ok(())
            }
            Some(Err(failure)) => self.fail(failure),
        }
    }

    /// Writes what is buffered, as far as the reader of a pipe takes it.
    ///
    /// # Errors
    /// As [`Self::append`].
    pub fn flush(&mut self) -> io::Result<()> {
        self.sink.as_mut().map_or(Ok(()), Sink::flush).or_else(|failure| self.fail(failure))
    }

    /// Writes what is buffered, and closes the file; the reader of a pipe has two seconds.
    ///
    /// # Errors
    /// As [`Self::append`].
    pub fn close(&mut self) -> io::Result<()> {
        self.sink.take().map_or(Ok(()), Sink::close).or_else(|failure| self.fail(failure))
    }

    /// How many lines were lost.
    #[must_use]
    pub const fn lost(&self) -> u64 {
        self.lost
    }

    fn fail(&mut self, failure: WriteFailure) -> io::Result<()> {
        self.sink = None;
        self.lost += failure.lost;
        Err(failure.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_appended_and_an_error_ends_the_file() {
        let path = std::env::temp_dir().join(format!("adit-lines-{}", std::process::id()));
        for _ in 0..2 {
            let mut lines = LineFile::open(&path).unwrap();
            lines.append(b"one\n").unwrap();
            lines.close().unwrap();
            assert_eq!(lines.lost(), 0);
        }
        assert_eq!(std::fs::read(&path).unwrap(), b"one\none\n");
        std::fs::remove_file(path).unwrap();
        let mut full = LineFile::open(Path::new("/dev/full")).unwrap();
        full.append(b"one\n").unwrap();
        assert_eq!(full.flush().unwrap_err().kind(), io::ErrorKind::StorageFull);
        full.append(b"two\n").unwrap();
        full.flush().unwrap();
        assert_eq!(full.lost(), 2);
    }
}
