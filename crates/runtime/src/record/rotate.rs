//! The files of a recording: their names, when the next one begins, and which old one is removed.
//!
//! Without rotation: the given file. With rotation: names as those of dumpcap, which sort by time:
//! `-w day.pcapng` gives `day_00001_20261121053000.pcapng`, `day_00002_...`; times are UTC.

use crate::record::now::Now;
use crate::record::text::printable;
use adit_device::rights::create_recording;
use rustix::fs::OFlags;
use std::collections::VecDeque;
use std::ffi::OsString;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::num::NonZeroU32;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The system calls of a rotation: its next file, and the removal of its oldest.
pub(crate) const SYSCALLS: &[&str] = &["openat", "unlink"];

/// When to start another file, and how many to keep.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rotation {
    /// The maximum size of a file in bytes, without the statistics at its end.
    pub size: Option<u64>,
    /// How long a file is written to; the first packet after that begins the next file.
    pub time: Option<Duration>,
    /// How many files are kept, the newest ones; `None` keeps all.
    pub files: Option<NonZeroU32>,
}

impl Rotation {
    /// Returns whether there will be more than one file.
    pub const fn is_on(&self) -> bool {
        self.size.is_some() || self.time.is_some()
    }
}

/// The files of one recording.
#[derive(Debug)]
pub struct Files {
    path: PathBuf,
    rotation: Rotation,
    /// Whether opening a file must not wait, as it does for the reader of a FIFO.
    is_nonblocking: bool,
    number: u32,
    opened: Option<Instant>,
    kept: VecDeque<PathBuf>,
}

impl Files {
    /// Creates the list without opening a file.
    pub fn new(path: PathBuf, rotation: Rotation, is_nonblocking: bool) -> Self {
        Self { path, rotation, is_nonblocking, number: 0, opened: None, kept: VecDeque::new() }
    }

    /// Returns the file that was opened last.
    pub fn current(&self) -> &Path {
        self.kept.back().unwrap_or(&self.path)
    }

    /// Returns whether a file of `len` bytes must end before a record of `record_len` bytes.
    pub fn is_due(&self, len: u64, record_len: usize, now: Now) -> bool {
        let record_len = u64::try_from(record_len).unwrap_or(u64::MAX);
        let too_long = self.rotation.size.is_some_and(|max| len.saturating_add(record_len) > max);
        let too_old =
            self.rotation.time.zip(self.opened).is_some_and(|(max, opened)| {
                now.monotonic.saturating_duration_since(opened) >= max
            });
        too_long || too_old
    }

    /// Removes the oldest file if there are too many, and opens the next one with mode 0600: it contains
    /// other people's traffic.
    ///
    /// Without rotation the file may exist, and may be a link or a pipe, as with `-o FILE` of any program.
    /// A rotated file must be new (O_EXCL): its name can be guessed, and a link put in its place.
    ///
    /// # Errors
    /// Those of open(2) and of unlink(2), with the path.
    pub fn open_next(&mut self, now: Now) -> Result<File, FileError> {
        if let Some(files) = self.rotation.files {
            let files = usize::try_from(files.get()).unwrap_or(usize::MAX);
            while self.kept.len() >= files {
                let Some(oldest) = self.kept.pop_front() else { break };
                match std::fs::remove_file(&oldest) {
                    Err(source) if source.kind() != io::ErrorKind::NotFound => {
                        return Err(FileError { op: "remove the old file", path: oldest, source });
                    }
                    _ => {}
                }
            }
        }
        let mut options = OpenOptions::new();
        options.write(true).mode(0o600);
        if self.is_nonblocking {
            options.custom_flags((OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed());
        }
        let path = if self.rotation.is_on() {
            self.number = self.number.saturating_add(1);
            options.create_new(true);
            numbered(&self.path, self.number, now.wall)
        } else {
            options.create(true).truncate(true);
            self.path.clone()
        };
        let opened = options.open(&path).or_else(|error| {
            if self.rotation.is_on() {
                return Err(error);
            }
            create_recording(error, &path, self.is_nonblocking).map(File::from)
        });
        match opened {
            Ok(file) => {
                self.opened = Some(now.monotonic);
                if self.rotation.is_on() {
                    self.kept.push_back(path);
                }
                Ok(file)
            }
            Err(source) => Err(FileError { op: "open", path, source }),
        }
    }
}

/// A file of the recording that could not be opened or removed.
#[derive(Debug)]
pub struct FileError {
    op: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {} '{}'", self.op, printable(&self.path.display().to_string()))
    }
}

impl std::error::Error for FileError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// `base.ext` as `base_NNNNN_YYYYmmddHHMMSS.ext`.
fn numbered(path: &Path, number: u32, wall: Duration) -> PathBuf {
    let mut name = OsString::from(path.file_stem().unwrap_or_default());
    let [year, month, day, hour, minute, second] = calendar(wall);
    name.push(format!("_{number:05}_{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}"));
    if let Some(extension) = path.extension() {
        name.push(".");
        name.push(extension);
    }
    path.with_file_name(name)
}

/// Year, month, day, hour, minute and second of a time since 1970, in UTC.
fn calendar(since_1970: Duration) -> [u64; 6] {
    let seconds = since_1970.as_secs();
    let (days, second_of_day) = (seconds / 86_400, seconds % 86_400);
    // Days are counted from 1 March of the year 0, so that a leap day ends its year; 400 years
    // have 146,097 days. 1970-01-01 is day 719,468.
    let day = days + 719_468;
    let (era, day) = (day / 146_097, day % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day_of_month = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year + u64::from(month <= 2);
    let (hour, minute) = (second_of_day / 3600, second_of_day / 60 % 60);
    [year, month, day_of_month, hour, minute, second_of_day % 60]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_calendar_agrees_with_date() {
        let cases = [
            (0, [1970, 1, 1, 0, 0, 0]),
            (951_782_399, [2000, 2, 28, 23, 59, 59]),
            (951_782_400, [2000, 2, 29, 0, 0, 0]),
            (1_709_251_199, [2024, 2, 29, 23, 59, 59]),
            (1_795_238_000, [2026, 11, 21, 5, 13, 20]),
            (4_107_542_400, [2100, 3, 1, 0, 0, 0]),
        ];
        for (seconds, expected) in cases {
            assert_eq!(calendar(Duration::from_secs(seconds)), expected);
        }
        for days in (0..60_000_u64).step_by(997) {
            let output = std::process::Command::new("date")
                .args(["-u", "+%Y %-m %-d", "-d", &format!("@{}", days * 86_400)])
                .output()
                .unwrap();
            let [year, month, day, ..] = calendar(Duration::from_secs(days * 86_400));
            let expected = String::from_utf8(output.stdout).unwrap();
            assert_eq!(format!("{year} {month} {day}\n"), expected);
        }
    }

    #[test]
    fn names_are_dumpcaps() {
        let wall = Duration::from_secs(1_795_238_000);
        let cases = [
            ("/tmp/day.pcapng", "/tmp/day_00007_20261121051320.pcapng"),
            ("day", "day_00007_20261121051320"),
            ("a.b.pcapng", "a.b_00007_20261121051320.pcapng"),
        ];
        for (path, expected) in cases {
            assert_eq!(numbered(Path::new(path), 7, wall), Path::new(expected));
        }
    }

    #[test]
    fn a_ring_keeps_the_newest_files() {
        let dir = std::env::temp_dir().join(format!("adit-ring-{}", std::process::id()));
        std::fs::create_dir(&dir).unwrap();
        let rotation = Rotation {
            size: Some(100),
            time: Some(Duration::from_secs(60)),
            files: NonZeroU32::new(2),
        };
        let mut files = Files::new(dir.join("x.pcapng"), rotation, false);
        let mut now = Now::read();
        for _ in 0..5 {
            files.open_next(now).unwrap();
        }
        let mut names: Vec<_> =
            std::fs::read_dir(&dir).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names.len(), 2);
        assert!(names[0].to_str().unwrap().starts_with("x_00004_"));
        assert!(names[1].to_str().unwrap().starts_with("x_00005_"));
        assert!(!files.is_due(60, 40, now));
        assert!(files.is_due(60, 41, now));
        now.monotonic += Duration::from_secs(60);
        assert!(files.is_due(0, 0, now));
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn an_error_names_the_path() {
        let mut files = Files::new("/nowhere/x\u{1b}".into(), Rotation::default(), false);
        let error = files.open_next(Now::read()).unwrap_err();
        assert_eq!(error.to_string(), r"cannot open '/nowhere/x\u{1b}'");
        assert!(std::error::Error::source(&error).is_some());
    }
}
