//! Where in a file something is.

use adit_service::config::source::Source;
use std::ops::Range;

/// Bytes of a source.
#[derive(Clone, Debug)]
pub(super) struct Place<'a> {
    pub(super) source: &'a Source,
    pub(super) span: Range<usize>,
}
