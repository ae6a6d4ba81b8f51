//! The wanted link: profiles for both directions, from a file, an object or options.
//!
//! The keys are the same everywhere: `delay = "20ms"` in a file, `--delay 20ms` on the command line,
//! `"delay": "20ms"` at the control socket. They are for both directions; those in `a-to-b` and
//! `b-to-a` are for one. At a port of a switch, `a` is what the port is connected to.

use crate::config::problems::Problems;
use crate::config::read;
use crate::config::source::Source;
use crate::config::table::Table;
use crate::config::value::{Value, Wrong, duration, integer, number, one_of, rate, share, text};
use crate::error::Error;
use crate::netem::keys::KEYS;
use adit_engine::netem::{
    CoDel, Corrupt, Delay, DelayTable, Discipline, FILE_LEN_MAX, FqCoDel, GilbertElliott, Jitter,
    Link, Loss, LossPattern, Opportunities, Outage, Overhead, ParseError, Preset, Profile, Queue,
    Rate, Reorder, Seed, Steps,
};
use adit_packet::{Layer, units};
use adit_runtime::PortNetem;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// A link: one profile for each direction.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Profiles {
    /// From the first port to the second; at a port of a switch, into the switch.
    pub a_to_b: Profile,
    /// From the second port to the first; at a port of a switch, out of the switch.
    pub b_to_a: Profile,
}

impl Profiles {
    /// The links of a port that carries packets or frames.
    ///
    /// # Errors
    /// Settings that exclude each other.
    pub fn links(&self, layer: Layer, seed: u64) -> Result<PortNetem, Error> {
        let seed = Seed::new(seed);
        let link = |profile, number| {
            let link = Link::new(profile, seed.direction(number)).map_err(Error::usage)?;
            Ok::<_, Error>(Some(Box::new(link.with_layer(layer))))
        };
        Ok(PortNetem { ingress: link(&self.a_to_b, 0)?, egress: link(&self.b_to_a, 1)? })
    }
}

/// Reads a whole profile file.
///
/// `None` if it cannot be used; why is among the problems.
pub fn of_file(path: &Path, problems: &Problems) -> Result<Profiles, Error> {
    let source = Source::read_named(path)?;
    let mut table = read::toml(&source, problems);
    let profiles = of_table(&mut table, Profiles::default());
    for key in ["ports", "profile"] {
        if table.contains(key) && table.has(key) {
            let help = "give the file of a link by --config".to_owned();
            let message = format!("`{key}` is a key of a link, not of a profile");
            table.wrong(key, message, Some(help));
        }
    }
    table.finish();
    Ok(profiles)
}

/// Reads a profile that is a table, the name of a preset or that of a file; `None` if it is wrong.
pub fn of_value<'a>(key: &str, value: &Value<'a>, problems: &'a Problems) -> Option<Profiles> {
    if let Some(mut table) = Table::of_value(key, value, problems) {
        let profiles = of_table(&mut table, Profiles::default());
        table.finish();
        return Some(profiles);
    }
    let wrong = |wrong| value.wrong(key, wrong, problems);
    let Some(name) = value.as_text() else {
        wrong(Wrong::expected("a profile: a preset, a file, or a table", value));
        return None;
    };
    if !name.contains(['.', '/']) {
        let or = " (or a file such as `./link.toml`, or keys such as `delay=20ms+loss=1%`)";
        let preset = preset(value)
            .map_err(|wrong| Wrong { help: wrong.help.map(|help| format!("{help}{or}")), ..wrong });
        return preset.map_err(wrong).ok();
    }
    let path = match value.source().beside(name) {
        Ok(path) => path,
        Err(refused) => {
            wrong(refused.into());
            return None;
        }
    };
    match of_file(&path, problems) {
        Ok(profiles) => Some(profiles),
        Err(error) if error.report.problems.is_empty() => {
            wrong(Wrong::new(format_args!("the file does not exist: {}", error.report.message)));
            None
        }
        Err(error) => {
            error.report.problems.into_iter().for_each(|problem| problems.add(problem));
            None
        }
    }
}

/// Reads the keys of a profile on top of what is there already.
pub fn of_table(table: &mut Table<'_>, base: Profiles) -> Profiles {
    let mut profiles = table.get("preset", preset).unwrap_or(base);
    profiles.a_to_b = direction(table, profiles.a_to_b);
    profiles.b_to_a = direction(table, profiles.b_to_a);
    for (key, profile) in [("a-to-b", &mut profiles.a_to_b), ("b-to-a", &mut profiles.b_to_a)] {
        if let Some(mut table) = table.table(key) {
            *profile = direction(&mut table, std::mem::take(profile));
            without_rate(&mut table, profile.has_rate());
            table.finish();
        }
    }
    without_rate(table, profiles.a_to_b.has_rate() || profiles.b_to_a.has_rate());
    profiles
}

/// Reports keys about the line of a link that has none.
fn without_rate(table: &mut Table<'_>, has_rate: bool) {
    for key in ["queue", "queue-limit", "ecn", "overhead", "overhead-min", "atm"] {
        if !has_rate && table.has(key) {
            let help =
                "without a rate nothing queues: add `rate`, for example \"100mbit\"".to_owned();
            table.wrong(key, format_args!("`{key}` without `rate`"), Some(help));
        }
    }
}

/// Reports a key that has no meaning without another one.
fn without(table: &mut Table<'_>, key: &str, other: &str, example: &str) {
    let help = format!("add `{other}`, for example \"{example}\"");
    table.wrong(key, format_args!("`{key}` without `{other}`"), Some(help));
}

/// The subscriber is at the first port.
fn preset(value: &Value<'_>) -> Result<Profiles, Wrong> {
    let name = one_of(&Preset::NAMES.map(|name| (name, name)))(value)?;
    let preset = Preset::named(name).ok_or_else(|| Wrong::new("names no preset"))?;
    Ok(Profiles { a_to_b: preset.up, b_to_a: preset.down })
}

/// Reads the keys of one direction.
fn direction(table: &mut Table<'_>, base: Profile) -> Profile {
    let outages = if table.has("outage") { table.list("outage", outage) } else { base.outages };
    let mut profile = Profile {
        outages,
        corrupt: corrupt(table, base.corrupt),
        loss: loss(table, base.loss),
        rate: line(table, base.rate),
        steps: match table.get("steps", |value| file_or_none(value, Steps::parse)) {
            Some(steps) => steps,
            None => base.steps,
        },
        overhead: overhead(table, base.overhead),
        queue: queue(table, base.queue),
        delay: delay(table, base.delay),
        reorder: reorder(table, base.reorder),
        ..base
    };
    KEYS.iter().for_each(|key| (key.read)(table, &mut profile));
    if let Err(error) = profile.check() {
        // A wrong value is reported already and not in the profile: this is about a key's own value.
        let keys = || KEYS.iter().filter(|key| key.fields.contains(&error.field));
        let own = keys().find(|key| table.contains(key.name)).map_or("", |key| key.name);
        let shown = if own.is_empty() { keys().next().map_or("", |key| key.name) } else { own };
        table.wrong(own, format_args!("`{shown}`: {}", error.problem), None);
    }
    profile
}

/// `AT/LASTS`, `AT/LASTS/EVERY`: `10s/500ms/60s`.
fn outage(value: &Value<'_>) -> Result<Outage, Wrong> {
    const HELP: &str = "write BEGIN/LENGTH or BEGIN/LENGTH/PERIOD, for example \"10s/500ms/60s\"";
    let text = value.as_text().ok_or_else(|| Wrong::expected("a text", value).help(HELP))?;
    let times: Result<Vec<Duration>, _> = text.split('/').map(units::parse_duration).collect();
    let times = times.map_err(|error| {
        Wrong::new(format_args!("must be two or three durations: {}", error.message()))
            .help(error.help().unwrap_or(HELP))
    })?;
    match *times {
        [at, lasts] => Ok(Outage { at, lasts, every: None }),
        [at, lasts, every] => Ok(Outage { at, lasts, every: Some(every) }),
        _ => Err(Wrong::new(format_args!("cannot be `{text}`")).help(HELP)),
    }
}

fn corrupt(table: &mut Table<'_>, base: Corrupt) -> Corrupt {
    let packets = table.get("corrupt", share);
    let bits = table.get("bit-errors", number(0.0..=0.1));
    match (packets, bits) {
        (Some(_), Some(_)) => {
            let help = "`corrupt` is a share of packets, `bit-errors` one of bits".to_owned();
            table.wrong("bit-errors", "`corrupt` and `bit-errors` exclude each other", Some(help));
            base
        }
        (Some(share), None) if share > 0.0 => Corrupt::Packets { share },
        (None, Some(rate)) if rate > 0.0 => Corrupt::Bits { rate },
        (None, None) => base,
        _ => Corrupt::None,
    }
}

fn loss(table: &mut Table<'_>, base: Loss) -> Loss {
    let share_lost = table.get("loss", share);
    let length = table.get("loss-burst", number(1.0..=1e6));
    let pattern = table.get("loss-pattern", |value| file_or_none(value, LossPattern::parse));
    let ge = ["ge-p", "ge-r", "ge-loss-bad", "ge-loss-good"].map(|key| table.get(key, share));
    let has_ge = ge.iter().any(Option::is_some);
    if length.is_some() && !table.has("loss") {
        without(table, "loss-burst", "loss", "1%");
    }
    for (key, is) in [("loss-pattern", pattern.is_some()), ("ge-p", has_ge)] {
        if is && share_lost.is_some() {
            let help = Some(
                "losses are random, in bursts, from two states (ge-...), or from a pattern"
                    .to_owned(),
            );
            table.wrong(key, format_args!("`loss` and `{key}` exclude each other"), help);
            return base;
        }
    }
    let [to_bad, to_good, loss_bad, loss_good] = ge;
    match (share_lost, length, pattern) {
        (Some(share), Some(length), _) if share > 0.0 => Loss::Bursts { share, length },
        (Some(share), None, _) if share > 0.0 => Loss::Random { share },
        (Some(_), _, _) => Loss::None,
        (None, _, Some(pattern)) => pattern.map_or(Loss::None, Loss::Pattern),
        (None, _, None) if has_ge => {
            if to_bad.is_none() || to_good.is_none() {
                let help = "both are required: the probability to go bad, and the one to recover"
                    .to_owned();
                let key = if to_bad.is_none() { "ge-r" } else { "ge-p" };
                table.wrong(key, "`ge-p` or `ge-r` is missing", Some(help));
            }
            Loss::GilbertElliott(GilbertElliott {
                to_bad: to_bad.unwrap_or(0.0),
                to_good: to_good.unwrap_or(1.0),
                loss_bad: loss_bad.unwrap_or(1.0),
                loss_good: loss_good.unwrap_or(0.0),
            })
        }
        _ => base,
    }
}

fn line(table: &mut Table<'_>, base: Rate) -> Rate {
    let fixed = table.get("rate", |value| match value.as_text() {
        Some("unlimited") => Ok(Rate::Unlimited),
        _ => rate(value).map(Rate::Fixed),
    });
    let trace = table.get("trace", |value| file_or_none(value, Opportunities::parse));
    match (fixed, trace) {
        (Some(_), Some(Some(_))) => {
            let help = "a trace sets when a packet can be sent; a rate sets it for all times";
            table.wrong("trace", "`rate` and `trace` exclude each other", Some(help.to_owned()));
            base
        }
        (_, Some(Some(trace))) => Rate::Trace(trace),
        (Some(fixed), _) => fixed,
        (None, Some(None)) => Rate::Unlimited,
        (None, None) => base,
    }
}

fn overhead(table: &mut Table<'_>, base: Overhead) -> Overhead {
    const NAMED: [(&str, Overhead); 3] = [
        ("none", Overhead::NONE),
        ("ethernet", Overhead::ETHERNET),
        ("adsl", Overhead::ADSL_BRIDGED),
    ];
    let read = table.get("overhead", |value| {
        let is_number = value.as_text().is_none_or(|text| text.parse::<i64>().is_ok());
        if is_number {
            let bytes = integer(-1000..=1000i16)(value)?;
            Ok(Overhead { bytes, ..Overhead::NONE })
        } else {
            one_of(&NAMED)(value)
        }
    });
    read.unwrap_or(base)
}

fn queue(table: &mut Table<'_>, base: Queue) -> Queue {
    let (codel, flows) = match base.discipline {
        Discipline::DropTail => (CoDel::default(), FqCoDel::default()),
        Discipline::CoDel(codel) => (codel, FqCoDel::default()),
        Discipline::FqCoDel(flows) => (flows.codel, flows),
    };
    let codel = CoDel {
        target: table.get("codel-target", duration).unwrap_or(codel.target),
        interval: table.get("codel-interval", duration).unwrap_or(codel.interval),
    };
    let flows = FqCoDel {
        codel,
        flows: table.get("fq-flows", integer(1..=u32::MAX)).unwrap_or(flows.flows),
        quantum: table.get("fq-quantum", integer(1..=u32::MAX)).unwrap_or(flows.quantum),
    };
    let named = [
        ("drop-tail", Discipline::DropTail),
        ("codel", Discipline::CoDel(codel)),
        ("fq-codel", Discipline::FqCoDel(flows)),
    ];
    let asked = table.get("queue", one_of(&named));
    let discipline = asked.unwrap_or(match base.discipline {
        Discipline::DropTail => Discipline::DropTail,
        Discipline::CoDel(_) => Discipline::CoDel(codel),
        Discipline::FqCoDel(_) => Discipline::FqCoDel(flows),
    });
    let unused = match discipline {
        Discipline::DropTail => &["codel-target", "codel-interval", "fq-flows", "fq-quantum"][..],
        Discipline::CoDel(_) => &["fq-flows", "fq-quantum"],
        Discipline::FqCoDel(_) => &[],
    };
    for key in unused {
        if table.has(key) {
            let needed = if key.starts_with("fq") { "fq-codel" } else { "codel" };
            let help = Some(format!("add `queue = \"{needed}\"`"));
            table.wrong(key, format_args!("`{key}` is for {needed}"), help);
        }
    }
    Queue { discipline, ..base }
}

fn delay(table: &mut Table<'_>, base: Delay) -> Delay {
    let kind = table.get(
        "distribution",
        one_of(&[
            ("uniform", Shape::Uniform),
            ("normal", Shape::Normal),
            ("pareto", Shape::Pareto),
        ]),
    );
    let width = table.get("jitter", duration);
    let shape = table.get("pareto-shape", number(1.0..=100.0));
    let values = table.get("delay-table", |value| file_or_none(value, DelayTable::parse));
    if (kind.is_some() || shape.is_some())
        && width.is_none()
        && matches!(base.jitter, Jitter::None | Jitter::Table(_))
    {
        let key = if kind.is_some() { "distribution" } else { "pareto-shape" };
        if !table.has("jitter") {
            without(table, key, "jitter", "5ms");
        }
    }
    if values.as_ref().is_some_and(Option::is_some) && width.is_some() {
        let help = Some("the table contains the jitter".to_owned());
        table.wrong("delay-table", "`jitter` and `delay-table` exclude each other", help);
    }
    let (base_kind, base_width, base_shape) = match base.jitter {
        Jitter::Uniform { width } => (Shape::Uniform, Some(width), None),
        Jitter::Normal { deviation } => (Shape::Normal, Some(deviation), None),
        Jitter::Pareto { mean, shape } => (Shape::Pareto, Some(mean), Some(shape)),
        Jitter::None | Jitter::Table(_) => (Shape::Uniform, None, None),
    };
    let is_changed = kind.is_some() || width.is_some() || shape.is_some();
    let jitter = match (values, width.or(base_width)) {
        (Some(Some(values)), _) => Jitter::Table(values),
        (_, Some(width)) if is_changed && width.is_zero() => Jitter::None,
        (_, Some(width)) if is_changed => match kind.unwrap_or(base_kind) {
            Shape::Uniform => Jitter::Uniform { width },
            Shape::Normal => Jitter::Normal { deviation: width },
            Shape::Pareto => {
                Jitter::Pareto { mean: width, shape: shape.or(base_shape).unwrap_or(PARETO_SHAPE) }
            }
        },
        (Some(None), _) => Jitter::None,
        _ => base.jitter,
    };
    Delay { jitter, ..base }
}

/// As tc-netem's table: a tail with a finite variance, and not much more.
const PARETO_SHAPE: f64 = 3.0;

#[derive(Clone, Copy, Debug)]
enum Shape {
    Uniform,
    Normal,
    Pareto,
}

fn reorder(table: &mut Table<'_>, base: Option<Reorder>) -> Option<Reorder> {
    let asked = table.get("reorder", share);
    let by = table.get("reorder-by", integer(1..=Reorder::BY_MAX));
    let within = table.get("reorder-within", duration);
    let by_or = |base| by.unwrap_or(base);
    // Long enough for a few packets to come at a thousand a second.
    let within_or = |base| within.unwrap_or(base);
    let default = (1, Duration::from_millis(10));
    if asked.is_none() && base.is_none() && !table.has("reorder") {
        for key in ["reorder-by", "reorder-within"] {
            if table.has(key) {
                without(table, key, "reorder", "1%");
            }
        }
    }
    match (asked, base) {
        (Some(share), _) if share <= 0.0 => None,
        (Some(share), Some(base)) => {
            Some(Reorder { share, by: by_or(base.by), within: within_or(base.within) })
        }
        (Some(share), None) => {
            Some(Reorder { share, by: by_or(default.0), within: within_or(default.1) })
        }
        (None, Some(base)) => {
            Some(Reorder { by: by_or(base.by), within: within_or(base.within), ..base })
        }
        (None, None) => None,
    }
}

/// Whether a file is one that a key names: a table of delays, a pattern of losses, steps, a trace.
#[must_use]
pub fn is_part(path: &Path) -> bool {
    read_file(path).is_ok_and(|text| {
        Steps::parse(&text).is_ok()
            || LossPattern::parse(&text).is_ok()
            || Opportunities::parse(&text).is_ok()
            || DelayTable::parse(&text).is_ok()
    })
}

/// What the file that a value names holds, `"none"` for nothing.
fn file_or_none<T>(
    value: &Value<'_>,
    parse: fn(&str) -> Result<T, ParseError>,
) -> Result<Option<Arc<T>>, Wrong> {
    let name = text(value)?;
    if name == "none" {
        return Ok(None);
    }
    let path = value.source().beside(&name)?;
    let content = read_file(&path).map_err(|error| {
        Wrong::new(format_args!("cannot be read from {}: {error}", path.display()))
    })?;
    match parse(&content) {
        Ok(parsed) => Ok(Some(Arc::new(parsed))),
        Err(ParseError { line: 0, problem }) => {
            Err(Wrong::new(format_args!("{} is invalid: {problem}", path.display())))
        }
        Err(ParseError { line, problem }) => {
            Err(Wrong::new(format_args!("error in {}:{line}: {problem}", path.display())))
        }
    }
}

fn read_file(path: &Path) -> std::io::Result<String> {
    let limit = u64::try_from(FILE_LEN_MAX).unwrap_or(u64::MAX) + 1;
    let mut text = String::new();
    crate::helper::open_regular(path)?.take(limit).read_to_string(&mut text)?;
    Ok(text)
}
