//! The output of a program: the last of it, in memory.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;

/// How much is kept of each program.
const KEPT_MAX: usize = 64 << 10;

/// How much is read at a time: other programs and packets have their turn then.
const READ_MAX: usize = 16 << 10;

/// The output of a program.
#[derive(Debug, Default)]
pub(super) struct Log {
    pipe: Option<File>,
    kept: VecDeque<u8>,
    /// How much was written in all.
    count: u64,
}

impl Log {
    /// Reads from this pipe from now on, which must not block.
    pub(super) fn attach(&mut self, pipe: OwnedFd) {
        self.pipe = Some(pipe.into());
    }

    /// The pipe that is read.
    pub(super) const fn pipe(&self) -> Option<&File> {
        self.pipe.as_ref()
    }

    /// Reads from no pipe any more.
    pub(super) fn detach(&mut self) {
        self.pipe = None;
    }

    /// Reads what is there; false: the pipe has ended.
    pub(super) fn read(&mut self) -> bool {
        let Some(pipe) = &mut self.pipe else { return false };
        let mut bytes = [0; READ_MAX];
        match pipe.read(&mut bytes) {
            Ok(len) if len > 0 => {
                self.kept.extend(bytes.iter().take(len));
                self.count += u64::try_from(len).unwrap_or(0);
                self.kept.drain(..self.kept.len().saturating_sub(KEPT_MAX));
                true
            }
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) =>
            {
                true
            }
            _ => false,
        }
    }

    /// What was written from there on, as far as it is kept: where it begins, and where it ends.
    pub(super) fn since(&self, from: u64) -> (String, u64, u64) {
        let begin = self.count - u64::try_from(self.kept.len()).unwrap_or(0);
        let from = from.clamp(begin, self.count);
        let skip = usize::try_from(from - begin).unwrap_or(0);
        let bytes: Vec<u8> = self.kept.iter().skip(skip).copied().collect();
        (String::from_utf8_lossy(&bytes).into_owned(), from, self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn the_end_of_an_output_is_kept() {
        let (ours, mut theirs) = io::pipe().unwrap();
        let mut log = Log::default();
        assert!(!log.read(), "there is no pipe");
        log.attach(ours.into());
        theirs.write_all(b"one\n").unwrap();
        assert!(log.read());
        assert_eq!(log.since(0), ("one\n".to_owned(), 0, 4));
        assert_eq!(log.since(4), (String::new(), 4, 4));
        for _ in 0..8 {
            theirs.write_all(&[b'x'; READ_MAX]).unwrap();
            assert!(log.read());
        }
        let (text, from, to) = log.since(0);
        assert_eq!((text.len(), to - from, to), (KEPT_MAX, 65_536, 4 + 8 * 16_384));
        drop(theirs);
        assert!(!log.read());
    }
}
