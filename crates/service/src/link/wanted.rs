//! A link between two ports as it is wanted.

use crate::config::problems::Problems;
use crate::config::read;
use crate::config::source::Source;
use crate::config::value::Wrong;
use crate::config::value::{integer, parsed, text};
use crate::control::name::Name;
use crate::error::Error;
use crate::kinds;
use crate::log::Filter;
use crate::metrics::{ListenAddress, of_table};
use crate::netem::keys::KEYS;
use crate::netem::profile;
use crate::netem::profile::Profiles;
use adit_packet::Layer;
use adit_runtime::PortSpec;
use std::path::PathBuf;

/// A link between two ports as it is wanted.
#[derive(Clone, Debug, PartialEq)]
pub struct WantedLink {
    /// How it is called.
    pub name: Option<Name>,
    /// Its two ends, `a` and `b`.
    pub ports: [End; 2],
    /// The wanted profiles.
    pub profiles: Profiles,
    /// What random decisions are drawn from; `None`: any.
    pub seed: Option<u64>,
    /// Where metrics are read by TCP, from the start on.
    pub metrics: Option<ListenAddress>,
    /// What it logs.
    pub log: Option<Filter>,
    /// Whether its ends carry frames or packets.
    pub layer: Layer,
}

/// One end of a link.
#[derive(Clone, Debug, PartialEq)]
pub struct End {
    /// How it is called, as `tap:a`.
    pub name: String,
    /// The same, parsed.
    pub spec: PortSpec,
}

/// The command line; it is read again, with the files, at each reload.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// The file.
    pub config: Option<PathBuf>,
    /// The name, in place of the file's.
    pub name: Option<Name>,
    /// The ports, in place of the file's.
    pub ports: Vec<String>,
    /// The seed, in place of the file's.
    pub seed: Option<u64>,
    /// Where metrics are read by TCP, in place of the file's.
    pub metrics: Option<ListenAddress>,
    /// A file with a profile, in place of that of the file.
    pub profile: Option<PathBuf>,
    /// Keys of the profile, on top of that.
    pub keys: Keys,
}

/// Keys of a profile from the command line.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    /// Each with its text, as `("delay", "20ms")`; also `preset`, `a-to-b` and `b-to-a`.
    pub list: Vec<(&'static str, String)>,
}

impl Keys {
    /// Puts them on top of a profile; what is wrong goes to `problems`.
    pub fn on_top_of(&self, base: Profiles, problems: &Problems) -> Profiles {
        let sources: Vec<(&'static str, Source)> = (self.list.iter())
            .map(|(key, text)| (*key, Source::new(format!("--{key}"), text)))
            .collect();
        let all = Source::new("the command line", "");
        let options = sources.iter().map(|(key, source)| (*key, source));
        let mut table = read::options(&all, options, problems);
        let profiles = profile::of_table(&mut table, base);
        table.finish();
        profiles
    }
}

/// What a file says of a link; ports are its texts.
#[derive(Debug, Default)]
struct FromFile {
    name: Option<Name>,
    ports: Vec<End>,
    profiles: Profiles,
    seed: Option<u64>,
    metrics: Option<ListenAddress>,
    log: Option<Filter>,
}

impl Plan {
    /// What is wanted.
    ///
    /// # Errors
    /// All mistakes, of the files and of the options.
    pub fn link(&self) -> Result<WantedLink, Error> {
        let problems = Problems::default();
        let file = match &self.config {
            Some(path) => of_source(&Source::read(path)?, &problems),
            None => FromFile::default(),
        };
        self.on_top_of(file, problems)
    }

    /// Whether a reload has something to read.
    #[must_use]
    pub fn has_files(&self) -> bool {
        let is_file =
            |key: &str| KEYS.iter().any(|known| known.name == key && known.value == "FILE");
        self.config.is_some()
            || self.profile.is_some()
            || self.keys.list.iter().any(|(key, _)| is_file(key))
    }

    fn on_top_of(&self, file: FromFile, problems: Problems) -> Result<WantedLink, Error> {
        let mut profiles = file.profiles;
        if let Some(path) = &self.profile {
            profiles = profile::of_file(path, &problems)?;
        }
        let profiles = self.keys.on_top_of(profiles, &problems);
        let mut ports = file.ports;
        if !self.ports.is_empty() {
            let sources: Vec<Source> =
                self.ports.iter().map(|text| Source::new("--port", text)).collect();
            ports = sources.iter().filter_map(|source| end_of_source(source, &problems)).collect();
        }
        let what = self.config.as_ref().or(self.profile.as_ref());
        let what = what.map_or("the command line".to_owned(), |path| path.display().to_string());
        problems.check(what)?;
        let count = ports.len();
        let Ok(ports) = <[End; 2]>::try_from(ports) else {
            return Err(Error::usage(format!("a link has two ports, not {count}"))
                .hint("Write '--port tap:a --port tap:b', or 'ports = [\"tap:a\", \"tap:b\"]'."));
        };
        let place = |end: &End| (end.name.clone(), end.spec.netns().map(str::to_owned));
        if place(&ports[0]) == place(&ports[1]) {
            return Err(Error::usage(format!("both ports are '{}'", ports[0].name))
                .hint("A link joins two different ports, such as tap:a and tap:b."));
        }
        let layers = ports.each_ref().map(|end| layer(&end.spec));
        if layers[0] != layers[1] {
            return Err(Error::usage("one port carries packets (tun), the other frames")
                .hint("Both ports of a link must carry packets, or both frames."));
        }
        Ok(WantedLink {
            name: self.name.clone().or(file.name),
            ports,
            profiles,
            seed: self.seed.or(file.seed),
            metrics: self.metrics.or(file.metrics),
            log: file.log,
            layer: layers[0],
        })
    }
}

/// What a file alone asks for.
///
/// # Errors
/// All its mistakes.
pub fn of_file(source: &Source) -> Result<WantedLink, Error> {
    let problems = Problems::default();
    let file = of_source(source, &problems);
    Plan { config: Some(source.name().into()), ..Plan::default() }.on_top_of(file, problems)
}

fn of_source(source: &Source, problems: &Problems) -> FromFile {
    let mut table = read::toml(source, problems);
    let name = table.get("name", parsed("a name"));
    let seed = table.get("seed", integer(0..=u64::MAX));
    let metrics = of_table(&mut table);
    let log = table.get("log", parsed("a filter such as \"netem=debug\""));
    let has_ports = table.has("ports");
    let ports = table.list("ports", |value| {
        let text = text(value)?;
        end(&text).map_err(|(at, wrong)| Wrong { part: Some(at..text.len()), ..wrong })
    });
    if has_ports && ports.len() != 2 {
        let help = "for example `ports = [\"tap:a\", \"tap:b\"]`".to_owned();
        table.wrong("ports", "a link has two ports", Some(help));
    }
    let profiles = match table.value("profile").cloned() {
        Some(value) => profile::of_value("profile", &value, problems),
        None => None,
    };
    for key in KEYS.iter().map(|key| key.name) {
        if table.has(key) {
            let help = "move it below a line `[profile]`".to_owned();
            table.wrong(key, format_args!("`{key}` is a key of the profile"), Some(help));
        }
    }
    table.finish();
    FromFile { name, ports, profiles: profiles.unwrap_or_default(), seed, metrics, log }
}

fn end_of_source(source: &Source, problems: &Problems) -> Option<End> {
    end(source.text())
        .map_err(|(at, wrong)| {
            problems.push(source, at..source.text().len(), wrong.message, wrong.help);
        })
        .ok()
}

/// An end of a link by its text; the place of the mistake if there is one.
fn end(text: &str) -> Result<End, (usize, Wrong)> {
    let spec = kinds::parse(text).map_err(|error| {
        (error.at, Wrong { message: error.message, help: error.hint, part: None })
    })?;
    if let Some((key, _)) = spec.rest.first() {
        let at = text.find(&format!(",{key}")).map_or(0, |at| at + 1);
        let own = kinds::keys_of(text.split(':').next().unwrap_or_default());
        if crate::switch::keys::is_of_a_switch(key) {
            let wrong = Wrong::new(format_args!("`{key}` is for a port of a switch"));
            return Err((
                at,
                match key.as_str() {
                    "netem" => wrong
                        .help("this link is emulated itself: use --preset, --delay, --a-to-b ..."),
                    _ => wrong.help("see 'adit switch --help'"),
                },
            ));
        }
        let help = match crate::config::suggest::nearest(key, own.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("the keys are {}", own.join(", ")),
        };
        return Err((at, Wrong::new(format_args!("unknown key `{key}`")).help(help)));
    }
    let name = text.split(',').next().unwrap_or(text).to_owned();
    Ok(End { name, spec })
}

fn layer(spec: &PortSpec) -> Layer {
    if spec.is_layer3() { Layer::Packet } else { Layer::Frame }
}
