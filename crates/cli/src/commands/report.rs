//! `adit report`.

use crate::commands::{doctor, status};
use crate::context::Context;
use crate::exit::Exit;
use crate::output::{Output, clean};
use adit_service::error::{Error, Result};
use adit_service::host::program;
use adit_top::{Machine, Report as Of, Status};
use adit_vpn::file::hide::without_secrets;
use schemars::JsonSchema;
use serde::Serialize;
use std::io::{self, BufRead, IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Collects versions, the checks of 'adit doctor', the problems and services of 'adit status', configuration files and the \
last lines of the journal in one text, shows it, and asks before it writes the file.

Configuration files are those of running services, those in /etc/adit and /etc/wireguard, and those that are named. Keys, \
passwords, tokens, commands and comments are replaced by '***' or left out. Read the text before you pass it on: names and \
addresses of your network are in it.

Examples:
  adit report
  adit report --yes --output /tmp/adit.txt
  adit report --output - lab.toml | less")]
pub(crate) struct Args {
    /// Further configuration files to include
    files: Vec<PathBuf>,
    /// The file to write, which must not exist; '-' writes to standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write it without asking
    #[arg(short, long)]
    yes: bool,
}

/// What a maintainer needs.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(title = "adit report")]
pub(crate) struct Report {
    /// Versions of adit, the kernel and the distribution, by what they are of.
    versions: Vec<(String, String)>,
    /// The checks of `adit doctor`.
    doctor: doctor::Findings,
    /// The output of `adit status`.
    status: Status,
    /// Configuration files without secrets.
    files: Vec<File>,
    /// The last lines of the journal.
    log: Vec<String>,
}

/// A configuration file.
#[derive(Debug, Serialize, JsonSchema)]
struct File {
    /// Its path.
    path: String,
    /// Its lines, without secrets, or why it cannot be read.
    text: String,
}

/// The longest configuration file that is included, in bytes.
const FILE_LEN_MAX: u64 = 256 << 10;

/// As many lines of the journal are included.
const LOG_LINES: &str = "200";

/// How long counters are watched for drops that grow.
const WATCHED: Duration = Duration::from_secs(1);

impl Args {
    pub(crate) fn run(self, context: &Context) -> Result<Exit> {
        let output = &context.output;
        let is_plain = self.output.as_deref() == Some(Path::new("-"));
        let asks = !self.yes && !is_plain && !output.json;
        if asks && !(io::stdin().is_terminal() && io::stdout().is_terminal()) {
            let message = "there is no terminal on which to ask whether the report may be written";
            return Err(Error::usage(message)
                .hint("Add --yes to write it without a question, or '--output -' to print it."));
        }
        let path = self.output.clone().unwrap_or_else(default_path);
        if context.is_rehearsal(&[format!("write a report to {}", path.display())])? {
            return Ok(Exit::Ok);
        }
        let report = Report::collect(&self.files);
        if output.json {
            output.value(&report)?;
            return Ok(Exit::Ok);
        }
        let text = report.text();
        if is_plain {
            output.bytes(text.as_bytes())?;
            return Ok(Exit::Ok);
        }
        if asks {
            output.bytes(text.as_bytes())?;
            if !confirmed(output, &path)? {
                output.note("nothing was written");
                return Ok(Exit::NotSo);
            }
        }
        adit_service::file::create(&path, &text, 0o600)
            .map_err(|error| Error::io("write", path.display(), &error))?;
        output.line(format_args!("{}", path.display()))?;
        Ok(Exit::Ok)
    }
}

fn default_path() -> PathBuf {
    let seconds = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_secs();
    PathBuf::from(format!("adit-report-{seconds}.txt"))
}

fn confirmed(output: &Output, path: &Path) -> Result<bool> {
    output.note(format_args!("\nWrite this to {}? [y/N]", path.display()));
    let mut answer = String::new();
    let read = io::stdin().lock().read_line(&mut answer);
    read.map_err(|error| Error::io("read", "the answer", &error))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

impl Report {
    fn collect(named: &[PathBuf]) -> Self {
        let mut paths = named.to_vec();
        paths.extend(running_files());
        paths.extend(known_files());
        let mut seen = Vec::new();
        paths.retain(|path| {
            let is_new = !seen.contains(path);
            seen.push(path.clone());
            is_new
        });
        Self {
            versions: versions(),
            doctor: doctor::findings(),
            status: status::measure(WATCHED),
            files: paths.iter().map(|path| File::read(path)).collect(),
            log: log(),
        }
    }

    fn text(&self) -> String {
        let plain = Output::new(false, false, [false; 2], false, 0);
        let mut text = String::new();
        let mut section = |title: &str, lines: Vec<String>| {
            text.push_str(&format!("== {title}\n"));
            lines.iter().for_each(|line| {
                text.push_str(line);
                text.push('\n');
            });
            text.push('\n');
        };
        let versions = self.versions.iter();
        section("versions", versions.map(|(what, it)| format!("{what}: {}", clean(it))).collect());
        section("adit doctor", doctor::lines(&plain, &self.doctor));
        section("adit status", status::lines(&self.status, &plain));
        for file in &self.files {
            let lines = file.text.lines().map(clean).collect();
            section(&format!("{}, without secrets", clean(&file.path)), lines);
        }
        section("journal", self.log.iter().map(|line| clean(line)).collect());
        text
    }
}

impl File {
    fn read(path: &Path) -> Self {
        let text = std::fs::File::open(path).and_then(|file| {
            if !file.metadata()?.is_file() {
                return Err(io::Error::other("it is not a regular file"));
            }
            let mut text = String::new();
            file.take(FILE_LEN_MAX).read_to_string(&mut text)?;
            Ok(text)
        });
        let text = match text {
            Ok(text) => without_secrets(&text),
            Err(error) => format!("(cannot be read: {error})"),
        };
        Self { path: path.display().to_string(), text }
    }
}

/// The files from which running services were started, as far as they say.
fn running_files() -> Vec<PathBuf> {
    let services = Machine::collect(false).services.into_iter();
    let files = services.filter_map(|service| match service.report {
        Of::Switch(switch, _) => switch.file.map(PathBuf::from),
        Of::Lab(lab) => lab.file,
        _ => None,
    });
    files.collect()
}

/// The configuration files in the usual folders.
fn known_files() -> Vec<PathBuf> {
    let folders = ["/etc/adit", "/etc/wireguard"].into_iter();
    let entries = folders.flat_map(|folder| std::fs::read_dir(folder).into_iter().flatten());
    let is_known = |path: &PathBuf| {
        path.extension().is_some_and(|ending| ending == "toml" || ending == "conf")
    };
    let mut files: Vec<PathBuf> =
        entries.flatten().map(|entry| entry.path()).filter(is_known).collect();
    files.sort();
    files
}

fn versions() -> Vec<(String, String)> {
    let system = rustix::system::uname();
    let part = |part: &std::ffi::CStr| part.to_string_lossy().into_owned();
    let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    let all = [
        ("adit", env!("CARGO_PKG_VERSION").to_owned()),
        ("kernel", format!("{} {}", part(system.release()), part(system.version()))),
        ("machine", part(system.machine())),
        ("distribution", name.unwrap_or("unknown").trim_matches('"').to_owned()),
        ("user", rustix::process::geteuid().as_raw().to_string()),
    ];
    all.map(|(what, it)| (what.to_owned(), it)).to_vec()
}

/// The last lines of the journal about adit; none where there is no journal.
fn log() -> Vec<String> {
    if !program::is_in_path("journalctl") {
        return vec!["(no journal)".to_owned()];
    }
    let words = ["journalctl", "--quiet", "--no-pager", "-n", LOG_LINES, "-t", "adit"];
    let lines = program::output(&words.map(str::to_owned));
    match lines {
        Ok(text) => without_secrets(&text).lines().map(str::to_owned).collect(),
        Err(error) => vec![format!("({error})")],
    }
}
