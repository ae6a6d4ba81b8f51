//! What SIGHUP does to a service.

/// What a service does when its terminal is gone, or somebody sends SIGHUP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hangup {
    /// It reads its files again.
    #[default]
    Reload,
    /// It ends, as programs do: it has no file.
    Stop,
    /// It continues: it has no file, and was started by nohup(1) or the like.
    Ignore,
}

/// SIGHUP in the sets of /proc/self/status, whose lowest bit is signal 1.
const SIGHUP_BIT: u64 = 1;

impl Hangup {
    /// What a service with or without files does. Call it before SIGHUP is caught.
    #[must_use]
    pub fn new(has_files: bool) -> Self {
        match has_files {
            true => Self::Reload,
            false if is_ignored() => Self::Ignore,
            false => Self::Stop,
        }
    }
}

/// Whether the process that started us lets us ignore SIGHUP.
fn is_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let set = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let set = set.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
    set.is_some_and(|set| set & SIGHUP_BIT != 0)
}
