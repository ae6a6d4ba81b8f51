//! What must hold for any file of another program; fuzz targets call it too.

use adit_service::config::source::Source;
use adit_topology::import::{Images, import};

/// Imports `bytes`: the text of what is accepted is TOML, and a rejection has a problem.
pub(crate) fn file(bytes: &[u8]) {
    let source = Source::new("fuzz", String::from_utf8_lossy(bytes));
    for images in [Images::Rejected, Images::Hosts] {
        match import(&source, images) {
            Ok(lab) => {
                let read = lab.text.parse::<toml_edit::DocumentMut>();
                assert!(read.is_ok(), "{read:?}\n{}", lab.text);
            }
            Err(error) => assert!(!error.report.problems.is_empty()),
        }
    }
}

/// The same for a file of one form: `head` decides which parser reads it.
pub(crate) fn file_of(head: &str, bytes: &[u8]) {
    file(&[head.as_bytes(), bytes].concat());
}
