//! Networks of other programs, written as the text of a lab file.
//!
//! A source is rejected for what it demands and a lab cannot give (a container image). What is only left
//! out is named in a note, which is also a comment in the text.

mod containerlab;
mod graphml;
mod names;
mod text;
mod yaml;

pub use text::{Images, Imported};

use adit_service::config::problems::Problems;
use adit_service::config::source::Source;
use adit_service::error::Result;

/// Reads a containerlab topology (YAML) or a GraphML file, whichever `source` is.
///
/// # Errors
/// All problems of the source, each with its place.
pub fn import(source: &Source, images: Images) -> Result<Imported> {
    let problems = Problems::default();
    let is_xml = source.text().trim_start_matches('\u{feff}').trim_start().starts_with('<');
    let draft = if is_xml {
        graphml::read(source, &problems)
    } else {
        containerlab::read(source, images, &problems)
    };
    problems.check(source.name())?;
    Ok(draft.write(source.name()))
}

#[cfg(test)]
mod tests;
