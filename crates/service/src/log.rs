//! What is logged: levels by target, and the request that shows and changes them.
//!
//! Code logs by [`tracing`], and its module is its target; an [`Event`](crate::event::Event) belongs to the target
//! of its service. Who receives both is up to the program: this crate has no subscriber.

use crate::config::suggest::nearest;
use crate::error::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use tracing::Level;
use tracing::level_filters::LevelFilter;

/// A part of adit with a level of its own.
#[derive(Debug)]
pub struct Target {
    /// Its name in a filter.
    pub name: &'static str,
    /// What it logs.
    pub about: &'static str,
    /// The modules that belong to it, with all modules inside.
    modules: &'static [&'static str],
}

/// All targets.
pub const TARGETS: [Target; 8] = [
    Target { name: "switch", about: "switches", modules: &["adit_service::switch"] },
    Target {
        name: "netem",
        about: "emulated links",
        modules: &["adit_service::link", "adit_service::netem"],
    },
    Target {
        name: "nat",
        about: "NATs",
        modules: &["adit_service::nat", "adit_vpn::attach", "adit_vpn::serve"],
    },
    Target {
        name: "tunnel",
        about: "tunnels: handshakes, endpoints, names, hooks",
        modules: &["adit_vpn"],
    },
    Target { name: "lab", about: "labs", modules: &["adit_lab"] },
    Target { name: "capture", about: "captures", modules: &["adit_capture"] },
    Target {
        name: "control",
        about: "requests to the control socket, reloads",
        modules: &["adit_service::control", "adit_service::supervisor"],
    },
    Target { name: "host", about: "changes to the host", modules: &["adit_host"] },
];

/// All levels, from nothing to everything.
pub const LEVELS: [(&str, LevelFilter); 6] = [
    ("off", LevelFilter::OFF),
    ("error", LevelFilter::ERROR),
    ("warn", LevelFilter::WARN),
    ("info", LevelFilter::INFO),
    ("debug", LevelFilter::DEBUG),
    ("trace", LevelFilter::TRACE),
];

/// The word that undoes changes of a filter at run time.
const DEFAULT: &str = "default";

/// The place of a target in [`TARGETS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TargetId(usize);

impl TargetId {
    /// Switches.
    pub const SWITCH: Self = Self(0);
    /// Emulated links.
    pub const NETEM: Self = Self(1);
    /// NATs.
    pub const NAT: Self = Self(2);
    /// Tunnels.
    pub const TUNNEL: Self = Self(3);
    /// Labs.
    pub const LAB: Self = Self(4);
    /// Captures.
    pub const CAPTURE: Self = Self(5);

    /// The target of a name.
    fn named(name: &str) -> Option<Self> {
        TARGETS.iter().position(|target| target.name == name).map(Self)
    }

    /// The target of a module, as `adit_vpn::daemon`; `None` if the module is not of adit.
    #[must_use]
    pub fn of_module(path: &str) -> Option<Self> {
        let is_in = |module: &str| {
            path.strip_prefix(module).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
        };
        let longest = |target: &Target| {
            target.modules.iter().filter(|module| is_in(module)).map(|module| module.len()).max()
        };
        let found =
            TARGETS.iter().enumerate().filter_map(|(id, target)| Some((longest(target)?, id)));
        found.max().map(|(_, id)| Self(id))
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        TARGETS.get(self.0).map_or("", |target| target.name)
    }
}

/// The level of each target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Levels([LevelFilter; TARGETS.len()]);

impl Levels {
    /// The same level for all targets.
    #[must_use]
    pub const fn all(level: LevelFilter) -> Self {
        Self([level; TARGETS.len()])
    }

    /// These levels, with one target at another level.
    #[must_use]
    pub fn with(mut self, target: TargetId, level: LevelFilter) -> Self {
        if let Some(known) = self.0.get_mut(target.0) {
            *known = level;
        }
        self
    }

    /// These levels, changed by a filter.
    #[must_use]
    pub fn changed_by(self, filter: &Filter) -> Self {
        filter.0.iter().fold(self, |levels, (target, level)| match target {
            Some(target) => levels.with(*target, *level),
            None => Self::all(*level),
        })
    }

    /// Whether a message of `level` is logged for a target.
    #[must_use]
    pub fn has(&self, target: TargetId, level: Level) -> bool {
        self.0.get(target.0).is_some_and(|most| level <= *most)
    }

    /// The most detailed of all levels.
    #[must_use]
    pub fn most(&self) -> LevelFilter {
        self.0.iter().copied().max().unwrap_or(LevelFilter::OFF)
    }

    /// Each target with its level.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        TARGETS.iter().zip(self.0).map(|(target, level)| (target.name, word(level)))
    }
}

/// The word of a level.
fn word(level: LevelFilter) -> &'static str {
    LEVELS.iter().find(|(_, known)| *known == level).map_or("", |(word, _)| word)
}

/// As a filter that sets the same levels: `info,tunnel=debug`.
impl fmt::Display for Levels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |level: LevelFilter| self.0.iter().filter(|known| **known == level).count();
        let most = self.0.iter().copied().max_by_key(|level| count(*level));
        let most = most.unwrap_or(LevelFilter::OFF);
        f.write_str(word(most))?;
        let others = self.iter().filter(|(_, level)| *level != word(most));
        others.into_iter().try_for_each(|(target, level)| write!(f, ",{target}={level}"))
    }
}

/// A change of levels, as people write it: `debug`, or `tunnel=debug,switch=warn`. Later parts win.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter(Vec<(Option<TargetId>, LevelFilter)>);

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (target, level)) in self.0.iter().enumerate() {
            f.write_str(if at == 0 { "" } else { "," })?;
            target.map_or(Ok(()), |target| write!(f, "{}=", target.name()))?;
            f.write_str(word(*level))?;
        }
        Ok(())
    }
}

impl FromStr for Filter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let part = |part: &str| {
            let (target, level) = match part.trim().split_once('=') {
                Some((target, level)) => (Some(target.trim()), level.trim()),
                None => (None, part.trim()),
            };
            let target = target.map(|name| {
                let names = TARGETS.iter().map(|target| target.name);
                TargetId::named(name).ok_or_else(|| unknown("target", name, names))
            });
            let known = LEVELS.iter().find(|(word, _)| *word == level).map(|(_, level)| *level);
            let words = LEVELS.iter().map(|(word, _)| *word);
            Ok((target.transpose()?, known.ok_or_else(|| unknown("level", level, words))?))
        };
        text.split(',').map(part).collect::<Result<_, String>>().map(Self)
    }
}

/// What is wrong with a word, and what it can be.
fn unknown<'a>(what: &str, word: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    match nearest(word, known.clone()) {
        Some(near) => format!("unknown {what} '{word}'; did you mean '{near}'?"),
        None => {
            let known: Vec<&str> = known.collect();
            format!("unknown {what} '{word}'; the {what}s are {}", known.join(", "))
        }
    }
}

/// What may follow in a filter of a log: a target, a level for all, or the level of a target.
#[must_use]
pub fn completions(word: &str) -> Vec<String> {
    let levels = || LEVELS.iter().map(|(level, _)| *level);
    let end = word.rfind(['=', ',']).map_or(0, |at| at + 1);
    let (before, _) = word.split_at(end);
    let with = |rest: &str| format!("{before}{rest}");
    if before.ends_with('=') {
        return levels().map(with).collect();
    }
    TARGETS
        .iter()
        .map(|target| with(&format!("{}=", target.name)))
        .chain(levels().map(with))
        .collect()
}

/// A request to the log of a running program.
#[derive(Clone, Debug)]
pub enum LogRequest {
    /// Only report.
    Show,
    /// Change levels until the program ends, or until the next change.
    Change(Filter),
    /// Restore the levels of the start.
    Restore,
    /// The filter of a configuration file: it counts unless the command line or the environment has one.
    Configure(Option<Filter>),
}

impl LogRequest {
    /// The request of a text: a filter, or `default`.
    ///
    /// # Errors
    /// It is no filter.
    pub fn parse(text: &str) -> Result<Self> {
        match text {
            DEFAULT => Ok(Self::Restore),
            text => text.parse().map(Self::Change).map_err(Error::usage),
        }
    }
}

/// The body of a request that changes levels.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct LogChange {
    /// A filter, as `tunnel=debug`, or `default`.
    pub filter: String,
}

/// The log of a running program.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "adit log")]
pub struct LogStatus {
    /// The filter in force, as one text.
    pub filter: String,
    /// The level of each target.
    pub levels: BTreeMap<String, String>,
    /// How lines are written: `text`, `json` or `journal`.
    pub format: String,
    /// How many messages were written.
    pub written: u64,
    /// How many were left out because the same message had just been written.
    pub left_out: u64,
    /// How many were lost because their reader was too slow, or could not be reached.
    pub lost: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn levels(text: &str) -> Result<String, String> {
        Ok(Levels::all(LevelFilter::INFO).changed_by(&text.parse()?).to_string())
    }

    #[test]
    fn a_filter_sets_targets_and_all() {
        assert_eq!(levels("debug").unwrap(), "debug");
        assert_eq!(levels("tunnel=debug, switch=off").unwrap(), "info,switch=off,tunnel=debug");
        assert_eq!(levels("tunnel=debug,warn").unwrap(), "warn", "later parts win");
        let round = levels("error,host=trace").unwrap();
        assert_eq!(levels(&round).unwrap(), round);
    }

    #[test]
    fn wrong_words_are_reported_with_what_was_meant() {
        for (text, why) in [
            ("tunel=debug", "unknown target 'tunel'; did you mean 'tunnel'?"),
            ("tunnel=debgu", "unknown level 'debgu'; did you mean 'debug'?"),
            ("", "unknown level ''; the levels are off, error, warn, info, debug, trace"),
            (
                "tunnel=debug,",
                "unknown level ''; the levels are off, error, warn, info, debug, trace",
            ),
        ] {
            assert_eq!(levels(text).unwrap_err(), why);
        }
    }

    #[test]
    fn constants_are_the_targets_of_their_names() {
        use TargetId as Id;
        let constants = [Id::SWITCH, Id::NETEM, Id::NAT, Id::TUNNEL, Id::LAB, Id::CAPTURE];
        let names = ["switch", "netem", "nat", "tunnel", "lab", "capture"];
        assert_eq!(constants.map(Id::name), names);
    }

    #[test]
    fn modules_belong_to_the_target_of_the_longest_path() {
        let of = |path| TargetId::of_module(path).map(TargetId::name);
        assert_eq!(of("adit_vpn::daemon::host"), Some("tunnel"));
        assert_eq!(of("adit_vpn::serve"), Some("nat"));
        assert_eq!(of("adit_vpn::served"), Some("tunnel"));
        assert_eq!(of("adit_service::supervisor"), Some("control"));
        assert_eq!(of("smoltcp::iface"), None);
    }

    #[test]
    fn levels_decide_by_target() {
        let tunnel = TargetId::TUNNEL;
        let levels = Levels::all(LevelFilter::WARN).with(tunnel, LevelFilter::DEBUG);
        assert!(levels.has(tunnel, Level::DEBUG) && !levels.has(tunnel, Level::TRACE));
        assert!(!levels.has(TargetId::named("host").unwrap(), Level::INFO));
        assert_eq!(levels.most(), LevelFilter::DEBUG);
    }
}
