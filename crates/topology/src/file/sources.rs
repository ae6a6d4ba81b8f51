//! The file and those that it includes.

use adit_service::config::entry::{Value, Wrong};
use adit_service::config::problems::Problems;
use adit_service::config::read;
use adit_service::config::source::Source;
use adit_service::config::value::text;
use adit_service::error::Result;
use adit_service::helper::open_regular;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The most files of one lab: more are a mistake, or an attack.
const FILES_MAX: usize = 64;

/// The files so far.
struct Files<'p> {
    /// Those that are read, each after those that it includes.
    done: Vec<(Option<Identity>, Source)>,
    /// Those that include each other down to the one that is read.
    open: Vec<Option<Identity>>,
    problems: &'p Problems,
}

/// The device and the inode of a file, by whichever path. It is opened, which a sandbox leaves to another process.
type Identity = (u64, u64);

fn identity(path: &Path) -> io::Result<Identity> {
    let found = open_regular(path)?.metadata()?;
    Ok((found.dev(), found.ino()))
}

/// The file and those that it includes, each after those that it includes; every one once.
///
/// # Errors
/// The file itself cannot be read.
pub(super) fn read(path: &Path, problems: &Problems) -> Result<Vec<Source>> {
    let mut files = Files { done: Vec::new(), open: Vec::new(), problems };
    let source = Source::read(path)?;
    files.add(identity(path).ok(), source);
    Ok(files.done.into_iter().map(|(_, source)| source).collect())
}

impl Files<'_> {
    fn add(&mut self, file: Option<Identity>, source: Source) {
        self.open.push(file);
        {
            // Mistakes are reported when the keys are read.
            let quiet = Problems::default();
            let mut table = read::toml(&source, &quiet);
            for value in table.list("include", |value| Ok(value.clone())) {
                if let Err(wrong) = self.include(&value) {
                    value.wrong("include", wrong, self.problems);
                }
            }
            let _ = table.into_entries();
        }
        self.open.pop();
        self.done.push((file, source));
    }

    fn include(&mut self, value: &Value<'_>) -> Result<(), Wrong> {
        let path = value.source().beside(text(value)?)?;
        let shown = path.display();
        let file = identity(&path)
            .map_err(|error| Wrong::new(format_args!("cannot read {shown}: {error}")))?;
        let file = Some(file);
        if self.open.contains(&file) {
            return Err(Wrong::new(format_args!("goes in a circle: {shown} includes this file"))
                .help("a file cannot include itself"));
        }
        if self.done.iter().any(|(done, _)| *done == file) {
            return Ok(());
        }
        if self.done.len() + self.open.len() >= FILES_MAX {
            return Err(Wrong::new(format_args!(
                "is too much: a lab has at most {FILES_MAX} files"
            )));
        }
        match Source::read_named(&path) {
            Ok(source) => self.add(file, source),
            Err(error) if error.report.problems.is_empty() => {
                return Err(Wrong::new(error.report.message));
            }
            Err(error) => {
                error.report.problems.into_iter().for_each(|problem| self.problems.add(problem));
            }
        }
        Ok(())
    }
}
