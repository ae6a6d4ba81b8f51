//! `adit check`.

use crate::context::Context;
use crate::exit::Exit;
use adit_service::config::problems::Problems;
use adit_service::config::read;
use adit_service::config::source::Source;
use adit_service::error::{Error, Result};
use adit_service::link;
use adit_service::link::wanted;
use adit_service::netem::keys::KEYS;
use adit_service::netem::profile;
use adit_service::netem::profile::Profiles;
use adit_service::switch::plan as switch_plan;
use adit_service::switch::wanted::WantedSwitch;
use adit_topology::file;
use adit_topology::plan::Plan;
use adit_vpn::file::conf::HookPolicy;
use adit_vpn::file::load::{Given, load_complete};
use adit_vpn::file::validate;
use schemars::JsonSchema;
use serde::Serialize;
use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Recognizes the kind of a file by its keys: [[port]] of a switch, 'ports' of a link, [interface] or the \
extension .conf of a tunnel, [host.NAME] or [[link]] of a lab, the keys of a link in a profile. Reports every error of every file with \
file, line, column and a suggestion. Changes nothing.

Example: adit check lab.toml lte.toml")]
pub(crate) struct Args {
    /// The files to check
    #[arg(required = true)]
    files: Vec<PathBuf>,
}

/// The result for a valid file.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(title = "adit check: an entry of the list")]
pub(crate) struct Checked {
    /// The file.
    file: String,
    /// Its kind.
    kind: Kind,
    /// The actions it would cause.
    actions: Vec<String>,
    /// Settings that are valid, but rarely meant.
    warnings: Vec<String>,
}

/// The kind of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Kind {
    /// `adit switch --config`.
    Switch,
    /// `adit netem --config`.
    Netem,
    /// `adit netem --profile`, `netem=` of a port.
    Profile,
    /// `adit tunnel`.
    Tunnel,
    /// `adit lab`.
    Lab,
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Switch => "a switch",
            Self::Netem => "a link",
            Self::Profile => "a link profile",
            Self::Tunnel => "a tunnel",
            Self::Lab => "a lab",
        }
    }

    /// Its top-level keys.
    fn keys(self) -> Vec<&'static str> {
        match self {
            Self::Switch => vec!["switch", "port", "static", "mirror"],
            Self::Netem => vec!["ports", "profile"],
            Self::Profile => KEYS.iter().map(|key| key.name).collect(),
            Self::Tunnel => vec!["interface", "peer", "hooks"],
            Self::Lab => file::KEYS.to_vec(),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Args {
    pub(crate) fn run(self, context: &Context) -> Result<Exit> {
        let mut checked = Vec::new();
        let mut wrong: Option<Error> = None;
        for file in &self.files {
            match (check(file), &mut wrong) {
                (Ok(one), _) => checked.push(one),
                (Err(error), None) => wrong = Some(error),
                // Errors of all files are reported together.
                (Err(error), Some(first)) => {
                    first.report.message =
                        format!("{}; {}", first.report.message, error.report.message);
                    first.report.problems.extend(error.report.problems);
                }
            }
        }
        let output = &context.output;
        if let Some(error) = wrong {
            return Err(error);
        }
        if output.json {
            output.value(&checked)?;
            return Ok(Exit::Ok);
        }
        for one in checked {
            output.line(adit_service::text::clean(&format!(
                "{}: {}, no errors",
                one.file, one.kind
            )))?;
            for warning in &one.warnings {
                output
                    .note(adit_service::text::clean(&format!("warning: {}: {warning}", one.file)));
            }
            if output.verbose > 0 {
                for action in one.actions {
                    output.line(adit_service::text::clean(&format!("  {action}")))?;
                }
            }
        }
        Ok(Exit::Ok)
    }
}

fn check(path: &Path) -> Result<Checked> {
    let file = path.display().to_string();
    if path.extension() == Some(OsStr::new("conf")) {
        let (actions, warnings) = tunnel(path)?;
        return Ok(Checked { file, kind: Kind::Tunnel, actions, warnings });
    }
    let source = Source::read(path)?;
    let problems = Problems::default();
    let kind = kind_of(&source);
    let mut warnings = Vec::new();
    let actions = match kind {
        Kind::Switch => {
            let lab = WantedSwitch::of_source(&source, &problems);
            warnings = switch_plan::warnings(&lab);
            switch_plan::actions(&lab)
        }
        Kind::Netem => link::actions(&wanted::of_file(&source)?),
        Kind::Profile => {
            let mut table = read::toml(&source, &problems);
            let profiles = profile::of_table(&mut table, Profiles::default());
            table.finish();
            link::profile_actions(&profiles)
        }
        Kind::Tunnel => {
            let (actions, of_tunnel) = tunnel(path)?;
            warnings = of_tunnel;
            actions
        }
        Kind::Lab => {
            let plan = file::read(path, &[])?.plan;
            warnings = plan.warnings();
            lab_actions(&plan)
        }
    };
    problems.check(source.name())?;
    Ok(Checked { file, kind, actions, warnings })
}

fn lab_actions(plan: &Plan) -> Vec<String> {
    let lab = &plan.lab;
    let nodes =
        lab.nodes.iter().map(|node| format!("make the {} '{}'", node.kind.word(), node.name));
    let links = (0..lab.links.len()).map(|link| {
        let [a, b] = [0, 1].map(|end| plan.end_text(link, end));
        format!("link {a} and {b} as '{}'", lab.links[link].name)
    });
    nodes.chain(links).collect()
}

/// The actions and the warnings.
fn tunnel(path: &Path) -> Result<(Vec<String>, Vec<String>)> {
    let loaded = load_complete(&[path.to_owned()], HookPolicy::Run, Given::default())?;
    let action = format!("run tunnel '{}' with {} peers", loaded.name, loaded.config.peers.len());
    Ok((vec![action], validate::warnings(&loaded.config)))
}

/// The kind that shares the most keys with the file; misspelled keys count half.
fn kind_of(source: &Source) -> Kind {
    let problems = Problems::default();
    let keys = read::toml(source, &problems).keys();
    let points = |kind: Kind| -> usize {
        let known = kind.keys();
        let of_key = |key: &String| {
            if known.contains(&key.as_str()) {
                2
            } else {
                usize::from(
                    adit_service::config::suggest::nearest(key, known.iter().copied()).is_some(),
                )
            }
        };
        // These say nothing: several kinds have them.
        keys.iter().filter(|key| !["name", "seed"].contains(&key.as_str())).map(of_key).sum()
    };
    // The first of equally likely kinds wins.
    let mut best = (Kind::Switch, points(Kind::Switch));
    for kind in [Kind::Netem, Kind::Tunnel, Kind::Lab, Kind::Profile] {
        let points = points(kind);
        if points > best.1 {
            best = (kind, points);
        }
    }
    best.0
}
